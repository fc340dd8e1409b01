//! One odd row in what a shop lists holds up itself alone.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use stagedoor_model::{Body, Event, EventId, OrderNoticed, PaymentNoticed, SourceName};
use stagedoor_ports::{Clock, OrderApi, Store, SystemClock, memory::MemoryQueue};
use stagedoor_schedule::Schedule;
use stagedoor_testkit::samples::Sample;
use stagedoor_tests::{
    provider_harness::{self, ProviderHarness},
    world::World,
};

use crate::shops::{Shop, drained, pretix, recorded, ticketscloud};

const LISTED: &str = "5d39c3108cd381a4891e07e";

/// The nth order of a list, bent.
fn ticket_order(n: usize, bend: impl Fn(&mut Value)) -> Value {
    let mut order = recorded("ticketscloud_order.json")["data"].take();
    order["id"] = json!(format!("{LISTED}{n}"));
    order["settings"]["customer"] = json!({ "name": format!("Buyer {n}"), "email": format!("b{n}@example.com") });
    bend(&mut order);
    order
}

fn listed(data: Vec<Value>) -> Value {
    let total = data.len();
    json!({ "data": data, "pagination": { "page": 1, "page_size": 200, "total": total }, "refs": [] })
}

/// What one pull of the desk puts into the queue.
async fn pulled(name: &SourceName, order_api: Arc<dyn OrderApi>, world: &World) -> Vec<Event> {
    let (store, queue) = (Arc::clone(&world.store) as Arc<dyn Store>, Arc::new(MemoryQueue::default()));
    let order_apis = BTreeMap::from([(name.clone(), order_api)]);
    let schedule = Schedule { store, queue: queue.clone(), clock: Arc::new(SystemClock), order_apis };
    let answers = schedule.pull_all().await;
    assert!(answers.values().all(Result::is_ok), "{answers:?}");
    drained(&queue).await
}

fn source(provider: &str) -> SourceName {
    SourceName::new(&format!("{provider}-test")).expect("a name")
}

