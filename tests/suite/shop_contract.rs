//! The contract of a theatre's own shop: what is odd in it, and refunds that are corrected.

use serde_json::{Value, json};
use stagedoor_model::{Event, Timestamp};
use stagedoor_testkit::form_signed;
use stagedoor_tests::{
    provider_harness::{self, Outcome, ProviderHarness},
    world::World,
};

use crate::mailings::{HOUR, Stage, noon};

const SECRET: &str = "theatre-shop-secret";

async fn told(body: &Value) -> Outcome {
    let now: Timestamp = "2027-05-16T10:00:00Z".parse().expect("an instant");
    let harness = ProviderHarness::open(provider_harness::source("shop", SECRET), now);
    harness.take(&form_signed(&harness.path, body, SECRET, &body.to_string().len().to_string(), now)).await
}

fn is_kept_alone(outcome: &Outcome) -> bool {
    outcome.events.len() == 1 && outcome.events[0].kind() == "stagedoor.delivery.unrecognized.v1"
}

fn ticket(id: &str) -> Value {
    json!({ "id": id, "show": { "id": "kzn-1" }, "price": "1500.00" })
}

/// Two tickets, paid; at this minute.
fn order(minute: u32, change: impl Fn(&mut Value)) -> Value {
    let mut data = json!({ "id": "TH-1", "status": "paid", "updated_at": format!("2027-05-16T09:{minute:02}:00Z"),
        "placed_at": "2027-05-16T08:00:00Z", "currency": "RUB", "total": "3000.00",
        "buyer": { "name": "Анна", "email": "anna@example.com" }, "tickets": [ticket("e1"), ticket("e2")] });
    change(&mut data);
    json!({ "type": "order", "data": data })
}

#[tokio::test]
async fn an_odd_ticket_or_refund_holds_its_order_up() {
    assert!(!is_kept_alone(&told(&order(1, |_| {})).await));
    for odd in [json!(null), json!("e2"), json!(7), json!([]), json!({}), json!([ticket("e2")])] {
        for (list, place) in [("tickets", "tickets.1"), ("refunds", "refunds.1"), ("items", "items.1")] {
            let body = order(1, |data| {
                let first = match list {
                    "tickets" => ticket("e1"),
                    "refunds" => json!({ "id": "R", "amount": "1.00", "at": "2027-05-16T09:00:00Z" }),
                    _ => json!({ "id": "m", "title": "Mug", "quantity": 1, "price": "1.00" }),
                };
                data[list] = json!([first, odd]);
            });
            let outcome = told(&body).await;
            assert!(is_kept_alone(&outcome), "{list} {odd}: {}", outcome.answer);
            assert!(outcome.answer.contains("\"understood\":false"), "{}", outcome.answer);
            assert!(outcome.answer.contains(place), "{list} {odd}: {}", outcome.answer);
        }
    }
    // What is optional in a ticket loses only itself.
    let body = order(1, |data| data["tickets"][0]["show"]["title"] = json!({ "ru": "Чайка" }));
    assert_eq!(told(&body).await.events.len(), 2);
}

#[tokio::test]
async fn a_show_that_moves_to_an_unreadable_time_is_kept_and_nobody_is_told() {
    let body =
        |starts_at: Value| json!({ "type": "show.rescheduled", "data": { "id": "kzn-1", "starts_at": starts_at } });
    let odd = [
        json!("22.05.2027 19:00"),
        json!("2027-05-22T19:00:00"),
        json!(1_809_957_600),
        json!("2027-05-22T19:00:00 MSK"),
        json!({ "at": "2027-05-22T19:00:00Z" }),
    ];
    for starts_at in odd {
        let outcome = told(&body(starts_at.clone())).await;
        assert!(is_kept_alone(&outcome), "{starts_at}: {}", outcome.answer);
        assert!(outcome.answer.contains("starts_at"), "{starts_at}: {}", outcome.answer);
    }
    for read in [json!("2027-05-22 19:00:00+03:00"), json!("2027-05-22T19:00+03")] {
        let outcome = told(&body(read.clone())).await;
        assert_eq!(outcome.events[0].kind(), "stagedoor.show.rescheduled.v1", "{read}: {}", outcome.answer);
    }
    // A show that is called off needs no date.
    let outcome =
        told(&json!({ "type": "show.cancelled", "data": { "id": "kzn-1", "starts_at": "22.05.2027" } })).await;
    assert_eq!(outcome.events.len(), 2, "{}", outcome.answer);
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.on(60).await;
    let now = stage.hub.now();
    let signed_request = form_signed("/ticketing/theatre", &body(json!("22.05.2027 19:00")), SECRET, "odd-date", now);
    stage.hub.take(&signed_request).await;
    stage.on(HOUR / 3).await;
    assert_eq!(stage.letters("anna@example.com").len(), 0);
}

#[tokio::test]
async fn what_names_nobody_is_not_understood() {
    for kind in ["show.cancelled", "show.rescheduled"] {
        for data in [json!({}), json!({ "id": "" }), json!({ "id": null }), json!({ "id": " " })] {
            let outcome = told(&json!({ "type": kind, "data": data })).await;
            assert!(is_kept_alone(&outcome), "{kind} {data}: {}", outcome.answer);
        }
    }
    assert!(is_kept_alone(&told(&order(1, |data| data["id"] = json!(""))).await));
}

fn refunds(all: &[(&str, &str, &[&str])]) -> Value {
    let one = |(id, amount, tickets): &(&str, &str, &[&str])| json!({ "id": id, "amount": amount, "at": "2027-05-16T09:00:00Z", "tickets": tickets });
    all.iter().map(one).collect()
}

/// The price of the only deal after these revisions, and its live tickets.
async fn price(revisions: &[Value]) -> i64 {
    let mut events: Vec<Event> = Vec::new();
    for revision in revisions {
        events.extend(told(revision).await.events);
    }
    let world = World::new().await;
    for event in events {
        world.run(vec![event]).await;
    }
    let deals = world.sandbox.leads();
    assert_eq!(deals.len(), 1);
    deals[0]["price"].as_i64().expect("a price")
}

#[tokio::test]
async fn a_refund_that_is_corrected_stands_as_it_was_told_last_whatever_came_first() {
    let with = |minute, all: Value| order(minute, move |data| data["refunds"] = all.clone());
    let bought = order(1, |_| {});
    let whole = with(2, refunds(&[("R-1", "3000.00", &["e1", "e2"])]));
    let half = with(3, refunds(&[("R-1", "1500.00", &["e1"])]));
    let none = with(4, json!([]));
    let other = with(3, refunds(&[("R-2", "1500.00", &["e2"])]));
    for (revisions, expected) in [
        (vec![bought.clone(), whole.clone()], 0),
        (vec![bought.clone(), whole.clone(), half.clone()], 1500),
        (vec![half.clone(), whole.clone(), bought.clone()], 1500),
        (vec![bought.clone(), whole.clone(), none.clone()], 3000),
        (vec![none.clone(), half.clone(), whole.clone()], 3000),
        (vec![whole.clone(), other.clone()], 1500),
        // A revision that says nothing of refunds takes none back.
        (vec![whole.clone(), order(5, |_| {})], 0),
    ] {
        assert_eq!(price(&revisions).await, expected, "{revisions:?}");
    }
}
