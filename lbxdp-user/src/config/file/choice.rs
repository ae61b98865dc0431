//! Keys whose value is one of a few words.

use toml::Spanned;
use toml::de::DeValue;

use super::read::{Value, wrong_type};
use crate::config::model::{AllDown, Carries, Cipher, Hash, Keying, Protocol, UdpFlows, XdpMode};
use crate::config::report::{Report, did_you_mean};

/// Names of encapsulations, of tunnels and of direct server return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EncapsulationName {
    Vxlan,
    Geneve,
    Gre,
    IpIp,
    Fou,
    Gue,
}

impl EncapsulationName {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
            Self::IpIp => "ipip",
            Self::Fou => "fou",
            Self::Gue => "gue",
        }
    }
}

/// Kinds of tunnels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TunnelName {
    Encapsulated(EncapsulationName),
    Wireguard,
    Ipsec,
    Device,
}

/// Encapsulation of direct server return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DsrName {
    L2,
    Encapsulated(EncapsulationName),
}

/// What becomes of what is too large and may be fragmented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FragmentName {
    Drop,
    Kernel,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ForwardingName {
    Nat,
    Dsr,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SourceName {
    Preserve,
    Snat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MonitorName {
    Tcp,
    Http,
    IcmpPing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SteeringName {
    Off,
    Random,
}

/// Declares the words, and those of the product's words that this version does not do.
macro_rules! choice {
    ($type:ty { $($word:literal => $value:expr),+ $(,)? } $(unsupported { $($other:literal => $why:literal),+ $(,)? })?) => {
        impl Value for $type {
            fn form() -> String {
                [$(concat!("\"", $word, "\"")),+].join(", ")
            }

            fn read(
                value: &Spanned<DeValue<'_>>,
                path: &str,
                report: &mut Report<'_>,
            ) -> Option<Self> {
                let Some(text) = value.get_ref().as_str() else {
                    wrong_type::<Self>(value.get_ref(), path, report);
                    return None;
                };
                match text {
                    $($word => return Some($value),)+
                    $($($other => report.error(
                        path,
                        concat!("\"", $other, "\" is not supported by this version: ", $why),
                        format!("supported: {}", Self::form()),
                    ),)+)?
                    _ => report.error(
                        path,
                        format!("{text:?} is not one of {}", Self::form()),
                        did_you_mean(text, [$($word),+], "write one of"),
                    ),
                }
                None
            }
        }
    };
}

choice!(XdpMode { "auto" => Self::Auto, "native" => Self::Native, "generic" => Self::Generic } unsupported {
    "offload" => "no program of this size runs on a network card",
});
choice!(Protocol { "tcp" => Self::Tcp, "udp" => Self::Udp } unsupported {
    "icmp" => "listeners are TCP or UDP ports",
    "sctp" => "listeners are TCP or UDP ports",
});
choice!(Hash { "flow" => Self::Flow, "source" => Self::Source });
choice!(UdpFlows { "stick" => Self::Stick, "move" => Self::Move, "quic" => Self::Quic });
choice!(TunnelName {
    "vxlan" => Self::Encapsulated(EncapsulationName::Vxlan),
    "geneve" => Self::Encapsulated(EncapsulationName::Geneve),
    "gre" => Self::Encapsulated(EncapsulationName::Gre),
    "ipip" => Self::Encapsulated(EncapsulationName::IpIp),
    "fou" => Self::Encapsulated(EncapsulationName::Fou),
    "gue" => Self::Encapsulated(EncapsulationName::Gue),
    "wireguard" => Self::Wireguard,
    "ipsec" => Self::Ipsec,
    "device" => Self::Device,
});
choice!(Carries { "ethernet" => Self::Ethernet, "ip" => Self::Ip });
choice!(Keying { "static" => Self::Static, "ike" => Self::Ike });
choice!(Cipher { "aes-gcm-128" => Self::AesGcm128, "aes-gcm-256" => Self::AesGcm256 } unsupported {
    "chacha20-poly1305" => "ESP is AES-GCM here; an IKE daemon (keying = \"ike\") may choose it",
});
choice!(DsrName {
    "l2" => Self::L2,
    "ipip" => Self::Encapsulated(EncapsulationName::IpIp),
    "gre" => Self::Encapsulated(EncapsulationName::Gre),
    "fou" => Self::Encapsulated(EncapsulationName::Fou),
    "gue" => Self::Encapsulated(EncapsulationName::Gue),
    "vxlan" => Self::Encapsulated(EncapsulationName::Vxlan),
    "geneve" => Self::Encapsulated(EncapsulationName::Geneve),
});
choice!(ForwardingName { "nat" => Self::Nat, "dsr" => Self::Dsr } unsupported {
    "l2" => "it is an encapsulation of forwarding = \"dsr\"",
});
choice!(SourceName { "snat" => Self::Snat, "preserve" => Self::Preserve });
choice!(AllDown {
    "fallback" => Self::Fallback,
    "last-known" => Self::LastKnown,
    "spread" => Self::Spread,
    "reject" => Self::Reject,
});
choice!(FragmentName { "drop" => Self::Drop, "kernel" => Self::Kernel });
choice!(MonitorName { "tcp" => Self::Tcp, "http" => Self::Http, "icmp_ping" => Self::IcmpPing } unsupported {
    "https" => "probes do not speak TLS; \"tcp\" at least proves that the port accepts connections",
    "udp_icmp" => "UDP probes are not made; \"icmp_ping\" at least proves that the host answers",
    "smtp" => "probes do not speak SMTP; \"tcp\" at least proves that the port accepts connections",
    "ldap" => "probes do not speak LDAP; \"tcp\" at least proves that the port accepts connections",
});
choice!(SteeringName { "off" => Self::Off, "random" => Self::Random } unsupported {
    "geo" => "it needs the place of clients, which a single node does not know",
    "dynamic_latency" => "pools are not compared by round-trip time",
    "proximity" => "pools have no coordinates",
    "least_outstanding_requests" => "packets show no requests",
    "least_connections" => "no connections are counted, since no flow state is kept",
});
