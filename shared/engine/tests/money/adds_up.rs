//! Deals, settlements and the journal come to the same sums, whatever is generated.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stagedoor_engine::{Catalog, Person, PersonId, deals, settlements};
use stagedoor_model::{
    Body, Fact, FormSubmitted, Item, Order, OrderState, Payment, PaymentKind, PaymentReported, Refund,
};

use crate::{
    money, order, record, told,
    world::{World, at, email, phone, source},
};

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
            let form = FormSubmitted {
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
