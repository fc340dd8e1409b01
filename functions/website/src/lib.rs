//! Site forms, pop-up leads, abandoned carts.

mod carrotquest;
mod consents;
mod form;
mod labels;
mod tilda;

use axum::Router;
use stagedoor_webhook::{Build, Provider, Receiver, Source, table};

/// Every provider of this function, one line each.
pub const PROVIDERS: &[(&str, Build)] =
    &[("tilda", tilda::build), ("form", form::build), ("carrotquest", carrotquest::build)];

/// # Errors
/// A sentence that says which option of the source is wrong.
pub fn provider(source: &Source) -> Result<Box<dyn Provider>, String> {
    table(PROVIDERS, source)
}

pub fn router(receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    stagedoor_webhook::router("website", receiver, sources)
}
