use crate::abi::{PATH_GRE_CHECKSUM, PATH_UDP_CHECKSUM};
use crate::checksum::Sum;
use crate::frame::Wire;
use crate::parse::Version;
use crate::wire::{
    self, Ethernet, IPPROTO_GRE, IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_UDP, Pair, Udp,
};

/// All headers between the outer IP header and the inner one.
pub trait Shim: Wire {
    /// The flag of a path that asks for a checksum here; 0 where there is none.
    const SUMMED: u8;
    /// Whether a UDP source port carries the flow's entropy.
    const HAS_PORTS: bool;

    /// The protocol number that the outer header names.
    fn protocol(inner: Version) -> u8;

    /// Writes what depends on the packet; `length` is of these headers and the inner packet.
    fn fill(&mut self, inner: Version, length: u16, hash: u32);

    /// Writes the checksum, all else being in place: `pseudo` is the sum of UDP's pseudo header,
    /// `inner` that of the inner packet.
    fn seal(&mut self, pseudo: Sum, inner: Sum);
}

/// Nothing: IP in IP.
pub(super) type Bare = [u8; 0];
/// GRE; each of checksum and key has either no bytes or [`wire::GRE_FIELD`].
pub(super) type Gre<const CHECKSUM: usize, const KEY: usize> =
    Pair<wire::Gre, Pair<[u8; CHECKSUM], [u8; KEY]>>;
/// Nothing over UDP.
pub(super) type Fou = Pair<Udp, Bare>;
/// GUE over UDP.
pub(super) type Gue = Pair<Udp, wire::Gue>;
/// VXLAN over UDP, and the inner Ethernet header.
pub(super) type Vxlan = Pair<Udp, Pair<wire::Vxlan, Ethernet>>;
/// GENEVE over UDP, and the inner Ethernet header.
pub(super) type GeneveEthernet = Pair<Udp, Pair<wire::Geneve, Ethernet>>;
/// GENEVE over UDP, with an IP packet right behind it.
pub(super) type GeneveIp = Pair<Udp, wire::Geneve>;

/// RFC 2003, RFC 2473, RFC 4213.
impl Shim for Bare {
    const SUMMED: u8 = 0;
    const HAS_PORTS: bool = false;

    #[inline(always)]
    fn protocol(inner: Version) -> u8 {
        ip_protocol(inner)
    }

    #[inline(always)]
    fn fill(&mut self, _: Version, _: u16, _: u32) {}

    #[inline(always)]
    fn seal(&mut self, _: Sum, _: Sum) {}
}

/// RFC 2784, RFC 2890.
impl<const CHECKSUM: usize, const KEY: usize> Shim for Gre<CHECKSUM, KEY> {
    const SUMMED: u8 = if CHECKSUM == 0 { 0 } else { PATH_GRE_CHECKSUM };
    const HAS_PORTS: bool = false;

    #[inline(always)]
    fn protocol(_: Version) -> u8 {
        IPPROTO_GRE
    }

    #[inline(always)]
    fn fill(&mut self, inner: Version, _: u16, _: u32) {
        self.first.protocol_type = inner.ethertype();
    }

    #[inline(always)]
    fn seal(&mut self, _: Sum, inner: Sum) {
        let sum = inner.add_bytes(self.bytes());
        if let Some(field) = self.second.first.first_chunk_mut() {
            *field = sum.checksum();
        }
    }
}

/// What is over UDP.
pub trait OverUdp: Wire {
    /// Writes what depends on the packet.
    fn fill(&mut self, inner: Version);
}

impl<T: OverUdp> Shim for Pair<Udp, T> {
    const SUMMED: u8 = PATH_UDP_CHECKSUM;
    const HAS_PORTS: bool = true;

    #[inline(always)]
    fn protocol(_: Version) -> u8 {
        IPPROTO_UDP
    }

    #[inline(always)]
    fn fill(&mut self, inner: Version, length: u16, hash: u32) {
        self.first.ports.source = entropy_port(hash);
        self.first.length = length.to_be_bytes();
        self.second.fill(inner);
    }

    #[inline(always)]
    fn seal(&mut self, pseudo: Sum, inner: Sum) {
        self.first.checksum = pseudo.plus(inner).add_bytes(self.bytes()).udp_checksum();
    }
}

/// draft-ietf-intarea-gue-09, 4.
impl OverUdp for Bare {
    #[inline(always)]
    fn fill(&mut self, _: Version) {}
}

/// draft-ietf-intarea-gue-09, 3.2.
impl OverUdp for wire::Gue {
    #[inline(always)]
    fn fill(&mut self, inner: Version) {
        self.proto_ctype = ip_protocol(inner);
    }
}

/// RFC 7348, 5.
impl OverUdp for Pair<wire::Vxlan, Ethernet> {
    #[inline(always)]
    fn fill(&mut self, inner: Version) {
        self.second.ethertype = inner.ethertype();
    }
}

/// RFC 8926, 3.4.
impl OverUdp for Pair<wire::Geneve, Ethernet> {
    #[inline(always)]
    fn fill(&mut self, inner: Version) {
        self.second.ethertype = inner.ethertype();
    }
}

/// RFC 8926, 3.4.
impl OverUdp for wire::Geneve {
    #[inline(always)]
    fn fill(&mut self, inner: Version) {
        self.protocol_type = inner.ethertype();
    }
}

/// First of the dynamic ports (RFC 6335, 6), of which the low 14 bits are free.
const DYNAMIC_PORTS: u16 = 49_152;

/// A source port that differs from flow to flow, for routers and receivers that spread by ports
/// (RFC 7348, 5; RFC 8926, 3.3).
#[inline(always)]
const fn entropy_port(hash: u32) -> [u8; 2] {
    (DYNAMIC_PORTS | (hash as u16 & !DYNAMIC_PORTS)).to_be_bytes()
}

#[inline(always)]
const fn ip_protocol(inner: Version) -> u8 {
    match inner {
        Version::V4 => IPPROTO_IPIP,
        Version::V6 => IPPROTO_IPV6,
    }
}
