//! Shops that are asked back: recorded answers of pretix, documented ones of Ticketscloud.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::{Request, State},
    response::{Html, IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};
use stagedoor_model::{Body, Event, EventId, OrderNoticed, SourceName};
use stagedoor_ports::{
    Clock, OrderApi, Queue, Store, SystemClock,
    memory::{MemoryQueue, MemoryStore},
};
use stagedoor_schedule::Schedule;
use stagedoor_tests::{provider_harness, world::World};

/// Answers by path and a part of the query; everything asked is written down.
#[derive(Clone, Default)]
pub(crate) struct Shop {
    answers: Arc<Mutex<BTreeMap<String, (u16, Value)>>>,
    asked: Arc<Mutex<Vec<String>>>,
    authorization: &'static str,
    /// A web server answers 404 with a page where the shop was.
    pages: Arc<AtomicBool>,
}

async fn answer(State(shop): State<Shop>, request: Request) -> Response {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    shop.asked.lock().expect("a lock").push(path.clone());
    let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if shown != Some(shop.authorization) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if shop.pages.load(Ordering::Relaxed) {
        return (StatusCode::NOT_FOUND, Html("<h1>404 Not Found</h1><hr>nginx")).into_response();
    }
    let answers = shop.answers.lock().expect("a lock");
    let fits = |key: &str| {
        let mut parts = key.split('&');
        parts.next() == path.split('?').next() && parts.all(|part| path.contains(part))
    };
    let best = answers.iter().filter(|(key, _)| fits(key)).max_by_key(|(key, _)| key.len());
    match best {
        Some((_, (status, body))) => {
            (StatusCode::from_u16(*status).expect("a status"), axum::Json(body.clone())).into_response()
        }
        None => (StatusCode::NOT_FOUND, axum::Json(json!({ "detail": "Not found." }))).into_response(),
    }
}

