//! CRM adapters, one folder for each CRM.

pub mod amocrm;
mod connect;
mod http;
mod hub_id;
mod pause;
mod stage_memory;
mod trouble;
pub mod vtiger;

pub use connect::{crm, crm_over, second, second_over};
pub use http::{HttpClient, HttpError, SocketClient};
