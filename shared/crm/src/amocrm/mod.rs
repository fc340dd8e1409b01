//! amoCRM, API v4 (amocrm.ru/developers/content/crm_platform).

mod auth;
mod bulk;
mod client;
mod companies;
mod config;
mod hooks;
mod links;
mod lookups;
mod notes_and_tasks;
mod pages;
mod rows;
mod schema;
mod stages;
mod transport;
mod untangle;
mod wire;
mod writes;

pub use auth::{Authorization, OAuth, TokenPair};
pub use client::{AmoCrm, Settings};
pub use config::from_config;
