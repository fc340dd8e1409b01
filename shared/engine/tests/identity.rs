//! People and deals depend on what happened, never on how it arrived.
#![allow(clippy::indexing_slicing, reason = "it is test code")]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stagedoor_engine::{Guards, PersonId, record_of};
use stagedoor_model::{
    Body, Event, EventId, FormSubmitted, Identifier, Money, Order, OrderBody, OrderState, Purpose, Record, ShowRef,
    Ticket,
};
use world::{World, at, customer, email, issued, phone, said, shared, source, started};

fn form(id: u16, second: i64, identifiers: Vec<Identifier>) -> Record {
    let named = format!("{id} {}", identifiers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    let body = FormSubmitted {
        identifiers: identifiers.into_iter().collect(),
        proof: Default::default(),
        name: Some(format!("Fan {id}")),
        form: None,
        show: Some(ShowRef::id(format!("show-{}", id % 3))),
        amount: None,
        consents: vec![],
        labels: BTreeMap::new(),
        company: None,
    };
    let id = EventId::derive(&source(), &[&named]);
    record_of(&Event::new(&source(), id, at(second), Body::FormSubmitted(body))).expect("about a person")
}

fn order(id: u8, revision: i64, state: OrderState, identifiers: Vec<Identifier>) -> Record {
    let money = |minor| Money { minor, currency: "RUB".into() };
    let paid = if state == OrderState::Placed { 0 } else { 300_000 };
    let order = Order {
        revision: at(revision),
        state,
        id: id.to_string(),
        number: None,
        placed_at: at(i64::from(id)),
        paid_at: (paid > 0).then(|| at(revision)),
        paid: money(paid),
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
    let body = OrderBody::new(identifiers.into_iter().collect(), None, order);
    let id = EventId::derive(&source(), &[&id.to_string(), &revision.to_string()]);
    record_of(&Event::new(&source(), id, at(revision), Body::of_order(body))).expect("about a person")
}

fn any_record() -> impl Strategy<Value = Record> {
    let ids = proptest::collection::vec(
        prop_oneof![(0u8..6).prop_map(phone), (0u8..6).prop_map(email), (0u8..4).prop_map(customer)],
        1..4,
    );
    prop_oneof![
        (0u16..40, ids.clone()).prop_map(|(id, ids)| form(id, i64::from(id % 7), ids)),
        (0u8..8, 0i64..20, 0u8..3, ids).prop_map(|(id, revision, state, ids)| {
            let state = [OrderState::Placed, OrderState::Paid, OrderState::Cancelled][usize::from(state)];
            order(id, revision, state, ids)
        }),
        // Links, chats that came through them, from two browsers, before and after they are too old, and what chats give.
        (0u8..3, 0u8..6).prop_map(|(link, whose)| issued(&link.to_string(), Purpose::Chat, phone(whose), 0, 15)),
        (0u8..4, 0u8..3, 0u8..3, 1i64..20).prop_map(|(chat, link, browser, second)| {
            started(chat, &link.to_string(), (browser > 0).then_some(["a", "b"][usize::from(browser % 2)]), second)
        }),
        (0u8..4, 0u8..6, 1i64..20, any::<bool>()).prop_map(|(chat, n, second, mail)| shared(
            chat,
            if mail { email(n) } else { phone(n) },
            second
        )),
        (0u8..4, 1i64..40).prop_map(|(chat, second)| said(chat, second)),
        (0u8..6, 0u8..6, 1i64..40).prop_map(|(one, other, second)| same(phone(one), email(other), second)),
        (0u8..6, 0u8..6, 1i64..40).prop_map(|(one, other, second)| different(phone(one), email(other), second)),
    ]
}

fn picture_of(records: &[Record], chunk: usize, guards: &Guards) -> BTreeSet<(BTreeSet<String>, String)> {
    let mut world = World { guards: guards.clone(), ..World::default() };
    for part in records.chunks(chunk.max(1)) {
        world.deliver(part.to_vec());
    }
    world.picture()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_order_any_duplication_any_split_gives_the_same_people_and_deals(
        records in proptest::collection::vec(any_record(), 1..14),
        (seed, chunk, tight) in (any::<u64>(), 1usize..6, any::<bool>()),
    ) {
        let guards = if tight { Guards { phones: 2, emails: 2, crowd: 3, published: 2, ..Guards::default() } } else { Guards::default() };
        let expected = picture_of(&records, records.len(), &guards);
        let mut shuffled: Vec<Record> = records.iter().chain(records.iter().take(3)).cloned().collect();
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        prop_assert_eq!(picture_of(&shuffled, chunk, &guards), expected);
    }

    #[test]
    fn a_join_of_records_is_associative_commutative_and_idempotent(
        (a, b, c) in (0i64..5, 0i64..5, 0i64..5),
        (x, y, z) in (0u8..3, 0u8..3, 0u8..3),
    ) {
        let states = [OrderState::Placed, OrderState::Paid, OrderState::Cancelled];
        let [a, b, c] = [(a, x), (b, y), (c, z)].map(|(rev, s)| order(1, rev, states[usize::from(s)], vec![phone(s), email(rev as u8)]));
        prop_assert_eq!(a.clone().join(b.clone()), b.clone().join(a.clone()));
        prop_assert_eq!(a.clone().join(b.clone()).join(c.clone()), a.clone().join(b.join(c)));
        prop_assert_eq!(a.clone().join(a.clone()), a);
    }
}

#[test]
fn a_second_email_with_the_same_phone_is_the_same_fan() {
    let mut world = World::default();
    world.deliver(vec![form(1, 1, vec![phone(1), email(1)])]);
    world.deliver(vec![form(2, 2, vec![phone(1), email(2)])]);
    assert_eq!(world.people.len(), 1);
}

#[test]
fn two_people_known_apart_become_one_when_one_order_names_both() {
    let mut world = World::default();
    world.deliver(vec![form(1, 1, vec![phone(1)])]);
    world.deliver(vec![form(2, 2, vec![email(2)])]);
    assert_eq!(world.people.len(), 2);
    let elder = PersonId::of(&form(1, 1, vec![phone(1)]).key);
    world.deliver(vec![order(7, 3, OrderState::Paid, vec![phone(1), email(2)])]);
    assert_eq!(world.people.keys().copied().collect::<Vec<_>>(), vec![elder]);
}

#[test]
fn two_customers_of_one_shop_with_one_phone_wait_for_a_manager() {
    let mut world = World::default();
    world.deliver(vec![form(1, 1, vec![phone(1), customer(1)])]);
    world.deliver(vec![form(2, 2, vec![phone(1), customer(2)])]);
    assert_eq!(world.people.len(), 2);
    assert!(world.people.values().all(|person| person.blocked_with.len() == 1));
}

#[test]
fn the_box_offices_phone_does_not_weld_its_buyers_together() {
    let mut world = World::default();
    for n in 0..9 {
        world.deliver(vec![form(n, i64::from(n), vec![phone(1), email(n as u8)])]);
    }
    assert_eq!(world.people.len(), 9, "nine addresses with one phone are nine people");
    world.deliver(vec![form(20, 20, vec![phone(1), email(0)])]);
    assert_eq!(world.people.len(), 9, "and the address still finds its own");
}

#[test]
fn a_blocked_number_joins_nobody() {
    let blocked = BTreeSet::from([phone(1)]);
    let mut world = World { guards: Guards { blocked, ..Guards::default() }, ..World::default() };
    world.deliver(vec![form(1, 1, vec![phone(1), email(1)]), form(2, 2, vec![phone(1), email(2)])]);
    assert_eq!(world.people.len(), 2);
}

/// An order of a shop at one of its revisions, with the name that its buyer gave.
fn named(id: u8, revision: i64, name: &str, identifiers: Vec<Identifier>) -> Record {
    let mut record = order(id, revision, OrderState::Paid, identifiers);
    record.name = Some((at(revision), name.into()));
    record
}

fn holder_of<'w>(world: &'w World, one: &Identifier) -> &'w stagedoor_engine::Person {
    let id = world.owners.get(one).expect("somebody is known by it");
    &world.people[id]
}

