//! Reading the journal, for people who look.

use std::collections::BTreeSet;

use stagedoor_engine::PersonId;
use stagedoor_ports::{JournalRow, Result};

use crate::{
    dynamo::{Item, failed, number_of, text_of},
    store::{DynamoStore, parsed},
};

fn newest(mut items: Vec<Item>, max: usize) -> Result<Vec<JournalRow>> {
    items.sort_by(|a, b| text_of(b, "seq").cmp(&text_of(a, "seq")));
    items.iter().take(max).map(|one| parsed(one, "row")).collect()
}

impl DynamoStore {
    /// The latest rows, day by day back from the last that has any.
    pub(super) async fn latest(&self, max: usize) -> Result<Vec<JournalRow>> {
        let mut days = BTreeSet::new();
        let mut start = None;
        // Days are few; only their names are read.
        loop {
            let request = self
                .client
                .scan()
                .table_name(self.table("journal"))
                .index_name("by_day")
                .projection_expression("#day")
                .expression_attribute_names("#day", "day")
                .set_exclusive_start_key(start);
            let answer = request.send().await.map_err(|error| failed("Scan", error))?;
            let items = answer.items.unwrap_or_default();
            days.extend(items.iter().filter_map(|one| text_of(one, "day").map(str::to_owned)));
            start = answer.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        let mut items = Vec::new();
        for day in days.iter().rev() {
            items.extend(self.query("journal", Some("by_day"), ("day", day), max - items.len(), true).await?);
            if items.len() >= max {
                break;
            }
        }
        newest(items, max)
    }

    pub(super) async fn rows_of(&self, people: &BTreeSet<PersonId>) -> Result<Vec<JournalRow>> {
        let mut items = Vec::new();
        for id in people {
            items
                .extend(self.query("journal", Some("by_person"), ("person", &id.to_string()), usize::MAX, true).await?);
        }
        newest(items, usize::MAX)
    }

    pub(super) async fn deals(&self) -> Result<u64> {
        let (mut total, mut start) = (0, None);
        loop {
            let request = self.client.scan().table_name(self.table("links")).projection_expression("deals");
            let answer = request.set_exclusive_start_key(start).send().await.map_err(|error| failed("Scan", error))?;
            total += answer.items.unwrap_or_default().iter().filter_map(|one| number_of(one, "deals")).sum::<u64>();
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(total);
            }
        }
    }
}