impl Shop {
    pub(crate) async fn open(authorization: &'static str) -> (Self, String) {
        let shop = Self { authorization, ..Self::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(answer).with_state(shop.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (shop, base)
    }

    pub(crate) fn say(&self, path: &str, status: u16, body: Value) {
        self.answers.lock().expect("a lock").insert(path.to_owned(), (status, body));
    }

    pub(crate) fn asked(&self, part: &str) -> usize {
        self.asked.lock().expect("a lock").iter().filter(|path| path.contains(part)).count()
    }
}

pub(crate) fn recorded(name: &str) -> Value {
    let path = stagedoor_testkit::samples::folder().join("rest").join(name);
    let text = std::fs::read_to_string(path).expect("a recorded answer");
    let whole: Value = serde_json::from_str(&text).expect("JSON");
    whole.get("response").cloned().unwrap_or(whole)
}

pub(crate) async fn pretix() -> (Shop, Arc<dyn OrderApi>) {
    let (shop, base) = Shop::open("Token t").await;
    shop.say("/api/v1/organizers/stagedoor/events/cherry/", 200, recorded("pretix_event.json"));
    let options = json!({ "base_url": base, "organizer": "stagedoor", "token": "t" });
    let source = stagedoor_webhook::Source { options, ..provider_harness::source("pretix", "s") };
    (shop, stagedoor_source_clients::order_api(&source).expect("a desk").expect("built"))
}

fn shop_source() -> SourceName {
    SourceName::new("pretix-test").expect("a name")
}

fn notice(n: u64, code: &str) -> Event {
    let body = Body::OrderNoticed(OrderNoticed { order: code.into(), scope: Some("cherry".into()) });
    Event::new(&shop_source(), EventId::derive(&shop_source(), &["n", &n.to_string()]), SystemClock.now(), body)
}

#[tokio::test]
async fn a_pretix_order_is_fetched_once_for_many_webhooks_and_lands_in_the_crm() {
    let (shop, order_api) = pretix().await;
    shop.say("/api/v1/organizers/stagedoor/events/cherry/orders/QJETG/", 200, recorded("pretix_order_paid.json"));
    let mut world = World::new().await;
    world.sync.order_apis.insert(shop_source(), order_api);
    world.run(vec![notice(1, "QJETG"), notice(2, "QJETG"), notice(3, "QJETG")]).await;
    assert_eq!(shop.asked("orders/QJETG"), 1, "three webhooks, one read");
    let contacts = world.sandbox.contacts();
    assert_eq!(contacts.len(), 1);
    assert_eq!(contacts[0]["name"], json!("Анна Каренина"));
    let deal = world.sandbox.leads().remove(0);
    assert_eq!((deal["price"].clone(), deal["name"].clone()), (json!(1500), json!("Вишнёвый сад. Гастроли")));
}

#[tokio::test]
async fn a_web_servers_page_in_the_place_of_the_shop_loses_no_order() {
    let (shop, order_api) = pretix().await;
    let mut world = World::new().await;
    world.sync.order_apis.insert(shop_source(), order_api);
    shop.pages.store(true, Ordering::Relaxed);
    let failed = world.sync.handle(vec![notice(1, "QJETG")]).await;
    assert_eq!(failed, [0].into(), "a page says nothing of the order: the webhook comes again");
    shop.pages.store(false, Ordering::Relaxed);
    shop.say("/api/v1/organizers/stagedoor/events/cherry/orders/QJETG/", 200, recorded("pretix_order_paid.json"));
    world.run(vec![notice(1, "QJETG")]).await;
    assert_eq!(world.sandbox.leads().len(), 1);
}

#[tokio::test]
async fn a_wrong_clock_of_a_shop_that_is_asked_back_does_not_freeze_an_order() {
    let (shop, order_api) = pretix().await;
    let mut world = World::new().await;
    world.sync.order_apis.insert(shop_source(), order_api);
    let mut order = recorded("pretix_order_paid.json");
    (order["status"], order["payments"]) = (json!("n"), json!([]));
    order["last_modified"] = json!("2099-05-01T10:00:00Z");
    shop.say("/api/v1/organizers/stagedoor/events/cherry/orders/QJETG/", 200, order);
    world.run(vec![notice(1, "QJETG")]).await;
    world.ahead.pass(60);
    let mut order = recorded("pretix_order_paid.json");
    order["last_modified"] = json!(world.ahead.now().to_string());
    shop.say("/api/v1/organizers/stagedoor/events/cherry/orders/QJETG/", 200, order);
    world.run(vec![notice(2, "QJETG")]).await;
    let stands = world.sandbox.leads_by_stage();
    assert_eq!(stands.keys().map(|(_, stage)| stage.as_str()).collect::<Vec<_>>(), ["paid ·"]);
}

#[tokio::test]
async fn ten_recorded_pretix_orders_with_their_refunds_add_up_in_the_crm() {
    let (shop, order_api) = pretix().await;
    shop.say("/api/v1/organizers/stagedoor/orders/", 200, recorded("pretix_orders_page.json"));
    let page = order_api.pull(SystemClock.now(), None).await.expect("a page");
    assert_eq!((page.bodies.len(), page.next), (10, None));
    let event = |(fact, at, body): (String, _, _)| {
        Event::new(&shop_source(), EventId::derive(&shop_source(), &[&fact]), at, body)
    };
    let world = World::new().await;
    world.run(page.bodies.into_iter().map(event).collect()).await;
    let leads = world.sandbox.leads();
    let worth: i64 = leads.iter().filter_map(|lead| lead["price"].as_i64()).sum();
    assert_eq!(worth, 9_000, "twelve thousand four hundred paid, three thousand four hundred given back");
    assert_eq!(world.store.totals().await.expect("totals").rejected, 0);
}

#[tokio::test]
async fn a_fully_refunded_pretix_order_leaves_a_refunded_deal() {
    let (shop, order_api) = pretix().await;
    let order = recorded("pretix_order_refunded_cancelled.json");
    let code = order["code"].as_str().expect("a code").to_owned();
    shop.say(&format!("/api/v1/organizers/stagedoor/events/cherry/orders/{code}/"), 200, order);
    let mut world = World::new().await;
    world.sync.order_apis.insert(shop_source(), order_api);
    world.run(vec![notice(1, &code)]).await;
    let stages = world.sandbox.leads_by_stage();
    assert_eq!(stages.into_keys().map(|(_, stage)| stage).collect::<Vec<_>>(), ["refunded ·"]);
}

/// What pretix answers about an order of two places of 1500 roubles, after a change.
fn two_places(code: &str, minute: u32, change: impl Fn(&mut Value)) -> Value {
    let mut order = recorded("pretix_order_paid.json");
    let mut place = order["positions"][0].clone();
    place["positionid"] = json!(2);
    order["positions"].as_array_mut().expect("places").push(place);
    (order["code"], order["total"]) = (json!(code), json!("3000.00"));
    // The first payment was cancelled.
    order["payments"].as_array_mut().expect("payments").remove(0);
    order["payments"][0]["amount"] = json!("3000.00");
    order["last_modified"] = json!(format!("2026-11-24T13:{minute}:00Z"));
    change(&mut order);
    order
}

/// Anna's only deal: its stage, its price and what went back.
async fn deal_after(orders: &[Value]) -> (World, String, Value, bool) {
    let (shop, order_api) = pretix().await;
    let mut world = World::new().await;
    world.sync.order_apis.insert(shop_source(), order_api);
    for (n, order) in (1..).zip(orders) {
        let code = order["code"].as_str().expect("a code");
        shop.say(&format!("/api/v1/organizers/stagedoor/events/cherry/orders/{code}/"), 200, order.clone());
        world.run(vec![notice(n, code)]).await;
    }
    let leads = world.sandbox.leads();
    let [lead] = leads.as_slice() else { panic!("{leads:?}") };
    let stage = world.sandbox.leads_by_stage().into_keys().map(|(_, stage)| stage).collect();
    let refunded = lead["custom_fields_values"].as_array().into_iter().flatten();
    let refunded = refunded.filter(|field| field["field_code"] == "STAGEDOOR_REFUNDED").any(|field| {
        let value = &field["values"][0]["value"];
        value.as_f64().or_else(|| value.as_str()?.parse().ok()).is_some_and(|sum| sum > 0.0)
    });
    let price = lead["price"].clone();
    (world, stage, price, refunded)
}

#[tokio::test]
async fn a_pretix_order_that_is_split_gives_nothing_back() {
    let whole = two_places("QJETG", 10, |_| ());
    // pretix offsets the sum of the place that moved: it returns it here, and receives it there.
    let rest = two_places("QJETG", 20, |order| {
        order["positions"].as_array_mut().expect("places").pop();
        order["total"] = json!("1500.00");
        order["refunds"] = json!([{ "local_id": 1, "state": "done", "source": "admin", "amount": "1500.00",
            "created": "2026-11-24T13:19:00Z", "execution_date": "2026-11-24T13:19:00Z", "provider": "offsetting" }]);
    });
    let moved = two_places("SPLIT", 21, |order| {
        order["positions"].as_array_mut().expect("places").remove(0);
        order["total"] = json!("1500.00");
        (order["payments"][0]["amount"], order["payments"][0]["provider"]) = (json!("1500.00"), json!("offsetting"));
    });
    let (world, stage, price, refunded) = deal_after(&[whole, rest, moved]).await;
    assert_eq!((stage.as_str(), &price, refunded), ("paid ·", &json!(3000), false), "{:?}", world.sandbox.leads());
    assert_eq!(world.sandbox.tasks(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_pretix_refund_on_its_way_leaves_no_task_about_too_much() {
    let whole = two_places("QJETG", 10, |_| ());
    for (state, tasks) in [("transit", 0), ("created", 0), ("done", 0), ("failed", 1), ("canceled", 1)] {
        let less = two_places("QJETG", 20, |order| {
            order["positions"][1]["canceled"] = json!(true);
            order["total"] = json!("1500.00");
            order["refunds"] = json!([{ "local_id": 1, "state": state, "source": "admin", "amount": "1500.00",
                "created": "2026-11-24T13:19:00Z", "execution_date": null, "provider": "stripe" }]);
        });
        let (world, ..) = deal_after(&[whole.clone(), less]).await;
        assert_eq!(world.sandbox.tasks().len(), tasks, "{state}: {:?}", world.sandbox.tasks());
    }
}

/// The events of a webhook, as the hub's endpoint reads it.
async fn told_by_pretix(action: &str, change: Value) -> Vec<Event> {
    let mut body = json!({ "notification_id": 70, "organizer": "stagedoor", "event": "cherry", "action": action });
    body.as_object_mut().expect("an object").extend(change.as_object().cloned().unwrap_or_default());
    let source = provider_harness::source("pretix", "s");
    let harness = provider_harness::ProviderHarness::open(source, SystemClock.now());
    harness.take(&stagedoor_testkit::json(&format!("{}/s", harness.path), &body)).await.events
}

/// When the shows of all deals begin, in seconds, by the names of the deals.
fn starts(world: &World) -> BTreeMap<String, String> {
    let start = |lead: &Value| {
        let fields = lead["custom_fields_values"].as_array().cloned().unwrap_or_default();
        let field = fields.into_iter().find(|field| field["field_code"] == "STAGEDOOR_SHOW_AT")?;
        Some(field["values"][0]["value"].to_string().replace('"', ""))
    };
    let leads = world.sandbox.leads();
    let named = leads.iter().map(|lead| (lead["name"].as_str().unwrap_or_default().to_owned(), start(lead)));
    named.filter_map(|(name, start)| Some((name, start?))).collect()
}

#[tokio::test]
async fn a_date_of_a_pretix_series_that_moves_moves_in_the_deals_of_its_tickets_alone() {
    const EVENT: &str = "/api/v1/organizers/stagedoor/events/cherry/";
    const FIRST: &str = "2027-05-16T19:00:00+03:00";
    let (shop, order_api) = pretix().await;
    let mut series = recorded("pretix_event.json");
    series["has_subevents"] = json!(true);
    shop.say(EVENT, 200, series.clone());
    let date = |number: u32, starts_at: &str| {
        let answer = json!({ "name": { "ru": format!("Чайка {number}") }, "date_from": starts_at });
        shop.say(&format!("{EVENT}subevents/{number}/"), 200, answer);
    };
    let mut world = World::new().await;
    world.sync.order_apis.insert(shop_source(), Arc::clone(&order_api));
    for (n, code, number) in [(1, "AAAAA", 7), (2, "BBBBB", 8)] {
        date(number, FIRST);
        let mut order = recorded("pretix_order_paid.json");
        (order["code"], order["email"], order["phone"]) =
            (json!(code), json!(format!("{code}@example.com")), Value::Null);
        order["positions"][0]["subevent"] = json!(number);
        shop.say(&format!("{EVENT}orders/{code}/"), 200, order);
        world.run(vec![notice(n, code)]).await;
    }
    let at = |told: &str| told.parse::<stagedoor_model::Timestamp>().expect("a time").as_second().to_string();
    let both = |seventh: &str| -> BTreeMap<String, String> {
        [("Чайка 7".to_owned(), at(seventh)), ("Чайка 8".to_owned(), at(FIRST))].into()
    };
    assert_eq!(starts(&world), both(FIRST));
    date(7, "2027-05-20T19:00:00+03:00");
    let moved = told_by_pretix("pretix.subevent.changed", json!({ "subevent": 7 })).await;
    world.run(moved).await;
    assert_eq!(starts(&world), both("2027-05-20T19:00:00+03:00"));
    // The series itself is no performance.
    series["date_from"] = json!("2027-06-01T19:00:00+03:00");
    shop.say(EVENT, 200, series);
    world.run(told_by_pretix("pretix.event.changed", json!({})).await).await;
    assert_eq!(starts(&world), both("2027-05-20T19:00:00+03:00"));
    assert_eq!(order_api.show(&stagedoor_model::ShowRef::id("cherry")).await.expect("an answer"), None);
}

#[tokio::test]
async fn a_new_date_of_a_pretix_series_is_no_news_and_one_without_its_number_is_kept() {
    for action in ["pretix.subevent.added", "pretix.subevent.deleted"] {
        assert_eq!(told_by_pretix(action, json!({ "subevent": 7 })).await, vec![]);
    }
    for odd in [json!({}), json!({ "subevent": null }), json!({ "subevent": "the seventh" })] {
        let events = told_by_pretix("pretix.subevent.changed", odd.clone()).await;
        let kinds: Vec<&str> = events.iter().map(Event::kind).collect();
        assert_eq!(kinds, ["stagedoor.delivery.unrecognized.v1"], "{odd}");
    }
}

#[tokio::test]
async fn a_shop_that_is_down_is_asked_again_and_a_missing_order_is_nobody() {
    let (shop, order_api) = pretix().await;
    shop.say("/api/v1/organizers/stagedoor/events/cherry/orders/QJETG/", 503, json!({}));
    let mut world = World::new().await;
    world.sync.order_apis.insert(shop_source(), order_api);
    assert_eq!(
        world.sync.handle(vec![notice(1, "QJETG"), notice(2, "NOONE")]).await.into_iter().collect::<Vec<_>>(),
        [0]
    );
    shop.say("/api/v1/organizers/stagedoor/events/cherry/orders/QJETG/", 200, recorded("pretix_order_paid.json"));
    world.run(vec![notice(1, "QJETG")]).await;
    assert_eq!(world.store.totals().await.expect("totals").people, 1);
}

#[tokio::test]
async fn a_strangers_order_code_cannot_leave_its_place_in_the_path() {
    let (shop, order_api) = pretix().await;
    let noticed = OrderNoticed { order: "../../../../secrets?x=".into(), scope: Some("cherry/..".into()) };
    _ = order_api.order(&noticed).await;
    let asked = shop.asked.lock().expect("a lock").clone();
    assert!(
        asked.iter().all(|path| path.starts_with("/api/v1/organizers/stagedoor/events/cherry%2F../orders/")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn an_order_that_changes_while_pages_are_pulled_pushes_no_other_out() {
    let (shop, order_api) = pretix().await;
    let changed = |code: &str, minute: u32| {
        let mut order = recorded("pretix_order_paid.json");
        (order["code"], order["last_modified"]) = (json!(code), json!(format!("2026-11-24T13:{minute}:00Z")));
        order
    };
    let orders = "/api/v1/organizers/stagedoor/orders/";
    let page = |results: Vec<Value>, more: bool| json!({ "next": more.then_some("there is more"), "results": results });
    shop.say(orders, 200, page(vec![changed("AAAAA", 10), changed("BBBBB", 20)], true));
    let since = "2026-11-24T13:00:00Z".parse().expect("a time");
    let first = order_api.pull(since, None).await.expect("a page");
    // Meanwhile the first order changed: what was on the second page is on the first now.
    let next = page(vec![changed("BBBBB", 20), changed("CCCCC", 30), changed("AAAAA", 40)], false);
    shop.say(&format!("{orders}&modified_since=2026-11-24T13%3A20"), 200, next);
    shop.say(&format!("{orders}&page=2"), 200, page(vec![changed("AAAAA", 40)], false));
    let second = order_api.pull(since, first.next).await.expect("a page");
    let found = |code: &str| second.bodies.iter().any(|(fact, _, _)| fact.starts_with(code));
    assert!(found("CCCCC") && found("AAAAA"));
}

pub(crate) async fn ticketscloud() -> (Shop, Arc<dyn OrderApi>) {
    let (shop, base) = Shop::open("key k").await;
    let options = json!({ "base_url": base, "key": "k" });
    let source = stagedoor_webhook::Source { options, ..provider_harness::source("ticketscloud", "s") };
    (shop, stagedoor_source_clients::order_api(&source).expect("a desk").expect("built"))
}

fn listed(mut one: Value, page: u64, total: u64) -> Value {
    let data = one["data"].take();
    json!({ "data": [data], "pagination": { "page": page, "page_size": 1, "total": total }, "refs": one["refs"] })
}

#[tokio::test]
async fn a_ticketscloud_order_is_found_in_the_list_by_the_second_in_its_id() {
    let (shop, order_api) = ticketscloud().await;
    shop.say("/v2/resources/orders", 200, listed(recorded("ticketscloud_order.json"), 1, 1));
    let source = SourceName::new("ticketscloud-test").expect("a name");
    let noticed = OrderNoticed { order: "5d39c3108cd381a4891e07e0".into(), scope: None };
    let event = Event::new(&source, EventId::derive(&source, &["1"]), SystemClock.now(), Body::OrderNoticed(noticed));
    let mut world = World::new().await;
    world.sync.order_apis.insert(source, order_api);
    world.run(vec![event]).await;
    assert_eq!(shop.asked("created_at=2019-07-25T14%3A56%3A11%2C2019-07-25T14%3A56%3A21"), 1);
    let deal = world.sandbox.leads().remove(0);
    assert_eq!(deal["price"], json!(156), "what the buyer paid, the fee included");
}

#[tokio::test]
async fn a_ticketscloud_order_belongs_to_the_buyer_whom_the_shop_names_now() {
    let (shop, order_api) = ticketscloud().await;
    let source = SourceName::new("ticketscloud-test").expect("a name");
    let mut world = World::new().await;
    world.sync.order_apis.insert(source.clone(), order_api);
    // The shop tells no time of such a change. Once the greater phone is the later one, once the smaller.
    for (n, phone) in ["+79991234576", "+79990000001", "+79999999999"].into_iter().enumerate() {
        let mut one = recorded("ticketscloud_order.json");
        one["data"]["settings"]["customer"] = json!({ "name": format!("Buyer {n}"), "phone": phone });
        shop.say("/v2/resources/orders", 200, listed(one, 1, 1));
        let noticed = OrderNoticed { order: "5d39c3108cd381a4891e07e0".into(), scope: None };
        let id = EventId::derive(&source, &[phone]);
        world.run(vec![Event::new(&source, id, SystemClock.now(), Body::OrderNoticed(noticed))]).await;
        let owner = world.sandbox.contacts().into_iter().find(|one| one["name"] == format!("Buyer {n}"));
        let owner = owner.expect("a contact of the buyer")["id"].clone();
        let deals = world.sandbox.leads();
        let live: Vec<_> = deals.iter().filter(|deal| deal["price"] == json!(156)).collect();
        assert_eq!(live.len(), 1, "{phone}");
        assert_eq!(live[0]["_embedded"]["contacts"][0]["id"], owner, "{phone}");
    }
}

fn schedule(store: &Arc<dyn Store>, queue: &Arc<MemoryQueue>, order_api: Arc<dyn OrderApi>) -> Schedule {
    let source = SourceName::new("ticketscloud-test").expect("a name");
    let order_apis = BTreeMap::from([(source, order_api)]);
    Schedule { store: store.clone(), queue: queue.clone(), clock: Arc::new(SystemClock), order_apis }
}

pub(crate) async fn drained(queue: &MemoryQueue) -> Vec<Event> {
    let batch = queue.receive(100).await.expect("received");
    queue.done(batch.iter().map(|one| one.receipt.clone()).collect()).await.expect("done");
    batch.into_iter().map(|one| one.event).collect()
}

#[tokio::test]
async fn what_no_webhook_told_is_pulled_page_by_page_nothing_skipped_nothing_doubled() {
    let (shop, order_api) = ticketscloud().await;
    let other = || {
        let mut one = recorded("ticketscloud_order.json");
        one["data"]["id"] = json!("5d39c3108cd381a4891e07e1");
        one["data"]["settings"]["customer"]["email"] = json!("other@example.com");
        one["data"]["settings"]["customer"]["phone"] = Value::Null;
        one
    };
    shop.say("/v2/resources/orders&page=1", 200, listed(recorded("ticketscloud_order.json"), 1, 2));
    shop.say("/v2/resources/orders&page=2", 500, json!({}));
    let mut refund = recorded("ticketscloud_refunds.json");
    refund["data"][0]["order"] = json!("5d39c3108cd381a4891e07e0");
    shop.say("/v2/resources/refund_requests", 200, refund);
    let (store, queue) = (Arc::new(MemoryStore::default()) as Arc<dyn Store>, Arc::new(MemoryQueue::default()));
    let schedule = schedule(&store, &queue, order_api);
    assert!(schedule.pull_all().await.into_values().all(|answer| answer.is_err()), "the second page fails");
    let first = drained(&queue).await;
    assert_eq!(first.len(), 1, "the first page is safe");
    shop.say("/v2/resources/orders&page=2", 200, listed(other(), 2, 2));
    assert!(schedule.pull_all().await.into_values().all(|answer| answer.is_ok()));
    let second = drained(&queue).await;
    assert_eq!(second.len(), 2, "the page that failed, and the refunds; not the first page again");
    assert_eq!(shop.asked("orders?created_at="), 3);
    let world = World::new().await;
    world.run(first).await;
    world.run(second).await;
    assert_eq!(world.sandbox.contacts().len(), 2);
    // The next pull overlaps: the same facts come again and are known.
    assert!(schedule.pull_all().await.into_values().all(|answer| answer.is_ok()));
    let before = world.picture();
    world.run(drained(&queue).await).await;
    assert_eq!(world.picture(), before);
}
