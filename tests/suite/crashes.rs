//! `sync` killed between any two of its I/O steps leaves no duplicate and loses nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use stagedoor_model::{
    Body, ChatRef, Content, Event, EventId, Fact, FormSubmitted, Identifier, MessageHeard, Money, Order, OrderBody,
    OrderState, ShowRef, SourceName, Ticket, Timestamp,
};
use stagedoor_ports::{
    Capabilities, Changes, Clock, Crm, CrmError, CrmFound, CrmHealth, CrmLookup, CrmPage, CrmRows, CrmTotals, Deleted,
    OfErased, Store, Struck, SystemClock, WriteOutcome, Writes,
};
use stagedoor_sync::{FlushMode, Sync};
use stagedoor_tests::{
    crash::{Life, Mortal},
    world::{World, sync},
};

fn source() -> SourceName {
    SourceName::new("shop").expect("a name")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

pub fn identifiers(names: &[&str]) -> BTreeSet<Identifier> {
    names.iter().map(|name| name.parse().expect("an identifier")).collect()
}

pub fn form(n: i64, names: &[&str]) -> Event {
    let form = FormSubmitted {
        identifiers: identifiers(names),
        proof: Default::default(),
        name: Some(format!("Fan {n}")),
        form: None,
        show: Some(ShowRef::id("show-1")),
        amount: None,
        consents: vec![],
        labels: BTreeMap::new(),
        company: None,
    };
    Event::new(&source(), EventId::derive(&source(), &["form", &n.to_string()]), at(n), Body::FormSubmitted(form))
}

pub fn order(n: i64, names: &[&str]) -> Event {
    let money = Money { minor: 150_000, currency: "RUB".into() };
    let order = Order {
        revision: at(n),
        state: OrderState::Paid,
        id: n.to_string(),
        number: None,
        placed_at: at(n),
        paid_at: Some(at(n)),
        paid: money.clone(),
        total: money.clone(),
        tickets: vec![Ticket { id: "t".into(), show: ShowRef::id("show-1"), price: money, live: true }],
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
    let body = Body::of_order(OrderBody::new(identifiers(names), None, order));
    Event::new(&source(), EventId::derive(&source(), &["order", &n.to_string()]), at(n), body)
}

/// Somebody writes in a chat; the messenger tells their phone.
fn chat(n: i64, id: &str, names: &[&str]) -> Event {
    let chat = ChatRef { also: identifiers(names), ..ChatRef::of(id.parse().expect("an identifier")) };
    let content = Content::Text(format!("line {n}"));
    let heard = MessageHeard { chat, message: n.to_string(), content };
    Event::new(&source(), EventId::derive(&source(), &["chat", &n.to_string()]), at(n), Body::MessageReceived(heard))
}

/// Three people: one is known twice before an order joins both, one buys, one only asks; two of them chat.
pub fn batches() -> Vec<Vec<Event>> {
    vec![
        vec![
            form(1, &["phone:+79161234567"]),
            form(2, &["email:anna@example.com"]),
            form(3, &["email:gaev@example.com"]),
            chat(6, "whatsapp:79161234567", &["phone:+79161234567"]),
        ],
        vec![
            chat(7, "whatsapp:79161234567", &["phone:+79161234567"]),
            chat(8, "telegram:701", &[]),
            order(4, &["phone:+79161234567", "email:anna@example.com"]),
            order(5, &["email:lopakhin@example.com"]),
        ],
    ]
}

async fn work(world: &World, store: Arc<dyn Store>, crm: Arc<dyn Crm>) {
    let sync = sync(store, crm);
    for batch in batches() {
        sync.handle(batch).await;
        for _ in 0..4 {
            _ = sync.reconcile(FlushMode::Everything).await;
        }
    }
    _ = world;
}

#[tokio::test]
async fn killed_between_any_two_steps_it_ends_as_if_nothing_had_been() {
    let calm = World::new().await;
    let life = Life::of(i64::MAX);
    let store = Arc::new(Mortal { inner: Arc::clone(&calm.store), life: life.clone() });
    let crm = Arc::new(Mortal { inner: Arc::clone(&calm.crm), life });
    work(&calm, store, crm).await;
    let expected = calm.picture();
    assert!(expected.len() >= 3);
    let mut steps = 1;
    loop {
        let world = World::new().await;
        let life = Life::of(steps);
        let store = Arc::new(Mortal { inner: Arc::clone(&world.store), life: life.clone() });
        let crm = Arc::new(Mortal { inner: Arc::clone(&world.crm), life: life.clone() });
        work(&world, store, crm).await;
        let died = life.is_over();
        // The next process: the queue gives the batches again, for they were never acknowledged.
        work(&world, Arc::clone(&world.store), Arc::clone(&world.crm)).await;
        world.reconcile().await;
        assert_eq!(world.picture(), expected, "killed at step {steps}");
        if !died {
            break;
        }
        steps += 1;
    }
    assert!(steps > 60, "only {steps} steps: the test does not reach what it should");
}

#[tokio::test]
async fn a_deal_that_was_deleted_unheard_is_known_to_be_gone_and_the_others_go_on() {
    let world = World::new().await;
    let all: Vec<Event> = (10..20).map(|n| order(n, &[&format!("email:fan{n}@example.com")])).collect();
    world.run(all).await;
    let victim = world.sandbox.leads().first().and_then(|lead| lead.get("id")?.as_u64()).expect("a deal");
    // A manager deletes a deal, and no webhook tells.
    let http = stagedoor_http::builder().build().expect("a client");
    http.delete(format!("{}/_sandbox/leads/{victim}", world.base)).send().await.expect("deleted");
    let refunds: Vec<Event> = (10..20).map(refunded).collect();
    world.run(refunds).await;
    let totals = world.store.totals().await.expect("totals");
    assert_eq!((totals.rejected, totals.waiting), (0, 0));
    let row = format!("crm_lead:{victim}").parse().expect("an identifier");
    let owners = world.store.resolve(&BTreeSet::from([row])).await.expect("resolved").owners;
    let buyer = world.store.load(&owners.into_values().collect()).await.expect("loaded").remove(0).value;
    let is_deleted = |fact: &Fact| matches!(fact, Fact::CrmLead { lead, deleted: true, .. } if *lead == victim);
    assert!(buyer.records.values().any(|record| is_deleted(&record.fact)), "as if its webhook had come");
    let lowered = world.sandbox.leads().iter().filter(|lead| lead.get("price") == Some(&serde_json::json!(0))).count();
    assert_eq!(lowered, 9, "the others went through");
}

fn refunded(n: i64) -> Event {
    let mut event = order(n, &[&format!("email:fan{n}@example.com")]);
    let Body::OrderPaid(mut body) = event.body else { unreachable!("an order is paid") };
    body.order.revision = at(n + 100);
    let refund = stagedoor_model::Refund {
        amount: body.order.paid.clone(),
        at: at(n + 100),
        tickets: ["t".to_owned()].into(),
        moved: false,
    };
    body.order.refunds.insert("r".into(), refund);
    event.id = EventId::derive(&source(), &["refund", &n.to_string()]);
    event.time = at(n + 100);
    event.body = Body::of_order(body);
    event
}

#[tokio::test]
async fn a_field_that_an_admin_deleted_is_made_again() {
    let world = World::new().await;
    world.run(vec![order(1, &["email:anna@example.com"])]).await;
    let lead = world.sandbox.leads().remove(0);
    let fields = lead.get("custom_fields_values").and_then(|v| v.as_array()).cloned().unwrap_or_default();
    let own =
        fields.iter().find(|f| f.get("field_code").and_then(|c| c.as_str()) == Some("STAGEDOOR_ORDERS")).expect("ours");
    let id = own.get("field_id").and_then(|id| id.as_u64()).expect("an id");
    let http = stagedoor_http::builder().build().expect("a client");
    let token = stagedoor_sandbox::Seed::default().long_lived;
    let url = format!("{}/api/v4/leads/custom_fields/{id}", world.base);
    assert_eq!(http.delete(url).bearer_auth(token).send().await.expect("an answer").status(), 204);
    world.run(vec![order(2, &["email:gaev@example.com"])]).await;
    assert_eq!(world.sandbox.leads().len(), 2);
    assert_eq!(world.store.totals().await.expect("totals").rejected, 0);
}

#[tokio::test]
async fn seven_calls_a_second_are_kept_exactly() {
    let seed = stagedoor_sandbox::Seed { rate: 7, ..stagedoor_tests::world::seed() };
    let world = World::with(seed, 7).await;
    for n in 0..6 {
        world.run(vec![order(n, &[&format!("email:fan{n}@example.com")])]).await;
    }
    let calls: u64 = world.sandbox.calls().values().sum();
    assert!(calls >= 15, "{calls} calls are too few to tell");
    assert_eq!(world.sandbox.over_the_rate(), 0);
}

#[tokio::test]
async fn a_poisoned_event_fails_alone() {
    let world = World::new().await;
    // A shop that cannot be asked: its notice fails, the form beside it is saved.
    let noticed = stagedoor_model::OrderNoticed { order: "X".into(), scope: Some("e".into()) };
    let notice = Event::new(&source(), EventId::derive(&source(), &["n"]), at(0), Body::OrderNoticed(noticed));
    let options = serde_json::json!({ "base_url": "http://127.0.0.1:1", "organizer": "o", "token": "t" });
    let order_api = stagedoor_source_clients::order_api(&stagedoor_webhook::Source {
        options,
        ..stagedoor_tests::provider_harness::source("pretix", "s")
    });
    let mut sync = world.sync.clone();
    sync.order_apis.insert(source(), order_api.expect("a desk").expect("built"));
    let failed = sync.handle(vec![notice, form(1, &["email:anna@example.com"])]).await;
    assert_eq!(failed.into_iter().collect::<Vec<_>>(), [0]);
    assert_eq!(world.store.totals().await.expect("totals").people, 1);
}

/// A CRM whose first call to create contacts takes so long that another reconciler takes over meanwhile.
struct Slow {
    inner: Arc<dyn Crm>,
    meanwhile: tokio::sync::Mutex<Option<Sync>>,
}

#[async_trait]
impl Crm for Slow {
    async fn set_up(&self) -> Result<(), CrmError> {
        self.inner.set_up().await
    }
    async fn apply(&self, change: Writes<'_>) -> Vec<WriteOutcome> {
        let answer = self.inner.apply(change).await;
        if matches!(change, Writes::CreateContacts(_))
            && let Some(other) = self.meanwhile.lock().await.take()
        {
            for _ in 0..4 {
                other.reconcile(FlushMode::Everything).await.expect("a round");
            }
        }
        answer
    }
    async fn find(&self, lookup: CrmLookup<'_>) -> Result<CrmFound, CrmError> {
        self.inner.find(lookup).await
    }
    async fn changes(&self, since: Timestamp) -> Result<Changes, CrmError> {
        self.inner.changes(since).await
    }
    async fn deleted(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Deleted, CrmError> {
        self.inner.deleted(contacts, deals).await
    }
    async fn fetch(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Changes, CrmError> {
        self.inner.fetch(contacts, deals).await
    }
    async fn page(&self, rows: CrmRows, page: u32) -> Result<CrmPage, CrmError> {
        self.inner.page(rows, page).await
    }
    async fn export(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<serde_json::Value, CrmError> {
        self.inner.export(contacts, deals).await
    }
    async fn strike(&self, rows: &[OfErased]) -> Vec<Struck> {
        self.inner.strike(rows).await
    }
    async fn totals(&self, deals: &BTreeSet<u64>, invoices: &BTreeSet<u64>) -> Result<CrmTotals, CrmError> {
        self.inner.totals(deals, invoices).await
    }
    fn info(&self) -> Capabilities {
        self.inner.info()
    }
    fn health(&self) -> CrmHealth {
        self.inner.health()
    }
}

/// A clock that is off by as much as it is told.
struct Off(jiff::SignedDuration);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.0
    }
}

#[tokio::test]
async fn a_lease_that_ends_in_the_middle_of_a_call_doubles_and_loses_nothing() {
    let world = World::new().await;
    let events = (0..30).map(|n| form(n, &[&format!("phone:+7916123{n:04}")])).collect();
    assert!(world.sync.handle(events).await.is_empty());
    // To the other, the lease of the first ended long ago.
    let later = Arc::new(Off(jiff::SignedDuration::from_mins(5)));
    let other = Sync { clock: later, owner: "other".into(), ..world.sync.clone() };
    let slow = Arc::new(Slow { inner: Arc::clone(&world.crm), meanwhile: tokio::sync::Mutex::new(Some(other)) });
    let first = Sync { crm: slow, ..world.sync.clone() };
    let overtaken = first.reconcile(FlushMode::Everything).await;
    assert!(overtaken.is_err(), "what the other has written is not undone: {overtaken:?}");
    let last =
        Sync { clock: Arc::new(Off(jiff::SignedDuration::from_mins(20))), owner: "last".into(), ..world.sync.clone() };
    for _ in 0..4 {
        last.reconcile(FlushMode::Everything).await.expect("a round");
    }
    assert_eq!(world.store.totals().await.expect("totals").waiting, 0);
    assert_eq!((world.sandbox.count("contacts"), world.sandbox.count("leads")), (30, 30));
}

/// A clock that jumps a day ahead, back, and stands still.
#[derive(Default)]
struct Jumping(std::sync::atomic::AtomicU64);

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let n = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let hours = [0, 24, -24, 1, 0, -1, 48][(n % 7) as usize];
        SystemClock.now() + jiff::SignedDuration::from_hours(hours)
    }
}

#[tokio::test]
async fn a_clock_that_jumps_doubles_and_loses_nothing() {
    let mut world = World::new().await;
    world.sync.clock = Arc::new(Jumping::default());
    for round in 0..5 {
        let events = (0..20).map(|n| order(round * 100 + n, &[&format!("email:fan{n}@example.com")])).collect();
        assert!(world.sync.handle(events).await.is_empty());
        for _ in 0..8 {
            world.sync.reconcile(FlushMode::Everything).await.expect("a round");
        }
    }
    assert_eq!(world.store.totals().await.expect("totals").waiting, 0);
    assert_eq!((world.sandbox.count("contacts"), world.sandbox.count("leads")), (20, 20));
}
