//! Each channel's rate, each person's pause, and channels that were told to wait.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use stagedoor_model::{Identifier, SourceName, Timestamp};
use stagedoor_ports::Channel;

/// A pause this short is slept through; a longer one sends the message back.
const SHORT: Duration = Duration::from_secs(2);

pub struct RateLimit {
    /// Processes that send through the same channels, this one included.
    among: u32,
    limits: Mutex<BTreeMap<SourceName, std::sync::Arc<DefaultDirectRateLimiter>>>,
    held: Mutex<BTreeMap<SourceName, Timestamp>>,
    last: Mutex<BTreeMap<(SourceName, Identifier), Timestamp>>,
    holds_advertising: AtomicBool,
}

/// People remembered for their pause; older ones are long past it.
const REMEMBERED: usize = 20_000;

impl Default for RateLimit {
    fn default() -> Self {
        Self::among(1)
    }
}

impl RateLimit {
    /// This process's share, where so many send at once.
    pub fn among(processes: u32) -> Self {
        Self {
            among: processes.max(1),
            limits: Mutex::default(),
            held: Mutex::default(),
            last: Mutex::default(),
            holds_advertising: AtomicBool::new(false),
        }
    }

    /// Whether advertising waits, whatever its channel.
    pub fn hold_advertising(&self, holds: bool) {
        self.holds_advertising.store(holds, Ordering::Relaxed);
    }

    pub(crate) fn holds_advertising(&self) -> bool {
        self.holds_advertising.load(Ordering::Relaxed)
    }

    /// Nothing goes through this channel for so long.
    pub fn hold(&self, through: &SourceName, wait: Duration, now: Timestamp) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let until = now.checked_add(wait).unwrap_or(now);
        let known = held.entry(through.clone()).or_insert(until);
        *known = until.max(*known);
    }

    /// Waits for a place; `Some` when that would take too long, with how long.
    pub(crate) async fn admit(
        &self,
        through: &SourceName,
        to: &Identifier,
        channel: &dyn Channel,
        now: Timestamp,
    ) -> Option<Duration> {
        let wait = self.held_for(through, now).max(self.person(through, to, channel.pause(), now));
        if wait > SHORT {
            return Some(wait);
        }
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        self.limit(through, channel).until_ready().await;
        None
    }

    fn held_for(&self, through: &SourceName, now: Timestamp) -> Duration {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(through).map_or(Duration::ZERO, |until| until.duration_since(now).try_into().unwrap_or_default())
    }

    /// How long this person is to be left in peace; their place is taken.
    fn person(&self, through: &SourceName, to: &Identifier, pause: Duration, now: Timestamp) -> Duration {
        if pause.is_zero() {
            return Duration::ZERO;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() > REMEMBERED {
            last.retain(|_, at| now.duration_since(*at).unsigned_abs() < pause);
        }
        let key = (through.clone(), to.clone());
        let next = last.get(&key).and_then(|at| at.checked_add(pause).ok()).unwrap_or(now).max(now);
        let wait: Duration = next.duration_since(now).try_into().unwrap_or_default();
        if wait <= SHORT {
            last.insert(key, next);
        }
        wait
    }

    fn limit(&self, through: &SourceName, channel: &dyn Channel) -> std::sync::Arc<DefaultDirectRateLimiter> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = limits.entry(through.clone()).or_insert_with(|| {
            let one = std::num::NonZeroU32::MIN;
            let rate = std::num::NonZeroU32::new(channel.rate().get() / self.among).unwrap_or(one);
            // Evenly, without a burst: a burst and a full second after it would be twice the rate.
            std::sync::Arc::new(RateLimiter::direct(Quota::per_second(rate).allow_burst(one)))
        });
        std::sync::Arc::clone(limit)
    }
}
