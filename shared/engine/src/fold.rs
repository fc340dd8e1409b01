//! Records and the people they touch become people again. Pure: the same in, the same out.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Identifier, Record, RecordKey};

use crate::{Person, PersonId, Policy, Refusal, partition};

/// Records and people that share identifiers and so must be folded and saved together.
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub records: Vec<Record>,
    pub people: Vec<Person>,
}

/// What changed. Everything in it is to be saved at once.
#[derive(Debug, Clone, Default)]
pub struct Folded {
    /// New and changed people.
    pub people: Vec<Person>,
    /// Who was joined into whom.
    pub redirects: BTreeMap<PersonId, PersonId>,
    /// Identifiers that from now on name these people.
    pub claims: BTreeMap<Identifier, PersonId>,
    /// Identifiers that name nobody any more.
    pub released: BTreeSet<Identifier>,
    /// Identifiers that turned out to belong to a crowd.
    pub crowded: BTreeSet<Identifier>,
    pub refusals: Vec<Refusal>,
}

/// Splits a batch into groups that know nothing of each other. `owners` says whom an identifier names in the store.
pub fn group(
    records: Vec<Record>,
    people: Vec<Person>,
    owners: &BTreeMap<Identifier, PersonId>,
    weak: &BTreeSet<Identifier>,
) -> Vec<Group> {
    let mut groups = Groups::default();
    for person in people {
        let ids: Vec<Node> = std::iter::once(person.id)
            .chain(person.neighbours.iter().copied())
            .chain(person.absorbed.iter().copied())
            .map(Node::Person)
            .collect();
        groups.put(&ids, |group| group.people.push(person));
    }
    for record in records {
        // Whoever was made from this record before, although no name finds them: a crash may have left them so.
        let made = Node::Person(PersonId::of(&record.key));
        let mut nodes = vec![Node::Record(record.key.clone()), made];
        for identifier in record.identifiers.iter().filter(|i| i.kind().is_strong() && !weak.contains(i)) {
            nodes.push(Node::Identifier(identifier.clone()));
            nodes.extend(owners.get(identifier).copied().map(Node::Person));
        }
        groups.put(&nodes, |group| group.records.push(record));
    }
    groups.groups.into_values().filter(|group| !group.records.is_empty()).collect()
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Person(PersonId),
    Identifier(Identifier),
    Record(RecordKey),
}

#[derive(Default)]
struct Groups {
    next: usize,
    groups: BTreeMap<usize, Group>,
    nodes: BTreeMap<usize, Vec<Node>>,
    of: BTreeMap<Node, usize>,
}

impl Groups {
    fn put(&mut self, nodes: &[Node], fill: impl FnOnce(&mut Group)) {
        let touched: BTreeSet<usize> = nodes.iter().filter_map(|node| self.of.get(node).copied()).collect();
        // The largest group swallows the others, so that each node moves at most log n times.
        let target =
            touched.iter().copied().max_by_key(|id| self.nodes.get(id).map_or(0, Vec::len)).unwrap_or_else(|| {
                self.next += 1;
                self.next
            });
        for source in touched.into_iter().filter(|id| *id != target) {
            let moved = self.groups.remove(&source).unwrap_or_default();
            let group = self.groups.entry(target).or_default();
            group.records.extend(moved.records);
            group.people.extend(moved.people);
            for node in self.nodes.remove(&source).unwrap_or_default() {
                self.of.insert(node.clone(), target);
                self.nodes.entry(target).or_default().push(node);
            }
        }
        for node in nodes {
            if self.of.insert(node.clone(), target) != Some(target) {
                self.nodes.entry(target).or_default().push(node.clone());
            }
        }
        fill(self.groups.entry(target).or_default());
    }
}

