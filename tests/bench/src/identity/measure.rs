//! Compares the hub's people with the true owners of the facts, and with a naive rule.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Identifier, Kind};

use super::{Fact, Tour};
use crate::stage;

/// The hub's person of each fact.
pub(super) async fn people(stage: &stage::Stage, facts: &[Fact]) -> Result<Vec<String>, String> {
    let mut owners = BTreeMap::new();
    let names: Vec<&Identifier> = facts.iter().map(|fact| &fact.name).collect();
    for chunk in names.chunks(500) {
        let wanted = chunk.iter().map(|name| (*name).clone()).collect();
        owners.extend(stage.hub.store.resolve(&wanted).await.map_err(|error| error.to_string())?.owners);
    }
    let mut found = Vec::new();
    for fact in facts {
        let owner =
            owners.get(&fact.name).ok_or_else(|| format!("nobody is known by a {}", fact.name.kind().name()))?;
        found.push(owner.to_string());
    }
    Ok(found)
}

/// Pairs of true people who share a person in the hub: the knowable ones, and the unknowable ones.
pub(super) fn wrong(tour: &Tour, people: &[String]) -> (u64, u64) {
    let mut owners = BTreeMap::<&String, BTreeSet<u64>>::new();
    for (fact, person) in tour.facts.iter().zip(people) {
        owners.entry(person).or_default().insert(fact.owner);
    }
    let (mut wrong, mut unknowable) = (0, 0);
    for all in owners.into_values() {
        let known = all.iter().filter(|owner| !tour.unknowable.contains(owner)).count() as u64;
        wrong += known * known.saturating_sub(1) / 2;
        unknowable += all.len() as u64 - known;
    }
    (wrong, unknowable)
}

/// The number of separated parts among truly connected facts of one person.
pub(super) fn apart(facts: &[Fact], people: &[String]) -> u64 {
    let mut by_owner = BTreeMap::<u64, Vec<usize>>::new();
    for (index, fact) in facts.iter().enumerate() {
        by_owner.entry(fact.owner).or_default().push(index);
    }
    let mut apart = 0;
    for own in by_owner.into_values() {
        // Parts of facts that true ties connect.
        let mut parts: Vec<(BTreeSet<&String>, BTreeSet<&String>)> = Vec::new();
        for index in own {
            let (Some(fact), Some(person)) = (facts.get(index), people.get(index)) else { continue };
            let mut whole = (fact.ties.iter().collect::<BTreeSet<_>>(), BTreeSet::from([person]));
            parts.retain(|part| {
                let submissions = !part.0.is_disjoint(&whole.0);
                if submissions {
                    whole.0.extend(part.0.iter().copied());
                    whole.1.extend(part.1.iter().copied());
                }
                !submissions
            });
            parts.push(whole);
        }
        apart += parts.iter().map(|(_, people)| people.len() as u64 - 1).sum::<u64>();
    }
    apart
}

/// The naive rule: the same phone or e-mail means the same person, and nothing else does.
pub(super) fn naive(facts: &[Fact]) -> Vec<String> {
    let mut part_of = (0..facts.len()).collect::<Vec<usize>>();
    fn root(part_of: &[usize], mut index: usize) -> usize {
        while let Some(up) = part_of.get(index).filter(|up| **up != index) {
            index = *up;
        }
        index
    }
    let mut first = BTreeMap::new();
    for (index, fact) in facts.iter().enumerate() {
        let record = stagedoor_engine::record_of(&fact.event);
        let own = record.iter().flat_map(|record| &record.identifiers);
        let telling = own.filter(|one| matches!(one.kind(), Kind::Phone | Kind::Email)).map(ToString::to_string);
        // A chat belongs at least to itself.
        for one in telling.chain([fact.name.to_string()]) {
            let known = *first.entry(one).or_insert(index);
            let (a, b) = (root(&part_of, known), root(&part_of, index));
            if let Some(place) = part_of.get_mut(a.max(b)) {
                *place = a.min(b);
            }
        }
    }
    (0..facts.len()).map(|index| root(&part_of, index).to_string()).collect()
}
