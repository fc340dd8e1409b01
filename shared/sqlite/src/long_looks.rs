//! Limits expensive checks for work. A check that may pass many rows runs at most once a second while it finds nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The time between two expensive checks that find nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// The time of the last expensive check, if it found nothing.
#[derive(Clone, Default)]
pub(crate) struct LongLooks(Arc<Mutex<Option<Instant>>>);

impl LongLooks {
    /// True if an expensive check may run now.
    pub fn is_due(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|at| at.elapsed() >= PAUSE)
    }

    /// Notes whether the check found anything.
    pub fn found(&self, is_any: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (!is_any).then(Instant::now);
    }
}
