use super::depart::Order;
use crate::parse::{Ip, Ports};
use crate::snat::Request;
use crate::track;

/// What is worked out of a packet, on its way through the pipeline.
///
/// In one place that is handed through, since the kernel's stack is small: there it is an entry of
/// a map of its own. Zeros are a value of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Scratch {
    /// The packet that is balanced.
    pub ip: Ip,
    /// Its ports.
    pub ports: Ports,
    /// What is to be done with it.
    pub order: Order,
    /// Its flow, and what is needed to translate its source.
    pub request: Request,
    /// Its flow, and its row, if that is at risk.
    pub risk: track::Request,
}

impl Scratch {
    /// What stands where nothing has been worked out yet.
    pub const EMPTY: Self = Self {
        ip: Ip::EMPTY,
        ports: Ports::NONE,
        order: Order::EMPTY,
        request: Request::EMPTY,
        risk: track::Request::EMPTY,
    };
}
