//! The logic of the hub, pure and total: no I/O, no clock, no randomness. The same records give the same people.

mod catalog;
mod deals;
mod explain;
mod fold;
mod identity;
mod person;
mod plan;
mod records;

pub use catalog::{Catalog, Pipeline, Show, ShowKey, ShowState};
pub use deals::{Deal, Stage, deals};
pub use explain::{Because, explain};
pub use fold::{Folded, Group, fold, group};
pub use identity::{Cluster, Partition, Policy, Refusal, Why, partition};
pub use person::{Person, PersonId};
pub use plan::{
    ContactDraft, ContactLink, DealDraft, DealLink, Digest, Intent, Link, ORDERS, Parked, Plan, Step, plan,
};
pub use records::{order_record_key, record_of};
