//! Families of generic netlink (`linux/genetlink.h`).

use std::io;

use rtnetlink::packet_core::{DefaultNla, NLM_F_ACK};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_GENERIC;

use super::network::Refusal;
use crate::netlink::{self, value};

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Length of `struct genlmsghdr`.
pub(super) const GENERIC_HEADER: usize = 4;

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
        let answers = netlink::ask(&self.socket, &request)?;
        Ok(answers
            .iter()
            .map(|answer| answer.get(GENERIC_HEADER..).unwrap_or_default().to_vec())
            .collect())
    }
}

/// A generic netlink message.
pub(super) fn message(family: u16, command: u8, flags: u16, attributes: &[DefaultNla]) -> Vec<u8> {
    /// Version 1 of all families that are spoken to here.
    const VERSION: u8 = 1;
    netlink::message(family, flags, &[command, VERSION, 0, 0], attributes)
}
