//! The whole of `sync` driven from a seed: deliveries doubled and shuffled, the CRM throttling, failing, cutting and
//! losing answers, the process killed now and then. At the end the CRM holds what a calm run gives.

use std::{collections::BTreeMap, sync::Arc};

use stagedoor_model::{
    Body, ChatRef, Content, Event, EventId, FormSubmitted, Identifier, MessageHeard, Money, Order, OrderBody,
    OrderState, Profile, Refund, ShowRef, SourceName, Ticket, Timestamp,
};
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_sync::FlushMode;
use stagedoor_tests::{
    crash::{Life, Mortal},
    world::{World, sync},
};

/// A small generator, so that a seed is the whole story.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for n in (1..all.len()).rev() {
            all.swap(n, self.roll(n as u64 + 1) as usize);
        }
    }
}

fn source() -> SourceName {
    SourceName::new("shop").expect("a name")
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second as i64).expect("in range")
}

/// Everybody shows their phone each time: nobody is first two people and then one, whatever comes first.
fn who(fan: u64, dice: &mut Dice) -> std::collections::BTreeSet<Identifier> {
    let mut all = vec![format!("phone:+7916123{:04}", fan)];
    all.extend((dice.roll(2) == 0).then(|| format!("email:fan{fan}@example.com")));
    all.iter().map(|text| text.parse().expect("an identifier")).collect()
}

fn form(n: u64, fan: u64, dice: &mut Dice) -> Event {
    let form = FormSubmitted {
        identifiers: who(fan, dice),
        proof: Default::default(),
        name: Some(format!("Fan {fan}")),
        form: None,
        show: Some(ShowRef::id(format!("show-{}", dice.roll(3)))),
        amount: None,
        consents: vec![],
        labels: BTreeMap::new(),
        company: None,
    };
    Event::new(&source(), EventId::derive(&source(), &["form", &n.to_string()]), at(n), Body::FormSubmitted(form))
}

/// An order in one of the states of its life.
fn order(n: u64, fan: u64, dice: &mut Dice) -> Event {
    let money = |minor| Money { minor, currency: "RUB".into() };
    let (id, step) = (fan * 10 + dice.roll(2), dice.roll(3));
    let paid = if step == 0 { 0 } else { 300_000 };
    let ticket = |k: u64| Ticket {
        id: format!("t{k}"),
        show: ShowRef::id(format!("show-{}", id % 3)),
        price: money(150_000),
        live: true,
    };
    let back = Refund { amount: money(150_000), at: at(900), tickets: ["t1".to_owned()].into(), moved: false };
    let order = Order {
        revision: at(300 + step * 300),
        state: if step == 0 { OrderState::Placed } else { OrderState::Paid },
        id: id.to_string(),
        number: None,
        placed_at: at(300),
        paid_at: (step > 0).then(|| at(600)),
        paid: money(paid),
        total: money(300_000),
        tickets: vec![ticket(0), ticket(1)],
        refunds: if step == 2 { BTreeMap::from([("r".to_owned(), back)]) } else { BTreeMap::new() },
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
    let time = order.revision;
    let body = Body::of_order(OrderBody::new(who(fan, dice), Some(format!("Fan {fan}")), order));
    Event::new(&source(), EventId::derive(&source(), &["order", &n.to_string()]), time, body)
}

/// A line in a chat whose messenger tells the phone.
fn chat(n: u64, fan: u64) -> Event {
    let identifier = |text: String| text.parse::<Identifier>().expect("an identifier");
    let also = [identifier(format!("phone:+7916123{fan:04}"))].into();
    // Called as the fan is: a contact that is made without a name keeps its stand-in until the CRM itself tells of it.
    let profile = Profile { nickname: Some(format!("Fan {fan}")), ..Profile::default() };
    let chat = ChatRef { also, profile, ..ChatRef::of(identifier(format!("whatsapp:7916123{fan:04}"))) };
    let heard = MessageHeard { chat, message: n.to_string(), content: Content::Text(format!("line {n}")) };
    Event::new(&source(), EventId::derive(&source(), &["chat", &n.to_string()]), at(n), Body::MessageReceived(heard))
}

fn deliveries(dice: &mut Dice) -> Vec<Event> {
    let fans = 3 + dice.roll(5);
    let mut all: Vec<Event> = (0..40)
        .map(|n| {
            let fan = dice.roll(fans);
            match dice.roll(4) {
                0 => form(n, fan, dice),
                1 => chat(n, fan),
                _ => order(n, fan, dice),
            }
        })
        .collect();
    let doubled: Vec<Event> = all.iter().filter(|_| dice.roll(4) == 0).cloned().collect();
    all.extend(doubled);
    all
}

async fn storm(world: &World, mut left: Vec<Event>, dice: &mut Dice) {
    let kinds = [FaultKind::Throttled, FaultKind::Broken, FaultKind::TooSlow, FaultKind::Cut, FaultKind::AnswerLost];
    let calls = [
        "POST /api/v4/contacts",
        "POST /api/v4/leads",
        "PATCH /api/v4/leads",
        "PATCH /api/v4/contacts",
        "GET /api/v4/leads",
        "POST /api/v4/contacts/notes",
        "POST /api/v4/tasks",
        "GET /api/v4/contacts/notes",
    ];
    while !left.is_empty() {
        if dice.roll(2) == 0 {
            let kind = kinds[dice.roll(5) as usize];
            let calls = calls[dice.roll(8) as usize].to_owned();
            world.sandbox.set_fault(Fault { kind, calls, after: dice.roll(2) as u32, times: 1, milliseconds: 0 });
        }
        let size = (1 + dice.roll(9) as usize).min(left.len());
        let batch: Vec<Event> = left.drain(..size).collect();
        let life = Life::of(if dice.roll(2) == 0 { 1 + dice.roll(60) as i64 } else { i64::MAX });
        let store = Arc::new(Mortal { inner: Arc::clone(&world.store), life: life.clone() });
        let crm = Arc::new(Mortal { inner: Arc::clone(&world.crm), life: life.clone() });
        let mortal = sync(store, crm);
        let failed = mortal.handle(batch.clone()).await;
        // What was not acknowledged comes again; a killed process acknowledges nothing.
        let again = batch.into_iter().enumerate().filter(|(n, _)| life.is_over() || failed.contains(n));
        left.extend(again.map(|(_, event)| event));
        if dice.roll(2) == 0 {
            _ = mortal.reconcile(FlushMode::Everything).await;
        }
    }
}

#[tokio::test]
async fn from_any_seed_the_storm_ends_as_the_calm() {
    for seed in 1..=16 {
        let mut dice = Dice(seed * 7_919);
        let all = deliveries(&mut dice);
        let calm = World::new().await;
        calm.run(all.clone()).await;
        let mut shuffled = all;
        dice.shuffle(&mut shuffled);
        let world = World::new().await;
        storm(&world, shuffled, &mut dice).await;
        world.reconcile().await;
        assert_eq!(world.picture(), calm.picture(), "seed {seed}");
    }
}
