//! Asking the kernel for states and policies, and for changes of them: netlink, protocol
//! `NETLINK_XFRM`.

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_XFRM;

use netlink_packet_xfrm::XfrmMessage;

use super::message::{self, policy, state};
use super::{Installed, Policy, State, StateId};
use crate::netlink;
use crate::vnet::network::Refusal;

/// All states and policies of ours.
///
/// # Errors
///
/// `EPROTONOSUPPORT` when the kernel knows nothing of xfrm; what it says otherwise.
pub(in crate::vnet) fn installed() -> Result<Installed, Refusal> {
    let states = ask(&message::states(), NLM_F_DUMP)?;
    let policies = ask(&message::policies(), NLM_F_DUMP)?;
    Ok(Installed {
        states: (states.iter().filter_map(|body| state(body)))
            .map(|(state, sent)| (state.id, (state, sent)))
            .collect(),
        policies: policies.iter().filter_map(|body| policy(body)).collect(),
    })
}

/// Makes a state.
///
/// # Errors
///
/// `EEXIST` when another has its destination and index; what the kernel says otherwise.
pub(in crate::vnet) fn add_state(state: &State) -> Result<(), Refusal> {
    change(&message::new_state(state), NLM_F_CREATE | NLM_F_EXCL)
}

/// Removes a state.
///
/// # Errors
///
/// `ESRCH` when it is not there; what the kernel says otherwise.
pub(in crate::vnet) fn delete_state(id: StateId) -> Result<(), Refusal> {
    change(&message::delete_state(id), 0)
}

/// Makes a policy.
///
/// # Errors
///
/// `EEXIST` when another is in its place; what the kernel says otherwise.
pub(in crate::vnet) fn add_policy(policy: &Policy) -> Result<(), Refusal> {
    change(&message::new_policy(policy), NLM_F_CREATE | NLM_F_EXCL)
}

/// Removes a policy.
///
/// # Errors
///
/// `ENOENT` when it is not there; what the kernel says otherwise.
pub(in crate::vnet) fn delete_policy(policy: &Policy) -> Result<(), Refusal> {
    change(&message::delete_policy(policy), 0)
}

fn change(message: &XfrmMessage, flags: u16) -> Result<(), Refusal> {
    ask(message, NLM_F_ACK | flags).map(drop)
}

fn ask(message: &XfrmMessage, flags: u16) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut socket = Socket::new(NETLINK_XFRM)?;
    socket.bind_auto()?;
    Ok(netlink::ask(&socket, &message::bytes(message, flags))?)
}
