//! A person's trail: the keys of their journal rows. The latest keys are in the person's head. A long trail is moved to
//! pages of `misc`, so that no head grows with the age of the hub.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    primitives::Blob,
    types::{AttributeValue, ReturnValue},
};
use stagedoor_engine::PersonId;
use stagedoor_model::breakage;
use stagedoor_ports::{Commit, Result};

use super::{DynamoStore, KEEP, commit::busy_update, expires, journal_key, page_keys, person_keys, unique};
use crate::dynamo::{Item, failed, held, in_parallel, item, text, text_of};

/// The largest number of keys in a head, twelve bytes each. Every write of the person pays for these three kilobytes.
const LONG: usize = 256;
/// The largest number of keys on one page.
const PAGE: usize = 4_096;
/// The size of a key in bytes.
const KEY: usize = 12;

fn partition(id: &str) -> String {
    format!("trail#{id}")
}

fn of_head(head: &Item) -> &[Blob] {
    match head.get("trail") {
        Some(AttributeValue::Bs(keys)) => keys,
        _ => &[],
    }
}

fn of_page(page: &Item) -> impl Iterator<Item = String> {
    let keys = page.get("trail").and_then(|value| value.as_b().ok()).map(|blob| blob.as_ref()).unwrap_or_default();
    keys.chunks_exact(KEY).map(hex::encode)
}

impl DynamoStore {
    /// Adds rows about people whom the commit leaves unchanged. False: one of them is not stored, or a transaction is
    /// writing them.
    pub(super) async fn add_to_trails(&self, commit: &Commit) -> Result<bool> {
        if breakage::is_on("rows-of-unchanged-in-no-trail") {
            return Ok(true);
        }
        let mut trails = BTreeMap::<PersonId, BTreeSet<[u8; KEY]>>::new();
        for (id, row) in commit.rows_of_others() {
            trails.entry(id).or_default().insert(journal_key(&row.event.id));
        }
        let calls: Vec<_> = trails.into_iter().map(|(id, keys)| self.add_to_trail(id, keys)).collect();
        Ok(in_parallel(calls).await?.into_iter().all(|is_stored| is_stored))
    }

    async fn add_to_trail(&self, id: PersonId, keys: BTreeSet<[u8; KEY]>) -> Result<bool> {
        let keys = keys.into_iter().map(Blob::new).collect();
        let request = self
            .client
            .update_item()
            .table_name(self.table("people"))
            .key("id", text(id.to_string()))
            .update_expression("ADD trail :trail")
            // A person who was joined into another keeps their trail, too.
            .condition_expression("attribute_exists(version) OR attribute_exists(target)")
            .expression_attribute_values(":trail", AttributeValue::Bs(keys))
            .return_values(ReturnValue::AllNew);
        let head = match request.send().await {
            Ok(answer) => answer.attributes.unwrap_or_default(),
            Err(error) if error.as_service_error().is_some_and(busy_update) => return Ok(false),
            Err(error) => return Err(failed("UpdateItem", error)),
        };
        if let Err(error) = self.page_trail(&head).await {
            tracing::warn!(%error, "a long trail was not moved to pages; the next writing does it");
        }
        Ok(true)
    }

    /// Moves a long trail from the head to pages. The page is written first: after a crash, both have the keys, and
    /// they are read once.
    pub(super) async fn page_trail(&self, head: &Item) -> Result<()> {
        let keys = of_head(head);
        if keys.len() < LONG || breakage::is_on("trail-in-one-item") {
            return Ok(());
        }
        let id = text_of(head, "id").unwrap_or("");
        for keys in keys.chunks(PAGE) {
            let all: Vec<u8> = keys.iter().flat_map(|key| key.as_ref()).copied().collect();
            let page = unique();
            let mut one = item([("pk", text(partition(id))), ("sk", text(page.as_str()))]);
            // The page names no row younger than itself. Rows may have been written under a longer retention.
            one.extend(item([
                ("trail", AttributeValue::B(Blob::new(all))),
                expires(page_keys::now() + self.retention.journal.max(KEEP)),
            ]));
            self.put_misc(one).await?;
            let request = self
                .client
                .update_item()
                .table_name(self.table("people"))
                .key("id", text(id))
                .update_expression("SET trail_in_pages = :yes DELETE trail :keys")
                .condition_expression("attribute_exists(id)")
                .expression_attribute_values(":yes", text("yes"))
                .expression_attribute_values(":keys", AttributeValue::Bs(keys.to_vec()));
            let is_there = UpdateItemError::is_conditional_check_failed_exception;
            if !held("UpdateItem", request.send().await, is_there)? {
                // The person was erased in the meantime.
                self.remove("misc", item([("pk", text(partition(id))), ("sk", text(page))])).await?;
            }
        }
        Ok(())
    }

    /// The keys of all rows of these people. Heads are read before pages, so that a key moved in the meantime is in one
    /// of them.
    pub(super) async fn trails(&self, people: &BTreeSet<PersonId>) -> Result<BTreeSet<String>> {
        let keys = person_keys(people.iter().copied(), "id");
        let heads = self.get_only("people", keys, "id, trail, trail_in_pages").await?;
        let mut trail: BTreeSet<String> = heads.iter().flat_map(of_head).map(hex::encode).collect();
        let paged = heads.iter().filter(|head| head.contains_key("trail_in_pages"));
        let paged = paged.filter(|_| !breakage::is_on("trail-pages-unread"));
        let paged: Vec<String> = paged.filter_map(|head| text_of(head, "id")).map(partition).collect();
        let calls: Vec<_> = paged.iter().map(|pk| self.partition(pk, "sk, trail")).collect();
        trail.extend(in_parallel(calls).await?.iter().flatten().flat_map(of_page));
        Ok(trail)
    }

    /// Removes the pages of these people's trails, after their rows are gone.
    pub(super) async fn erase_trails(&self, people: &BTreeSet<PersonId>) -> Result<()> {
        for pk in people.iter().map(|id| partition(&id.to_string())) {
            let pages = self.partition(&pk, "sk").await?;
            let keys = pages.iter().filter_map(|page| text_of(page, "sk").map(str::to_owned));
            self.remove_parts(&pk, keys).await?;
        }
        Ok(())
    }
}
