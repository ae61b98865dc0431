//! The object as it lies on disk: what the agent and other loaders rely on. Needs no root.

use std::collections::BTreeMap;

use aya_obj::generated::bpf_map_type;
use aya_obj::{Object, ProgramSection};
use lbxdp::dataplane::MAPS;
use tests::engine::object;

/// Bytes that the program may have: far from the kernel's million instructions, and a sign when
/// something is copied where it should not be.
const CODE_BUDGET: usize = 256 << 10;

/// The parsed object; none, and said so, where no toolchain for it is installed.
fn parsed(test: &str) -> Option<Object> {
    if let Some(excuse) = object::excuse() {
        tests::skip(test, excuse);
        return None;
    }
    let bytes = object::bytes().expect("the object is built");
    Some(Object::parse(&bytes).expect("the object is an eBPF object"))
}

#[test]
fn the_program_is_where_loaders_look_for_it() {
    let Some(parsed) = parsed("the_program_is_where_loaders_look_for_it") else {
        return;
    };
    let mut names: Vec<&String> = parsed.programs.keys().collect();
    names.sort_unstable();
    let all = ["lbxdp", "lbxdp_device", "lbxdp_handover", "lbxdp_whole"];
    assert_eq!(names, all);
    // Without frags, native XDP is refused on interfaces with a large MTU, and a program with them
    // calls no program without.
    for name in ["lbxdp", "lbxdp_whole"] {
        assert!(
            matches!(
                parsed.programs[name].section,
                ProgramSection::Xdp { frags: true, .. }
            ),
            "the section of {name} must be xdp.frags"
        );
    }
}

#[test]
fn its_licence_lets_it_call_all_helpers() {
    let Some(parsed) = parsed("its_licence_lets_it_call_all_helpers") else {
        return;
    };
    // `license_is_gpl_compatible` of the kernel.
    let compatible = ["GPL", "GPL v2", "Dual BSD/GPL", "Dual MIT/GPL"];
    let licence = parsed.license.to_str().expect("a licence in ASCII");
    assert!(compatible.contains(&licence), "the licence is {licence:?}");
}

#[test]
fn maps_have_the_shapes_of_the_abi() {
    let Some(parsed) = parsed("maps_have_the_shapes_of_the_abi") else {
        return;
    };
    let declared: BTreeMap<&str, [u32; 4]> = parsed
        .maps
        .iter()
        .filter(|(name, _)| !is_not_of_the_abi(name))
        .map(|(name, map)| {
            let shape = [
                map.map_type(),
                map.key_size(),
                map.value_size(),
                map.max_entries(),
            ];
            (name.as_str(), shape)
        })
        .collect();
    let wanted: BTreeMap<&str, [u32; 4]> = MAPS
        .iter()
        .map(|spec| {
            let shape = [
                spec.kind as u32,
                spec.key_size,
                spec.value_size,
                spec.max_entries,
            ];
            (spec.name, shape)
        })
        .collect();
    assert_eq!(declared, wanted, "(type, key size, value size, entries)");
}

#[test]
fn maps_and_code_have_types() {
    let Some(parsed) = parsed("maps_and_code_have_types") else {
        return;
    };
    assert!(
        parsed.btf.is_some(),
        "there is no BTF: maps cannot be dumped with types"
    );
    assert!(
        parsed.btf_ext.is_some(),
        "there is no BTF.ext: code has no source lines"
    );
    for (name, map) in &parsed.maps {
        let is_data = name.starts_with('.');
        assert!(
            is_data || name == "AYA_LOGS" || matches!(map, aya_obj::Map::Btf(_)),
            "map {name} is declared without BTF"
        );
    }
}

#[test]
fn entities_are_not_allocated_before_they_are_there() {
    /// `BPF_F_NO_PREALLOC`.
    const NO_PREALLOC: u32 = 1;
    let Some(parsed) = parsed("entities_are_not_allocated_before_they_are_there") else {
        return;
    };
    for name in ["ENTITIES", "RANGES", "ROUTES"] {
        let flags = parsed.maps[name].map_flags();
        assert_ne!(flags & NO_PREALLOC, 0, "map {name} has flags {flags:#x}");
    }
    let lpm = parsed.maps["ROUTES"].map_type();
    assert_eq!(lpm, bpf_map_type::BPF_MAP_TYPE_LPM_TRIE as u32);
}

#[test]
fn the_code_is_of_a_reasonable_size() {
    let Some(parsed) = parsed("the_code_is_of_a_reasonable_size") else {
        return;
    };
    let instructions: usize = parsed
        .functions
        .values()
        .map(|function| function.instructions.len())
        .sum();
    println!("object: {instructions} instructions");
    assert!(
        instructions * 8 <= CODE_BUDGET,
        "{instructions} instructions"
    );
    assert!(
        instructions > 100,
        "{instructions} instructions cannot be the packet path"
    );
}

/// Maps for the log, for constants, and for what the programs have among themselves.
fn is_not_of_the_abi(name: &str) -> bool {
    name.starts_with('.') || name.starts_with("AYA_LOG") || ["SCRATCH", "PROGRAMS"].contains(&name)
}
