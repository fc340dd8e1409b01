//! CRM adapters, one folder a CRM.

pub mod amocrm;
