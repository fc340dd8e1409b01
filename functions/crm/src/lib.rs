//! The CRM's own webhooks, so that the mirror stays true.

mod amocrm;

use axum::Router;
use stagedoor_webhook::{Build, Provider, Receiver, Source, table};

/// Every provider of this function, one line each.
pub const PROVIDERS: &[(&str, Build)] = &[("amocrm", amocrm::build)];

/// # Errors
/// A sentence that says which option of the source is wrong.
pub fn provider(source: &Source) -> Result<Box<dyn Provider>, String> {
    table(PROVIDERS, source)
}

pub fn router(receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    stagedoor_webhook::router("crm", receiver, sources)
}
