//! Receives site forms, pop-up leads and abandoned carts.

mod carrotquest;
mod consents;
mod form;
mod labels;
mod tilda;

use axum::Router;
use stagedoor_model::{Proof, breakage};
use stagedoor_webhook::{Build, Provider, Receiver, Source, table};

/// Constructors of all providers of this function.
pub const PROVIDERS: &[(&str, Build)] =
    &[("tilda", tilda::build), ("form", form::build), ("carrotquest", carrotquest::build)];

/// Creates the provider of a source.
///
/// # Errors
/// A message that names the wrong option of the source.
pub fn provider(source: &Source) -> Result<Box<dyn Provider>, String> {
    table(PROVIDERS, source)
}

/// The router of this function for the given sources.
pub fn router(receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    stagedoor_webhook::router("website", receiver, sources)
}

/// The proof of values in a form that a form service relays. The service proves only that it sent the form. With the
/// option `typed` the values are claims.
fn relayed(is_typed: bool) -> Proof {
    if is_typed && !breakage::is_on("relayed-form-proves") { Proof::Claimed } else { Proof::Signed }
}
