//! The stores and queues of one machine.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods, reason = "it is test code")]

mod conformance;
mod dropping;
mod steps;
