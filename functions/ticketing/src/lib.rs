//! Receives orders (placed, paid, cancelled, refunded), payments, and changes of shows.

mod pretix;
mod qtickets;
mod shop;
mod stripe;
mod ticketscloud;
mod yookassa;

use axum::Router;
use stagedoor_webhook::{Build, Provider, Receiver, Source, table};

/// Constructors of all providers of this function.
pub const PROVIDERS: &[(&str, Build)] = &[
    ("pretix", pretix::build),
    ("qtickets", qtickets::build),
    ("shop", shop::build),
    ("stripe", stripe::build),
    ("ticketscloud", ticketscloud::build),
    ("yookassa", yookassa::build),
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
    stagedoor_webhook::router("ticketing", receiver, sources)
}
