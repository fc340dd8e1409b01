//! Site forms, pop-up leads, abandoned carts.

mod carrotquest;
mod consents;
mod form;
mod labels;
mod tilda;

use axum::Router;
use stagedoor_model::{Proof, breakage};
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

/// The proof of what a visitor typed into a form that a form service relays. The service proves that it sent the form; it does
/// not know who typed the values.
fn relayed() -> Proof {
    if breakage::is_on("relayed-form-proves") { Proof::Signed } else { Proof::Claimed }
}
