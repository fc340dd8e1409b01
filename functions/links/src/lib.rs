//! Tracked links: `/l/<token>` leads to the page of messenger buttons or to the ticket shop. A token holds its
//! campaign, purpose and age. So no database stands between a fan and the page. An opened link is an event in the
//! queue.

mod buttons;
mod consent;
mod consent_action;
mod language;
mod page;
mod resolver;
mod state;

use std::sync::Arc;

use axum::{Router, routing::get};
pub use resolver::LinkResolver;
use stagedoor_webhook::Receiver;
pub use state::SOURCE;

use crate::state::LinksState;

/// Creates the router of links.
///
/// # Errors
/// Never in practice: only if the source's own name is not valid.
pub fn router(receiver: Receiver, resolver: LinkResolver) -> Result<Router, &'static str> {
    let state = Arc::new(LinksState::new(receiver, resolver)?);
    let consents = consent::router(&state);
    Ok(Router::new().route("/l/{token}", get(state::open)).with_state(state).merge(consents))
}