/// Folds one group. `weak` are identifiers known to belong to a crowd.
pub fn fold(group: Group, weak: &BTreeSet<Identifier>, policy: &Policy) -> Folded {
    let before: BTreeMap<PersonId, Person> = group.people.into_iter().map(|person| (person.id, person)).collect();
    let mut records = BTreeMap::<RecordKey, Record>::new();
    let known = before.values().flat_map(|person| person.records.values().cloned());
    for record in known.chain(group.records) {
        let joined = match records.remove(&record.key) {
            Some(other) => other.join(record),
            None => record,
        };
        records.insert(joined.key.clone(), joined);
    }
    let split = partition(records.values(), weak, policy);
    let mut folded = Folded { crowded: split.crowded.clone(), refusals: split.refusals.clone(), ..Folded::default() };
    let mut after: Vec<Person> =
        split.clusters.iter().map(|cluster| person_of(&cluster.records, &records, &before)).collect();
    // Somebody joined earlier and parted now lives again under the old id.
    let living: BTreeSet<PersonId> = after.iter().map(|person| person.id).collect();
    after.iter_mut().for_each(|person| person.absorbed.retain(|id| !living.contains(id)));
    for (person, cluster) in after.iter().zip(&split.clusters) {
        folded.claims.extend(cluster.identifiers.iter().map(|identifier| (identifier.clone(), person.id)));
    }
    name_neighbours(&mut after, &mut folded, weak, policy);
    for person in after {
        for absorbed in before.keys().filter(|id| **id != person.id && person.absorbed.contains(*id)) {
            folded.redirects.insert(*absorbed, person.id);
        }
        if before.get(&person.id) != Some(&person) {
            folded.people.push(person);
        }
    }
    folded.released = before
        .values()
        .flat_map(Person::identifiers)
        .filter(|identifier| identifier.kind().is_strong() && !folded.claims.contains_key(*identifier))
        .cloned()
        .collect();
    folded
}

fn person_of(
    keys: &BTreeSet<RecordKey>,
    records: &BTreeMap<RecordKey, Record>,
    before: &BTreeMap<PersonId, Person>,
) -> Person {
    let own: BTreeMap<RecordKey, Record> =
        keys.iter().filter_map(|key| records.get(key).map(|record| (key.clone(), record.clone()))).collect();
    let mut earlier: Vec<&Person> = before.values().filter(|person| keys.contains(&person.origin)).collect();
    earlier.sort_by_key(|person| (person.born, person.id));
    let absorbed = earlier.iter().skip(1).flat_map(|person| person.absorbed.iter().copied().chain([person.id]));
    match earlier.first() {
        Some(elder) => Person {
            absorbed: elder.absorbed.iter().copied().chain(absorbed).filter(|id| *id != elder.id).collect(),
            records: own,
            neighbours: BTreeSet::new(),
            ..(*elder).clone()
        },
        None => {
            let oldest = own.values().min_by(|a, b| (a.at, &a.key).cmp(&(b.at, &b.key)));
            let origin = oldest.map_or_else(|| RecordKey(String::new()), |record| record.key.clone());
            Person {
                id: PersonId::of(&origin),
                born: oldest.map_or_else(Default::default, |record| record.at),
                origin,
                records: own,
                neighbours: BTreeSet::new(),
                absorbed: BTreeSet::new(),
            }
        }
    }
}

/// Every person whose records mention an identifier must be found through it, also where a guard kept them apart:
/// the identifier names the one it joined, and the others are that one's neighbours.
fn name_neighbours(people: &mut [Person], folded: &mut Folded, weak: &BTreeSet<Identifier>, policy: &Policy) {
    let mut mentions = BTreeMap::<Identifier, BTreeSet<PersonId>>::new();
    for person in people.iter() {
        for identifier in person.identifiers() {
            let joins = identifier.kind().is_strong()
                && ![weak, &folded.crowded, &policy.blocked].iter().any(|set| set.contains(identifier));
            if joins {
                mentions.entry(identifier.clone()).or_default().insert(person.id);
            }
        }
    }
    let mut near = BTreeMap::<PersonId, BTreeSet<PersonId>>::new();
    for (identifier, ids) in mentions {
        if let Some(first) = ids.first() {
            folded.claims.entry(identifier).or_insert(*first);
        }
        if ids.len() > 1 {
            ids.iter().for_each(|id| near.entry(*id).or_default().extend(ids.iter().filter(|other| *other != id)));
        }
    }
    for person in people {
        person.neighbours = near.remove(&person.id).unwrap_or_default();
    }
}
