//! What a CRM tells of one row, in any order: a restore that is told late brings nothing old back.

mod world;

use std::collections::BTreeSet;

use stagedoor_engine::record_of;
use stagedoor_model::{Body, ContactChanged, Event, EventId, Fact, Identifier, Kind, LeadChanged, Record};
use world::{World, at, phone, source};

fn told(second: i64, body: Body) -> Record {
    let id = EventId::derive(&source(), &["told", &second.to_string()]);
    record_of(&Event::new(&source(), id, at(second), body)).expect("about a row")
}

/// A state of a contact, told at a second. A restore tells what was changed earlier.
fn contact(second: i64, deleted: bool, name: &str, phones: &[Identifier], changed_at: Option<i64>) -> Record {
    told(
        second,
        Body::ContactChanged(ContactChanged {
            contact: 77,
            deleted,
            name: Some(name.to_owned()).filter(|_| !deleted),
            identifiers: phones.iter().cloned().collect(),
            phones: vec![],
            emails: vec![],
            created_at: at(0),
            hub_id: None,
            changed_at: changed_at.map(at),
        }),
    )
}

fn deal(second: i64, deleted: bool, moved_by: Option<u64>, changed_at: Option<i64>) -> Record {
    let (pipeline, status, hub_id) = (None, moved_by.map(|by| 100 + by), None);
    let changed_at = changed_at.map(at);
    told(second, Body::LeadChanged(LeadChanged { lead: 78, deleted, pipeline, status, moved_by, hub_id, changed_at }))
}

/// The state that remains, whatever comes first.
fn joined(one: &Record, other: &Record) -> Record {
    let joined = one.clone().join(other.clone());
    assert_eq!(joined, other.clone().join(one.clone()));
    joined
}

fn phones(record: &Record) -> BTreeSet<Identifier> {
    let (one, other) = (phone(1), phone(2));
    record.identifiers.iter().filter(|held| **held == one || **held == other).cloned().collect()
}

fn is_deleted(record: &Record) -> bool {
    matches!(record.fact, Fact::CrmContact { deleted: true, .. } | Fact::CrmLead { deleted: true, .. })
}

#[test]
fn a_restore_that_is_told_late_takes_back_no_later_change_of_a_contact() {
    let changed = contact(5, false, "Anna B.", &[phone(1), phone(2)], None);
    let restored = contact(9, false, "Anna", &[phone(1)], Some(2));
    let both = joined(&changed, &restored);
    assert_eq!(phones(&both), [phone(1), phone(2)].into());
    assert_eq!(both.name.as_ref().map(|(_, name)| name.as_str()), Some("Anna B."));
    // A deletion before the restore is over; one after it counts.
    assert!(!is_deleted(&joined(&both, &contact(8, true, "", &[], None))));
    assert!(is_deleted(&joined(&both, &contact(10, true, "", &[], None))));
}

#[test]
fn what_stood_in_a_contact_stands_there_again_once_it_is_restored() {
    let deleted = joined(&contact(2, false, "Anna", &[phone(1)], None), &contact(4, true, "", &[], None));
    assert!(is_deleted(&deleted) && phones(&deleted).is_empty());
    let restored = joined(&deleted, &contact(6, false, "Anna", &[phone(1)], Some(2)));
    assert!(!is_deleted(&restored));
    assert_eq!(phones(&restored), [phone(1)].into());
}

#[test]
fn a_restore_that_is_told_late_takes_back_no_later_move_of_a_deal() {
    let moved = deal(5, false, Some(7), None);
    let both = joined(&moved, &deal(9, false, Some(0), Some(2)));
    assert!(
        matches!(both.fact, Fact::CrmLead { by: Some(7), changed_at, .. } if changed_at == at(5)),
        "{:?}",
        both.fact
    );
    assert!(!is_deleted(&joined(&both, &deal(8, true, None, None))));
    // A move before the deletion does not outlive it.
    let restored = joined(&moved, &deal(9, false, Some(0), Some(5)));
    assert!(matches!(restored.fact, Fact::CrmLead { by: Some(0), .. }), "{:?}", restored.fact);
}

#[test]
fn a_forgotten_row_says_nothing_of_the_row_that_has_its_number_now() {
    let mut world = World::default();
    world.deliver(vec![contact(2, false, "Anna", &[phone(1)], None)]);
    let row = Identifier::opaque(Kind::CrmContact, "", "77").expect("a row");
    let anna = world.people.values_mut().next().expect("Anna");
    let id = anna.id;
    anna.forget_row(&row);
    world.owners.remove(&row);
    // The contact is hers after all.
    world.deliver(vec![contact(4, false, "Anna", &[phone(1)], None)]);
    let anna = &world.people[&id];
    assert_eq!((world.people.len(), anna.contacts()), (1, [77].into()));
    let gone = |record: &&Record| matches!(record.fact, Fact::CrmContact { contact: 77, deleted: true, .. });
    assert!(!anna.records.values().any(|record| gone(&record)), "nothing says that contact 77 is deleted");
}
