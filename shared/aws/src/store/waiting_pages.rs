//! The place of the pages of waiting people: four partitions of `misc`, and one partition of earlier versions. The
//! key of a page names its partition. All pages together are in the order of their keys.

use std::collections::BTreeSet;

use stagedoor_engine::PersonId;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::Result;

use super::{
    DynamoStore,
    page_keys::{OLD, PARTITIONS, now, partition_of, shard},
    pages::Page,
    shards::shards,
};
use crate::dynamo::{Item, failed, in_parallel, item, number, number_of, text, text_of};

/// Pages of one partition that the first call reads, and the largest call.
const AT_ONCE: (i32, i32) = (1, 64);
/// The largest number of pages of postponed people that one claim reads. Failed runs of people on later pages are
/// forgotten.
const RESTING: usize = 500;
/// Pages of one partition that are read at once for a count.
const TO_COUNT: i32 = 8;
/// The largest number of places of waiting people that are counted. Beyond it, the count only says that there are more.
const COUNTED: usize = 200_000;
/// Rows of one partition that are read to find the longest wait.
const LONGEST: i32 = 5;
/// After this time in milliseconds, a row without its page was left by a crash.
const LEFT_BEHIND: u64 = 3_600_000;

fn partitions() -> impl Iterator<Item = String> {
    let old = (!breakage::is_on("old-key-unread")).then(|| OLD.to_owned());
    old.into_iter().chain(shards(PARTITIONS).map(|shard| format!("{OLD}#{shard}")))
}

/// The row that keeps since when the people of a postponed page wait, by that time and the key of the page.
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
    /// Writes a page. The row with the start of the wait is written first.
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

    /// All pages of waiting people.
    pub(super) async fn waiting(&self) -> Result<Vec<Page>> {
        let all: Vec<String> = partitions().collect();
        let query = async |pk: &String| self.query("misc", None, ("pk", pk), usize::MAX, false).await;
        let calls: Vec<_> = all.iter().map(query).collect();
        Ok(in_order(in_parallel(calls).await?.iter().flatten().map(Page::of).collect()))
    }

    /// The first pages that name `max` people who may be taken at `now`, or all pages if they name fewer. A person who
    /// is also on a later page gets one more run.
    pub(super) async fn waiting_for(&self, max: usize, now: Option<Timestamp>) -> Result<Vec<Page>> {
        if breakage::is_on("dirty-read-whole") {
            return self.waiting().await;
        }
        let (mut all, mut pages, mut limit) = (all_partitions(), Vec::<Page>::new(), AT_ONCE.0);
        loop {
            pages.extend(self.read_on(&mut all, limit).await?);
            // All pages before the end of every partition are known.
            let end = all.iter().filter(|one| !one.is_over).map(|one| one.last.as_str()).min();
            let end = end.filter(|_| !breakage::is_on("shards-in-any-order"));
            let known = |page: &&Page| end.is_none_or(|end| page.key.as_str() <= end);
            let (ready, resting): (Vec<&Page>, Vec<&Page>) = pages.iter().partition(|page| page.is_ready(now));
            let ready: BTreeSet<PersonId> =
                ready.into_iter().filter(known).flat_map(|page| &page.people).map(|(id, _)| *id).collect();
            // Postponed people come after all others.
            if all.iter().all(|one| one.is_over) || ready.len() >= max || resting.len() >= RESTING {
                return Ok(in_order(pages));
            }
            limit = (limit * 2).min(AT_ONCE.1);
        }
    }

    /// Pages up to the largest count, and the time since which the longest waiting person waits.
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

    /// The start of the longest wait among pages that are out of order.
    pub(super) async fn longest_wait(&self) -> Result<Option<i64>> {
        let all: Vec<String> = shards(PARTITIONS).map(|shard| format!("since#{shard}")).collect();
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

    /// The present pages with these keys, without those that are gone.
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
