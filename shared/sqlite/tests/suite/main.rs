//! The stores and queues of one machine.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "it is test code")]

mod conformance;
mod plans;
