//! Frames as they are on a device: to send what no socket would, and to see what XDP sends.

use std::io;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::Namespace;

/// A packet socket on one device.
#[derive(Debug)]
pub struct Tap {
    socket: Socket,
}

impl Tap {
    /// Opens a device of a namespace.
    pub fn open(namespace: &Namespace, device: &str) -> Result<Self> {
        let all = libc::ETH_P_ALL.cast_unsigned() as u16;
        let socket = namespace.within(|| -> Result<_> {
            let index = nix::net::if_::if_nametoindex(device)?;
            let protocol = Protocol::from(i32::from(all.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
            socket.bind(&link_address(index, all))?;
            Ok(socket)
        });
        Ok(Self {
            socket: socket.with_context(|| format!("cannot open device {device}"))?,
        })
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = self.socket.send(frame)?;
        anyhow::ensure!(
            sent == frame.len(),
            "only {sent} bytes of the frame were sent"
        );
        Ok(())
    }

    /// Waits for a frame that `pick` makes something of; `None` after the deadline.
    pub fn receive<T>(
        &self,
        deadline: Duration,
        mut pick: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        let end = Instant::now() + deadline;
        let mut buffer = vec![0; 65536];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match io::Read::read(&mut &self.socket, &mut buffer) {
                Ok(length) => {
                    if let Some(found) = pick(&buffer[..length]) {
                        return Ok(Some(found));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The descriptor, for a poll of one's own.
    #[must_use]
    pub fn descriptor(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

/// `struct sockaddr_ll` of a device.
fn link_address(index: u32, protocol: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the socket address types, for which the storage has room.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds a complete `sockaddr_ll`, whose length this is.
    unsafe { SockAddr::new(storage, length) }
}
