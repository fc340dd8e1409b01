//! Every trace of somebody goes, but for the tombstones.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use stagedoor_engine::{PersonId, cells_of_address};
use stagedoor_model::Identifier;
use stagedoor_ports::Result;

use crate::{
    dynamo::{Item, failed, item, text},
    store::{DynamoStore, person_keys},
};

impl DynamoStore {
    pub(super) async fn erase_all(
        &self,
        people: &BTreeSet<PersonId>,
        names: &BTreeSet<Identifier>,
        tombstones: &BTreeSet<String>,
    ) -> Result<()> {
        for hash in tombstones {
            self.put_misc(item([("pk", text("erased")), ("sk", text(hash.as_str()))])).await?;
        }
        for name in names {
            self.remove("names", item([("identifier", text(name.to_string()))])).await?;
            for cell in cells_of_address(name) {
                self.remove("misc", item([("pk", text("cell")), ("sk", text(cell))])).await?;
            }
        }
        let found = self.get("people", person_keys(people.iter().copied(), "id")).await?;
        let (mut rows, mut living) = (0, 0);
        for one in &found {
            living += i64::from(one.contains_key("doc"));
            let Some(AttributeValue::Bs(keys)) = one.get("trail") else { continue };
            for key in keys {
                self.remove("journal", item([("id", text(hex::encode(key)))])).await?;
                rows += 1;
            }
        }
        for id in people {
            self.remove("links", item([("person", text(id.to_string()))])).await?;
            self.remove("people", item([("id", text(id.to_string()))])).await?;
        }
        self.erase_parts(people).await?;
        self.count_up(-rows, -living, 0).await
    }

    pub(super) async fn remove(&self, table: &str, key: Item) -> Result<()> {
        let request = self.client.delete_item().table_name(self.table(table)).set_key(Some(key));
        request.send().await.map(drop).map_err(|error| failed("DeleteItem", error))
    }
}
