//! UDP ports at which the kernel takes off GUE headers: generic netlink, family `fou`
//! (`linux/fou.h`, `linux/genetlink.h`).

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use rtnetlink::packet_core::{
    DefaultNla, Emitable as _, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NlasIterator,
};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_GENERIC;

use super::device::GuePort;
use super::network::Refusal;

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

const FOU_CMD_ADD: u8 = 1;
const FOU_CMD_DEL: u8 = 2;
const FOU_CMD_GET: u8 = 3;
const FOU_ATTR_PORT: u16 = 1;
const FOU_ATTR_AF: u16 = 2;
const FOU_ATTR_TYPE: u16 = 4;
const FOU_ATTR_LOCAL_V4: u16 = 6;
const FOU_ATTR_LOCAL_V6: u16 = 7;
const FOU_ENCAP_GUE: u8 = 2;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct genlmsghdr`.
const GENERIC_HEADER: usize = 4;
/// `struct nlmsghdr`, then an error number.
const ERROR: usize = HEADER + 4;

/// Opens a port.
///
/// # Errors
///
/// `ENOENT` when the kernel has no `fou`; what the kernel says otherwise.
pub(super) fn open(port: GuePort) -> Result<(), Refusal> {
    let fou = Fou::find()?;
    fou.request(FOU_CMD_ADD, NLM_F_ACK, &attributes(port))
        .map(|_| ())
}

/// Closes a port.
///
/// # Errors
///
/// As [`open`].
pub(super) fn close(port: GuePort) -> Result<(), Refusal> {
    let fou = Fou::find()?;
    fou.request(FOU_CMD_DEL, NLM_F_ACK, &attributes(port))
        .map(|_| ())
}

/// The GUE ports that are open, and bound to one address.
///
/// # Errors
///
/// As [`open`].
pub(super) fn ports() -> Result<BTreeSet<GuePort>, Refusal> {
    let fou = Fou::find()?;
    let answers = fou.request(FOU_CMD_GET, NLM_F_DUMP, &[])?;
    Ok(answers.iter().filter_map(|answer| port(answer)).collect())
}

/// The family, on a socket of its own.
struct Fou {
    socket: Socket,
    family: u16,
}

impl Fou {
    fn find() -> Result<Self, Refusal> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        let mut fou = Self {
            socket,
            family: GENL_ID_CTRL,
        };
        let name = DefaultNla::new(CTRL_ATTR_FAMILY_NAME, b"fou\0".to_vec());
        let answers = fou.request(CTRL_CMD_GETFAMILY, NLM_F_ACK, &[name])?;
        fou.family = answers
            .iter()
            .find_map(|answer| value(answer, CTRL_ATTR_FAMILY_ID))
            .and_then(|value| Some(u16::from_ne_bytes(value.try_into().ok()?)))
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EPROTO))?;
        Ok(fou)
    }

    /// The attributes of each answer.
    ///
    /// The kernel answers within the call that sends the request, so this does not wait.
    fn request(
        &self,
        command: u8,
        flags: u16,
        attributes: &[DefaultNla],
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let request = message(self.family, command, flags, attributes);
        self.socket.send(&request, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while let Some((length, kind)) = header(rest) {
                match kind {
                    NLMSG_DONE => return Ok(answers),
                    NLMSG_ERROR => {
                        let code = rest.get(HEADER..ERROR).unwrap_or(&[0; 4]);
                        let code = i32::from_ne_bytes(code.try_into().unwrap_or_default());
                        return match code {
                            0 => Ok(answers),
                            code => Err(Refusal {
                                errno: code.saturating_neg(),
                                explanation: None,
                            }),
                        };
                    }
                    _ => {
                        let body = rest.get(HEADER + GENERIC_HEADER..length);
                        answers.push(body.unwrap_or_default().to_vec());
                    }
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

/// A generic netlink message.
fn message(family: u16, command: u8, flags: u16, attributes: &[DefaultNla]) -> Vec<u8> {
    /// Version 1 of both families.
    const VERSION: u8 = 1;
    let length = HEADER + GENERIC_HEADER + attributes.buffer_len();
    let mut bytes = Vec::with_capacity(length);
    let whole = u32::try_from(length).expect("a request is short");
    bytes.extend(whole.to_ne_bytes());
    bytes.extend(family.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes()); // sequence number
    bytes.extend(0_u32.to_ne_bytes()); // port: the kernel fills it in
    bytes.extend([command, VERSION, 0, 0]);
    bytes.resize(length, 0);
    attributes.emit(&mut bytes[HEADER + GENERIC_HEADER..]);
    bytes
}

/// Length and type of the message that begins here.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    (length >= HEADER).then_some((length, kind))
}

fn attributes(port: GuePort) -> Vec<DefaultNla> {
    let (family, local) = match port.local {
        IpAddr::V4(v4) => (
            libc::AF_INET,
            DefaultNla::new(FOU_ATTR_LOCAL_V4, v4.octets().to_vec()),
        ),
        IpAddr::V6(v6) => (
            libc::AF_INET6,
            DefaultNla::new(FOU_ATTR_LOCAL_V6, v6.octets().to_vec()),
        ),
    };
    let family = u8::try_from(family).expect("address families are small numbers");
    vec![
        DefaultNla::new(FOU_ATTR_PORT, port.port.to_be_bytes().to_vec()),
        DefaultNla::new(FOU_ATTR_AF, vec![family]),
        DefaultNla::new(FOU_ATTR_TYPE, vec![FOU_ENCAP_GUE]),
        local,
    ]
}

fn port(answer: &[u8]) -> Option<GuePort> {
    if value(answer, FOU_ATTR_TYPE)? != [FOU_ENCAP_GUE] {
        return None;
    }
    let v4 = || {
        let octets: [u8; 4] = value(answer, FOU_ATTR_LOCAL_V4)?.try_into().ok()?;
        Some(IpAddr::from(octets))
    };
    let v6 = || {
        let octets: [u8; 16] = value(answer, FOU_ATTR_LOCAL_V6)?.try_into().ok()?;
        Some(IpAddr::from(octets))
    };
    Some(GuePort {
        local: v4().or_else(v6)?,
        port: u16::from_be_bytes(value(answer, FOU_ATTR_PORT)?.try_into().ok()?),
    })
}

fn value(attributes: &[u8], number: u16) -> Option<Vec<u8>> {
    NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == number)
        .map(|attribute| attribute.value().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_a_port_is_this_message() {
        let port = GuePort {
            local: "192.0.2.1".parse().unwrap(),
            port: 6080,
        };
        let bytes = message(0x1d, FOU_CMD_ADD, NLM_F_ACK, &attributes(port));
        let mut expected = Vec::new();
        expected.extend(52_u32.to_ne_bytes());
        expected.extend(0x1d_u16.to_ne_bytes());
        expected.extend(5_u16.to_ne_bytes()); // NLM_F_REQUEST | NLM_F_ACK
        expected.extend([1_u32.to_ne_bytes(), 0_u32.to_ne_bytes()].concat());
        expected.extend([1, 1, 0, 0]);
        expected.extend([6, 0, 1, 0, 0x17, 0xc0, 0, 0]);
        expected.extend([5, 0, 2, 0, 2, 0, 0, 0]);
        expected.extend([5, 0, 4, 0, 2, 0, 0, 0]);
        expected.extend([8, 0, 6, 0, 192, 0, 2, 1]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_port_is_read_back() {
        let wanted = GuePort {
            local: "2001:db8::1".parse().unwrap(),
            port: 6080,
        };
        let bytes = message(0x1d, FOU_CMD_GET, 0, &attributes(wanted));
        assert_eq!(port(&bytes[HEADER + GENERIC_HEADER..]), Some(wanted));
    }
}
