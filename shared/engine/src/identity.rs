//! Decides which records belong to one person. Strong identifiers hold records together, within the limits of the
//! guards.
//!
//! The result depends on the set of records alone, never on the order in which they arrive: identifiers are weighed by
//! the time of their record.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use stagedoor_model::{Fact, Identifier, Kind, Record, RecordKey, Timestamp, Verdict, breakage};

use crate::{
    claims,
    cluster::UnionFind,
    link_rules, order_numbers,
    shared_identifiers::{crowds, is_typed},
};

/// The limits that decide whether an identifier may join two people.
#[derive(Debug, Clone)]
pub struct Guards {
    /// The highest number of phones of one person.
    pub phones: usize,
    /// The highest number of e-mails of one person.
    pub emails: usize,
    /// A phone with more e-mails than this is a shared identifier and joins nobody. So is an e-mail with more phones
    /// than this. The same limit holds for the customers of one shop and for chats.
    pub crowd: usize,
    /// A phone or an e-mail that came alone with more names than this is a shared identifier, too.
    pub names: usize,
    /// A personal link that more chats than this came through counts as published and joins nobody.
    pub published: usize,
    /// Values that name nobody: `+7 999 999-99-99`, `test@…`, the phone of the box office.
    pub blocked: BTreeSet<Identifier>,
}

impl Default for Guards {
    fn default() -> Self {
        Self { phones: 5, emails: 5, crowd: 8, names: 12, published: 50, blocked: BTreeSet::new() }
    }
}

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

/// The reason why a guard does not join two people who share an identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardReason {
    /// Together they have more phones than [`Guards::phones`].
    TooManyPhones,
    /// Together they have more e-mails than [`Guards::emails`].
    TooManyEmails,
    /// The two sides hold different values of a kind that a person has only one of. The fields are the kind and its
    /// scope.
    TwoOf(Kind, String),
    /// A chat came through a personal link that another chat had used before, from another browser.
    LinkUsedBefore,
    /// A chat came through a personal link after the link's expiry.
    LinkExpired,
    /// A chat came through a personal link, but gave another phone, e-mail or customer id than the link's owner has.
    LinkOfAnother(Kind),
    /// A manager decided that they are two people.
    Decided,
    /// One side only typed the identifier, and another person proves that it is theirs.
    Claimed,
}

/// Two people who share an identifier and are kept apart by a guard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockedJoin {
    /// The record whose identifier did not join.
    pub record: RecordKey,
    /// The shared identifier.
    pub identifier: Identifier,
    /// The reason of the guard.
    pub why: GuardReason,
}

/// The records of one person, and the identifiers that hold them together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// The keys of its records.
    pub records: BTreeSet<RecordKey>,
    /// The identifiers that lead to it.
    pub identifiers: BTreeSet<Identifier>,
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

// Identifiers from the CRM's mirror are weighed after what people did themselves, because managers paste values.
fn trust(record: &Record) -> u8 {
    u8::from(record.key.0.starts_with("crm-") || record.beside.is_some())
}

/// The decisions of managers, the latest first. Of two decisions about one pair, only the later one counts.
pub(crate) fn decisions<'r>(records: &[&'r Record]) -> Vec<(Timestamp, &'r RecordKey, &'r Verdict)> {
    let decided = records.iter().filter_map(|record| match &record.fact {
        Fact::Decided { at, verdict } => Some((*at, &record.key, verdict)),
        _ => None,
    });
    let mut decisions: Vec<_> = decided.collect();
    decisions.sort_by(|a, b| b.cmp(a));
    let mut pairs = BTreeSet::new();
    decisions.retain(|(_, _, verdict)| pairs.insert(verdict.identifiers()));
    decisions
}

pub(crate) fn apart(records: &[&Record]) -> Vec<(Identifier, Identifier)> {
    let pair = |verdict: &Verdict| match verdict {
        Verdict::DifferentPeople(one, other) if one != other => Some((one.clone(), other.clone())),
        _ => None,
    };
    if breakage::is_on("part-ignored") {
        return vec![];
    }
    decisions(records).into_iter().filter_map(|(_, _, verdict)| pair(verdict)).collect()
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
