use async_trait::async_trait;
use jiff::SignedDuration;
use stagedoor_model::{Body, OrderNoticed, PaymentNoticed, ShowRef, Timestamp};

use crate::Result;

/// The answer of a shop about an order that a webhook pointed to.
#[derive(Debug, Clone)]
pub enum Found {
    /// The order as an event, and its time at the shop.
    Order(Box<Body>, Timestamp),
    /// A test order, or an order that the shop no longer knows. The text is the reason.
    Nothing(&'static str),
}

/// One page of a pulled source. The same question returns the same bodies.
#[derive(Debug, Clone)]
pub struct PullPage {
    pub bodies: Vec<(String, Timestamp, Body)>,
    /// The next page; `None` after the last one.
    pub next: Option<String>,
}

/// A ticket system that answers questions: about what a webhook pointed to, and about changes without a webhook.
///
/// # Errors
/// `Retry` or `Fail`, as [`crate::PortError`] defines them.
#[async_trait]
pub trait OrderApi: Send + Sync {
    /// The order that a webhook pointed to.
    async fn order(&self, noticed: &OrderNoticed) -> Result<Found>;

    /// A show as the shop has it now; `None` if there is nothing to report.
    async fn show(&self, noticed: &ShowRef) -> Result<Option<Body>>;

    /// A payment or refund as its provider has it now. `None` if it does not exist or moved no money.
    async fn payment(&self, noticed: &PaymentNoticed) -> Result<Option<(Body, Timestamp)>> {
        _ = noticed;
        Ok(None)
    }

    /// Changes since `since`, page by page. `page` is the `next` of the previous page.
    async fn pull(&self, since: Timestamp, page: Option<String>) -> Result<PullPage>;

    /// True if an order has the time of its last change. Otherwise the time of the question counts.
    fn tells_changes(&self) -> bool {
        true
    }

    /// How far before the end of the last pull the next one begins, so that no late change is missed.
    fn overlap(&self) -> SignedDuration;
}

/// Confirms a subscription at SNS.
#[async_trait]
pub trait SnsConfirmer: Send + Sync {
    /// Confirms the subscription to this topic with the token that SNS sent.
    ///
    /// # Errors
    /// `Fail` if the token is no longer valid.
    async fn confirm(&self, topic: &str, token: &str) -> Result<()>;
}
