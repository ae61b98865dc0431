use clap::{CommandFactory, Parser};

use super::Cli;

const README: &str = include_str!("../../../README.md");

#[test]
fn the_definition_holds() {
    Cli::command().debug_assert();
}

#[test]
fn every_lbxdp_command_of_the_readme_parses() {
    let mut seen = 0;
    for command in README.lines().filter_map(command) {
        let words = command.split_whitespace();
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("README.md: {command}: {error}");
        }
        seen += 1;
    }
    assert!(
        seen >= 8,
        "the README shows how to operate it: {seen} commands"
    );
}

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let example = include_str!("../../examples/vnets.toml");
    assert!(README.contains(&format!("```toml\n{example}```")));
}

#[test]
fn the_example_unit_starts_the_agent() {
    let unit = include_str!("../../examples/lbxdp.service");
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .expect("the unit starts something");
    let cli = Cli::try_parse_from(start.split_whitespace()).expect("the command parses");
    assert!(matches!(cli.verb, super::Verb::Run(_)), "{start}");
}

/// The command behind a prompt, from the program's name on.
fn command(line: &str) -> Option<&str> {
    let command = line
        .strip_prefix("$ ")
        .or_else(|| line.strip_prefix("# "))?;
    let command = command.strip_prefix("target/release/").unwrap_or(command);
    command.starts_with("lbxdp ").then_some(command)
}
