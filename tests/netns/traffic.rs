//! Traffic in quiet times: who answers, from where, and at what size.

use anyhow::Result;
use tests::netns::{Lab, Shape};

use crate::configuration::{MONITORS, Service};
use crate::{healthy, served_since, start_load};

/// Everything through both sites, with full-size packets both ways.
fn both_sites(test: &str, shape: Shape) -> Result<()> {
    let (blue, green, echo) = (Lab::vip(10, 80), Lab::vip(20, 80), Lab::vip(10, 7));
    let addition = [
        MONITORS,
        &Service::tcp("blue", "blue", blue).text(),
        &Service::tcp("green", "green", green).text(),
        &Service::udp("echo", "green", echo).text(),
    ]
    .concat();
    let Some((lab, edge)) = healthy(test, shape, &addition)? else {
        return Ok(());
    };
    for (vip, vnet) in [(blue, "blue/"), (green, "green/")] {
        let answer = lab.block_on(lab.http().get(vip, "/bytes/1000000"))?;
        assert!(answer.origin.starts_with(vnet), "{answer:?}");
        assert_eq!(answer.length, 1_000_000);
        assert_eq!(
            answer.seen_client.ip(),
            Lab::CLIENT,
            "the origin sees the client"
        );
    }
    let load = start_load(&lab, blue, echo)?;
    served_since(&load, std::time::Instant::now())?;
    let records = load.stop();
    assert!(records.failed().is_empty(), "{}", records.failed().show());
    assert_eq!(
        records.to(blue).answers().len(),
        3,
        "{:?}",
        records.to(blue).answers()
    );
    let echoes = records.to(echo).answers();
    assert!(
        echoes.keys().all(|origin| origin.starts_with("green/")),
        "{echoes:?}"
    );
    // The status counts what went through.
    let status = edge.status()?;
    let packets = |pool: &str| -> u64 {
        let origins = ["a", "b", "c"].map(|origin| status.origin(pool, origin).ok());
        let counts = origins
            .into_iter()
            .flatten()
            .filter_map(|origin| origin["packets"].as_u64());
        counts.sum()
    };
    assert!(
        packets("blue") > records.to(blue).len() as u64,
        "{status:?}"
    );
    assert!(
        packets("echo") >= records.to(echo).len() as u64,
        "{status:?}"
    );
    Ok(())
}

#[test]
fn both_sites_serve_over_one_link() -> Result<()> {
    both_sites("both_sites_serve_over_one_link", Shape::OneLink)
}

#[test]
fn both_sites_serve_over_two_links() -> Result<()> {
    both_sites("both_sites_serve_over_two_links", Shape::TwoLinks)
}

/// The first answer to a client whose next hop has no known MAC address is not lost: the kernel
/// sends it, and learns the address by that.
#[test]
fn an_answer_finds_a_next_hop_that_nobody_has_spoken_to() -> Result<()> {
    let test = "an_answer_finds_a_next_hop_that_nobody_has_spoken_to";
    let blue = Lab::vip(10, 80);
    let addition = [MONITORS, &Service::tcp("blue", "blue", blue).text()].concat();
    let Some((lab, edge)) = healthy(test, Shape::TwoLinks, &addition)? else {
        return Ok(());
    };
    let left_to_the_kernel = || -> Result<u64> {
        let status = edge.status()?;
        let reasons = status.0["reasons"].as_array().cloned();
        Ok(reasons
            .iter()
            .flatten()
            .filter(|reason| reason["label"] == "reply_no_neighbour")
            .filter_map(|reason| reason["packets"].as_u64())
            .sum())
    };
    let before = left_to_the_kernel()?;
    lab.edge().ip("neigh flush dev uplink")?;
    let answer = lab.block_on(lab.http().get(blue, "/"))?;
    assert!(answer.origin.starts_with("blue/"), "{answer:?}");
    assert!(left_to_the_kernel()? > before, "the neighbour was known");
    let neighbours = lab.edge().ip_output("neigh show dev uplink")?;
    assert!(neighbours.contains("lladdr"), "{neighbours}");
    Ok(())
}
