//! Keys as people write them.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, anyhow, bail};
use ipnet::IpNet;
use lbxdp_ebpf::abi::{
    Address, Encapsulation, EntityKey, EntityKind, FlowKey, FragmentKey, PeerKey, Port, RangeKey,
    RouteKey, Service, Side, VnetId,
};
use lbxdp_ebpf::verdict::Reason;

use crate::dataplane::Names;

/// `[VNET] ADDRESS:PORT/PROTOCOL`; `PORT+` for the range that is entered under a port.
pub(super) fn service(text: &str, names: &Names) -> Result<Service> {
    const FORM: &str = "expected [VNET] ADDRESS:PORT/PROTOCOL, such as \
                        `blue 10.0.0.11:80/tcp` or `[2001:db8::1]:53/udp`";
    let words: Vec<&str> = text.split_whitespace().collect();
    let (vnet, service) = match words.as_slice() {
        [service] => (VnetId::LOCAL, *service),
        [name, service] => (vnet(name, names)?, *service),
        _ => bail!("`{text}` is no key of this map: {FORM}"),
    };
    let bad = || anyhow!("`{service}` is no transport address: {FORM}");
    let (socket, protocol) = service.rsplit_once('/').ok_or_else(bad)?;
    let (socket, range) = match socket.strip_suffix('+') {
        Some(socket) => (socket, 1),
        None => (socket, 0),
    };
    let socket: SocketAddr = socket.parse().map_err(|_| bad())?;
    let protocol = protocol_number(protocol).ok_or_else(bad)?;
    Ok(Service {
        address: Address::from(socket.ip().to_canonical()),
        port: Port::new(socket.port()),
        protocol,
        range,
        vnet,
    })
}

fn protocol_number(text: &str) -> Option<u8> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmp" => Some(1),
        "icmpv6" => Some(58),
        "fragment" => Some(44),
        other => other.parse().ok(),
    }
}

