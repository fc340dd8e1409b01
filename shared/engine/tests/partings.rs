//! Facts that were one person's become two people's: by an order that is handed on, by a guard, by a manager's word.
#![allow(clippy::indexing_slicing, reason = "it is test code")]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{Guards, Person, PersonId, recognise, record_of};
use stagedoor_model::{
    Body, ContactChanged, Event, EventId, Identifier, IdentityDecided, Kind, Money, Order, OrderBody, OrderState,
    Record, ShowRef, Ticket, Verdict,
};
use world::{World, at, email, phone, source};

fn order(id: u8, revision: i64, name: &str, identifiers: &[Identifier]) -> Record {
    let money = |minor| Money { minor, currency: "RUB".into() };
    let order = Order {
        revision: at(revision),
        state: OrderState::Paid,
        id: id.to_string(),
        number: None,
        placed_at: at(revision),
        paid_at: Some(at(revision)),
        paid: money(300_000),
        total: money(300_000),
        tickets: vec![Ticket { id: "t".into(), show: ShowRef::id("show-1"), price: money(300_000), live: true }],
        refunds: BTreeMap::new(),
        promo_codes: vec![],
        utm: BTreeMap::new(),
        items: vec![],
        company: None,
        show: None,
        due_at: None,
        checks: BTreeMap::new(),
        refunds_as_of: None,
        earlier_starts: BTreeMap::new(),
        gone_refunds: None,
    };
    let body = OrderBody::new(identifiers.iter().cloned().collect(), Some(name.to_owned()), order);
    let id = EventId::derive(&source(), &[&id.to_string(), &revision.to_string()]);
    record_of(&Event::new(&source(), id, at(revision), Body::of_order(body))).expect("about a person")
}

fn row() -> Identifier {
    Identifier::opaque(Kind::CrmContact, "", "77").expect("valid")
}

/// The CRM tells of the contact that stands for `owner`.
fn mirror(owner: &Person, second: i64, identifiers: &[Identifier]) -> Record {
    let body = ContactChanged {
        contact: 77,
        deleted: false,
        name: None,
        identifiers: identifiers.iter().cloned().collect(),
        phones: vec![],
        emails: vec![],
        created_at: at(second),
        hub_id: None,
        changed_at: None,
    };
    let id = EventId::derive(&source(), &["row", &second.to_string()]);
    let mut record =
        record_of(&Event::new(&source(), id, at(second), Body::ContactChanged(body))).expect("of a person");
    record.identifiers.insert(row());
    recognise(&mut record, owner, None, |_| true);
    record
}

fn different(one: Identifier, other: Identifier, second: i64) -> Record {
    let id = EventId::derive(&source(), &[&one.to_string(), &other.to_string(), &second.to_string()]);
    let body = IdentityDecided { verdict: Verdict::DifferentPeople(one, other), by: "manager".into() };
    record_of(&Event::new(&source(), id, at(second), Body::IdentityDecided(body))).expect("about people")
}

fn of<'w>(world: &'w World, one: &Identifier) -> &'w Person {
    &world.people[world.owners.get(one).expect("somebody is known by it")]
}

fn orders(person: &Person) -> usize {
    person.records.keys().filter(|key| key.0.starts_with("order/")).count()
}

#[test]
fn the_contact_of_who_hands_an_order_on_stays_theirs() {
    let mut world = World::default();
    // The order that she hands on is not what she is made from.
    world.deliver(vec![order(2, 0, "Alla", &[phone(1)])]);
    world.deliver(vec![order(1, 1, "Alla", &[phone(1), email(1)])]);
    let told = mirror(of(&world, &phone(1)), 2, &[email(1)]);
    world.deliver(vec![told, order(2, 0, "Alla", &[phone(1)])]);
    assert_eq!(of(&world, &row()).id, of(&world, &phone(1)).id);
    world.deliver(vec![order(1, 10, "Boris", &[phone(2), email(2)])]);
    assert_eq!(of(&world, &row()).id, of(&world, &phone(1)).id, "the row is Alla's");
    assert_eq!((orders(of(&world, &phone(1))), orders(of(&world, &phone(2)))), (1, 1));
}

#[test]
fn who_gets_an_order_back_under_another_address_is_known_by_the_first_one_too() {
    let mut world = World::default();
    world.deliver(vec![order(1, 1, "Anna", &[phone(1), email(1)])]);
    let anna = of(&world, &phone(1)).id;
    world.deliver(vec![order(1, 10, "Boris", &[phone(2)])]);
    world.deliver(vec![order(1, 20, "Anna", &[email(3)])]);
    assert_eq!((of(&world, &phone(1)).id, of(&world, &email(1)).id), (anna, anna), "what she proved together stands");
    assert_ne!(of(&world, &email(3)).id, anna, "nothing but her name says that it is she");
    assert_eq!((orders(of(&world, &email(3))), orders(of(&world, &phone(2)))), (1, 0));
}

