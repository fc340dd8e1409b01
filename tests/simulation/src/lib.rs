//! Simulates the whole hub from the wire to the CRM, in virtual time from a seed, with faults: `docs/simulation.md`.

mod account;
mod act;
mod apis;
mod carrier;
mod chats;
mod check;
mod clock;
mod consent;
mod deliver;
mod habits;
mod hub;
mod invoices;
mod manager;
mod news;
mod orders;
mod outreach;
mod pay;
mod pretix;
mod queue;
mod rng;
mod run;
mod sand;
mod story;
mod strangers;
mod switches;
mod ticketscloud;
mod trouble;
mod way_out;
mod world;
mod written;

pub use act::Habit;
pub use check::{Invariant, Violation};
pub use manager::Work;
pub use run::{Outcome, run, run_many};
pub use switches::Switches;
pub use trouble::Trouble;
