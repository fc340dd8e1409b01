//! Messengers: chats started, messages, opt-outs.

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

/// Every provider of this function, one line each.
pub const PROVIDERS: &[(&str, Build)] = &[
    ("telegram", telegram::build),
    ("viber", viber::build),
    ("vk", vk::build),
    ("messenger", messenger::build),
    ("instagram", instagram::build),
    ("whatsapp", whatsapp::build),
];

/// # Errors
/// A sentence that says which option of the source is wrong.
pub fn provider(source: &Source) -> Result<Box<dyn Provider>, String> {
    table(PROVIDERS, source)
}

pub fn router(receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    stagedoor_webhook::router("messaging", receiver, sources)
}
