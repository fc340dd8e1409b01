//! A breaker a source: one that does not answer is left alone for a while, so that it costs the others no time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::SignedDuration;
use stagedoor_model::Timestamp;

/// Failures in a row after which a source is left alone.
const FAILURES: u32 = 5;
const FIRST_REST: SignedDuration = SignedDuration::from_secs(15);
const LONGEST_REST: SignedDuration = SignedDuration::from_mins(5);

#[derive(Clone, Copy)]
struct Breaker {
    failures: u32,
    /// Of the first failure.
    since: Timestamp,
    /// Rests until now, the one under way included; none while it is closed.
    rests: u32,
    until: Timestamp,
}

/// Of one process: clones share them. An open breaker is asked again with one call after its rest.
#[derive(Clone, Default)]
pub struct Breakers(Arc<Mutex<BTreeMap<String, Breaker>>>);

impl Breakers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Breaker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long this source is left alone from now on.
    pub(crate) fn rest(&self, name: &str, now: Timestamp) -> Option<SignedDuration> {
        let all = self.all();
        let breaker = all.get(name).filter(|breaker| breaker.rests > 0)?;
        let left = breaker.until.duration_since(now);
        left.is_positive().then_some(left)
    }

    /// Whether it failed so often that one call has to succeed before others are made.
    pub(crate) fn is_on_trial(&self, name: &str) -> bool {
        self.all().get(name).is_some_and(|breaker| breaker.rests > 0)
    }

    /// True if this ends an outage.
    pub(crate) fn succeeded(&self, name: &str) -> bool {
        self.all().remove(name).is_some_and(|breaker| breaker.rests > 0)
    }

    /// `outright`: the source used up its whole budget and answered nothing. Answers since when it has not answered if it
    /// is left alone from now on.
    pub(crate) fn failed(&self, name: &str, now: Timestamp, outright: bool) -> Option<Timestamp> {
        let mut all = self.all();
        let new = Breaker { failures: 0, since: now, rests: 0, until: now };
        let breaker = all.entry(name.to_owned()).or_insert(new);
        breaker.failures = breaker.failures.saturating_add(1);
        // Calls that were under way together are one failure.
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
