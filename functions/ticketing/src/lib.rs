//! Receives orders (placed, paid, cancelled, refunded), payments, and changes of shows.

use axum::Router;
use stagedoor_webhook::{Provider, Receiver, Source, providers};

mod payment_ids;

providers! {
    pretix
    qtickets
    shop
    stripe
    ticketscloud
    timepad
    tito
    woocommerce
    yookassa
}

/// The router of this function for the given sources.
pub fn router(receiver: Receiver, sources: Vec<(Source, Box<dyn Provider>)>) -> Router {
    stagedoor_webhook::router("ticketing", receiver, sources)
}
