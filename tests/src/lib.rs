//! What the suite stands on: doors that take one delivery, a whole hub, a world that breaks on demand.

pub mod crash;
pub mod door;
pub mod hub;
pub mod world;
