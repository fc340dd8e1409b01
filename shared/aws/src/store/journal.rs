//! The journal: one row for each event, found by id, by a person's trail, and by pages of a time.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use stagedoor_engine::PersonId;
use stagedoor_model::{EventId, Timestamp, breakage};
use stagedoor_ports::{JournalRow, Outcome, PortError, Result};

use crate::{
    dynamo::{Item, failed, in_parallel, item, text, text_of},
    store::{
        DynamoStore, Retention, expires, journal_key, packed,
        shards::{SHARDS, shard_of},
        unpacked,
    },
};

/// The largest number of rows in one call (DynamoDB, BatchWriteItem).
const ROWS: usize = 25;
/// Pages that are read at once.
const PAGES: usize = 100;

fn row_item(row: &JournalRow, retention: Retention) -> Result<Item> {
    let mut one = item([("id", text(hex::encode(journal_key(&row.event.id)))), ("row", packed(row)?)]);
    if row.outcome == Outcome::Unrecognized {
        one.insert("kept".into(), text(shard_of(row.event.id.as_str(), SHARDS)));
        one.insert("seq".into(), text(format!("{:015} {}", row.folded_at.as_millisecond(), row.event.id)));
        one.extend(retention.kept.map(|kept| expires(row.folded_at + kept)).map(|(name, end)| (name.to_owned(), end)));
    } else {
        one.extend(item([expires(row.folded_at + retention.journal)]));
    }
    Ok(one)
}

/// Each row once, because two pages may name the same row.
fn newest_first(mut rows: Vec<JournalRow>) -> Vec<JournalRow> {
    rows.sort_by(|a, b| (b.folded_at, b.event.time, &b.event.id).cmp(&(a.folded_at, a.event.time, &a.event.id)));
    rows.dedup_by(|a, b| a.event.id == b.event.id);
    rows
}

impl DynamoStore {
    pub(super) async fn write_journal(&self, rows: Vec<&JournalRow>) -> Result<()> {
        // One call may name an item only once.
        let rows: BTreeMap<&EventId, &JournalRow> = rows.into_iter().map(|row| (&row.event.id, row)).collect();
        let rows: Vec<&JournalRow> = rows.into_values().collect();
        let calls: Vec<_> = rows.chunks(ROWS).map(|chunk| self.write_rows(chunk)).collect();
        in_parallel(calls).await.map(drop)
    }

