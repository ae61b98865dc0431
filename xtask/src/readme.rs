//! The README's commands: each is one that exists.

use std::fs;

use clap::Parser as _;

use crate::cli::Cli;
use crate::workspace::Workspace;

/// Programs that a reader has, whose arguments are theirs to judge. The
/// commands of `lbxdp` are parsed by its own tests.
const OTHERS: [&str; 8] = [
    "bpftool",
    "cd",
    "curl",
    "git",
    "install",
    "ip",
    "lbxdp",
    "systemctl",
];

#[test]
fn every_command_of_the_readme_exists() {
    let path = Workspace::find().root().join("README.md");
    let Ok(text) = fs::read_to_string(&path) else {
        println!("SKIPPED: readme: {} is not there", path.display());
        return;
    };
    let wrong: Vec<String> = commands(&text)
        .filter_map(|command| judge(command).err().map(|why| format!("{command}: {why}")))
        .collect();
    assert!(wrong.is_empty(), "README.md:\n{}", wrong.join("\n"));
}

#[test]
fn commands_are_those_after_a_prompt_in_console_blocks() {
    let text = "$ not this\n```console\n$ cargo xtask test # all\noutput\n# lbxdp status\n```\n\
                ```toml\n# a comment\n```\n";
    let commands: Vec<&str> = commands(text).collect();
    assert_eq!(commands, ["cargo xtask test", "lbxdp status"]);
}

#[test]
fn an_unknown_command_is_refused() {
    assert_eq!(judge("cargo xtask test host"), Ok(()));
    assert_eq!(judge("sudo target/release/lbxdp status --json"), Ok(()));
    assert_eq!(judge("cargo xtask test --help"), Ok(()));
    assert!(judge("cargo xtask tset").is_err());
    assert!(judge("make all").is_err());
}

/// What follows a prompt (`$`, or `#` for root) in blocks marked `console`.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(language) = line.strip_prefix("```") {
            inside = language.trim() == "console";
            return None;
        }
        let command = line
            .strip_prefix("$ ")
            .or_else(|| line.strip_prefix("# "))?;
        let command = command.split(" # ").next().unwrap_or(command).trim();
        inside.then_some(command)
    })
}

fn judge(command: &str) -> Result<(), String> {
    let mut words = command.split_whitespace().peekable();
    // `sudo`, its options, and variables set for one command.
    while words.peek().is_some_and(|word| {
        *word == "sudo" || *word == "env" || word.starts_with('-') || word.contains('=')
    }) {
        words.next();
    }
    let words: Vec<&str> = words.collect();
    match words.as_slice() {
        ["cargo", "xtask", rest @ ..] => Cli::try_parse_from(["cargo xtask"].iter().chain(rest))
            .map(|_| ())
            // Help, when asked for, comes as an error that is none.
            .or_else(|error| {
                if error.use_stderr() {
                    Err(error.to_string())
                } else {
                    Ok(())
                }
            }),
        ["cargo", "build" | "test" | "fmt" | "clippy", ..] => Ok(()),
        [program, ..] if OTHERS.contains(&program.rsplit('/').next().unwrap_or(program)) => Ok(()),
        _ => Err("nobody checks this command: see `xtask/src/readme.rs`".to_owned()),
    }
}
