//! Messages about states and policies (`linux/xfrm.h`).

use std::net::IpAddr;

use netlink_packet_xfrm::constants::{
    AF_INET, AF_INET6, IPPROTO_ESP, XFRM_MODE_TUNNEL, XFRM_POLICY_IN, XFRM_POLICY_OUT,
    XFRM_SA_XFLAG_DONT_ENCAP_DSCP, XFRM_STATE_AF_UNSPEC,
};
use netlink_packet_xfrm::policy::{
    DelGetMessage as PolicyIdMessage, ModifyMessage as PolicyMessage,
};
use netlink_packet_xfrm::state::{
    DelGetMessage as StateIdMessage, GetDumpMessage, ModifyMessage as StateMessage,
};
use netlink_packet_xfrm::{
    Address, AlgAead, Id, ReplayEsn, Selector, UserPolicyId, UserPolicyInfo, UserSaId, UserSaInfo,
    UserTemplate, XFRM_USER_POLICY_INFO_LEN, XFRM_USER_SA_INFO_LEN, XfrmAttrs, XfrmMessage,
};
use rtnetlink::packet_core::{Emitable as _, Parseable as _};

use super::{Policy, REQUEST, State, StateId};
use crate::config::model::IpsecKey;
use crate::netlink;
use crate::vnet::desired::Family;

/// AES-GCM in ESP, as the kernel's crypto names it (RFC 4106).
const CIPHER: &[u8] = b"rfc4106(gcm(aes))";
/// Bits of its tag.
const TAG: u32 = 128;

/// A request as bytes.
pub(super) fn bytes(message: &XfrmMessage, flags: u16) -> Vec<u8> {
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    netlink::message(message.message_type(), flags, &body, &[])
}

/// Asks for all states.
pub(super) fn states() -> XfrmMessage {
    XfrmMessage::GetDumpSa(GetDumpMessage::default())
}

/// Asks for all policies.
pub(super) fn policies() -> XfrmMessage {
    XfrmMessage::GetPolicy(PolicyIdMessage::default())
}

pub(super) fn new_state(state: &State) -> XfrmMessage {
    let mut alg_name = [0; 64];
    alg_name[..CIPHER.len()].copy_from_slice(CIPHER);
    let key = &state.key.0;
    let mut attributes = vec![
        XfrmAttrs::EncryptionAlgAead(AlgAead {
            alg_name,
            alg_key_len: u32::try_from(key.len() * 8).expect("a key is short"),
            alg_icv_len: TAG,
            alg_key: key.clone(),
        }),
        XfrmAttrs::IfId(state.if_id),
    ];
    if !state.copies_dscp {
        attributes.push(XfrmAttrs::ExtraFlags(XFRM_SA_XFLAG_DONT_ENCAP_DSCP));
    }
    // The field of the header itself is for windows of 32 at most.
    if state.replay_window != 0 {
        let words = state.replay_window.div_ceil(32);
        attributes.push(XfrmAttrs::ReplayStateEsn(ReplayEsn {
            bmp_len: words,
            replay_window: state.replay_window,
            bmp: (0..words).map(|_| 0).collect(),
            ..ReplayEsn::default()
        }));
    }
    XfrmMessage::AddSa(StateMessage {
        user_sa_info: UserSaInfo {
            id: Id {
                daddr: Address::from_ip(&state.id.destination),
                spi: state.id.spi,
                proto: IPPROTO_ESP,
            },
            saddr: Address::from_ip(&state.source),
            reqid: REQUEST,
            family: family_of(state.id.destination),
            mode: XFRM_MODE_TUNNEL,
            // Packets of both IP versions inside.
            flags: XFRM_STATE_AF_UNSPEC,
            ..UserSaInfo::default()
        },
        nlas: attributes,
    })
}

pub(super) fn delete_state(id: StateId) -> XfrmMessage {
    XfrmMessage::DeleteSa(StateIdMessage {
        user_sa_id: UserSaId {
            daddr: Address::from_ip(&id.destination),
            spi: id.spi,
            family: family_of(id.destination),
            proto: IPPROTO_ESP,
        },
        nlas: Vec::new(),
    })
}

pub(super) fn new_policy(policy: &Policy) -> XfrmMessage {
    let template = UserTemplate {
        id: Id {
            daddr: Address::from_ip(&policy.destination),
            spi: 0,
            proto: IPPROTO_ESP,
        },
        family: family_of(policy.destination),
        saddr: Address::from_ip(&policy.source),
        reqid: REQUEST,
        mode: XFRM_MODE_TUNNEL,
        ..UserTemplate::default()
    };
    XfrmMessage::AddPolicy(PolicyMessage {
        user_policy_info: UserPolicyInfo {
            selector: everything(policy.family),
            direction: direction(policy),
            ..UserPolicyInfo::default()
        },
        nlas: vec![
            XfrmAttrs::Template(vec![template]),
            XfrmAttrs::IfId(policy.if_id),
        ],
    })
}

