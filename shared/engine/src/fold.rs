//! Folds records into people. The functions are pure: the same input gives the same output.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Record, RecordKey, Verdict};

use crate::{
    BlockedJoin, GuardReason, Guards, Later, PathStep, Person, PersonId, bounds, consent, handed_on, later::fact_of,
    partings, partition, shared_identifiers::lifts,
};

/// Records and people that share identifiers. They must be folded and saved together.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The records of the batch.
    pub records: Vec<Record>,
    /// Stored people whom the records may concern.
    pub people: Vec<Person>,
}

/// The changes that one fold makes. All of them must be saved in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Folded {
    /// New and changed people.
    pub people: Vec<Person>,
    /// Ids of joined people, each with the id of the person whom they were joined into.
    pub redirects: BTreeMap<PersonId, PersonId>,
    /// Identifiers and the people whom they name from now on.
    pub claims: BTreeMap<Identifier, PersonId>,
    /// Identifiers that no longer name anybody.
    pub released: BTreeSet<Identifier>,
    /// Newly found shared identifiers.
    pub shared_identifiers: BTreeSet<Identifier>,
    /// Marks of shared identifiers that a manager lifted.
    pub lifted: BTreeSet<Identifier>,
    /// Joins that a guard refused.
    pub blocked_joins: Vec<BlockedJoin>,
}

/// Splits a batch into independent groups. `owners` maps an identifier to the person whom it names in the store.
pub fn group(
    records: Vec<Record>,
    people: Vec<Person>,
    owners: &BTreeMap<Identifier, PersonId>,
    known_shared: &BTreeSet<Identifier>,
    guards: &Guards,
) -> Vec<Group> {
    let mut groups = Groups::default();
    let lifting: BTreeSet<Identifier> = lifts(&records).into_keys().cloned().collect();
    let besides: BTreeSet<RecordKey> = records.iter().filter_map(|record| record.beside.clone()).collect();
    for person in people {
        let ids: Vec<Node> = std::iter::once(person.id)
            .chain(person.blocked_with.iter().copied())
            .chain(person.merged_ids.iter().copied())
            .map(Node::Person)
            .chain(lifting.iter().filter(|one| mentions(&person, one)).cloned().map(Node::Identifier))
            .chain(besides.iter().filter(|key| person.records.contains_key(*key)).cloned().map(Node::Record))
            .collect();
        groups.put(&ids, |group| group.people.push(person));
    }
    for record in records {
        // After a crash a person may already exist that was made from this record and that no identifier leads to.
        let made = Node::Person(PersonId::of(&record.key));
        let mut nodes = vec![Node::Record(record.key.clone()), made];
        nodes.extend(record.beside.clone().map(Node::Record));
        let lifted = |one: &Identifier| matches!(&record.fact, Fact::Decided { verdict: Verdict::NotShared(of), .. } if of == one);
        for identifier in record.mentions() {
            if guards.joins(&record, &identifier, known_shared) || lifted(&identifier) {
                nodes.extend(owners.get(&identifier).copied().map(Node::Person));
                nodes.push(Node::Identifier(identifier));
            }
        }
        groups.put(&nodes, |group| group.records.push(record));
    }
    groups.groups.into_values().filter(|group| !group.records.is_empty()).collect()
}

