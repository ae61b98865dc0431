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
    // `struct ethtool_value`
    let mut value = [offload as u32, u32::from(on)];
    ethtool(namespace, device, &mut value).with_context(|| {
        format!(
            "cannot set offload {offload:?} of {device} in {}",
            namespace.name()
        )
    })
}

/// Has a device's VLAN tags written into the packets, as on a wire, and not beside them, where a
/// program at the far end does not see them.
pub fn tags_in_packets(namespace: &Namespace, device: &str) -> Result<()> {
    for feature in ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"] {
        switch_off(namespace, device, feature)
            .with_context(|| format!("cannot switch {feature} of {device} off"))?;
    }
    Ok(())
}

/// Switches one of the features of a device off that have no command of their own.
fn switch_off(namespace: &Namespace, device: &str, feature: &str) -> Result<()> {
    /// `ETHTOOL_GSTRINGS`, `ETH_SS_FEATURES`, `ETH_GSTRING_LEN` and `ETHTOOL_SFEATURES` of
    /// `linux/ethtool.h`.
    const GET_STRINGS: u32 = 0x1b;
    const FEATURES: u32 = 4;
    const NAME: usize = 32;
    const SET_FEATURES: u32 = 0x3b;
    /// More features than a kernel has.
    const MOST: usize = 512;

    // `struct ethtool_gstrings`: command, set, count, names.
    let mut names = vec![0_u32; 3 + MOST * NAME / 4];
    (names[0], names[1]) = (GET_STRINGS, FEATURES);
    ethtool(namespace, device, &mut names)?;
    let count = names[2] as usize;
    let bytes: Vec<u8> = names[3..].iter().flat_map(|it| it.to_ne_bytes()).collect();
    let number = bytes
        .chunks_exact(NAME)
        .take(count)
        .position(|name| name.split(|byte| *byte == 0).next() == Some(feature.as_bytes()))
        .with_context(|| format!("there is no feature {feature}"))?;
    // `struct ethtool_sfeatures`: command, count, and for each 32 features which of them are meant
    // and which of those are wanted.
    let blocks = count.div_ceil(32);
    let mut wanted = vec![0_u32; 2 + 2 * blocks];
    (wanted[0], wanted[1]) = (SET_FEATURES, blocks as u32);
    wanted[2 + 2 * (number / 32)] = 1 << (number % 32);
    ethtool(namespace, device, &mut wanted)
}

/// One command of the ioctl: what begins with its number is read and written.
fn ethtool(namespace: &Namespace, device: &str, value: &mut [u32]) -> Result<()> {
    let command = value[0];
    let socket = namespace.within(|| UdpSocket::bind("0.0.0.0:0"))?;
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
    // SAFETY: the request is a complete `ifreq` whose data points to what is as long as its command
    // says, both alive for the call; the socket is open.
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
    Ok(())
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
