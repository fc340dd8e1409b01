//! A clock that a test moves on.

use std::sync::{Arc, Mutex, PoisonError};

use stagedoor_model::Timestamp;
use stagedoor_ports::Clock;

#[derive(Clone)]
pub struct Moved(Arc<Mutex<Timestamp>>);

impl Moved {
    pub fn at(second: i64) -> Self {
        Self(Arc::new(Mutex::new(Timestamp::from_second(second).expect("a time"))))
    }

    pub fn on(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = Timestamp::from_second(now.as_second() + seconds).expect("a time");
    }
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
