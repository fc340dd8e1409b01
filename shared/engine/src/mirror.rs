//! Handles the CRM's own rows as they come back to the hub. Values that the hub itself wrote there prove nothing
//! about identity. Values that a manager added do.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Kind, Record, RecordKey};

use crate::{Person, PersonId};

/// Ties a record about a CRM row to the person for whom the row was made, or to whom it was found to belong. The tie
/// stays when a manager rewrites the row's phone. Values that the person had before they stood in the row become
/// echoes. `row_of`: the index's owner of the row, which is `owner` or a person who was joined into them since.
/// `wrote`: returns true if the hub may have written a claim there. Such a claim is an echo. Otherwise a manager
/// wrote it, and confirms it.
pub fn recognise(record: &mut Record, owner: &Person, row_of: Option<PersonId>, wrote: impl Fn(&Identifier) -> bool) {
    let earlier = owner.records.get(&record.key);
    let tied = earlier.and_then(|earlier| earlier.beside.clone());
    record.beside = tied.or_else(|| anchor_of(owner, record, row_of)).filter(|key| *key != record.key);
    if !matches!(record.fact, Fact::CrmContact { .. }) || stagedoor_model::breakage::is_on("mirror-proves") {
        return;
    }
    let proven = earlier.map(|earlier| &earlier.identifiers);
    let echoed = earlier.map(|earlier| &earlier.echoes);
    let own = own_values(owner);
    let claims = bare_claims(owner);
    // The hub makes no contact of an address alone, for example from an SMS that says no. Then the row has no record
    // to stand beside, and only its values tie it.
    let is_tied = record.beside.is_some() || stagedoor_model::breakage::is_on("untied-row-echoes");
    let own = |one: &Identifier| is_tied && own.contains(one) && (!claims.contains(one) || wrote(one));
    let rows = values_of_rows(owner, &record.key);
    let is_echo = |one: &Identifier| {
        !is_row(one)
            && (echoed.is_some_and(|echoed| echoed.contains(one))
                || !proven.is_some_and(|proven| proven.contains(one))
                    && (own(one) || rows.contains(one) || owner.former.contains(one)))
    };
    record.echoes = record.identifiers.iter().filter(|one| is_echo(one)).cloned().collect();
    record.identifiers.retain(|one| !record.echoes.contains(one));
    // The hub wrote the name that it knows. If the person turns out to be two, the name speaks for neither.
    let is_written = record.name.as_ref().is_some_and(|(_, name)| owner.told_name() == Some(name.as_str()));
    if is_written && !stagedoor_model::breakage::is_on("written-name-proves") {
        record.name = None;
    }
}

/// Returns the person to whom the index assigns the CRM row of a record.
pub fn row_of(record: &Record, owners: &BTreeMap<Identifier, PersonId>) -> Option<PersonId> {
    owners.get(record.identifiers.iter().find(|one| is_row(one))?).copied()
}

/// Returns the owner of the CRM row of a record. That is the person who owns its id, or else a person of whose data
/// the row must be a copy. `owners`: the person of each identifier.
pub fn owner_of<'p>(
    record: &Record,
    owners: &BTreeMap<Identifier, PersonId>,
    find: impl Fn(PersonId) -> Option<&'p Person>,
) -> Option<&'p Person> {
    let row = record.identifiers.iter().find(|one| is_row(one))?;
    let bearer = bearer_of(record).and_then(&find).filter(|person| is_of_bearer(record, person, owners));
    if let Some(owner) = owners.get(row) {
        let owner = find(*owner);
        // The CRM reported the row before it reported the hub's id in it. With that id the row has an owner.
        let is_by_itself = owner.is_some_and(|owner| owner.records.keys().all(|key| *key == record.key));
        let is_told_now = is_by_itself && !stagedoor_model::breakage::is_on("row-stays-by-itself");
        return if is_told_now { bearer.or(owner) } else { owner };
    }
    if bearer.is_some() && !stagedoor_model::breakage::is_on("second-row-unseen") {
        return bearer;
    }
    let named = record.identifiers.iter().find_map(|one| owners.get(one))?;
    find(*named).filter(|person| is_copy_of(record, person))
}

/// Returns the person whose id the hub wrote into a CRM row. A manager who copies a row copies the id, too.
pub fn bearer_of(record: &Record) -> Option<PersonId> {
    let (Fact::CrmContact { hub_id, .. } | Fact::CrmLead { hub_id, .. }) = &record.fact else { return None };
    PersonId::parse(hub_id.as_ref()?.split('|').next()?.trim()).ok()
}

