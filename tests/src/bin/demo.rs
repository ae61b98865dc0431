//! `cargo xtask demo`: see the crate's module `demo`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use clap::Parser;
use tests::demo::{Figures, Stage, run};
use tests::netns::{Edge, Lab, agent_obstacle, obstacle, remove_lab};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Shows lbxdp at work in network namespaces of this machine.
#[derive(Parser, Debug)]
#[command(name = "demo", version)]
struct Arguments {
    /// Prints the figures as one JSON object, the only line of standard output.
    #[arg(long)]
    json: bool,
    /// Leaves the lab up, with commands to try, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

/// Set by the signal that ends the demo. What fails from then on fails for that reason alone.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let result = demo(&Arguments::parse());
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &Arguments) -> Result<bool> {
    if let Some(reason) = obstacle() {
        bail!("it {reason}: network namespaces and XDP are made by root only");
    }
    if let Some(reason) = agent_obstacle() {
        bail!("it cannot start the agent: {reason}");
    }
    clean_up_on_signals()?;
    let stage = if arguments.json {
        Stage::Error
    } else {
        Stage::Output
    };
    let figures = run(&stage, |lab, edge| {
        if arguments.keep {
            keep(&stage, lab, edge);
        }
    });
    let figures = match figures {
        Ok(figures) => figures,
        // A scene that could not be played to its end.
        Err(error) => {
            if arguments.json && !INTERRUPTED.load(Ordering::SeqCst) {
                let failed = Figures {
                    problems: vec![format!("{error:#}")],
                    ..Figures::default()
                };
                println!("{}", serde_json::to_string(&failed)?);
            }
            return Err(error);
        }
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&figures)?);
    }
    Ok(figures.ok)
}

/// Ctrl-C and SIGTERM end the demo, and nothing is left of it.
fn clean_up_on_signals() -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        INTERRUPTED.store(true, Ordering::SeqCst);
        remove_lab(&format!("lbxt-{}", std::process::id()));
        std::process::exit(130);
    });
    Ok(())
}

/// Waits for the signal that ends the program.
fn keep(stage: &Stage, lab: &Lab, edge: &Edge) {
    let name = lab.name();
    let vip = Lab::vip(10, 80);
    stage.line("");
    stage.line("The lab stays up. From another terminal, in a root shell, on the edge node:");
    stage.line("");
    for line in edge.shell_setup() {
        stage.line(&format!("  {line}"));
    }
    for verb in [
        "status".to_owned(),
        format!("explain tcp {}:40000 {vip}", Lab::CLIENT),
        "map dump LISTENERS".to_owned(),
    ] {
        stage.line(&format!("  $lbxdp {verb}"));
    }
    stage.line("");
    stage.line("And elsewhere:");
    stage.line("");
    for (what, command) in [
        (
            "a client's request:",
            format!("nsenter --net=/run/netns/{name}-clients curl http://{vip}/"),
        ),
        (
            "an origin dies:",
            format!("ip -n {name}-blue link set to-a down"),
        ),
        (
            "and returns:",
            format!("ip -n {name}-blue link set to-a up"),
        ),
        (
            "a tunnel is cut:",
            format!("ip -n {name}-router link set green down"),
        ),
        (
            "and mended:",
            format!("ip -n {name}-router link set green up"),
        ),
        (
            "the agent's log:",
            format!("less {}", lab.files().join("lbxdp.log").display()),
        ),
    ] {
        stage.line(&format!("  {what:<20} {command}"));
    }
    stage.line("");
    stage.line(&format!(
        "Ctrl-C here, or `kill {}`, removes it.",
        std::process::id()
    ));
    loop {
        std::thread::park();
    }
}
