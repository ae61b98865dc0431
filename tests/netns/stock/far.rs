//! A far end: a machine of its own behind the router, with a device of the kernel.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use tests::netns::{Lab, Namespace, Server};

use super::kinds::{Carried, Kind, Outer};

/// Port of the servers for datagrams and for streams, so that one listener address serves both.
const PORT: u16 = 7;
/// The origin's inner addresses, the same at every far end.
const ORIGIN: [&str; 2] = ["10.0.0.11", "fd00:10::11"];

/// How a packet comes here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Nat,
    Dsr,
}

/// A gateway and origin in one; gone when dropped.
#[derive(Debug)]
pub(super) struct Far {
    kind: &'static Kind,
    number: u8,
    namespace: Namespace,
    _servers: Vec<Server>,
}

impl Far {
    /// Builds one, unless the kernel has no such device.
    pub(super) fn build(lab: &Lab, kind: &'static Kind, number: u8) -> Result<Option<Self>> {
        let v4 = underlay_v4(number);
        let namespace = lab.attach(kind.name, v4)?;
        let v6 = format!("2001:db8:f:{number}");
        lab.router()
            .ip(&format!("addr add {v6}::1/64 dev {} nodad", kind.name))?;
        namespace.ip(&format!(
            "addr add {v6}::2/64 dev eth0 nodad
             route add default via {v6}::1"
        ))?;
        let (far, edge): (IpAddr, IpAddr) = match kind.outer {
            Outer::V4 => (v4.into(), lab.tunnel_end().into()),
            Outer::V6 => (format!("{v6}::2").parse()?, Lab::EDGE_V6.into()),
        };
        let device = kind
            .device
            .replace("FAR", &far.to_string())
            .replace("EDGE", &edge.to_string());
        if !super::links::has(
            &namespace,
            &format!("{}\nlink add tunnel type {device}", kind.before),
        )? {
            return Ok(None);
        }
        let mtu = kind.mtu;
        let mut batch = String::new();
        if kind.is_ethernet() {
            writeln!(batch, "link set tunnel address {}", mac(number))?;
        }
        writeln!(batch, "link set tunnel mtu {mtu} up")?;
        let mut servers = Vec::new();
        for carried in kind.carried {
            let inside = inside(*carried, number);
            let (host, all) = match carried {
                Carried::V4 => (32, ""),
                Carried::V6 => (128, "nodad"),
            };
            let origin = origin(*carried);
            let vip = vip(*carried, Way::Dsr, number);
            // What the origin itself says goes into the tunnel; what the VIP says does not.
            writeln!(
                batch,
                "addr add {}/{} dev tunnel {all}
                 addr add {origin}/{host} dev lo {all}
                 addr add {}/{host} dev lo {all}
                 route add default via {} dev tunnel table 100",
                inside.far,
                inside.bits,
                vip.ip(),
                inside.edge,
            )?;
        }
        namespace.ip(&batch)?;
        for carried in kind.carried {
            // A batch of `ip` has no rules of IPv6.
            let version = match carried {
                Carried::V4 => "-4",
                Carried::V6 => "-6",
            };
            let rule = format!("from {} lookup 100", origin(*carried));
            namespace.ip_output(&format!("{version} rule add {rule}"))?;
            let rules = namespace.ip_output(&format!("{version} rule show"))?;
            ensure!(rules.contains(&rule), "there is no rule {rule}: {rules}");
        }
        let handle = lab.runtime().handle();
        for carried in kind.carried {
            let origin = SocketAddr::new(origin(*carried), PORT);
            for address in [origin, vip(*carried, Way::Dsr, number)] {
                servers.push(Server::udp_echo(handle, &namespace, kind.name, address)?);
                servers.push(Server::tcp_echo(handle, &namespace, kind.name, address)?);
            }
        }
        Ok(Some(Self {
            kind,
            number,
            namespace,
            _servers: servers,
        }))
    }

