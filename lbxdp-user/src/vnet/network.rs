//! The agent's netlink sockets: one for requests, one that hears of changes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{Stream, StreamExt as _};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{
    Emitable as _, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    NlasIterator, Parseable as _,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket as _, Socket};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::netlink;

/// How long changes are gathered before one event tells of them.
const COALESCE: Duration = Duration::from_millis(30);

/// Least time between two events while changes do not stop, as when a full table of routes comes:
/// each event makes the agent look at all that it needs.
const SPACING: Duration = Duration::from_millis(150);

/// Longest wait for a message of the kernel's answer. The kernel answers at once; but an answer
/// may be lost when memory is short, and the agent must not wait for it for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// Receive buffer of the socket that hears of changes, in bytes.
const RECEIVE_BUFFER: u32 = 1 << 20;

/// The kernel's network in the network namespace in which [`Network::new`] was called.
///
/// Cheap to clone. The sysctls are those of the network namespace of the *calling* thread, so
/// all threads of the program must be in the same one.
#[derive(Clone, Debug)]
pub struct Network {
    handle: Handle,
    /// For questions that are asked in great number: whoever waits for each answer through the
    /// runtime waits far longer than the kernel takes.
    direct: Arc<Mutex<Socket>>,
}

/// Something changed; what exactly is found out by looking.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NetworkEvent {
    /// A link or an address.
    pub links: bool,
    /// A route or a rule.
    pub routes: bool,
    /// A neighbour.
    pub neighbours: bool,
}

/// The kernel's "no".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The error number, positive.
    pub errno: i32,
    /// What the kernel itself says of it, if anything (`NLMSGERR_ATTR_MSG`).
    pub explanation: Option<String>,
}