/// Returns true if a row with this person's id is theirs. A deal always is. A contact is not if it holds only
/// addresses of other people: then a manager made another person's contact out of a copy.
fn is_of_bearer(record: &Record, person: &Person, owners: &BTreeMap<Identifier, PersonId>) -> bool {
    if !matches!(record.fact, Fact::CrmContact { .. }) {
        return true;
    }
    let values: BTreeSet<&Identifier> = record.held().filter(|one| !is_row(one)).collect();
    let is_own = |id: &PersonId| *id == person.id || person.merged_ids.contains(id);
    let known = person.identifiers_and_claims();
    // A claim that the hub wrote there may have a proven owner since.
    let is_strange = |one: &&Identifier| !known.contains(one) && owners.get(*one).is_some_and(|owner| !is_own(owner));
    if values.iter().any(is_strange) {
        return false;
    }
    values.is_empty() || values.iter().any(|one| known.contains(*one))
}

/// Returns true if the row is younger than the person and holds only their values. Then the hub made it and does not
/// know its id yet. Claims are not enough: a manager may have made a contact of the person to whom they belong.
fn is_copy_of(record: &Record, person: &Person) -> bool {
    let (mut own, claims) = (own_values(person), bare_claims(person));
    own.retain(|one| !claims.contains(one) || stagedoor_model::breakage::is_on("managers-contact-is-claimants"));
    let is_contact = matches!(record.fact, Fact::CrmContact { .. });
    // The CRM's clock has whole seconds.
    let is_younger = record.at.as_second() >= person.born.as_second();
    is_contact && is_younger && record.identifiers.iter().all(|one| is_row(one) || own.contains(one))
}

/// Returns true if the CRM gave the id of a contact of `owner` to another row, for example because the CRM was
/// restored. Then the row shares no address with the owner. Also, it bears the id of another person with such an
/// address (`bearer`), or it was made later than the known row. A rewritten contact keeps its id and its creation
/// time.
pub fn is_given_again(record: &Record, owner: &Person, bearer: Option<&Person>) -> bool {
    let Fact::CrmContact { deleted: false, .. } = &record.fact else { return false };
    if owner.records.keys().all(|key| *key == record.key) || stagedoor_model::breakage::is_on("webhook-of-a-reused-id")
    {
        return false;
    }
    let known = owner.identifiers_and_claims();
    let values: Vec<&Identifier> = record.held().filter(|one| !is_row(one)).collect();
    let is_theirs = |one: &&Identifier| known.contains(*one) || owner.former.contains(*one);
    if values.is_empty() || values.iter().any(is_theirs) {
        return false;
    }
    let were_one = |one: &Person, other: &Person| {
        [&one.merged_ids, &one.parted, &one.absorbed_by].iter().any(|ids| ids.contains(&other.id)) || one.id == other.id
    };
    let is_anothers = bearer.is_some_and(|bearer| {
        let known = bearer.identifiers_and_claims();
        values.iter().any(|one| known.contains(*one)) && !were_one(bearer, owner) && !were_one(owner, bearer)
    });
    // For a row without a creation time, `at` is the time of receipt.
    let is_told = |record: &Record| record.received_at.is_none_or(|received| record.at < received);
    let earlier = owner.records.get(&record.key).filter(|earlier| is_told(earlier) && is_told(record));
    let is_later = earlier.is_some_and(|earlier| record.at.as_second() > earlier.at.as_second() + 1);
    is_anothers || is_later
}

fn is_row(identifier: &Identifier) -> bool {
    matches!(identifier.kind(), Kind::CrmContact | Kind::CrmLead)
}

fn is_mirror(record: &Record) -> bool {
    matches!(record.fact, Fact::CrmContact { .. } | Fact::CrmLead { .. })
}

/// Returns the values that the person gave anywhere but in the CRM.
fn own_values(person: &Person) -> BTreeSet<&Identifier> {
    let told = person.records.values().filter(|record| !is_mirror(record));
    told.flat_map(|record| record.identifiers.iter().chain(&record.claims)).collect()
}

/// Returns the person's values that are only claimed.
fn bare_claims(person: &Person) -> BTreeSet<&Identifier> {
    let told = || person.records.values().filter(|record| !is_mirror(record));
    let proven: BTreeSet<&Identifier> = told().flat_map(|record| &record.identifiers).collect();
    told().flat_map(|record| &record.claims).filter(|one| !proven.contains(one)).collect()
}

