//! What could help a packet that is not forwarded.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use lbxdp_ebpf::abi::{Address, Service};
use lbxdp_ebpf::verdict::{Reason, Verdict};

use super::record::Lookup;
use crate::cli::map::entry;
use crate::dataplane::{Content, Names};

/// What could help a packet that is not forwarded.
pub(super) fn hints(
    verdict: &Verdict,
    lookups: &[Lookup],
    content: &Content,
    names: &Names,
) -> Vec<String> {
    let mut hints = Vec::new();
    match verdict.reason {
        Reason::NoListener | Reason::TunnelOther => {
            for lookup in lookups {
                if let Lookup::Listener(key, None) = lookup {
                    hints.extend(near(key, content, names));
                }
            }
        }
        Reason::NoNextHop => hints.push(
            "The agent has not resolved the next hop: see `lbxdp status`, the route and the \
             neighbour towards it."
                .to_owned(),
        ),
        Reason::NoOrigin | Reason::NoTable => {
            hints.push("See `lbxdp status` for the health of its pools.".to_owned());
        }
        Reason::ReplyNoForwarding => hints.push(
            "Set net.ipv4.ip_forward (net.ipv6.conf.all.forwarding), or node.manage_sysctls."
                .to_owned(),
        ),
        Reason::SnatExhausted => hints.push(
            "Give the VNet a larger `snat` range: see `lbxdp status` for the ports in use."
                .to_owned(),
        ),
        Reason::SnatTableFull => hints.push(
            "Too many flows are translated at once: see `lbxdp map list` (SESSIONS), and lower \
             `node.snat_timeouts` or spread the clients over more nodes."
                .to_owned(),
        ),
        Reason::NoMetadata => hints.push(
            "Set xdp_mode = \"generic\" under [node], or choose a tunnel that the program encapsulates \
             by itself."
                .to_owned(),
        ),
        Reason::NotConfigured => hints.push("Run the agent: lbxdp run --config FILE.".to_owned()),
        Reason::TooBig
        | Reason::TooBigLimited
        | Reason::TooBigFragmentable
        | Reason::TooBigAnswered => hints.push(
            "Lower the MSS or MTU of the origins, or raise the MTU of the underlay: the tunnel's \
             is in `lbxdp status --json`."
                .to_owned(),
        ),
        Reason::NotIp
        | Reason::TooManyTags
        | Reason::Truncated
        | Reason::Malformed
        | Reason::TooManyHeaders
        | Reason::Fragment
        | Reason::FragmentEarly
        | Reason::OtherProtocol
        | Reason::UnknownPeer
        | Reason::TunnelOwn
        | Reason::ReplyToNode
        | Reason::ReplyNoNeighbour
        | Reason::ReplyToFragment
        | Reason::OriginMissing
        | Reason::FamilyMismatch
        | Reason::CongestionLost
        | Reason::TtlExpired
        | Reason::NoHeadroom
        | Reason::NoReplyRoute
        | Reason::NoSession
        | Reason::NoTunnelRoute
        | Reason::ForwardDsr
        | Reason::ForwardDsrL2
        | Reason::ForwardNat
        | Reason::ForwardNatTunnel
        | Reason::ReplyNat
        | Reason::ReplyNatTunnel
        | Reason::EchoAnswered
        | Reason::ForwardError
        | Reason::ReplyError => {}
    }
    hints
}

/// Listeners that are nearly at this address.
fn near(key: &Service, content: &Content, names: &Names) -> Vec<String> {
    let same_address: Vec<String> = content
        .listeners
        .keys()
        .filter(|other| other.address == key.address)
        .map(|other| entry::service_key(other, names))
        .collect();
    if !same_address.is_empty() {
        return vec![format!(
            "Listeners at this address: {}.",
            same_address.join(", ")
        )];
    }
    let addresses: BTreeSet<Address> = content
        .listeners
        .keys()
        .map(|other| other.address)
        .collect();
    if addresses.is_empty() {
        return vec!["No listener is configured at all.".to_owned()];
    }
    vec![format!(
        "No listener has this address; {} addresses have.",
        addresses.len()
    )]
}