fn mentions(person: &Person, identifier: &Identifier) -> bool {
    person.records.values().any(|record| record.names(identifier))
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
        // The largest group absorbs the others, so each node moves at most log n times.
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

/// Folds one group. `known_shared` holds the identifiers that are already marked as shared.
pub fn fold(group: Group, known_shared: &BTreeSet<Identifier>, guards: &Guards) -> Folded {
    let lifted = lifted_by(&group.records, known_shared);
    let known_shared: BTreeSet<Identifier> = known_shared.difference(&lifted).cloned().collect();
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
    handed_on::settle(&mut records);
    consent::without_repeats(&mut records);
    let mut before = before;
    follow_origins(&mut before, &mut records);
    let split = partition(records.values(), &known_shared, guards);
    partings::disown_values(&mut records, &split);
    let mut folded = Folded {
        shared_identifiers: split.shared_identifiers.clone(),
        blocked_joins: split.blocked_joins,
        lifted,
        ..Folded::default()
    };
    folded.lifted.retain(|mark| !split.shared_identifiers.contains(mark));
    let clusters: Vec<&BTreeSet<RecordKey>> = split.clusters.iter().map(|cluster| &cluster.records).collect();
    let mut after = successors(&clusters, &records, &before);
    after.iter_mut().for_each(bounds::forget_excess);
    for (person, cluster) in after.iter().zip(&split.clusters) {
        folded.claims.extend(cluster.identifiers.iter().map(|identifier| (identifier.clone(), person.id)));
    }
    let shared: BTreeSet<Identifier> = known_shared.union(&split.shared_identifiers).cloned().collect();
    note_contested(&mut after, &folded.blocked_joins);
    name_blocked_with(&mut after, &mut folded, &shared, guards);
    let forgets = stagedoor_model::breakage::is_on("crowd-forgets");
    let named = |record: &Record| {
        let usable =
            |one: &Identifier| guards.joins(record, one, &known_shared) || guards.blocked.contains(one) || forgets;
        record.mentions().into_iter().filter(usable).collect::<Vec<_>>()
    };
    let all = before.values().flat_map(|person| person.records.values());
    folded.released = all.flat_map(named).filter(|identifier| !folded.claims.contains_key(identifier)).collect();
    for person in after {
        for merged_ids in before.keys().filter(|id| **id != person.id && person.merged_ids.contains(*id)) {
            folded.redirects.insert(*merged_ids, person.id);
        }
        if before.get(&person.id) != Some(&person) {
            folded.people.push(person);
        }
    }
    folded
}

/// Returns the marks that fresh decisions of managers lift.
fn lifted_by(fresh: &[Record], known_shared: &BTreeSet<Identifier>) -> BTreeSet<Identifier> {
    let marks = lifts(fresh).into_keys().flat_map(|identifier| [identifier.clone(), identifier.typed()]);
    marks.filter(|mark| known_shared.contains(mark)).collect()
}

/// Moves the origin of a former buyer from an order that was handed on to the fact that the order left with them.
/// Records beside the origin move along. A CRM row stays with the person whom it was made for.
fn follow_origins(before: &mut BTreeMap<PersonId, Person>, records: &mut BTreeMap<RecordKey, Record>) {
    let mut moved = BTreeMap::<RecordKey, RecordKey>::new();
    for person in before.values_mut() {
        let beside = person.records.keys().filter_map(|key| records.get(key)?.beside.as_ref());
        let rows_go_along = stagedoor_model::breakage::is_on("rows-go-with-the-order");
        let origins = person.absorbed_origins.values().chain([&person.origin]);
        let beside: BTreeSet<&RecordKey> = beside.filter(|_| !rows_go_along).chain(origins).collect();
        let now_under = |key: &RecordKey| (key.clone(), handed_on::now_under(key, person, records));
        let own: BTreeMap<RecordKey, RecordKey> = beside.into_iter().map(now_under).filter(|(a, b)| a != b).collect();
        for origin in person.absorbed_origins.values_mut().chain([&mut person.origin]) {
            if let Some(now) = own.get(origin) {
                origin.clone_from(now);
            }
        }
        moved.extend(own);
    }
    for record in records.values_mut() {
        if let Some(now) = record.beside.as_ref().and_then(|key| moved.get(key)) {
            record.beside = Some(now.clone());
        }
    }
}

/// Turns clusters of records into people, who keep the ids that they had before.
fn successors(
    clusters: &[&BTreeSet<RecordKey>],
    records: &BTreeMap<RecordKey, Record>,
    before: &BTreeMap<PersonId, Person>,
) -> Vec<Person> {
    let cluster_of: BTreeMap<&RecordKey, usize> =
        clusters.iter().enumerate().flat_map(|(index, keys)| keys.iter().map(move |key| (key, index))).collect();
    let mut elders = BTreeMap::<usize, Vec<&Person>>::new();
    for person in before.values() {
        if let Some(index) = cluster_of.get(&person.origin) {
            elders.entry(*index).or_default().push(person);
        }
    }
    let taken: BTreeSet<PersonId> = elders.values().flatten().map(|person| person.id).collect();
    let earlier = partings::absorbed_before(before, records);
    let mut after: Vec<Person> = clusters
        .iter()
        .enumerate()
        .map(|(index, keys)| {
            let own = keys.iter().filter_map(|key| records.get(key).map(|record| (key.clone(), record.clone())));
            let own: BTreeMap<RecordKey, Record> = own.collect();
            match elders.remove(&index) {
                Some(elders) => joined(elders, own),
                None => newcomer(own, &taken, &earlier),
            }
        })
        .collect();
    partings::settle_absorbed(&mut after, &cluster_of, &earlier);
    partings::remember_partings(&mut after, &cluster_of, before);
    move_later(&mut after, before);
    after
}

fn joined(mut elders: Vec<&Person>, records: BTreeMap<RecordKey, Record>) -> Person {
    elders.sort_by_key(|person| (person.born, person.id));
    let all = |of: fn(&Person) -> &BTreeSet<PersonId>| elders.iter().flat_map(move |person| of(person)).copied();
    let merged_ids: BTreeSet<PersonId> =
        all(|person| &person.merged_ids).chain(elders.iter().skip(1).map(|person| person.id)).collect();
    let own: BTreeSet<PersonId> = elders.iter().map(|person| person.id).collect();
    let parted = all(|person| &person.parted).filter(|id| !merged_ids.contains(id) && !own.contains(id)).collect();
    let absorbed_by =
        all(|person| &person.absorbed_by).filter(|id| !merged_ids.contains(id) && !own.contains(id)).collect();
    let former = elders.iter().flat_map(|person| &person.former).cloned().collect();
    let origins = elders.iter().skip(1).map(|person| (person.id, person.origin.clone()));
    let absorbed_origins = elders.iter().flat_map(|person| person.absorbed_origins.clone()).chain(origins).collect();
    let Some(elder) = elders.first() else { return newcomer(records, &BTreeSet::new(), &BTreeMap::new()) };
    let merged_ids = merged_ids.into_iter().filter(|id| *id != elder.id).collect();
    let (id, origin, born) = (elder.id, elder.origin.clone(), elder.born);
    Person {
        id,
        origin,
        born,
        records,
        blocked_with: BTreeSet::new(),
        merged_ids,
        absorbed_origins,
        parted,
        absorbed_by,
        former,
        contested: BTreeSet::new(),
        withdrawn_beside: BTreeSet::new(),
        later: elders.iter().fold(Later::default(), |all, person| all.with(person.later.clone())),
    }
}

/// Notes on each person the values that they claim and another person proves.
fn note_contested(people: &mut [Person], blocked_joins: &[BlockedJoin]) {
    let claimed = blocked_joins.iter().filter(|blocked_join| blocked_join.why == GuardReason::Claimed);
    let mut contested = BTreeMap::<&RecordKey, BTreeSet<Identifier>>::new();
    claimed.for_each(|one| _ = contested.entry(&one.record).or_default().insert(one.identifier.clone()));
    for person in people.iter_mut().filter(|_| !contested.is_empty()) {
        let values = person.records.keys().filter_map(|key| contested.get(key)).flatten().cloned();
        person.contested = values.collect();
    }
}

/// Creates a person whom no living person continues: either a new one, or a joined one who parts again. `earlier` maps
/// the ids of joined people to the records that they were made from.
fn newcomer(
    records: BTreeMap<RecordKey, Record>,
    taken: &BTreeSet<PersonId>,
    earlier: &BTreeMap<PersonId, RecordKey>,
) -> Person {
    let mut keys: Vec<&Record> = records.values().collect();
    keys.sort_by(|a, b| (a.at, &a.key).cmp(&(b.at, &b.key)));
    let is_free = |id: &PersonId| !taken.contains(id) && !earlier.contains_key(id);
    let ids = || keys.iter().map(|record| (PersonId::of(&record.key), &record.key)).filter(|(id, _)| is_free(id));
    // An order that was handed on may have given its id to the buyer before.
    let oldest = keys.first().map_or_else(|| RecordKey(String::new()), |record| record.key.clone());
    let newest = keys.last().map_or("", |record| record.key.0.as_str());
    // Each later buyer may have been made the same way.
    let once = stagedoor_model::breakage::is_on("handed-on-twice-one-id");
    let turn = |turn: usize| PersonId::of(&RecordKey(format!("{}#{newest}{}", oldest.0, "#".repeat(turn))));
    let free = (0..=taken.len() + earlier.len()).map(turn).find(|id| once || is_free(id));
    let again = || (free.unwrap_or_else(|| turn(taken.len() + earlier.len() + 1)), &oldest);
    let revived = || {
        let of = |record: &&Record| earlier.iter().find(|(id, key)| **key == record.key && !taken.contains(*id));
        keys.iter().find_map(of).map(|(id, key)| (*id, key))
    };
    let (id, origin) = revived().or_else(|| ids().next()).unwrap_or_else(again);
    Person {
        id,
        origin: origin.clone(),
        born: keys.first().map_or_else(Default::default, |record| record.at),
        blocked_with: BTreeSet::new(),
        merged_ids: BTreeSet::new(),
        absorbed_origins: BTreeMap::new(),
        parted: BTreeSet::new(),
        absorbed_by: BTreeSet::new(),
        former: BTreeSet::new(),
        contested: BTreeSet::new(),
        withdrawn_beside: BTreeSet::new(),
        later: Later::default(),
        records: records.clone(),
    }
}

/// Records in `blocked_with` which people share an identifier and are kept apart by a guard. An identifier names one
/// person, who knows the others. So each person whose records mention an identifier can be found through it.
fn name_blocked_with(people: &mut [Person], folded: &mut Folded, known_shared: &BTreeSet<Identifier>, guards: &Guards) {
    let mut mentions = BTreeMap::<Identifier, BTreeSet<PersonId>>::new();
    for person in people.iter() {
        for record in person.records.values() {
            for identifier in record.mentions().into_iter().filter(|one| guards.joins(record, one, known_shared)) {
                mentions.entry(identifier).or_default().insert(person.id);
            }
        }
    }
    let mut near = BTreeMap::<PersonId, BTreeSet<PersonId>>::new();
    let all_to_all = stagedoor_model::breakage::is_on("neighbours-all-to-all");
    for (identifier, ids) in mentions {
        let Some(first) = ids.first().copied() else { continue };
        let centre = *folded.claims.entry(identifier).or_insert(first);
        for id in ids.iter().filter(|id| **id != centre) {
            near.entry(*id).or_default().insert(centre);
            near.entry(centre).or_default().insert(*id);
            if all_to_all {
                near.entry(*id).or_default().extend(ids.iter().filter(|other| *other != id));
            }
        }
    }
    for person in people {
        person.blocked_with = near.remove(&person.id).unwrap_or_default();
    }
}

/// Moves the kept values of a record along with the record, even to another person.
fn move_later(after: &mut [Person], before: &BTreeMap<PersonId, Person>) {
    let kept = || before.values().flat_map(|person| &person.later.0);
    if kept().next().is_none() {
        return;
    }
    let known: BTreeSet<RecordKey> = after.iter().flat_map(|person| person.records.keys().cloned()).collect();
    for person in after {
        let Person { records, later, .. } = person;
        later.0.retain(|(path, _)| fact_of(path).is_none_or(|key| !known.contains(&key)));
        let own = |path: &[PathStep]| fact_of(path).is_some_and(|key| records.contains_key(&key));
        later.0.extend(kept().filter(|(path, _)| own(path)).cloned());
    }
}
