//! How long work shows itself: a spinner on a terminal, plain lines elsewhere.

use std::env;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a plain line says that work goes on.
const PLAIN_INTERVAL: Duration = Duration::from_secs(15);
/// How often the spinner turns.
const SPIN_INTERVAL: Duration = Duration::from_millis(100);

/// What a finished command has said, standard output and error in one.
#[derive(Debug)]
pub(crate) struct Finished {
    /// All lines, in the order they came.
    pub(crate) output: String,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Runs a command under a title, its output kept back.
///
/// # Errors
/// When it cannot be started or fails; then all of its output is in the error.
pub(crate) fn run(title: &str, command: &mut Command) -> Result<Finished> {
    let started = Instant::now();
    let (status, output) = watch(title, started, command)?;
    let took = started.elapsed();
    if !status.success() {
        let said: Vec<&str> = output
            .lines()
            // Cargo's messages for programs, among those for people.
            .filter(|line| !line.starts_with("{\"reason\":"))
            .collect();
        bail!(
            "{title}: `{}` failed ({status}):\n{}",
            shown(command),
            said.join("\n").trim_end()
        );
    }
    println!("{} {title} ({})", green("done"), seconds(took));
    Ok(Finished { output, took })
}

/// Runs a command with its output shown as it comes, and returns how it ended.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn stream(command: &mut Command) -> Result<ExitStatus> {
    command
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    command
        .get_args()
        .fold(program.into_owned(), |mut line, argument| {
            line.push(' ');
            line.push_str(&argument.to_string_lossy());
            line
        })
}

/// A duration as people read it.
pub(crate) fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(60) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        let seconds = duration.as_secs();
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

/// `text` in bold, on a terminal that wants colour.
pub(crate) fn bold(text: &str) -> String {
    paint("1", text)
}

/// `text` in green, on a terminal that wants colour.
pub(crate) fn green(text: &str) -> String {
    paint("32", text)
}

/// `text` in red, on a terminal that wants colour.
pub(crate) fn red(text: &str) -> String {
    paint("31", text)
}

/// `text` in yellow, on a terminal that wants colour.
pub(crate) fn yellow(text: &str) -> String {
    paint("33", text)
}

/// Whether colours are wanted (<https://no-color.org>).
pub(crate) fn colours() -> bool {
    std::io::stdout().is_terminal()
        && std::io::stderr().is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn paint(code: &str, text: &str) -> String {
    if colours() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Runs a command and hands over each line of its output as it comes, `None`
/// when there was none for a while.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn each_line(
    command: &mut Command,
    patience: Duration,
    mut take: impl FnMut(Option<String>),
) -> Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let (sender, lines) = mpsc::channel();
    read(child.stdout.take().expect("was piped"), sender.clone());
    read(child.stderr.take().expect("was piped"), sender);
    loop {
        match lines.recv_timeout(patience) {
            Ok(line) => take(Some(line)),
            Err(RecvTimeoutError::Timeout) => take(None),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    child.wait().context("cannot wait for a child")
}

fn watch(title: &str, started: Instant, command: &mut Command) -> Result<(ExitStatus, String)> {
    let mut meter = Meter::new(title, started);
    let mut output = String::new();
    let status = each_line(command, SPIN_INTERVAL, |line| match line {
        Some(line) => {
            meter.say(line.trim());
            output.push_str(&line);
            output.push('\n');
        }
        None => meter.tick(),
    });
    meter.end();
    let status = status.context(title.to_owned())?;
    Ok((status, output))
}

fn read(from: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            // The receiver goes away only with the process.
            let _ = to.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
}

enum Meter {
    Spinner(ProgressBar),
    Plain {
        title: String,
        started: Instant,
        said: Instant,
    },
}

impl Meter {
    fn new(title: &str, started: Instant) -> Self {
        if !std::io::stderr().is_terminal() {
            println!("{title} ...");
            return Self::Plain {
                title: title.to_owned(),
                started,
                said: started,
            };
        }
        let template = if colours() {
            "{spinner:.cyan} {prefix} {elapsed:.dim} {wide_msg:.dim}"
        } else {
            "{spinner} {prefix} {elapsed} {wide_msg}"
        };
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        let bar = ProgressBar::new_spinner().with_style(style);
        bar.set_prefix(title.to_owned());
        Self::Spinner(bar)
    }

    fn say(&mut self, line: &str) {
        match self {
            Self::Spinner(bar) => bar.set_message(line.to_owned()),
            Self::Plain { .. } => {}
        }
        self.tick();
    }

    fn tick(&mut self) {
        match self {
            Self::Spinner(bar) => bar.tick(),
            Self::Plain {
                title,
                started,
                said,
            } => {
                if said.elapsed() >= PLAIN_INTERVAL {
                    *said = Instant::now();
                    println!("{title} ... {} s", started.elapsed().as_secs());
                }
            }
        }
    }

    fn end(&mut self) {
        match self {
            Self::Spinner(bar) => bar.finish_and_clear(),
            Self::Plain { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_shows_all_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; echo second >&2; exit 3"]);
        let error = run("try", &mut command).expect_err("it exits with 3");
        let text = error.to_string();
        assert!(text.contains("first") && text.contains("second"), "{text}");
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(1540)), "1.5 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
