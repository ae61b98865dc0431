//! The load of these labs, judged as a whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tests::netns::{Absences, Edge, Kind, Lab, Load, Mix, Records, Rows, eventually, slow};

use super::scene::Scene;
use crate::DEADLINE;

/// A pause between requests that lets many flows run on few cores.
const PAUSE: Duration = Duration::from_millis(100);
/// Longer than any request waits for its answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Flows of every kind that began at different times.
pub(super) struct Traffic {
    /// Each with how many lasting flows it has at a time.
    loads: Vec<(Load, usize)>,
    pub(super) absences: Absences,
}

impl Traffic {
    /// Starts flows of every kind.
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        let mut traffic = Self {
            loads: Vec::new(),
            absences: Absences::default(),
        };
        let short = (Kind::ShortTcp, 2, Duration::from_millis(20));
        let bulk = (Kind::Bulk, 2, Duration::from_millis(20));
        traffic.begin(lab, &[short, bulk])?;
        traffic.add(lab)?;
        Ok(traffic)
    }

    /// Adds lasting flows, which begin now.
    pub(super) fn add(&mut self, lab: &Lab) -> Result<()> {
        self.begin(lab, &[(Kind::LongTcp, 16, PAUSE), (Kind::Udp, 24, PAUSE)])
    }

    fn begin(&mut self, lab: &Lab, flows: &[(Kind, usize, Duration)]) -> Result<()> {
        let mix = |&(kind, flows, pause)| {
            let to = match kind {
                Kind::LongTcp | Kind::ShortTcp | Kind::Bulk => Scene::WEB,
                Kind::Udp => Scene::ECHO,
            };
            Mix {
                kind,
                to,
                flows,
                pause,
            }
        };
        let mixes: Vec<Mix> = flows.iter().map(mix).collect();
        let lasting: usize = flows
            .iter()
            .filter(|(kind, ..)| kind.lasts())
            .map(|(_, flows, _)| flows)
            .sum();
        let load = Load::start(lab, &mixes);
        eventually("every new flow has been answered", DEADLINE, || {
            load.records().owners_at(Instant::now()).len() >= lasting
        })?;
        self.loads.push((load, lasting));
        Ok(())
    }

    /// Waits until each lasting flow, and some new ones, have been answered since now, and judges all.
    pub(super) fn settle(&self, step: &str) -> Result<()> {
        let since = Instant::now();
        let is_answered = |(load, lasting): &(Load, usize)| {
            let records = load.records_since(since);
            records.owners_at(Instant::now()).len() >= *lasting
        };
        eventually("each lasting flow is answered", DEADLINE * 2, || {
            self.loads.iter().all(is_answered)
        })
        .with_context(|| step.to_owned())?;
        eventually("new connections are answered", DEADLINE, || {
            let records = self.short_since(since);
            records.iter().any(|records| records.len() > 3)
        })
        .with_context(|| step.to_owned())?;
        self.judge(step);
        Ok(())
    }

    /// Each failure and each move so far is explained by an absence.
    fn judge(&self, step: &str) {
        for (load, _) in &self.loads {
            let records = load.records();
            let unexplained = self.absences.unexplained(&records);
            let Some(first) = unexplained.iter().next() else {
                continue;
            };
            let history = records.of_flow(first.flow.id).until(first.end).last(3);
            panic!(
                "{step}: not explained: {}\nthe last of the first one's flow, of {}",
                unexplained.show(),
                history.show()
            );
        }
    }

    /// A lasting flow is with an origin.
    pub(super) fn assert_lasting_with(&self, origin: &str) {
        let mut flows: BTreeMap<String, usize> = BTreeMap::new();
        for (load, _) in &self.loads {
            for owner in load.records().owners_at(Instant::now()).into_values() {
                *flows.entry(owner).or_default() += 1;
            }
        }
        assert!(
            flows.contains_key(origin),
            "none is with {origin}: {flows:?}"
        );
    }

    /// Whether an origin has answered a short connection that began since then.
    pub(super) fn has_new_with(&self, origin: &str, since: Instant) -> bool {
        let records = self.short_since(since);
        records.iter().any(|it| it.answers().contains_key(origin))
    }

    fn short_since(&self, since: Instant) -> Vec<Records> {
        let records = self.loads.iter().map(|(load, _)| load.records_since(since));
        records.map(|records| records.of(Kind::ShortTcp)).collect()
    }

    /// Lets origins of `blue` die, and waits until that is known.
    pub(super) fn die(&mut self, scene: &mut Scene, origins: &[&str]) -> Result<()> {
        for origin in origins {
            let name = format!("blue/{origin}");
            self.absences.died(&name);
            scene.origin(&name).die()?;
        }
        scene.wait_health(origins, "unhealthy")?;
        self.absences.found();
        Ok(())
    }

    /// Brings origins of `blue` back, and waits until each serves.
    pub(super) fn revive(&mut self, scene: &mut Scene, origins: &[&str]) -> Result<()> {
        for origin in origins {
            scene.origin(&format!("blue/{origin}")).revive()?;
        }
        self.absences.back();
        let back = Instant::now();
        scene.wait_health(origins, "healthy")?;
        for origin in origins {
            eventually(&format!("blue/{origin} serves again"), DEADLINE, || {
                self.has_new_with(&format!("blue/{origin}"), back)
            })?;
        }
        Ok(())
    }

    /// Waits until every request so far has had its time, judges, and ends the flows.
    pub(super) fn end(self, step: &str) -> Result<()> {
        let end = Instant::now() + slow(PATIENCE);
        eventually("time has passed", PATIENCE * 2, || Instant::now() > end)?;
        self.settle(step)
    }
}

/// Waits until no row is at risk and no flow is recorded.
pub(super) fn wait_quiet(edge: &mut Edge) -> Result<()> {
    edge.wait_long("no flow is recorded any more", DEADLINE * 3, |status| {
        status.0["flows"]["tracked"] == 0
    })?;
    let quiet = eventually("no row is at risk any more", DEADLINE * 2, || {
        Rows::of(edge).is_ok_and(|rows| rows.0.iter().all(|row| row.flags.is_empty()))
    });
    let Err(error) = quiet else {
        return Ok(());
    };
    let mut rows = Rows::of(edge)?.0;
    rows.retain(|row| !row.flags.is_empty());
    let some: Vec<_> = rows.iter().take(3).collect();
    let flows = &edge.status()?.0["flows"];
    Err(error.context(format!(
        "{} rows are at risk: {some:?}; flows: {flows}",
        rows.len()
    )))
}
