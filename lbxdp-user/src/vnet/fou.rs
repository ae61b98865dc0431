//! UDP ports at which the kernel takes off GUE headers: generic netlink, family `fou`
//! (`linux/fou.h`, `linux/genetlink.h`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use rtnetlink::packet_core::{DefaultNla, NLM_F_ACK, NLM_F_DUMP};

use super::device::GuePort;
use super::generic::Family;
use super::network::Refusal;
use crate::netlink::value;

const FOU_CMD_ADD: u8 = 1;
const FOU_CMD_DEL: u8 = 2;
const FOU_CMD_GET: u8 = 3;
const FOU_ATTR_PORT: u16 = 1;
const FOU_ATTR_AF: u16 = 2;
const FOU_ATTR_TYPE: u16 = 4;
const FOU_ATTR_LOCAL_V4: u16 = 6;
const FOU_ATTR_LOCAL_V6: u16 = 7;
const FOU_ENCAP_GUE: u8 = 2;

/// Opens a port.
///
/// # Errors
///
/// `ENOENT` when the kernel has no `fou`; what the kernel says otherwise.
pub(super) fn open(port: GuePort) -> Result<(), Refusal> {
    let fou = Family::find("fou")?;
    fou.request(FOU_CMD_ADD, NLM_F_ACK, &attributes(port))
        .map(|_| ())
}

/// Closes a port.
///
/// # Errors
///
/// As [`open`].
pub(super) fn close(port: GuePort) -> Result<(), Refusal> {
    let fou = Family::find("fou")?;
    fou.request(FOU_CMD_DEL, NLM_F_ACK, &attributes(port))
        .map(|_| ())
}

/// The GUE ports that are open, and bound to one address.
///
/// # Errors
///
/// As [`open`].
pub(super) fn ports() -> Result<BTreeSet<GuePort>, Refusal> {
    let fou = Family::find("fou")?;
    let answers = fou.request(FOU_CMD_GET, NLM_F_DUMP, &[])?;
    Ok(answers.iter().filter_map(|answer| port(answer)).collect())
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

#[cfg(test)]
mod tests {
    use super::super::generic::{GENERIC_HEADER, message};
    use super::*;
    use crate::netlink::HEADER;

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