/// Returns true if a claim of the person stands in this contact. The caller must then find out who wrote it.
pub fn shows_claim(record: &Record, owner: &Person) -> bool {
    let is_contact = matches!(record.fact, Fact::CrmContact { .. });
    is_contact && !bare_claims(owner).is_disjoint(&record.identifiers.iter().collect())
}

/// Returns the values of the person's other contacts. The hub writes a manager's value into all of them.
fn values_of_rows<'p>(person: &'p Person, key: &RecordKey) -> BTreeSet<&'p Identifier> {
    let is_there = |record: &&Record| matches!(record.fact, Fact::CrmContact { deleted: false, .. });
    let others = person.records.values().filter(is_there).filter(|record| record.key != *key);
    let others = others.filter(|_| !stagedoor_model::breakage::is_on("copied-value-proves"));
    others.flat_map(|record| &record.identifiers).filter(|one| !is_row(one)).collect()
}

/// Returns the oldest record that shares a value with a row that stood alone before the hub knew its owner.
fn beside_managers_values<'p>(person: &'p Person, row: &Record) -> Option<&'p Record> {
    let earlier = person.records.get(&row.key).filter(|earlier| earlier.beside.is_none())?;
    let told = |record: &&Record| earlier.identifiers.iter().any(|one| !is_row(one) && record.names(one));
    let all = person.records.values().filter(|record| !is_mirror(record) && record.is_of_somebody());
    all.filter(|record| record.beside.is_none()).filter(told).min_by_key(|record| (record.at, record.key.clone()))
}

/// Returns the record beside which a row stands if the person turns out to be two. It shares a value with the row, or
/// else is the record that the person was made from. A row made before people were joined stays with the person for
/// whom it was made, whatever was written there since.
fn anchor_of(person: &Person, row: &Record, row_of: Option<PersonId>) -> Option<RecordKey> {
    // The id in the row tells more: the index assigns a late row to all of the joined people.
    let bearer = bearer_of(row).filter(|id| person.absorbed_origins.contains_key(id));
    let stands = |key: &&RecordKey| person.records.get(*key).is_some_and(|record| !is_mirror(record));
    // A manager made the row: it belongs to the person who has the values from before the hub wrote into it.
    let by_itself = || beside_managers_values(person, row).filter(|_| bearer.is_none());
    if let Some(record) = by_itself().filter(|_| !stagedoor_model::breakage::is_on("managers-row-anybodys")) {
        return Some(record.key.clone());
    }
    let made_for = bearer.or(row_of).filter(|_| !person.merged_ids.is_empty()).and_then(|id| match id == person.id {
        true => Some(&person.origin),
        false => person.absorbed_origins.get(&id),
    });
    if let Some(key) = made_for.filter(stands).filter(|_| !stagedoor_model::breakage::is_on("row-of-joined-anybodys")) {
        return Some(key.clone());
    }
    let tells = |record: &Record| !record.identifiers.is_empty() || !record.claims.is_empty();
    // A report about an address alone may go to another person with that address.
    let is_own =
        |record: &&Record| !is_mirror(record) && record.is_of_somebody() && record.beside.is_none() && tells(record);
    let oldest = |shares: bool| {
        let told = |record: &&Record| row.held().any(|one| !is_row(one) && record.names(one));
        let all = person.records.values().filter(is_own).filter(|record| !shares || told(record));
        all.min_by_key(|record| (record.at, record.key.clone()))
    };
    let sharing = oldest(true).filter(|_| !stagedoor_model::breakage::is_on("row-beside-anybody"));
    let origin = person.records.get(&person.origin).filter(is_own);
    let told_elsewhere = sharing.or(origin).or_else(|| oldest(false));
    told_elsewhere.or_else(|| managers_contact(person, row)).map(|record| record.key.clone())
}

/// Returns the contact that a manager made, for a row that the hub made of it in another CRM. Nothing else is known of
/// the person. A row that the hub knew before is a manager's own.
fn managers_contact<'p>(person: &'p Person, row: &Record) -> Option<&'p Record> {
    if person.records.contains_key(&row.key) || stagedoor_model::breakage::is_on("row-beside-no-contact") {
        return None;
    }
    let is_contact = |record: &&Record| matches!(record.fact, Fact::CrmContact { .. }) && record.beside.is_none();
    let oldest = || person.records.values().filter(is_contact).min_by_key(|record| (record.at, &record.key));
    person.records.get(&person.origin).filter(is_contact).or_else(oldest)
}
