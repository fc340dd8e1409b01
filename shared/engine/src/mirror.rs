//! The CRM's own rows come back to the hub. What the hub wrote there itself proves nothing about who is who; what a
//! manager added does.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Kind, Record, RecordKey};

use crate::{Person, PersonId};

/// Ties what is told of a CRM's row to the person whom the row was made for, or was found to belong to: a row stays
/// theirs when a manager rewrites its phone. Values that they had before they stood in the row are echoes. `row_of` is
/// the index's owner of the row: this owner, or somebody who was joined into them since. A claim of theirs is an echo
/// where `wrote` says that the hub may have written it there; else a manager wrote it, and confirms it.
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
    // Of an address alone, as an SMS that says no tells of one, the hub makes no contact: there is nothing that the row stands
    // beside, and its values are all that ties it.
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
    // The hub wrote the name that it knows. Should the person turn out to be two, it is not the word of either.
    let is_written = record.name.as_ref().is_some_and(|(_, name)| owner.told_name() == Some(name.as_str()));
    if is_written && !stagedoor_model::breakage::is_on("written-name-proves") {
        record.name = None;
    }
}

/// Under whom the index has the CRM's row that a record is about.
pub fn row_of(record: &Record, owners: &BTreeMap<Identifier, PersonId>) -> Option<PersonId> {
    owners.get(record.identifiers.iter().find(|one| is_row(one))?).copied()
}

/// Whose the CRM's row is that a record is about: that of the person who owns its number, or else that of somebody whom
/// it can only be a copy of. `owners` say whom identifiers name.
pub fn owner_of<'p>(
    record: &Record,
    owners: &BTreeMap<Identifier, PersonId>,
    find: impl Fn(PersonId) -> Option<&'p Person>,
) -> Option<&'p Person> {
    let row = record.identifiers.iter().find(|one| is_row(one))?;
    let bearer = bearer_of(record).and_then(&find).filter(|person| is_of_bearer(record, person, owners));
    if let Some(owner) = owners.get(row) {
        let owner = find(*owner);
        // The CRM told of the row before it told whose it is: with its id it is more than a row by itself.
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

/// The person whose id the hub wrote into a CRM's row. A manager who copies a row copies the id, too.
pub fn bearer_of(record: &Record) -> Option<PersonId> {
    let (Fact::CrmContact { hub_id, .. } | Fact::CrmLead { hub_id, .. }) = &record.fact else { return None };
    PersonId::parse(hub_id.as_ref()?.split('|').next()?.trim()).ok()
}

/// A deal with their id is theirs. A contact is, too, unless it holds addresses of somebody else only: then a manager made
/// another person's contact out of a copy.
fn is_of_bearer(record: &Record, person: &Person, owners: &BTreeMap<Identifier, PersonId>) -> bool {
    if !matches!(record.fact, Fact::CrmContact { .. }) {
        return true;
    }
    let values: BTreeSet<&Identifier> = record.held().filter(|one| !is_row(one)).collect();
    let is_own = |id: &PersonId| *id == person.id || person.merged_ids.contains(id);
    let known = person.identifiers_and_claims();
    // A claim that the hub wrote there may have got a proven owner since.
    let is_strange = |one: &&Identifier| !known.contains(one) && owners.get(*one).is_some_and(|owner| !is_own(owner));
    if values.iter().any(is_strange) {
        return false;
    }
    values.is_empty() || values.iter().any(|one| known.contains(*one))
}

/// The row is younger than the person, and all that it holds is theirs: the hub made it, and its number is not known yet.
/// What they only typed is not enough: a manager may have made a contact of whom it belongs to.
fn is_copy_of(record: &Record, person: &Person) -> bool {
    let (mut own, claims) = (own_values(person), bare_claims(person));
    own.retain(|one| !claims.contains(one) || stagedoor_model::breakage::is_on("managers-contact-is-claimants"));
    let is_contact = matches!(record.fact, Fact::CrmContact { .. });
    // The CRM's clock has whole seconds.
    let is_younger = record.at.as_second() >= person.born.as_second();
    is_contact && is_younger && record.identifiers.iter().all(|one| is_row(one) || own.contains(one))
}

/// True if the CRM gave the number of a contact of `owner`'s to another row: it was restored, or set up anew. What is told of
/// the row shares no address with them. And it bears the id of somebody else who has such an address (`bearer`), or it was
/// made later than the row that the hub knew. A contact that a manager rewrites keeps its id and the time it was made.
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
    // Of a row that tells no time of its making, the receipt stands there.
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

/// What they told anywhere but in the CRM.
fn own_values(person: &Person) -> BTreeSet<&Identifier> {
    let told = person.records.values().filter(|record| !is_mirror(record));
    told.flat_map(|record| record.identifiers.iter().chain(&record.claims)).collect()
}

/// What they claim and nothing but a claim tells.
fn bare_claims(person: &Person) -> BTreeSet<&Identifier> {
    let told = || person.records.values().filter(|record| !is_mirror(record));
    let proven: BTreeSet<&Identifier> = told().flat_map(|record| &record.identifiers).collect();
    told().flat_map(|record| &record.claims).filter(|one| !proven.contains(one)).collect()
}

/// True if a claim of theirs stands in this contact: who wrote it there has to be known.
pub fn shows_claim(record: &Record, owner: &Person) -> bool {
    let is_contact = matches!(record.fact, Fact::CrmContact { .. });
    is_contact && !bare_claims(owner).is_disjoint(&record.identifiers.iter().collect())
}

/// What a manager wrote into other contacts of theirs: the hub writes it into all of them.
fn values_of_rows<'p>(person: &'p Person, key: &RecordKey) -> BTreeSet<&'p Identifier> {
    let is_there = |record: &&Record| matches!(record.fact, Fact::CrmContact { deleted: false, .. });
    let others = person.records.values().filter(is_there).filter(|record| record.key != *key);
    let others = others.filter(|_| !stagedoor_model::breakage::is_on("copied-value-proves"));
    others.flat_map(|record| &record.identifiers).filter(|one| !is_row(one)).collect()
}

