//! Money of deals: to the kopeck, per currency, whatever was refunded, by whom, and whoever was joined.

#[path = "../world/mod.rs"]
mod world;

mod adds_up;

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{Catalog, Deal, Person, Stage, deals, settlements};
use stagedoor_model::{
    Body, Event, EventId, FormSubmitted, Money, Order, OrderBody, OrderState, Payment, PaymentKind, PaymentReported,
    Record, Refund, Rung, ShowRef, Ticket,
};
use stagedoor_texts::Language;
use world::{World, at, email, phone, source};

fn money(minor: i64, currency: &str) -> Money {
    Money { minor, currency: currency.into() }
}

/// A paid order: its tickets by show and price.
fn order(id: &str, tickets: &[(&str, i64)], currency: &str) -> Order {
    let total = tickets.iter().map(|(_, price)| price).sum();
    let ticket = |(index, (show, price)): (usize, &(&str, i64))| Ticket {
        id: format!("t{index}"),
        show: ShowRef::id((*show).to_owned()),
        price: money(*price, currency),
        live: true,
    };
    Order {
        revision: at(10),
        state: OrderState::Paid,
        id: id.into(),
        number: None,
        placed_at: at(0),
        paid_at: Some(at(5)),
        paid: money(total, currency),
        total: money(total, currency),
        tickets: tickets.iter().enumerate().map(ticket).collect(),
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
    }
}

fn refund(minor: i64, currency: &str, tickets: &[&str]) -> Refund {
    let tickets = tickets.iter().map(|id| (*id).to_owned()).collect();
    Refund { amount: money(minor, currency), at: at(20), tickets, moved: false }
}

fn told(order: &Order, buyer: u8) -> Record {
    let identifiers = BTreeSet::from([phone(buyer), email(buyer)]);
    let body = Body::of_order(OrderBody::new(identifiers, Some("Анна".into()), order.clone()));
    record(&["order", &order.id, &order.revision.to_string()], body)
}

fn record(parts: &[&str], body: Body) -> Record {
    let event = Event::new(&source(), EventId::derive(&source(), parts), at(10), body);
    stagedoor_engine::record_of(&event).expect("about a person")
}

fn paid(order: Option<&str>, payment: &str, references: &[&str], kind: PaymentKind, minor: i64, second: i64) -> Record {
    paid_in("RUB", order, payment, references, kind, minor, second)
}

fn paid_in(
    currency: &str,
    order: Option<&str>,
    payment: &str,
    references: &[&str],
    kind: PaymentKind,
    minor: i64,
    second: i64,
) -> Record {
    let detail = Payment { at: at(second), kind, amount: money(minor, currency) };
    let references = references.iter().map(|id| (*id).to_owned()).collect();
    let (shop, order) = (Some(source()), order.map(str::to_owned));
    let body = PaymentReported { shop, order, payment: payment.into(), references, detail };
    record(&["payment", payment, &minor.to_string(), &second.to_string()], Body::PaymentReported(body))
}

fn one(records: Vec<Record>) -> Person {
    let mut world = World::default();
    records.into_iter().for_each(|record| world.deliver(vec![record]));
    assert_eq!(world.people.len(), 1);
    world.people.into_values().next().expect("one person")
}

fn deal(person: &Person, show: &str) -> Deal {
    let all = deals(person, &Catalog::default());
    all.into_values().find(|deal| deal.show.key.0.ends_with(show)).expect("a deal")
}

fn worth(person: &Person, show: &str) -> i64 {
    deal(person, show).worth("RUB").map_or(0, |money| money.minor)
}

/// Somebody sends a form about a show.
fn asks(show: &str, second: i64) -> Record {
    let form = FormSubmitted {
        identifiers: BTreeSet::from([phone(1)]),
        proof: Default::default(),
        name: None,
        form: None,
        show: Some(ShowRef::id(show.to_owned())),
        company: None,
        amount: None,
        consents: vec![],
        labels: BTreeMap::new(),
    };
    let asked = Event::new(&source(), EventId::derive(&source(), &["form"]), at(second), Body::FormSubmitted(form));
    stagedoor_engine::record_of(&asked).expect("about people")
}

#[test]
fn who_asks_again_after_a_refund_is_interested_and_has_paid_nothing() {
    let mut bought = order("1", &[("moscow", 500_000)], "RUB");
    bought.refunds.insert("r".into(), refund(500_000, "RUB", &["t0"]));
    bought.tickets[0].live = false;
    let stages = |world: &World| -> Vec<Stage> {
        let all = world.people.values().flat_map(|person| deals(person, &Catalog::default()).into_values());
        all.map(|deal| deal.stage).collect()
    };
    let mut world = World::default();
    world.deliver(vec![told(&bought, 1)]);
    assert_eq!(stages(&world), [Stage::Refunded]);
    world.deliver(vec![asks("moscow", 100)]);
    assert_eq!(stages(&world), [Stage::Ladder(Rung::Interested)]);
}

