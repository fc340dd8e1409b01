//! Decides which records belong to one person. Strong identifiers hold records together, within the limits of the
//! guards.
//!
//! The result depends on the set of records alone, never on the order in which they arrive: identifiers are weighed by
//! the time of their record.

use crate::GuardReason;
use std::collections::BTreeSet;

use stagedoor_model::{Fact, Identifier, Kind, Record, RecordKey, Verdict, breakage};

use crate::{
    BlockedJoin, Cluster, Guards, claims,
    cluster::UnionFind,
    decisions::{apart, decisions},
    link_rules, order_numbers,
    shared_identifiers::{crowds, is_typed},
};

impl Guards {
    /// True if an identifier of a record leads to other records that hold it. `known_shared` holds the marks of shared
    /// identifiers.
    pub fn joins(&self, record: &Record, identifier: &Identifier, known_shared: &BTreeSet<Identifier>) -> bool {
        let is_typed = is_typed(record) || record.claims.contains(identifier);
        let is_shared = known_shared.contains(identifier) || is_typed && known_shared.contains(&identifier.typed());
        identifier.kind().is_strong()
            && !identifier.is_placeholder()
            && !is_shared
            && !self.blocked.contains(identifier)
    }
}

/// The identifiers to look up before [`Guards::joins`] can decide about a record: its strong identifiers and their
/// marks.
pub fn looked_up(record: &Record) -> BTreeSet<Identifier> {
    let strong = record.mentions().into_iter().filter(|one| one.kind().is_strong());
    let mut all: BTreeSet<Identifier> = strong.collect();
    let of_decision = matches!(record.fact, Fact::Decided { .. });
    if is_typed(record) || of_decision {
        let typed = all
            .iter()
            .filter(|one| matches!(one.kind(), Kind::Phone | Kind::Email | Kind::Link))
            .map(Identifier::typed);
        all.extend(typed.collect::<Vec<_>>());
    }
    all
}

/// Records, split into people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partition {
    /// Sorted by the oldest record of each cluster.
    pub clusters: Vec<Cluster>,
    /// Joins that a guard refused.
    pub blocked_joins: Vec<BlockedJoin>,
    /// Newly found shared identifiers. From now on they join nobody.
    pub shared_identifiers: BTreeSet<Identifier>,
}

/// Splits records into people. `known_shared` holds the identifiers that are already marked as shared.
pub fn partition<'a>(
    records: impl IntoIterator<Item = &'a Record>,
    known_shared: &BTreeSet<Identifier>,
    guards: &Guards,
) -> Partition {
    let mut sorted: Vec<&Record> = records.into_iter().collect();
    sorted.sort_by(|a, b| (trust(a), a.at, &a.key).cmp(&(trust(b), b.at, &b.key)));
    let newly_shared = crowds(&sorted, known_shared, guards);
    let shared: BTreeSet<Identifier> = known_shared.union(&newly_shared).cloned().collect();
    let mut clusters = UnionFind::new(guards, apart(&sorted));
    for record in &sorted {
        let joins = record.identifiers.iter().filter(|identifier| {
            guards.joins(record, identifier, &shared) && link_rules::joins_at_once(record, identifier)
        });
        clusters.add(record, joins);
    }
    order_numbers::join(&mut clusters, &sorted);
    claims::join_forms(&mut clusters, &sorted, &shared, guards);
    claims::join_confirmed(&mut clusters, &sorted);
    join_decided(&mut clusters, &sorted);
    link_rules::join_chats(&mut clusters, &sorted, |link| shared.contains(link) || shared.contains(&link.typed()));
    let mut blocked_joins = std::mem::take(&mut clusters.blocked_joins);
    blocked_joins.extend(claims::contested(&clusters, &sorted, &shared, guards));
    let mut grown: Vec<_> = clusters.clusters.into_values().map(|grown| (grown.oldest, grown.cluster)).collect();
    grown.sort_by(|a, b| a.0.cmp(&b.0));
    Partition {
        clusters: grown.into_iter().map(|(_, cluster)| cluster).collect(),
        blocked_joins,
        shared_identifiers: newly_shared,
    }
}

// Identifiers from the CRM's mirror are weighed after what people did themselves, because managers paste values. A row
// comes after the row that it stands beside.
fn trust(record: &Record) -> u8 {
    let is_row = |key: &RecordKey| key.0.starts_with("crm-");
    match &record.beside {
        Some(key) if is_row(key) => 2,
        beside => u8::from(is_row(&record.key) || beside.is_some()),
    }
}

/// Joins people whom a manager declared one person. It overrides every guard except the decision of another manager.
/// Each decision stays with one of the people whom it is about.
fn join_decided(clusters: &mut UnionFind<'_>, records: &[&Record]) {
    for (_, key, verdict) in decisions(records) {
        let named = verdict.identifiers();
        if let Verdict::SamePerson(one, other) = verdict
            && !breakage::is_on("join-ignored")
        {
            claims::confirm(clusters, one, other);
        }
        let held: Vec<usize> = named.into_iter().filter_map(|one| clusters.of_identifier(one)).collect();
        let (Some(own), Some(first)) = (clusters.of_record(key), held.first().copied()) else { continue };
        clusters.merge(own, first);
        if let Verdict::SamePerson(one, other) = verdict
            && !breakage::is_on("join-ignored")
            && let (Some(one), Some(other)) = (clusters.of_identifier(one), clusters.of_identifier(other))
            && one != other
        {
            if clusters.are_apart(one, other, None) {
                let identifier = verdict.identifiers().into_iter().next().cloned();
                let blocked_join =
                    |identifier| BlockedJoin { record: key.clone(), identifier, why: GuardReason::Decided };
                clusters.blocked_joins.extend(identifier.map(blocked_join));
            } else {
                clusters.merge(one, other);
            }
        }
    }
}