pub(super) fn delete_policy(policy: &Policy) -> XfrmMessage {
    XfrmMessage::DeletePolicy(PolicyIdMessage {
        user_policy_id: UserPolicyId {
            selector: everything(policy.family),
            index: 0,
            direction: direction(policy),
        },
        nlas: vec![XfrmAttrs::IfId(policy.if_id)],
    })
}

/// A state of ours, and how many packets it has sent.
pub(super) fn state(body: &[u8]) -> Option<(State, u32)> {
    // The library takes the header for granted.
    if body.len() < XFRM_USER_SA_INFO_LEN {
        return None;
    }
    let StateMessage { user_sa_info, nlas } = StateMessage::parse(body).ok()?;
    // Without an index it is one that the kernel waits for.
    if user_sa_info.reqid != REQUEST || user_sa_info.id.spi == 0 {
        return None;
    }
    let mut state = State {
        id: StateId {
            destination: address(user_sa_info.family, user_sa_info.id.daddr)?,
            spi: user_sa_info.id.spi,
        },
        source: address(user_sa_info.family, user_sa_info.saddr)?,
        if_id: 0,
        key: IpsecKey(Vec::new()),
        replay_window: user_sa_info.replay_window.into(),
        copies_dscp: true,
    };
    let mut sent = 0;
    for attribute in nlas {
        match attribute {
            XfrmAttrs::IfId(number) => state.if_id = number,
            XfrmAttrs::EncryptionAlgAead(cipher)
                if cipher.alg_name.starts_with(CIPHER)
                    && cipher.alg_name[CIPHER.len()] == 0
                    && cipher.alg_icv_len == TAG =>
            {
                state.key = IpsecKey(cipher.alg_key);
            }
            XfrmAttrs::ExtraFlags(flags) => {
                state.copies_dscp = flags & XFRM_SA_XFLAG_DONT_ENCAP_DSCP == 0;
            }
            XfrmAttrs::ReplayState(replay) => sent = replay.oseq,
            XfrmAttrs::ReplayStateEsn(replay) => {
                state.replay_window = replay.replay_window;
                sent = replay.oseq;
            }
            _ => {}
        }
    }
    Some((state, sent))
}

/// A policy of ours.
pub(super) fn policy(body: &[u8]) -> Option<Policy> {
    if body.len() < XFRM_USER_POLICY_INFO_LEN {
        return None;
    }
    let PolicyMessage {
        user_policy_info,
        nlas,
    } = PolicyMessage::parse(body).ok()?;
    let is_outgoing = match user_policy_info.direction {
        XFRM_POLICY_IN => false,
        XFRM_POLICY_OUT => true,
        _ => return None,
    };
    let family = match user_policy_info.selector.family {
        AF_INET => Family::V4,
        AF_INET6 => Family::V6,
        _ => return None,
    };
    let template = nlas.iter().find_map(|attribute| match attribute {
        XfrmAttrs::Template(templates) => templates.first(),
        _ => None,
    })?;
    let if_id = nlas.iter().find_map(|attribute| match attribute {
        XfrmAttrs::IfId(number) => Some(*number),
        _ => None,
    })?;
    if template.reqid != REQUEST || user_policy_info.selector != everything(family) {
        return None;
    }
    Some(Policy {
        if_id,
        is_outgoing,
        family,
        source: address(template.family, template.saddr)?,
        destination: address(template.family, template.id.daddr)?,
    })
}

/// What matches any packet of an IP version.
fn everything(family: Family) -> Selector {
    Selector {
        family: match family {
            Family::V4 => AF_INET,
            Family::V6 => AF_INET6,
        },
        ..Selector::default()
    }
}

const fn direction(policy: &Policy) -> u8 {
    if policy.is_outgoing {
        XFRM_POLICY_OUT
    } else {
        XFRM_POLICY_IN
    }
}