    pub(super) fn name(&self) -> &'static str {
        self.kind.name
    }

    pub(super) const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its own address, which tunnels of IPv4 end at.
    pub(super) fn underlay(&self) -> Ipv4Addr {
        underlay_v4(self.number)
    }

    pub(super) const fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// The address that clients speak to.
    pub(super) fn vip(&self, carried: Carried, way: Way) -> SocketAddr {
        vip(carried, way, self.number)
    }

    /// Its VNet, and what is served through it and past it.
    pub(super) fn configuration(&self) -> String {
        let Kind {
            name,
            encapsulation,
            keys,
            outer,
            carried,
            ..
        } = self.kind;
        let remote: IpAddr = match outer {
            Outer::V4 => underlay_v4(self.number).into(),
            Outer::V6 => format!("2001:db8:f:{}::2", self.number)
                .parse()
                .expect("an address"),
        };
        let inside = carried.iter().map(|carried| inside(*carried, self.number));
        let (addresses, peers): (Vec<String>, Vec<String>) = inside
            .map(|inside| {
                let own = format!("\"{}/{}\"", inside.edge, inside.bits);
                (own, format!("\"{}\"", inside.far))
            })
            .unzip();
        let mut text = format!(
            r#"
[[vnet]]
name = "{name}"
[[vnet.tunnel]]
name = "{name}"
kind = "{encapsulation}"
{keys}
remote = "{remote}"
addresses = [{}]
peers = [{}]
health_check = {{ interval = "500ms", timeout = "200ms" }}
"#,
            addresses.join(", "),
            peers.join(", ")
        );
        for carried in *carried {
            let version = format!("{carried:?}").to_lowercase();
            let origin = origin(*carried);
            let nat = format!(
                "monitor = \"ping\"\nforwarding = \"nat\"\nsource = \"preserve\"\n\
                 [[pool.origin]]\nname = \"far\"\naddress = \"{origin}\"\n\
                 virtual_network = \"{name}\"\n"
            );
            let mac = if self.kind.is_ethernet() {
                format!("inner_mac = \"{}\"\n", mac(self.number))
            } else {
                String::new()
            };
            let dsr = format!(
                "monitor = \"ping\"\nforwarding = \"dsr\"\nencapsulation = \"{encapsulation}\"\n\
                 {keys}\n[[pool.origin]]\nname = \"far\"\naddress = \"{remote}\"\n\
                 virtual_network = \"local\"\n{mac}"
            );
            for (way, pool) in [(Way::Nat, nat), (Way::Dsr, dsr)] {
                let vip = vip(*carried, way, self.number);
                let service = format!("{name}-{version}-{way:?}").to_lowercase();
                let listener = |protocol: &str| {
                    format!(
                        "{{ address = \"{}\", port = {}, protocol = \"{protocol}\" }}",
                        vip.ip(),
                        vip.port()
                    )
                };
                write!(
                    text,
                    "[[load_balancer]]\nname = \"{service}\"\nlisteners = [{}, {}]\n\
                     default_pools = [\"{service}\"]\n[[pool]]\nname = \"{service}\"\n{pool}",
                    listener("tcp"),
                    listener("udp"),
                )
                .expect("a string takes all");
            }
        }
        text
    }
}

/// The two ends of the tunnel, inside.
struct Inside {
    edge: IpAddr,
    far: IpAddr,
    bits: u8,
}

fn inside(carried: Carried, number: u8) -> Inside {
    let end = |last: u8| -> IpAddr {
        match carried {
            Carried::V4 => Ipv4Addr::new(10, 255, number, last).into(),
            Carried::V6 => format!("fd00:255:{number}::{last}")
                .parse()
                .expect("an address"),
        }
    };
    Inside {
        edge: end(1),
        far: end(2),
        bits: match carried {
            Carried::V4 => 30,
            Carried::V6 => 64,
        },
    }
}

fn origin(carried: Carried) -> IpAddr {
    let [v4, v6] = ORIGIN;
    match carried {
        Carried::V4 => v4,
        Carried::V6 => v6,
    }
    .parse()
    .expect("an address")
}

fn vip(carried: Carried, way: Way, number: u8) -> SocketAddr {
    let last = match way {
        Way::Nat => 10 + number,
        Way::Dsr => 100 + number,
    };
    match carried {
        Carried::V4 => Lab::vip(last, PORT),
        Carried::V6 => Lab::vip_v6(last.into(), PORT),
    }
}

/// Four addresses for each far end, of which the router has the third.
fn underlay_v4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 65 + 4 * number)
}

fn mac(number: u8) -> String {
    format!("02:00:00:00:77:{number:02x}")
}
