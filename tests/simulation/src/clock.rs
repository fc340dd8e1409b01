//! The one clock of a simulated world: tokio's paused time as timestamps.

use std::sync::Arc;

use stagedoor_model::Timestamp;
use stagedoor_ports::Clock;
use stagedoor_sandbox::SandboxClock;
use tokio::time::Instant;

/// 2027-03-01, 10:00 in Moscow.
const BEGIN: i64 = 1_803_884_400;

/// The beginning as an instant and in seconds of Unix time.
#[derive(Debug, Clone, Copy)]
pub struct VirtualClock(Instant, i64);

impl VirtualClock {
    /// A clock that begins now, this many minutes after 10:00 in Moscow. The runtime's time must be paused.
    pub fn start(minutes: i64) -> Self {
        Self(Instant::now(), BEGIN + minutes * 60)
    }

    /// The same time for a stand-in.
    pub fn of_sandbox(self) -> SandboxClock {
        SandboxClock::new(move || u64::try_from(self.now().as_millisecond()).unwrap_or(0))
    }

    pub fn shared(self) -> Arc<dyn Clock> {
        Arc::new(self)
    }

    /// The time since the beginning, as a story prints it.
    pub fn told(self) -> String {
        self.told_of(Instant::now())
    }

    pub fn told_at(self, at: Timestamp) -> String {
        let begin = Timestamp::from_second(self.1).unwrap_or_default();
        told(at.duration_since(begin).as_secs().unsigned_abs())
    }

    pub fn told_of(self, at: Instant) -> String {
        told(at.duration_since(self.0).as_secs())
    }
}

fn told(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let begin = Timestamp::from_second(self.1).unwrap_or_default();
        begin + self.0.elapsed()
    }
}
