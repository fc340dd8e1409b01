//! Proves without an AWS account that the deployment works. The template runs on an independent stand-in (moto) and
//! the Lambda binaries under a Runtime API. An event source mapping behaves as AWS's does, and every call is counted.
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "it is test code"
)]

pub mod bill;
pub mod capacity;
pub mod chats;
pub mod gateway;
pub mod hub;
pub mod mapping;
pub mod meter;
pub mod picture;
pub mod proof;
pub mod runtime;
pub mod stack;
