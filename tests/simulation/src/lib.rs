//! The whole hub from the wire to the CRM, in virtual time from a seed, in a world that is not kind: `docs/simulation.md`.

mod account;
mod act;
mod apis;
mod carrier;
mod check;
mod clock;
mod deliver;
mod habits;
mod hub;
mod invoices;
mod manager;
mod orders;
mod pay;
mod pretix;
mod queue;
mod rng;
mod run;
mod sand;
mod story;
mod switches;
mod trouble;
mod world;

pub use act::Habit;
pub use check::{Invariant, Violation};
pub use manager::Work;
pub use run::{Outcome, run, run_many};
pub use switches::Switches;
pub use trouble::Trouble;
