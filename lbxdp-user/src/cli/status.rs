//! `lbxdp status`

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::bail;
use comfy_table::Cell;

use super::place::{PinPath, Socket};
use super::style::{amount, colour, percent, state, table};
use crate::api::{self, Cause, HealthState, Heartbeat, Request, Response, Status, Unanswered};
use crate::config::model::TunnelKind;
use crate::dataplane::LastBeat;

/// Arguments of `lbxdp status`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where the agent listens.
    #[command(flatten)]
    pub agent: Socket,
    /// Where the maps are, from which something can be told when the agent does not answer.
    #[command(flatten)]
    pub place: PinPath,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Print again every second until interrupted.
    #[arg(long)]
    pub watch: bool,
}

/// How often `--watch` asks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Asks the agent and prints what it knows.
///
/// # Errors
/// When the agent cannot be asked; what the maps tell of it is then part of the error.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    loop {
        let status = match api::ask(&args.agent.socket, &Request::Status) {
            Ok(Response::Status(status)) => status,
            Ok(Response::Error(error)) => bail!("{error}"),
            Err(error) => return unanswered(args, error, out),
        };
        if args.json {
            serde_json::to_writer(&mut *out, &status)?;
            writeln!(out)?;
        } else {
            if args.watch && colour() {
                // Clear the screen and go to its first line (ECMA-48: ED, CUP).
                write!(out, "\x1b[2J\x1b[H")?;
            }
            print(&status, SystemTime::now(), out)?;
        }
        out.flush()?;
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

/// Tells how old the tables are of an agent that does not answer.
fn unanswered(args: &Args, error: anyhow::Error, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let heartbeat = LastBeat::read(&args.place.pin_path).map(Heartbeat::from);
    if args.json {
        let unanswered = Unanswered {
            error: format!("{error:#}"),
            heartbeat: heartbeat.clone(),
        };
        serde_json::to_writer(&mut *out, &unanswered)?;
        writeln!(out)?;
    }
    match heartbeat {
        Some(heartbeat) => Err(anyhow::anyhow!("{error:#}\n{heartbeat}")),
        None => Err(error),
    }
}

/// Prints a status for people.
///
/// # Errors
/// When it cannot be written.
pub fn print(status: &Status, now: SystemTime, out: &mut dyn Write) -> anyhow::Result<()> {
    print_node(status, now, out)?;
    print_load_balancers(status, out)?;
    print_risks(status, now, out)?;
    print_pools(status, now, out)?;
    print_draining(&status.draining, now, out)?;
    print_virtual_networks(&status.virtual_networks, now, out)?;
    print_sessions(status, out)?;
    print_flows(status, out)?;
    print_drops(status, out)
}

fn print_node(status: &Status, now: SystemTime, out: &mut dyn Write) -> anyhow::Result<()> {
    let node = &status.node;
    let interfaces: Vec<String> = node
        .interfaces
        .iter()
        .map(|interface| format!("{} ({})", interface.name, interface.mode))
        .collect();
    writeln!(
        out,
        "lbxdp {}, pid {}, up {}, configuration {} (number {}), on {}",
        node.version,
        node.pid,
        age(Some(&node.since), now),
        node.config,
        node.generation,
        interfaces.join(", ")
    )?;
    if let Some(heartbeat) = &node.heartbeat {
        let mark = if heartbeat.fresh { "" } else { "! " };
        writeln!(out, "{mark}{heartbeat}")?;
    }
    if let Some(error) = &node.reload_error {
        writeln!(
            out,
            "\nThe last reload was refused; the configuration before it is in force:\n{error}"
        )?;
    }
    for problem in &node.problems {
        writeln!(out, "! {problem}")?;
    }
    Ok(())
}