#[test]
fn what_goes_back_of_another_show_closes_no_new_interest() {
    let mut both = order("1", &[("a", 1_000_000), ("b", 200_000)], "RUB");
    both.refunds.insert("r".into(), refund(1_000_000, "RUB", &["t0"]));
    both.refunds.insert("s".into(), Refund { at: at(200), ..refund(200_000, "RUB", &["t1"]) });
    let person = one(vec![told(&both, 1), asks("a", 100)]);
    assert_eq!(deal(&person, "a").stage, Stage::Ladder(Rung::Interested));
    assert_eq!(deal(&person, "b").stage, Stage::Refunded);
}

#[test]
fn a_refund_of_tickets_of_several_shows_is_parted_by_their_prices() {
    let mut both = order("1", &[("a", 1_000_000), ("b", 200_000)], "RUB");
    both.refunds.insert("r".into(), refund(1_200_000, "RUB", &["t0", "t1"]));
    let person = one(vec![told(&both, 1)]);
    assert_eq!((worth(&person, "a"), worth(&person, "b")), (0, 0));
}

#[test]
fn a_refund_without_tickets_leaves_no_kopeck_over() {
    let mut three = order("1", &[("a", 1_000_000), ("b", 1_000_000), ("c", 1_000_000)], "RUB");
    three.refunds.insert("r".into(), refund(1_000_000, "RUB", &[]));
    let person = one(vec![told(&three, 1)]);
    assert_eq!(["a", "b", "c"].map(|show| worth(&person, show)).iter().sum::<i64>(), 2_000_000);
}

#[test]
fn more_went_back_than_was_paid_and_the_deal_is_worth_nothing_and_a_manager_decides() {
    let mut much = order("1", &[("a", 100_000)], "RUB");
    much.refunds.insert("r".into(), refund(150_000, "RUB", &[]));
    let person = one(vec![told(&much, 1)]);
    assert_eq!(worth(&person, "a"), 0);
    let (order, settlement) = settlements(person.records.values()).orders.into_values().next().expect("an order");
    let troubles = stagedoor_engine::troubles(&order, &settlement);
    assert!(troubles[0].text.to(Language::English).contains("got more back than was paid"), "{troubles:?}");
}

#[test]
fn sums_of_two_currencies_are_never_added() {
    let person =
        one(vec![told(&order("1", &[("a", 500_000)], "RUB"), 1), told(&order("2", &[("a", 2_000_000)], "KZT"), 1)]);
    let deal = deal(&person, "a");
    assert_eq!(deal.worth("RUB"), Some(money(500_000, "RUB")));
    assert_eq!(deal.worth_beside("RUB").collect::<Vec<_>>(), [money(2_000_000, "KZT")]);
}

#[test]
fn money_in_another_currency_than_the_orders_is_said_and_waits_for_a_manager() {
    let mut placed = order("1", &[("a", 310_000)], "RUB");
    (placed.state, placed.paid_at, placed.paid) = (OrderState::Placed, None, money(0, "RUB"));
    let came = paid_in("EUR", Some("1"), "pi_1", &["pi_1"], PaymentKind::Received, 3_100, 7);
    let person = one(vec![told(&placed, 1), came]);
    let (order, settlement) = settlements(person.records.values()).orders.into_values().next().expect("an order");
    assert_eq!(settlement.received, 0);
    let troubles = stagedoor_engine::troubles(&order, &settlement);
    assert!(
        troubles[0].text.to(Language::English).contains("31.00 EUR came for it in another currency"),
        "{troubles:?}"
    );
    assert_eq!(deal(&person, "a").worth_beside("RUB").collect::<Vec<_>>(), [money(3_100, "EUR")]);
}

#[test]
fn a_dispute_is_told_in_the_currency_that_the_bank_claims_back() {
    let disputed = paid_in("EUR", Some("1"), "du_1", &["pi_1"], PaymentKind::Disputed, 3_100, 7);
    let person = one(vec![told(&order("1", &[("a", 310_000)], "RUB"), 1), disputed]);
    let (order, settlement) = settlements(person.records.values()).orders.into_values().next().expect("an order");
    let troubles = stagedoor_engine::troubles(&order, &settlement);
    let texts: Vec<String> = troubles.iter().map(|trouble| trouble.text.to(Language::English)).collect();
    assert!(texts.len() == 1 && texts[0].contains("31.00 EUR") && !texts[0].contains("RUB"), "{texts:?}");
}

