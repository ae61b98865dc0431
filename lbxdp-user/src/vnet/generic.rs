//! Families of generic netlink (`linux/genetlink.h`).

use std::io;

use rtnetlink::packet_core::{DefaultNla, Emitable as _, NLM_F_ACK, NLM_F_REQUEST, NlasIterator};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_GENERIC;

use super::network::Refusal;

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Length of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
/// Length of `struct genlmsghdr`.
pub(super) const GENERIC_HEADER: usize = 4;
/// `struct nlmsghdr`, then an error number.
const ERROR: usize = HEADER + 4;

/// The family, on a socket of its own.
pub(super) struct Family {
    socket: Socket,
    family: u16,
}

impl Family {
    /// Finds the family of this name.
    ///
    /// # Errors
    ///
    /// `ENOENT` when the kernel has none.
    pub(super) fn find(name: &str) -> Result<Self, Refusal> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        let mut found = Self {
            socket,
            family: GENL_ID_CTRL,
        };
        let name = DefaultNla::new(CTRL_ATTR_FAMILY_NAME, format!("{name}\0").into_bytes());
        let answers = found.request(CTRL_CMD_GETFAMILY, NLM_F_ACK, &[name])?;
        found.family = answers
            .iter()
            .find_map(|answer| value(answer, CTRL_ATTR_FAMILY_ID))
            .and_then(|value| Some(u16::from_ne_bytes(value.try_into().ok()?)))
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EPROTO))?;
        Ok(found)
    }

    /// The attributes of each answer.
    ///
    /// The kernel answers within the call that sends the request, so this does not wait.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(super) fn request(
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
pub(super) fn message(family: u16, command: u8, flags: u16, attributes: &[DefaultNla]) -> Vec<u8> {
    /// Version 1 of all families that are spoken to here.
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

/// The value of an attribute.
pub(super) fn value(attributes: &[u8], number: u16) -> Option<Vec<u8>> {
    NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == number)
        .map(|attribute| attribute.value().to_vec())
}
