//! A queue in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use stagedoor_model::{Event, Timestamp};

use crate::{DeadLetter, Queue, Receipt, Received, Result};

#[derive(Default)]
struct Messages {
    next: u64,
    ready: VecDeque<(u64, Event, u32)>,
    taken: BTreeMap<u64, (Event, u32)>,
    dead: Vec<Event>,
}

/// A [`Queue`] in memory. It has no clock, so only `give_back` returns messages that were taken and not done.
#[derive(Default)]
pub struct MemoryQueue(Mutex<Messages>);

/// A message with this many attempts becomes a dead letter.
pub const MAX_ATTEMPTS: u32 = 5;

impl MemoryQueue {
    fn state(&self) -> MutexGuard<'_, Messages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn back(&self, receipts: &[Receipt], unused: u32) {
        let mut state = self.state();
        for id in receipts.iter().filter_map(|r| r.0.parse::<u64>().ok()) {
            if let Some((event, attempts)) = state.taken.remove(&id) {
                state.ready.push_back((id, event, attempts.saturating_sub(unused)));
            }
        }
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn send(&self, events: Vec<Event>) -> Result<()> {
        let mut state = self.state();
        for event in events {
            state.next += 1;
            let id = state.next;
            state.ready.push_back((id, event, 0));
        }
        Ok(())
    }

    /// Sends at once, because memory has no clock.
    async fn send_later(&self, events: Vec<Event>, _: std::time::Duration) -> Result<()> {
        self.send(events).await
    }

    async fn receive(&self, max: usize) -> Result<Vec<Received>> {
        let mut state = self.state();
        let mut batch = Vec::new();
        while batch.len() < max
            && let Some((id, event, attempts)) = state.ready.pop_front()
        {
            if attempts >= MAX_ATTEMPTS {
                state.dead.push(event);
                continue;
            }
            state.taken.insert(id, (event.clone(), attempts + 1));
            batch.push(Received { event, receipt: Receipt(id.to_string()), attempts: attempts + 1 });
        }
        Ok(batch)
    }

    async fn done(&self, receipts: Vec<Receipt>) -> Result<()> {
        let mut state = self.state();
        receipts.iter().filter_map(|r| r.0.parse().ok()).for_each(|id: u64| _ = state.taken.remove(&id));
        Ok(())
    }

    async fn give_back(&self, receipts: Vec<Receipt>) -> Result<()> {
        self.back(&receipts, 0);
        Ok(())
    }

    async fn give_back_unused(&self, receipts: Vec<Receipt>) -> Result<()> {
        self.back(&receipts, 1);
        Ok(())
    }

    async fn depth(&self) -> Result<u64> {
        let state = self.state();
        Ok((state.ready.len() + state.taken.len()) as u64)
    }

    async fn dead_letters(&self) -> Result<u64> {
        Ok(self.state().dead.len() as u64)
    }

    async fn oldest(&self) -> Result<Option<Timestamp>> {
        // Memory has no clock.
        Ok(None)
    }

    async fn dead(&self, max: usize) -> Result<Vec<DeadLetter>> {
        let letter =
            |(n, event): (usize, &Event)| DeadLetter { id: n.to_string(), event: Some(event.clone()), bytes: 0 };
        Ok(self.state().dead.iter().enumerate().take(max).map(letter).collect())
    }

    async fn drop_those(&self, are_meant: &(dyn for<'t> Fn(&'t str) -> bool + Send + Sync)) -> Result<u64> {
        let stays = |event: &Event| !serde_json::to_string(event).is_ok_and(|text| are_meant(&text));
        let mut state = self.state();
        let before = state.ready.len() + state.dead.len();
        state.ready.retain(|(_, event, _)| stays(event));
        state.dead.retain(stays);
        Ok((before - state.ready.len() - state.dead.len()) as u64)
    }

    async fn redrive(&self) -> Result<u64> {
        let dead = std::mem::take(&mut self.state().dead);
        let count = dead.len() as u64;
        self.send(dead).await?;
        Ok(count)
    }
}
