//! Netlink messages that no library has types for (`linux/netlink.h`), on a blocking socket.

use std::io;

use rtnetlink::packet_core::{DefaultNla, Emitable as _, NLM_F_REQUEST, NlasIterator};
use rtnetlink::sys::Socket;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// A request: what it is about, its own header, and attributes.
pub(crate) fn message(kind: u16, flags: u16, body: &[u8], attributes: &[DefaultNla]) -> Vec<u8> {
    let length = HEADER + body.len() + attributes.buffer_len();
    let mut bytes = Vec::with_capacity(length);
    let whole = u32::try_from(length).expect("a request is short");
    bytes.extend(whole.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes()); // sequence number
    bytes.extend(0_u32.to_ne_bytes()); // port: the kernel fills it in
    bytes.extend(body);
    let at = bytes.len();
    bytes.resize(length, 0);
    attributes.emit(&mut bytes[at..]);
    bytes
}

/// The bodies of all answers to a request. The kernel answers within the call that sends it, so this
/// does not wait.
///
/// # Errors
/// What the kernel says.
pub(crate) fn ask(socket: &Socket, request: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    socket.send(request, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Some((length, kind)) = header(rest) {
            let body = rest.get(HEADER..length).unwrap_or_default();
            match kind {
                NLMSG_DONE => return Ok(answers),
                NLMSG_ERROR => {
                    let code = body.get(..4).and_then(|code| code.try_into().ok());
                    return match i32::from_ne_bytes(code.unwrap_or_default()) {
                        0 => Ok(answers),
                        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                    };
                }
                _ => answers.push(body.to_vec()),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// Length and type of the message that begins here.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    (length >= HEADER).then_some((length, kind))
}

/// The value of an attribute.
pub(crate) fn value(attributes: &[u8], number: u16) -> Option<Vec<u8>> {
    NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == number)
        .map(|attribute| attribute.value().to_vec())
}
