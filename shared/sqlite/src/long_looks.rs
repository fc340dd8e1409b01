//! Looks that may pass many rows are made once a second at most while they find nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Between two long looks that find nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// When the last long look found nothing.
#[derive(Clone, Default)]
pub(crate) struct LongLooks(Arc<Mutex<Option<Instant>>>);

impl LongLooks {
    pub fn is_due(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|at| at.elapsed() >= PAUSE)
    }

    pub fn found(&self, is_any: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (!is_any).then(Instant::now);
    }
}
