//! Offset of the server's clock from UTC. The webservice gives times without a zone, in the zone of the installation
//! (UTC by default). A row that the hub has just written carries the present time, so it reveals the offset.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::{SignedDuration, tz::TimeZone};
use serde_json::Value;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{KeyValues, Store};
use tokio::sync::OnceCell;

/// Offsets of zones are multiples of this, in seconds.
const STEP: i64 = 15 * 60;
/// Allowed difference in seconds: the time between the server's write and its answer, and the difference of the two
/// clocks.
const SLACK: i64 = 120;
/// The greatest offset of a zone, in seconds.
const MOST: i64 = 14 * 3_600;

pub(super) struct ServerClock {
    store: Arc<dyn KeyValues>,
    key_value: String,
    /// Seconds east of UTC.
    offset: AtomicI64,
    recalled: OnceCell<()>,
}

impl ServerClock {
    /// Creates the clock of the installation at this address.
    pub fn new(store: &Arc<dyn Store>, base_url: &str) -> Self {
        let host = base_url.split_once("://").map_or(base_url, |(_, host)| host).trim_end_matches('/');
        let key_value = format!("crm/server-clock/{host}");
        Self { store: store.clone(), key_value, offset: AtomicI64::new(0), recalled: OnceCell::new() }
    }

    /// Reads the offset that an earlier process measured, once. If it cannot be read, the next write measures it again.
    pub async fn recall(&self) {
        let read = async || {
            let key_value = self.store.key_value(&self.key_value).await.ok().flatten();
            if let Some(offset) = key_value.and_then(|key_value| key_value.value.parse().ok()) {
                self.offset.store(offset, Ordering::Relaxed);
            }
        };
        self.recalled.get_or_init(read).await;
    }

    /// Measures the offset from the answer to a write.
    pub async fn measure(&self, written: &Value, now: Timestamp) {
        let told = written.get("modifiedtime").and_then(Value::as_str);
        let Some(offset) = told.and_then(|text| offset_of(text, now)) else { return };
        if breakage::is_on("server-clock-is-utc") || self.offset.swap(offset, Ordering::Relaxed) == offset {
            return;
        }
        tracing::info!(offset, "the CRM's clock is so many seconds east of UTC");
        let kept = async {
            let version = self.store.key_value(&self.key_value).await?.map(|key_value| key_value.version);
            self.store.compare_and_set(&self.key_value, &offset.to_string(), version).await
        };
        if let Err(error) = kept.await {
            tracing::warn!(%error, "the offset of the CRM's clock could not be kept");
        }
    }

    fn offset(&self) -> SignedDuration {
        SignedDuration::from_secs(self.offset.load(Ordering::Relaxed))
    }

    /// A time in a row, converted to UTC.
    pub fn time(&self, row: &Value, field: &str) -> Option<Timestamp> {
        read(row.get(field)?.as_str()?)?.checked_sub(self.offset()).ok()
    }

    /// A time in the server's format and zone.
    pub fn text(&self, at: Timestamp) -> String {
        let there = at.checked_add(self.offset()).unwrap_or(at);
        there.to_zoned_datetime(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

/// Reads a time as if the server's zone were UTC.
fn read(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::civil::DateTime>().ok()?.to_zoned_datetime(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// The offset of a server that writes `text` at `now`. `None` if no zone has such an offset.
fn offset_of(text: &str, now: Timestamp) -> Option<i64> {
    let ahead = read(text)?.as_second() - now.as_second();
    let offset = (ahead + STEP / 2).div_euclid(STEP) * STEP;
    ((ahead - offset).abs() <= SLACK && offset.abs() <= MOST).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_what_a_zone_can_have() {
        let now: Timestamp = "2026-11-24T13:26:13.8Z".parse().expect("a time");
        for (text, offset) in [
            ("2026-11-24 13:26:12", Some(0)),
            ("2026-11-24 16:26:13", Some(10_800)),
            ("2026-11-24 09:56:20", Some(-12_600)),
            ("2026-11-24 13:19:00", None),
            ("2036-11-24 13:26:13", None),
            ("0000-00-00 00:00:00", None),
        ] {
            assert_eq!(offset_of(text, now), offset, "{text}");
        }
    }
}
