//! The demo: a lab, the real agent, and what a newcomer wants to see of it.
//!
//! [`run`] plays the scenes in order. Each scene tells in plain words what happens, and writes
//! what it measured into [`Figures`]; whatever is not as it must be becomes a problem there.

mod figures;
mod scenes;
mod stage;

use std::time::Instant;

use anyhow::Result;

pub use figures::{Figures, Share};
pub use stage::Stage;

use crate::netns::{Edge, Lab};

/// Plays all scenes. The lab and the agent are given to `end` when all is done, still up.
pub fn run(stage: &Stage, end: impl FnOnce(&Lab, &Edge)) -> Result<Figures> {
    let start = Instant::now();
    let mut figures = Figures::default();
    stage.title();
    let lab = scenes::raise_lab(stage)?;
    let mut edge = scenes::start_agent(stage, &lab)?;
    let load = scenes::start_load(&lab);
    scenes::share(stage, &load, &mut figures)?;
    scenes::death(stage, &lab, &mut edge, &load, &mut figures)?;
    scenes::cut(stage, &lab, &mut edge, &load, &mut figures)?;
    scenes::crash(stage, &mut edge, &load, &mut figures)?;
    scenes::explain(stage, &edge)?;
    figures.close(&load.stop(), start.elapsed());
    stage.close(&figures);
    end(&lab, &edge);
    Ok(figures)
}
