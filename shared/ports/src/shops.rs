use async_trait::async_trait;
use jiff::SignedDuration;
use stagedoor_model::{Body, OrderNoticed, PaymentNoticed, ShowRef, Timestamp};

use crate::Result;

/// What a shop says of an order that a webhook pointed to.
#[derive(Debug, Clone)]
pub enum Found {
    /// The fact and when it happened there.
    Order(Box<Body>, Timestamp),
    /// Test orders, or orders that the shop no longer knows.
    Nothing(&'static str),
}

/// One page of a pulled source. The same bodies come again when it is asked again.
#[derive(Debug, Clone)]
pub struct PullPage {
    pub bodies: Vec<(String, Timestamp, Body)>,
    /// Where to go on; `None` when the end was reached.
    pub next: Option<String>,
}

/// A ticket system that can be asked back: for what a webhook only pointed to, and for what no webhook told.
#[async_trait]
pub trait OrderApi: Send + Sync {
    async fn order(&self, noticed: &OrderNoticed) -> Result<Found>;

    /// A show as the shop has it now; `None` when there is nothing to tell.
    async fn show(&self, noticed: &ShowRef) -> Result<Option<Body>>;

    /// A payment or a refund as its provider has it now; `None` when it is not there, or moved no money.
    async fn payment(&self, noticed: &PaymentNoticed) -> Result<Option<(Body, Timestamp)>> {
        _ = noticed;
        Ok(None)
    }

    /// Changes since `since`, page by page; `page` is what the previous answer named as its next.
    async fn pull(&self, since: Timestamp, page: Option<String>) -> Result<PullPage>;

    /// Whether an order tells when it was changed last. Else it is taken as it stood when the shop was asked.
    fn tells_changes(&self) -> bool {
        true
    }

    /// How far behind the last pull the next begins, so that nothing that was late is missed.
    fn overlap(&self) -> SignedDuration;
}

/// Who offers to deliver here once somebody says yes.
#[async_trait]
pub trait SnsConfirmer: Send + Sync {
    /// # Errors
    /// `Fail` where the token is no longer good.
    async fn confirm(&self, topic: &str, token: &str) -> Result<()>;
}
