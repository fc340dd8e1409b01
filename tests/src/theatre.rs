//! A theatre's orders as events.

use std::collections::BTreeMap;

use stagedoor_model::{
    Body, Event, EventId, Money, Order, OrderBody, OrderState, ShowRef, SourceName, Ticket, Timestamp,
};

/// Paid orders, each by a new person.
///
/// # Panics
/// Never: all names in it are valid.
pub fn orders(count: usize) -> Vec<Event> {
    let source = SourceName::new("theatre").expect("a name");
    let money = |minor| Money { minor, currency: "RUB".into() };
    let one = |n: usize| {
        let at = Timestamp::from_second(1_800_000_000 + n as i64).expect("in range");
        let ticket = Ticket { id: format!("t{n}"), show: ShowRef::id("cherry"), price: money(180_075), live: true };
        let order = Order {
            revision: at,
            state: OrderState::Paid,
            id: n.to_string(),
            number: None,
            placed_at: at,
            paid_at: Some(at),
            paid: money(180_075),
            total: money(180_075),
            tickets: vec![ticket],
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
        let names = [format!("phone:+7916{:07}", 1_000_000 + n), format!("email:buyer{n}@example.com")];
        let names = names.iter().map(|text| text.parse().expect("an identifier")).collect();
        let body = Body::of_order(OrderBody::new(names, Some(format!("Buyer {n}")), order));
        Event::new(&source, EventId::derive(&source, &["order", &n.to_string()]), at, body)
    };
    (0..count).map(one).collect()
}
