//! Keys of pages, and the partitions that they name.

use stagedoor_model::{Timestamp, breakage};

use super::{shards::shard_of, unique};

/// The partition of earlier versions.
pub(super) const OLD: &str = "dirty";
/// Four partitions take 4,000 units a second. Each look reads all of them, so there are no more.
pub(super) const PARTITIONS: u8 = 4;

/// A key of fixed length, so that keys are in the order of time. No other page has the same key, so that removing an
/// old page removes no new one.
pub(super) fn page_key(at: Timestamp) -> String {
    format!("{:015}#{}", at.as_millisecond(), unique())
}

pub(super) fn now() -> Timestamp {
    stagedoor_ports::Clock::now(&stagedoor_ports::SystemClock)
}

/// The key of a new page of waiting people. The text after the last `#` names the partition.
pub(super) fn waiting_key(at: Timestamp) -> String {
    let key = page_key(at);
    let shard = shard_of(&key, PARTITIONS);
    if breakage::is_on("waiting-under-one-key") { key } else { format!("{key}#{shard}") }
}

/// The shard of a page. Pages of earlier versions have none.
pub(super) fn shard(key: &str) -> Option<&str> {
    let mut parts = key.split('#').skip(2);
    parts.next()
}

pub(super) fn partition_of(key: &str) -> String {
    shard(key).map_or_else(|| OLD.to_owned(), |shard| format!("{OLD}#{shard}"))
}
