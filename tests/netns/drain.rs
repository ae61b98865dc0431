//! Weight 0 takes new flows away.

use std::time::Instant;

use anyhow::Result;
use tests::netns::{Kind, Lab, Shape};

use crate::configuration::{MONITORS, Service};
use crate::{healthy, served_since, start_load, undisturbed};

#[test]
fn an_origin_of_weight_zero_takes_no_new_flow_and_stays_probed() -> Result<()> {
    let test = "an_origin_of_weight_zero_takes_no_new_flow_and_stays_probed";
    let (tcp, udp) = (Lab::vip(10, 80), Lab::vip(10, 7));
    let addition = |weights| {
        let web = Service {
            weights,
            ..Service::tcp("web", "blue", tcp)
        };
        let echo = Service {
            weights,
            ..Service::udp("echo", "blue", udp)
        };
        [MONITORS, &web.text(), &echo.text()].concat()
    };
    let Some((lab, mut edge)) = healthy(test, Shape::OneLink, &addition([1.0; 3]))? else {
        return Ok(());
    };
    let load = start_load(&lab, tcp, udp)?;
    let drained = Instant::now();
    edge.reload(&(lab.configuration() + &addition([0.0, 1.0, 1.0])))?;
    edge.wait("blue/a has no rows", |status| {
        status.share("web", "a") == Some(0.0) && status.share("echo", "a") == Some(0.0)
    })?;
    let done = Instant::now();
    served_since(&load, done)?;
    let records = load.stop();
    let new = records.of(Kind::ShortTcp).since(done);
    assert!(new.failed().is_empty(), "{}", new.failed().show());
    let answers = new.answers();
    assert!(!answers.contains_key("blue/a"), "{answers:?}");
    assert!(
        answers.contains_key("blue/b") && answers.contains_key("blue/c"),
        "{answers:?}"
    );
    let owners = records.owners_at(drained);
    assert!(owners.values().any(|owner| owner == "blue/a"), "{owners:?}");
    undisturbed(&records, &owners, "flows that began before stay");
    assert!(
        edge.status()?.is("web", "a", "healthy"),
        "it is still probed"
    );
    Ok(())
}
