//! Receives site forms, pop-up leads and abandoned carts.

mod consents;
mod labels;
mod plain;

use axum::Router;
use stagedoor_model::{Proof, breakage};
use stagedoor_webhook::{Provider, Receiver, Source, providers};

providers! {
    tilda
    form
    carrotquest
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