fn print_load_balancers(status: &Status, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "\nLoad balancers")?;
    let mut listeners = table([
        "name",
        "listener",
        "serving",
        "packets in",
        "bytes in",
        "packets out",
        "bytes out",
    ]);
    for balancer in &status.load_balancers {
        for listener in &balancer.listeners {
            let traffic = &listener.traffic;
            listeners.add_row([
                balancer.name.clone(),
                listener.to_string(),
                balancer.serving.clone(),
                amount(traffic.packets),
                amount(traffic.bytes),
                amount(traffic.reply_packets),
                amount(traffic.reply_bytes),
            ]);
        }
        if balancer.listeners.is_empty() {
            listeners.add_row([&balancer.name, "-", &balancer.serving]);
        }
    }
    writeln!(out, "{listeners}")?;
    Ok(())
}

/// Rows at risk, if there are any: in quiet times there are none.
fn print_risks(status: &Status, now: SystemTime, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut risks = table([
        "name",
        "rows",
        "moved by edits",
        "for",
        "moved by health",
        "looked up",
    ]);
    for balancer in &status.load_balancers {
        let rows = &balancer.rows;
        if rows.moved + rows.will_move + rows.looked_up == 0 {
            continue;
        }
        risks.add_row([
            balancer.name.clone(),
            amount(rows.all.into()),
            amount(rows.moved.into()),
            rest(rows.moved_until.as_deref(), now),
            amount(rows.will_move.into()),
            amount(rows.looked_up.into()),
        ]);
    }
    if risks.row_count() > 0 {
        writeln!(out, "\nRows whose flows are tracked")?;
        writeln!(out, "{risks}")?;
    }
    Ok(())
}

/// Origins that take no new flows, if there are any.
fn print_draining(
    draining: &[api::Draining],
    now: SystemTime,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if draining.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nDraining")?;
    let mut origins = table(["origin", "address", "state", "flows left", "for"]);
    for origin in draining {
        origins.add_row([
            origin.name.clone(),
            std::net::SocketAddr::new(origin.address, origin.port).to_string(),
            origin.state.clone(),
            amount(origin.flows),
            rest(origin.until.as_deref(), now),
        ]);
    }
    writeln!(out, "{origins}")?;
    Ok(())
}

fn print_pools(status: &Status, now: SystemTime, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "\nPools")?;
    let mut origins = table([
        "pool", "origin", "address", "network", "health", "since", "why", "share", "sessions",
        "packets", "bytes",
    ]);
    for pool in &status.pools {
        origins.add_row([
            Cell::new(&pool.name),
            Cell::new(""),
            Cell::new(""),
            Cell::new(""),
            state(&pool.state),
        ]);
        for origin in &pool.origins {
            let why = why(
                origin.cause.as_ref(),
                &origin.health,
                origin.next_hop_problem.as_deref(),
            );
            origins.add_row([
                Cell::new(""),
                Cell::new(&origin.name),
                Cell::new(std::net::SocketAddr::new(origin.address, origin.port)),
                Cell::new(&origin.virtual_network),
                state(if origin.enabled {
                    &origin.health.health
                } else {
                    "disabled"
                }),
                Cell::new(age(origin.health.since.as_deref(), now)),
                Cell::new(why),
                Cell::new(percent(origin.share)),
                Cell::new(amount(origin.sessions as u64)),
                Cell::new(amount(origin.traffic.packets)),
                Cell::new(amount(origin.traffic.bytes)),
            ]);
        }
    }
    writeln!(out, "{origins}")?;
    Ok(())
}

fn print_virtual_networks(
    networks: &[api::VirtualNetwork],
    now: SystemTime,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if networks.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nVirtual networks")?;
    let mut heads = vec![
        "network", "tunnel", "kind", "device", "to", "health", "since", "why", "packets", "bytes",
    ];
    let mut all = (networks.iter()).flat_map(|network| &network.tunnels);
    let has_wireguard = all.any(|tunnel| tunnel.kind == TunnelKind::Wireguard.name());
    if has_wireguard {
        heads.push("handshake");
    }
    let mut tunnels = table(heads);
    for network in networks {
        for tunnel in &network.tunnels {
            let mut row = vec![
                Cell::new(&network.name),
                Cell::new(&tunnel.name),
                Cell::new(&tunnel.kind),
                Cell::new(&tunnel.device),
                Cell::new(tunnel.remote.map_or("-".to_owned(), |to| to.to_string())),
                state(&tunnel.health.health),
                Cell::new(age(tunnel.health.since.as_deref(), now)),
                Cell::new(why(
                    None,
                    &tunnel.health,
                    tunnel.next_hop_problem.as_deref(),
                )),
                Cell::new(amount(tunnel.traffic.packets)),
                Cell::new(amount(tunnel.traffic.bytes)),
            ];
            if has_wireguard {
                row.push(Cell::new(handshake(tunnel, now)));
            }
            tunnels.add_row(row);
        }
    }
    writeln!(out, "{tunnels}")?;
    Ok(())
}

