//! Receives updates of messengers: started chats, messages, opt-outs.

mod meta;
mod read;

use axum::Router;
use stagedoor_webhook::{Provider, Receiver, Source, providers};

providers! {
    telegram
    viber
    vk
    messenger
    instagram
    whatsapp
    max
}

/// The router of this function for the given sources.
pub fn router(receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    stagedoor_webhook::router("messaging", receiver, sources)
}
