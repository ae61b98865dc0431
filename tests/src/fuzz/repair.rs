//! Lengths and checksums of a frame made right again, as far as its headers can be followed.

use etherparse::checksum::Sum16BitWords;

use crate::packet::number;

/// What becomes of the lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lengths {
    /// They stay.
    Left,
    /// They become those of the bytes that are there.
    Set,
}

/// Repairs from the innermost header outwards, since an outer checksum covers the inner ones.
pub(super) fn repair(frame: &mut [u8], lengths: Lengths) {
    ethernet(frame, lengths);
}

fn ethernet(frame: &mut [u8], lengths: Lengths) {
    let mut offset = 12;
    for _ in 0..3 {
        match word(frame, offset) {
            Some(number::ETHERTYPE_VLAN | number::ETHERTYPE_SERVICE_VLAN) => offset += 4,
            Some(number::ETHERTYPE_IPV4) => return ipv4(&mut frame[offset + 2..], lengths),
            Some(number::ETHERTYPE_IPV6) => return ipv6(&mut frame[offset + 2..], lengths),
            _ => return,
        }
    }
}

fn ip(packet: &mut [u8], lengths: Lengths) {
    match packet.first().map(|first| first >> 4) {
        Some(4) => ipv4(packet, lengths),
        Some(6) => ipv6(packet, lengths),
        _ => {}
    }
}

fn ipv4(packet: &mut [u8], lengths: Lengths) {
    if packet.len() < 20 {
        return;
    }
    let header = usize::from(packet[0] & 15) * 4;
    if lengths == Lengths::Set {
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
    }
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    if header < 20 || length < header || length > packet.len() {
        return;
    }
    let pseudo = Sum16BitWords::new().add_slice(&packet[12..20]);
    let protocol = packet[9];
    transport(&mut packet[header..length], protocol, pseudo, lengths);
    store(&mut packet[..header], 10, Sum16BitWords::new());
}

fn ipv6(packet: &mut [u8], lengths: Lengths) {
    if packet.len() < 40 {
        return;
    }
    if lengths == Lengths::Set {
        let length = (packet.len() - 40) as u16;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
    }
    let length = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    if length > packet.len() {
        return;
    }
    let pseudo = Sum16BitWords::new().add_slice(&packet[8..40]);
    let protocol = packet[6];
    transport(&mut packet[40..length], protocol, pseudo, lengths);
}

fn transport(payload: &mut [u8], protocol: u8, pseudo: Sum16BitWords, lengths: Lengths) {
    let length = (payload.len() as u32).to_be_bytes();
    let pseudo = pseudo.add_slice(&length).add_2bytes([0, protocol]);
    match protocol {
        number::TCP => store(payload, 16, pseudo),
        number::UDP => udp(payload, pseudo, lengths),
        number::ICMP => store(payload, 2, Sum16BitWords::new()),
        number::ICMPV6 => store(payload, 2, pseudo),
        number::IPV4 | number::IPV6 => ip(payload, lengths),
        number::GRE => gre(payload, lengths),
        _ => {}
    }
}

fn udp(datagram: &mut [u8], pseudo: Sum16BitWords, lengths: Lengths) {
    if datagram.len() < 8 {
        return;
    }
    if lengths == Lengths::Set {
        let length = datagram.len() as u16;
        datagram[4..6].copy_from_slice(&length.to_be_bytes());
    }
    tunnelled(datagram, lengths);
    if datagram[6..8] != [0, 0] {
        store(datagram, 6, pseudo);
        if datagram[6..8] == [0, 0] {
            datagram[6..8].fill(0xff);
        }
    }
}

fn gre(packet: &mut [u8], lengths: Lengths) {
    let Some(&[flags, _, high, low]) = packet.first_chunk::<4>() else {
        return;
    };
    let fields = [0x80, 0x20, 0x10].iter().filter(|flag| flags & **flag != 0);
    by_ethertype(
        packet,
        4 + 4 * fields.count(),
        u16::from_be_bytes([high, low]),
        lengths,
    );
    if flags & 0x80 != 0 {
        store(packet, 4, Sum16BitWords::new());
    }
}

/// What is in the datagram of a tunnel.
fn tunnelled(datagram: &mut [u8], lengths: Lengths) {
    let port = word(datagram, 2);
    let Some(&[first, kind, high, low]) = datagram[8..].first_chunk::<4>() else {
        return;
    };
    match port {
        Some(number::PORT_VXLAN | number::PORT_VXLAN_OLD) => {
            by_ethertype(datagram, 16, number::ETHERTYPE_ETHERNET, lengths);
        }
        Some(number::PORT_GENEVE) => {
            let offset = 16 + 4 * usize::from(first & 0x3f);
            by_ethertype(datagram, offset, u16::from_be_bytes([high, low]), lengths);
        }
        Some(number::PORT_GUE) if matches!(kind, number::IPV4 | number::IPV6) => {
            let offset = 12 + 4 * usize::from(first & 0x1f);
            if let Some(inside) = datagram.get_mut(offset..) {
                ip(inside, lengths);
            }
        }
        _ => {}
    }
}

fn by_ethertype(packet: &mut [u8], offset: usize, kind: u16, lengths: Lengths) {
    let Some(inside) = packet.get_mut(offset..) else {
        return;
    };
    match kind {
        number::ETHERTYPE_IPV4 => ipv4(inside, lengths),
        number::ETHERTYPE_IPV6 => ipv6(inside, lengths),
        number::ETHERTYPE_ETHERNET => ethernet(inside, lengths),
        _ => {}
    }
}

/// Writes the checksum of `bytes` and `sum` to where it is.
fn store(bytes: &mut [u8], at: usize, sum: Sum16BitWords) {
    let Some(field) = bytes.get_mut(at..at + 2) else {
        return;
    };
    field.fill(0);
    // etherparse sums words as they stand in memory.
    let checksum = sum.add_slice(bytes).ones_complement().to_ne_bytes();
    bytes[at..at + 2].copy_from_slice(&checksum);
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}
