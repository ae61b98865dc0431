use proptest::prelude::*;

use super::*;

#[test]
fn all_errors_of_a_file_are_reported_at_once_with_lines() {
    let text = "\
[node]
interface = [\"eth0\"]
adresses = [\"203.0.113.1\"]
hash_key = 17

[[vnet]]
name = \"blue\"
[[vnet.tunnel]]
name = \"blue-1\"
kind = \"vxlann\"
remote = \"203.0.113.2.7\"

[[pool]]
name = \"web\"
minimum_origins = \"two\"
[[pool.origin]]
name = \"a\"
address = \"10.0.0.1\"
weight = 1.5
colour = \"red\"
";
    let invalid = parsed(text).unwrap_err();
    let found: Vec<(&str, Option<usize>)> = invalid
        .errors
        .iter()
        .map(|error| (error.path.as_str(), error.line))
        .collect();
    let expected = [
        ("node.interfaces", Some(1)),
        ("node.interface", Some(2)),
        ("node.adresses", Some(3)),
        ("node.hash_key", Some(4)),
        ("vnet[blue].tunnel[blue-1].addresses", Some(8)),
        ("vnet[blue].tunnel[blue-1].kind", Some(10)),
        ("vnet[blue].tunnel[blue-1].remote", Some(11)),
        ("pool[web].minimum_origins", Some(15)),
        ("pool[web].origin[a].address", Some(18)),
        ("pool[web].origin[a].weight", Some(19)),
        ("pool[web].origin[a].colour", Some(20)),
    ];
    assert_eq!(found, expected, "{invalid}");
    assert!(
        invalid
            .to_string()
            .starts_with("test.toml: 11 errors\n\nnode.interfaces (line 1")
    );
}

#[test]
fn a_message_has_the_key_the_problem_and_the_hint_in_this_order() {
    let invalid = parsed(&edited(
        VNETS,
        &[("xdp_mode = \"auto\"", "xdp_mode = \"nativ\"")],
    ))
    .unwrap_err();
    let expected = "\
test.toml: 1 error

node.xdp_mode (line 7, column 1)
    \"nativ\" is not one of \"auto\", \"native\", \"generic\"
    -> did you mean `native`?";
    assert_eq!(invalid.to_string(), expected);
    let json = serde_json::to_value(&invalid).unwrap();
    assert_eq!(json["errors"][0]["path"], "node.xdp_mode");
    assert_eq!(json["errors"][0]["line"], 7);
}

#[test]
fn every_syntax_error_is_reported_and_nothing_besides() {
    let invalid = parsed("[node\nx = \n\n[[pool]]\nname = 'a\n").unwrap_err();
    assert!(invalid.errors.len() >= 2, "{invalid}");
    for error in &invalid.errors {
        assert!(
            error.line.is_some() && error.problem.starts_with("not TOML"),
            "{error}"
        );
    }
}

#[test]
fn a_key_written_twice_is_a_syntax_error() {
    let invalid = parsed("[node]\nsocket = \"/a\"\nsocket = \"/b\"\n").unwrap_err();
    assert!(
        invalid.errors[0].problem.contains("duplicate key"),
        "{invalid}"
    );
    assert_eq!(invalid.errors[0].line, Some(3));
}

#[test]
fn columns_count_characters() {
    let invalid = parsed("x = 'äöü' \ny = { 'ä' = 1, b = 2 }").unwrap_err();
    assert!(
        invalid
            .errors
            .iter()
            .any(|error| (error.line, error.column) == (Some(2), Some(1)))
    );
}

/// A line of one of the examples.
fn line() -> impl Strategy<Value = String> {
    let lines: Vec<&str> = [MINIMAL, VNETS, DSR]
        .iter()
        .flat_map(|text| text.lines())
        .collect();
    prop::sample::select(lines).prop_map(str::to_owned)
}

/// A key of the reference with some value.
fn assignment() -> impl Strategy<Value = String> {
    let reference = reference();
    let keys: Vec<String> = reference
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .split('`')
                .next()
                .map(str::to_owned)
        })
        // Would read files at random.
        .filter(|key| key != "hash_key_file")
        .collect();
    let values = [
        "1",
        "-1",
        "0",
        "99999999999999999999",
        "0x7f",
        "0.5",
        "nan",
        "-inf",
        "true",
        "\"\"",
        "\"local\"",
        "\"10.0.0.1\"",
        "\"::\"",
        "\"10.0.0.1/8\"",
        "\"fe80::1/64\"",
        "\"255.255.255.255\"",
        "[]",
        "[[]]",
        "[1]",
        "{}",
        "{ a = 1 }",
        "\"1e400 years\"",
        "\"999999999999999999999y\"",
        "1979-05-27",
        "\"ä[ö].ü\"",
        "\"a[b\"",
        "[{}]",
        "[{ name = 1 }]",
        "[{ name = \"\" }]",
        "[{ name = \"x\" }, { name = \"x\" }]",
        "1e300",
        "\"xx\"",
        "\"-\"",
    ];
    (
        prop::sample::select(keys),
        prop::sample::select(values.to_vec()),
    )
        .prop_map(|(key, value)| format!("{key} = {value}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = parsed(&text);
    }

    #[test]
    fn no_mixture_of_lines_panics(lines in prop::collection::vec(prop_oneof![line(), assignment()], 0..40)) {
        let text = lines.join("\n");
        if let Err(invalid) = parsed(&text) {
            prop_assert!(!invalid.errors.is_empty());
            prop_assert!(!invalid.to_string().is_empty());
        }
    }

    #[test]
    fn one_more_or_less_line_panics_never_and_is_answered(
        example in prop::sample::select(&[MINIMAL, VNETS, DSR][..]),
        at in any::<prop::sample::Index>(),
        remove in any::<bool>(),
        new in prop_oneof![line(), assignment()],
    ) {
        let mut lines: Vec<&str> = example.lines().collect();
        let at = at.index(lines.len());
        if remove { lines[at] = &new } else { lines.insert(at, &new) }
        match parsed(&lines.join("\n")) {
            Ok(loaded) => prop_assert!(!loaded.config.node.interfaces.is_empty()),
            Err(invalid) => {
                for error in &invalid.errors {
                    prop_assert!(!error.problem.is_empty() && !error.hint.is_empty());
                }
            }
        }
    }
}
