//! Explains why records belong to one person. Shared identifiers lead every record back to the person's first record.

use std::collections::{BTreeSet, VecDeque};

use stagedoor_model::{Fact, Identifier, RecordKey, Verdict};

use crate::Person;

/// One step of the explanation: `record` belongs here because it shares `shared` with `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkReason {
    /// The record that the step explains.
    pub record: RecordKey,
    /// The record that it shares identifiers with. `None` for the first record, and for one without a reason.
    pub to: Option<RecordKey>,
    /// The identifiers that both records hold.
    pub shared: BTreeSet<Identifier>,
}

/// Returns the steps from the first record outwards. A record that no shared strong identifier leads to comes last,
/// without a reason.
pub fn explain(person: &Person) -> Vec<LinkReason> {
    let strong = |key: &RecordKey| -> BTreeSet<Identifier> {
        let Some(record) = person.records.get(key) else { return BTreeSet::new() };
        let decided = match &record.fact {
            Fact::Decided { verdict: verdict @ Verdict::SamePerson(..), .. } => verdict.identifiers(),
            _ => BTreeSet::new(),
        };
        record
            .identifiers
            .iter()
            .chain(&record.claims)
            .chain(decided)
            .filter(|i| i.kind().is_strong())
            .cloned()
            .collect()
    };
    let first = if person.records.contains_key(&person.origin) {
        Some(person.origin.clone())
    } else {
        person.records.keys().next().cloned()
    };
    let Some(first) = first else { return vec![] };
    let mut left: BTreeSet<RecordKey> = person.records.keys().filter(|key| **key != first).cloned().collect();
    let mut steps = vec![LinkReason { record: first.clone(), to: None, shared: BTreeSet::new() }];
    let mut queue = VecDeque::from([first]);
    while let Some(to) = queue.pop_front() {
        let known = strong(&to);
        for key in left.clone() {
            let shared: BTreeSet<Identifier> = strong(&key).intersection(&known).cloned().collect();
            if !shared.is_empty() {
                left.remove(&key);
                queue.push_back(key.clone());
                steps.push(LinkReason { record: key, to: Some(to.clone()), shared });
            }
        }
    }
    steps.extend(left.into_iter().map(|record| LinkReason { record, to: None, shared: BTreeSet::new() }));
    steps
}
