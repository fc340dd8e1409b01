//! Scheduled rechecks: pages of people by the minute at which they are due.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::PersonId;
use stagedoor_model::Timestamp;
use stagedoor_ports::{RecheckPage, Result};

use super::{DynamoStore, pages};
use crate::dynamo::{Item, failed, in_parallel, item, text, text_of};

/// Pages that are read at once.
const PAGES: i32 = 20;
const MINUTE_MS: i64 = 60_000;

impl DynamoStore {
    /// One write for each minute with due rechecks, not one for each person.
    pub(super) async fn put_due(&self, people: &BTreeMap<PersonId, Timestamp>) -> Result<()> {
        let mut minutes = BTreeMap::<i64, Vec<PersonId>>::new();
        for (id, at) in people {
            let minute = at.as_millisecond().div_euclid(MINUTE_MS) + i64::from(at.as_millisecond() % MINUTE_MS != 0);
            minutes.entry(minute * MINUTE_MS).or_default().push(*id);
        }
        let at = |minute| Timestamp::from_millisecond(minute).unwrap_or(Timestamp::MAX);
        let put = async |minute, people: Vec<PersonId>| self.put_people("due", at(minute), &people).await;
        let calls: Vec<_> = minutes.into_iter().map(|(minute, people)| put(minute, people)).collect();
        in_parallel(calls).await.map(drop)
    }

    pub(super) async fn due_until(&self, until: Timestamp) -> Result<Vec<RecheckPage>> {
        // Keys start with the minute, so no future ones are read.
        let end = format!("{:015}#~", until.as_millisecond().max(0));
        let request = self
            .client
            .query()
            .table_name(self.table("misc"))
            .key_condition_expression("pk = :pk AND sk < :end")
            .expression_attribute_values(":pk", text("due"))
            .expression_attribute_values(":end", text(end))
            .limit(PAGES);
        let found = request.send().await.map_err(|error| failed("Query", error))?.items.unwrap_or_default();
        let page = |one: &Item| {
            let people = pages::people_of(one).into_iter().collect();
            Some(RecheckPage { key: text_of(one, "sk")?.to_owned(), people })
        };
        Ok(found.iter().filter_map(page).collect())
    }

    /// Scans the table: a caller that asks for all people pays for all of them.
    pub(super) async fn page_of_everybody(
        &self,
        after: Option<String>,
        max: usize,
    ) -> Result<(BTreeSet<PersonId>, Option<String>)> {
        let request = self
            .client
            .scan()
            .table_name(self.table("people"))
            .projection_expression("id, target")
            .limit(i32::try_from(max).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(|id| item([("id", text(id))])));
        let answer = request.send().await.map_err(|error| failed("Scan", error))?;
        let next = answer.last_evaluated_key.as_ref().and_then(|key| text_of(key, "id").map(str::to_owned));
        // People who were joined into others leave a redirect under their id.
        let living = answer.items.unwrap_or_default();
        let living = living.iter().filter(|one| !one.contains_key("target"));
        Ok((living.filter_map(|one| PersonId::parse(text_of(one, "id")?).ok()).collect(), next))
    }

    pub(super) async fn strike_due(&self, keys: Vec<String>) -> Result<()> {
        let strike = async |key: String| {
            let request = self.client.delete_item().table_name(self.table("misc"));
            let request = request.set_key(Some(item([("pk", text("due")), ("sk", text(key))])));
            request.send().await.map(drop).map_err(|error| failed("DeleteItem", error))
        };
        let calls: Vec<_> = keys.into_iter().map(strike).collect();
        in_parallel(calls).await.map(drop)
    }
}
