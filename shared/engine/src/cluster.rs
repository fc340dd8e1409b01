//! Builds clusters of records, one identifier at a time.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Identifier, Kind, Record, RecordKey, Timestamp};

use crate::{BlockedJoin, Cluster, GuardReason, Guards, proofs};

/// A cluster with the counts that the guards need. They are kept up to date instead of counted anew.
#[derive(Default)]
pub(crate) struct Grown {
    pub cluster: Cluster,
    /// Its oldest record.
    pub oldest: Option<(Timestamp, RecordKey)>,
    counts: BTreeMap<Kind, usize>,
    /// Values that its records claim and nothing proves.
    pub claims: BTreeSet<Identifier>,
    /// True if it holds more than claims and the CRM rows that were made for them.
    pub is_proven: bool,
    /// True if it holds more than what providers and the hub report about an address.
    pub is_somebody: bool,
    /// The value of each kind that a person has only one of, by kind and scope.
    exclusive: BTreeMap<(Kind, String), String>,
}

impl Grown {
    fn count(&self, kind: Kind) -> usize {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    fn hold(&mut self, identifier: &Identifier) {
        if self.cluster.identifiers.insert(identifier.clone()) {
            *self.counts.entry(identifier.kind()).or_default() += 1;
            if identifier.kind().is_exclusive() {
                let slot = (identifier.kind(), identifier.scope().to_owned());
                self.exclusive.entry(slot).or_insert_with(|| identifier.value().to_owned());
            }
        }
    }

    fn size(&self) -> usize {
        self.cluster.records.len() + self.cluster.identifiers.len()
    }
}

/// The algorithm that builds people from records.
pub(crate) struct UnionFind<'p> {
    guards: &'p Guards,
    /// Pairs of identifiers that a manager assigned to two different people.
    apart: Vec<(Identifier, Identifier)>,
    /// The clusters so far, by their root.
    pub clusters: BTreeMap<usize, Grown>,
    /// The cluster that an identifier leads to.
    owner: BTreeMap<Identifier, usize>,
    records: BTreeMap<RecordKey, usize>,
    pub blocked_joins: Vec<BlockedJoin>,
}

impl<'p> UnionFind<'p> {
    /// An algorithm without records. `apart`: pairs that a manager assigned to two people.
    pub fn new(guards: &'p Guards, apart: Vec<(Identifier, Identifier)>) -> Self {
        Self {
            guards,
            apart,
            clusters: BTreeMap::new(),
            owner: BTreeMap::new(),
            records: BTreeMap::new(),
            blocked_joins: Vec::new(),
        }
    }

