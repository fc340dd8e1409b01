//! Rows that the hub forgets, because the CRM gave their ids to other rows.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Record, RecordKey, breakage};

use crate::Person;

/// What ends the key of a record whose row is forgotten. No row of a CRM has such a key.
const FORGOTTEN: &str = "#forgotten";

/// Returns true if the row of this record belongs to somebody else now. The record only keeps the addresses of the
/// person who was known from it.
pub fn is_forgotten(record: &Record) -> bool {
    record.key.0.ends_with(FORGOTTEN)
}

impl Person {
    /// Forgets a row of the CRM and what it told. If the person is known only from rows, the facts stay, under a key
    /// that the next owner of the id does not share. What pointed to the row points to what is left.
    pub fn forget_row(&mut self, row: &Identifier) {
        let is_of_row = |record: &&Record| record.is_mirror() && record.identifiers.contains(row);
        let gone: BTreeSet<RecordKey> = self.records.values().filter(is_of_row).map(|one| one.key.clone()).collect();
        let is_known_elsewhere = self.records.values().any(|record| !record.is_mirror());
        let is_all = gone.len() == self.records.len();
        let mut moved = BTreeMap::new();
        for key in gone {
            let Some(mut record) = self.records.remove(&key) else { continue };
            if is_all || !is_known_elsewhere && key == self.origin {
                record.identifiers.remove(row);
                // The number is another row's now, and what is said of that row is none of theirs.
                if let Fact::CrmContact { deleted, contact: number, hub_id, .. }
                | Fact::CrmLead { deleted, lead: number, hub_id, .. } = &mut record.fact
                {
                    (*deleted, *number, *hub_id) = (true, 0, None);
                }
                record.key = RecordKey(format!("{}{FORGOTTEN}", key.0));
                moved.insert(key, Some(record.key.clone()));
                self.records.insert(record.key.clone(), record);
            } else {
                moved.insert(key, None);
            }
        }
        let oldest = self.records.values().min_by_key(|one| (one.is_mirror(), one.at, &one.key));
        let oldest = oldest.map(|record| record.key.clone());
        if breakage::is_on("forgotten-origin-stays") {
            return;
        }
        let now = |key: &RecordKey| moved.get(key).map(|now| now.clone().or_else(|| oldest.clone()));
        for origin in self.absorbed_origins.values_mut().chain([&mut self.origin]) {
            if let Some(Some(now)) = now(origin) {
                *origin = now;
            }
        }
        for record in self.records.values_mut() {
            if let Some(now) = record.beside.as_ref().and_then(&now) {
                record.beside = now.filter(|key| *key != record.key);
            }
        }
    }
}
