use std::time::Duration;

use async_trait::async_trait;
use stagedoor_model::{Event, Timestamp};

use crate::Result;

/// What gives a received message back: to be named when it is done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receipt(pub String);

#[derive(Debug, Clone)]
pub struct Received {
    pub event: Event,
    pub receipt: Receipt,
    /// How often it was handed out, this time included.
    pub attempts: u32,
}

/// A message that was handed out too often.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The queue's own id of the message.
    pub id: String,
    /// `None`: it is no event that this hub can read.
    pub event: Option<Event>,
    pub bytes: usize,
}

/// At least once, in no promised order. A message that is handed out and not done comes again after the visibility
/// timeout; one that was handed out too often goes to the dead letters.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Returns once all events are durable, or none need be.
    async fn send(&self, events: Vec<Event>) -> Result<()>;
    /// The same, but nobody receives them before `delay` is over (at most 15 minutes).
    async fn send_later(&self, events: Vec<Event>, delay: Duration) -> Result<()>;
    async fn receive(&self, max: usize) -> Result<Vec<Received>>;
    async fn done(&self, receipts: Vec<Receipt>) -> Result<()>;
    /// Makes messages visible again at once.
    async fn give_back(&self, receipts: Vec<Receipt>) -> Result<()>;
    /// The same for messages that nobody began to handle, such as at an orderly stop: being handed out counts as no attempt. A
    /// queue that counts by itself, as SQS does, counts it all the same.
    async fn give_back_unused(&self, receipts: Vec<Receipt>) -> Result<()> {
        self.give_back(receipts).await
    }
    /// Messages waiting, those being handled included; dead letters not.
    async fn depth(&self) -> Result<u64>;
    /// Whether no message waits or is being handled. Is asked many times a second.
    async fn is_empty(&self) -> Result<bool> {
        Ok(self.depth().await? == 0)
    }
    async fn dead_letters(&self) -> Result<u64>;
    /// Since when the oldest message is there, as far as the queue can tell.
    async fn oldest(&self) -> Result<Option<Timestamp>>;
    /// Dead letters to look at; they stay where they are.
    async fn dead(&self, max: usize) -> Result<Vec<DeadLetter>>;
    /// Removes messages and dead letters whose event, as JSON, is one of those; the number of them. A queue that cannot look into
    /// what waits removes dead letters only.
    async fn drop_those(&self, are_meant: &(dyn for<'t> Fn(&'t str) -> bool + Send + Sync)) -> Result<u64>;
    /// Shows each message and dead letter that the queue can look into, as JSON. All stay where they are.
    async fn look_through(&self, look: &(dyn for<'t> Fn(&'t str) + Send + Sync)) -> Result<()> {
        let shown = |text: &str| {
            look(text);
            false
        };
        self.drop_those(&shown).await.map(drop)
    }
    /// Puts every dead letter back, as if it were new; the number of them.
    async fn redrive(&self) -> Result<u64>;
}
