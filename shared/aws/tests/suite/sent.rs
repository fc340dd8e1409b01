//! What was sent lies in a table of its own, and ends.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use stagedoor_ports::{Clock, KeyValue, KeyValues, SystemClock};

use crate::parts::{scan, store, text};

const NAMES: [&str; 4] = ["sent/1", "reported/1", "told/order 1", "way/1"];

#[tokio::test]
async fn what_was_sent_ends_after_400_days_and_nothing_else_does() {
    let (_moto, store, client) = store().await;
    for name in NAMES.into_iter().chain(["token"]) {
        assert!(store.compare_and_set(name, "one", None).await.expect("put"));
        assert!(!store.compare_and_set(name, "two", None).await.expect("put"));
        assert!(store.compare_and_set(name, "three", Some(1)).await.expect("put"));
        assert_eq!(store.key_value(name).await.expect("read"), Some(KeyValue { value: "three".into(), version: 2 }));
    }
    let (sent, misc) = (scan(&client, "t-sent").await, scan(&client, "t-misc").await);
    assert_eq!(sent.iter().map(|one| text(one, "id")).collect::<BTreeSet<_>>(), NAMES.into());
    assert_eq!(misc.iter().map(|one| text(one, "sk")).collect::<Vec<_>>(), ["token"]);
    assert!(!misc[0].contains_key("expires"));
    let end = |one: &crate::Item| one["expires"].as_n().expect("a number").parse::<i64>().expect("a number");
    let days = |one| (end(one) - SystemClock.now().as_second()) / 86_400;
    assert!(sent.iter().all(|one| (399..=400).contains(&days(one))));
    let asked = NAMES.into_iter().chain(["token", "sent/2"]).map(str::to_owned).collect();
    assert_eq!(store.key_values_of(&asked).await.expect("read").len(), 5);
}

#[tokio::test]
async fn what_an_earlier_version_sent_is_not_sent_again() {
    let (_moto, store, client) = store().await;
    let s = |value: &str| AttributeValue::S(value.to_owned());
    let one =
        [("pk", s("cell")), ("sk", s("sent/1")), ("content", s("begun 0")), ("version", AttributeValue::N("7".into()))];
    let one: HashMap<_, _> = one.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    client.put_item().table_name("t-misc").set_item(Some(one)).send().await.expect("written");
    assert_eq!(store.key_value("sent/1").await.expect("read"), Some(KeyValue { value: "begun 0".into(), version: 7 }));
    assert_eq!(store.key_values_of(&["sent/1".to_owned()].into()).await.expect("read").len(), 1);
    assert!(!store.compare_and_set("sent/1", "begun 0", None).await.expect("answered"), "it is known");
    assert!(!store.compare_and_set("sent/1", "ended", Some(6)).await.expect("answered"));
    assert!(store.compare_and_set("sent/1", "ended", Some(7)).await.expect("answered"));
    assert_eq!(store.key_value("sent/1").await.expect("read"), Some(KeyValue { value: "ended".into(), version: 8 }));
    assert!(scan(&client, "t-sent").await.is_empty(), "it stays where it lies");
}
