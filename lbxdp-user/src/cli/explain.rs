//! `lbxdp explain`: what becomes of a packet, by the very pipeline over the live maps.

mod dissect;
mod hints;
mod packet;
mod record;
mod steps;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use lbxdp_ebpf::abi::{Encapsulation, PATH_INNER_ETHERNET, PeerKey, VnetId};
use lbxdp_ebpf::mem::MemFrame;
use lbxdp_ebpf::pipeline::{process, process_from_device};
use lbxdp_ebpf::tables::Tables;
use lbxdp_ebpf::verdict::{Action, Kind, Verdict};
use lbxdp_ebpf::wire::Ethernet;
use serde_json::{Value, json};

pub use self::packet::{Protocol, Question, TcpFlags};
use self::record::{Lookup, Recorder};
use self::steps::Step;
use super::place::PinPath;
use crate::dataplane::{
    Content, LOCAL_VNET, LiveMaps, LiveTables, Names, attached, interface_name, link_mac,
};

/// Arguments of `lbxdp explain`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The packet's protocol.
    pub protocol: Protocol,
    /// Where it comes from: `192.0.2.1:40000`, `[2001:db8::1]:40000`.
    #[arg(value_name = "SRC:PORT")]
    pub source: SocketAddr,
    /// Where it goes.
    #[arg(value_name = "DST:PORT")]
    pub destination: SocketAddr,
    /// The virtual network that it comes from, in a tunnel.
    #[arg(long, value_name = "NAME", default_value = LOCAL_VNET)]
    pub vnet: String,
    /// The interface that it comes in by; the first one with the program if absent.
    #[arg(long = "in", value_name = "IFACE")]
    pub ingress: Option<String>,
    /// Bytes of the IP packet; headers alone if absent.
    #[arg(long, value_name = "BYTES")]
    pub size: Option<u16>,
    /// TTL or hop limit.
    #[arg(long, default_value_t = 64)]
    pub ttl: u8,
    /// Flags of TCP, with commas between.
    #[arg(long, value_name = "FLAGS", default_value = "SYN")]
    pub tcp_flags: TcpFlags,
    /// Where the maps are.
    #[command(flatten)]
    pub place: PinPath,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Exit code of a packet that would not be forwarded.
const NOT_FORWARDED: u8 = 3;

/// Does what was asked; output goes to `out`. Exit code 0: the packet would be forwarded; 3: not.
///
/// # Errors
/// When the maps cannot be read, or the question makes no packet.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let maps = LiveMaps::open(&args.place.pin_path)?;
    let content = maps.content()?;
    let names = Names::new(content.entities.clone());
    let ingress = ingress(args)?;
    let question = Question {
        protocol: args.protocol,
        source: args.source,
        destination: args.destination,
        size: args.size,
        ttl: args.ttl,
        flags: args.tcp_flags.clone(),
        ingress,
        mac: link_mac(ingress).unwrap_or_default(),
    };
    let vnet = super::map::vnet(&args.vnet, &names)?;
    let tables = LiveTables::new(&maps)?;
    let mut explanation = explain(&question, vnet, &content, &names, &tables)?;
    explanation.failures = tables.failures();
    if args.json {
        writeln!(out, "{:#}", explanation.json())?;
    } else {
        explanation.print(out)?;
    }
    Ok(if explanation.is_forwarded() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_FORWARDED)
    })
}

/// What becomes of a packet, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The packet as it comes in, a line a header.
    pub before: Vec<String>,
    /// What was looked up, in order.
    pub steps: Vec<Step>,
    /// How it ends.
    pub verdict: Verdict,
    /// The packet as it leaves, a line a header; empty if it does not.
    pub after: Vec<String>,
    /// What could help, of a packet that is not forwarded.
    pub hints: Vec<String>,
    /// What could not be read.
    pub failures: Vec<String>,
    /// The packet as it leaves, or stays.
    pub frame: Vec<u8>,
}

/// Runs the pipeline over `tables`. A packet of another VNet than `local` comes in the first
/// tunnel of that VNet.
///
/// # Errors
/// When the question makes no packet, or the VNet has no tunnel.
pub fn explain<T: Tables>(
    question: &Question,
    vnet: VnetId,
    content: &Content,
    names: &Names,
    tables: &T,
) -> Result<Explanation> {
    let mut bytes = question.frame()?;
    let mut tunnel_in = None;
    let mut device = None;
    if vnet != VnetId::LOCAL {
        let key = peer_of(vnet, content, names)?;
        tunnel_in = Encapsulation::from_u8(key.encapsulation);
        if tunnel_in == Some(Encapsulation::Device) {
            device = Some(key.vni);
            if !has_ethernet(&key, content) {
                bytes.drain(..size_of::<Ethernet>());
            }
        } else {
            bytes = packet::tunnelled(&bytes, &key)?;
        }
    }
    let before = match device {
        Some(ifindex) => dissect::from_device(&bytes, &interface_name(ifindex)),
        None => dissect::dissect(&bytes, tunnel_in),
    };
    let mut frame = MemFrame::new(&bytes);
    let recorder = Recorder::new(tables);
    let verdict = match device {
        Some(ifindex) => process_from_device(&mut frame, &recorder, ifindex),
        None => process(&mut frame, &recorder, question.ingress),
    };
    let lookups = recorder.into_lookups();
    let forwarded = is_forwarded(&verdict);
    let after = if forwarded {
        dissect::dissect(frame.bytes(), tunnel_out(&lookups))
    } else {
        Vec::new()
    };
    Ok(Explanation {
        before,
        steps: steps::steps(&lookups, question, vnet, content, names),
        hints: hints::hints(&verdict, &lookups, content, names),
        verdict,
        after,
        failures: Vec::new(),
        frame: frame.bytes().to_vec(),
    })
}

