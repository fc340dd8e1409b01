//! Who is who: records are held together by strong identifiers, under guards. The result depends on the set of
//! records alone, never on the order in which they came: links are weighed by the time of their record.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_model::{Fact, Identifier, Kind, Record, RecordKey, Timestamp};

use crate::links;

#[derive(Debug, Clone)]
pub struct Policy {
    /// A person has at most this many phones.
    pub phones: usize,
    /// A person has at most this many e-mails.
    pub emails: usize,
    /// A phone seen with more e-mails than this (or the reverse) belongs to a crowd: it no longer joins.
    pub crowd: usize,
    /// A personal link that more chats than this came through was published: it is everybody's, and joins nobody.
    pub published: usize,
    /// Values that name nobody: `+7 999 999-99-99`, `test@…`, the box office's own phone.
    pub blocked: BTreeSet<Identifier>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { phones: 5, emails: 5, crowd: 8, published: 50, blocked: BTreeSet::new() }
    }
}

/// Why two people who share an identifier were not joined.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    TooManyPhones,
    TooManyEmails,
    /// Both sides hold another value of something that a person has only one of.
    TwoOf(Kind, String),
    /// A chat came through a personal link that another chat had used before, from another browser.
    LinkUsedBefore,
    LinkExpired,
    /// A chat came through a personal link, but gave another phone (or e-mail, or customer's id) than the link's owner has.
    LinkOfAnother(Kind),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub record: RecordKey,
    pub identifier: Identifier,
    pub why: Why,
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
    pub refusals: Vec<Refusal>,
    /// Identifiers found to belong to a crowd; they join nobody from now on.
    pub crowded: BTreeSet<Identifier>,
}

/// Splits records into people. `weak` are identifiers known to belong to a crowd.
pub fn partition<'a>(
    records: impl IntoIterator<Item = &'a Record>,
    weak: &BTreeSet<Identifier>,
    policy: &Policy,
) -> Partition {
    let mut sorted: Vec<&Record> = records.into_iter().collect();
    sorted.sort_by(|a, b| (trust(a), a.at, &a.key).cmp(&(trust(b), b.at, &b.key)));
    let crowded = crowds(&sorted, weak, policy);
    let mut forest = Forest::new(policy);
    for record in &sorted {
        let joins = record.identifiers.iter().filter(|identifier| {
            identifier.kind().is_strong()
                && links::joins_at_once(record, identifier)
                && !policy.blocked.contains(identifier)
                && !weak.contains(identifier)
                && !crowded.contains(identifier)
        });
        forest.add(record, joins);
    }
    links::join_chats(&mut forest, &sorted, |link| weak.contains(link) || crowded.contains(link));
    let mut clusters: Vec<(Timestamp, RecordKey, Cluster)> =
        forest.clusters.into_values().map(|growing| (growing.oldest.0, growing.oldest.1, growing.cluster)).collect();
    clusters.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    Partition {
        clusters: clusters.into_iter().map(|(_, _, cluster)| cluster).collect(),
        refusals: forest.refusals,
        crowded,
    }
}

// Links of the CRM's own mirror are weighed after what people did themselves: managers paste.
fn trust(record: &Record) -> u8 {
    u8::from(record.key.0.starts_with("crm-"))
}

fn crowds(records: &[&Record], weak: &BTreeSet<Identifier>, policy: &Policy) -> BTreeSet<Identifier> {
    let mut seen_with = BTreeMap::<&Identifier, BTreeSet<&Identifier>>::new();
    let mut chats = BTreeMap::<&Identifier, usize>::new();
    for record in records {
        if matches!(record.fact, Fact::Talk(_)) {
            let through = record.identifiers.iter().filter(|one| one.kind() == Kind::Link);
            through.for_each(|link| *chats.entry(link).or_default() += 1);
        }
        for a in &record.identifiers {
            for b in &record.identifiers {
                if matches!((a.kind(), b.kind()), (Kind::Phone, Kind::Email) | (Kind::Email, Kind::Phone)) {
                    seen_with.entry(a).or_default().insert(b);
                }
            }
        }
    }
    seen_with
        .into_iter()
        .filter(|(_, others)| others.len() > policy.crowd)
        .map(|(identifier, _)| identifier)
        .chain(chats.into_iter().filter(|(_, count)| *count > policy.published).map(|(link, _)| link))
        .filter(|identifier| !weak.contains(identifier))
        .cloned()
        .collect()
}

