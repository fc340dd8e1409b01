//! Records what people keep of each other when the facts of one person become two people's.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Kind, Record, RecordKey, breakage};

use crate::{BlockedJoin, GuardReason, Partition, Person, PersonId};

/// Returns people who were joined into others, each with the record that they were made from. Earlier builds did not
/// store it. For them it is the record from which the id was derived.
pub(crate) fn absorbed_before(
    before: &BTreeMap<PersonId, Person>,
    records: &BTreeMap<RecordKey, Record>,
) -> BTreeMap<PersonId, RecordKey> {
    let mut earlier = BTreeMap::new();
    for person in before.values().filter(|person| !person.merged_ids.is_empty()) {
        let unknown = |id: &&PersonId| !person.absorbed_origins.contains_key(*id);
        let unknown: BTreeSet<&PersonId> = person.merged_ids.iter().filter(unknown).collect();
        if !unknown.is_empty() {
            let derived = records.keys().map(|key| (PersonId::of(key), key.clone()));
            earlier.extend(derived.filter(|(id, _)| unknown.contains(id)));
        }
        earlier.extend(person.absorbed_origins.iter().map(|(id, key)| (*id, key.clone())));
    }
    earlier
}

/// Moves each joined person to the cluster with the record that they were made from. They live again if it stands
/// alone.
pub(crate) fn settle_absorbed(
    after: &mut [Person],
    cluster_of: &BTreeMap<&RecordKey, usize>,
    earlier: &BTreeMap<PersonId, RecordKey>,
) {
    let living: BTreeSet<PersonId> = after.iter().map(|person| person.id).collect();
    let stays = breakage::is_on("joined-stay-behind");
    let mut moved = Vec::new();
    for (index, person) in after.iter_mut().enumerate() {
        let home = |id: &PersonId| earlier.get(id).and_then(|key| cluster_of.get(key)).copied();
        let goes = |id: &PersonId| !stays && home(id).is_some_and(|home| home != index);
        let leaving = person.merged_ids.iter().filter(|id| !living.contains(*id) && goes(id));
        moved.extend(leaving.filter_map(|id| Some((*id, home(id)?))));
        person.merged_ids.retain(|id| !living.contains(id) && !goes(id));
    }
    for (id, home) in moved {
        if let Some(person) = after.get_mut(home) {
            person.merged_ids.insert(id);
        }
    }
    for person in after {
        let merged_ids = &person.merged_ids;
        let origin = |id: &PersonId| Some((*id, earlier.get(id)?.clone()));
        person.absorbed_origins =
            merged_ids.iter().filter_map(origin).chain(std::mem::take(&mut person.absorbed_origins)).collect();
        person.absorbed_origins.retain(|id, _| merged_ids.contains(id));
    }
}

/// Updates people whose facts were one person's and are two people's now. Each remembers the other, everyone from
/// whom that person had parted before, and former values that may still stand in their CRM rows.
pub(crate) fn remember_partings(
    after: &mut [Person],
    cluster_of: &BTreeMap<&RecordKey, usize>,
    before: &BTreeMap<PersonId, Person>,
) {
    let is_written = |one: &&Identifier| matches!(one.kind(), Kind::Phone | Kind::Email) || one.kind().is_chat();
    for person in before.values() {
        let parts: BTreeSet<usize> = person.records.keys().filter_map(|key| cluster_of.get(key)).copied().collect();
        let mut ids: BTreeSet<PersonId> = BTreeSet::new();
        for part in parts.iter().filter_map(|index| after.get(*index)) {
            ids.insert(part.id);
            ids.extend(part.merged_ids.intersection(&person.merged_ids));
        }
        if parts.len() > 1 && !breakage::is_on("parted-once-only") {
            // Rows of this person may stand with people who were a part of that person earlier.
            ids.extend(&person.parted);
        }
        let held: BTreeSet<Identifier> =
            person.identifiers_and_claims().into_iter().filter(is_written).cloned().collect();
        for index in parts {
            let Some(part) = after.get_mut(index) else { continue };
            let strange = |id: &&PersonId| **id != part.id && !part.merged_ids.contains(*id);
            let strangers: Vec<PersonId> = ids.iter().filter(strange).copied().collect();
            part.parted.extend(strangers);
            if part.id != person.id {
                part.absorbed_by.insert(person.id);
            }
            let own: BTreeSet<Identifier> = part.identifiers_and_claims().into_iter().cloned().collect();
            let lost = held.iter().filter(|one| !left_with_deleted_contacts(one, person, part));
            let lost: Vec<Identifier> = lost.chain(&person.former).cloned().collect();
            part.former.extend(lost);
            part.former.retain(|one| !own.contains(one));
        }
    }
}

/// Handles a manager's verdict that two people are not one. The contact of one may hold a value that the other told.
/// It proves nothing about the first person: it came there by a merge, or while they counted as one.
pub(crate) fn disown_values(records: &mut BTreeMap<RecordKey, Record>, split: &Partition) {
    for BlockedJoin { record, identifier, .. } in
        split.blocked_joins.iter().filter(|blocked_join| blocked_join.why == GuardReason::Decided)
    {
        let others = split.clusters.iter().filter(|one| one.identifiers.contains(identifier));
        let mut others = others.filter(|one| !one.records.contains(record)).flat_map(|one| &one.records);
        let tells = |key: &RecordKey| records.get(key).is_some_and(|one| !one.is_mirror() && one.names(identifier));
        let is_told = others.any(tells) && !breakage::is_on("merged-values-stay");
        let Some(contact) = records.get_mut(record).filter(|one| matches!(one.fact, Fact::CrmContact { .. })) else {
            continue;
        };
        if is_told && contact.identifiers.remove(identifier) {
            contact.echoes.insert(identifier.clone());
        }
    }
}

/// Returns true if a value stood only in contacts of the CRM that are deleted now. If they are restored, it is the
/// person's again.
fn left_with_deleted_contacts(value: &Identifier, before: &Person, now: &Person) -> bool {
    let is_deleted = |key: &RecordKey| {
        let told = now.records.get(key).map(|record| &record.fact);
        matches!(told, Some(Fact::CrmContact { deleted: true, .. }))
    };
    let mut holders = before.records.values().filter(|record| record.identifiers.contains(value));
    holders.all(|record| is_deleted(&record.key)) && !breakage::is_on("deleted-contact-cleared")
}