impl Explanation {
    /// Whether the packet would be sent on, to an origin or back to a client.
    #[must_use]
    pub const fn is_forwarded(&self) -> bool {
        is_forwarded(&self.verdict)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let Verdict {
            action,
            reason,
            listener,
            origin,
            tunnel,
        } = self.verdict;
        json!({
            "packet": self.before,
            "steps": self.steps.iter().map(Step::json).collect::<Vec<_>>(),
            "action": action_name(action),
            "interface": egress(action).map(interface_name),
            "ifindex": egress(action),
            "reason": reason.label(),
            "sentence": reason.sentence(),
            "forwarded": self.is_forwarded(),
            "listener_index": listener.get(),
            "origin_index": origin.get(),
            "tunnel_index": tunnel.get(),
            "result": self.after,
            "hints": self.hints,
            "failures": self.failures,
        })
    }

    /// For people.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn print(&self, out: &mut dyn Write) -> Result<()> {
        writeln!(out, "packet")?;
        for line in &self.before {
            writeln!(out, "  {line}")?;
        }
        writeln!(out, "steps")?;
        let width = self.steps.iter().map(|step| step.name.len()).max();
        let width = width.unwrap_or(0);
        for step in &self.steps {
            writeln!(out, "  {:width$}  {}", step.name, step.text)?;
        }
        if !self.after.is_empty() {
            writeln!(out, "leaves as")?;
            for line in &self.after {
                writeln!(out, "  {line}")?;
            }
        }
        let reason = self.verdict.reason;
        let to = egress(self.verdict.action).map(interface_name);
        let to = to.map_or(String::new(), |name| format!(" to {name}"));
        writeln!(out, "verdict")?;
        writeln!(
            out,
            "  {}{to}  ({})",
            action_name(self.verdict.action),
            reason.label()
        )?;
        writeln!(out, "  {}", reason.sentence())?;
        for hint in &self.hints {
            writeln!(out, "  {hint}")?;
        }
        for failure in &self.failures {
            writeln!(out, "  but: {failure}")?;
        }
        Ok(())
    }
}

const fn is_forwarded(verdict: &Verdict) -> bool {
    match verdict.reason.kind() {
        Kind::Forward | Kind::Reply | Kind::Answer => true,
        Kind::Pass | Kind::Drop => false,
    }
}

const fn action_name(action: Action) -> &'static str {
    match action {
        Action::Pass => "pass",
        Action::Drop => "drop",
        Action::Transmit => "transmit",
        Action::Redirect(_) => "redirect",
        Action::HandOver(_) => "hand over",
    }
}

const fn egress(action: Action) -> Option<u32> {
    match action {
        Action::Redirect(ifindex) => Some(ifindex),
        Action::HandOver(device) => Some(device.ifindex()),
        Action::Pass | Action::Drop | Action::Transmit => None,
    }
}

fn ingress(args: &Args) -> Result<u32> {
    if let Some(name) = &args.ingress {
        return nix::net::if_::if_nametoindex(name.as_str())
            .map_err(|_| anyhow!("there is no interface {name} in this network namespace"));
    }
    let attached =
        attached(&args.place.pin_path).context("cannot see where the program is attached")?;
    Ok(attached
        .into_iter()
        .map(|(_, ifindex, _)| ifindex)
        .find(|ifindex| *ifindex != 0)
        .unwrap_or(0))
}

fn peer_of(vnet: VnetId, content: &Content, names: &Names) -> Result<PeerKey> {
    let mut peers = content.peers.iter();
    peers
        .find(|(_, peer)| peer.vnet == vnet)
        .map(|(key, _)| *key)
        .ok_or_else(|| anyhow!("no tunnel leads from VNet {}", names.vnet(vnet)))
}

/// Whether packets of a peer that is a device come with an Ethernet header.
fn has_ethernet(key: &PeerKey, content: &Content) -> bool {
    let path = (content.peers.get(key)).and_then(|peer| content.tunnels.get(&peer.tunnel));
    path.is_some_and(|path| path.has(PATH_INNER_ETHERNET))
}

/// The encapsulation that the packet leaves in.
fn tunnel_out(lookups: &[Lookup]) -> Option<Encapsulation> {
    let path = lookups.iter().rev().find_map(|lookup| match lookup {
        Lookup::Origin(_, Some(origin)) => Some(&origin.path),
        Lookup::Tunnel(_, Some(path)) => Some(&**path),
        _ => None,
    })?;
    path.encapsulation()
}

#[cfg(test)]
mod tests;
