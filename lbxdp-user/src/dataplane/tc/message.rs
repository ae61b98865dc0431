//! Netlink messages of traffic control (`linux/rtnetlink.h`, `linux/pkt_sched.h`, `linux/pkt_cls.h`).

use std::io;
use std::os::fd::RawFd;

use rtnetlink::packet_core::{
    DefaultNla, Emitable as _, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use crate::netlink::{ask, message, value};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;

/// Length of `struct tcmsg`.
const BODY: usize = 20;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
/// The program's return value is the action.
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

/// `TC_H_CLSACT`: the parent of the qdisc.
const CLSACT: u32 = 0xffff_fff1;
/// The handle of the qdisc.
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS` of it.
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
const ETH_P_ALL: u16 = 3;

/// Position of our filter among others: the lower one comes first.
const PRIORITY: u16 = 108;
/// Handle of our filter.
const HANDLE: u32 = u32::from_be_bytes(*b"lxdp");

/// A filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Filter {
    priority: u16,
    handle: u32,
    kind: String,
    /// Of a BPF filter: its name.
    pub(super) name: String,
    /// Of a BPF filter: the kernel's number of the program.
    pub(super) program_id: u32,
}

impl Filter {
    /// Whether it is ours.
    pub(super) fn is_ours(&self) -> bool {
        (self.priority, self.handle) == (PRIORITY, HANDLE)
            && self.kind == "bpf"
            && self.name.starts_with("lbxdp_")
    }

    fn read(body: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_ne_bytes(body.get(at..at + 4)?.try_into().ok()?));
        let attributes = body.get(BODY..)?;
        let options = value(attributes, TCA_OPTIONS).unwrap_or_default();
        let id = value(&options, TCA_BPF_ID)
            .and_then(|id| Some(u32::from_ne_bytes(id.try_into().ok()?)));
        Some(Self {
            priority: u16::try_from(number(16)? >> 16).ok()?,
            handle: number(8)?,
            kind: text(value(attributes, TCA_KIND)),
            name: text(value(&options, TCA_BPF_NAME)),
            program_id: id.unwrap_or(0),
        })
    }
}

/// A socket for traffic control, of the network namespace in which it was opened.
pub(super) struct Tc {
    socket: Socket,
}

impl Tc {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Makes a `clsact` qdisc; `EEXIST` where one is, or an `ingress` qdisc in its place.
    pub(super) fn add_clsact(&self, ifindex: u32) -> io::Result<()> {
        let attributes = [DefaultNla::new(TCA_KIND, b"clsact\0".to_vec())];
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let body = tcmsg(ifindex, CLSACT_HANDLE, CLSACT, 0);
        ask(
            &self.socket,
            &message(RTM_NEWQDISC, flags, &body, &attributes),
        )
        .map(drop)
    }

    pub(super) fn remove_clsact(&self, ifindex: u32) -> io::Result<()> {
        let body = tcmsg(ifindex, CLSACT_HANDLE, CLSACT, 0);
        ask(&self.socket, &message(RTM_DELQDISC, NLM_F_ACK, &body, &[])).map(drop)
    }

    /// Puts our filter, or another program into it.
    pub(super) fn put(&self, ifindex: u32, program: RawFd, name: &str) -> io::Result<()> {
        ask(&self.socket, &new_filter(ifindex, program, name)).map(drop)
    }

    /// Removes our filter, if it is there.
    pub(super) fn remove(&self, ifindex: u32) -> io::Result<()> {
        if !self.ingress(ifindex)?.iter().any(Filter::is_ours) {
            return Ok(());
        }
        let attributes = [DefaultNla::new(TCA_KIND, b"bpf\0".to_vec())];
        let body = tcmsg(ifindex, HANDLE, INGRESS, info());
        ask(
            &self.socket,
            &message(RTM_DELTFILTER, NLM_F_ACK, &body, &attributes),
        )
        .map(drop)
    }

    /// All filters at ingress.
    pub(super) fn ingress(&self, ifindex: u32) -> io::Result<Vec<Filter>> {
        self.filters(ifindex, INGRESS)
    }

    /// All filters at egress.
    pub(super) fn egress(&self, ifindex: u32) -> io::Result<Vec<Filter>> {
        self.filters(ifindex, EGRESS)
    }

    fn filters(&self, ifindex: u32, parent: u32) -> io::Result<Vec<Filter>> {
        let body = tcmsg(ifindex, 0, parent, 0);
        match ask(
            &self.socket,
            &message(RTM_GETTFILTER, NLM_F_DUMP, &body, &[]),
        ) {
            // Each priority is listed by itself as well, without a handle.
            Ok(answers) => Ok((answers.iter().filter_map(|answer| Filter::read(answer)))
                .filter(|filter| filter.handle != 0)
                .collect()),
            // There is no qdisc.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }
}

fn new_filter(ifindex: u32, program: RawFd, name: &str) -> Vec<u8> {
    let options = [
        DefaultNla::new(TCA_BPF_FD, program.to_ne_bytes().to_vec()),
        DefaultNla::new(TCA_BPF_NAME, format!("{name}\0").into_bytes()),
        DefaultNla::new(
            TCA_BPF_FLAGS,
            TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes().to_vec(),
        ),
    ];
    let mut nested = vec![0; options.as_slice().buffer_len()];
    options.as_slice().emit(&mut nested);
    let attributes = [
        DefaultNla::new(TCA_KIND, b"bpf\0".to_vec()),
        DefaultNla::new(TCA_OPTIONS, nested),
    ];
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    message(
        RTM_NEWTFILTER,
        flags,
        &tcmsg(ifindex, HANDLE, INGRESS, info()),
        &attributes,
    )
}

/// Priority and protocol of our filter, as `tcm_info` has them.
fn info() -> u32 {
    u32::from(PRIORITY) << 16 | u32::from(ETH_P_ALL.to_be())
}

/// A `struct tcmsg`.
fn tcmsg(ifindex: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let numbers = [0, ifindex, handle, parent, info];
    numbers
        .iter()
        .flat_map(|number: &u32| number.to_ne_bytes())
        .collect()
}

fn text(value: Option<Vec<u8>>) -> String {
    let value = value.unwrap_or_default();
    String::from_utf8_lossy(&value)
        .trim_end_matches('\0')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::HEADER;

    #[test]
    fn a_filter_is_this_message_and_is_read_back() {
        let bytes = new_filter(7, 5, "lbxdp_device");
        let mut expected = Vec::new();
        expected.extend(84_u32.to_ne_bytes());
        expected.extend(44_u16.to_ne_bytes());
        expected.extend(0x0505_u16.to_ne_bytes()); // REQUEST | ACK | REPLACE | CREATE
        expected.extend([1_u32.to_ne_bytes(), 0_u32.to_ne_bytes()].concat());
        expected.extend([0, 0, 0, 0, 7, 0, 0, 0]);
        expected.extend(0x6c78_6470_u32.to_ne_bytes());
        expected.extend(0xffff_fff2_u32.to_ne_bytes());
        expected.extend([0x00, 0x03, 108, 0]);
        expected.extend(*b"\x08\0\x01\0bpf\0");
        expected.extend([40, 0, 2, 0]);
        expected.extend([8, 0, 6, 0, 5, 0, 0, 0]);
        expected.extend(*b"\x11\0\x07\0lbxdp_device\0\0\0\0");
        expected.extend([8, 0, 8, 0, 1, 0, 0, 0]);
        assert_eq!(bytes, expected);
        let filter = Filter::read(&bytes[HEADER..]).unwrap();
        assert!(filter.is_ours());
        assert_eq!(filter.name, "lbxdp_device");
    }

    #[test]
    fn what_is_not_quite_ours_is_not_ours() {
        let ours = Filter::read(&new_filter(7, 5, "lbxdp_device")[HEADER..]).unwrap();
        for other in [
            Filter {
                name: "cil_from_netdev".to_owned(),
                ..ours.clone()
            },
            Filter {
                priority: 1,
                ..ours.clone()
            },
            Filter {
                handle: 1,
                ..ours.clone()
            },
            Filter {
                kind: "flower".to_owned(),
                ..ours.clone()
            },
        ] {
            assert!(!other.is_ours(), "{other:?}");
        }
    }
}
