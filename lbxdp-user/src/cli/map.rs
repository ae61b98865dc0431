//! `lbxdp map`: what the maps hold, with the agent alive or dead.

pub(in crate::cli) mod entry;
mod key;
mod read;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::Subcommand;
use serde_json::{Value, json};

pub(super) use key::vnet;

use self::entry::Entry;
use super::place::PinPath;
use super::style::table;
use crate::api::Heartbeat;
use crate::dataplane::{LastBeat, LiveMaps, MAPS, MapSpec, Names};

/// Arguments of `lbxdp map`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to do with the maps.
    #[command(subcommand)]
    pub verb: Verb,
    /// Where the maps are.
    #[command(flatten)]
    pub place: PinPath,
    /// Print one JSON value.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The verbs of `lbxdp map`.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// List the maps.
    List,
    /// Show all entries of a map, decoded.
    Dump {
        /// Name of the map, such as LISTENERS.
        name: String,
        /// Of ROWS, show every row in force rather than each origin's share.
        #[arg(long)]
        all: bool,
    },
    /// Show one entry of a map, decoded.
    Get {
        /// Name of the map.
        name: String,
        /// Its key, as `dump` writes it: `blue 10.0.0.11:80/tcp`, `web-blue/a`, `3`, …
        #[arg(required = true, num_args = 1..)]
        key: Vec<String>,
    },
}

/// Does what was asked; output goes to `out`. Exit code 3: there is no such entry.
///
/// # Errors
/// When there are no maps, no such map, or the key is not of its form.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let open = || -> Result<(LiveMaps, Names)> {
        let maps = LiveMaps::open(&args.place.pin_path)?;
        let names = Names::new(maps.entities()?);
        Ok((maps, names))
    };
    match &args.verb {
        Verb::List => {
            let (maps, names) = open()?;
            list(&maps, &names, &args.place.pin_path, args.json, out)?;
        }
        Verb::Dump { name, all } => {
            let spec = spec(name)?;
            let (maps, names) = open()?;
            let entries = read::dump(&maps, &names, spec, *all)?;
            print(spec, &entries, args.json, out)?;
        }
        Verb::Get { name, key } => {
            let spec = spec(name)?;
            let (maps, names) = open()?;
            let key = key.join(" ");
            let entry = read::get(&maps, &names, spec, &key)?;
            let Some(entry) = entry else {
                if args.json {
                    writeln!(out, "null")?;
                } else {
                    writeln!(out, "{} has no entry {key}", spec.name)?;
                }
                return Ok(ExitCode::from(3));
            };
            if args.json {
                writeln!(out, "{:#}", entry.json())?;
            } else {
                print_one(&entry, out)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn spec(name: &str) -> Result<&'static MapSpec> {
    MapSpec::named(name).ok_or_else(|| {
        let known: Vec<&str> = MAPS.iter().map(|spec| spec.name).collect();
        anyhow!("there is no map {name}; there are {}", known.join(", "))
    })
}

fn list(
    maps: &LiveMaps,
    names: &Names,
    pin_path: &std::path::Path,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let mut rows: Vec<Value> = Vec::new();
    for spec in &MAPS {
        let facts = read::facts(pin_path, spec)
            .with_context(|| format!("cannot ask about map {}", spec.name))?;
        rows.push(json!({
            "name": spec.name,
            "type": format!("{:?}", spec.kind),
            "key_bytes": spec.key_size,
            "value_bytes": spec.value_size,
            "used": read::used(maps, names, spec)?,
            "max_entries": facts.max_entries,
            "memory_bytes": facts.memory,
            "about": spec.about,
        }));
    }
    if as_json {
        writeln!(out, "{:#}", Value::Array(rows))?;
        return Ok(());
    }
    let mut table = table([
        "map",
        "type",
        "key",
        "value",
        "used / max",
        "memory",
        "about",
    ]);
    let text = |row: &Value, name: &str| match row.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let mut total = 0;
    for row in &rows {
        let memory = row
            .get("memory_bytes")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        total += memory;
        table.add_row([
            text(row, "name"),
            text(row, "type"),
            text(row, "key_bytes"),
            text(row, "value_bytes"),
            format!("{} / {}", text(row, "used"), text(row, "max_entries")),
            kibibytes(memory),
            text(row, "about"),
        ]);
    }
    writeln!(out, "{table}")?;
    writeln!(out, "memory of all maps: {}", kibibytes(total))?;
    match LastBeat::of(maps).map(Heartbeat::from) {
        Some(heartbeat) => writeln!(out, "{heartbeat}")?,
        None => writeln!(out, "no agent has confirmed the tables yet")?,
    }
    Ok(())
}

fn kibibytes(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

fn print(spec: &MapSpec, entries: &[Entry], as_json: bool, out: &mut dyn Write) -> Result<()> {
    if as_json {
        let entries = entries.iter().map(Entry::json).collect();
        writeln!(out, "{:#}", Value::Array(entries))?;
        return Ok(());
    }
    let Some(first) = entries.first() else {
        writeln!(out, "{} is empty", spec.name)?;
        return Ok(());
    };
    let heads = std::iter::once("key").chain(first.value.iter().map(|field| field.name));
    let mut table = table(heads);
    for entry in entries {
        let cells = entry.value.iter().map(|field| field.text.clone());
        table.add_row(std::iter::once(entry.key.clone()).chain(cells));
    }
    writeln!(out, "{table}")?;
    Ok(())
}

fn print_one(entry: &Entry, out: &mut dyn Write) -> Result<()> {
    let width = entry
        .value
        .iter()
        .map(|field| field.name.len())
        .max()
        .unwrap_or(0);
    writeln!(out, "{:width$}  {}", "key", entry.key)?;
    for field in &entry.value {
        writeln!(out, "{:width$}  {}", field.name, field.text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
