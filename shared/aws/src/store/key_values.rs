//! Small named values. Values about sent messages are in a table of their own, where rows expire.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use stagedoor_model::breakage;
use stagedoor_ports::{KeyValue, Result};

use super::{DynamoStore, KEEP, expires, page_keys};
use crate::dynamo::{Item, failed, held, item, number, number_of, text, text_of};

/// Prefixes of values about sent messages. There are several values for each message.
const OF_MESSAGES: [&str; 4] = ["sent/", "reported/", "told/", "way/"];

/// True if a value of this name expires. It lives longer than what could send a message again: a retry (14 days at
/// most) and a replay of the journal.
fn ends(name: &str) -> bool {
    OF_MESSAGES.iter().any(|start| name.starts_with(start)) && !breakage::is_on("sent-without-end")
}

fn key_value(one: &Item) -> KeyValue {
    KeyValue {
        value: text_of(one, "content").unwrap_or("").to_owned(),
        version: number_of(one, "version").unwrap_or(0),
    }
}

/// The table of a value, and its key there.
fn place(name: &str, of_messages: bool) -> (&'static str, Item) {
    match of_messages {
        true => ("sent", item([("id", text(name))])),
        false => ("misc", item([("pk", text("cell")), ("sk", text(name))])),
    }
}

impl DynamoStore {
    async fn read_cell(&self, name: &str, of_messages: bool) -> Result<Option<KeyValue>> {
        let (table, key) = place(name, of_messages);
        let request = self.client.get_item().table_name(self.table(table)).set_key(Some(key)).consistent_read(true);
        let answer = request.send().await.map_err(|error| failed("GetItem", error))?;
        Ok(answer.item.map(|one| key_value(&one)))
    }

    /// Reads a value. An earlier version kept every value in `misc`; those stay there.
    pub(super) async fn one_cell(&self, name: &str) -> Result<Option<KeyValue>> {
        if ends(name) {
            let found = self.read_cell(name, true).await?;
            if found.is_some() || breakage::is_on("old-sent-unread") {
                return Ok(found);
            }
        }
        self.read_cell(name, false).await
    }

    pub(super) async fn named_cells(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, KeyValue>> {
        let keys = names.iter().map(|name| place(name, false).1).collect();
        let mut found = self.get("misc", keys).await?;
        let of_messages = names.iter().filter(|name| ends(name)).map(|name| place(name, true).1);
        found.extend(self.get("sent", of_messages.collect()).await?);
        let name = |one: &Item| text_of(one, "sk").or_else(|| text_of(one, "id")).map(str::to_owned);
        Ok(found.iter().filter_map(|one| Some((name(one)?, key_value(one)))).collect())
    }

    async fn write_cell(&self, name: &str, value: &str, expected: Option<u64>, of_messages: bool) -> Result<bool> {
        let (table, mut one) = place(name, of_messages);
        let key = if of_messages { "id" } else { "pk" };
        one.extend(item([("content", text(value)), ("version", number(expected.unwrap_or(0) + 1))]));
        if of_messages {
            one.extend(item([expires(page_keys::now() + self.retention.journal.max(KEEP))]));
        }
        let mut request = self.client.put_item().table_name(self.table(table)).set_item(Some(one));
        request = match expected {
            None => request.condition_expression(format!("attribute_not_exists({key})")),
            Some(version) => request
                .condition_expression("version = :expected")
                .expression_attribute_values(":expected", number(version)),
        };
        held("PutItem", request.send().await, PutItemError::is_conditional_check_failed_exception)
    }

    pub(super) async fn set_cell(&self, name: &str, value: &str, expected: Option<u64>) -> Result<bool> {
        if !ends(name) {
            return self.write_cell(name, value, expected, false).await;
        }
        if expected.is_none() && !breakage::is_on("old-sent-unread") && self.read_cell(name, false).await?.is_some() {
            return Ok(false);
        }
        let is_put = self.write_cell(name, value, expected, true).await?;
        // A value of an earlier version is changed in its place.
        if is_put || expected.is_none() { Ok(is_put) } else { self.write_cell(name, value, expected, false).await }
    }

    /// All values whose names start with `prefix`, without those about sent messages. Those are found by their full
    /// name only.
    pub(super) async fn cells_beginning(&self, prefix: &str) -> Result<BTreeMap<String, KeyValue>> {
        let range = (!breakage::is_on("cells-read-whole")).then_some(prefix);
        let found = self.query_beginning("misc", None, ("pk", "cell"), range, usize::MAX, false).await?;
        let named = found.iter().filter_map(|one| Some((text_of(one, "sk")?.to_owned(), key_value(one))));
        Ok(named.filter(|(name, _)| name.starts_with(prefix)).collect())
    }
}
