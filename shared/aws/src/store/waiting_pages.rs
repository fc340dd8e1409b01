//! Where the pages of those who wait lie: in sixteen partitions of `misc`, and, where an earlier version wrote them, in one.
//! The key of a page says in which. Pages of all partitions together are in the order of their keys.

use std::collections::BTreeSet;

use stagedoor_engine::PersonId;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::Result;

use super::{
    DynamoStore,
    pages::{Page, now, page_key},
    shards::{shard_of, shards},
};
use crate::dynamo::{Item, failed, in_parallel, item, number, number_of, text, text_of};

/// The partition of earlier versions.
const OLD: &str = "dirty";
/// Pages of one partition that the first call and the largest call read.
const AT_ONCE: (i32, i32) = (1, 64);
/// Pages of people who rest that a round reads at most. What failed before is forgotten for those on further ones.
const RESTING: usize = 500;
/// Pages of one partition that are read at once to be counted.
const TO_COUNT: i32 = 8;
/// Places of people who wait that are counted; of more it is known that there are more.
const COUNTED: usize = 200_000;
/// Rows of one partition that are looked at for the longest wait.
const LONGEST: i32 = 5;
/// After this time, in milliseconds, a row without its page is what a crash left.
const LEFT_BEHIND: u64 = 3_600_000;

/// The key of a new page of those who wait: what follows the last `#` names the partition.
pub(super) fn waiting_key(at: Timestamp) -> String {
    let key = page_key(at);
    let shard = shard_of(&key);
    if breakage::is_on("waiting-under-one-key") { key } else { format!("{key}#{shard}") }
}

/// The shard of a page; pages of earlier versions have none.
fn shard(key: &str) -> Option<&str> {
    let mut parts = key.split('#').skip(2);
    parts.next()
}

pub(super) fn partition_of(key: &str) -> String {
    shard(key).map_or_else(|| OLD.to_owned(), |shard| format!("{OLD}#{shard}"))
}

fn partitions() -> impl Iterator<Item = String> {
    let old = (!breakage::is_on("old-key-unread")).then(|| OLD.to_owned());
    old.into_iter().chain(shards().map(|shard| format!("{OLD}#{shard}")))
}

/// Since when the people of a page wait that is out of that order, by the time and the key of the page.
fn since_row(page: &Page) -> Option<Item> {
    let since = page.why.since.filter(|_| page.why.not_before.is_some())?;
    let shard = shard(&page.key)?;
    let key = item([("pk", text(format!("since#{shard}"))), ("sk", text(format!("{since:015}#{}", page.key)))]);
    (!breakage::is_on("longest-wait-by-place")).then_some(key)
}

/// How far one partition was read.
struct Reading {
    partition: String,
    start: Option<Item>,
    last: String,
    is_over: bool,
}

fn all_partitions() -> Vec<Reading> {
    let reading = |partition| Reading { partition, start: None, last: String::new(), is_over: false };
    partitions().map(reading).collect()
}

impl DynamoStore {
    /// Writes a page anew. What says since when its people wait is written first.
    pub(super) async fn put_page(&self, page: Page) -> Result<()> {
        if let Some(mut row) = since_row(&page) {
            row.extend(item([("at", number(now().as_millisecond()))]));
            self.put_misc(row).await?;
        }
        self.put_misc(page.item(&page.people)).await
    }

    pub(super) async fn remove_page(&self, page: &Page) -> Result<()> {
        let key = item([("pk", text(partition_of(&page.key))), ("sk", text(page.key.as_str()))]);
        self.remove("misc", key).await?;
        match since_row(page) {
            Some(row) => self.remove("misc", row).await,
            None => Ok(()),
        }
    }

    /// All pages of those who wait.
    pub(super) async fn waiting(&self) -> Result<Vec<Page>> {
        let all: Vec<String> = partitions().collect();
        let query = async |pk: &String| self.query("misc", None, ("pk", pk), usize::MAX, false).await;
        let calls: Vec<_> = all.iter().map(query).collect();
        Ok(in_order(in_parallel(calls).await?.iter().flatten().map(Page::of).collect()))
    }

    /// The first pages that name `max` people who may be taken at `now`, or all pages where they name fewer. Somebody who is on
    /// a later page, too, is looked at once more.
    pub(super) async fn waiting_for(&self, max: usize, now: Option<Timestamp>) -> Result<Vec<Page>> {
        if breakage::is_on("dirty-read-whole") {
            return self.waiting().await;
        }
        let (mut all, mut pages, mut limit) = (all_partitions(), Vec::<Page>::new(), AT_ONCE.0);
        loop {
            pages.extend(self.read_on(&mut all, limit).await?);
            // What comes before the end of every partition is known.
            let end = all.iter().filter(|one| !one.is_over).map(|one| one.last.as_str()).min();
            let end = end.filter(|_| !breakage::is_on("shards-in-any-order"));
            let known = |page: &&Page| end.is_none_or(|end| page.key.as_str() <= end);
            let (ready, resting): (Vec<&Page>, Vec<&Page>) = pages.iter().partition(|page| page.is_ready(now));
            let ready: BTreeSet<PersonId> =
                ready.into_iter().filter(known).flat_map(|page| &page.people).map(|(id, _)| *id).collect();
            // Who rests lies behind all who do not.
            if all.iter().all(|one| one.is_over) || ready.len() >= max || resting.len() >= RESTING {
                return Ok(in_order(pages));
            }
            limit = (limit * 2).min(AT_ONCE.1);
        }
    }