#[test]
fn a_crowd_stays_one_after_one_of_it_buys_again() {
    let mut world = World::default();
    for n in 0..9 {
        world.deliver(vec![order(n, i64::from(n), OrderState::Paid, vec![phone(n), email(0)])]);
    }
    assert!(world.known_shared.contains(&email(0)), "nine phones with one e-mail are a crowd");
    world.deliver(vec![order(20, 20, OrderState::Paid, vec![phone(3)])]);
    assert!(world.known_shared.contains(&email(0)), "one of them bought again by phone alone");
    for n in 0..3 {
        world.deliver(vec![order(30 + n, 30, OrderState::Paid, vec![customer(n), email(0)])]);
    }
    assert_eq!(world.people.len(), 12, "strangers with the cashier's e-mail stay strangers");
}

#[test]
fn a_phone_of_many_customers_or_of_many_names_is_a_crowds() {
    let mut world = World::default();
    for n in 0..40 {
        world.deliver(vec![order(n, i64::from(n), OrderState::Paid, vec![phone(1), customer(n)])]);
    }
    assert_eq!(world.people.len(), 40);
    assert!(world.known_shared.contains(&phone(1)));
    assert!(world.people.values().all(|person| person.blocked_with.is_empty()), "a crowd has no neighbours");
    let mut world = World::default();
    for n in 0..14 {
        world.deliver(vec![named(n, i64::from(n), &format!("Buyer {n}"), vec![phone(1)])]);
    }
    assert!(world.known_shared.contains(&phone(1)), "fourteen names bought with the box office's phone");
    let mut world = World::default();
    for n in 0..40 {
        world.deliver(vec![named(n, i64::from(n), &format!("Guest {n}"), vec![phone(1), email(1)])]);
    }
    assert_eq!(world.people.len(), 1, "an assistant who names a guest on each order is one person");
}

