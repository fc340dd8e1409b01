//! A shop that tells a new date only by sending an order again: the show is moved for the order's holder.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{Catalog, Show, ShowKey, ShowState, deals};
use stagedoor_model::{
    Body, Event, EventId, Fact, Money, Order, OrderBody, OrderState, Record, ShowRef, Ticket, Timestamp,
};
use world::{World, at, phone, source};

fn money(minor: i64) -> Money {
    Money { minor, currency: "RUB".into() }
}

/// A paid order of one ticket, as told at a second with a start of its show.
fn told(second: i64, starts_at: i64) -> Record {
    told_of(second, &[starts_at])
}

/// The same with a ticket for each start.
fn told_of(second: i64, starts: &[i64]) -> Record {
    order("1", second, starts, true)
}

fn order(id: &str, second: i64, starts: &[i64], live: bool) -> Record {
    let ticket = |(index, start): (usize, &i64)| {
        let show = ShowRef { starts_at: Some(at(*start)), ..ShowRef::id("gull") };
        Ticket { id: format!("t{index}"), show, price: money(100_000), live }
    };
    let order = Order {
        revision: at(second),
        state: OrderState::Paid,
        id: id.into(),
        number: None,
        placed_at: at(0),
        paid_at: Some(at(0)),
        paid: money(100_000),
        total: money(100_000),
        tickets: starts.iter().enumerate().map(ticket).collect(),
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
    let body = Body::of_order(OrderBody::new(BTreeSet::from([phone(1)]), None, order));
    let id = EventId::derive(&source(), &["order", id, &second.to_string(), &format!("{starts:?}")]);
    stagedoor_engine::record_of(&Event::new(&source(), id, at(second), body)).expect("about a person")
}

/// The show of the only deal, however its records were ordered.
fn show(records: &[Record], catalog: &Catalog) -> Show {
    let of = |records: Vec<&Record>| {
        let mut world = World::default();
        records.into_iter().for_each(|record| world.deliver(vec![record.clone()]));
        let person = world.people.into_values().next().expect("a person");
        deals(&person, catalog).into_values().next().expect("a deal").show
    };
    let found = of(records.iter().collect());
    assert_eq!(found, of(records.iter().rev().collect()), "whatever came first");
    found
}

/// The starts that the show had one after the other, the announced one first.
fn starts(show: &Show) -> Vec<Option<Timestamp>> {
    [show.announced].into_iter().chain(show.course.iter().map(|change| change.starts_at)).collect()
}

#[test]
fn each_other_date_of_later_states_is_a_move() {
    let days = |all: &[i64]| all.iter().map(|day| Some(at(day * 1_000))).collect::<Vec<_>>();
    for (told_days, expected) in [
        (&[1, 1][..], &[1][..]),
        (&[1, 2], &[1, 2]),
        (&[1, 1, 2, 2], &[1, 2]),
        (&[1, 2, 3], &[1, 2, 3]),
        (&[1, 2, 1], &[1, 2, 1]),
        (&[1, 2, 1, 3], &[1, 2, 1, 3]),
        (&[2, 1, 1, 2, 1], &[2, 1]),
    ] {
        let records: Vec<Record> = (1..).zip(told_days).map(|(second, day)| told(second, day * 1_000)).collect();
        assert_eq!(starts(&show(&records, &Catalog::default())), days(expected), "{told_days:?}");
        // The same for a show whose first date stands in the config.
        let announced = show(&records[..1], &Catalog::default());
        let catalog = Catalog { shows: [(announced.key.clone(), announced)].into(), ..Catalog::default() };
        let known_as = [((source().to_string(), "gull".to_owned()), catalog.shows.keys().next().expect("one").clone())];
        let catalog = Catalog { known_as: known_as.into(), ..catalog };
        assert_eq!(starts(&show(&records, &catalog)), days(expected), "{told_days:?} in the config");
    }
}

#[test]
fn states_of_one_revision_are_no_move() {
    for days in [[1, 2], [2, 1]] {
        let records = days.map(|day| told(5, day * 1_000));
        assert_eq!(show(&records, &Catalog::default()).course, []);
    }
}

#[test]
fn a_ticket_for_another_date_under_one_id_of_a_show_is_no_move() {
    let given_back = [told_of(1, &[1_000, 2_000]), told_of(2, &[2_000])];
    assert_eq!(show(&given_back, &Catalog::default()).course, []);
    for both in [[1_000, 2_000], [2_000, 1_000]] {
        for bought_first in both {
            let added = [told_of(1, &[bought_first]), told_of(2, &both)];
            assert_eq!(show(&added, &Catalog::default()).course, [], "{bought_first} before {both:?}");
        }
    }
}

#[test]
fn an_order_that_was_given_back_tells_nothing_of_a_live_one() {
    let moved = [order("1", 1, &[1_000], true), order("1", 2, &[2_000], true)];
    let given_back = order("1", 3, &[2_000], false);
    let live = order("2", 4, &[3_000], true);
    let show = show(&[&moved[..], &[given_back, live]].concat(), &Catalog::default());
    assert_eq!((show.starts_at, show.course), (Some(at(3_000)), vec![]));
    // Neither tells of a change.
    let given_back = order("1", 1, &[1_000], false);
    let live = order("2", 4, &[3_000], true);
    let show = self::show(&[given_back, live], &Catalog::default());
    assert_eq!((show.starts_at, show.course), (Some(at(3_000)), vec![]));
}

#[test]
fn a_ticket_that_was_given_back_may_keep_the_date_of_then() {
    let both = |second: i64, start: i64, is_first: bool| {
        let mut record = told_of(second, &[1_000, start]);
        let Fact::Order { order: Some(order), .. } = &mut record.fact else { panic!("an order") };
        order.tickets[0].live = is_first;
        record
    };
    let records = [both(1, 1_000, true), both(2, 1_000, false), both(3, 2_000, false)];
    assert_eq!(starts(&show(&records, &Catalog::default())), [Some(at(1_000)), Some(at(2_000))]);
}

#[test]
fn a_date_that_changes_with_every_state_is_no_move() {
    let records: Vec<Record> = (1..30).map(|second| told(second, second * 1_000)).collect();
    assert_eq!(show(&records, &Catalog::default()).course, []);
}

#[test]
fn a_cancellation_between_two_states_stands_also_if_the_later_one_repeats_the_new_date() {
    let mut catalog = Catalog::default();
    let key = format!("{}/gull", source());
    catalog.learned.insert(ShowKey(key), ShowState::new(at(5), ShowRef::id("gull"), true));
    let show = show(&[told(1, 1_000), told(3, 2_000), told(9, 2_000)], &catalog);
    assert!(show.cancelled);
    assert_eq!(show.starts_at, Some(at(2_000)));
}

#[test]
fn a_new_date_after_a_postponement_ends_it() {
    let mut catalog = Catalog::default();
    let key = format!("{}/gull", source());
    catalog.learned.insert(ShowKey(key), ShowState::new(at(5), ShowRef::id("gull"), false));
    assert!(show(&[told(1, 1_000), told(3, 1_000)], &catalog).is_postponed());
    let show = show(&[told(1, 1_000), told(9, 2_000)], &catalog);
    assert!(!show.is_postponed());
    assert_eq!(show.starts_at, Some(at(2_000)));
}
