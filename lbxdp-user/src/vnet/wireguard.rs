//! Keys and peers of WireGuard devices: generic netlink, family `wireguard` (`linux/wireguard.h`).
//!
//! A dozen attributes, spoken as `fou`'s are; the crates for it bring a second netlink stack along.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use rtnetlink::packet_core::{DefaultNla, Emitable as _, NLM_F_ACK, NLM_F_DUMP, NlasIterator};

use super::device::Device;
use super::generic::Family;
use super::network::Refusal;
use crate::config::model::{Wireguard, WireguardKey};
use crate::netlink::value;

const WG_CMD_GET_DEVICE: u8 = 0;
const WG_CMD_SET_DEVICE: u8 = 1;

const WGDEVICE_A_IFNAME: u16 = 2;
const WGDEVICE_A_PRIVATE_KEY: u16 = 3;
const WGDEVICE_A_FLAGS: u16 = 5;
const WGDEVICE_A_LISTEN_PORT: u16 = 6;
const WGDEVICE_A_PEERS: u16 = 8;
const WGDEVICE_F_REPLACE_PEERS: u32 = 1;

const WGPEER_A_PUBLIC_KEY: u16 = 1;
const WGPEER_A_PRESHARED_KEY: u16 = 2;
const WGPEER_A_FLAGS: u16 = 3;
const WGPEER_A_ENDPOINT: u16 = 4;
const WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL: u16 = 5;
const WGPEER_A_LAST_HANDSHAKE_TIME: u16 = 6;
const WGPEER_A_ALLOWEDIPS: u16 = 9;
const WGPEER_F_REPLACE_ALLOWEDIPS: u32 = 2;

const WGALLOWEDIP_A_FAMILY: u16 = 1;
const WGALLOWEDIP_A_IPADDR: u16 = 2;
const WGALLOWEDIP_A_CIDR_MASK: u16 = 3;

const NLA_F_NESTED: u16 = 1 << 15;

/// What a device is set to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Set {
    private_key: WireguardKey,
    listen_port: u16,
    peers: Vec<Peer>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Peer {
    public_key: WireguardKey,
    preshared_key: WireguardKey,
    persistent_keepalive: u16,
    allowed: BTreeSet<IpNet>,
}

/// What stands for no preshared key.
const NO_KEY: WireguardKey = WireguardKey([0; 32]);

impl Set {
    /// Whether the device is set as it is to be. Where the peer is found is its own business once
    /// it has been heard of, and the port the kernel's unless configured.
    pub(super) fn is(&self, wanted: &Wireguard, allowed: &BTreeSet<IpNet>) -> bool {
        let peer = Peer {
            public_key: wanted.peer_public_key,
            preshared_key: wanted.preshared_key.unwrap_or(NO_KEY),
            persistent_keepalive: wanted.persistent_keepalive,
            allowed: allowed.clone(),
        };
        self.private_key == clamped(wanted.private_key)
            && wanted
                .listen_port
                .is_none_or(|port| port == self.listen_port)
            && self.peers == [peer]
    }

    /// What [`set`] makes of a device.
    #[cfg(test)]
    pub(super) fn of(wanted: &Wireguard, allowed: &BTreeSet<IpNet>) -> Self {
        Self {
            private_key: clamped(wanted.private_key),
            listen_port: wanted.listen_port.unwrap_or(40_000),
            peers: vec![Peer {
                public_key: wanted.peer_public_key,
                preshared_key: wanted.preshared_key.unwrap_or(NO_KEY),
                persistent_keepalive: wanted.persistent_keepalive,
                allowed: allowed.clone(),
            }],
        }
    }
}

/// A private key as the kernel keeps it: some bits of a Curve25519 secret are fixed (RFC 7748, 5).
fn clamped(WireguardKey(mut key): WireguardKey) -> WireguardKey {
    key[0] &= 248;
    key[31] = (key[31] & 127) | 64;
    WireguardKey(key)
}

/// Sets keys and peer of a device, in the place of others. What is as it was stays as it was, the
/// session with the peer too.
///
/// # Errors
///
/// What the kernel says.
pub(super) fn set(device: &Device) -> Result<(), Refusal> {
    let Some(keys) = &device.wireguard else {
        return Ok(());
    };
    // A peer that stays keeps its session, and where it was heard of last.
    let stays = get(&device.name).is_ok_and(
        |set| matches!(set.peers.as_slice(), [peer] if peer.public_key == keys.peer_public_key),
    );
    let attributes = attributes(&device.name, keys, &device.allowed, stays);
    Family::find("wireguard")?
        .request(WG_CMD_SET_DEVICE, NLM_F_ACK, &attributes)
        .map(drop)
}

/// Reads back what a device is set to.
///
/// # Errors
///
/// What the kernel says.
pub(super) fn get(name: &str) -> Result<Set, Refusal> {
    let answers =
        Family::find("wireguard")?.request(WG_CMD_GET_DEVICE, NLM_F_DUMP, &[ifname(name)])?;
    Ok(read(&answers))
}

