//! A drain with a deadline: who speaks before it stays, who is silent until then does not.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::netns::{HttpConnection, Lab, Rows, UdpFlow, eventually, slow};

use super::scene::{Forwarding, Scene, Services};
use super::traffic::Traffic;
use crate::DEADLINE;

/// `drain_duration` of the pools.
const DRAIN: &str = "drain_duration = \"5000ms\"";
const DRAIN_DURATION: Duration = Duration::from_millis(5000);

/// Flows that have had one answer, with the origin that gave it.
struct Silent {
    tcp: Vec<(HttpConnection, String)>,
    udp: Vec<(UdpFlow, String)>,
}

impl Silent {
    const EACH: usize = 40;

    async fn begin(lab: &Lab) -> Result<Self> {
        let mut silent = Self {
            tcp: Vec::new(),
            udp: Vec::new(),
        };
        for _ in 0..Self::EACH {
            let mut connection = lab.http().connect(Scene::WEB).await?;
            let answer = connection.get("/").await?;
            silent.tcp.push((connection, answer.origin));
            let patience = slow(Duration::from_secs(3));
            let mut flow = UdpFlow::open(lab.clients(), Scene::ECHO, patience)?;
            let origin = flow.ask().await?;
            silent.udp.push((flow, origin));
        }
        for flows in [silent.tcp_with("blue/a"), silent.udp_with("blue/a")] {
            assert!((1..Self::EACH).contains(&flows), "{flows} are with blue/a");
        }
        Ok(silent)
    }

    fn tcp_with(&self, origin: &str) -> usize {
        self.tcp.iter().filter(|(_, owner)| owner == origin).count()
    }

    fn udp_with(&self, origin: &str) -> usize {
        self.udp.iter().filter(|(_, owner)| owner == origin).count()
    }

    /// Those with `blue/a` have lost it; all others have who they had.
    async fn speak(self) -> Result<()> {
        for (mut connection, owner) in self.tcp {
            let answer = connection.get("/").await;
            if owner == "blue/a" {
                assert!(answer.is_err(), "it is another's now: {answer:?}");
            } else {
                assert_eq!(answer?.origin, owner);
            }
        }
        for (mut flow, owner) in self.udp {
            let origin = flow.ask().await?;
            assert_eq!(origin == owner, owner != "blue/a", "{origin}, not {owner}");
        }
        Ok(())
    }
}

fn kept_to_a(rows: &Rows) -> [usize; 2] {
    ["web-blue/a", "echo-blue/a"].map(|origin| rows.kept_to(origin))
}

#[test]
fn who_speaks_before_the_deadline_of_a_drain_stays_and_who_is_silent_does_not() -> Result<()> {
    let test = "who_speaks_before_the_deadline_of_a_drain_stays_and_who_is_silent_does_not";
    let services = Services {
        pool: DRAIN,
        ..Services::new(Forwarding::Preserve)
    };
    let Some(mut scene) = Scene::start(test, services.clone(), "")? else {
        return Ok(());
    };
    let traffic = Traffic::start(&scene.lab)?;
    let silent = scene.lab.block_on(Silent::begin(&scene.lab))?;
    traffic.assert_lasting_with("blue/a");

    let drained = Instant::now();
    scene.reload(services.with(&[("a", 0.0), ("b", 1.0), ("c", 1.0)]))?;
    scene.wait_share("a", 0.0, 0.0)?;
    let done = Instant::now();
    let rows = Rows::of(&scene.edge)?;
    // A machine may be so busy that it is over when this is asked.
    assert!(
        !kept_to_a(&rows).contains(&0) || drained.elapsed() > slow(DRAIN_DURATION),
        "flows that began before are kept to it"
    );
    traffic.settle("blue/a is drained")?;
    eventually("the deadline has passed", DEADLINE, || {
        Rows::of(&scene.edge).is_ok_and(|rows| kept_to_a(&rows) == [0, 0])
    })?;
    assert!(drained.elapsed() >= slow(DRAIN_DURATION));
    traffic.settle("the deadline has passed")?;
    traffic.assert_lasting_with("blue/a");
    assert!(!traffic.has_new_with("blue/a", done));
    scene.lab.block_on(silent.speak())?;

    scene.wait_health(&["a", "b", "c"], "healthy")?;
    scene
        .edge
        .wait("the flows that stay are counted", |status| {
            status.0["flows"]["tracked"].as_u64() > Some(0)
        })?;
    traffic.end("at the end")?;
    Ok(())
}
