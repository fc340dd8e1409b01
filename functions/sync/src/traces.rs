//! Finds mentions of a person outside of their own data. They may stand in deliveries that were not understood, in
//! messages that wait in the queues, and in dead letters.

mod addresses;
mod boundaries;
mod dialled;
mod ids;
mod spellings;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

pub(crate) use addresses::Addresses;
use stagedoor_model::{Identifier, breakage};
use stagedoor_ports::{JournalRow, Queue, Result};

use crate::Sync;

/// What holds a person's addresses outside of anybody's data.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    /// Deliveries that were not understood.
    pub kept: Vec<JournalRow>,
    /// Messages that wait, and dead letters: the name of the queue and the message in JSON.
    pub waiting: BTreeSet<(&'static str, String)>,
}

impl Traces {
    /// True if nothing holds the addresses.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.waiting.is_empty()
    }
}

impl Sync {
    /// The addresses, to be looked for in texts.
    pub(crate) fn addresses(&self, names: &BTreeSet<Identifier>) -> Addresses {
        Addresses::of(names, self.catalog.bot_script.region)
    }

    /// What `erase` would remove by this identifier beside the data of people. Removes nothing.
    ///
    /// # Errors
    /// When the store or a queue cannot be read.
    pub async fn traces_of(&self, identifier: &Identifier) -> Result<Traces> {
        let people = self.bearers(identifier).await?;
        let addresses = self.addresses(&self.names_of(identifier, &people).await?);
        let mut kept = self.store.unrecognized(usize::MAX).await?;
        kept.retain(|row| addresses.are_kept(&row.event));
        let waiting = Mutex::new(BTreeSet::new());
        for (name, queue) in self.queues() {
            let look = |text: &str| {
                if addresses.are_told(text)
                    && let Ok(mut waiting) = waiting.lock()
                {
                    waiting.insert((name, text.to_owned()));
                }
            };
            queue.look_through(&look).await?;
        }
        Ok(Traces { kept, waiting: waiting.into_inner().unwrap_or_default() })
    }

    /// Removes deliveries and messages that contain these addresses. Returns their number.
    pub(crate) async fn drop_traces(&self, names: &BTreeSet<Identifier>) -> Result<u64> {
        if breakage::is_on("erased-stay-in-queues") {
            return Ok(0);
        }
        let addresses = self.addresses(names);
        let mut dropped = 0;
        for row in self.store.unrecognized(usize::MAX).await? {
            if addresses.are_kept(&row.event) {
                self.store.forget(&row.event.id).await?;
                dropped += 1;
            }
        }
        for (_, queue) in self.queues() {
            dropped += queue.drop_those(&|body: &str| addresses.are_told(body)).await?;
        }
        Ok(dropped)
    }

    /// The queues by their names.
    fn queues(&self) -> Vec<(&'static str, &Arc<dyn Queue>)> {
        let events = self.events.iter().map(|queue| ("events", queue));
        let conversation = self.conversation.iter();
        let conversation = conversation.flat_map(|talking| [("outbox", &talking.outbox), ("chats", &talking.chats)]);
        events.chain(conversation).collect()
    }
}

#[cfg(test)]
mod tests;