/// `[VNET] SOURCE > DESTINATION/PROTOCOL`.
pub(super) fn flow(text: &str, names: &Names) -> Result<FlowKey> {
    let form = || {
        anyhow!(
            "`{text}` is no key of this map: expected [VNET] ADDRESS:PORT > ADDRESS:PORT/PROTOCOL, \
             such as `192.0.2.7:40000 > 198.51.100.10:80/tcp`"
        )
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let (vnet, source, destination) = match words.as_slice() {
        [source, ">", destination] => (VnetId::LOCAL, source, destination),
        [name, source, ">", destination] => (vnet(name, names)?, source, destination),
        _ => return Err(form()),
    };
    let (destination, protocol) = destination.rsplit_once('/').ok_or_else(form)?;
    let socket = |text: &str| text.parse::<SocketAddr>().map_err(|_| form());
    let (source, destination) = (socket(source)?, socket(destination)?);
    Ok(FlowKey {
        source: Address::from(source.ip().to_canonical()),
        destination: Address::from(destination.ip().to_canonical()),
        source_port: Port::new(source.port()),
        destination_port: Port::new(destination.port()),
        vnet,
        protocol: protocol_number(protocol).ok_or_else(form)?,
        reserved: [0; 3],
    })
}

/// `[VNET] SOURCE DESTINATION PROTOCOL IDENTIFICATION`.
pub(super) fn fragment(text: &str, names: &Names) -> Result<FragmentKey> {
    let form = || {
        anyhow!(
            "`{text}` is no key of this map: expected [VNET] SOURCE DESTINATION PROTOCOL \
             IDENTIFICATION, such as `local 192.0.2.7 198.51.100.10 udp 4711`; the protocol of IPv6 \
             is `fragment`"
        )
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let (name, rest) = match words.as_slice() {
        [name, rest @ ..] if rest.len() == 4 => (Some(*name), rest),
        rest if rest.len() == 4 => (None, rest),
        _ => return Err(form()),
    };
    let [source, destination, protocol, identification] = rest else {
        return Err(form());
    };
    let address = |text: &str| {
        let ip: IpAddr = text.parse().map_err(|_| form())?;
        anyhow::Ok(Address::from(ip.to_canonical()))
    };
    Ok(FragmentKey {
        vnet: name.map_or(Ok(VnetId::LOCAL), |name| vnet(name, names))?,
        source: address(source)?,
        destination: address(destination)?,
        identification: identification.parse().map_err(|_| form())?,
        protocol: protocol_number(protocol).ok_or_else(form)?,
        reserved: [0; 3],
    })
}

/// The name of a VNet, or its number.
pub(in crate::cli) fn vnet(name: &str, names: &Names) -> Result<VnetId> {
    names
        .index(EntityKind::Vnet, name)
        .map(VnetId)
        .ok_or_else(|| {
            let known: Vec<&str> = names.all(EntityKind::Vnet).map(|(_, name)| name).collect();
            anyhow!(
                "there is no VNet `{name}`; there are: local, {}",
                known.join(", ")
            )
        })
}

/// A number, or the name of what has the slot.
pub(super) fn index(text: &str, kind: Option<EntityKind>, names: &Names) -> Result<u32> {
    let found = match kind {
        Some(kind) => names.index(kind, text),
        None => text.parse().ok(),
    };
    let form = match kind {
        Some(EntityKind::Origin) => "its number, or POOL/ORIGIN",
        Some(EntityKind::Tunnel) => "its number, or VNET/TUNNEL",
        Some(EntityKind::Listener) => "its number, or a listener's name",
        Some(EntityKind::Table) => "its number, or a table's name",
        Some(EntityKind::Vnet) | None => "a number",
    };
    found.ok_or_else(|| anyhow!("`{text}` is no slot of this map: expected {form}"))
}

/// `REMOTE LOCAL KIND [VNI-OR-KEY [PORT]]`.
pub(super) fn peer(text: &str) -> Result<PeerKey> {
    let form = || {
        anyhow!(
            "`{text}` is no key of this map: expected REMOTE LOCAL KIND [VNI-OR-KEY [PORT]], such \
             as `203.0.113.2 203.0.113.1 vxlan 100 4789`"
        )
    };
    let mut words = text.split_whitespace();
    let mut address = || {
        let ip: IpAddr = words.next()?.parse().ok()?;
        Some(Address::from(ip.to_canonical()))
    };
    let (remote, local) = (address().ok_or_else(form)?, address().ok_or_else(form)?);
    let (encapsulation, port) = match words.next() {
        Some("ipip") => (Encapsulation::IpIp, 0),
        Some("gre") => (Encapsulation::Gre, 0),
        Some("fou") => (Encapsulation::Fou, 6080),
        Some("gue") => (Encapsulation::Gue, 6080),
        Some("vxlan") => (Encapsulation::Vxlan, 4789),
        Some("geneve") => (Encapsulation::Geneve, 6081),
        Some(_) | None => return Err(form()),
    };
    let vni = words.next().map_or(Ok(0), str::parse).map_err(|_| form())?;
    let port = words
        .next()
        .map_or(Ok(port), str::parse)
        .map_err(|_| form())?;
    if words.next().is_some() {
        return Err(form());
    }
    Ok(PeerKey {
        remote,
        local,
        vni,
        port: Port::new(port),
        encapsulation: encapsulation as u8,
        reserved: 0,
    })
}

/// `VNET PREFIX`; an address alone is one with all its bits.
pub(super) fn route(text: &str, names: &Names) -> Result<(RouteKey, u32)> {
    let form = || {
        anyhow!("`{text}` is no key of this map: expected VNET PREFIX, such as `blue 10.0.0.0/8`")
    };
    let (name, prefix) = text.split_once(char::is_whitespace).ok_or_else(form)?;
    let prefix = prefix.trim();
    let prefix = prefix
        .parse::<IpNet>()
        .or_else(|_| prefix.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| form())?;
    let mapping = if prefix.addr().is_ipv4() { 96 } else { 0 };
    let key = RouteKey::new(vnet(name, names)?, Address::from(prefix.network()));
    Ok((
        key,
        RouteKey::VNET_BITS + mapping + u32::from(prefix.prefix_len()),
    ))
}

/// `SIDE [VNET] ADDRESS:PORT/PROTOCOL BITS`.
pub(super) fn range(text: &str, names: &Names) -> Result<(RangeKey, u32)> {
    let form = || {
        anyhow!(
            "`{text}` is no key of this map: expected SIDE [VNET] ADDRESS:PORT/PROTOCOL BITS, such \
             as `listener local 198.51.100.10:8000/tcp 10`; sides are listener, origin"
        )
    };
    let (side, rest) = text
        .trim()
        .split_once(char::is_whitespace)
        .ok_or_else(form)?;
    let side = match side {
        "listener" => Side::Listener,
        "origin" => Side::Origin,
        _ => return Err(form()),
    };
    let (at, bits) = rest
        .trim()
        .rsplit_once(char::is_whitespace)
        .ok_or_else(form)?;
    let bits: u32 = bits.parse().map_err(|_| form())?;
    if bits > 16 {
        return Err(form());
    }
    let service = service(at, names)?;
    Ok((RangeKey::new(&service, side), RangeKey::FIXED_BITS + bits))
}

/// `KIND INDEX-OR-NAME`.
pub(super) fn entity(text: &str, names: &Names) -> Result<EntityKey> {
    let form = || {
        anyhow!(
            "`{text}` is no key of this map: expected KIND and its number or name, such as \
             `origin web-blue/a`; kinds are vnet, tunnel, origin, listener, table"
        )
    };
    let (kind, rest) = text.split_once(char::is_whitespace).ok_or_else(form)?;
    let kind = match kind {
        "vnet" => EntityKind::Vnet,
        "tunnel" => EntityKind::Tunnel,
        "origin" => EntityKind::Origin,
        "listener" => EntityKind::Listener,
        "table" => EntityKind::Table,
        _ => return Err(form()),
    };
    let index = names.index(kind, rest.trim()).ok_or_else(form)?;
    Ok(EntityKey {
        kind: kind as u32,
        index,
    })
}

/// A reason's label, or its number.
pub(super) fn reason(text: &str) -> Result<Reason> {
    let number: Option<usize> = text.parse().ok();
    Reason::ALL
        .iter()
        .enumerate()
        .find(|(index, reason)| reason.label() == text || number == Some(*index))
        .map(|(_, reason)| *reason)
        .with_context(|| {
            format!(
                "`{text}` is no reason: expected a label, such as `{}`",
                Reason::NoListener.label()
            )
        })
}

/// A port.
pub(super) fn port(text: &str) -> Result<u16> {
    text.parse()
        .with_context(|| format!("`{text}` is no port: expected a number up to 65535"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lbxdp_ebpf::abi::Entity;
    use proptest::prelude::*;

    use super::super::entry;
    use super::*;

    fn names() -> Names {
        let named = |kind: EntityKind, index, name: &str| {
            let kind = kind as u32;
            (EntityKey { kind, index }, Entity::named(name).unwrap())
        };
        Names::new(BTreeMap::from([
            named(EntityKind::Vnet, 7, "blue"),
            named(EntityKind::Origin, 3, "web-blue/a"),
            named(EntityKind::Tunnel, 1, "blue/blue-1"),
        ]))
    }

    #[test]
    fn services_are_read_as_they_are_written() {
        for text in [
            "blue 10.0.0.11:80/tcp",
            "local [2001:db8::1]:53/udp",
            "#9 10.0.0.1:1/tcp",
            "local 198.51.100.10:8000+/udp",
        ] {
            let key = service(text, &names()).unwrap();
            assert_eq!(entry::service_key(&key, &names()), text);
        }
        let short = service("10.0.0.11:80/tcp", &names()).unwrap();
        assert_eq!(short.vnet, VnetId::LOCAL);
    }

    #[test]
    fn bad_keys_are_answered_with_the_form() {
        let error = service("10.0.0.11:80", &names()).unwrap_err().to_string();
        assert!(error.contains("ADDRESS:PORT/PROTOCOL"), "{error}");
        let error = service("green 10.0.0.11:80/tcp", &names())
            .unwrap_err()
            .to_string();
        assert_eq!(error, "there is no VNet `green`; there are: local, blue");
        assert!(peer("203.0.113.2 vxlan").is_err());
        assert!(route("10.0.0.0/8", &names()).is_err());
        assert!(flow("192.0.2.7:40000 198.51.100.10:80/tcp", &names()).is_err());
        assert!(range("listener 10.0.0.11:80/tcp", &names()).is_err());
        assert!(range("listener 10.0.0.11:80/tcp 17", &names()).is_err());
        assert!(fragment("192.0.2.7 198.51.100.10 udp", &names()).is_err());
        assert!(entity("pool web", &names()).is_err());
        assert!(reason("because").is_err());
        assert!(index("x", Some(EntityKind::Origin), &names()).is_err());
    }

    #[test]
    fn other_keys_are_read_as_they_are_written() {
        for text in [
            "203.0.113.2 203.0.113.1 vxlan 100 4789",
            "2001:db8::2 2001:db8::1 gre 5 0",
        ] {
            assert_eq!(entry::peer_key(&peer(text).unwrap()), text);
        }
        for text in [
            "blue 10.0.0.0/8",
            "blue 0.0.0.0/0",
            "local ::/0",
            "blue 2001:db8::/32",
        ] {
            assert_eq!(
                entry::route_key(route(text, &names()).unwrap(), &names()),
                text
            );
        }
        for text in [
            "local 192.0.2.7:40000 > 198.51.100.10:80/tcp",
            "blue [fd00::11]:53 > [fd00::1]:1024/udp",
        ] {
            assert_eq!(
                entry::flow_key(&flow(text, &names()).unwrap(), &names()),
                text
            );
        }
        for text in [
            "listener local 198.51.100.10:8000/tcp 10",
            "origin blue [2001:db8::1]:0/udp 0",
        ] {
            assert_eq!(
                entry::range_key(range(text, &names()).unwrap(), &names()),
                text
            );
        }
        for text in [
            "local 192.0.2.7 198.51.100.10 udp 4711",
            "blue 2001:db8::7 2001:db8::1 fragment 4294967295",
        ] {
            assert_eq!(
                entry::fragment_key(&fragment(text, &names()).unwrap(), &names()),
                text
            );
        }
        let key = entity("origin web-blue/a", &names()).unwrap();
        assert_eq!(entry::entity_key(key), "origin 3");
        assert_eq!(entity("origin 3", &names()).unwrap(), key);
        assert_eq!(reason("no_listener").unwrap(), Reason::NoListener);
        assert_eq!(
            index("web-blue/a", Some(EntityKind::Origin), &names()).unwrap(),
            3
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let names = names();
            let _ = service(&text, &names);
            let _ = peer(&text);
            let _ = route(&text, &names);
            let _ = flow(&text, &names);
            let _ = entity(&text, &names);
            let _ = range(&text, &names);
            let _ = fragment(&text, &names);
        }
    }
}