/// Destinations with the most source ports taken that are shown.
const SHOWN_PORTS: usize = 5;

fn print_sessions(status: &Status, out: &mut dyn Write) -> anyhow::Result<()> {
    let sessions = &status.sessions;
    if sessions.open == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "\nTranslated flows: {} of {}",
        amount(sessions.open as u64),
        amount(sessions.capacity as u64)
    )?;
    let mut ports = table(["towards", "source ports taken", "of", "share"]);
    for towards in sessions.ports.iter().take(SHOWN_PORTS) {
        #[expect(clippy::cast_precision_loss, reason = "a share, for people")]
        let share = towards.taken as f64 / towards.available.max(1) as f64;
        ports.add_row([
            towards.towards.clone(),
            amount(towards.taken as u64),
            amount(towards.available as u64),
            percent(share),
        ]);
    }
    writeln!(out, "{ports}")?;
    Ok(())
}

fn print_flows(status: &Status, out: &mut dyn Write) -> anyhow::Result<()> {
    let flows = &status.flows;
    if flows.tracked == 0 && flows.refused == 0 && flows.evicted == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "\nFlows of rows that have moved or will: {} of {} ({} recorded, {} not at once, {} pushed \
         out, {} expired)",
        amount(flows.tracked as u64),
        amount(flows.capacity as u64),
        amount(flows.inserted),
        amount(flows.refused),
        amount(flows.evicted),
        amount(flows.expired),
    )?;
    Ok(())
}

/// Reasons by which packets were dropped: what is passed or forwarded is no news.
fn print_drops(status: &Status, out: &mut dyn Write) -> anyhow::Result<()> {
    let dropped = lbxdp_ebpf::verdict::Reason::ALL
        .iter()
        .filter(|reason| reason.kind() == lbxdp_ebpf::verdict::Kind::Drop)
        .filter_map(|reason| {
            status
                .reasons
                .iter()
                .find(|met| met.label == reason.label())
        })
        .filter(|met| met.packets > 0)
        .collect::<Vec<_>>();
    if dropped.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nDropped")?;
    let mut drops = table(["reason", "packets", "meaning"]);
    for met in dropped {
        drops.add_row([met.label.clone(), amount(met.packets), met.sentence.clone()]);
    }
    writeln!(out, "{drops}")?;
    Ok(())
}

/// How long ago the peer of a WireGuard tunnel last agreed on keys.
fn handshake(tunnel: &api::Tunnel, now: SystemTime) -> String {
    match &tunnel.last_handshake {
        Some(last) => format!("{} ago", age(Some(last), now)),
        None if tunnel.kind == TunnelKind::Wireguard.name() => "none".to_owned(),
        None => String::new(),
    }
}

fn why(cause: Option<&Cause>, health: &HealthState, next_hop_problem: Option<&str>) -> String {
    match (cause, &health.reason, next_hop_problem) {
        (Some(Cause::Tunnel(tunnel)), _, _) => format!("tunnel {tunnel} is down"),
        (None, Some(reason), _) => reason.clone(),
        (None, None, Some(problem)) => problem.to_owned(),
        (None, None, None) => String::new(),
    }
}