const fn family_of(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

fn address(family: u16, address: Address) -> Option<IpAddr> {
    match family {
        AF_INET => Some(address.to_ipv4().into()),
        AF_INET6 => Some(address.to_ipv6().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP};

    use super::*;
    use crate::netlink::HEADER;

    fn outbound() -> State {
        State {
            id: StateId {
                destination: "192.0.2.2".parse().unwrap(),
                spi: 0x1001,
            },
            source: "192.0.2.1".parse().unwrap(),
            if_id: 42,
            key: IpsecKey((90..110).collect()),
            replay_window: 0,
            copies_dscp: false,
        }
    }

    fn inbound() -> State {
        State {
            id: StateId {
                destination: "2001:db8::1".parse().unwrap(),
                spi: 0x2002,
            },
            source: "2001:db8::2".parse().unwrap(),
            key: IpsecKey((90..126).collect()),
            replay_window: 100,
            copies_dscp: true,
            ..outbound()
        }
    }

    #[test]
    fn making_a_state_is_this_message() {
        let bytes = bytes(&new_state(&outbound()), NLM_F_ACK);
        assert_eq!(bytes[4..8], [0x10, 0, 5, 0]); // XFRM_MSG_NEWSA, request, acknowledge
        let info = &bytes[HEADER..HEADER + 224];
        assert_eq!(info[..56], [0; 56], "the selector");
        assert_eq!(info[56..60], [192, 0, 2, 2]);
        assert_eq!(info[72..77], [0, 0, 0x10, 0x01, 50]);
        assert_eq!(info[80..84], [192, 0, 2, 1]);
        assert_eq!(info[96..128], [0xff; 32], "no limit of bytes and packets");
        assert_eq!(info[208..212], u32::from_be_bytes(*b"lxdp").to_ne_bytes());
        // AF_INET, tunnel mode, no window, af-unspec
        assert_eq!(info[212..217], [2, 0, 1, 0, 32]);
        let attributes = &bytes[HEADER + 224..];
        assert_eq!(attributes[..4], [96, 0, 18, 0]);
        assert_eq!(attributes[4..21], *b"rfc4106(gcm(aes))");
        assert_eq!(attributes[68..76], [160, 0, 0, 0, 128, 0, 0, 0]);
        assert_eq!(attributes[76..79], [90, 91, 92]);
        assert_eq!(attributes[96..104], [8, 0, 31, 0, 42, 0, 0, 0]);
        assert_eq!(attributes[104..], [8, 0, 24, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn making_a_policy_is_this_message() {
        let policy = Policy {
            if_id: 42,
            is_outgoing: true,
            family: Family::V6,
            source: "192.0.2.1".parse().unwrap(),
            destination: "192.0.2.2".parse().unwrap(),
        };
        let bytes = bytes(&new_policy(&policy), NLM_F_ACK);
        assert_eq!(bytes[4..6], [0x13, 0]); // XFRM_MSG_NEWPOLICY
        let info = &bytes[HEADER..HEADER + 168];
        assert_eq!(info[..40], [0; 40], "any address and port");
        assert_eq!(info[40..42], [10, 0]);
        assert_eq!(info[160..], [1, 0, 0, 0, 0, 0, 0, 0], "out, allow");
        let attributes = &bytes[HEADER + 168..];
        assert_eq!(attributes[..4], [68, 0, 5, 0]);
        let template = &attributes[4..68];
        assert_eq!(template[..4], [192, 0, 2, 2]);
        assert_eq!(template[16..21], [0, 0, 0, 0, 50]);
        assert_eq!(template[24..26], [2, 0]);
        assert_eq!(template[28..32], [192, 0, 2, 1]);
        assert_eq!(template[48], 1, "tunnel mode");
        assert_eq!(template[52..], [0xff; 12], "any cipher");
        assert_eq!(attributes[68..], [8, 0, 31, 0, 42, 0, 0, 0]);
    }

    #[test]
    fn what_is_made_is_read_back_and_what_others_made_is_not() {
        for made in [outbound(), inbound()] {
            let bytes = bytes(&new_state(&made), 0);
            assert_eq!(state(&bytes[HEADER..]), Some((made, 0)));
            let mut others = bytes;
            others[HEADER + 208] ^= 1;
            assert_eq!(state(&others[HEADER..]), None);
        }
        for is_outgoing in [true, false] {
            let made = Policy {
                if_id: 42,
                is_outgoing,
                family: Family::V4,
                source: "2001:db8::1".parse().unwrap(),
                destination: "2001:db8::2".parse().unwrap(),
            };
            let bytes = bytes(&new_policy(&made), 0);
            assert_eq!(policy(&bytes[HEADER..]), Some(made));
            let mut others = bytes;
            others[HEADER + 168 + 4 + 44] ^= 1;
            assert_eq!(policy(&others[HEADER..]), None);
        }
    }

    #[test]
    fn what_is_too_short_is_nothing() {
        assert_eq!(state(&[0; 100]), None);
        assert_eq!(policy(&[0; 100]), None);
    }

    #[test]
    fn asking_for_all_has_the_headers_that_the_kernel_wants() {
        assert_eq!(bytes(&states(), NLM_F_DUMP).len(), HEADER);
        assert_eq!(bytes(&policies(), NLM_F_DUMP).len(), HEADER + 64);
    }
}
