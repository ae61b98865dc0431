use clap::Parser;

use super::*;
use crate::dataplane::MapWriter;
use crate::dataplane::tests::{Pins, desired};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// Runs `lbxdp map` with these words; gives what it printed, and whether it succeeded.
fn map(pins: &Pins, words: &str) -> (String, bool) {
    let pin_path = format!("--pin-path={}", pins.0.display());
    let words = ["map", &pin_path]
        .into_iter()
        .chain(words.split_whitespace());
    let line = Line::try_parse_from(words).unwrap();
    let mut out = Vec::new();
    let code = run(&line.args, &mut out).unwrap();
    let succeeded = format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS);
    (String::from_utf8(out).unwrap(), succeeded)
}

#[test]
fn maps_are_shown_decoded_without_an_agent() {
    let Some(pins) = Pins::with_maps("maps_are_shown_decoded_without_an_agent") else {
        return;
    };
    MapWriter::open(&pins.0).unwrap().sync(&desired()).unwrap();

    let (text, _) = map(&pins, "list");
    assert!(
        text.contains("no agent has confirmed the tables yet"),
        "{text}"
    );
    MapWriter::open(&pins.0).unwrap().heartbeat(1).unwrap();
    let (text, _) = map(&pins, "list");
    assert!(text.contains("the tables were last confirmed"), "{text}");
    for spec in &MAPS {
        assert!(text.contains(spec.name), "{text}");
        let (text, succeeded) = map(&pins, &format!("dump {}", spec.name));
        assert!(succeeded);
        eprintln!("{text}");
        let (json, _) = map(&pins, &format!("--json dump {}", spec.name));
        let entries: Vec<Value> = serde_json::from_str(&json).unwrap();
        // What `dump` writes as key, `get` reads.
        for entry in entries {
            let key = entry["key"].as_str().unwrap();
            if ["ROWS", "OWNERS"].contains(&spec.name) {
                continue;
            }
            let (one, found) = map(&pins, &format!("--json get {} {key}", spec.name));
            assert!(found, "{} {key}", spec.name);
            let one: Value = serde_json::from_str(&one).unwrap();
            assert_eq!(one["key"], entry["key"]);
            if spec.name != "HEARTBEAT" {
                let (one, entry) = (&one["value"], &entry["value"]);
                let all = entry.as_object().unwrap();
                assert!(
                    all.iter().all(|(name, value)| one[name] == *value),
                    "{one} {entry}"
                );
            }
        }
    }
    let (text, _) = map(&pins, "dump rows");
    assert!(text.contains("web/5") && text.contains("49.99 %"), "{text}");
    let (text, found) = map(&pins, "get LISTENERS 198.51.100.99:80/tcp");
    assert!(!found && text.contains("no entry"), "{text}");
    let (text, _) = map(&pins, "get ORIGINS web/5");
    assert!(text.contains("10.0.0.11:80"), "{text}");
}

#[test]
fn the_hash_key_is_never_shown() {
    let Some(pins) = Pins::with_maps("the_hash_key_is_never_shown") else {
        return;
    };
    let secret = 0x1234_5678_9abc_def1_u64;
    let mut state = desired();
    state.node.hash_key = [secret; 12];
    MapWriter::open(&pins.0).unwrap().sync(&state).unwrap();
    for words in [
        "dump NODE",
        "get NODE 0",
        "--json dump NODE",
        "--json get NODE 0",
    ] {
        let (text, _) = map(&pins, words);
        assert!(text.contains("(redacted)"), "{text}");
        assert!(
            !text.contains(&secret.to_string()) && !text.contains("12345678"),
            "{text}"
        );
    }
}

#[test]
fn an_unknown_map_is_answered_with_the_known_ones() {
    let error = spec("PACKETS").unwrap_err().to_string();
    assert!(
        error.starts_with("there is no map PACKETS; there are NODE, HEARTBEAT"),
        "{error}"
    );
    assert_eq!(spec("listeners").unwrap().name, "LISTENERS");
}
