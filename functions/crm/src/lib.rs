//! Receives the CRM's webhooks, so that the mirror stays correct.

mod amocrm;

use axum::Router;
use stagedoor_webhook::{Build, Provider, Receiver, Source, table};

/// Constructors of all providers of this function.
pub const PROVIDERS: &[(&str, Build)] = &[("amocrm", amocrm::build)];

/// Creates the provider of a source.
///
/// # Errors
/// A message that names the wrong option of the source.
pub fn provider(source: &Source) -> Result<Box<dyn Provider>, String> {
    table(PROVIDERS, source)
}

/// The router of this function for the given sources.
pub fn router(receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    stagedoor_webhook::router("crm", receiver, sources)
}
