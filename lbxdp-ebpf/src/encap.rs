//! Headers in front of a packet: `push::<Outer, Shim>`.
//!
//! A tunnel packet is an outer IP header ([`Outer`]: IPv4 or IPv6), a [`Shim`]
//! (nothing, GRE, FOU, GUE, VXLAN, GENEVE, with their UDP and inner Ethernet headers),
//! and the inner packet; any outer goes with any shim. The agent prepares the
//! bytes of both with [`prepare`](prepare()), beside the code that relies on
//! them; per packet they are copied, and then patched:
//!
//! | field | from |
//! |---|---|
//! | outer total or payload length | the packet |
//! | ECN, and DSCP and TTL if asked for | the packet (RFC 6040, 4.1) |
//! | outer IPv4 header checksum | [`Path::header_sum`], and what was patched |
//! | inner protocol or EtherType | IP version of the packet |
//! | UDP length; source port | the packet; 49152 + 14 bits of the flow's hash |
//! | low half of the outer source address, if asked for | 16 bits of the flow's hash |
//! | UDP or GRE checksum, if asked for | the sums of headers: see [`inner_sum`] |
//!
//! The outer IPv4 identification is zero, which "don't fragment" allows (RFC 6864).

#![forbid(unsafe_code)]

mod outer;
#[cfg(not(target_arch = "bpf"))]
mod prepare;
mod shim;

use crate::abi::{
    Encapsulation, PATH_GRE_CHECKSUM, PATH_GRE_KEY, PATH_INNER_ETHERNET, PATH_SOURCE_ENTROPY,
    PATH_UDP_CHECKSUM, Path,
};
use crate::checksum::Sum;
use crate::frame::Frame;
use crate::parse::{Outline, Version};
use crate::wide;
use crate::wire::{GRE_FIELD, IPPROTO_TCP, IPPROTO_UDP, IPV4_MF, Ipv4, Ipv6, Pair, Udp};

pub use outer::{Inherited, Outer};
#[cfg(not(target_arch = "bpf"))]
pub use prepare::{InnerEthernet, PrepareError, Shape, Tunnel, prepare};
pub use shim::Shim;

/// Whether the path puts headers in front of the packet.
#[inline(always)]
#[must_use]
pub const fn is_tunnel(path: &Path) -> bool {
    path.encapsulation != Encapsulation::None as u8 && !path.is_device()
}

/// Writes the path's headers at `start`, in front of the packet that is now behind them.
///
/// `inner` is what the packet was parsed to; the frame has been given room. `None` if the path
/// contradicts itself or the room is not there.
#[inline(always)]
pub fn push<F: Frame>(
    frame: &mut F,
    start: usize,
    path: &Path,
    inner: &Outline,
    hash: u32,
) -> Option<()> {
    let header_len = usize::from(path.header_len);
    frame.put(start, path.header.get(..header_len)?)?;
    // Here, once for all headers, and not where it is used, once for each: programs are verified,
    // and given a stack, for all they might do.
    let mut sum = None;
    if path.has(PATH_UDP_CHECKSUM | PATH_GRE_CHECKSUM) {
        let at = start + header_len;
        sum = inner_sum(frame, at, inner).or_else(|| frame.sum(at, inner.length.into()));
    }
    let inherited = Inherited::read(frame, start + header_len, inner.version)?;
    match path.outer {
        4 => frame.at_mut::<Ipv4>(start)?.inherit(path, inherited),
        6 => frame.at_mut::<Ipv6>(start)?.inherit(path, inherited),
        _ => return None,
    }
    let patch = Patch { inner, hash, sum };
    push_outer(frame, start, path, &patch)
}

/// [`push`] for a path without checksums and a packet that has been read to the end: fewer steps,
/// each header in one, for a program that need not be verified with everything else.
#[inline(always)]
pub fn push_plain<F: Frame>(
    frame: &mut F,
    start: usize,
    path: &Path,
    inner: &Outline,
    inherited: Inherited,
    hash: u32,
) -> Option<()> {
    let finish = CopyAndPatch {
        inner,
        hash,
        inherited,
    };
    push_outer(frame, start, path, &finish)
}

/// What is done about the headers of a path when their types are known.
trait Finish {
    fn finish<F: Frame, O: Outer, S: Shim>(
        &self,
        frame: &mut F,
        start: usize,
        path: &Path,
    ) -> Option<()>;
}

#[inline(always)]
fn push_outer<F: Frame>(
    frame: &mut F,
    start: usize,
    path: &Path,
    finish: &impl Finish,
) -> Option<()> {
    match path.outer {
        4 => push_shim::<F, Ipv4>(frame, start, path, finish),
        6 => push_shim::<F, Ipv6>(frame, start, path, finish),
        _ => None,
    }
}

#[inline(always)]
fn push_shim<F: Frame, O: Outer>(
    frame: &mut F,
    start: usize,
    path: &Path,
    finish: &impl Finish,
) -> Option<()> {
    match path.encapsulation()? {
        Encapsulation::None | Encapsulation::Device => None,
        Encapsulation::IpIp => finish.finish::<F, O, shim::Bare>(frame, start, path),
        Encapsulation::Gre => match (path.has(PATH_GRE_CHECKSUM), path.has(PATH_GRE_KEY)) {
            (false, false) => finish.finish::<F, O, shim::Gre<0, 0>>(frame, start, path),
            (false, true) => finish.finish::<F, O, shim::Gre<0, GRE_FIELD>>(frame, start, path),
            (true, false) => finish.finish::<F, O, shim::Gre<GRE_FIELD, 0>>(frame, start, path),
            (true, true) => {
                finish.finish::<F, O, shim::Gre<GRE_FIELD, GRE_FIELD>>(frame, start, path)
            }
        },
        Encapsulation::Fou => finish.finish::<F, O, shim::Fou>(frame, start, path),
        Encapsulation::Gue => finish.finish::<F, O, shim::Gue>(frame, start, path),
        Encapsulation::Vxlan => finish.finish::<F, O, shim::Vxlan>(frame, start, path),
        Encapsulation::Geneve => {
            if path.has(PATH_INNER_ETHERNET) {
                finish.finish::<F, O, shim::GeneveEthernet>(frame, start, path)
            } else {
                finish.finish::<F, O, shim::GeneveIp>(frame, start, path)
            }
        }
    }
}

