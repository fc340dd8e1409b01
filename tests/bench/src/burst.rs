//! The on-sale night: 10,000 paid orders, 9,000 by new people and 1,000 by people whom the CRM knows.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stagedoor_sandbox::Sandbox;
use stagedoor_testkit::{SignedRequest, form_signed};
use tokio::task::JoinSet;

use crate::{
    baseline,
    figure::{Figure, Goal},
    paid_order::{digits, order},
    stage,
};

const ORDERS: usize = 10_000;
const KNOWN: usize = 1_000;
const CONNECTIONS: usize = 64;
/// The calls a second that the CRM accepts.
const RATE: f64 = 7.0;

pub async fn run() -> Result<Vec<Figure>, String> {
    let stage = stage::open().await?;
    let sandbox =
        stage.running.as_ref().and_then(|running| running.sandbox.clone()).ok_or("the config has no sandbox")?;
    let known: Vec<Value> = (0..KNOWN).map(contact).collect();
    known.chunks(250).for_each(|chunk| sandbox.add_contacts(chunk));
    stage.hub.sync.backfill(&stage.hub.mirror).await.map_err(|error| error.to_string())?;
    let now = stage.hub.sync.clock.now();
    let parcels: Vec<SignedRequest> = (0..ORDERS)
        .map(|n| form_signed("/ticketing/theatre", &order(n), "theatre-shop-secret", &format!("msg_{n}"), now))
        .collect();
    let before = calls(&sandbox);
    let began = Instant::now();
    let sending = tokio::spawn(send(parcels, stage.base.clone()));
    while sandbox.count("leads") < ORDERS {
        if began.elapsed() > Duration::from_secs(300) {
            return Err(format!("after five minutes the CRM has {} deals of {ORDERS}", sandbox.count("leads")));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = began.elapsed().as_secs_f64();
    sending.await.map_err(|error| error.to_string())??;
    let used = calls(&sandbox) - before;
    let contacts = sandbox.count("contacts");
    if contacts != ORDERS {
        return Err(format!("the CRM has {contacts} contacts, expected {ORDERS}"));
    }
    drop(stage);
    let plain = baseline::calls_an_order().await? * ORDERS as f64;
    let limit = used as f64 / RATE;
    Ok(vec![
        Figure {
            figure: "burst.calls",
            value: used as f64,
            unit: "calls",
            limit: Some(100.0),
            ratio: Some(used as f64 / 100.0),
            baseline: Some(plain),
            goal: Goal::ValueAtMost(100.0),
        },
        Figure {
            figure: "burst.time",
            value: took,
            unit: "s",
            limit: Some(limit),
            ratio: Some(took / limit),
            baseline: Some(plain / RATE),
            goal: Goal::RatioAtMost(1.25),
        },
    ])
}

fn calls(sandbox: &Sandbox) -> u64 {
    sandbox.calls().values().sum()
}

fn contact(n: usize) -> Value {
    let phone =
        json!({ "field_code": "PHONE", "values": [{ "value": format!("8{}", digits(n)), "enum_code": "MOB" }] });
    json!({ "name": format!("Fan {n}"), "custom_fields_values": [phone] })
}

/// Posts requests through all connections at once. Each must be answered with 200.
pub async fn send(parcels: Vec<SignedRequest>, base: String) -> Result<(), String> {
    let http = stagedoor_http::builder().build().map_err(|error| error.to_string())?;
    let parcels = std::sync::Arc::new(parcels);
    let mut hands = JoinSet::new();
    for hand in 0..CONNECTIONS {
        let (parcels, http, base) = (parcels.clone(), http.clone(), base.clone());
        hands.spawn(async move {
            for signed_request in parcels.iter().skip(hand).step_by(CONNECTIONS) {
                let (status, _) = signed_request.post(&http, &base).await.map_err(|error| error.to_string())?;
                if status != 200 {
                    return Err(format!("the hub answered {status}"));
                }
            }
            Ok(())
        });
    }
    while let Some(done) = hands.join_next().await {
        done.map_err(|error| error.to_string())??;
    }
    Ok(())
}
