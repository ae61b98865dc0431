//! From a flow to its origin: listener, table, row, origin.

#![forbid(unsafe_code)]

use crate::abi::{Listener, Origin, OriginIndex, Service};
use crate::hash;
use crate::tables::Tables;
use crate::verdict::Reason;

/// The owner of the row that a flow hashes to.
///
/// # Errors
/// The listener has no rows, nobody owns the row, or the owner is not there.
#[inline(always)]
pub fn owner<'t, T: Tables>(
    tables: &'t T,
    listener: &Listener,
    flow_hash: u32,
) -> Result<(OriginIndex, T::Ref<'t, Origin>), Reason> {
    let table = tables.table(listener.table).ok_or(Reason::NoTable)?;
    if table.rows == 0 {
        return Err(Reason::NoTable);
    }
    let [first, second] = table.halves;
    let half = if table.active & 1 == 0 { first } else { second };
    let row = tables
        .row(half.wrapping_add(hash::reduce(flow_hash, table.rows)))
        .ok_or(Reason::NoTable)?;
    let index = row.current;
    if index == Origin::NONE {
        return Err(Reason::NoOrigin);
    }
    let origin = tables.origin(index).ok_or(Reason::OriginMissing)?;
    Ok((index, origin))
}

/// The key of a transport address in a VNet.
#[inline(always)]
#[must_use]
pub const fn service(
    address: crate::abi::Address,
    port: crate::abi::Port,
    protocol: u8,
    vnet: crate::abi::VnetId,
) -> Service {
    Service {
        address,
        port,
        protocol,
        reserved: 0,
        vnet,
    }
}
