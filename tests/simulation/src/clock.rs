//! The one clock of a simulated world: tokio's paused time, as instants.

use std::sync::Arc;

use stagedoor_model::Timestamp;
use stagedoor_ports::Clock;
use stagedoor_sandbox::SandboxClock;
use tokio::time::Instant;

/// 2027-03-01, 10:00 in Moscow.
const BEGIN: i64 = 1_803_884_400;

#[derive(Debug, Clone, Copy)]
pub struct VirtualClock(Instant);

impl VirtualClock {
    /// A clock that begins now, in a runtime whose time is paused.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The same time for a stand-in.
    pub fn of_sandbox(self) -> SandboxClock {
        SandboxClock::new(move || u64::try_from(self.now().as_millisecond()).unwrap_or(0))
    }

    pub fn shared(self) -> Arc<dyn Clock> {
        Arc::new(self)
    }

    /// Time since the beginning, as a story tells it.
    pub fn told(self) -> String {
        self.told_of(Instant::now())
    }

    pub fn told_of(self, at: Instant) -> String {
        let seconds = at.duration_since(self.0).as_secs();
        format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let begin = Timestamp::from_second(BEGIN).unwrap_or_default();
        begin + self.0.elapsed()
    }
}
