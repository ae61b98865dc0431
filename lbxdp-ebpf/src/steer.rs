//! From a flow to its origin: listener, table, row, origin.

#![forbid(unsafe_code)]

use crate::abi::{Listener, NODE_RANGES, Node, Reverse, Service, Side};
use crate::hash;
use crate::tables::Tables;
use crate::verdict::Reason;

/// The listener at a transport address: the one of this very port, else that of the range which the
/// port is in.
#[inline(always)]
pub fn listener<'t, T: Tables>(
    tables: &'t T,
    node: &Node,
    mut at: Service,
) -> Option<T::Ref<'t, Listener>> {
    if let Some(listener) = tables.listener(&at) {
        return Some(listener);
    }
    find_range(tables, node, &mut at, Side::Listener)?;
    tables.listener(&at)
}

/// The way back from an origin's transport address: by this very port, else by a range.
#[inline(always)]
pub fn reverse<'t, T: Tables>(
    tables: &'t T,
    node: &Node,
    mut from: Service,
) -> Option<T::Ref<'t, Reverse>> {
    if let Some(reverse) = tables.reverse(&from) {
        return Some(reverse);
    }
    find_range(tables, node, &mut from, Side::Origin)?;
    tables.reverse(&from)
}

/// Makes the key of a single port that of the range which it is in.
#[inline(always)]
fn find_range<T: Tables>(tables: &T, node: &Node, key: &mut Service, side: Side) -> Option<()> {
    if node.flags & NODE_RANGES == 0 {
        return None;
    }
    key.port = tables.range(key, side)?;
    key.range = 1;
    Some(())
}

/// Where a flow's row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its index in `ROWS`.
    pub row: u32,
    /// How many rows the table had to which the row's previous owners refer.
    pub previous_rows: u32,
}

/// The row that a flow hashes to.
///
/// # Errors
/// The listener has no rows.
#[inline(always)]
pub fn row<T: Tables>(tables: &T, listener: &Listener, flow_hash: u32) -> Result<Place, Reason> {
    let table = tables.table(listener.table).ok_or(Reason::NoTable)?;
    if table.rows == 0 {
        return Err(Reason::NoTable);
    }
    let [first, second] = table.halves;
    let [of_first, of_second] = table.previous_rows;
    let (half, previous_rows) = if table.active & 1 == 0 {
        (first, of_first)
    } else {
        (second, of_second)
    };
    Ok(Place {
        row: half.wrapping_add(hash::reduce(flow_hash, table.rows)),
        previous_rows,
    })
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
        range: 0,
        vnet,
    }
}
