//! Shared identifiers: rows of names without a person.

use std::collections::BTreeSet;

use stagedoor_model::Identifier;
use stagedoor_ports::Result;

use crate::{
    dynamo::{failed, text_of},
    store::DynamoStore,
};

impl DynamoStore {
    /// Reads the whole table of names: for commands only.
    pub(super) async fn all_crowds(&self, max: usize) -> Result<BTreeSet<Identifier>> {
        let (mut found, mut after) = (BTreeSet::new(), None);
        while found.len() < max {
            let request = self
                .client
                .scan()
                .table_name(self.table("names"))
                .filter_expression("attribute_not_exists(person)")
                .set_exclusive_start_key(after.take());
            let answer = request.send().await.map_err(|error| failed("Scan", error))?;
            let names = answer.items.unwrap_or_default();
            found.extend(names.iter().filter_map(|one| text_of(one, "identifier")?.parse::<Identifier>().ok()));
            after = answer.last_evaluated_key;
            if after.is_none() {
                break;
            }
        }
        Ok(found.into_iter().take(max).collect())
    }
}
