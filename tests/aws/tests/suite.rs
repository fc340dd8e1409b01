//! The deployment does what the local hub does, also when it is hurt.
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "it is test code"
)]

#[path = "suite/deploy.rs"]
mod deploy;
#[path = "suite/faults.rs"]
mod faults;
#[path = "suite/items.rs"]
mod items;
#[path = "suite/tour.rs"]
mod tour;
#[path = "suite/units.rs"]
mod units;
