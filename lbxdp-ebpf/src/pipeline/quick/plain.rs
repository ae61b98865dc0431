use crate::abi::{Address, FlowKey, Port, VnetId};
use crate::frame::Frame;
use crate::parse::{Outline, Version};
use crate::wide::{self, Wide as _};
use crate::wire::{
    Ethernet, IPPROTO_TCP, IPPROTO_UDP, IPV4_MF, IPV4_OFFSET, Ipv4, Ipv6, Pair, TCP_SYN, Tcp, Udp,
};

/// A packet of TCP or UDP that is whole, right behind an IP header without options or extension
/// headers, right behind an Ethernet header.
pub(super) struct Plain {
    /// Version, lengths, protocol.
    pub(super) outline: Outline,
    /// Source address.
    pub(super) source: Address,
    /// Destination address.
    pub(super) destination: Address,
    /// Source port.
    pub(super) source_port: Port,
    /// Destination port.
    pub(super) destination_port: Port,
    /// DSCP and ECN.
    pub(super) class: u8,
    /// TTL or hop limit.
    pub(super) hops: u8,
    /// Control bits of TCP, or 0.
    pub(super) tcp_flags: u8,
}

impl Plain {
    /// Where the IP header is.
    pub(super) const START: usize = size_of::<Ethernet>();

    #[inline(always)]
    pub(super) fn read_v4<F: Frame>(frame: &F) -> Option<Self> {
        let Pair { first: ip, second } = frame.at::<Pair<Ipv4, Udp>>(Self::START)?;
        let [flags, offset] = ip.flags_fragment_offset.load();
        if ip.version_ihl != 0x45 || flags & (IPV4_MF | IPV4_OFFSET) | offset != 0 {
            return None;
        }
        Self {
            outline: Outline {
                header_len: size_of::<Ipv4>() as u32,
                length: u16::from_be_bytes(ip.total_length.load()),
                protocol: ip.protocol,
                version: Version::V4,
            },
            source: Address::from_v4(ip.source.load()),
            destination: Address::from_v4(ip.destination.load()),
            source_port: Port::from_bytes(second.ports.source.load()),
            destination_port: Port::from_bytes(second.ports.destination.load()),
            class: ip.type_of_service,
            hops: ip.time_to_live,
            tcp_flags: 0,
        }
        .whole(frame)
    }

    #[inline(always)]
    pub(super) fn read_v6<F: Frame>(frame: &F) -> Option<Self> {
        let Pair { first: ip, second } = frame.at::<Pair<Ipv6, Udp>>(Self::START)?;
        let [version_class, class_label, _, _] = ip.version_class_label.load();
        let source = Address::from_v6(wide::load_16(&ip.source));
        let destination = Address::from_v6(wide::load_16(&ip.destination));
        if version_class >> 4 != 6 || source.is_v4() || destination.is_v4() {
            return None;
        }
        Self {
            outline: Outline {
                header_len: size_of::<Ipv6>() as u32,
                length: u16::from_be_bytes(ip.payload_length.load())
                    .checked_add(size_of::<Ipv6>() as u16)?,
                protocol: ip.next_header,
                version: Version::V6,
            },
            source,
            destination,
            source_port: Port::from_bytes(second.ports.source.load()),
            destination_port: Port::from_bytes(second.ports.destination.load()),
            class: version_class << 4 | class_label >> 4,
            hops: ip.hop_limit,
            tcp_flags: 0,
        }
        .whole(frame)
    }

    /// The packet, if it is all there.
    #[inline(always)]
    fn whole<F: Frame>(mut self, frame: &F) -> Option<Self> {
        let start = self.transport();
        let transport_len = match self.outline.protocol {
            IPPROTO_TCP => {
                self.tcp_flags = frame.at::<Tcp>(start)?.flags;
                size_of::<Tcp>()
            }
            IPPROTO_UDP => size_of::<Udp>(),
            _ => return None,
        };
        let length = usize::from(self.outline.length);
        if length < self.outline.header_len as usize + transport_len
            || Self::START + length > frame.len()
        {
            return None;
        }
        Some(self)
    }

    /// Where the TCP or UDP header is.
    #[inline(always)]
    pub(super) const fn transport(&self) -> usize {
        Self::START + self.outline.header_len as usize
    }

    /// Whether this is TCP with SYN.
    #[inline(always)]
    pub(super) const fn opens(&self) -> bool {
        self.tcp_flags & TCP_SYN != 0
    }

    #[inline(always)]
    pub(super) fn flow(&self) -> FlowKey {
        FlowKey {
            source: self.source,
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
            vnet: VnetId::LOCAL,
            protocol: self.outline.protocol,
            reserved: [0; 3],
        }
    }
}
