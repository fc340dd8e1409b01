//! Tickets that leave an order before it is paid: nothing was paid for them, so nothing is given back.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{Catalog, Stage, deals};
use stagedoor_model::{
    Body, Event, EventId, Money, Order, OrderBody, OrderState, Record, Rung, ShowRef, Ticket, Timestamp,
};
use world::{World, at, phone, source};

const LOST: Option<(Stage, Option<i64>)> = Some((Stage::Lost, None));
const NEITHER: BTreeSet<&str> = BTreeSet::new();

fn money(minor: i64) -> Money {
    Money { minor, currency: "RUB".into() }
}

/// An order of a ticket for `a` (2,000.00) and one for `b` (1,000.00), as told at a second with what is cancelled and paid.
fn told(shows: [&str; 2], second: i64, cancelled: &BTreeSet<&str>, total: i64, paid: i64) -> Record {
    let ticket = |(id, show, price): (&str, &str, i64)| Ticket {
        id: id.to_owned(),
        show: ShowRef::id(show.to_owned()),
        price: money(price),
        live: !cancelled.contains(id),
    };
    let is_paid = paid >= total && paid > 0;
    let order = Order {
        revision: at(second),
        state: if is_paid { OrderState::Paid } else { OrderState::Placed },
        id: "1".into(),
        number: None,
        placed_at: at(0),
        paid_at: is_paid.then(|| at(second)),
        paid: money(paid),
        total: money(total),
        tickets: [("t0", shows[0], 200_000), ("t1", shows[1], 100_000)].into_iter().map(ticket).collect(),
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
    let id = EventId::derive(&source(), &["order", &second.to_string()]);
    stagedoor_engine::record_of(&Event::new(&source(), id, at(second), body)).expect("about a person")
}

/// Stage and worth of the deal of a show; the order of the records makes no difference.
fn deal(records: &[Record], show: &str) -> Option<(Stage, Option<i64>)> {
    let of = |records: &mut dyn Iterator<Item = &Record>| {
        let mut world = World::default();
        records.for_each(|record| world.deliver(vec![record.clone()]));
        let person = world.people.into_values().next()?;
        let all = deals(&person, &Catalog::default()).into_values();
        let mut own = all.filter(|deal| deal.show.key.0.ends_with(show));
        own.next().map(|deal| (deal.stage, deal.worth("RUB").map(|money| money.minor)))
    };
    let found = of(&mut records.iter());
    assert_eq!(found, of(&mut records.iter().rev()), "whatever came first");
    found
}

fn in_cart(minor: i64) -> Option<(Stage, Option<i64>)> {
    Some((Rung::Cart.into(), Some(minor)))
}

fn paid(minor: i64) -> Option<(Stage, Option<i64>)> {
    Some((Rung::Paid.into(), Some(minor)))
}

#[test]
fn a_ticket_taken_out_of_an_unpaid_order_leaves_the_price_of_the_others() {
    let gone = BTreeSet::from(["t0"]);
    // Some shops lower the total, others leave it.
    for total in [100_000, 300_000] {
        let of_one = [told(["a", "a"], 1, &NEITHER, 300_000, 0), told(["a", "a"], 2, &gone, total, 0)];
        assert_eq!(deal(&of_one, "a"), in_cart(100_000), "{total}");
        let of_two = [told(["a", "b"], 1, &NEITHER, 300_000, 0), told(["a", "b"], 2, &gone, total, 0)];
        assert_eq!((deal(&of_two, "a"), deal(&of_two, "b")), (LOST, in_cart(100_000)), "{total}");
    }
}

#[test]
fn an_unpaid_order_without_a_ticket_left_is_lost() {
    let both = BTreeSet::from(["t0", "t1"]);
    for total in [0, 300_000] {
        assert_eq!(deal(&[told(["a", "a"], 2, &both, total, 0)], "a"), LOST, "{total}");
        let of_two = [told(["a", "b"], 1, &NEITHER, 300_000, 0), told(["a", "b"], 2, &both, total, 0)];
        assert_eq!((deal(&of_two, "a"), deal(&of_two, "b")), (LOST, LOST), "{total}");
    }
}

#[test]
fn a_ticket_that_was_cancelled_before_the_payment_is_not_refunded_by_it() {
    let gone = BTreeSet::from(["t0"]);
    let records = [
        told(["a", "b"], 1, &NEITHER, 300_000, 0),
        told(["a", "b"], 2, &gone, 100_000, 0),
        told(["a", "b"], 3, &gone, 100_000, 100_000),
    ];
    assert_eq!((deal(&records, "a"), deal(&records, "b")), (LOST, paid(100_000)));
    // The state between the two never came.
    let records = [records[0].clone(), records[2].clone()];
    assert_eq!((deal(&records, "a"), deal(&records, "b")), (LOST, paid(100_000)));
}

#[test]
fn the_unpaid_rest_of_a_paid_order_is_given_up_and_not_refunded() {
    let (without, gone) = (BTreeSet::from(["t1"]), BTreeSet::from(["t1"]));
    let mut first = told(["a", "b"], 1, &without, 200_000, 200_000);
    if let stagedoor_model::Fact::Order { order: Some(order), tickets, .. } = &mut first.fact {
        order.tickets.truncate(1);
        tickets.remove("t1");
    }
    let more = told(["a", "b"], 2, &NEITHER, 300_000, 200_000);
    let records = [first, more, told(["a", "b"], 3, &gone, 200_000, 200_000)];
    assert_eq!((deal(&records, "a"), deal(&records, "b")), (paid(200_000), LOST));
}

#[test]
fn a_ticket_that_was_paid_for_and_exchanged_is_refunded() {
    let gone = BTreeSet::from(["t0"]);
    let records = [
        told(["a", "b"], 1, &NEITHER, 300_000, 0),
        told(["a", "b"], 2, &NEITHER, 300_000, 300_000),
        told(["a", "b"], 3, &gone, 100_000, 100_000),
    ];
    let back = Some((Stage::Refunded, Some(0)));
    assert_eq!((deal(&records, "a"), deal(&records, "b")), (back, paid(100_000)));
}

#[test]
fn a_record_that_was_stored_without_the_history_of_its_tickets_tells_what_its_order_does() {
    let gone = BTreeSet::from(["t0"]);
    let old = told(["a", "b"], 2, &gone, 100_000, 0);
    let mut text = serde_json::to_value(&old).expect("JSON");
    text["fact"]["order"].as_object_mut().expect("an order").remove("tickets").expect("a history");
    let old: Record = serde_json::from_value(text).expect("still read");
    assert_eq!(deal(std::slice::from_ref(&old), "a"), LOST);
    let records = [old, told(["a", "b"], 3, &gone, 100_000, 100_000)];
    assert_eq!((deal(&records, "a"), deal(&records, "b")), (LOST, paid(100_000)));
}

#[test]
fn who_asks_again_after_giving_up_is_not_lost_by_a_later_change_of_the_order() {
    let gone = BTreeSet::from(["t0"]);
    let since = |records: &[Record]| -> Option<Timestamp> {
        let mut world = World::default();
        records.iter().for_each(|record| world.deliver(vec![record.clone()]));
        let person = world.people.into_values().next()?;
        let all = deals(&person, &Catalog::default()).into_values();
        all.filter(|deal| deal.show.key.0.ends_with('a')).map(|deal| deal.since).next()
    };
    let records = [
        told(["a", "b"], 1, &NEITHER, 300_000, 0),
        told(["a", "b"], 2, &gone, 100_000, 0),
        told(["a", "b"], 9, &gone, 100_000, 100_000),
    ];
    assert_eq!(since(&records), Some(at(2)));
}
