//! Money of deals: to the kopeck, per currency, whatever was refunded, by whom, and whoever was joined.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stagedoor_engine::{Catalog, Deal, Person, PersonId, Stage, deals, settlements};
use stagedoor_model::{
    Body, Event, EventId, Fact, FormSubmitted, Item, Money, Order, OrderBody, OrderState, Payment, PaymentKind,
    PaymentReported, Record, Refund, Rung, ShowRef, Ticket,
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

/// One order as the generator makes it.
#[derive(Debug, Clone)]
struct Made {
    order: Order,
    buyer: u8,
    payments: Vec<(String, Payment)>,
}

fn made() -> impl Strategy<Value = Made> {
    let tickets = proptest::collection::vec((0_u8..3, 0_i64..500_000, any::<bool>()), 0..4);
    let goods = proptest::option::of((1_u32..4, 1_i64..70_000));
    let refunds = proptest::collection::vec((0_i64..900_000, proptest::collection::btree_set(0_u8..4, 0..3)), 0..3);
    let payments = proptest::collection::vec((any::<bool>(), 1_i64..900_000, any::<bool>()), 0..4);
    let plain = (0_u8..4, any::<bool>(), 0_u8..3, 0_i64..600_000);
    (plain, tickets, goods, refunds, payments).prop_map(
        |((buyer, tenge, state, bare), tickets, goods, refunds, payments)| {
            let currency = if tenge { "KZT" } else { "RUB" };
            let lines: Vec<(&str, i64)> = tickets
                .iter()
                .map(|(show, price, _)| (["a", "b", "c"].get(usize::from(*show)).copied().unwrap_or("c"), *price))
                .collect();
            let mut order = order("x", &lines, currency);
            if let Some((quantity, price)) = goods {
                let item = Item { id: "i".into(), title: "mug".into(), quantity, price: money(price, currency) };
                order.items.push(item);
                order.total.minor += price * i64::from(quantity);
            }
            if order.tickets.is_empty() && order.items.is_empty() {
                order.total.minor = bare;
            }
            order.paid = order.total.clone();
            // Cancelled tickets: in every other order its shop lowers the total.
            for (ticket, (_, price, live)) in order.tickets.iter_mut().zip(&tickets) {
                ticket.live = *live;
                order.total.minor -= if *live || bare % 2 == 0 { 0 } else { *price };
            }
            if state == 0 {
                (order.state, order.paid_at, order.paid) = (OrderState::Placed, None, money(0, currency));
            }
            if state == 1 {
                order.state = OrderState::Cancelled;
            }
            for (index, (minor, tickets)) in refunds.into_iter().enumerate() {
                let tickets = tickets.into_iter().map(|id| format!("t{id}")).collect();
                let detail =
                    Refund { amount: money(minor, currency), at: at(20 + index as i64), tickets, moved: false };
                order.refunds.insert(format!("r{index}"), detail);
            }
            let payment = |(index, (came, minor, foreign)): (usize, (bool, i64, bool))| {
                let kind = if came { PaymentKind::Received } else { PaymentKind::Returned };
                let amount = money(minor, if foreign && index == 3 { "EUR" } else { currency });
                (format!("p{index}"), Payment { at: at(30 + index as i64), kind, amount })
            };
            Made { order, buyer, payments: payments.into_iter().enumerate().map(payment).collect() }
        },
    )
}

/// What was kept, by currency, from the facts alone.
fn of_the_journal(all: &[Made]) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for Made { order, payments, .. } in all {
        for currency in ["RUB", "KZT", "EUR"] {
            let moved = |kind: PaymentKind| -> i64 {
                let own = payments.iter().filter(|(_, one)| one.kind == kind && one.amount.currency == currency);
                own.map(|(_, one)| one.amount.minor).sum()
            };
            let own = order.total.currency == currency;
            let by_shop: i64 = if own { order.refunds.values().map(|refund| refund.amount.minor).sum() } else { 0 };
            let came = match moved(PaymentKind::Received) {
                0 if own => order.paid.minor,
                came => came,
            };
            let kept = (came - moved(PaymentKind::Returned).max(by_shop)).max(0);
            *sums.entry(currency.to_owned()).or_insert(0) += kept;
        }
    }
    sums.retain(|_, minor| *minor != 0);
    sums
}

fn of_settlements<'p>(people: impl Iterator<Item = &'p Person>) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for person in people {
        for (order, settlement) in settlements(person.records.values()).orders.values() {
            for (currency, minor) in settlement.kept_by_currency(order) {
                *sums.entry(currency.to_owned()).or_insert(0) += minor;
            }
        }
    }
    sums.retain(|_, minor| *minor != 0);
    sums
}

fn of_deals<'p>(people: impl Iterator<Item = &'p Person>) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for deal in people.flat_map(|person| deals(person, &Catalog::default()).into_values()) {
        for (currency, sum) in deal.sums {
            assert!(sum.kept() >= 0, "no deal is worth less than nothing: {sum:?}");
            *sums.entry(currency).or_insert(0) += sum.kept();
        }
    }
    sums.retain(|_, minor| *minor != 0);
    sums
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 500, ..ProptestConfig::default() })]

    /// Whatever is ordered, paid in parts, refunded by the shop or the provider, joined or handed on.
    #[test]
    fn deals_settlements_and_the_journal_come_to_the_same(
        all in proptest::collection::vec(made(), 1..6),
        joins in proptest::collection::vec((0_u8..4, 0_u8..4), 0..3),
        handed_on in proptest::option::of(0_u8..4),
    ) {
        let all: Vec<Made> = all.into_iter().enumerate().map(|(index, mut one)| {
            one.order.id = format!("o{index}");
            one
        }).collect();
        let mut world = World::default();
        for Made { order, buyer, payments } in &all {
            for (id, payment) in payments {
                let id = format!("{}-{id}", order.id);
                let body = PaymentReported {
                    shop: Some(source()),
                    order: Some(order.id.clone()),
                    references: [id.clone()].into(),
                    payment: id.clone(),
                    detail: payment.clone(),
                };
                world.deliver(vec![record(&["payment", &id], Body::PaymentReported(body))]);
            }
            world.deliver(vec![told(order, *buyer)]);
        }
        if let (Some(buyer), Some(first)) = (handed_on, all.first()) {
            let mut later = first.order.clone();
            later.revision = at(50);
            world.deliver(vec![told(&later, buyer)]);
        }
        for (one, other) in joins {
            let form = stagedoor_model::FormSubmitted {
                identifiers: BTreeSet::from([phone(one), email(other)]),
                proof: Default::default(),
                name: None,
                form: None,
                show: None,
                company: None,
                amount: None,
                consents: vec![],
                labels: BTreeMap::new(),
            };
            world.deliver(vec![record(&["form", &one.to_string(), &other.to_string()], Body::FormSubmitted(form))]);
        }
        let people: &BTreeMap<PersonId, Person> = &world.people;
        let journal = of_the_journal(&all);
        prop_assert_eq!(of_settlements(people.values()), journal.clone());
        prop_assert_eq!(of_deals(people.values()), journal);
        let kept = people.values().flat_map(|person| person.records.values());
        prop_assert_eq!(kept.filter(|record| matches!(record.fact, Fact::Order { .. })).count(), all.len());
    }
}
