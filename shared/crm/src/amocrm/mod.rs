//! amoCRM, API v4 (amocrm.ru/developers/content/crm_platform).

mod auth;
mod build;
mod bulk;
mod client;
mod companies;
mod hooks;
mod links;
mod remarks;
mod rows;
mod schema;
mod stages;
mod transport;
mod untangle;
mod wire;

pub use auth::{Authorization, OAuth, TokenPair};
pub use build::from_config;
pub use client::{AmoCrm, Settings};
