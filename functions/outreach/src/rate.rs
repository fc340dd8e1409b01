//! Rate limits of channels, pauses between messages to one person, and channels that must wait.

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

/// Longest pause that a process sleeps through. For a longer pause, the message goes back into the outbox.
const SHORT: Duration = Duration::from_secs(2);

/// Limits how fast one process sends.
pub struct RateLimit {
    /// Number of processes that send through the same channels, with this one.
    among: u32,
    limits: Mutex<BTreeMap<SourceName, std::sync::Arc<DefaultDirectRateLimiter>>>,
    held: Mutex<BTreeMap<SourceName, Timestamp>>,
    last: Mutex<BTreeMap<(SourceName, Identifier), Timestamp>>,
    holds_advertising: AtomicBool,
}

/// Number of people whose last message is remembered. Beyond it, people whose pause is over are forgotten.
const REMEMBERED: usize = 20_000;

impl Default for RateLimit {
    fn default() -> Self {
        Self::among(1)
    }
}

impl RateLimit {
    /// Limits for one of `processes` that send at the same time. Each gets an equal share.
    pub fn among(processes: u32) -> Self {
        Self {
            among: processes.max(1),
            limits: Mutex::default(),
            held: Mutex::default(),
            last: Mutex::default(),
            holds_advertising: AtomicBool::new(false),
        }
    }

    /// Holds or releases all advertising, in every channel.
    pub fn hold_advertising(&self, holds: bool) {
        self.holds_advertising.store(holds, Ordering::Relaxed);
    }

    pub(crate) fn holds_advertising(&self) -> bool {
        self.holds_advertising.load(Ordering::Relaxed)
    }

    /// Blocks this channel for the time `wait`.
    pub fn hold(&self, through: &SourceName, wait: Duration, now: Timestamp) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let until = now.checked_add(wait).unwrap_or(now);
        let known = held.entry(through.clone()).or_insert(until);
        *known = until.max(*known);
    }

    /// Waits until a message may go out. Returns the remaining time instead if that is too long to wait here.
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

    /// Time until this person may get the next message. If it is short, their turn is taken.
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
            // The rate is even, without a burst: a burst and a full second after it would be twice the rate.
            std::sync::Arc::new(RateLimiter::direct(Quota::per_second(rate).allow_burst(one)))
        });
        std::sync::Arc::clone(limit)
    }
}