/// When the peer of a device last agreed on keys with this node; nothing if it has not yet, or the
/// device is not there.
#[must_use]
pub fn last_handshake(name: &str) -> Option<SystemTime> {
    let answers = Family::find("wireguard")
        .and_then(|family| family.request(WG_CMD_GET_DEVICE, NLM_F_DUMP, &[ifname(name)]));
    handshake(&answers.ok()?)
}

fn handshake(answers: &[Vec<u8>]) -> Option<SystemTime> {
    let peers = (answers.iter()).flat_map(|answer| list(value(answer, WGDEVICE_A_PEERS)));
    let times = peers.filter_map(|peer| {
        // A `struct __kernel_timespec`; zero is never.
        let time = value(&peer, WGPEER_A_LAST_HANDSHAKE_TIME)?;
        let seconds = u64::from_ne_bytes(time.get(..8)?.try_into().ok()?);
        (seconds != 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    });
    times.max()
}

fn ifname(name: &str) -> DefaultNla {
    DefaultNla::new(WGDEVICE_A_IFNAME, format!("{name}\0").into_bytes())
}

fn attributes(
    name: &str,
    keys: &Wireguard,
    allowed: &BTreeSet<IpNet>,
    stays: bool,
) -> Vec<DefaultNla> {
    let mut peer = vec![
        DefaultNla::new(WGPEER_A_PUBLIC_KEY, keys.peer_public_key.0.to_vec()),
        DefaultNla::new(
            WGPEER_A_PRESHARED_KEY,
            keys.preshared_key.unwrap_or(NO_KEY).0.to_vec(),
        ),
        number(WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS),
        DefaultNla::new(
            WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
            keys.persistent_keepalive.to_ne_bytes().to_vec(),
        ),
    ];
    if let Some(endpoint) = keys.endpoint.filter(|_| !stays) {
        peer.push(DefaultNla::new(WGPEER_A_ENDPOINT, sockaddr(endpoint)));
    }
    let allowed: Vec<DefaultNla> = allowed.iter().map(|net| nested(0, &prefix(net))).collect();
    peer.push(nested(WGPEER_A_ALLOWEDIPS, &allowed));
    let mut device = vec![
        ifname(name),
        DefaultNla::new(WGDEVICE_A_PRIVATE_KEY, keys.private_key.0.to_vec()),
        number(
            WGDEVICE_A_FLAGS,
            if stays { 0 } else { WGDEVICE_F_REPLACE_PEERS },
        ),
    ];
    if let Some(port) = keys.listen_port {
        device.push(DefaultNla::new(
            WGDEVICE_A_LISTEN_PORT,
            port.to_ne_bytes().to_vec(),
        ));
    }
    device.push(nested(WGDEVICE_A_PEERS, &[nested(0, &peer)]));
    device
}

fn prefix(net: &IpNet) -> [DefaultNla; 3] {
    let (family, address) = match net.addr() {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    let family = u16::try_from(family).expect("address families are small numbers");
    [
        DefaultNla::new(WGALLOWEDIP_A_FAMILY, family.to_ne_bytes().to_vec()),
        DefaultNla::new(WGALLOWEDIP_A_IPADDR, address),
        DefaultNla::new(WGALLOWEDIP_A_CIDR_MASK, vec![net.prefix_len()]),
    ]
}

/// A `struct sockaddr_in` or `sockaddr_in6`.
fn sockaddr(address: SocketAddr) -> Vec<u8> {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let family = u16::try_from(family).expect("address families are small numbers");
    let mut bytes = family.to_ne_bytes().to_vec();
    bytes.extend(address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            bytes.extend(v4.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(v6) => {
            bytes.extend(v6.flowinfo().to_be_bytes());
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_ne_bytes());
        }
    }
    bytes
}

fn number(kind: u16, number: u32) -> DefaultNla {
    DefaultNla::new(kind, number.to_ne_bytes().to_vec())
}

fn nested(kind: u16, attributes: &[DefaultNla]) -> DefaultNla {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    DefaultNla::new(kind | NLA_F_NESTED, bytes)
}

/// A device may take several messages, and so may one peer, whose prefixes then go on.
fn read(answers: &[Vec<u8>]) -> Set {
    let mut set = Set {
        private_key: NO_KEY,
        listen_port: 0,
        peers: Vec::new(),
    };
    for answer in answers {
        if let Some(key) = value(answer, WGDEVICE_A_PRIVATE_KEY).and_then(key) {
            set.private_key = key;
        }
        if let Some(port) = value(answer, WGDEVICE_A_LISTEN_PORT).and_then(short) {
            set.listen_port = port;
        }
        for peer in list(value(answer, WGDEVICE_A_PEERS)) {
            let Some(public_key) = value(&peer, WGPEER_A_PUBLIC_KEY).and_then(key) else {
                continue;
            };
            let allowed = list(value(&peer, WGPEER_A_ALLOWEDIPS));
            let allowed = allowed.iter().filter_map(|net| allowed_ip(net));
            match set.peers.last_mut() {
                Some(last) if last.public_key == public_key => last.allowed.extend(allowed),
                _ => set.peers.push(Peer {
                    public_key,
                    preshared_key: value(&peer, WGPEER_A_PRESHARED_KEY)
                        .and_then(key)
                        .unwrap_or(NO_KEY),
                    persistent_keepalive: value(&peer, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL)
                        .and_then(short)
                        .unwrap_or(0),
                    allowed: allowed.collect(),
                }),
            }
        }
    }
    set
}

fn allowed_ip(attributes: &[u8]) -> Option<IpNet> {
    let address = value(attributes, WGALLOWEDIP_A_IPADDR)?;
    let address = match address.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
    };
    IpNet::new(
        address,
        *value(attributes, WGALLOWEDIP_A_CIDR_MASK)?.first()?,
    )
    .ok()
}

fn key(value: Vec<u8>) -> Option<WireguardKey> {
    value.try_into().ok().map(WireguardKey)
}

fn short(value: Vec<u8>) -> Option<u16> {
    value.try_into().ok().map(u16::from_ne_bytes)
}

/// The elements of a nested list.
fn list(value: Option<Vec<u8>>) -> Vec<Vec<u8>> {
    NlasIterator::new(value.unwrap_or_default().as_slice())
        .flatten()
        .map(|element| element.value().to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Wireguard {
        Wireguard {
            private_key: WireguardKey([0x5a; 32]),
            listen_port: Some(51_820),
            peer_public_key: WireguardKey([0x17; 32]),
            preshared_key: Some(WireguardKey([0x6b; 32])),
            endpoint: Some("[2001:db8::2]:51820".parse().unwrap()),
            persistent_keepalive: 25,
        }
    }

    fn allowed() -> BTreeSet<IpNet> {
        let nets = ["10.0.0.0/8", "10.255.0.2/32", "fd00::/16"];
        nets.iter().map(|net| net.parse().unwrap()).collect()
    }

    /// The message's attributes as the kernel gives them back.
    fn bytes(keys: &Wireguard) -> Vec<u8> {
        let attributes = attributes("wg0", keys, &allowed(), false);
        let mut bytes = vec![0; attributes.as_slice().buffer_len()];
        attributes.as_slice().emit(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_set_is_read_back() {
        let keys = keys();
        let mut set = read(&[bytes(&keys)]);
        // The kernel fixes bits of the key.
        set.private_key = clamped(set.private_key);
        assert_eq!(set, Set::of(&keys, &allowed()));
        assert!(set.is(&keys, &allowed()));
        for change in [
            (|keys: &mut Wireguard| keys.private_key.0[5] = 1) as fn(&mut Wireguard),
            |keys| keys.preshared_key = None,
            |keys| keys.peer_public_key.0[0] = 0,
            |keys| keys.persistent_keepalive = 0,
            |keys| keys.listen_port = Some(1),
        ] {
            let mut other = keys.clone();
            change(&mut other);
            assert!(!set.is(&other, &allowed()), "{other:?}");
        }
        assert!(!set.is(&keys, &BTreeSet::new()));
        let roamed = Wireguard {
            endpoint: None,
            ..keys
        };
        assert!(set.is(&roamed, &allowed()), "the peer may be anywhere");
    }

    #[test]
    fn prefixes_that_go_on_in_another_message_are_one_peer_s() {
        let message = bytes(&keys());
        let set = read(&[message.clone(), message]);
        assert_eq!(set.peers.len(), 1);
    }

    #[test]
    fn the_last_handshake_is_read_and_zero_is_none() {
        let answer = |seconds: u64| {
            let mut time = seconds.to_ne_bytes().to_vec();
            time.extend([1, 0, 0, 0, 0, 0, 0, 0]);
            let peer = nested(0, &[DefaultNla::new(WGPEER_A_LAST_HANDSHAKE_TIME, time)]);
            let device = [ifname("wg0"), nested(WGDEVICE_A_PEERS, &[peer])];
            let mut bytes = vec![0; device.as_slice().buffer_len()];
            device.as_slice().emit(&mut bytes);
            bytes
        };
        assert_eq!(
            handshake(&[answer(1_700_000_000)]),
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        );
        assert_eq!(handshake(&[answer(0)]), None);
        assert_eq!(handshake(&[]), None);
    }

    #[test]
    fn the_message_begins_with_the_name_and_the_private_key() {
        let bytes = bytes(&keys());
        assert_eq!(bytes[..8], [8, 0, 2, 0, b'w', b'g', b'0', 0]);
        assert_eq!(bytes[8..12], [36, 0, 3, 0]);
        assert_eq!(bytes[12..44], [0x5a; 32]);
        assert_eq!(bytes[44..52], [8, 0, 5, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[52..60], [6, 0, 6, 0, 0x6c, 0xca, 0, 0]);
        // The list of peers is nested.
        assert_eq!(bytes[62..64], [8, 0x80]);
    }

    #[test]
    fn nothing_that_is_shown_has_a_key_in_it() {
        let keys = keys();
        let shown = format!("{keys:?} {:?}", Set::of(&keys, &allowed()));
        for secret in ["90", "107", "5a", "6b"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}
