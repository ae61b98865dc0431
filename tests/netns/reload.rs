//! A changed configuration file, good or bad.

use std::time::Instant;

use anyhow::Result;
use tests::netns::{Lab, Shape, eventually};

use crate::configuration::{MONITORS, Service};
use crate::{DEADLINE, healthy, served_since, start_load, unharmed};

#[test]
fn a_good_file_applies_without_loss_and_a_bad_one_leaves_the_last_good_in_force() -> Result<()> {
    let test = "a_good_file_applies_without_loss_and_a_bad_one_leaves_the_last_good_in_force";
    let (tcp, udp, new) = (Lab::vip(10, 80), Lab::vip(10, 7), Lab::vip(20, 80));
    let addition = [
        MONITORS,
        &Service::tcp("web", "blue", tcp).text(),
        &Service::udp("echo", "blue", udp).text(),
    ]
    .concat();
    let Some((lab, mut edge)) = healthy(test, Shape::OneLink, &addition)? else {
        return Ok(());
    };
    let load = start_load(&lab, tcp, udp)?;
    let start = Instant::now();
    let old = lab.configuration() + &addition;
    let good = old.clone() + &Service::tcp("more", "green", new).text();
    edge.reload(&good)?;
    eventually("the new listener serves", DEADLINE, || {
        lab.block_on(lab.http().get(new, "/"))
            .is_ok_and(|answer| answer.origin.starts_with("green/"))
    })?;
    edge.wait_healthy()?;

    // A file that is no configuration, then one that contradicts itself.
    for (bad, word) in [
        ("this is = = no TOML".to_owned(), "TOML"),
        (good.replace("10.0.0.12", "8.8.8.300"), "8.8.8.300"),
        (
            good.replace(r#"monitor = "http""#, r#"monitor = "htpp""#),
            "htpp",
        ),
    ] {
        edge.reload(&bad)?;
        edge.wait("the status tells the error", |status| {
            let error = status.0["node"]["reload_error"].as_str();
            error.is_some_and(|error| error.contains(word) || word == "TOML")
        })?;
        assert_eq!(lab.block_on(lab.http().get(new, "/"))?.status, 200);
    }

    // Back to the first: the listener goes, and the error with it.
    edge.reload(&old)?;
    edge.wait("the error is gone", |status| {
        status.0["node"]["reload_error"].is_null()
    })?;
    eventually("the listener is gone", DEADLINE, || {
        lab.block_on(lab.http().get(new, "/")).is_err()
    })?;
    served_since(&load, Instant::now())?;
    unharmed(&load.stop().since(start));
    Ok(())
}