#[test]
fn a_refund_that_the_payment_provider_alone_tells_counts() {
    let shop = told(&order("1", &[("a", 150_000), ("a", 150_000)], "RUB"), 1);
    let came = paid(Some("1"), "pi_1", &["pi_1"], PaymentKind::Received, 300_000, 6);
    let part = paid(Some("1"), "ch_1/refunded", &["ch_1", "pi_1"], PaymentKind::Returned, 100_000, 30);
    let whole = paid(Some("1"), "ch_1/refunded", &["ch_1", "pi_1"], PaymentKind::Returned, 300_000, 40);
    let person = one(vec![shop.clone(), came.clone(), part.clone()]);
    let partly = deal(&person, "a");
    assert_eq!((partly.stage, worth(&person, "a"), partly.live_tickets), (Rung::Paid.into(), 200_000, 2));
    assert_eq!(partly.sums["RUB"].refunded, 100_000);
    let person = one(vec![shop, came, part, whole]);
    let all = deal(&person, "a");
    assert_eq!((all.stage, worth(&person, "a"), all.live_tickets), (Stage::Refunded, 0, 0));
    assert_eq!(all.sums["RUB"].refunded, 300_000);
}

#[test]
fn a_refund_by_the_payments_id_alone_finds_its_order_whatever_came_first() {
    let records = [
        told(&order("1", &[("a", 300_000)], "RUB"), 1),
        paid(Some("1"), "pi_1", &["cs_1", "pi_1"], PaymentKind::Received, 300_000, 6),
        paid(None, "ch_1/refunded", &["ch_1", "pi_1"], PaymentKind::Returned, 300_000, 30),
    ];
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]];
    for (order, by) in orders.iter().flat_map(|order| [(order, "ch_1"), (order, "pi_1")]) {
        // The failure names the charge alone, or the intent.
        let failed = format!("{by}/refunded/failed/re_1");
        let failed = paid(None, &failed, &[by], PaymentKind::ReturnFailed, 100_000, 31);
        let records = [&records[..], &[failed]].concat();
        let mut world = World::default();
        order.iter().for_each(|index| world.deliver(vec![records[*index].clone()]));
        assert_eq!(world.people.len(), 1, "{order:?}");
        let person = world.people.values().next().expect("one");
        assert_eq!(worth(person, "a"), 100_000, "{order:?}");
        assert!(settlements(person.records.values()).unmatched.is_empty(), "{order:?}");
    }
}

#[test]
fn money_that_matches_no_order_is_kept_in_sight_and_settles_when_the_order_comes() {
    let came = paid(Some("9"), "pi_9", &["pi_9"], PaymentKind::Received, 300_000, 6);
    let alone = one(vec![came.clone()]);
    let unmatched = settlements(alone.records.values()).unmatched;
    assert!(unmatched[0].text.to(Language::English).contains("3000.00 RUB came for order 9 of shop"), "{unmatched:?}");
    let mut placed = order("9", &[("a", 300_000)], "RUB");
    (placed.state, placed.paid_at, placed.paid) = (OrderState::Placed, None, money(0, "RUB"));
    let person = one(vec![came, told(&placed, 1)]);
    assert!(settlements(person.records.values()).unmatched.is_empty());
    assert_eq!(deal(&person, "a").stage, Rung::Paid.into());
}

#[test]
fn a_paid_order_without_lines_was_not_given_back() {
    let mut bare = order("1", &[], "RUB");
    (bare.paid, bare.total) = (money(300_000, "RUB"), money(300_000, "RUB"));
    let person = one(vec![told(&bare, 1)]);
    let standing = deals(&person, &Catalog::default()).into_values().next().expect("a deal");
    assert_eq!((standing.stage, standing.worth("RUB")), (Rung::Paid.into(), Some(money(300_000, "RUB"))));
    bare.refunds.insert("r".into(), refund(300_000, "RUB", &[]));
    let person = one(vec![told(&bare, 1)]);
    let back = deals(&person, &Catalog::default()).into_values().next().expect("a deal");
    assert_eq!((back.stage, back.worth("RUB")), (Stage::Refunded, Some(money(0, "RUB"))));
}

#[test]
fn tickets_that_were_cancelled_after_the_payment_are_refunded() {
    let mut dead = order("1", &[("a", 300_000)], "RUB");
    dead.tickets[0].live = false;
    assert_eq!(deal(&one(vec![told(&dead, 1)]), "a").stage, Stage::Refunded);
}

