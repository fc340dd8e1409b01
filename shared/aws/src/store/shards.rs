//! Keys that many processes write at once. DynamoDB takes 1,000 units a second on one key. So each such key is spread
//! over shards, by a hash of what is written. Readers read all shards, and the single key of earlier versions.

use aws_sdk_dynamodb::types::Select;
use sha2::{Digest, Sha256};
use stagedoor_model::breakage;
use stagedoor_ports::Result;

use super::{DynamoStore, unique};
use crate::dynamo::{Item, failed, in_parallel, item, number, text, text_of};

pub(super) const SHARDS: u8 = 16;

/// The shard of this text, among so many.
pub(super) fn shard_of(name: &str, shards: u8) -> String {
    let hash = Sha256::digest(name).first().copied().unwrap_or(0);
    if breakage::is_on("one-shard") { "00".into() } else { format!("{:02}", hash % shards) }
}

pub(super) fn shards(count: u8) -> impl Iterator<Item = String> {
    (0..count).map(|shard| format!("{shard:02}"))
}

/// The keys of a sparse index; `yes` is the key of earlier versions.
fn index_keys() -> impl Iterator<Item = String> {
    let old = (!breakage::is_on("old-key-unread")).then(|| "yes".to_owned());
    old.into_iter().chain(shards(SHARDS))
}

fn totals_key(partition: String) -> Item {
    item([("pk", text(partition)), ("sk", text("all"))])
}

/// Counts since the hub started.
#[derive(Default)]
pub(super) struct Counted {
    pub events: u64,
    pub people: u64,
    pub deals: u64,
}

impl DynamoStore {
    /// Adds to the counters that people look at. A crash may make them wrong by one batch; no decision depends on them.
    pub(super) async fn count_up(&self, events: i64, people: i64, deals: i64) -> Result<()> {
        if (events, people, deals) == (0, 0, 0) {
            return Ok(());
        }
        let request = self
            .client
            .update_item()
            .table_name(self.table("misc"))
            .set_key(Some(totals_key(format!("totals#{}", shard_of(&unique(), SHARDS)))))
            .update_expression("ADD events :events, people :people, deals :deals")
            .expression_attribute_values(":events", number(events))
            .expression_attribute_values(":people", number(people))
            .expression_attribute_values(":deals", number(deals));
        request.send().await.map(drop).map_err(|error| failed("UpdateItem", error))
    }

    pub(super) async fn counted(&self) -> Result<Counted> {
        let old = (!breakage::is_on("old-key-unread")).then(|| "totals".to_owned());
        let keys = old.into_iter().chain(shards(SHARDS).map(|shard| format!("totals#{shard}"))).map(totals_key);
        let found = self.get("misc", keys.collect()).await?;
        // A single shard may be negative.
        let sum = |name: &str| -> u64 {
            let values = found.iter().filter_map(|one| one.get(name)?.as_n().ok()?.parse::<i64>().ok());
            u64::try_from(values.sum::<i64>()).unwrap_or(0)
        };
        Ok(Counted { events: sum("events"), people: sum("people"), deals: sum("deals") })
    }

    /// The first rows of a sparse index by its sort key, or the last.
    pub(super) async fn indexed(
        &self,
        (table, index, key, order): (&str, &str, &str, &str),
        max: usize,
        newest: bool,
    ) -> Result<Vec<Item>> {
        let shards: Vec<String> = index_keys().collect();
        let query = async |shard: &String| self.query(table, Some(index), (key, shard), max, newest).await;
        let calls: Vec<_> = shards.iter().map(query).collect();
        let mut found: Vec<Item> = in_parallel(calls).await?.into_iter().flatten().collect();
        found.sort_by(|a, b| {
            let (a, b) = (text_of(a, order), text_of(b, order));
            if newest { b.cmp(&a) } else { a.cmp(&b) }
        });
        found.truncate(max);
        Ok(found)
    }

    /// The number of rows in a sparse index. One megabyte of each shard is read, about ten thousand rows.
    pub(super) async fn count(&self, table: &str, index: &str, key: &str) -> Result<u64> {
        let shards: Vec<String> = index_keys().collect();
        let count = async |shard: &String| {
            let request = self
                .client
                .query()
                .table_name(self.table(table))
                .index_name(index)
                .select(Select::Count)
                .key_condition_expression("#key = :shard")
                .expression_attribute_names("#key", key)
                .expression_attribute_values(":shard", text(shard.as_str()));
            let answer = request.send().await.map_err(|error| failed("Query", error))?;
            Ok(u64::try_from(answer.count).unwrap_or(0))
        };
        let calls: Vec<_> = shards.iter().map(count).collect();
        Ok(in_parallel(calls).await?.into_iter().sum())
    }
}
