//! The nightly sweep: it removes data that is older than `[retention]` allows. It works in parts, so that it can
//! continue after an invocation ends early or a process dies.

use std::time::Duration;

use jiff::SignedDuration;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{Commit, KeyValue, Result};
use tokio::time::Instant;

use crate::Sync;

/// The day of the last sweep. During a sweep it also holds the position at which the sweep continues.
const SWEPT: &str = "retention/swept";
/// Hour (UTC) from which the sweep runs: early in the morning in Europe, before the office opens in Vladivostok.
const HOUR: i64 = 1;
/// People that are read together.
const PART: usize = 200;

/// How long data is kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub journal: SignedDuration,
    /// Deliveries that the hub cannot parse. `None`: until it can.
    pub unrecognized: Option<SignedDuration>,
    /// Messages of chats. `None`: as many as the limit for one person allows.
    pub conversations: Option<SignedDuration>,
    /// Visits to links. `None`: for ever.
    pub clicks: Option<SignedDuration>,
}

impl Sync {
    /// Removes data that is too old, once a night, for at most `time`. Returns the number of journal rows that the
    /// store removed. Returns `None` if it is not time, if this night's sweep is done, or if work is left for the
    /// next call.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn sweep_old(&self, retention: Retention, time: Duration) -> Result<Option<u64>> {
        let (began, now) = (Instant::now(), self.clock.now());
        let (today, last) = (now.strftime("%F").to_string(), self.store.key_value(SWEPT).await?);
        let hour = now.as_second().div_euclid(3_600).rem_euclid(24);
        let is_made = last.as_ref().is_some_and(|key_value| key_value.value == today);
        if breakage::is_on("nothing-grows-old") || hour < HOUR || is_made {
            return Ok(None);
        }
        let (lines, opens) = (retention.conversations.map(|kept| now - kept), retention.clicks.map(|kept| now - kept));
        let version = last.as_ref().map(|key_value| key_value.version);
        if lines.is_some() || opens.is_some() {
            let mut after = last.as_ref().and_then(|key_value| place(key_value, &today));
            if breakage::is_on("sweep-begins-anew") {
                after = None;
            }
            loop {
                after = self.people_forget(after, lines, opens).await?;
                let Some(next) = &after else { break };
                if began.elapsed() < time {
                    continue;
                }
                // Another process sweeps, too. It continues from here or from its own position.
                self.store.compare_and_set(SWEPT, &format!("{today} {next}"), version).await?;
                return Ok(None);
            }
        }
        let removed = self.store.sweep(now - retention.journal, retention.unrecognized.map(|kept| now - kept)).await?;
        self.store.compare_and_set(SWEPT, &today, version).await?;
        Ok(Some(removed))
    }

    /// Removes old messages of chats and old visits to links. A person who changes meanwhile is swept the next night.
    async fn people_forget(
        &self,
        after: Option<String>,
        lines: Option<Timestamp>,
        opens: Option<Timestamp>,
    ) -> Result<Option<String>> {
        let (ids, next) = self.store.scan_people(after, PART).await?;
        let people = self.store.load(&ids).await?.into_iter();
        let less = people.filter_map(|one| Some((one.value.without_old(lines, opens)?, Some(one.version))));
        let commits = less.map(|person| Commit { people: vec![person], ..Commit::default() }).collect::<Vec<_>>();
        if !commits.is_empty() {
            self.store.save(commits).await?;
        }
        Ok(next)
    }
}

/// The position at which today's sweep continues.
fn place(key_value: &KeyValue, today: &str) -> Option<String> {
    key_value.value.strip_prefix(today)?.strip_prefix(' ').map(str::to_owned)
}
