//! Receives reports of mail and SMS providers: delivered, opened, clicked, bounced, unsubscribed, complained.

mod gateway;
mod mailchimp;
mod mailgun;
mod postmark;
mod report;
mod sendgrid;
mod sendpulse;
mod ses;
mod smsc;
mod twilio;
mod unisender;

use axum::Router;
use stagedoor_webhook::{Build, Provider, Receiver, Source, table};

/// Constructors of all providers of this function.
pub const PROVIDERS: &[(&str, Build)] = &[
    ("unisender", unisender::build),
    ("sendpulse", sendpulse::build),
    ("sendgrid", sendgrid::build),
    ("mailgun", mailgun::build),
    ("mailchimp", mailchimp::build),
    ("postmark", postmark::build),
    ("ses", ses::build),
    ("smsc", smsc::build),
    ("twilio", twilio::build),
    ("gateway", gateway::build),
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
    stagedoor_webhook::router("mail", receiver, sources)
}
