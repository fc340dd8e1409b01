//! Orders that are handed to another buyer. Such an order leaves a fact with its former buyer, who stays the same
//! person.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Record, RecordKey};

use crate::{Person, PersonId};

/// Writes the facts that handed-on orders leave with their former buyers. An order that is not among `records` changes
/// nothing: the fact that it left before stays.
pub(crate) fn settle(records: &mut BTreeMap<RecordKey, Record>) {
    let orders: BTreeSet<RecordKey> = records.keys().cloned().collect();
    records.retain(|_, record| !matches!(&record.fact, Fact::HandedOn { order, .. } if orders.contains(order)));
    let left: Vec<Record> = records.values().flat_map(left_by).collect();
    records.extend(left.into_iter().map(|record| (record.key.clone(), record)));
}

fn left_by(record: &Record) -> Vec<Record> {
    let Fact::Order { order: Some(order), .. } = &record.fact else { return vec![] };
    let number = order.number.clone().unwrap_or_else(|| order.id.clone());
    let former = record.former_buyers().into_iter().map(|buyer| {
        let names: Vec<String> = buyer.identifiers.iter().map(ToString::to_string).collect();
        let hash = PersonId::of(&RecordKey(names.join(" ")));
        let key = RecordKey(format!("handed-on:{}:{hash}", record.key.0));
        let fact = Fact::HandedOn { order: record.key.clone(), number: number.clone() };
        Record {
            identifiers: buyer.identifiers,
            name: buyer.name.map(|name| (buyer.revision, name)),
            ..Record::new(key, record.source.clone(), record.at, fact)
        }
    });
    former.collect()
}

/// Returns the record that now stands for one of a person's own records. For an order that was handed on, this is the
/// fact that it left with them.
pub(crate) fn now_under(key: &RecordKey, person: &Person, records: &BTreeMap<RecordKey, Record>) -> RecordKey {
    let Some(known) = person.records.get(key) else { return key.clone() };
    let order = match &known.fact {
        Fact::HandedOn { order, .. } => order,
        Fact::Order { .. } => key,
        _ => return key.clone(),
    };
    let named = buyer_of(known);
    let is_theirs = |key: &RecordKey| records.get(key).is_some_and(|record| !named.is_disjoint(&buyer_of(record)));
    if named.is_empty() || is_theirs(key) {
        return key.clone();
    }
    let of_order = |record: &&Record| matches!(&record.fact, Fact::HandedOn { order: one, .. } if one == order);
    let left = records.values().filter(of_order).map(|record| &record.key);
    let theirs = std::iter::once(order).chain(left).find(|key| is_theirs(key));
    let theirs = theirs.or_else(|| records.get_key_value(key).map(|(key, _)| key));
    // A late revision may show that they never had the order as it was known. Then they stay with their other records.
    let others = person.records.keys().filter(|key| *key != order && records.contains_key(key));
    let others = others.filter(|key| is_theirs(key)).min_by_key(|key| records.get(*key).map(|one| (one.at, &one.key)));
    theirs.or(others).unwrap_or(order).clone()
}

fn buyer_of(record: &Record) -> BTreeSet<&Identifier> {
    record.identifiers.iter().filter(|one| !one.kind().is_of_order()).collect()
}
