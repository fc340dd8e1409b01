//! The clock of a stand-in.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// The source of a stand-in's time. A test in virtual time supplies its own.
#[derive(Clone)]
pub struct SandboxClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl SandboxClock {
    /// A clock that reads `now`, in milliseconds since 1970.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Seconds since 1970.
    pub fn seconds(&self) -> u64 {
        (self.0)() / 1_000
    }
}

impl Default for SandboxClock {
    #[allow(clippy::disallowed_methods, reason = "the stand-in's own clock")]
    fn default() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(0)
        })
    }
}

impl std::fmt::Debug for SandboxClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SandboxClock")
    }
}

/// Unix seconds of this machine's clock, for stand-ins without a clock of their own.
pub(crate) fn now() -> u64 {
    SandboxClock::default().seconds()
}
