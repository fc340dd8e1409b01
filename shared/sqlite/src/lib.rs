//! `Store` and `Queue` on SQLite: WAL, `synchronous=FULL`, one writer that groups concurrent commits.

mod copy;
mod crowds;
mod database;
mod long_looks;
#[cfg(feature = "testing")]
pub mod meter;
mod private;
mod queue;
mod rechecks;
pub mod room;
mod sql;
mod steps;
mod store;

pub use copy::copy_together;
pub use database::settle_log;
pub use private::{private_file, private_folder};
pub use queue::SqliteQueue;
pub use store::SqliteStore;