#[test]
fn strangers_whom_a_cash_desk_calls_one_customer_stay_strangers() {
    let mut world = World::default();
    for n in 0..9 {
        world.deliver(vec![order(n, i64::from(n), OrderState::Paid, vec![customer(1), phone(n), email(n)])]);
    }
    assert!(world.known_shared.contains(&customer(1)), "nine phones of one customer are a crowd");
    assert_eq!(world.people.len(), 9);
    assert!(world.people.values().all(|person| person.phones().len() == 1 && deals_of(person) == 1));
    // Who changed phones and e-mails over the years stays one person.
    let mut world = World::default();
    for n in 0..20 {
        world.deliver(vec![order(n, i64::from(n), OrderState::Paid, vec![customer(1), phone(n / 5), email(n / 5)])]);
    }
    assert_eq!(world.people.len(), 1);
}

#[test]
fn people_kept_apart_behind_one_value_know_one_of_them_and_not_each_other() {
    let mut world = World::default();
    for n in 0..6 {
        world.deliver(vec![order(n, i64::from(n), OrderState::Paid, vec![customer(n), email(1)])]);
    }
    assert_eq!(world.people.len(), 6);
    let all: usize = world.people.values().map(|person| person.blocked_with.len()).sum();
    assert_eq!(all, 10, "five know the one whom the e-mail names, and that one knows the five");
}

