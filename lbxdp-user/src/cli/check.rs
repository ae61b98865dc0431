//! `lbxdp check`: says all that is wrong with a configuration file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use crate::config::model::Config;
use crate::config::{self, Invalid, Loaded, Problem};

/// Check a configuration file without applying it.
///
/// Exit status: 0 if it holds (there may be warnings), 1 if it does not, 2 if it cannot be read.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// How many there are of each thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Summary {
    /// Load balancers, disabled ones included.
    pub load_balancers: usize,
    /// Listeners.
    pub listeners: usize,
    /// Pools.
    pub pools: usize,
    /// Origins.
    pub origins: usize,
    /// Virtual networks.
    pub vnets: usize,
    /// Tunnels.
    pub tunnels: usize,
}

/// Checks the file and prints the outcome to `out`.
///
/// # Errors
/// When `out` cannot be written. A wrong configuration is no error but an exit status.
pub fn run(args: &CheckArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let outcome = config::load(&args.config);
    if args.json {
        let answer = Answer::of(&args.config, &outcome);
        serde_json::to_writer_pretty(&mut *out, &answer)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        print(&args.config, &outcome, out)
    }
    .context("cannot write the outcome of the check")?;
    Ok(match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(Invalid {
            unreadable: false, ..
        }) => ExitCode::from(1),
        Err(Invalid {
            unreadable: true, ..
        }) => ExitCode::from(2),
    })
}

impl Summary {
    /// Counts what a configuration has.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            load_balancers: config.load_balancers.len(),
            listeners: config
                .load_balancers
                .values()
                .map(|lb| lb.listeners.len())
                .sum(),
            pools: config.pools.len(),
            origins: config.pools.values().map(|pool| pool.origins.len()).sum(),
            vnets: config.vnets.len(),
            tunnels: config.vnets.values().map(|vnet| vnet.tunnels.len()).sum(),
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    file: String,
    summary: Option<Summary>,
    errors: &'a [Problem],
    warnings: &'a [Problem],
}

impl<'a> Answer<'a> {
    fn of(file: &Path, outcome: &'a Result<Loaded, Invalid>) -> Self {
        let file = file.display().to_string();
        match outcome {
            Ok(loaded) => Self {
                ok: true,
                file,
                summary: Some(Summary::of(&loaded.config)),
                errors: &[],
                warnings: &loaded.warnings,
            },
            Err(invalid) => Self {
                ok: false,
                file,
                summary: None,
                errors: &invalid.errors,
                warnings: &invalid.warnings,
            },
        }
    }
}

fn print(
    file: &Path,
    outcome: &Result<Loaded, Invalid>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let warnings = match outcome {
        Ok(loaded) => {
            let Summary {
                load_balancers,
                listeners,
                pools,
                origins,
                vnets,
                tunnels,
            } = Summary::of(&loaded.config);
            let counts = [
                (load_balancers, "load balancer"),
                (listeners, "listener"),
                (pools, "pool"),
                (origins, "origin"),
                (vnets, "vnet"),
                (tunnels, "tunnel"),
            ]
            .map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }));
            writeln!(out, "{}: valid: {}", file.display(), counts.join(", "))?;
            &loaded.warnings
        }
        Err(invalid) => {
            writeln!(out, "{invalid}")?;
            &invalid.warnings
        }
    };
    for warning in warnings {
        writeln!(out, "\nwarning: {warning}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn checked(path: &Path, json: bool) -> (String, ExitCode) {
        let args = CheckArgs {
            config: path.to_owned(),
            json,
        };
        let mut out = Vec::new();
        let code = run(&args, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn every_example_file_is_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        // Where the keys are that some of them name.
        let beside = tempfile::tempdir().unwrap();
        for (name, secret) in [
            (
                "blue.key",
                "6BDEpqfJtQRsWyuLFKFSTGR5rXtDQXvnyIvGBDfAVkw=".to_owned(),
            ),
            ("blue-in.key", "1a".repeat(36)),
            ("blue-out.key", "2b".repeat(36)),
        ] {
            let key = beside.path().join(name);
            std::fs::write(&key, secret).unwrap();
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let copy = beside.path().join("lbxdp.toml");
                std::fs::copy(&path, &copy).unwrap();
                let (out, code) = checked(&copy, false);
                assert_eq!(code, ExitCode::SUCCESS, "{out}");
                count += 1;
            }
        }
        assert!(count >= 3);
    }

    #[test]
    fn a_valid_file_is_summarised() {
        let file = written(include_str!("../../examples/vnets.toml"));
        let (out, code) = checked(file.path(), false);
        assert_eq!(code, ExitCode::SUCCESS);
        let summary =
            "valid: 2 load balancers, 2 listeners, 3 pools, 4 origins, 2 vnets, 2 tunnels\n";
        assert!(out.ends_with(summary), "{out}");
        let (out, _) = checked(file.path(), true);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (&json["ok"], &json["summary"]["origins"]),
            (&true.into(), &4.into())
        );
    }

    #[test]
    fn a_wrong_file_is_answered_with_its_errors() {
        let file = written("[node]\ninterface = []\n");
        let (out, code) = checked(file.path(), false);
        assert_eq!(code, ExitCode::from(1));
        assert!(
            out.contains("3 errors") && out.contains("did you mean `interfaces`?"),
            "{out}"
        );
        let (out, code) = checked(file.path(), true);
        assert_eq!(code, ExitCode::from(1));
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["errors"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_missing_file_has_a_status_of_its_own() {
        let (out, code) = checked(Path::new("/nonexistent.toml"), false);
        assert_eq!(code, ExitCode::from(2));
        assert!(out.contains("cannot be read"), "{out}");
    }
}
