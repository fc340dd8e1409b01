//! Removes every trace of a person except the tombstones.

use std::collections::BTreeSet;

use stagedoor_engine::{PersonId, cells_of_address};
use stagedoor_model::Identifier;
use stagedoor_ports::Result;

use crate::{
    dynamo::{Item, failed, in_parallel, item, text},
    store::{DynamoStore, page_keys, person_keys},
};

impl DynamoStore {
    pub(super) async fn erase_all(
        &self,
        people: &BTreeSet<PersonId>,
        names: &BTreeSet<Identifier>,
        tombstones: &BTreeSet<String>,
    ) -> Result<()> {
        // A crash may leave parts of a person who was never stored. No name finds those parts. It comes first: if it fails,
        // a repetition still finds these people.
        self.sweep_writings(page_keys::now()).await?;
        for hash in tombstones {
            self.put_misc(item([("pk", text("erased")), ("sk", text(hash.as_str()))])).await?;
        }
        for name in names {
            self.remove("names", item([("identifier", text(name.to_string()))])).await?;
            for key_value in cells_of_address(name) {
                self.remove("misc", item([("pk", text("cell")), ("sk", text(key_value))])).await?;
            }
        }
        let found = self.get_only("people", person_keys(people.iter().copied(), "id"), "id, version").await?;
        let living = found.iter().filter(|one| one.contains_key("version")).count() as i64;
        let trail = self.trails(people).await?;
        let rows = trail.len() as i64;
        let calls: Vec<_> = trail.into_iter().map(|key| self.remove("journal", item([("id", text(key))]))).collect();
        in_parallel(calls).await?;
        self.erase_trails(people).await?;
        // Before the heads: without them, a second attempt after a crash would not find the parts.
        self.erase_parts(people).await?;
        for id in people {
            self.remove("links", item([("person", text(id.to_string()))])).await?;
            self.remove("people", item([("id", text(id.to_string()))])).await?;
        }
        // Parts of a person who was written in the meantime.
        self.erase_parts(people).await?;
        self.count_up(-rows, -living, 0).await
    }

    pub(super) async fn remove(&self, table: &str, key: Item) -> Result<()> {
        let request = self.client.delete_item().table_name(self.table(table)).set_key(Some(key));
        request.send().await.map(drop).map_err(|error| failed("DeleteItem", error))
    }
}
