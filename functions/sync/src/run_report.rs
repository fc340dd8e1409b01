use std::time::Duration;

/// Result of one sync run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunReport {
    /// People whose rows in the CRM are now up to date.
    pub settled: usize,
    /// Rows that the CRM accepted.
    pub rows: usize,
    /// Rows that the CRM refused.
    pub rejected: usize,
    /// People who still wait.
    pub left: usize,
    /// People who wait for a call without an answer, which may still take effect. A later run looks at them again.
    pub pending: usize,
    /// Reason why the CRM could not be used.
    pub unavailable: Option<String>,
    /// Duration of the longest bulk call.
    pub longest_call: Duration,
}