    async fn write_rows(&self, rows: &[&JournalRow]) -> Result<()> {
        let put = |row: &&JournalRow| {
            let put = PutRequest::builder().set_item(Some(row_item(row, self.retention)?)).build();
            let put = put.map_err(|error| PortError::Fail(error.to_string()))?;
            Ok(WriteRequest::builder().put_request(put).build())
        };
        let mut left: Vec<WriteRequest> = rows.iter().map(put).collect::<Result<_>>()?;
        for attempt in 0..6 {
            let request = self.client.batch_write_item().request_items(self.table("journal"), left);
            let answer = request.send().await.map_err(|error| failed("BatchWriteItem", error))?;
            left = answer.unprocessed_items.unwrap_or_default().into_values().flatten().collect();
            if left.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20 << attempt)).await;
        }
        Err(PortError::Retry("DynamoDB BatchWriteItem: it did not take every row".into()))
    }

    pub(super) async fn rows(&self, keys: impl Iterator<Item = String>) -> Result<Vec<JournalRow>> {
        let unique: BTreeSet<String> = keys.collect();
        let keys = unique.into_iter().map(|key| item([("id", text(key))])).collect();
        let found = self.get("journal", keys).await?;
        let mut rows = Vec::new();
        for one in &found {
            match unpacked(one, "row") {
                Ok(row) => rows.push(row),
                Err(error) => {
                    let id = text_of(one, "id").unwrap_or("");
                    self.note_unreadable("event", id, &error.to_string(), super::page_keys::now()).await?;
                }
            }
        }
        Ok(newest_first(rows))
    }

    /// The latest rows, page by page from the last one backwards.
    pub(super) async fn latest(&self, max: usize) -> Result<Vec<JournalRow>> {
        let (mut rows, mut start) = (Vec::new(), None);
        // Rows of a page may be gone: their person was erased, or they were forgotten.
        loop {
            let request = self
                .client
                .query()
                .table_name(self.table("misc"))
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", text("journal"))
                .scan_index_forward(false)
                .limit(max.clamp(1, PAGES) as i32)
                .set_exclusive_start_key(start);
            let answer = request.send().await.map_err(|error| failed("Query", error))?;
            for page in answer.items.unwrap_or_default() {
                rows.extend(self.rows_of_page(&page).await?);
                // An event that was folded again is on two pages.
                rows = newest_first(rows);
                if rows.len() >= max {
                    rows.truncate(max);
                    return Ok(rows);
                }
            }
            start = answer.last_evaluated_key;
            if start.is_none() || breakage::is_on("journal-stops-at-the-erased") {
                return Ok(rows);
            }
        }
    }

    async fn rows_of_page(&self, page: &Item) -> Result<Vec<JournalRow>> {
        let ids: Vec<EventId> = unpacked(page, "events")?;
        self.rows(ids.iter().map(|id| hex::encode(journal_key(id)))).await
    }

    /// Rows folded in `from..until`, the oldest first. The second part of the answer is the next `from`.
    pub(super) async fn rows_between(
        &self,
        from: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Result<(Vec<JournalRow>, Option<Timestamp>)> {
        let key = |at: Timestamp| text(format!("{:015}", at.as_millisecond().max(0)));
        let mut rows = Vec::new();
        let (mut start, mut last) = (None, from);
        loop {
            let request = self
                .client
                .query()
                .table_name(self.table("misc"))
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :until")
                .expression_attribute_values(":pk", text("journal"))
                .expression_attribute_values(":from", key(from))
                .expression_attribute_values(":until", key(until))
                .limit(10)
                .set_exclusive_start_key(start);
            let answer = request.send().await.map_err(|error| failed("Query", error))?;
            for page in answer.items.unwrap_or_default() {
                let at = text_of(&page, "sk").and_then(|sk| sk.split_once('#')?.0.parse::<i64>().ok());
                let at = at.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(last);
                // Pages of one instant stay together.
                if rows.len() >= max && at > last {
                    return Ok((oldest_first(rows), Some(at)));
                }
                last = at;
                rows.extend(self.rows_of_page(&page).await?);
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok((oldest_first(rows), None));
            }
        }
    }

    pub(super) async fn rows_of(&self, people: &BTreeSet<PersonId>) -> Result<Vec<JournalRow>> {
        self.rows(self.trails(people).await?.into_iter()).await
    }
}

fn oldest_first(rows: Vec<JournalRow>) -> Vec<JournalRow> {
    let mut rows = newest_first(rows);
    rows.reverse();
    rows
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use stagedoor_ports::testing::newcomer;

    use super::*;

    #[test]
    fn rows_end_after_the_time_of_the_config() {
        let row = newcomer(1).1.journal.into_iter().next().expect("a row");
        let kept = JournalRow { outcome: Outcome::Unrecognized, ..row.clone() };
        let days = |days: i64| SignedDuration::from_hours(24 * days);
        let end = |row: &JournalRow, retention: Retention| {
            let value = row_item(row, retention).expect("an item").remove("expires")?;
            value.as_n().ok()?.parse::<i64>().ok().map(|second| second - row.folded_at.as_second())
        };
        let both = Retention { journal: days(60), kept: Some(days(90)) };
        assert_eq!((end(&row, both), end(&kept, both)), (Some(60 * 86_400), Some(90 * 86_400)));
        assert_eq!(end(&kept, Retention::default()), None, "what waits for its parser does not end");
    }
}
