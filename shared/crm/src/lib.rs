//! CRM adapters, one folder a CRM.

pub mod amocrm;
mod choice;
pub mod vtiger;

pub use choice::{crm, second};
