//! Who is who: records are held together by strong identifiers, under guards. The result depends on the set of
//! records alone, never on the order in which they came: links are weighed by the time of their record.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use stagedoor_model::{Fact, Identifier, Kind, Record, RecordKey, Timestamp, Verdict, breakage};

use crate::{
    claims,
    cluster::UnionFind,
    link_rules, order_numbers,
    shared_identifiers::{crowds, is_typed},
};

#[derive(Debug, Clone)]
pub struct Guards {
    /// A person has at most this many phones.
    pub phones: usize,
    /// A person has at most this many e-mails.
    pub emails: usize,
    /// A phone seen with more e-mails than this (or the reverse), with more customers of one shop or with more chats,
    /// belongs to a crowd: it no longer joins.
    pub crowd: usize,
    /// And so does a phone or an e-mail that came alone with more names than this.
    pub names: usize,
    /// A personal link that more chats than this came through was published: it is everybody's, and joins nobody.
    pub published: usize,
    /// Values that name nobody: `+7 999 999-99-99`, `test@…`, the box office's own phone.
    pub blocked: BTreeSet<Identifier>,
}

impl Default for Guards {
    fn default() -> Self {
        Self { phones: 5, emails: 5, crowd: 8, names: 12, published: 50, blocked: BTreeSet::new() }
    }
}

impl Guards {
    /// Whether an identifier of a record leads to other records that hold it. `known_shared` are the marks of crowds.
    pub fn joins(&self, record: &Record, identifier: &Identifier, known_shared: &BTreeSet<Identifier>) -> bool {
        let is_typed = is_typed(record) || record.claims.contains(identifier);
        let is_shared = known_shared.contains(identifier) || is_typed && known_shared.contains(&identifier.typed());
        identifier.kind().is_strong()
            && !identifier.is_placeholder()
            && !is_shared
            && !self.blocked.contains(identifier)
    }
}

/// What has to be looked up to know whether the record's identifiers join: themselves, and their marks.
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

/// Why two people who share an identifier were not joined.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardReason {
    TooManyPhones,
    TooManyEmails,
    /// Both sides hold another value of something that a person has only one of.
    TwoOf(Kind, String),
    /// A chat came through a personal link that another chat had used before, from another browser.
    LinkUsedBefore,
    LinkExpired,
    /// A chat came through a personal link, but gave another phone (or e-mail, or customer's id) than the link's owner has.
    LinkOfAnother(Kind),
    /// A manager said that they are two people.
    Decided,
    /// It was only typed, and another person proves that it is theirs.
    Claimed,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockedJoin {
    pub record: RecordKey,
    pub identifier: Identifier,
    pub why: GuardReason,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    pub records: BTreeSet<RecordKey>,
    pub identifiers: BTreeSet<Identifier>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partition {
    /// In the order of their oldest record.
    pub clusters: Vec<Cluster>,
    pub blocked_joins: Vec<BlockedJoin>,
    /// Identifiers found to belong to a crowd; they join nobody from now on.
    pub shared_identifiers: BTreeSet<Identifier>,
}

/// Splits records into people. `known_shared` are identifiers known to belong to a crowd.
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

// Links of the CRM's own mirror are weighed after what people did themselves: managers paste.
fn trust(record: &Record) -> u8 {
    u8::from(record.key.0.starts_with("crm-") || record.beside.is_some())
}

/// What managers decided, the latest first. Of two words about the same pair the later one counts.
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

/// Joins whom a manager called one person, over every guard but another manager's word. Each decision stays with one of
/// those whom it is about.
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
