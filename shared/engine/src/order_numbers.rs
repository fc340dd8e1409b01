//! Matches money that names an order by its printed number with an order that has another id in the shop.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Kind, Record, RecordKey};

use crate::cluster::UnionFind;

/// Returns true if a record holds only money: no order was reported under this name.
fn is_money(record: &Record) -> bool {
    matches!(&record.fact, Fact::Order { order: None, .. })
}

/// Returns, by the key of a money record, the key of the order that it names by number. A number of two orders of a
/// shop names neither.
pub(crate) fn orders<'r>(records: impl IntoIterator<Item = &'r Record>) -> BTreeMap<&'r RecordKey, &'r RecordKey> {
    let mut numbered = BTreeMap::<Identifier, BTreeSet<&RecordKey>>::new();
    let mut money = Vec::<(&RecordKey, &Identifier)>::new();
    for record in records {
        if let Some(number) = record.order_number() {
            numbered.entry(number).or_default().insert(&record.key);
        }
        let named = record.identifiers.iter().find(|one| one.kind() == Kind::Order);
        money.extend(named.filter(|_| is_money(record)).map(|named| (&record.key, named)));
    }
    let only = |named: &Identifier| numbered.get(named).filter(|orders| orders.len() == 1)?.first().copied();
    money.into_iter().filter_map(|(key, named)| Some((key, only(named)?))).collect()
}

/// Joins money to the buyer of the order that it names by number, unless it already belongs to a person.
pub(crate) fn join(clusters: &mut UnionFind<'_>, sorted: &[&Record]) {
    let money: BTreeSet<&RecordKey> =
        sorted.iter().copied().filter(|record| is_money(record)).map(|record| &record.key).collect();
    for (named_by, order) in orders(sorted.iter().copied()) {
        let (Some(one), Some(other)) = (clusters.of_record(named_by), clusters.of_record(order)) else { continue };
        let is_free = |root: usize| {
            let records = clusters.clusters.get(&root).map(|grown| &grown.cluster.records);
            records.is_some_and(|records| records.iter().all(|key| money.contains(key)))
        };
        if one != other && is_free(one) && !clusters.are_apart(one, other, None) {
            clusters.merge(one, other);
        }
    }
}