#[test]
fn forms_alone_do_not_take_a_phone_from_the_one_who_bought_with_it() {
    let mut world = World::default();
    world.deliver(vec![order(1, 1, OrderState::Paid, vec![phone(1)])]);
    for n in 0..9 {
        world.deliver(vec![form(n, 10 + i64::from(n), vec![phone(1), email(n as u8)])]);
    }
    for n in 2..5 {
        world.deliver(vec![order(n, 100 + i64::from(n), OrderState::Paid, vec![phone(1)])]);
    }
    let buyer = holder_of(&world, &phone(1));
    assert_eq!(deals_of(buyer), 4, "every order by that phone is the buyer's");
    assert_eq!(buyer.emails().len(), 0, "and none of the typed addresses is");
}

fn deals_of(person: &stagedoor_engine::Person) -> usize {
    person.records.keys().filter(|key| key.0.starts_with("order/")).count()
}

#[test]
fn an_order_handed_to_another_buyer_is_theirs_and_joins_nobody() {
    let mut world = World::default();
    world.deliver(vec![named(1, 1, "Alla", vec![phone(1), email(1)])]);
    world.deliver(vec![named(2, 2, "Boris", vec![phone(2), email(2)])]);
    let alla = holder_of(&world, &phone(1)).id;
    world.deliver(vec![named(1, 10, "Boris", vec![phone(2), email(2)])]);
    let (first, second) = (holder_of(&world, &phone(1)), holder_of(&world, &phone(2)));
    assert_eq!((first.id, deals_of(first), deals_of(second)), (alla, 0, 2), "Alla stays who she was");
    assert_eq!((first.name(), second.name()), (Some("Alla"), Some("Boris")));
    assert_eq!((first.phones().len(), second.phones().len()), (1, 1));
    // And back, and on to somebody whom nobody knew.
    world.deliver(vec![named(1, 20, "Alla", vec![phone(1), email(1)])]);
    assert_eq!((holder_of(&world, &phone(1)).id, deals_of(holder_of(&world, &phone(1)))), (alla, 1));
    world.deliver(vec![named(1, 30, "Vera", vec![phone(3)])]);
    assert_eq!(world.people.len(), 3);
    assert_eq!(deals_of(holder_of(&world, &phone(3))), 1);
    assert_eq!(holder_of(&world, &phone(1)).id, alla);
}

#[test]
fn a_corrected_address_of_an_order_parts_the_two_whom_the_mistake_joined() {
    let mut world = World::default();
    world.deliver(vec![named(1, 1, "Anna", vec![phone(1), email(1)])]);
    world.deliver(vec![named(2, 2, "Boris", vec![phone(2), email(1)])]);
    assert_eq!(world.people.len(), 1);
    world.deliver(vec![named(2, 10, "Boris", vec![phone(2), email(2)])]);
    assert_eq!(world.people.len(), 2);
    assert_eq!(holder_of(&world, &phone(2)).emails().len(), 1);
    // Where nothing but the name stayed, it is a correction too.
    let boris = holder_of(&world, &phone(2)).id;
    world.deliver(vec![named(2, 20, "Boris", vec![phone(3)])]);
    assert_eq!(holder_of(&world, &phone(3)).id, boris);
}

#[test]
fn a_payment_of_an_order_does_not_take_its_buyer_away() {
    let mut order = order(1, 1, OrderState::Paid, vec![phone(1)]);
    let buyer = order.identifiers.clone();
    let payment = Record { identifiers: BTreeSet::from([customer_order(1)]), fact: paid(), ..order.clone() };
    order = order.join(payment.clone());
    assert_eq!(order.identifiers, buyer);
    assert_eq!(payment.clone().join(order.clone()).join(payment).identifiers, buyer);
}

fn customer_order(id: u8) -> Identifier {
    format!("order/shop:{id}").parse().expect("valid")
}

fn paid() -> stagedoor_model::Fact {
    stagedoor_model::Fact::of_money(BTreeMap::new(), BTreeMap::new())
}