fn kept(events: &[Event]) -> Vec<&stagedoor_model::Unrecognized> {
    let of = |event| match event {
        &Event { body: Body::Unrecognized(ref kept), .. } => Some(kept),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

#[tokio::test]
async fn an_odd_row_of_ticketscloud_is_left_out_alone_and_told() {
    let (shop, order_api) = ticketscloud().await;
    let rows = vec![
        ticket_order(0, |order| order["settings"]["customer"]["phone"] = json!(79161234567_u64)),
        ticket_order(1, |order| order["settings"]["customer"] = Value::Null),
        ticket_order(2, |order| order["values"]["full"] = json!("many")),
        ticket_order(3, |order| order["created_at"] = json!("yesterday")),
        ticket_order(4, |order| order["tickets"][0] = json!("a ticket")),
        ticket_order(5, |order| order["done_at"] = json!({ "at": 5 })),
        json!("no order"),
        ticket_order(6, |order| order["promocodes"] = json!([{ "code": 5 }])),
        ticket_order(7, |_| {}),
    ];
    shop.say("/v2/resources/orders", 200, listed(rows));
    let mut refunds = recorded("ticketscloud_refunds.json");
    let whole = refunds["data"][0].clone();
    refunds["data"][0]["refund_nominal"] = json!("many");
    refunds["data"].as_array_mut().expect("a list").push(whole);
    shop.say("/v2/resources/refund_requests", 200, refunds);
    let world = World::new().await;
    let events = pulled(&source("ticketscloud"), Arc::clone(&order_api), &world).await;
    let kept = kept(&events);
    assert_eq!((events.len(), kept.len()), (11, 6));
    let reasons: Vec<&str> = kept.iter().map(|one| one.reason.as_str()).collect();
    assert!(reasons[0].contains("an order as the shop has it: an amount"), "{reasons:?}");
    assert!(reasons[1].contains("a time"), "{reasons:?}");
    assert!(reasons[2].ends_with("tickets.0"), "{reasons:?}");
    assert!(reasons.iter().all(|one| !one.contains("many") && !one.contains("yesterday")), "{reasons:?}");
    world.run(events.clone()).await;
    let totals = world.store.totals().await.expect("totals");
    assert_eq!((totals.unrecognized, world.sandbox.contacts().len()), (6, 3));
    let phone = world.sandbox.contacts().iter().any(|one| one.to_string().contains("79161234567"));
    assert!(phone, "a number is read as a text");
    // The next pull brings the same: nothing is kept twice.
    world.run(pulled(&source("ticketscloud"), order_api, &world).await).await;
    assert_eq!(world.store.totals().await.expect("totals").unrecognized, 6);
}

#[tokio::test]
async fn a_webhook_that_leads_to_an_odd_order_is_kept_and_holds_up_nobody() {
    let (shop, order_api) = ticketscloud().await;
    let name = source("ticketscloud");
    let odd = || ticket_order(0, |order| order["values"]["full"] = json!("many"));
    shop.say("/v2/resources/orders", 200, listed(vec![odd(), ticket_order(1, |_| {})]));
    let notice = |n: usize, order: usize| {
        let body = Body::OrderNoticed(OrderNoticed { order: format!("{LISTED}{order}"), scope: None });
        Event::new(&name, EventId::derive(&name, &[&n.to_string()]), SystemClock.now(), body)
    };
    let mut world = World::new().await;
    world.sync.order_apis.insert(name.clone(), order_api);
    let batch = vec![notice(1, 0), notice(2, 0), notice(3, 0), notice(4, 0), notice(5, 0), notice(6, 0), notice(7, 1)];
    world.run(batch).await;
    let rows = world.store.unrecognized(10).await.expect("rows");
    assert_eq!((rows.len(), world.sandbox.contacts().len()), (1, 1));
    let Body::Unrecognized(kept) = &rows[0].event.body else { panic!("it is kept") };
    assert_eq!((kept.route.as_str(), kept.reason.contains("many")), ("ticketing/ticketscloud-test", false));
    // The shop mends it. What is kept leads there again.
    shop.say("/v2/resources/orders", 200, listed(vec![ticket_order(0, |_| {}), ticket_order(1, |_| {})]));
    let sample = stagedoor_testkit::samples::all().into_iter().flatten().find(|one| one.provider == "ticketscloud");
    world.run(reread(&sample.expect("a sample"), kept)).await;
    assert_eq!(world.sandbox.contacts().len(), 2);
}

fn reread(sample: &Sample, kept: &stagedoor_model::Unrecognized) -> Vec<Event> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let body = STANDARD.decode(&kept.body).expect("base64");
    ProviderHarness::read_kept(sample, &serde_json::from_slice(&body).expect("JSON"))
}

async fn yookassa() -> (Shop, Arc<dyn OrderApi>) {
    let (shop, base) = Shop::open("Basic MTprZXk=").await;
    let options = json!({ "shop_id": "1", "key": "key", "orders_of": "theatre", "base_url": base });
    let source = stagedoor_webhook::Source { options, ..provider_harness::source("yookassa", "s") };
    (shop, stagedoor_source_clients::order_api(&source).expect("a desk").expect("built"))
}

fn payment(n: usize, bend: impl Fn(&mut Value)) -> Value {
    let mut payment = json!({ "id": format!("pay-{n}"), "status": "succeeded", "test": false,
        "amount": { "value": "1500.00", "currency": "RUB" }, "created_at": "2026-11-24T13:00:00.000Z",
        "captured_at": "2026-11-24T13:00:05.000Z", "metadata": { "order_id": format!("TH-{n}") } });
    bend(&mut payment);
    payment
}

#[tokio::test]
async fn an_odd_row_of_yookassa_is_left_out_alone_and_told() {
    let (shop, order_api) = yookassa().await;
    let items = vec![
        payment(0, |one| one["metadata"]["order_id"] = json!(70001)),
        payment(1, |one| one["metadata"] = Value::Null),
        payment(2, |one| one["amount"]["value"] = json!("many")),
        payment(3, |one| one["created_at"] = json!("yesterday")),
        payment(4, |_| {}),
    ];
    shop.say("/payments", 200, json!({ "items": items }));
    let refund = |n: usize, of: &str| {
        json!({ "id": format!("ref-{n}"), "payment_id": of, "status": "succeeded",
            "amount": { "value": "500.00", "currency": "RUB" }, "created_at": "2026-11-25T13:00:00.000Z" })
    };
    let mut odd = refund(1, "pay-4");
    odd["amount"] = json!("500.00 RUB");
    shop.say("/refunds", 200, json!({ "items": [odd, refund(2, "pay-9"), refund(3, "pay-4")] }));
    shop.say("/payments/pay-9", 200, payment(9, |one| one["test"] = json!("perhaps")));
    let world = World::new().await;
    let events = pulled(&source("yookassa"), Arc::clone(&order_api), &world).await;
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::PaymentReported(one) => Some((one.payment.as_str(), one.order.as_deref())),
            _ => None,
        })
        .collect();
    let expected = [("pay-0", Some("70001")), ("pay-1", None), ("pay-4", Some("TH-4")), ("ref-3", Some("TH-4"))];
    assert_eq!(told, expected);
    assert_eq!(kept(&events).len(), 4);
    shop.say("/payments/pay-2", 200, payment(2, |one| one["amount"]["value"] = json!("many")));
    let noticed = PaymentNoticed { payment: "pay-2".into(), refund: false };
    let found = order_api.payment(&noticed).await.expect("an answer").expect("something");
    assert!(matches!(found.0, Body::Unrecognized(_)));
}

#[tokio::test]
async fn an_odd_row_of_pretix_is_left_out_alone_and_told() {
    let (shop, order_api) = pretix().await;
    let order = |code: &str, bend: &dyn Fn(&mut Value)| {
        let mut order = recorded("pretix_order_paid.json");
        (order["code"], order["email"]) = (json!(code), json!(format!("{code}@example.com")));
        bend(&mut order);
        order
    };
    let results = vec![
        order("AAAAA", &|one| one["phone"] = json!(79161234567_u64)),
        order("BBBBB", &|one| one["total"] = json!("many")),
        order("CCCCC", &|one| one["datetime"] = json!("yesterday")),
        order("DDDDD", &|one| one["payments"][0]["amount"] = json!({})),
        order("EEEEE", &|one| one["event"] = json!("odd")),
        order("FFFFF", &|one| one["positions"][0]["attendee_name"] = json!({ "x": 1 })),
        order("GGGGG", &|one| one["last_modified"] = json!(5)),
    ];
    let mut event = recorded("pretix_event.json");
    event["date_from"] = json!("tomorrow");
    shop.say("/api/v1/organizers/stagedoor/events/odd/", 200, event);
    shop.say("/api/v1/organizers/stagedoor/orders/", 200, json!({ "next": null, "results": results }));
    let world = World::new().await;
    let events = pulled(&source("pretix"), order_api, &world).await;
    let kept = kept(&events);
    let reasons: Vec<&str> = kept.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!((events.len(), kept.len()), (7, 5), "{reasons:?}");
    assert!(reasons[3].contains("its event: JSON of another shape: date_from"), "{reasons:?}");
}
