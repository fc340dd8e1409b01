//! Orders: placed, paid, cancelled, refunded; shows rescheduled or cancelled.

mod pretix;
mod qtickets;
mod shop;
mod stripe;
mod ticketscloud;
mod yookassa;

use axum::Router;
use stagedoor_webhook::{Build, Provider, Receiver, Source, table};

/// Every provider of this function, one line each.
pub const PROVIDERS: &[(&str, Build)] = &[
    ("pretix", pretix::build),
    ("qtickets", qtickets::build),
    ("shop", shop::build),
    ("stripe", stripe::build),
    ("ticketscloud", ticketscloud::build),
    ("yookassa", yookassa::build),
];

/// # Errors
/// A sentence that says which option of the source is wrong.
pub fn provider(source: &Source) -> Result<Box<dyn Provider>, String> {
    table(PROVIDERS, source)
}

pub fn router(receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    stagedoor_webhook::router("ticketing", receiver, sources)
}
