#![forbid(unsafe_code)]

/// What the kernel tells of a map in `/proc/PID/fdinfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FdInfo {
    /// The map's number.
    pub id: u32,
    /// How many entries it has room for.
    pub max_entries: u32,
    /// Bytes that it takes.
    pub memory: u64,
}

impl FdInfo {
    /// Reads it; `None` if the descriptor is not that of a map.
    ///
    /// Before Linux 6.4 the kernel reckons keys and values of any map, and an array has no keys: one of
    /// eight bytes an entry seems twice as large as it is. So of an array no more is taken than it has.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        /// `BPF_MAP_TYPE_ARRAY`.
        const ARRAY: u64 = 2;
        /// What is before the entries, at the most.
        const HEADER: u64 = 4096;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
        };
        let reckoned = field("memlock:")?;
        let entries = field("max_entries:")?;
        let memory = match (field("map_type:"), field("value_size:")) {
            (Some(ARRAY), Some(value)) => {
                let values = entries * value.next_multiple_of(8);
                reckoned.min(values.next_multiple_of(4096) + HEADER)
            }
            _ => reckoned,
        };
        Some(Self {
            id: field("map_id:")?.try_into().ok()?,
            max_entries: entries.try_into().ok()?,
            memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: u32, memlock: u64) -> String {
        format!(
            "pos:\t0\nflags:\t02000002\nmap_type:\t{kind}\nkey_size:\t4\nvalue_size:\t8\n\
             max_entries:\t1000000\nmap_flags:\t0x0\nmap_extra:\t0x0\nmemlock:\t{memlock}\n\
             map_id:\t7\nfrozen:\t0\n"
        )
    }

    #[test]
    fn an_array_has_no_keys() {
        let memory = |kind, memlock| FdInfo::read(&text(kind, memlock)).map(|info| info.memory);
        assert_eq!(
            memory(2, 16_003_072),
            Some(8_007_680),
            "as Linux 6.1 has it"
        );
        assert_eq!(memory(2, 8_000_400), Some(8_000_400), "as Linux 6.4 has it");
        assert_eq!(memory(1, 16_003_072), Some(16_003_072), "of a hash map");
    }

    #[test]
    fn what_is_no_map_says_nothing() {
        assert_eq!(FdInfo::read("pos:\t0\nflags:\t02\nmnt_id:\t15\n"), None);
    }
}
