use std::time::Duration;

use async_trait::async_trait;
use stagedoor_model::{Event, Timestamp};

use crate::Result;

/// The handle of a received message. `done` and `give_back` take it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receipt(pub String);

/// A message that the queue handed out.
#[derive(Debug, Clone)]
pub struct Received {
    pub event: Event,
    pub receipt: Receipt,
    /// How often the queue handed it out, this time included.
    pub attempts: u32,
}

/// A message that the queue handed out too often.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The queue's own id of the message.
    pub id: String,
    /// `None`: the message is no event that this hub can read.
    pub event: Option<Event>,
    /// The size of the message.
    pub bytes: usize,
}

/// A queue that delivers at least once, in no particular order. A message without `done` comes again after the
/// visibility timeout. After too many attempts it becomes a dead letter.
///
/// # Errors
/// `Retry` or `Fail`, as [`crate::PortError`] defines them.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Stores the events. Returns when all of them are durable, or when none need be.
    async fn send(&self, events: Vec<Event>) -> Result<()>;
    /// Stores the events; they can be received only after `delay` (at most 15 minutes).
    async fn send_later(&self, events: Vec<Event>, delay: Duration) -> Result<()>;
    /// Takes at most `max` messages.
    async fn receive(&self, max: usize) -> Result<Vec<Received>>;
    /// Removes messages that were handled.
    async fn done(&self, receipts: Vec<Receipt>) -> Result<()>;
    /// Makes messages visible again at once.
    async fn give_back(&self, receipts: Vec<Receipt>) -> Result<()>;
    /// Returns messages that no one began to handle, for example at an orderly stop. The attempt does not count. SQS
    /// counts attempts itself and counts it anyway.
    async fn give_back_unused(&self, receipts: Vec<Receipt>) -> Result<()> {
        self.give_back(receipts).await
    }
    /// The number of messages that wait or are being handled, without dead letters.
    async fn depth(&self) -> Result<u64>;
    /// True if no message waits or is being handled. Callers ask many times a second.
    async fn is_empty(&self) -> Result<bool> {
        Ok(self.depth().await? == 0)
    }
    /// The number of dead letters.
    async fn dead_letters(&self) -> Result<u64>;
    /// The time since which the oldest message waits, as far as the queue can tell.
    async fn oldest(&self) -> Result<Option<Timestamp>>;
    /// Reads at most `max` dead letters. They stay in the queue.
    async fn dead(&self, max: usize) -> Result<Vec<DeadLetter>>;
    /// Removes messages and dead letters for whose JSON `are_meant` is true, and returns their number. A queue that
    /// cannot read waiting messages removes dead letters only.
    async fn drop_those(&self, are_meant: &(dyn for<'t> Fn(&'t str) -> bool + Send + Sync)) -> Result<u64>;
    /// Shows the JSON of each message and dead letter that the queue can read. All of them stay.
    async fn look_through(&self, look: &(dyn for<'t> Fn(&'t str) + Send + Sync)) -> Result<()> {
        let shown = |text: &str| {
            look(text);
            false
        };
        self.drop_those(&shown).await.map(drop)
    }
    /// Puts every dead letter back as a new message, and returns their number.
    async fn redrive(&self) -> Result<u64>;
}