    /// Pages until they name so many people that no more are counted, and since when the longest waiting of all wait.
    pub(super) async fn waiting_to_count(&self) -> Result<(Vec<Page>, Option<i64>)> {
        let (mut all, mut pages) = (all_partitions(), Vec::<Page>::new());
        loop {
            pages.extend(self.read_on(&mut all, TO_COUNT).await?);
            let since = pages.iter().map(Page::since).min();
            if all.iter().all(|one| one.is_over) {
                return Ok((pages, since));
            }
            let places: usize = pages.iter().map(|page| page.people.len()).sum();
            if places >= COUNTED && !breakage::is_on("waiting-read-whole") {
                let longest = self.longest_wait().await?;
                return Ok((pages, since.into_iter().chain(longest).min()));
            }
        }
    }

    /// Since when the longest waiting of those wait whose pages are out of order.
    async fn longest_wait(&self) -> Result<Option<i64>> {
        let all: Vec<String> = shards().map(|shard| format!("since#{shard}")).collect();
        let read = async |pk: &String| {
            let request = self.client.query().table_name(self.table("misc"));
            let request = request.key_condition_expression("pk = :pk").expression_attribute_values(":pk", text(pk));
            let answer = request.limit(LONGEST).send().await.map_err(|error| failed("Query", error))?;
            Ok(answer.items.unwrap_or_default())
        };
        let calls: Vec<_> = all.iter().map(read).collect();
        let rows: Vec<Item> = in_parallel(calls).await?.into_iter().flatten().collect();
        let named = |row: &Item| {
            let (since, key) = text_of(row, "sk")?.split_once('#')?;
            Some((since.parse::<i64>().ok()?, key.to_owned()))
        };
        let keys = rows.iter().filter_map(named).map(|(_, key)| misc_key(&key)).collect();
        let found = self.get_only("misc", keys, "pk, sk").await?;
        let there: BTreeSet<&str> = found.iter().filter_map(|one| text_of(one, "sk")).collect();
        let (mut longest, now) = (None::<i64>, now().as_millisecond().unsigned_abs());
        for row in &rows {
            let Some((since, key)) = named(row) else { continue };
            if there.contains(key.as_str()) {
                longest = Some(longest.map_or(since, |known| known.min(since)));
            } else if number_of(row, "at").is_none_or(|at| at + LEFT_BEHIND < now) {
                let own = ["pk", "sk"].map(|name| (name, text(text_of(row, name).unwrap_or(""))));
                self.remove("misc", item(own)).await?;
            }
        }
        Ok(longest)
    }

    /// The next pages of each partition that was not read to its end.
    async fn read_on(&self, all: &mut [Reading], limit: i32) -> Result<Vec<Page>> {
        let calls: Vec<_> = all.iter_mut().filter(|one| !one.is_over).map(|one| self.read_next(one, limit)).collect();
        Ok(in_parallel(calls).await?.into_iter().flatten().collect())
    }

    async fn read_next(&self, reading: &mut Reading, limit: i32) -> Result<Vec<Page>> {
        let request = self
            .client
            .query()
            .table_name(self.table("misc"))
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(reading.partition.as_str()))
            .limit(limit)
            .set_exclusive_start_key(reading.start.take());
        let answer = request.send().await.map_err(|error| failed("Query", error))?;
        let pages: Vec<Page> = answer.items.unwrap_or_default().iter().map(Page::of).collect();
        if let Some(last) = pages.last() {
            reading.last.clone_from(&last.key);
        }
        reading.start = answer.last_evaluated_key;
        reading.is_over = reading.start.is_none();
        Ok(pages)
    }

    /// Pages as they are now, without those that are gone.
    pub(super) async fn pages_named(&self, keys: BTreeSet<&str>) -> Result<Vec<Page>> {
        let keys = keys.into_iter().map(misc_key).collect();
        Ok(in_order(self.get("misc", keys).await?.iter().map(Page::of).collect()))
    }
}

fn misc_key(key: &str) -> Item {
    item([("pk", text(partition_of(key))), ("sk", text(key))])
}

fn in_order(mut pages: Vec<Page>) -> Vec<Page> {
    pages.sort_by(|a, b| a.key.cmp(&b.key));
    pages
}