#[test]
fn what_a_buyer_corrected_before_they_handed_the_order_on_joins_nobody() {
    let mut world = World::default();
    world.deliver(vec![order(2, 0, "Vera", &[email(3)])]);
    world.deliver(vec![order(1, 1, "Anna", &[phone(1), email(3)])]);
    world.deliver(vec![order(1, 5, "Anna", &[phone(1), email(1)])]);
    world.deliver(vec![order(1, 10, "Boris", &[phone(2)])]);
    assert_eq!(world.people.len(), 3);
    assert_ne!(of(&world, &phone(1)).id, of(&world, &email(3)).id, "the e-mail that she mistyped is Vera's alone");
    assert_eq!(of(&world, &phone(1)).id, of(&world, &email(1)).id);
}

#[test]
fn who_takes_an_order_over_does_not_live_under_the_id_of_who_had_it() {
    let mut world = World::default();
    world.deliver(vec![order(2, 0, "Anna", &[email(1)])]);
    world.deliver(vec![order(1, 1, "Anna", &[phone(1)])]);
    let second = of(&world, &phone(1)).id;
    world.deliver(vec![order(3, 5, "Anna", &[phone(1), email(1)])]);
    assert_eq!(world.people.len(), 1);
    world.deliver(vec![order(1, 10, "Vera", &[phone(3)])]);
    assert_ne!(of(&world, &phone(3)).id, second, "under that id the CRM has a contact of Anna's");
    assert!(of(&world, &phone(1)).merged_ids.contains(&second));
}

/// The guard of phones lets a cashier's e-mail hold now these together and now those.
#[test]
fn who_was_joined_into_two_people_one_after_the_other_parts_from_both() {
    let mut world = World { guards: Guards { phones: 2, ..Guards::default() }, ..World::default() };
    let kassa = email(9);
    let (anna, boris, vera) = (phone(1), phone(2), phone(3));
    world.deliver(vec![order(1, 1, "Anna", std::slice::from_ref(&anna))]);
    world.deliver(vec![order(2, 2, "Boris", std::slice::from_ref(&boris))]);
    world.deliver(vec![order(3, 3, "Vera", std::slice::from_ref(&vera))]);
    let id = |world: &World, one: &Identifier| of(world, one).id;
    let [a, b, v] = [&anna, &boris, &vera].map(|one| id(&world, one));
    world.deliver(vec![order(6, 22, "Vera", &[vera.clone(), kassa.clone()])]);
    world.deliver(vec![order(5, 23, "Boris", &[boris.clone(), kassa.clone()])]);
    assert_eq!((id(&world, &vera), of(&world, &boris).merged_ids.clone()), (b, BTreeSet::from([v])));
    world.deliver(vec![order(4, 21, "Anna", &[anna.clone(), kassa.clone()])]);
    assert_eq!((id(&world, &vera), id(&world, &boris)), (a, b));
    assert_eq!(of(&world, &anna).merged_ids, BTreeSet::from([v]), "Vera's rows are with her facts");
    assert_eq!(
        (of(&world, &boris).merged_ids.clone(), of(&world, &boris).parted.clone()),
        (BTreeSet::new(), [a, v].into())
    );
    world.deliver(vec![different(vera.clone(), anna.clone(), 30)]);
    assert_eq!(id(&world, &vera), v, "she lives again");
    let parted: BTreeSet<PersonId> = of(&world, &vera).parted.clone();
    assert_eq!(parted, BTreeSet::from([a, b]), "rows of hers may stand with both");
}

/// A contact that a manager added, with what stands there.
fn added(second: i64, identifiers: &[Identifier]) -> Record {
    let body = ContactChanged {
        contact: 77,
        deleted: false,
        name: None,
        identifiers: identifiers.iter().cloned().collect(),
        phones: vec![],
        emails: vec![],
        created_at: at(second),
        hub_id: None,
        changed_at: None,
    };
    let id = EventId::derive(&source(), &["added", &second.to_string()]);
    let mut record =
        record_of(&Event::new(&source(), id, at(second), Body::ContactChanged(body))).expect("of a person");
    record.identifiers.insert(row());
    record
}

#[test]
fn a_managers_contact_stays_with_whom_it_was_made_of_though_the_hub_wrote_anothers_values_there() {
    for is_contact_first in [true, false] {
        let mut world = World::default();
        let mut first = vec![added(1, &[phone(5)]), order(1, 2, "Anna", &[phone(1), email(1)])];
        if !is_contact_first {
            first.reverse();
        }
        first.into_iter().for_each(|record| world.deliver(vec![record]));
        // A wrong e-mail makes them one, and the hub writes all of it into the contact.
        world.deliver(vec![order(2, 5, "Elena", &[phone(5), email(1)])]);
        assert_eq!(of(&world, &phone(5)).id, of(&world, &phone(1)).id);
        let told = mirror(of(&world, &row()), 6, &[phone(5), phone(1), email(1)]);
        world.deliver(vec![told]);
        world.deliver(vec![order(2, 10, "Elena", &[phone(5), email(5)])]);
        assert_ne!(of(&world, &phone(5)).id, of(&world, &phone(1)).id, "{is_contact_first}");
        assert_eq!(of(&world, &row()).id, of(&world, &phone(5)).id, "{is_contact_first}");
    }
}
