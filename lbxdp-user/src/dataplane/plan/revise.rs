//! From a revision to writes: nothing that it does not name is looked at.

use std::collections::BTreeMap;

use lbxdp_ebpf::abi::{Entity, EntityKey, ORIGIN_DOWN, Origin, OriginIndex};

use super::{Write, row_writes};
use crate::dataplane::check::{Limits, PlanError, check_rows};
use crate::dataplane::content::Content;
use crate::dataplane::desired::{Revision, TableRows};

/// The origins that a revision changes, as they are to be.
pub(in crate::dataplane) fn revised_origins(
    actual: &Content,
    revision: &Revision,
) -> BTreeMap<OriginIndex, Origin> {
    let changed = revision.origins.iter().filter_map(|(index, down)| {
        let known = actual.origins.get(index)?;
        let flags = if *down {
            known.flags | ORIGIN_DOWN
        } else {
            known.flags & !ORIGIN_DOWN
        };
        (flags != known.flags).then_some((*index, Origin { flags, ..*known }))
    });
    changed.collect()
}

/// The writes that a revision takes, `origins` being [`revised_origins`].
///
/// # Errors
/// When rows name an origin that is not there, or do not fit; nothing is then to be written.
pub(in crate::dataplane) fn revise<'a>(
    actual: &Content,
    revision: &'a Revision,
    origins: &'a BTreeMap<OriginIndex, Origin>,
    limits: &Limits,
) -> Result<Vec<Write<'a>>, PlanError> {
    let Revision {
        origins: _,
        entities,
        tables,
    } = revision;
    for (index, rows) in tables {
        match rows {
            TableRows::Publish { rows, .. } => {
                check_rows(*index, rows, |origin| actual.origins.contains_key(&origin))?;
            }
            TableRows::Keep => {}
        }
    }
    // Who is not listed has no slot any more.
    let is_listed = |(key, entity): &(&EntityKey, &Entity)| {
        let known = actual.entities.get(*key);
        known.is_some_and(|known| known.name() == entity.name() && known != *entity)
    };
    let mut writes: Vec<Write<'_>> = entities
        .iter()
        .filter(is_listed)
        .map(|(key, entity)| Write::SetEntity(*key, entity))
        .collect();
    writes.extend(
        origins
            .iter()
            .map(|(index, origin)| Write::SetOrigin(*index, origin)),
    );
    row_writes(&actual.tables, tables, limits.rows, &mut writes)?;
    Ok(writes)
}

/// Does to a copy of the maps what a revision does to them.
#[cfg(test)]
pub(crate) fn revise_content(content: &mut Content, revision: &Revision, limits: &Limits) {
    let actual = content.clone();
    let origins = revised_origins(&actual, revision);
    let writes = revise(&actual, revision, &origins, limits).expect("it fits");
    for write in writes {
        content.apply(&write);
    }
}
