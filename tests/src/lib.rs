//! The base of the test suite: harnesses that take one delivery, a whole hub, and a world that breaks on demand.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods, reason = "it is test code")]

pub mod account;
pub mod box_office;
pub mod clock;
pub mod crash;
pub mod fuzz;
pub mod hub;
pub mod mailers;
pub mod meddling;
pub mod messengers;
pub mod month;
pub mod profile;
pub mod provider_harness;
pub mod tamper;
pub mod theatre;
pub mod tls;
pub mod world;

/// A plain HTTP client.
pub fn http() -> reqwest::Client {
    stagedoor_http::builder().build().expect("a client")
}
