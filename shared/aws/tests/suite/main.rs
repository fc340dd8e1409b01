//! Against servers and a runtime that nobody of us wrote.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods, reason = "it is test code")]

mod conformance;
mod counted;
mod lambda;
mod moto;
mod parts;
mod sent;
mod shards;
mod unreadable;

type Item = std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>;
