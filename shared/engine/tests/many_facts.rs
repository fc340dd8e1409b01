//! One person with many facts: what is derived from them costs about as much a fact, however many there are.
//!
//! Each step is measured by the CPU time of its own thread with 125 and with 1,000 orders. Eight times as much is linear,
//! 64 times is quadratic.

mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
};

use stagedoor_engine::{
    Campaign, Catalog, CrmState, Localised, MailingLimits, Person, Pipeline, Stage, Traits, deals, due_messages, fold,
    group, looked_up, next_turn, plan, record_of,
};
use stagedoor_model::{
    Body, Event, EventId, Identifier, LetterReported, LinkClicked, LinkIssued, LinkKey, MailMessageState, Money, Order,
    OrderBody, OrderState, Payment, PaymentKind, Purpose, Record, SourceName, Ticket,
};
use world::{World, at, email, phone, source};

const FEW: usize = 125;
const MANY: usize = 8 * FEW;
/// Growth of a step's cost that is still taken for linear: sorting and caches add to the factor 8.
const MOST: f64 = 24.0;

fn event(parts: &[&str], second: i64, body: Body) -> Record {
    let id = EventId::derive(&source(), parts);
    record_of(&Event::new(&source(), id, at(second), body)).expect("about a person")
}

fn order(n: usize) -> Record {
    let second = 1_000 * n as i64;
    let money = Money { minor: 150_000, currency: "RUB".into() };
    let show = stagedoor_model::ShowRef::id(format!("show-{}", n % 7));
    let order = Order {
        revision: at(second),
        state: OrderState::Paid,
        id: format!("order-{n}"),
        number: Some(format!("№ {n}")),
        placed_at: at(second),
        paid_at: Some(at(second)),
        paid: money.clone(),
        total: money.clone(),
        tickets: vec![Ticket { id: format!("t{n}"), show, price: money, live: true }],
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
    let names = BTreeSet::from([phone(1), email(1)]);
    let body = Body::of_order(OrderBody::new(names, Some("Anna Karenina".into()), order));
    event(&["order", &n.to_string()], second, body)
}

/// What a payment provider tells of every fifth order, by the payment's id alone.
fn paid(n: usize) -> Record {
    let amount = Money { minor: 150_000, currency: "RUB".into() };
    let payment = Payment { at: at(1_000 * n as i64), kind: PaymentKind::Received, amount };
    let mut record = order(n);
    record.key = stagedoor_model::RecordKey(format!("payment:shop:p{n}"));
    record.identifiers = BTreeSet::from([email(1)]);
    record.name = None;
    record.fact = stagedoor_model::Fact::of_money(BTreeMap::new(), BTreeMap::from([(format!("p{n}"), payment)]));
    record
}

fn letter(n: usize, state: MailMessageState) -> Record {
    let campaign = Some(format!("campaign-{}", n % 3));
    let letter = Some(format!("letter-{n}"));
    let body = LetterReported { to: email(1), state, by_machine: false, letter, campaign, link: None, code: None };
    let mut record = event(&["letter", &n.to_string()], 1_000 * n as i64 - 500, Body::LetterReported(body));
    record.source = SourceName::new("mail").expect("a name");
    record
}

/// A link in a letter, and its look.
fn link(n: usize) -> [Record; 2] {
    let token = LinkKey::new("test").mint(1, Purpose::Chat, &n.to_string(), at(1_000_000_000));
    let (campaign, purpose, second) = (format!("campaign-{}", n % 3), Purpose::Chat, 1_000 * n as i64);
    let issued = LinkIssued {
        identifiers: BTreeSet::from([email(1)]),
        token: token.clone(),
        campaign: campaign.clone(),
        purpose,
        expires_at: at(1_000_000_000),
        is_sent: true,
    };
    let clicked = LinkClicked { token, campaign, purpose, show: None };
    [
        event(&["issued", &n.to_string()], second - 900, Body::LinkIssued(issued)),
        event(&["clicked", &n.to_string()], second - 300, Body::LinkClicked(clicked)),
    ]
}

/// A box office's account: orders, and for each some letters, links and payments.
fn records(orders: usize) -> Vec<Record> {
    let mut all: Vec<Record> = (0..orders).map(order).collect();
    all.extend((0..orders).step_by(5).map(paid));
    all.extend((0..orders).step_by(4).map(|n| letter(n, MailMessageState::Delivered)));
    all.extend((1..orders).step_by(4).map(|n| letter(n, MailMessageState::Opened)));
    all.extend((2..orders).step_by(4).map(|n| letter(n, MailMessageState::Clicked)));
    all.extend((0..orders).step_by(4).flat_map(link));
    all
}

fn catalog() -> Catalog {
    let campaign = |n: u16| Campaign {
        name: format!("campaign-{n}"),
        number: n + 1,
        show: None,
        channels: vec![],
        shop: None,
        pool: None,
        ends_at: at(1_000_000_000),
        sms: None,
        title: Localised::default(),
        words: Localised::default(),
    };
    let stages = Stage::ALL.iter().map(|stage| (*stage, format!("{} ·", stage.name()))).collect();
    Catalog {
        campaigns: (0..3).map(|n| (format!("campaign-{n}"), campaign(n))).collect(),
        pipelines: vec![Pipeline { name: "Sales".into(), stages }],
        manners: MailingLimits::default(),
        ..Catalog::default()
    }
}

fn person(orders: usize) -> (World, Person) {
    let mut world = World::default();
    world.deliver(records(orders));
    let person = world.people.values().next().expect("a person").clone();
    assert_eq!(world.people.len(), 1);
    (world, person)
}

/// Nanoseconds of CPU that this thread used.
fn cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split_whitespace().next().and_then(|one| one.parse().ok()).expect("a number")
}