/// Patches the headers that have been copied.
struct Patch<'a> {
    /// The packet inside.
    inner: &'a Outline,
    /// Hash of the flow.
    hash: u32,
    /// The sum of the packet inside, if it may be needed and can be known.
    sum: Option<Sum>,
}

/// The length of all behind the outer IP header, and what takes the place of half its source.
#[inline(always)]
fn varies<S: Shim>(path: &Path, inner: &Outline, hash: u32) -> (u16, Option<[u8; 2]>) {
    let takes_entropy = !S::HAS_PORTS && path.has(PATH_SOURCE_ENTROPY);
    let entropy = takes_entropy.then_some((hash as u16).to_be_bytes());
    // That the whole fits in 16 bits was seen to before room was made.
    let length = (size_of::<S>() as u16).wrapping_add(inner.length);
    (length, entropy)
}

impl Patch<'_> {
    #[inline(always)]
    fn apply<O: Outer, S: Shim>(&self, headers: &mut Pair<O, S>, path: &Path) {
        let Self { inner, hash, sum } = *self;
        let (length, entropy) = varies::<S>(path, inner, hash);
        headers
            .first
            .fill(length, S::protocol(inner.version), entropy);
        headers.second.fill(inner.version, length, hash);
        if let Some(sum) = sum.filter(|_| path.has(S::SUMMED)) {
            headers.second.seal(headers.first.pseudo_sum(length), sum);
        }
    }
}

impl Finish for Patch<'_> {
    #[inline(always)]
    fn finish<F: Frame, O: Outer, S: Shim>(
        &self,
        frame: &mut F,
        start: usize,
        path: &Path,
    ) -> Option<()> {
        if usize::from(path.header_len) != size_of::<Pair<O, S>>() {
            return None;
        }
        self.apply::<O, S>(frame.at_mut(start)?, path);
        Some(())
    }
}

/// Copies and patches the headers.
struct CopyAndPatch<'a> {
    /// The packet inside.
    inner: &'a Outline,
    /// Hash of the flow.
    hash: u32,
    /// What the outer header has of it.
    inherited: Inherited,
}

impl Finish for CopyAndPatch<'_> {
    #[inline(always)]
    fn finish<F: Frame, O: Outer, S: Shim>(
        &self,
        frame: &mut F,
        start: usize,
        path: &Path,
    ) -> Option<()> {
        if usize::from(path.header_len) != size_of::<Pair<O, S>>() {
            return None;
        }
        let headers: &mut Pair<O, S> = frame.at_mut(start)?;
        wide::copy(headers, &path.header)?;
        let Self {
            inner,
            hash,
            inherited,
        } = *self;
        let prepared = O::of(&path.header)?;
        let (length, entropy) = varies::<S>(path, inner, hash);
        let protocol = S::protocol(inner.version);
        (headers.first).inherit_and_fill(prepared, path, inherited, length, protocol, entropy);
        headers.second.fill(inner.version, length, hash);
        Some(())
    }
}

/// The sum of all 16-bit words of the packet at `start`, from its headers alone.
///
/// A valid IPv4 header sums to zero; TCP segment or UDP datagram and pseudo header together sum to
/// zero, so that the payload's sum is the complement of the pseudo header's (the kernel calls
/// this local checksum offload). A packet whose own checksum is wrong gets an outer one that is
/// wrong too, and is discarded a layer earlier.
///
/// `None` if the headers do not tell, and the bytes must be summed: UDP without a checksum or
/// shorter than its packet, fragments, IPv6 with extension headers.
#[inline(always)]
pub fn inner_sum<F: Frame>(frame: &F, start: usize, ip: &Outline) -> Option<Sum> {
    let payload_len = u16::try_from(ip.payload_len()).ok()?;
    match ip.protocol {
        IPPROTO_TCP => {}
        IPPROTO_UDP => {
            let udp: &Udp = frame.at(start + ip.header_len as usize)?;
            if udp.checksum == [0, 0] || u16::from_be_bytes(udp.length) != payload_len {
                return None;
            }
        }
        _ => return None,
    }
    let pseudo = Sum::ZERO.add_number(payload_len).add([0, ip.protocol]);
    match ip.version {
        Version::V4 => {
            let header: &Ipv4 = frame.at(start)?;
            let [flags, _] = header.flags_fragment_offset;
            if flags & IPV4_MF != 0 {
                return None;
            }
            let addresses = Sum::ZERO
                .add_bytes(&header.source)
                .add_bytes(&header.destination);
            Some(Sum::ZERO.minus(pseudo.plus(addresses)))
        }
        Version::V6 => {
            if ip.header_len != size_of::<Ipv6>() as u32 {
                return None;
            }
            // The addresses are in the header and, with the other sign, in the pseudo header.
            let header: &Ipv6 = frame.at(start)?;
            let rest = Sum::ZERO
                .add_bytes(&header.version_class_label)
                .add(header.payload_length)
                .add([header.next_header, header.hop_limit]);
            Some(rest.minus(pseudo))
        }
    }
}
