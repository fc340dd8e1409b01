//! What a provider tells becomes facts as fine as they are: two changes are two, two deliveries of one change are one,
//! and no foreign clock freezes anything.

use serde_json::{Value, json};
use stagedoor_model::{Body, Event, SourceName, Timestamp};
use stagedoor_testkit::{SignedRequest, form_signed, json, qtickets, samples};
use stagedoor_tests::{
    hub::TestHub,
    profile,
    provider_harness::{ProviderHarness, source},
    tamper::signed,
};

/// Noon, a month before the shows of the samples.
fn receipt() -> Timestamp {
    "2027-04-20T12:00:00Z".parse().expect("a time")
}

/// Every value of a JSON body changed, one at a time.
fn changes(body: &Value) -> Vec<Value> {
    let other = |value: &Value| match value {
        Value::Bool(flag) => Some(json!(!flag)),
        Value::Number(number) => number.as_u64().map(|number| json!(number + 1)),
        // Another second of a time; another letter of a word.
        Value::String(text) => Some(match text.find(":0") {
            Some(_) => json!(text.replacen(":0", ":1", 1)),
            None => json!(format!("{text}1")),
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let mut all = Vec::new();
    let mut places = vec![String::new()];
    while let Some(place) = places.pop() {
        let value = body.pointer(&place).expect("a place of the body");
        match value {
            Value::Object(fields) => places.extend(fields.keys().map(|key| format!("{place}/{key}"))),
            Value::Array(items) => places.extend((0..items.len()).map(|index| format!("{place}/{index}"))),
            value => {
                let mut changed = body.clone();
                if let (Some(other), Some(slot)) = (other(value), changed.pointer_mut(&place)) {
                    *slot = other;
                    all.push(changed);
                }
            }
        }
    }
    all
}

fn facts(events: Vec<Event>) -> Vec<(String, Value)> {
    let fact = |mut event: Event| {
        event.traceparent = None;
        let id = std::mem::replace(&mut event.id, "".to_owned().into());
        (id.to_string(), serde_json::to_value(event).expect("JSON"))
    };
    events.into_iter().map(fact).collect()
}

#[tokio::test]
async fn two_different_changes_never_share_an_id_and_two_deliveries_of_one_always_do() {
    let is_json = |sample: &samples::Sample| serde_json::from_slice::<Value>(&sample.body).is_ok();
    // Of these a second state of a thing may come within one second; the others have an id for every fact.
    let mut pairs = 0;
    for mut sample in samples::all().expect("events/ can be read") {
        if !profile::of(&sample.provider).is_fine_grained || !is_json(&sample) {
            continue;
        }
        let body: Value = serde_json::from_slice(&sample.body).expect("JSON");
        sample.notes.insert("at".into(), receipt().to_string());
        let harness = ProviderHarness::of(&sample);
        let resigned = |body: &Value| signed(&sample, &harness.path, body.to_string().into_bytes());
        let mut known = Vec::<(String, Value)>::new();
        for body in std::iter::once(body.clone()).chain(changes(&body)) {
            let first = facts(harness.take(&resigned(&body)).await.events);
            let again = facts(harness.take(&resigned(&body)).await.events);
            assert_eq!(first, again, "{}/{}: one change has one id", sample.provider, sample.case);
            for (id, fact) in first {
                let other = known.iter().find(|(known, _)| *known == id);
                assert!(
                    other.is_none_or(|(_, other)| *other == fact),
                    "{}/{}: {id} stands for {fact} and for {}",
                    sample.provider,
                    sample.case,
                    other.map(|(_, other)| other.to_string()).unwrap_or_default()
                );
                known.push((id, fact));
                pairs += 1;
            }
        }
    }
    assert!(pairs > 300, "{pairs}");
}

fn ago(minutes: i64) -> Timestamp {
    Timestamp::now() - jiff::SignedDuration::from_mins(minutes)
}

fn order(id: &str, status: &str, updated_at: Timestamp, change: impl FnOnce(&mut Value)) -> SignedRequest {
    let mut body = json!({ "type": "order", "data": {
        "id": id, "number": id, "status": status, "updated_at": updated_at.to_string(),
        "placed_at": ago(600).to_string(), "currency": "RUB", "total": "3000.00",
        "buyer": { "name": "Анна", "email": "anna@example.com", "phone": "+79161234567" },
        "tickets": [
            { "id": "t1", "show": { "id": "kzn-1" }, "price": "1500.00" },
            { "id": "t2", "show": { "id": "kzn-1" }, "price": "1500.00" },
        ],
    }});
    if let Some(data) = body.pointer_mut("/data") {
        change(data);
    }
    let serial = body.to_string();
    form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &format!("{}", serial.len()), Timestamp::now())
}

fn stages(hub: &TestHub) -> Vec<(String, u64)> {
    hub.sandbox.leads_by_stage().into_iter().map(|((_, stage), count)| (stage, count as u64)).collect()
}

fn refund(id: &str, ticket: &str, at: Timestamp) -> Value {
    json!({ "id": id, "amount": "1500.00", "at": at.to_string(), "tickets": [ticket] })
}

#[tokio::test]
async fn two_refunds_within_one_second_are_two() {
    let hub = TestHub::start().await;
    let at = ago(5);
    hub.take(&order("E-1", "paid", ago(60), |_| {})).await;
    hub.take(&order("E-1", "paid", at, |data| data["refunds"] = json!([refund("R-1", "t1", at)]))).await;
    hub.take(&order("E-1", "paid", at, |data| data["refunds"] = json!([refund("R-2", "t2", at)]))).await;
    hub.settled().await;
    assert_eq!(stages(&hub), [("Возврат".to_owned(), 1)]);
    assert_eq!(hub.sandbox.leads()[0]["price"], json!(0));
}

#[tokio::test]
async fn a_wrong_clock_in_the_shop_does_not_freeze_an_order() {
    let hub = TestHub::start().await;
    let far = "2036-05-01T10:00:00Z".parse().expect("a time");
    hub.take(&order("CK-1", "placed", far, |_| {})).await;
    hub.settled().await;
    hub.take(&order("CK-1", "paid", Timestamp::now(), |_| {})).await;
    hub.settled().await;
    assert_eq!(stages(&hub), [("Оплачено".to_owned(), 1)]);
}

#[tokio::test]
async fn a_holder_who_is_checked_in_attended_and_a_scan_that_is_taken_back_takes_it_back() {
    let hub = TestHub::start().await;
    let scanned = |at: Value| move |data: &mut Value| data["tickets"][0]["checked_at"] = at;
    hub.take(&order("C-1", "paid", ago(60), |_| {})).await;
    hub.settled().await;
    assert_eq!(stages(&hub), [("Оплачено".to_owned(), 1)]);
    hub.take(&order("C-1", "paid", ago(20), scanned(json!(ago(20).to_string())))).await;
    hub.settled().await;
    assert_eq!(stages(&hub), [("Успешно реализовано".to_owned(), 1)]);
    // What the shop tells without a word about the scan leaves it.
    hub.take(&order("C-1", "paid", ago(15), |data| data["number"] = json!("C-1a"))).await;
    hub.settled().await;
    assert_eq!(stages(&hub), [("Успешно реализовано".to_owned(), 1)]);
}

/// What the events of these samples, in this order, say of the scans of their order.
async fn scans(provider: &str, cases: &[&str]) -> Vec<(String, bool)> {
    let mut order: Option<stagedoor_model::Order> = None;
    for case in cases {
        let sample = samples::all().expect("events/ can be read").into_iter();
        let mut sample = sample.filter(|sample| sample.provider == provider && sample.case == *case);
        let sample = sample.next().expect("a sample");
        let harness = ProviderHarness::of(&sample);
        for event in harness.take(&sample.signed_request(&harness.path)).await.events {
            let told = event.body.order().expect("an order").order.clone();
            order = Some(match order.take() {
                Some(known) => known.join(told),
                None => told,
            });
        }
    }
    let order = order.expect("an order");
    order.tickets.iter().map(|ticket| (ticket.id.clone(), order.checked_at(&ticket.id).is_some())).collect()
}

#[tokio::test]
async fn a_scan_of_qtickets_is_of_one_ticket_and_can_be_taken_back() {
    let seen = |first| vec![("63993".to_owned(), first), ("63994".to_owned(), false), ("63995".to_owned(), false)];
    assert_eq!(scans("qtickets", &["order_payed"]).await, seen(false));
    assert_eq!(scans("qtickets", &["order_payed", "order_checked"]).await, seen(true));
    assert_eq!(scans("qtickets", &["order_checked", "order_payed"]).await, seen(true), "in any order");
    for order in [["order_checked", "order_unchecked"], ["order_unchecked", "order_checked"]] {
        assert_eq!(scans("qtickets", &order).await, seen(false), "the later word stands");
    }
}

#[tokio::test]
async fn the_products_of_a_tilda_cart_are_read_as_objects_too_and_counted() {
    let own = |body: &Value| json("/website/landing", body).header("x-api-key", "landing-api-key");
    let mut source = source("tilda", "landing-api-key");
    source.name = SourceName::new("landing").expect("a name");
    source.show = Some("cherry-moscow".into());
    let harness = ProviderHarness::open(source, receipt());
    let lines = |products: Value| {
        json!({ "Name": "Анна", "Phone": "+79161234567", "tranid": products.to_string(),
        "payment": { "sys": "tinkoff", "systranid": 77, "orderid": 15, "amount": 3000, "products": products } })
    };
    let expected = vec![("cherry-moscow".to_owned(), 150_000), ("cherry-moscow".to_owned(), 150_000)];
    for products in [
        json!([{ "name": "Партер", "quantity": 2, "amount": 3000, "price": 1500 }]),
        json!([{ "name": "Партер", "quantity": "2", "price": "1500" }]),
        json!({ "0": { "name": "Партер", "quantity": 1, "amount": "1500" }, "1": { "name": "Балкон", "price": 1500 } }),
        json!(["Партер x 2 ≡ 3000"]),
        json!(["Партер=1500", "Балкон=1500"]),
    ] {
        let events = harness.take(&own(&lines(products.clone()))).await.events;
        let Some(Body::OrderPaid(body)) = events.first().map(|event| &event.body) else {
            panic!("{products}: {events:?}")
        };
        let read: Vec<_> = body.tickets().iter().map(|one| (one.show.id.clone(), one.price.minor)).collect();
        assert_eq!(read, expected, "{products}");
    }
}

#[tokio::test]
async fn a_paid_cart_without_readable_lines_is_a_sale_of_its_sources_show() {
    let hub = TestHub::start().await;
    let payment = json!({ "sys": "tinkoff", "systranid": "77", "orderid": "15", "amount": "3000", "products": [17] });
    let body = json!({ "Name": "Анна", "Phone": "+79161234567", "tranid": "1:1", "payment": payment });
    hub.take(&json("/website/tilda", &body).header("x-api-key", "tilda-api-key")).await;
    hub.settled().await;
    let pipelines: Vec<String> = hub.sandbox.leads_by_stage().into_keys().map(|(pipeline, _)| pipeline).collect();
    assert_eq!(pipelines, ["Москва"]);
    assert_eq!(hub.sandbox.leads()[0]["price"], json!(3000));
}

#[tokio::test]
async fn a_qtickets_client_without_details_is_read() {
    let sample = samples::all().expect("events/ can be read").into_iter().find(|one| one.case == "order_payed");
    let body: Value = serde_json::from_slice(&sample.expect("a sample").body).expect("JSON");
    let harness = ProviderHarness::open(source("qtickets", "SuperSecret"), receipt());
    for details in [json!(null), json!([])] {
        let mut body = body.clone();
        body["client"]["details"] = details;
        let events = harness.take(&qtickets(&harness.path, "payed", &body, "SuperSecret")).await.events;
        assert!(matches!(events.first().map(|event| &event.body), Some(Body::OrderPaid(_))), "{events:?}");
    }
}
