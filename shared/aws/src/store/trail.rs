//! A person's trail: the keys of their rows in the journal. The latest are in the head of the person; a long trail is moved
//! to pages of `misc`, so that no head grows with the life of the hub.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::{operation::update_item::UpdateItemError, primitives::Blob, types::AttributeValue};
use stagedoor_engine::PersonId;
use stagedoor_model::breakage;
use stagedoor_ports::Result;

use super::{DynamoStore, KEEP, expires, pages, person_keys, unique};
use crate::dynamo::{Item, held, in_parallel, item, text, text_of};

/// Keys in a head at most, of twelve bytes each: three kilobytes, which each writing of the person pays for.
const LONG: usize = 256;
/// Keys of one page at most.
const PAGE: usize = 4_096;
/// Bytes of a key.
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
    /// Moves a long trail from the head to pages. A page comes first: a crash between leaves keys in both, which are read once.
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
            // No row that it names is younger than the page. Rows may have been written under a longer retention.
            one.extend(item([
                ("trail", AttributeValue::B(Blob::new(all))),
                expires(pages::now() + self.retention.journal.max(KEEP)),
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
                // They were erased meanwhile.
                self.remove("misc", item([("pk", text(partition(id))), ("sk", text(page))])).await?;
            }
        }
        Ok(())
    }

    /// Keys of all rows of these people. Heads are read before pages: what is moved meanwhile is in one of both.
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

    /// The pages of these people's trails, after their rows are gone.
    pub(super) async fn erase_trails(&self, people: &BTreeSet<PersonId>) -> Result<()> {
        for pk in people.iter().map(|id| partition(&id.to_string())) {
            let pages = self.partition(&pk, "sk").await?;
            let keys = pages.iter().filter_map(|page| text_of(page, "sk").map(str::to_owned));
            self.remove_parts(&pk, keys).await?;
        }
        Ok(())
    }
}