    /// Adds a record, and merges its cluster with those that these identifiers lead to. A join that a guard refuses is
    /// noted in `blocked_joins`.
    pub fn add<'a>(&mut self, record: &Record, identifiers: impl Iterator<Item = &'a Identifier>) {
        let mut root = self.fresh(record);
        if let Some(other) = record.beside.as_ref().and_then(|key| self.of_record(key)) {
            root = self.merge(root, other);
        }
        for identifier in identifiers {
            let other = self.of_identifier(identifier);
            if other == Some(root) {
                continue;
            }
            match self.obstacle(root, other, identifier) {
                Some(why) => {
                    let blocked_join = BlockedJoin { record: record.key.clone(), identifier: identifier.clone(), why };
                    self.blocked_joins.push(blocked_join);
                }
                None => {
                    root = other.map_or(root, |other| self.merge(root, other));
                    if let Some(grown) = self.clusters.get_mut(&root) {
                        grown.hold(identifier);
                    }
                    self.owner.insert(identifier.clone(), root);
                }
            }
        }
    }

    fn fresh(&mut self, record: &Record) -> usize {
        let id = self.records.len();
        let cluster = Cluster { records: BTreeSet::from([record.key.clone()]), identifiers: BTreeSet::new() };
        let oldest = Some((record.at, record.key.clone()));
        let (is_proven, is_somebody) = (proofs::proves(record), record.is_of_somebody());
        let claims = record.claims.clone();
        self.clusters.insert(id, Grown { cluster, oldest, claims, is_proven, is_somebody, ..Grown::default() });
        self.records.insert(record.key.clone(), id);
        id
    }

    /// Returns the cluster of a record.
    pub fn of_record(&self, record: &RecordKey) -> Option<usize> {
        self.records.get(record).copied()
    }

    /// Returns the cluster that an identifier leads to.
    pub fn of_identifier(&self, identifier: &Identifier) -> Option<usize> {
        self.owner.get(identifier).copied()
    }

    /// Gives an identifier that no other cluster holds to a cluster.
    pub fn hold(&mut self, root: usize, identifier: &Identifier) {
        if let Some(grown) = self.clusters.get_mut(&root) {
            grown.hold(identifier);
            self.owner.insert(identifier.clone(), root);
        }
    }

    /// Frees the identifiers of a cluster, so that later records with them begin another cluster.
    pub fn seal(&mut self, root: usize) {
        self.owner.retain(|_, owner| *owner != root);
    }

    /// Merges two clusters without asking the guards. The smaller one moves into the larger one.
    pub fn merge(&mut self, one: usize, other: usize) -> usize {
        let size = |id: usize| self.clusters.get(&id).map_or(0, Grown::size);
        let (target, source) = if size(one) >= size(other) { (one, other) } else { (other, one) };
        if target != source
            && let Some(moved) = self.clusters.remove(&source)
            && let Some(grown) = self.clusters.get_mut(&target)
        {
            for identifier in &moved.cluster.identifiers {
                grown.hold(identifier);
                self.owner.insert(identifier.clone(), target);
            }
            for record in moved.cluster.records {
                self.records.insert(record.clone(), target);
                grown.cluster.records.insert(record);
            }
            grown.claims.extend(moved.claims);
            grown.is_proven |= moved.is_proven;
            grown.is_somebody |= moved.is_somebody;
            grown.oldest = [grown.oldest.take(), moved.oldest].into_iter().flatten().min();
        }
        target
    }

    /// True if a manager's decision forbids one cluster of these two. `more` is an identifier that the cluster would
    /// hold as well.
    pub fn are_apart(&self, one: usize, other: usize, more: Option<&Identifier>) -> bool {
        let holds = |identifier: &Identifier| {
            more == Some(identifier) || self.of_identifier(identifier).is_some_and(|id| id == one || id == other)
        };
        self.apart.iter().any(|(a, b)| holds(a) && holds(b))
    }

    /// Returns the reason why a guard refuses to join the cluster `other`, or the identifier alone, to the cluster
    /// `root`.
    fn obstacle(&self, root: usize, other: Option<usize>, identifier: &Identifier) -> Option<GuardReason> {
        if self.are_apart(root, other.unwrap_or(root), Some(identifier)) {
            return Some(GuardReason::Decided);
        }
        let grown = [Some(root), other].map(|id| id.and_then(|id| self.clusters.get(&id)));
        let parts = || grown.iter().flatten();
        let count = |kind| {
            let own = usize::from(other.is_none() && identifier.kind() == kind);
            parts().map(|one| one.count(kind)).sum::<usize>() + own
        };
        if count(Kind::Phone) > self.guards.phones {
            return Some(GuardReason::TooManyPhones);
        }
        if count(Kind::Email) > self.guards.emails {
            return Some(GuardReason::TooManyEmails);
        }
        let slot = (identifier.kind(), identifier.scope().to_owned());
        let differs = |one: &&Grown| one.exclusive.get(&slot).is_some_and(|value| value != identifier.value());
        if identifier.kind().is_exclusive() && parts().copied().any(|one| differs(&one)) {
            return Some(GuardReason::TwoOf(slot.0, slot.1));
        }
        let [Some(one), Some(two)] = grown else { return None };
        let (few, many) = if one.exclusive.len() <= two.exclusive.len() { (one, two) } else { (two, one) };
        let clash = few.exclusive.iter().find(|(slot, value)| many.exclusive.get(*slot).is_some_and(|v| v != *value));
        clash.map(|((kind, scope), _)| GuardReason::TwoOf(*kind, scope.clone()))
    }
}
