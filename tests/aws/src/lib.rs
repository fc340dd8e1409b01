//! The proof that the deployment works, without an AWS account: the template on an independent stand-in (moto), the Lambda
//! binaries under a Runtime API, an event source mapping played as AWS plays it, and every call counted.
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
