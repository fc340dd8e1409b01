//! People and deals depend on what happened, never on how it arrived.
#![allow(clippy::indexing_slicing, reason = "it is test code")]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stagedoor_engine::{PersonId, Policy, record_of};
use stagedoor_model::{
    Body, Event, EventId, FormSubmitted, Identifier, Money, Order, OrderBody, OrderState, Purpose, Record, ShowRef,
    Ticket,
};
use world::{World, at, customer, email, issued, phone, said, shared, source, started};

fn form(id: u16, second: i64, identifiers: Vec<Identifier>) -> Record {
    let named = format!("{id} {}", identifiers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    let body = FormSubmitted {
        identifiers: identifiers.into_iter().collect(),
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
        due_at: None,
        checks: BTreeMap::new(),
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
    ]
}

fn picture_of(records: &[Record], chunk: usize, policy: &Policy) -> BTreeSet<(BTreeSet<String>, String)> {
    let mut world = World { policy: policy.clone(), ..World::default() };
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
        let policy = if tight { Policy { phones: 2, emails: 2, crowd: 3, published: 2, ..Policy::default() } } else { Policy::default() };
        let expected = picture_of(&records, records.len(), &policy);
        let mut shuffled: Vec<Record> = records.iter().chain(records.iter().take(3)).cloned().collect();
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        prop_assert_eq!(picture_of(&shuffled, chunk, &policy), expected);
    }

    #[test]
    fn a_join_of_records_is_associative_commutative_and_idempotent(
        (a, b, c) in (0i64..9, 0i64..9, 0i64..9),
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
    assert!(world.people.values().all(|person| person.neighbours.len() == 1));
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
    let mut world = World { policy: Policy { blocked, ..Policy::default() }, ..World::default() };
    world.deliver(vec![form(1, 1, vec![phone(1), email(1)]), form(2, 2, vec![phone(1), email(2)])]);
    assert_eq!(world.people.len(), 2);
}
