//! A box office's one account, which orders again and again, and a channel that accepts every message.

use std::{collections::BTreeSet, num::NonZeroU32};

use async_trait::async_trait;
use stagedoor_model::{
    Body, Event, EventId, LetterReported, MailMessageState, MessageDecided, Money, Order, OrderBody, OrderState,
    ShowRef, SourceName, Ticket, Timestamp,
};
use stagedoor_ports::{Channel, Sending};

/// The second at which the events of the box office begin.
const BEGIN: i64 = 1_700_000_000;

/// An event of a source, this many seconds after the first.
pub fn event(source: &str, id: &str, second: i64, body: Body) -> Event {
    let source = SourceName::new(source).expect("a name");
    let at = Timestamp::from_second(BEGIN + second).expect("a time");
    Event::new(&source, EventId::derive(&source, &[id]), at, body)
}

/// The account's order with this number.
pub fn order(n: usize) -> Event {
    let second = 1_000 * n as i64;
    let placed_at = Timestamp::from_second(BEGIN + second).expect("a time");
    let money = Money { minor: 180_075, currency: "RUB".into() };
    let show = ShowRef::id(format!("evening-{}", n % 12));
    let order = Order {
        revision: placed_at,
        state: OrderState::Paid,
        id: format!("order-{n}"),
        number: Some(format!("{}", 70_000 + n)),
        placed_at,
        paid_at: Some(placed_at),
        paid: money.clone(),
        total: money.clone(),
        tickets: vec![Ticket { id: format!("t{n}"), show, price: money, live: true }],
        refunds: Default::default(),
        promo_codes: vec![],
        utm: Default::default(),
        items: vec![],
        company: None,
        show: None,
        due_at: None,
        checks: Default::default(),
        refunds_as_of: None,
        earlier_starts: std::collections::BTreeMap::new(),
        gone_refunds: None,
    };
    let names = ["phone:+79161234567", "email:kassa@example.com"];
    let names: BTreeSet<_> = names.iter().map(|name| name.parse().expect("an identifier")).collect();
    let body = OrderBody::new(names, Some("Agency".into()), order);
    event("theatre", &format!("order {n}"), second, Body::of_order(body))
}

/// A letter of a campaign that the account opened.
pub fn opened(n: usize, second: i64, campaign: String) -> Event {
    let letter = LetterReported {
        to: "email:kassa@example.com".parse().expect("an identifier"),
        state: MailMessageState::Opened,
        by_machine: false,
        letter: Some(format!("letter-{n}")),
        campaign: Some(campaign),
        link: None,
        code: None,
    };
    event("mail", &format!("letter {n}"), second, Body::LetterReported(letter))
}

/// A channel that accepts every message at once.
pub struct Taking;

#[async_trait]
impl Channel for Taking {
    async fn send(&self, _: &str, _: &MessageDecided) -> Sending {
        Sending::Sent("m".into())
    }

    fn rate(&self) -> NonZeroU32 {
        NonZeroU32::MAX
    }
}