/// CPU of one run in nanoseconds. The kernel counts in steps of some milliseconds, so what is quick runs often.
fn cost(work: impl Fn()) -> f64 {
    let (before, mut runs) = (cpu(), 0);
    loop {
        work();
        runs += 1;
        let used = cpu() - before;
        if used > 60_000_000 {
            return used as f64 / f64::from(runs);
        }
    }
}

type Step = (&'static str, fn(&World, &Person));

fn steps() -> Vec<Step> {
    vec![
        ("name", |_, person| _ = black_box(person.name())),
        ("deals", |_, person| _ = black_box(deals(person, &catalog()))),
        ("traits", |_, person| _ = black_box(Traits::of(person, &BTreeMap::new(), &catalog()))),
        ("next_turn", |_, person| _ = black_box(next_turn(person, &CrmState::default(), at(0)))),
        ("plan", |_, person| _ = black_box(plan(person, &CrmState::default(), &catalog(), at(0)))),
        ("dues", |_, person| {
            let (link, shared) = (CrmState::default(), BTreeSet::new());
            _ = black_box(due_messages(person, &link, &Traits::default(), &catalog(), &shared, at(0)));
        }),
        ("fold", |world, person| {
            let record = order(1_000_000);
            let names: BTreeSet<Identifier> = looked_up(&record);
            assert!(!names.is_empty());
            let groups = group(vec![record], vec![person.clone()], &world.owners, &world.known_shared, &world.guards);
            groups.into_iter().for_each(|group| _ = black_box(fold(group, &world.known_shared, &world.guards)));
        }),
    ]
}

#[test]
fn what_is_derived_of_one_person_costs_about_as_much_a_fact_with_many_facts_as_with_few() {
    let (few, many) = (person(FEW), person(MANY));
    let measured = steps().into_iter().map(|(name, step)| {
        let (one, other) = (cost(|| step(&few.0, &few.1)), cost(|| step(&many.0, &many.1)));
        (name, one / 1e6, other / 1e6, other / one)
    });
    let measured: Vec<(&str, f64, f64, f64)> = measured.collect();
    for (name, one, other, growth) in &measured {
        println!("{name:<10} {one:9.2} ms {other:9.2} ms {growth:6.1} times");
    }
    let steep: Vec<&str> = measured.iter().filter(|(.., growth)| *growth > MOST).map(|(name, ..)| *name).collect();
    assert!(steep.is_empty(), "these grow with the square of what is known of a person: {steep:?}");
}
