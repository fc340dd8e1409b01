//! Runs worlds of the simulation on all cores.

use std::time::Instant;

use stagedoor_simulation::{Switches, run_many};

use crate::figure::{Figure, Goal};

/// The number of broken worlds whose story is printed in full.
const TOLD: usize = 3;

/// `with` names switches that are off by default; `everything` turns all on.
pub fn run(from: u64, seeds: u64, with: &[String], breakages: bool, calls: bool) -> Result<Vec<Figure>, String> {
    let begin = Instant::now();
    let everything = with.iter().any(|name| name == "everything");
    let switches = if everything { Switches::everything() } else { Switches::with(with) };
    let switches = Switches { calls, ..switches };
    let broken = run_many(from, seeds, &switches)?;
    for (index, outcome) in broken.iter().enumerate() {
        let mut outcome = outcome.clone();
        if index >= TOLD {
            outcome.story.clear();
        }
        eprint!("{outcome}");
    }
    let rate = seeds as f64 / begin.elapsed().as_secs_f64();
    let plain =
        |figure, value, unit, goal| Figure { figure, value, unit, limit: None, ratio: None, baseline: None, goal };
    let mut figures = vec![
        plain("simulation.seeds", seeds as f64, "worlds", Goal::None),
        plain("simulation.violations", broken.len() as f64, "worlds", Goal::ValueAtMost(0.0)),
        plain("simulation.rate", rate, "worlds/s", Goal::None),
    ];
    if breakages {
        figures.push(crate::breakages::run_all()?);
    }
    Ok(figures)
}
