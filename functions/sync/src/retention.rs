//! The nightly sweep: what is older than `[retention]` says goes. It is made in parts, so that an invocation that ends early, or a
//! process that dies, goes on where it was.

use std::time::Duration;

use jiff::SignedDuration;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{Commit, KeyValue, Result};
use tokio::time::Instant;

use crate::Sync;

/// The day of the last sweep; while one is under way, also the place where it goes on.
const SWEPT: &str = "retention/swept";
/// From this hour on, UTC: early in the morning in Europe, before the office opens in Vladivostok.
const HOUR: i64 = 1;
/// People that are looked at together.
const PART: usize = 200;

/// How long what was told is kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub journal: SignedDuration,
    /// `None`: until it is understood.
    pub unrecognized: Option<SignedDuration>,
    /// Lines of chats. `None`: as many as a person keeps anyhow.
    pub conversations: Option<SignedDuration>,
    /// When links were opened. `None`: for good.
    pub clicks: Option<SignedDuration>,
}

impl Sync {
    /// Removes what is too old, once a night, for at most this long; the number of journal rows that the store removed. `None` if
    /// it is not time, this night's sweep is made, or more of it is left for the next call.
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
                // Another process sweeps, too: it goes on from here or from where it is.
                self.store.compare_and_set(SWEPT, &format!("{today} {next}"), version).await?;
                return Ok(None);
            }
        }
        let removed = self.store.sweep(now - retention.journal, retention.unrecognized.map(|kept| now - kept)).await?;
        self.store.compare_and_set(SWEPT, &today, version).await?;
        Ok(Some(removed))
    }

    /// Old lines of chats and old looks at links go. A person who changes meanwhile is looked at the next night.
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

/// Where today's sweep goes on.
fn place(key_value: &KeyValue, today: &str) -> Option<String> {
    key_value.value.strip_prefix(today)?.strip_prefix(' ').map(str::to_owned)
}
