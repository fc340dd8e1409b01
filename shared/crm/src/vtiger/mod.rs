//! VtigerCRM 8.4, the open-source edition's webservice: `/webservice.php`. What is said of it here was recorded from a
//! running server; the recordings are in `tests/vtiger`, and the stand-in in `infra/sandbox` is held to them.

mod build;
mod changes;
mod client;
mod companies;
mod create;
mod deals_there;
mod documents;
mod duplicates;
mod erasing;
mod fit;
mod gone;
mod invoices;
mod login;
mod query;
mod remarks;
mod schema;
mod server_clock;
mod stages;
mod transport;
mod untangle;
mod wire;
mod write_failures;

pub use build::from_config;
pub use client::{Settings, Vtiger};
pub use schema::FIELDS;