impl Network {
    /// Opens the sockets, and starts the tasks that serve them on the current runtime.
    ///
    /// Events are coarse and gathered for some 30 ms, in storms for longer. Dropping the receiver
    /// ends its task.
    ///
    /// # Errors
    ///
    /// When a netlink socket cannot be had.
    pub fn new() -> Result<(Self, mpsc::Receiver<NetworkEvent>)> {
        // Strict: the kernel applies the filters of requests rather than ignoring them.
        let (mut connection, handle, _) = rtnetlink::new_connection_with_strict_check()
            .context("opening a netlink socket for requests")?;
        let socket = connection.socket_mut().socket_mut();
        (socket.set_ext_ack(true))
            .and_then(|()| socket.set_cap_ack(true))
            .context("asking netlink to explain its errors")?;
        tokio::spawn(connection);

        let (mut connection, _, messages) = rtnetlink::new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ])
        .context("opening a netlink socket for events")?;
        // Without it the default holds: losses are then only more likely, and an overrun counts
        // as a change of everything.
        let _ = (connection.socket_mut().socket_mut()).set_rx_buf_sz(RECEIVE_BUFFER);
        tokio::spawn(connection);

        let (events, receiver) = mpsc::channel(1);
        let changes = messages.map(|(message, _)| NetworkEvent::of(&message));
        tokio::spawn(gather(changes, events));
        let direct = Socket::new(NETLINK_ROUTE)
            .and_then(|mut socket| socket.bind_auto().map(|_| socket))
            .context("opening a netlink socket for routes")?;
        let direct = Arc::new(Mutex::new(direct));
        Ok((Self { handle, direct }, receiver))
    }

    /// Asks for a change and waits until the kernel has made it.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(super) async fn change(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), Refusal> {
        (self.request(message, NLM_F_REQUEST | NLM_F_ACK | flags))
            .await
            .map(|_| ())
    }

    /// Asks for one thing.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or does not have it.
    pub(super) async fn get(
        &self,
        message: RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>, Refusal> {
        let answers = self.request(message, NLM_F_REQUEST).await?;
        Ok(answers.into_iter().next())
    }

    /// Asks for the route that the kernel would choose.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or has none.
    pub(super) fn ask_route(
        &self,
        request: &RouteMessage,
    ) -> Result<Option<RouteMessage>, Refusal> {
        let mut body = vec![0; request.buffer_len()];
        request.emit(&mut body);
        // With an acknowledgement, which ends the answer.
        let request = netlink::message(libc::RTM_GETROUTE, NLM_F_ACK, &body, &[]);
        let socket = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = netlink::ask(&socket, &request)?;
        Ok(answers
            .first()
            .and_then(|body| RouteMessage::parse(body).ok()))
    }

    /// Asks for everything that matches.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(super) async fn dump(
        &self,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        self.request(message, NLM_F_REQUEST | NLM_F_DUMP).await
    }

    async fn request(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        let closed = |_| Refusal {
            errno: libc::ENOTCONN,
            explanation: Some("the netlink connection has ended".to_owned()),
        };
        let mut answers = self.handle.clone().request(request).map_err(closed)?;
        let mut found = Vec::new();
        let silent = |_| Refusal {
            errno: libc::ETIMEDOUT,
            explanation: Some("the kernel has not answered for 5 s".to_owned()),
        };
        while let Some(answer) = (timeout(PATIENCE, answers.next()).await).map_err(silent)? {
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => found.push(message),
                NetlinkPayload::Error(error) => {
                    if let Some(code) = error.code {
                        return Err(Refusal {
                            errno: code.get().saturating_neg(),
                            explanation: explanation(&error.header),
                        });
                    }
                }
                // Ends of dumps and the like; the enum is non-exhaustive.
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Makes one event of the changes that come close together.
async fn gather(
    changes: impl Stream<Item = NetworkEvent> + Send,
    events: mpsc::Sender<NetworkEvent>,
) {
    tokio::pin!(changes);
    let mut not_before = Instant::now();
    while let Some(mut event) = changes.next().await {
        if !event.any() {
            continue;
        }
        let until = not_before.max(Instant::now() + COALESCE);
        // The end of the stream shows in the next turn.
        while let Ok(Some(more)) = tokio::time::timeout_at(until, changes.next()).await {
            event.add(more);
        }
        if events.send(event).await.is_err() {
            return;
        }
        not_before = Instant::now() + SPACING;
    }
}

impl NetworkEvent {
    /// All of it.
    const ALL: Self = Self {
        links: true,
        routes: true,
        neighbours: true,
    };

    fn of(message: &NetlinkMessage<RouteNetlinkMessage>) -> Self {
        let mut event = Self::default();
        match &message.payload {
            NetlinkPayload::InnerMessage(message) => match message {
                RouteNetlinkMessage::NewLink(_)
                | RouteNetlinkMessage::DelLink(_)
                | RouteNetlinkMessage::NewAddress(_)
                | RouteNetlinkMessage::DelAddress(_) => event.links = true,
                RouteNetlinkMessage::NewRoute(_)
                | RouteNetlinkMessage::DelRoute(_)
                | RouteNetlinkMessage::NewRule(_)
                | RouteNetlinkMessage::DelRule(_) => event.routes = true,
                RouteNetlinkMessage::NewNeighbour(neighbour)
                | RouteNetlinkMessage::DelNeighbour(neighbour) => {
                    // Bridges' forwarding tables come by the same group.
                    event.neighbours = matches!(
                        neighbour.header.family,
                        AddressFamily::Inet | AddressFamily::Inet6
                    );
                }
                _ => {}
            },
            NetlinkPayload::Overrun(_) => event = Self::ALL,
            _ => {}
        }
        event
    }

    fn add(&mut self, other: Self) {
        self.links |= other.links;
        self.routes |= other.routes;
        self.neighbours |= other.neighbours;
    }

    const fn any(self) -> bool {
        self.links || self.routes || self.neighbours
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let errno = nix::errno::Errno::from_raw(self.errno);
        write!(f, "{errno:?}: {}", errno.desc())?;
        match &self.explanation {
            Some(explanation) => write!(f, " ({explanation})"),
            None => Ok(()),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self {
            errno: error.raw_os_error().unwrap_or(libc::EIO),
            explanation: None,
        }
    }
}

/// The kernel's own words behind an error number, which follow the header of the request that
/// failed.
fn explanation(payload: &[u8]) -> Option<String> {
    /// Length of `struct nlmsghdr`.
    const HEADER: usize = 16;
    /// `NLMSGERR_ATTR_MSG` (`linux/netlink.h`).
    const MESSAGE: u16 = 1;
    NlasIterator::new(payload.get(HEADER..)?)
        .flatten()
        .find(|attribute| attribute.kind() == MESSAGE)
        .map(|attribute| {
            String::from_utf8_lossy(attribute.value())
                .trim_end_matches('\0')
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEIGHBOUR: NetworkEvent = NetworkEvent {
        links: false,
        routes: false,
        neighbours: true,
    };
    const ROUTE: NetworkEvent = NetworkEvent {
        links: false,
        routes: true,
        neighbours: false,
    };

    fn gathering() -> (
        mpsc::UnboundedSender<NetworkEvent>,
        mpsc::Receiver<NetworkEvent>,
    ) {
        let (changes, mut incoming) = mpsc::unbounded_channel();
        let (events, receiver) = mpsc::channel(1);
        let incoming = futures_util::stream::poll_fn(move |context| incoming.poll_recv(context));
        tokio::spawn(gather(incoming, events));
        (changes, receiver)
    }

    #[tokio::test]
    async fn changes_that_come_together_are_one_event_soon() {
        let (changes, mut events) = gathering();
        changes.send(NetworkEvent::default()).expect("it is heard");
        changes.send(NEIGHBOUR).expect("it is heard");
        changes.send(ROUTE).expect("it is heard");
        let event = events.recv().await.expect("an event");
        assert!(event.neighbours && event.routes && !event.links);
        assert!(events.try_recv().is_err(), "one for all of them");
    }

    #[tokio::test]
    async fn a_storm_is_an_event_every_now_and_then() {
        let (changes, mut events) = gathering();
        let start = Instant::now();
        tokio::spawn(async move {
            while start.elapsed() < 4 * SPACING && changes.send(ROUTE).is_ok() {
                tokio::task::yield_now().await;
            }
        });
        let mut count = 0;
        while events.recv().await.is_some() {
            count += 1;
        }
        assert!((1..=6).contains(&count), "{count} events");
    }
}
