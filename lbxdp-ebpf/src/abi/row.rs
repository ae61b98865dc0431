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

/// What of a row each packet needs (map `OWNERS`), beside its [`Row`]: half as much, so that more rows
/// are in the caches.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Owner {
    /// [`Row::current`].
    pub current: OriginIndex,
    /// [`Row::flags`].
    pub flags: u8,
    /// Zero.
    pub reserved: u8,
}

/// The owners of two rows, the first of which has an even index: an entry of map `OWNERS`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Owners(pub [Owner; 2]);

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
    Owner: 4 = [OriginIndex, u8, u8];
    Owners: 8 = [[Owner; 2]];
    Table: 24 = [[u32; 2], u32, u32, [u32; 2]];
}

impl Table {
    /// Index in `ROWS` of the first row in force.
    #[must_use]
    pub const fn first_row(&self) -> u32 {
        let [first, second] = self.halves;
        if self.active == 1 { second } else { first }
    }
}

impl Owners {
    /// Where in map `OWNERS` the owner of a row is: the entry, and which of the two.
    #[inline(always)]
    #[must_use]
    pub const fn place(row: u32) -> (u32, usize) {
        (row >> 1, (row & 1) as usize)
    }

    /// The owner of a row, in the entry that it is in.
    #[inline(always)]
    #[must_use]
    pub const fn of(&self, row: u32) -> Owner {
        let [even, odd] = self.0;
        if row & 1 == 0 { even } else { odd }
    }
}

impl Row {
    /// What of it each packet needs.
    #[inline(always)]
    #[must_use]
    pub const fn owner(&self) -> Owner {
        Owner {
            current: self.current,
            flags: self.flags,
            reserved: 0,
        }
    }

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
