//! A clock that moves by hand, so that a month plays in a minute.

use std::sync::{Arc, Mutex, PoisonError};

use stagedoor_model::Timestamp;
use stagedoor_ports::Clock;

#[derive(Clone)]
pub struct Moved(Arc<Mutex<Timestamp>>);

impl Moved {
    /// A clock at this second of Unix time. A second outside the valid range becomes the epoch.
    pub fn at(second: i64) -> Self {
        Self(Arc::new(Mutex::new(Timestamp::from_second(second).unwrap_or_default())))
    }

    pub fn on(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = Timestamp::from_second(now.as_second().saturating_add(seconds)).unwrap_or(*now);
    }
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
