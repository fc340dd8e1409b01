//! Bounds the space that anonymous forms take in a person. The first forms and the latest stay.

use std::collections::BTreeSet;

use stagedoor_model::{RecordKey, breakage};

use crate::Person;

/// How many of the first forms stay: the requests and consents before anything was repeated.
const FIRST: usize = 10;
/// How many of the latest forms stay.
const LATEST: usize = 40;

/// Removes the anonymous forms between the first and the latest. The same forms stay, in whatever order and batches
/// they came.
pub(crate) fn forget_excess(person: &mut Person) {
    let anonymous = person.records.values().filter(|record| record.is_anonymous());
    let mut keys: Vec<_> = anonymous.map(|record| (record.at, record.key.clone())).collect();
    if keys.len() <= FIRST + LATEST || breakage::is_on("anonymous-forms-without-end") {
        return;
    }
    keys.sort();
    let needed: BTreeSet<RecordKey> = person.records.values().filter_map(|record| record.beside.clone()).collect();
    let is_origin = |key: &RecordKey| *key == person.origin || person.absorbed_origins.values().any(|one| one == key);
    let between = keys.len() - FIRST - LATEST;
    let between = keys.into_iter().skip(FIRST).take(between).map(|(_, key)| key);
    let excess: Vec<RecordKey> = between.filter(|key| !is_origin(key) && !needed.contains(key)).collect();
    for key in excess {
        person.records.remove(&key);
    }
}
