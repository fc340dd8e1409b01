//! Receives updates of messengers: started chats, messages, opt-outs.

mod instagram;
mod messenger;
mod meta;
mod read;
mod telegram;
mod viber;
mod vk;
mod whatsapp;

use axum::Router;
use stagedoor_webhook::{Build, Provider, Receiver, Source, table};

/// Constructors of all providers of this function.
pub const PROVIDERS: &[(&str, Build)] = &[
    ("telegram", telegram::build),
    ("viber", viber::build),
    ("vk", vk::build),
    ("messenger", messenger::build),
    ("instagram", instagram::build),
    ("whatsapp", whatsapp::build),
];

/// Creates the provider of a source.
///
/// # Errors
/// A message that names the wrong option of the source.
pub fn provider(source: &Source) -> Result<Box<dyn Provider>, String> {
    table(PROVIDERS, source)
}

/// The router of this function for the given sources.
pub fn router(receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    stagedoor_webhook::router("messaging", receiver, sources)
}