#[test]
fn an_exchanged_ticket_takes_its_money_along() {
    let mut exchanged = order("1", &[("a", 300_000), ("b", 300_000)], "RUB");
    exchanged.tickets[0].live = false;
    (exchanged.paid, exchanged.total) = (money(300_000, "RUB"), money(300_000, "RUB"));
    let person = one(vec![told(&exchanged, 1)]);
    assert_eq!((deal(&person, "a").stage, worth(&person, "a")), (Stage::Refunded, 0));
    assert_eq!((deal(&person, "b").stage, worth(&person, "b")), (Rung::Paid.into(), 300_000));
    // With a fee for the exchange.
    (exchanged.paid, exchanged.total) = (money(330_000, "RUB"), money(330_000, "RUB"));
    let person = one(vec![told(&exchanged, 1)]);
    assert_eq!((worth(&person, "a"), worth(&person, "b")), (0, 330_000));
}

#[test]
fn a_refund_that_names_no_ticket_is_of_the_cancelled_ones() {
    for total in [100_000, 200_000] {
        let mut part = order("1", &[("a", 100_000), ("b", 100_000)], "RUB");
        part.tickets[0].live = false;
        part.total = money(total, "RUB");
        part.refunds.insert("r".into(), refund(100_000, "RUB", &[]));
        let person = one(vec![told(&part, 1)]);
        assert_eq!((deal(&person, "a").stage, worth(&person, "a")), (Stage::Refunded, 0), "{total}");
        assert_eq!((deal(&person, "b").stage, worth(&person, "b")), (Rung::Paid.into(), 100_000), "{total}");
    }
}

#[test]
fn a_ticket_cancelled_within_the_second_of_the_payment_is_cancelled() {
    let before = order("1", &[("a", 150_000), ("a", 150_000)], "RUB");
    let mut after = before.clone();
    after.tickets[1].live = false;
    (after.total, after.paid) = (money(150_000, "RUB"), money(150_000, "RUB"));
    for states in [[&before, &after], [&after, &before]] {
        let person = one(states.map(|state| told(state, 1)).to_vec());
        assert_eq!((worth(&person, "a"), deal(&person, "a").live_tickets), (150_000, 1));
    }
}

#[test]
fn an_order_that_waits_for_its_money_is_not_given_up_with_another() {
    let firm = |id: &str, second: i64| {
        let mut placed = order(id, &[("a", 540_000)], "RUB");
        (placed.state, placed.paid_at, placed.paid) = (OrderState::Placed, None, money(0, "RUB"));
        (placed.placed_at, placed.revision) = (at(second), at(second));
        placed
    };
    let mut given_up = firm("2", 20);
    (given_up.state, given_up.revision) = (OrderState::Cancelled, at(30));
    let part = paid(Some("1"), "pi_1", &["pi_1"], PaymentKind::Received, 200_000, 6);
    let open = one(vec![told(&firm("1", 0), 1), told(&given_up, 1)]);
    assert_eq!((deal(&open, "a").stage, worth(&open, "a")), (Rung::Cart.into(), 540_000));
    let partly = one(vec![told(&firm("1", 0), 1), part.clone(), told(&given_up, 1)]);
    assert_eq!((deal(&partly, "a").stage, worth(&partly, "a")), (Rung::Cart.into(), 540_000));
    // And with one that was paid and given back.
    let mut back = order("3", &[("a", 100_000)], "RUB");
    back.refunds.insert("r".into(), refund(100_000, "RUB", &["t0"]));
    let beside = one(vec![told(&firm("1", 0), 1), part, told(&back, 1)]);
    assert_eq!((deal(&beside, "a").stage, worth(&beside, "a")), (Rung::Cart.into(), 540_000));
}

#[test]
fn a_price_is_never_negative() {
    let mut credit = order("2", &[("a", -50_000)], "RUB");
    (credit.paid, credit.total) = (money(-50_000, "RUB"), money(-50_000, "RUB"));
    let alone = one(vec![told(&credit, 1)]);
    assert_eq!(worth(&alone, "a"), 0);
    let beside = one(vec![told(&order("1", &[("a", 300_000)], "RUB"), 1), told(&credit, 1)]);
    assert_eq!(worth(&beside, "a"), 300_000);
    let mut back = order("1", &[("a", 300_000)], "RUB");
    back.refunds.insert("r".into(), refund(-100_000, "RUB", &["t0"]));
    assert_eq!(worth(&one(vec![told(&back, 1)]), "a"), 300_000);
}
