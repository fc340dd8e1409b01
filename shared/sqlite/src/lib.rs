//! `Store` and `Queue` on SQLite: WAL, `synchronous=FULL`, one writer that groups concurrent commits.

mod crowds;
mod database;
mod due;
mod queue;
mod store;

pub use queue::SqliteQueue;
pub use store::SqliteStore;
