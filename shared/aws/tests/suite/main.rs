//! Against servers and a runtime that nobody of us wrote.
#![allow(clippy::disallowed_methods, reason = "the tests tell the SDK where its servers are")]

mod conformance;
mod lambda;
mod moto;
