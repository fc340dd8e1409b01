//! One circuit breaker for each source. A source that does not answer rests for a while, so that it costs others no
//! time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::SignedDuration;
use stagedoor_model::Timestamp;

/// Failures in a row after which a source rests.
const FAILURES: u32 = 5;
const FIRST_REST: SignedDuration = SignedDuration::from_secs(15);
const LONGEST_REST: SignedDuration = SignedDuration::from_mins(5);

#[derive(Clone, Copy)]
struct Breaker {
    failures: u32,
    /// Time of the first failure.
    since: Timestamp,
    /// Number of rests so far, with the current one. Zero while the breaker is closed.
    rests: u32,
    until: Timestamp,
}

/// The breakers of one process. Clones share them. After its rest, an open breaker lets one call through as a test.
#[derive(Clone, Default)]
pub struct Breakers(Arc<Mutex<BTreeMap<String, Breaker>>>);

impl Breakers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Breaker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time for which this source still rests, or `None`.
    pub(crate) fn rest(&self, name: &str, now: Timestamp) -> Option<SignedDuration> {
        let all = self.all();
        let breaker = all.get(name).filter(|breaker| breaker.rests > 0)?;
        let left = breaker.until.duration_since(now);
        left.is_positive().then_some(left)
    }

    /// True if the source failed so often that one call must succeed before others are made.
    pub(crate) fn is_on_trial(&self, name: &str) -> bool {
        self.all().get(name).is_some_and(|breaker| breaker.rests > 0)
    }

    /// Notes a success. Returns true if it ends an outage.
    pub(crate) fn succeeded(&self, name: &str) -> bool {
        self.all().remove(name).is_some_and(|breaker| breaker.rests > 0)
    }

    /// Notes a failure. `outright` means that the source used up its whole budget and answered nothing. If the source
    /// rests from now on, returns the time of its first failure.
    pub(crate) fn failed(&self, name: &str, now: Timestamp, outright: bool) -> Option<Timestamp> {
        let mut all = self.all();
        let new = Breaker { failures: 0, since: now, rests: 0, until: now };
        let breaker = all.entry(name.to_owned()).or_insert(new);
        breaker.failures = breaker.failures.saturating_add(1);
        // Concurrent calls that fail count as one failure.
        if breaker.rests > 0 && breaker.until > now {
            return Some(breaker.since);
        }
        if outright || breaker.rests > 0 || breaker.failures >= FAILURES {
            let rest = (FIRST_REST * (1_i32 << breaker.rests.min(10))).min(LONGEST_REST);
            (breaker.rests, breaker.until) = (breaker.rests + 1, now + rest);
            return Some(breaker.since);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    #[test]
    fn a_source_that_fails_now_and_then_is_not_left_alone() {
        let breakers = Breakers::default();
        for n in 0..20 {
            assert_eq!(breakers.failed("shop", at(n), false), None);
            assert!(!breakers.succeeded("shop"));
        }
    }

    #[test]
    fn a_source_that_answers_nothing_rests_longer_each_time_until_it_answers() {
        let breakers = Breakers::default();
        assert_eq!(breakers.failed("shop", at(0), true), Some(at(0)));
        assert_eq!(breakers.rest("shop", at(10)), Some(SignedDuration::from_secs(5)));
        assert_eq!(breakers.rest("other", at(10)), None);
        assert_eq!(breakers.rest("shop", at(15)), None);
        assert!(breakers.is_on_trial("shop"));
        assert_eq!(breakers.failed("shop", at(15), false), Some(at(0)));
        assert_eq!(breakers.rest("shop", at(15)), Some(SignedDuration::from_secs(30)));
        assert!(breakers.succeeded("shop"));
        assert!(!breakers.is_on_trial("shop"));
    }
}
