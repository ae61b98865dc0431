//! Offloads of network devices, by the ioctl that `ethtool -K` used before netlink.
//!
//! A local TCP stack hands a veth device packets larger than the wire's and with unfinished
//! checksums. A real link delivers neither, and a program that rewrites packets must not see them.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result};

use super::Namespace;

/// An offload, with the number of its `ETHTOOL_S…` command in `linux/ethtool.h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Offload {
    /// Checksums left to the device (`tx`).
    TransmitChecksum = 0x17,
    /// TCP segments left to the device (`tso`).
    TcpSegmentation = 0x1f,
    /// Segmentation at the last moment before the device (`gso`).
    Segmentation = 0x24,
    /// Joining of received segments (`gro`). On veth it also makes the device able to receive
    /// what XDP elsewhere redirects to the other end.
    Receive = 0x2c,
}

/// Switches an offload of a device on or off.
pub fn set_offload(namespace: &Namespace, device: &str, offload: Offload, on: bool) -> Result<()> {
    ethtool(namespace, device, offload as u32, u32::from(on))
        .map(drop)
        .with_context(|| {
            format!(
                "cannot set offload {offload:?} of {device} in {}",
                namespace.name()
            )
        })
}

/// Has a device's VLAN tags written into the packets, as on a wire, and not beside them, where a
/// program at the far end does not see them.
pub fn tags_in_packets(namespace: &Namespace, device: &str) -> Result<()> {
    /// `ETHTOOL_GFLAGS`, `ETHTOOL_SFLAGS` and `ETH_FLAG_TXVLAN` of `linux/ethtool.h`.
    const GET_FLAGS: u32 = 0x25;
    const SET_FLAGS: u32 = 0x26;
    const TRANSMIT_VLAN: u32 = 1 << 7;
    let flags = ethtool(namespace, device, GET_FLAGS, 0)?;
    ethtool(namespace, device, SET_FLAGS, flags & !TRANSMIT_VLAN).map(drop)
}

/// One command of the ioctl, with a number; gives the number that comes back.
fn ethtool(namespace: &Namespace, device: &str, command: u32, data: u32) -> Result<u32> {
    let socket = namespace.within(|| UdpSocket::bind("0.0.0.0:0"))?;
    // `struct ethtool_value`
    let mut value: [u32; 2] = [command, data];
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(device.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: value.as_mut_ptr().cast(),
        },
    };
    // SAFETY: the request is a complete `ifreq` whose data points to a `struct ethtool_value`,
    // both alive for the call; the socket is open.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCETHTOOL as _,
            &raw const request,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("ethtool command {command:#x} of {device}"));
    }
    let [_, data] = value;
    Ok(data)
}

/// Makes a veth end behave like a wire: whole checksums, packets of the wire's size.
pub(super) fn like_a_wire(namespace: &Namespace, device: &str) -> Result<()> {
    for offload in [
        Offload::TransmitChecksum,
        Offload::TcpSegmentation,
        Offload::Segmentation,
    ] {
        set_offload(namespace, device, offload, false)?;
    }
    Ok(())
}
