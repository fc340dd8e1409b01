//! Capacity units as DynamoDB counts them, because the stand-in does not. Source: docs.aws.amazon.com/amazondynamodb,
//! "Capacity unit consumption for operations" and "DynamoDB item sizes and formats".

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

pub type Item = serde_json::Map<String, Value>;

/// The size of an item in bytes: the names of its attributes and their values.
pub fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &Value) -> usize {
    let Some((kind, inner)) = value.as_object().and_then(|one| one.iter().next()) else { return 0 };
    let text = inner.as_str().unwrap_or("");
    match kind.as_str() {
        "S" => text.len(),
        // A number takes about a byte for two digits, and one more.
        "N" => text.len().div_ceil(2) + 1,
        "B" => STANDARD.decode(text).map_or(text.len(), |bytes| bytes.len()),
        "BOOL" | "NULL" => 1,
        "SS" | "NS" => inner.as_array().into_iter().flatten().map(|one| one.as_str().unwrap_or("").len()).sum(),
        "BS" => {
            let bytes = |one: &Value| STANDARD.decode(one.as_str().unwrap_or("")).map_or(0, |bytes| bytes.len());
            inner.as_array().into_iter().flatten().map(bytes).sum()
        }
        "L" => 3 + inner.as_array().into_iter().flatten().map(|one| 1 + value_size(one)).sum::<usize>(),
        "M" => 3 + inner.as_object().map_or(0, |map| map.iter().map(|(k, v)| 1 + k.len() + value_size(v)).sum()),
        _ => 0,
    }
}

fn kilobytes(bytes: usize) -> u64 {
    bytes.div_ceil(1024).max(1) as u64
}

/// One table: its key, and its indexes with the attributes that are projected into each.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub key: Vec<String>,
    /// Indexes, each with its own key and the attributes that it holds.
    pub indexes: Vec<(Vec<String>, BTreeSet<String>)>,
}

impl Table {
    /// A table from the answer of DescribeTable. Panics if an index projects more than keys.
    pub fn of(described: &Value) -> Self {
        let key = names(described.get("KeySchema"));
        let indexes = described.get("GlobalSecondaryIndexes").and_then(Value::as_array).into_iter().flatten();
        let indexes = indexes.map(|index| {
            assert_eq!(index.pointer("/Projection/ProjectionType").and_then(Value::as_str), Some("KEYS_ONLY"));
            let own = names(index.get("KeySchema"));
            let held = own.iter().chain(&key).cloned().collect();
            (own, held)
        });
        Self { indexes: indexes.collect(), key }
    }

    pub fn key_of(&self, item: &Item) -> String {
        let part = |name: &String| item.get(name).map(ToString::to_string).unwrap_or_default();
        self.key.iter().map(part).collect::<Vec<_>>().join("|")
    }

    /// Units of one write, including its indexes.
    pub fn write_units(&self, before: Option<&Item>, after: Option<&Item>) -> u64 {
        let bytes = before.map_or(0, size).max(after.map_or(0, size));
        let indexes = self.indexes.iter().map(|(key, held)| {
            let row = |item: Option<&Item>| {
                let item = item?;
                key.iter().all(|name| item.contains_key(name)).then(|| {
                    held.iter().filter_map(|name| Some((name.clone(), item.get(name)?.clone()))).collect::<Item>()
                })
            };
            match (row(before), row(after)) {
                (None, None) => 0,
                (Some(old), Some(new)) if old == new => 0,
                (Some(one), None) | (None, Some(one)) => kilobytes(size(&one)),
                // A row whose key changes is deleted and inserted.
                (Some(old), Some(new)) => kilobytes(size(&old)) + kilobytes(size(&new)),
            }
        });
        kilobytes(bytes) + indexes.sum::<u64>()
    }
}

fn names(schema: Option<&Value>) -> Vec<String> {
    let parts = schema.and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(|part| part.get("AttributeName")?.as_str().map(str::to_owned)).collect()
}

/// Half units of a read: for each 4 KB one if eventually consistent, two if consistent.
pub fn read_half_units(bytes: usize, consistent: bool) -> u64 {
    let units = bytes.div_ceil(4096).max(1) as u64;
    if consistent { units * 2 } else { units }
}

pub type Tables = BTreeMap<String, Table>;
