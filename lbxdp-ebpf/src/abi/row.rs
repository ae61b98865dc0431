use super::{Origin, OriginIndex, abi_type};

/// One row of a table (map `ROWS`): who gets the flows that hash to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Row {
    /// The owner, or [`Origin::NONE`].
    pub current: OriginIndex,
    /// While [`ROW_GENERATION`] is set, the owners before: of the flows that hashed to an even row
    /// of the table before, and to an odd one. They differ only where the table has grown, and the
    /// row takes from two old ones: see [`Table::previous_rows`].
    pub previous: [OriginIndex; 2],
    /// Bits `ROW_…`: whether the flow table matters. Zero in quiet times.
    pub flags: u8,
    /// Generation of the last edit that moved this row, modulo 256.
    pub epoch: u8,
}

/// Flows of this row may stand in the flow table.
pub const ROW_LOOKUP: u8 = 1;
/// The owner is not the base owner: this row will move back, so its flows are recorded.
pub const ROW_INSERT: u8 = 1 << 1;
/// The owner has changed by an edit: flows that began before belong to [`Row::previous`].
pub const ROW_GENERATION: u8 = 1 << 2;

/// Where the rows of one set of pools are (map `TABLES`).
///
/// Rows are published by writing the half that is not active and then flipping
/// `active`, the only bytes that differ: a packet sees the old rows or the new.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Table {
    /// Index in `ROWS` of the first row of each half.
    pub halves: [u32; 2],
    /// Number of rows, a prime; zero for a table that has none.
    pub rows: u32,
    /// The half in force: 0 or 1.
    pub active: u32,
    /// For each half, how many rows the table had to which its rows' [`Row::previous`] refers.
    pub previous_rows: [u32; 2],
}

abi_type! {
    Row: 8 = [OriginIndex, [OriginIndex; 2], u8, u8];
    Table: 24 = [[u32; 2], u32, u32, [u32; 2]];
}

impl Row {
    /// A row that nobody owns.
    pub const VACANT: Self = Self::owned_by(Origin::NONE);

    /// A quiet row.
    #[must_use]
    pub const fn owned_by(current: OriginIndex) -> Self {
        Self {
            current,
            previous: [Origin::NONE; 2],
            flags: 0,
            epoch: 0,
        }
    }
}
