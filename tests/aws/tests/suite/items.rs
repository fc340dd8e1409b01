//! `scale.items`: the largest item of any table after many events of one person and many messages. The server is one that
//! nobody here wrote; it takes no item of more than 400 KB.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use stagedoor_aws::{DynamoStore, create_tables};
use stagedoor_engine::SendingPolicy;
use stagedoor_model::{Body, Event, MessageDecided, SourceName, Timestamp};
use stagedoor_outreach::{Outreach, RateLimit};
use stagedoor_ports::{Channel, Store, SystemClock, memory::MemoryQueue};
use stagedoor_proof::{hub::keys, stack::Moto};
use stagedoor_sync::Sync;
use stagedoor_tests::{
    account::{Account, Which},
    box_office::{Taking, event, opened, order},
};

const BATCH: usize = 500;
/// What an item may have, in KB.
const GOAL: f64 = 100.0;

/// Three of four are orders of a box office's one account, the others are letters that it opened.
fn fact(n: usize) -> Event {
    match n.is_multiple_of(4) {
        true => opened(n, 1_000 * n as i64, format!("season-{}", n / 50)),
        false => order(n),
    }
}

async fn send(store: &Arc<dyn Store>, sync: &Sync, messages: usize) {
    let bot = SourceName::new("bot").unwrap();
    let channel: Arc<dyn Channel> = Arc::new(Taking);
    let chats = Arc::new(MemoryQueue::default());
    let outreach = Outreach {
        store: Arc::clone(store),
        outbox: Arc::new(MemoryQueue::default()),
        chats: chats.clone(),
        clock: Arc::new(SystemClock),
        channels: [(bot.clone(), channel)].into(),
        policy: SendingPolicy::default(),
        pace: Arc::new(RateLimit::default()),
    };
    let message = |n: usize| {
        let message =
            MessageDecided::new(bot.clone(), "telegram:1000000".parse().unwrap(), "Ждём вас".into(), Timestamp::MAX);
        event("bot", &format!("message {n}"), n as i64, Body::MessageDecided(Box::new(message)))
    };
    for from in (0..messages).step_by(BATCH) {
        let batch = (from..messages.min(from + BATCH)).map(message).collect();
        assert!(outreach.handle(batch).await.is_empty(), "a message was not sent");
        // What became of them is told to the hub.
        loop {
            let told = stagedoor_ports::Queue::receive(chats.as_ref(), BATCH).await.unwrap();
            if told.is_empty() {
                break;
            }
            let events = told.iter().map(|one| one.event.clone()).collect();
            assert!(sync.handle(events).await.is_empty(), "a report was not folded");
            let receipts = told.into_iter().map(|one| one.receipt).collect();
            stagedoor_ports::Queue::done(chats.as_ref(), receipts).await.unwrap();
        }
    }
}

fn bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::Bs(blobs) => blobs.iter().map(|blob| blob.as_ref().len()).sum(),
        other => panic!("a kind of attribute that is not counted: {other:?}"),
    }
}

/// Bytes of the largest item, with the table where it lies.
async fn largest(config: &aws_config::SdkConfig) -> (usize, String) {
    let client = aws_sdk_dynamodb::Client::new(config);
    let mut largest = (0, String::new());
    for table in client.list_tables().send().await.unwrap().table_names.unwrap_or_default() {
        let mut items = client.scan().table_name(&table).into_paginator().items().send();
        while let Some(one) = items.next().await {
            let size = one.unwrap().iter().map(|(name, value)| name.len() + bytes(value)).sum();
            largest = largest.max((size, table.clone()));
        }
    }
    largest
}

async fn items(events: usize, messages: usize) {
    let moto = Moto::start().await;
    let config = keys("sync", &moto.url).await;
    create_tables(&config, "t").await.unwrap();
    let store: Arc<dyn Store> = Arc::new(DynamoStore::new(&config, "t"));
    let account = Account::of(Which::Amo).await;
    let sync = Sync { store: Arc::clone(&store), ..account.sync.clone() };
    for from in (0..events).step_by(BATCH) {
        let failed = sync.handle((from..events.min(from + BATCH)).map(fact).collect()).await;
        assert!(failed.is_empty(), "{} events were not folded", failed.len());
    }
    assert_eq!(store.totals().await.unwrap().people, 1);
    send(&store, &sync, messages).await;
    let (bytes, table) = largest(&config).await;
    let kilobytes = bytes as f64 / 1024.0;
    println!("scale.items: {kilobytes:.1} KB, in {table}, after {events} events of one person and {messages} messages");
    assert!(kilobytes <= GOAL, "{kilobytes} KB in {table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_item_is_larger_than_100_kb_after_many_events_of_one_person_and_many_messages() {
    items(2_500, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes an hour: it prints the figure of docs/scale.md"]
async fn scale_items() {
    let of = |name: &str, whole| std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(whole);
    items(of("EVENTS", 50_000), of("MESSAGES", 100_000)).await;
}
