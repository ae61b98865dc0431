//! What a sender is told of the largest packet that fits.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Namespace, wait_for};

/// What fits the sender's own link, less what IP (20 or 40) and UDP (8) take.
const LINK_MTU: usize = 1500;
/// How long it may take until the sender is told.
const DEADLINE: Duration = Duration::from_secs(10);

/// Sends datagrams of the link's full size, not to be fragmented, until the kernel refuses them,
/// and gives the largest packet that it then knows to fit.
pub fn path_mtu(namespace: &Namespace, to: SocketAddr) -> Result<u32> {
    let (any, level, discover, known, headers): (IpAddr, _, _, _, usize) = match to.ip() {
        IpAddr::V4(_) => (
            [0; 4].into(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_MTU,
            20 + 8,
        ),
        IpAddr::V6(_) => (
            [0; 16].into(),
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_MTU,
            40 + 8,
        ),
    };
    let socket = namespace.within(|| UdpSocket::bind((any, 0)))?;
    socket.connect(to)?;
    // `IP_PMTUDISC_DO` and `IPV6_PMTUDISC_DO` are the same.
    let never_fragment = libc::IP_PMTUDISC_DO;
    // SAFETY: the option's value is an `int`, alive for the call; the socket is open.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            discover,
            (&raw const never_fragment).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set < 0 {
        return Err(io::Error::last_os_error()).context("cannot forbid fragmentation");
    }
    let datagram = vec![0; LINK_MTU - headers];
    wait_for("the sender is told what fits", DEADLINE, || {
        let refused = socket.send(&datagram).err();
        let told = refused.is_some_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE));
        Ok(told.then_some(()))
    })?;
    let mut mtu: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: value and length are alive for the call, and the length is the value's.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            known,
            (&raw mut mtu).cast(),
            &raw mut length,
        )
    };
    if got < 0 {
        return Err(io::Error::last_os_error()).context("the kernel does not know what fits");
    }
    u32::try_from(mtu).context("a size below zero")
}
