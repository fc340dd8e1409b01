//! Receives the CRM's webhooks, so that the mirror stays correct.

use axum::Router;
use stagedoor_webhook::{Provider, Receiver, Source, providers};

providers! {
    amocrm
}

/// The router of this function for the given sources.
pub fn router(receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    stagedoor_webhook::router("crm", receiver, sources)
}
