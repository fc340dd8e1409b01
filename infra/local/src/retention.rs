//! The nightly sweep of the hub on one machine: what is older than `[retention]` says goes.

use std::{sync::Arc, time::Duration};

use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{Commit, PortError};

use crate::hub::Hub;

/// The day of the last sweep.
const SWEPT: &str = "retention/swept";
/// From this hour on, UTC: early in the morning in Europe, before the office opens in Vladivostok.
const HOUR: i64 = 1;
/// People that are looked at together.
const PART: usize = 200;
/// Between two looks at the clock.
const LOOK: Duration = Duration::from_secs(600);

/// Removes what is too old, once a night; the number of rows. `None` if this night's sweep was made, or it is not yet time.
///
/// # Errors
/// When the files cannot be read or written.
pub async fn sweep(hub: &Hub) -> Result<Option<u64>, PortError> {
    let now = hub.sync.clock.now();
    let (today, last) = (now.strftime("%F").to_string(), hub.store.cell(SWEPT).await?);
    let hour = now.as_second().div_euclid(3_600).rem_euclid(24);
    if breakage::is_on("nothing-grows-old") || hour < HOUR || last.as_ref().is_some_and(|cell| cell.value == today) {
        return Ok(None);
    }
    let retention = hub.config.retention;
    people_forget(hub, retention.conversations.map(|kept| now - kept), retention.clicks.map(|kept| now - kept)).await?;
    let removed = hub.store.sweep(now - retention.journal, retention.unrecognized.map(|kept| now - kept)).await?;
    hub.store.put_cell(SWEPT, &today, last.map(|cell| cell.version)).await?;
    Ok(Some(removed))
}

/// Old lines of chats and old looks at links go. A person who changes meanwhile is looked at the next night.
async fn people_forget(hub: &Hub, lines: Option<Timestamp>, opens: Option<Timestamp>) -> Result<(), PortError> {
    if lines.is_none() && opens.is_none() {
        return Ok(());
    }
    let mut after = None;
    loop {
        let (ids, next) = hub.store.everybody(after, PART).await?;
        let people = hub.store.load(&ids).await?.into_iter();
        let less = people.filter_map(|one| Some((one.value.without_old(lines, opens)?, Some(one.version))));
        let commits = less.map(|person| Commit { people: vec![person], ..Commit::default() }).collect::<Vec<_>>();
        if !commits.is_empty() {
            hub.store.save(commits).await?;
        }
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Sweeps each night, until the process ends.
pub(crate) async fn every_night(hub: Arc<Hub>) {
    loop {
        match sweep(&hub).await {
            Ok(Some(rows)) => tracing::info!(rows, "what was too old was removed"),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "what is too old could not be removed"),
        }
        tokio::time::sleep(LOOK).await;
    }
}