/// The oldest fact that has a value in common with a row that stood by itself, before the hub knew whose it is.
fn beside_managers_values<'p>(person: &'p Person, row: &Record) -> Option<&'p Record> {
    let earlier = person.records.get(&row.key).filter(|earlier| earlier.beside.is_none())?;
    let told = |record: &&Record| earlier.identifiers.iter().any(|one| !is_row(one) && record.names(one));
    let all = person.records.values().filter(|record| !is_mirror(record) && record.is_of_somebody());
    all.filter(|record| record.beside.is_none()).filter(told).min_by_key(|record| (record.at, record.key.clone()))
}

/// The fact beside which a row stands, should the person turn out to be two: one that shares a value with the row, or else
/// what the person was made from. A row that was made before people were joined is that one's for whom it was made, whatever
/// was written there since.
fn anchor_of(person: &Person, row: &Record, row_of: Option<PersonId>) -> Option<RecordKey> {
    // What the row itself bears tells more: the index has one that came late under the id of them together.
    let bearer = bearer_of(row).filter(|id| person.absorbed_origins.contains_key(id));
    let stands = |key: &&RecordKey| person.records.get(*key).is_some_and(|record| !is_mirror(record));
    // A manager made the row: it is the one's who has what stood there before the hub wrote into it.
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
    // What is told of an address alone may go to another person with it.
    let is_own =
        |record: &&Record| !is_mirror(record) && record.is_of_somebody() && record.beside.is_none() && tells(record);
    let oldest = |shares: bool| {
        let told = |record: &&Record| row.held().any(|one| !is_row(one) && record.names(one));
        let all = person.records.values().filter(is_own).filter(|record| !shares || told(record));
        all.min_by_key(|record| (record.at, record.key.clone()))
    };
    let sharing = oldest(true).filter(|_| !stagedoor_model::breakage::is_on("row-beside-anybody"));
    let origin = person.records.get(&person.origin).filter(is_own);
    sharing.or(origin).or_else(|| oldest(false)).map(|record| record.key.clone())
}