pub(crate) struct Growing {
    pub cluster: Cluster,
    oldest: (Timestamp, RecordKey),
}

pub(crate) struct Forest<'p> {
    policy: &'p Policy,
    pub clusters: BTreeMap<usize, Growing>,
    owner: BTreeMap<Identifier, usize>,
    pub refusals: Vec<Refusal>,
}

impl<'p> Forest<'p> {
    fn new(policy: &'p Policy) -> Self {
        Self { policy, clusters: BTreeMap::new(), owner: BTreeMap::new(), refusals: Vec::new() }
    }

    fn add<'a>(&mut self, record: &Record, identifiers: impl Iterator<Item = &'a Identifier>) {
        let mut home = self.fresh(record);
        for identifier in identifiers {
            let other = self.owner.get(identifier).copied();
            if other == Some(home) {
                continue;
            }
            match self.obstacle(home, other, identifier) {
                Some(why) => {
                    let refusal = Refusal { record: record.key.clone(), identifier: identifier.clone(), why };
                    self.refusals.push(refusal);
                }
                None => home = self.join(home, other, identifier),
            }
        }
    }

    fn fresh(&mut self, record: &Record) -> usize {
        let id = self.clusters.last_key_value().map_or(0, |(id, _)| id + 1);
        let cluster = Cluster { records: BTreeSet::from([record.key.clone()]), identifiers: BTreeSet::new() };
        self.clusters.insert(id, Growing { cluster, oldest: (record.at, record.key.clone()) });
        id
    }

    fn join(&mut self, home: usize, other: Option<usize>, identifier: &Identifier) -> usize {
        let target = other.map_or(home, |other| self.merge(home, other));
        if let Some(growing) = self.clusters.get_mut(&target) {
            growing.cluster.identifiers.insert(identifier.clone());
        }
        self.owner.insert(identifier.clone(), target);
        target
    }

    /// Makes one of two clusters, whatever speaks against it.
    pub(crate) fn merge(&mut self, one: usize, other: usize) -> usize {
        let (target, source) = (one.min(other), one.max(other));
        if target != source
            && let Some(moved) = self.clusters.remove(&source)
        {
            for identifier in &moved.cluster.identifiers {
                self.owner.insert(identifier.clone(), target);
            }
            if let Some(growing) = self.clusters.get_mut(&target) {
                growing.cluster.records.extend(moved.cluster.records);
                growing.cluster.identifiers.extend(moved.cluster.identifiers);
                growing.oldest = moved.oldest.min(growing.oldest.clone());
            }
        }
        target
    }

    fn obstacle(&self, home: usize, other: Option<usize>, identifier: &Identifier) -> Option<Why> {
        let mut union: BTreeSet<&Identifier> = BTreeSet::from([identifier]);
        for id in [Some(home), other].into_iter().flatten() {
            union.extend(self.clusters.get(&id).into_iter().flat_map(|growing| &growing.cluster.identifiers));
        }
        let count = |kind| union.iter().filter(|identifier| identifier.kind() == kind).count();
        if count(Kind::Phone) > self.policy.phones {
            return Some(Why::TooManyPhones);
        }
        if count(Kind::Email) > self.policy.emails {
            return Some(Why::TooManyEmails);
        }
        let mut only = BTreeMap::new();
        for one in union.iter().filter(|identifier| identifier.kind().is_exclusive()) {
            if let Some(known) = only.insert((one.kind(), one.scope()), one.value())
                && known != one.value()
            {
                return Some(Why::TwoOf(one.kind(), one.scope().to_owned()));
            }
        }
        None
    }
}
