//! What names a person outside of their own data goes with them, and what names somebody else stays. `export` shows it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stagedoor_model::{Body, Event, Identifier};
use stagedoor_tests::hub::TestHub;

use crate::end_to_end::order;

const LONG: Duration = Duration::from_secs(900);

/// Sends deliveries of the theatre that the hub does not understand.
async fn strange(hub: &TestHub, all: &[Value]) {
    for (n, data) in all.iter().enumerate() {
        let body = json!({ "type": "seance", "data": data });
        let id = format!("strange-{n}");
        let now = hub.now();
        hub.take(&stagedoor_testkit::form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &id, now)).await;
    }
    hub.settled().await;
}

/// The bodies of the deliveries that are kept.
async fn kept(hub: &TestHub) -> Vec<String> {
    let rows = hub.hub.store.unrecognized(100).await.expect("rows");
    let body = |event: Event| match event.body {
        Body::Unrecognized(kept) => String::from_utf8(STANDARD.decode(kept.body).expect("base64")).expect("text"),
        _ => panic!("no delivery"),
    };
    rows.into_iter().map(|row| body(row.event)).collect()
}

fn who(text: &str) -> Identifier {
    text.parse().expect("an identifier")
}

/// The paid order that names this person.
async fn order_of(hub: &TestHub, who: &str) -> Event {
    let rows = hub.hub.store.journal(100).await.expect("rows");
    let mut orders = rows.into_iter().map(|row| row.event).filter(|event| event.body.order().is_some());
    orders.find(|event| serde_json::to_string(event).expect("JSON").contains(&format!("\"{who}\""))).expect("an order")
}

#[tokio::test]
async fn what_is_of_somebody_with_a_longer_address_or_number_outlives_an_erasure() {
    let hub = TestHub::start().await;
    // The order of the other costs 3,000.00, which is her customer id in kopecks.
    let anna = json!({ "name": "Анна Каренина", "email": "anna@example.com", "phone": "+79161234567",
        "customer_id": "300000" });
    let joanna = json!({ "name": "Иоанна Петрова", "email": "joanna@example.com", "phone": "+79162223344" });
    hub.take(&order("ORD-1001", "paid", "2026-01-10T10:05:00Z", anna, json!([]))).await;
    hub.take(&order("ORD-10012", "paid", "2026-01-10T10:05:00Z", joanna, json!([]))).await;
    hub.settled().await;
    let of_joanna = json!({ "id": "ORD-10012", "total": 300_000, "buyer": { "email": "joanna@example.com" } });
    let of_anna = [
        json!({ "id": "ORD-1001" }),
        json!({ "buyer": { "customer_id": 300_000 } }),
        json!({ "words": "Пишите на anna@example.com." }),
    ];
    strange(&hub, &[&of_anna[..], std::slice::from_ref(&of_joanna)].concat()).await;
    let waiting =
        vec![order_of(&hub, "email:anna@example.com").await, order_of(&hub, "email:joanna@example.com").await];
    hub.hub.queues.events.send_later(waiting.clone(), LONG).await.expect("queued");
    hub.hub.queues.outbox.send_later(waiting, LONG).await.expect("queued");
    let lines = stagedoor::commands::erase(&hub.hub, &who("email:anna@example.com")).await.expect("erased");
    assert!(lines.iter().any(|line| line.contains("5 kept deliveries and waiting messages")), "{lines:?}");
    let left = kept(&hub).await;
    assert!(left.len() == 1 && left[0].contains("joanna@example.com"), "{left:?}");
    for queue in [&hub.hub.queues.events, &hub.hub.queues.outbox] {
        assert_eq!(queue.depth().await.expect("a depth"), 1, "hers waits still");
    }
    let all = stagedoor::export::export(&hub.hub, &who("email:joanna@example.com")).await.expect("exported");
    assert!(all["kept"].as_array().is_some_and(|kept| kept.len() == 1), "{}", all["kept"]);
    let waits: Vec<&Value> = all["waiting"].as_array().expect("a list").iter().map(|one| &one["queue"]).collect();
    assert_eq!(waits, ["events", "outbox"]);
}

#[tokio::test]
async fn a_phone_of_another_country_goes_from_kept_deliveries_in_every_spelling() {
    let hub = TestHub::with(|text| text.replace("region = \"RU\"", "region = \"FR\"")).await;
    let jean = json!({ "name": "Jean", "email": "jean@example.fr", "phone": "06 12 34 56 78" });
    hub.take(&order("F-1", "paid", "2026-01-10T10:05:00Z", jean, json!([]))).await;
    hub.settled().await;
    strange(
        &hub,
        &[
            json!({ "tel": "06 12 34 56 78" }),
            json!({ "tel": "+33 (0)6.12.34.56.78" }),
            json!({ "tel": "0033 [6] 12 — 34 — 56  78" }),
            json!({ "tel": "06 12 34 56 79" }),
        ],
    )
    .await;
    assert_eq!(kept(&hub).await.len(), 4);
    stagedoor::commands::erase(&hub.hub, &who("email:jean@example.fr")).await.expect("erased");
    let left = kept(&hub).await;
    assert!(left.len() == 1 && left[0].contains("56 79"), "{left:?}");
}

#[tokio::test]
async fn who_asks_gets_what_is_kept_and_what_waits_though_nobody_is_known() {
    let hub = TestHub::start().await;
    let (vera, nobody) = (who("email:vera@example.com"), who("email:nobody@example.com"));
    let of_others = json!({ "email": "boris@example.com", "note": "ложа" });
    strange(&hub, &[json!({ "email": "Vera@Example.com", "note": "партер" }), of_others]).await;
    let told = stagedoor::export::export(&hub.hub, &nobody).await.expect_err("nothing holds it");
    assert!(told.contains("nobody is known"), "{told}");
    let all = stagedoor::export::export(&hub.hub, &vera).await.expect("exported");
    assert_eq!(all["identifiers"], json!(["email:vera@example.com"]));
    assert_eq!((all["kept"].as_array().map(Vec::len), &all["waiting"]), (Some(1), &json!([])), "{all}");
    let body = all["kept"][0]["data"]["body"].as_str().expect("a body");
    assert!(body.contains("партер") && all["kept"][0]["data"]["route"] == "ticketing/theatre", "{all}");
    assert!(!all.to_string().contains("boris@example.com"), "{all}");
    assert_eq!(kept(&hub).await.len(), 2, "nothing is removed");
    let lines = stagedoor::commands::erase(&hub.hub, &vera).await.expect("erased");
    assert!(lines.iter().any(|line| line.contains("1 kept deliveries and waiting messages")), "{lines:?}");
    assert!(stagedoor::export::export(&hub.hub, &vera).await.is_err(), "nothing is left to show");
}