/// How long ago an RFC 3339 time was, in one or two units.
fn age(since: Option<&str>, now: SystemTime) -> String {
    let Some(since) = since.and_then(|since| humantime::parse_rfc3339(since).ok()) else {
        return "-".to_owned();
    };
    units(now.duration_since(since).unwrap_or_default())
}

/// How long an RFC 3339 time is still to come, in one or two units.
fn rest(until: Option<&str>, now: SystemTime) -> String {
    let Some(until) = until.and_then(|until| humantime::parse_rfc3339(until).ok()) else {
        return "-".to_owned();
    };
    units(until.duration_since(now).unwrap_or_default())
}

fn units(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    if days > 0 {
        format!("{days}d {}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h {}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m {}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_at_most() {
        let now = humantime::parse_rfc3339("2026-01-03T01:02:03Z").expect("a time");
        let age = |since| age(Some(since), now);
        assert_eq!(age("2026-01-03T01:02:00Z"), "3s");
        assert_eq!(age("2026-01-03T00:00:00Z"), "1h 2m");
        assert_eq!(age("2026-01-01T00:00:00Z"), "2d 1h");
        assert_eq!(super::age(None, now), "-");
    }

    fn tunnel(kind: &str, last_handshake: Option<&str>) -> api::Tunnel {
        api::Tunnel {
            name: "one".to_owned(),
            kind: kind.to_owned(),
            device: format!("lbx-{kind}"),
            local: None,
            remote: None,
            addresses: Vec::new(),
            mtu: 1420,
            health: HealthState {
                health: "healthy".to_owned(),
                since: None,
                reason: None,
                rtt_ms: None,
            },
            next_hop_problem: None,
            last_handshake: last_handshake.map(str::to_owned),
            traffic: api::Traffic::default(),
        }
    }

    fn printed(tunnels: Vec<api::Tunnel>) -> String {
        let network = api::VirtualNetwork {
            name: "blue".to_owned(),
            id: 7,
            tunnels,
        };
        let now = humantime::parse_rfc3339("2026-01-03T01:02:03Z").expect("a time");
        let mut out = Vec::new();
        print_virtual_networks(&[network], now, &mut out).expect("a vector takes all");
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn handshakes_are_those_of_wireguard() {
        let text = printed(vec![
            tunnel("wireguard", Some("2026-01-03T01:02:00Z")),
            tunnel("wireguard", None),
            tunnel("gre", None),
        ]);
        let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
        assert!(lines[1].ends_with("handshake"), "{text}");
        assert!(lines[2].ends_with("3s ago"), "{text}");
        assert!(lines[3].ends_with("none"), "{text}");
        assert!(!printed(vec![tunnel("gre", None)]).contains("handshake"));
        let json = serde_json::to_string(&tunnel("gre", None)).expect("it is JSON");
        assert!(!json.contains("handshake"), "{json}");
    }

    #[test]
    fn who_drains_is_shown_with_what_is_left_of_it() {
        let now = humantime::parse_rfc3339("2026-01-03T01:02:03Z").expect("a time");
        let print = |draining: &[api::Draining]| {
            let mut out = Vec::new();
            print_draining(draining, now, &mut out).expect("memory takes all");
            String::from_utf8(out).expect("it is text")
        };
        assert_eq!(print(&[]), "");
        let text = print(&[api::Draining {
            name: "web/b".to_owned(),
            state: "leaving".to_owned(),
            address: [192, 0, 2, 12].into(),
            port: 80,
            flows: 17,
            until: Some("2026-01-03T01:06:08Z".to_owned()),
        }]);
        for part in ["web/b", "192.0.2.12:80", "leaving", "17", "4m 5s"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_tunnel_is_named_as_the_cause() {
        let health = HealthState {
            health: "unhealthy".to_owned(),
            since: None,
            reason: Some("tcp timeout".to_owned()),
            rtt_ms: None,
        };
        let cause = Cause::Tunnel("blue/blue-1".to_owned());
        assert_eq!(
            why(Some(&cause), &health, None),
            "tunnel blue/blue-1 is down"
        );
        assert_eq!(why(None, &health, None), "tcp timeout");
    }
}
