//! VtigerCRM 8.4: the webservice of the open-source edition, `/webservice.php`. Statements about it were recorded from
//! a running server. The recordings are in `tests/vtiger`, and the stand-in in `infra/sandbox` is checked against them.

mod call;
mod changes;
mod client;
mod companies;
mod config;
mod create;
mod deals_there;
mod duplicates;
mod erasing;
mod gone;
mod invoice_wire;
mod invoices;
mod login;
mod lookups;
mod missing;
mod normalise;
mod notes_and_tasks;
mod query;
mod schema;
mod server_clock;
mod stages;
mod transport;
mod untangle;
mod wire;
mod write_failures;
mod writes;

pub use client::{Settings, Vtiger};
pub use config::from_config;
pub use schema::FIELDS;
