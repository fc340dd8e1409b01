//! A queue in memory with a real queue's promises in virtual time: delays, and redelivery of unfinished messages.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use stagedoor_model::{Body, Event, Timestamp};
use stagedoor_ports::{Clock, DeadLetter, PortError, Queue, Receipt, Received, Result};

/// How long a delivered message is hidden.
const HIDDEN: Duration = Duration::from_secs(120);
/// Attempts before a message is a dead letter. Simulated processes die more often than real ones.
const ATTEMPTS: u32 = 50;

/// The time that a consumer may take to find messages and to process them.
const FRESH: Duration = Duration::from_secs(30);

struct Message {
    event: Event,
    came: Timestamp,
    from: Timestamp,
    attempts: u32,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    all: BTreeMap<u64, Message>,
}

pub struct SimulatedQueue {
    clock: Arc<dyn Clock>,
    waiting: Mutex<Waiting>,
    /// While true, the queue accepts nothing.
    pub broken: AtomicBool,
}

impl SimulatedQueue {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, waiting: Mutex::default(), broken: AtomicBool::new(false) }
    }

    /// The number of messages that wait for something other than the end of the night or a consumer's next look. Each
    /// pull brings some known ones.
    pub fn waiting(&self, now: Timestamp) -> usize {
        let of_night = |event: &Event| match &event.body {
            Body::MessageDecided(message) => message.quiet.as_ref().is_some_and(|quiet| quiet.end(now).is_some()),
            _ => false,
        };
        let is_fresh =
            |one: &Message| one.came + FRESH > now && (one.attempts == 1 || one.attempts == 0 && one.from <= now);
        let all = self.all();
        all.all.values().filter(|one| one.attempts < ATTEMPTS && !of_night(&one.event) && !is_fresh(one)).count()
    }

    fn all(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Queue for SimulatedQueue {
    async fn send(&self, events: Vec<Event>) -> Result<()> {
        self.send_later(events, Duration::ZERO).await
    }

    async fn send_later(&self, events: Vec<Event>, delay: Duration) -> Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(PortError::Retry("the queue is away".into()));
        }
        let came = self.clock.now();
        let from = came + delay;
        let mut waiting = self.all();
        for event in events {
            waiting.next += 1;
            let id = waiting.next;
            waiting.all.insert(id, Message { event, came, from, attempts: 0 });
        }
        Ok(())
    }

    async fn receive(&self, max: usize) -> Result<Vec<Received>> {
        let now = self.clock.now();
        let mut waiting = self.all();
        let ready = waiting.all.iter_mut().filter(|(_, one)| one.from <= now && one.attempts < ATTEMPTS);
        let hand_out = |(id, one): (&u64, &mut Message)| {
            (one.from, one.attempts) = (now + HIDDEN, one.attempts + 1);
            Received { event: one.event.clone(), receipt: Receipt(id.to_string()), attempts: one.attempts }
        };
        Ok(ready.take(max).map(hand_out).collect())
    }

    async fn done(&self, receipts: Vec<Receipt>) -> Result<()> {
        let mut waiting = self.all();
        receipts.iter().filter_map(|one| one.0.parse::<u64>().ok()).for_each(|id| _ = waiting.all.remove(&id));
        Ok(())
    }

    async fn give_back(&self, receipts: Vec<Receipt>) -> Result<()> {
        let now = self.clock.now();
        let mut waiting = self.all();
        for id in receipts.iter().filter_map(|one| one.0.parse::<u64>().ok()) {
            if let Some(one) = waiting.all.get_mut(&id) {
                one.from = now;
            }
        }
        Ok(())
    }

    async fn depth(&self) -> Result<u64> {
        Ok(self.all().all.values().filter(|one| one.attempts < ATTEMPTS).count() as u64)
    }

    async fn dead_letters(&self) -> Result<u64> {
        Ok(self.all().all.values().filter(|one| one.attempts >= ATTEMPTS).count() as u64)
    }

    async fn oldest(&self) -> Result<Option<Timestamp>> {
        Ok(None)
    }

    async fn dead(&self, _: usize) -> Result<Vec<DeadLetter>> {
        Ok(vec![])
    }

    async fn drop_those(&self, _: &(dyn for<'t> Fn(&'t str) -> bool + Send + Sync)) -> Result<u64> {
        Ok(0)
    }

    async fn redrive(&self) -> Result<u64> {
        Ok(0)
    }
}
