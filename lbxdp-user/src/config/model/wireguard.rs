use std::fmt;
use std::net::SocketAddr;

/// A WireGuard key: 256 bits. No message, log or status shows a secret one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WireguardKey(pub [u8; 32]);

impl fmt::Debug for WireguardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireguardKey(…)")
    }
}

/// A WireGuard device with its one peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wireguard {
    /// This node's secret.
    pub private_key: WireguardKey,
    /// UDP port at which the node listens; without one the kernel chooses.
    pub listen_port: Option<u16>,
    /// The peer's public key.
    pub peer_public_key: WireguardKey,
    /// A secret that both share besides.
    pub preshared_key: Option<WireguardKey>,
    /// Where the peer is to be found at first; without one it dials in.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between messages that keep a NAT's mapping alive; 0 for none.
    pub persistent_keepalive: u16,
}