fn decided(verdict: stagedoor_model::Verdict, second: i64) -> Record {
    let id = EventId::derive(&source(), &[&format!("{verdict:?}"), &second.to_string()]);
    let body = Body::IdentityDecided(stagedoor_model::IdentityDecided { verdict, by: "manager".into() });
    record_of(&Event::new(&source(), id, at(second), body)).expect("about people")
}

fn same(one: Identifier, other: Identifier, second: i64) -> Record {
    decided(stagedoor_model::Verdict::SamePerson(one, other), second)
}

fn different(one: Identifier, other: Identifier, second: i64) -> Record {
    decided(stagedoor_model::Verdict::DifferentPeople(one, other), second)
}

#[test]
fn what_a_manager_calls_one_person_is_one_over_every_guard() {
    let mut world = World::default();
    world.deliver(vec![form(1, 1, vec![phone(1), customer(1)]), form(2, 2, vec![phone(1), customer(2)])]);
    world.deliver(vec![form(3, 3, vec![email(3)])]);
    assert_eq!(world.people.len(), 3);
    world.deliver(vec![same(customer(1), customer(2), 10)]);
    world.deliver(vec![same(email(3), phone(1), 11)]);
    assert_eq!(world.people.len(), 1);
    // The later word about the same pair counts.
    world.deliver(vec![different(phone(1), email(3), 12)]);
    assert_eq!(world.people.len(), 2);
    world.deliver(vec![same(email(3), phone(1), 13)]);
    assert_eq!(world.people.len(), 1);
}

#[test]
fn what_a_manager_calls_two_people_stays_two_whatever_connects_them() {
    let mut world = World::default();
    world.deliver(vec![form(1, 1, vec![phone(1)]), form(2, 2, vec![email(2)])]);
    let ids: BTreeSet<PersonId> = world.people.keys().copied().collect();
    world.deliver(vec![order(7, 3, OrderState::Paid, vec![phone(1), email(2)])]);
    assert_eq!(world.people.len(), 1);
    world.deliver(vec![different(phone(1), email(2), 10)]);
    assert_eq!(world.people.keys().copied().collect::<BTreeSet<_>>(), ids, "they live again under their own ids");
    world.deliver(vec![order(8, 20, OrderState::Paid, vec![phone(1), email(2)])]);
    assert_eq!(world.people.len(), 2);
    let all = world.people.values().map(|person| (person.phones().len(), person.emails().len()));
    assert_eq!(all.filter(|held| *held == (0, 1)).count(), 1, "a decision gives nobody the other's address");
}

#[test]
fn a_lifted_value_joins_again_and_old_facts_do_not_mark_it_anew() {
    let mut world = World::default();
    let orders: Vec<Record> = (0..9).map(|n| order(n, 1, OrderState::Paid, vec![phone(1), email(n)])).collect();
    world.deliver(orders);
    assert!(world.known_shared.contains(&phone(1)));
    world.deliver(vec![decided(stagedoor_model::Verdict::NotShared(phone(1)), 100)]);
    assert!(!world.known_shared.contains(&phone(1)));
    world.deliver(vec![order(50, 200, OrderState::Paid, vec![phone(1)])]);
    world.deliver(vec![order(51, 201, OrderState::Paid, vec![phone(1)])]);
    assert!(!world.known_shared.contains(&phone(1)));
    assert_eq!(world.people.len(), 10, "both orders are one person's");
}

#[test]
fn a_revision_that_comes_late_gives_a_former_buyer_back_what_was_theirs_in_any_order() {
    let latest = order(1, 6, OrderState::Placed, vec![phone(1)]);
    let first = order(1, 0, OrderState::Placed, vec![phone(1), phone(4)]);
    let between = order(1, 2, OrderState::Placed, vec![phone(2)]);
    let known = form(9, 1, vec![phone(4)]);
    let all = [latest, first, known, between];
    assert_eq!(picture_of(&all, 1, &Guards::default()), picture_of(&all, all.len(), &Guards::default()));
}
