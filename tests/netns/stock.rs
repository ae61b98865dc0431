//! Tunnels whose far end is the kernel's own device.
//!
//! For each kind of tunnel there is a far end for each form that the kernel's device has, over
//! both outer IP versions. It is both gateway and origin, all with the same inner addresses:
//!
//! - by `nat`, it is reached through the tunnel of a VNet, the agent's own device at the edge's
//!   end for the probes, and answers back into the tunnel;
//! - by `dsr`, it owns the VIP, takes the client's packets out of their wrapping with the same
//!   device, and answers past the edge.

mod far;
mod kinds;
mod links;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::netns::{Edge, Lab, UdpFlow, agent_obstacle, obstacle, path_mtu, slow, stream};

use crate::configuration::MONITORS;
use far::Far;
use kinds::{Carried, Kind};

/// Bytes that go each way, in some hundred packets of full size.
const BULK: usize = 200_000;

#[test]
fn vxlan_ends_in_the_kernels_device() -> Result<()> {
    carry("vxlan_ends_in_the_kernels_device", &kinds::VXLAN)
}

#[test]
fn geneve_ends_in_the_kernels_device() -> Result<()> {
    carry("geneve_ends_in_the_kernels_device", &kinds::GENEVE)
}

#[test]
fn gre_ends_in_the_kernels_device() -> Result<()> {
    carry("gre_ends_in_the_kernels_device", &kinds::GRE)
}

#[test]
fn ip_in_ip_ends_in_the_kernels_device() -> Result<()> {
    carry("ip_in_ip_ends_in_the_kernels_device", &kinds::IPIP)
}

#[test]
fn gue_ends_in_the_kernels_device() -> Result<()> {
    carry("gue_ends_in_the_kernels_device", &kinds::GUE)
}

#[test]
fn fou_ends_in_the_kernels_device() -> Result<()> {
    carry("fou_ends_in_the_kernels_device", &kinds::FOU)
}

/// A lab without sites, unless the agent cannot run here, which it then says.
fn bare(test: &str) -> Result<Option<Lab>> {
    if let Some(reason) = obstacle().map(str::to_owned).or_else(agent_obstacle) {
        tests::skip(test, &reason);
        return Ok(None);
    }
    Lab::without_sites().map(Some)
}

/// Builds a far end for each form of a kind, all in one lab, and uses each in every way.
fn carry(test: &str, forms: &'static [Kind]) -> Result<()> {
    let Some(lab) = bare(test)? else {
        return Ok(());
    };
    narrow(&lab)?;
    let mut ends = Vec::new();
    for (number, kind) in (0..).zip(forms) {
        match Far::build(&lab, kind, number)? {
            Some(far) => ends.push(far),
            None => return tests::netns::lacking(test, kind.device_type()),
        }
    }
    let configuration: String = ends.iter().map(Far::configuration).collect();
    let mut edge = Edge::start(&lab, &(lab.configuration() + MONITORS + &configuration))?;
    edge.wait_healthy()?;
    edge.wait("the tunnels are healthy", |status| {
        ends.iter().all(|far| {
            let tunnel = status.tunnel(far.name(), far.name());
            tunnel.is_ok_and(|tunnel| tunnel["health"] == "healthy")
        })
    })?;
    for far in &ends {
        for carried in far.kind().carried {
            nat(&lab, far, *carried)
                .and_then(|()| dsr(&lab, far, *carried))
                .with_context(|| format!("{} carrying {carried:?}", far.name()))
                .with_context(|| edge.log())?;
        }
    }
    Ok(())
}

/// Lets the way to the far ends carry no more than clients send, so that what is in front of a packet
/// does not fit beside one of full size.
fn narrow(lab: &Lab) -> Result<()> {
    lab.edge()
        .ip("route add 203.0.113.64/26 via 203.0.113.2 mtu 1500
         route add 2001:db8:f::/48 via 2001:db8:e::2 mtu 1500")
}

/// Through the VNet.
fn nat(lab: &Lab, far: &Far, carried: Carried) -> Result<()> {
    used(lab, far, far.vip(carried, far::Way::Nat)).context("nat")
}

/// Past the edge on the way back. What the far end says of its segments' size goes past it too: the
/// client's first ones are too large, and it is the edge that tells it what fits.
fn dsr(lab: &Lab, far: &Far, carried: Carried) -> Result<()> {
    used(lab, far, far.vip(carried, far::Way::Dsr)).context("dsr")
}

/// Datagrams, a connection both ways, and what is told of the path's MTU.
fn used(lab: &Lab, far: &Far, vip: SocketAddr) -> Result<()> {
    served(lab, far, vip)?;
    let told = path_mtu(lab.clients(), vip)?;
    let fits = far.kind().mtu;
    ensure!(
        told == u32::from(fits),
        "a packet that does not fit is told {told}, not {fits}"
    );
    // Now the client knows; a connection goes on.
    stream::exchange(lab, vip, far.name(), BULK).context("the MTU known")
}

/// Datagrams and a connection, both ways.
fn served(lab: &Lab, far: &Far, vip: SocketAddr) -> Result<()> {
    let by = lab.block_on(async {
        UdpFlow::open(lab.clients(), vip, slow(Duration::from_secs(1)))?
            .ask()
            .await
    })?;
    ensure!(by == far.name(), "{by} answers for {}", far.name());
    stream::exchange(lab, vip, far.name(), BULK)
}
