//! A batch of events, from the queue to the answers of the bot.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use stagedoor_model::Event;
use tokio::time::Instant;

use crate::{Sync, hydrate, replies};

/// Time at the end of an invocation that is kept for folding the answers of sources.
const FOLDING: Duration = Duration::from_secs(20);

impl Sync {
    /// Hydrates, folds and saves a batch, and decides the answers to chats in it. Returns the positions in `events`
    /// of the events that failed and should come again. All other events are durable.
    pub async fn handle(&self, events: Vec<Event>) -> BTreeSet<usize> {
        self.handle_within(events, None).await
    }

    /// Does the same as `handle` within the time `left`. A source gets less than its budget if less time is left.
    /// Events that need no source come first. The events of each source are folded as soon as it answers.
    pub async fn handle_within(&self, events: Vec<Event>, left: Option<Duration>) -> BTreeSet<usize> {
        let deadline = left.map(|left| Instant::now() + left.saturating_sub(FOLDING).max(left / 5));
        let (pointing, ready): (Vec<_>, Vec<_>) =
            events.into_iter().enumerate().partition(|(_, event)| hydrate::needs_source(event));
        let mut failed = self.fold_and_answer(ready).await;
        let asked = hydrate::by_source(pointing);
        let mut asking: FuturesUnordered<_> =
            asked.into_iter().map(|(source, events)| self.hydrate(source, events, deadline)).collect();
        while let Some(hydrated) = asking.next().await {
            failed.extend(hydrated.failed);
            if let Some((events, after)) = hydrated.deferred {
                failed.extend(self.defer(events, after).await);
            }
            failed.extend(self.fold_and_answer(hydrated.ready).await);
        }
        failed
    }

    /// Releases the lease after the future that may have held it was dropped.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn let_go(&self) -> stagedoor_ports::Result<()> {
        if self.lease().await? { self.release().await } else { Ok(()) }
    }

    /// True if a source must be asked before the event can be folded.
    pub fn needs_source(event: &Event) -> bool {
        hydrate::needs_source(event)
    }

    async fn fold_and_answer(&self, mut ready: Vec<(usize, Event)>) -> BTreeSet<usize> {
        if ready.is_empty() {
            return BTreeSet::new();
        }
        let mut failed = self.take_offers(&ready).await;
        ready.retain(|(index, _)| !failed.contains(index));
        let heard: Vec<(usize, Event)> = ready.iter().filter(|(_, event)| replies::asks(event)).cloned().collect();
        failed.extend(self.fold(ready).await);
        // Events that were folded before are included: a crash may have come between folding and answering.
        let heard = heard.into_iter().filter(|(index, _)| !failed.contains(index)).collect();
        failed.extend(self.answer(heard).await);
        failed
    }
}
