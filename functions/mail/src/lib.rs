//! Receives reports of mail and SMS providers: delivered, opened, clicked, bounced, unsubscribed, complained.

mod report;

use axum::Router;
use stagedoor_webhook::{Provider, Receiver, Source, providers};

providers! {
    unisender
    sendpulse
    sendgrid
    mailgun
    mailchimp
    postmark
    ses
    smsc
    twilio
    gateway
}

/// The router of this function for the given sources.
pub fn router(receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    stagedoor_webhook::router("mail", receiver, sources)
}
