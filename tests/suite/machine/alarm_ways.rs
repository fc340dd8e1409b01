//! By which ways alarms are told: each way knows what it told, whatever becomes of the others.

use std::sync::Arc;

use stagedoor::{DEFAULT_CONFIG, Hub, Moved, alarms::Watch, read_config};
use stagedoor_sandbox::Post;
use stagedoor_tests::hub::free;

use super::stop::until;

/// A webhook that takes its time, and a letter that is sent at once.
#[tokio::test]
async fn what_one_way_told_is_kept_before_a_slower_way_is_done() {
    let (post, at) = (Post::default(), free());
    let listener = tokio::net::TcpListener::bind(&at).await.expect("a port");
    let served = post.clone();
    tokio::spawn(async move { served.serve(listener).await });
    // It takes the connection and answers nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hooks/anna", silent.local_addr().expect("an address"));
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let open = |addresses: &[&str], webhook: &str| {
        let text = DEFAULT_CONFIG.replace("8083", at.split(':').nth(1).expect("one"));
        let section = format!(
            "[alarms]
email = {addresses:?}
{webhook}"
        );
        let config = read_config(
            "s.toml",
            &format!(
                "{text}
{section}
"
            ),
            None,
        )
        .expect("a config");
        Arc::new(Hub::open_by(Arc::new(clock.clone()), config, folder.path(), "serve").expect("a hub"))
    };
    let hub = open(&["duty@example.ru", "anna@example.ru"], &format!("webhook = \"dev:{url}\""));
    for _ in 0..12 {
        hub.counters.count("tilda", "WrongSignature");
    }
    let mut watch = Watch::new(&hub).expect("a watch");
    let looking = tokio::spawn(async move { watch.round().await });
    until(async || {
        let key_value =
            hub.store.key_value("alarms").await.expect("read").map(|key_value| key_value.value).unwrap_or_default();
        post.arrived().len() >= 2 && !key_value.contains("email/")
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!looking.is_finished(), "the webhook is still waited for");
    // The process dies meanwhile.
    looking.abort();
    _ = looking.await;
    drop(hub);
    // Who was told is told nothing twice.
    let hub = open(&["anna@example.ru", "duty@example.ru"], "");
    let mut watch = Watch::new(&hub).expect("a watch");
    watch.round().await.expect("a look");
    assert_eq!(post.arrived().len(), 2);
}

/// The names of ways are those of addresses, not of places.
#[tokio::test]
async fn a_new_order_of_the_addresses_repeats_no_message_and_loses_none() {
    let (post, at) = (Post::default(), free());
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let open = |addresses: &[&str]| {
        let text = DEFAULT_CONFIG.replace("8083", at.split(':').nth(1).expect("one"));
        let config = read_config(
            "s.toml",
            &format!(
                "{text}
[alarms]
email = {addresses:?}
"
            ),
            None,
        )
        .expect("a config");
        Arc::new(Hub::open_by(Arc::new(clock.clone()), config, folder.path(), "serve").expect("a hub"))
    };
    let hub = open(&["anna@example.ru", "duty@example.ru"]);
    for _ in 0..12 {
        hub.counters.count("tilda", "WrongSignature");
    }
    // No relay takes a letter.
    Watch::new(&hub).expect("a watch").round().await.expect("a look");
    drop(hub);
    let listener = tokio::net::TcpListener::bind(&at).await.expect("a port");
    let served = post.clone();
    tokio::spawn(async move { served.serve(listener).await });
    let hub = open(&["boss@example.ru", "anna@example.ru"]);
    Watch::new(&hub).expect("a watch").round().await.expect("a look");
    let to: Vec<String> = post.arrived().iter().map(|letter| letter.to.clone()).collect();
    assert_eq!(to, ["anna@example.ru"], "one left the config, and one came later");
    drop(hub);
    let hub = open(&["anna@example.ru", "boss@example.ru"]);
    Watch::new(&hub).expect("a watch").round().await.expect("a look");
    assert_eq!(post.arrived().len(), 1, "it was told to her");
}
