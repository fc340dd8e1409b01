//! What a call reads is what it asks for: the bytes that the server answers are counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use stagedoor_aws::{DynamoStore, create_tables};
use stagedoor_ports::{DirtyPeople, KeyValues, Rechecks};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::moto::{Moto, moto};

/// What was counted since the start.
#[derive(Clone, Default)]
pub(crate) struct Counted {
    pub(crate) answered: Arc<AtomicU64>,
    /// Calls without an answer, and the most that there ever were: the server takes one call a connection.
    open: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
    /// Milliseconds by which each answer is held up.
    pub(crate) slow: Arc<AtomicU64>,
}

/// Stands before the server and counts the bytes of its answers, and the calls that have none yet.
pub(crate) async fn counted(moto: &Moto) -> (aws_config::SdkConfig, Counted) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (counted, upstream) = (Counted::default(), moto.url.trim_start_matches("http://").to_owned());
    let all = counted.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let open = all.open.fetch_add(1, Ordering::Relaxed) + 1;
            all.most.fetch_max(open, Ordering::Relaxed);
            let server = TcpStream::connect(&upstream).await.expect("the server");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let count = all.clone();
            tokio::spawn(async move {
                let (mut part, mut is_open) = ([0; 16 * 1024], true);
                while let Ok(read) = from_server.read(&mut part).await {
                    count.answered.fetch_add(read as u64, Ordering::Relaxed);
                    if std::mem::take(&mut is_open) {
                        tokio::time::sleep(Duration::from_millis(count.slow.load(Ordering::Relaxed))).await;
                        count.open.fetch_sub(1, Ordering::Relaxed);
                    }
                    if read == 0 || to_client.write_all(&part[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (moto.config.clone().into_builder().endpoint_url(url).build(), counted)
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_of_a_prefix_are_read_without_the_others() {
    let moto = moto().await;
    create_tables(&moto.config, "t").await.expect("tables");
    let (config, counted) = counted(&moto).await;
    let (store, answered) = (DynamoStore::new(&config, "t"), &counted.answered);
    for n in 0..300 {
        let name = if n % 2 == 0 { format!("promo/{n}") } else { format!("code/{n}") };
        store.compare_and_set(&name, &"x".repeat(1_000), None).await.expect("put");
    }
    store.compare_and_set("show/site/1", "moved", None).await.expect("put");
    let before = answered.load(Ordering::Relaxed);
    let found = store.key_values("show/").await.expect("read");
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["show/site/1"]);
    let bytes = answered.load(Ordering::Relaxed) - before;
    assert!(bytes < 10_000, "{bytes} bytes for one cell among 300 others");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_a_long_call_go_at_once_and_not_all_of_them() {
    let moto = moto().await;
    create_tables(&moto.config, "t").await.expect("tables");
    let (config, counted) = counted(&moto).await;
    let store = DynamoStore::new(&config, "t");
    let names = (0..4_000).map(|n| format!("asked/{n}")).collect();
    counted.slow.store(200, Ordering::Relaxed);
    assert!(store.key_values_of(&names).await.expect("read").is_empty());
    let most = counted.most.load(Ordering::Relaxed);
    assert!((4..=16).contains(&most), "{most} calls at once, of 40");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_round_of_people_does_not_read_everybody_who_waits() {
    let moto = moto().await;
    create_tables(&moto.config, "t").await.expect("tables");
    let (config, counted) = counted(&moto).await;
    let store = DynamoStore::new(&config, "t");
    let id = |n: u32| stagedoor_engine::PersonId::from_bytes(u128::from(n).to_be_bytes());
    for page in 0..40 {
        store.mark_dirty((page * 1_000..(page + 1) * 1_000).map(id).collect()).await.expect("marked");
    }
    let bytes = async |max: usize| {
        let before = counted.answered.load(Ordering::Relaxed);
        store.claim_dirty(max, None).await.expect("taken");
        counted.answered.load(Ordering::Relaxed) - before
    };
    let (some, all) = (bytes(1_500).await, bytes(100_000).await);
    assert!(some * 3 < all, "{some} bytes for the first of them, {all} for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_to_be_looked_at_later_is_not_read_now() {
    let moto = moto().await;
    create_tables(&moto.config, "t").await.expect("tables");
    let (config, counted) = counted(&moto).await;
    let store = DynamoStore::new(&config, "t");
    let at = |second: i64| stagedoor_model::Timestamp::from_second(1_800_000_000 + second).expect("in range");
    let id = |n: u32| stagedoor_engine::PersonId::from_bytes(u128::from(n).to_be_bytes());
    store.schedule_rechecks(&(0..3_000).map(|n| (id(n), at(3_600))).collect()).await.expect("put down");
    store.schedule_rechecks(&[(id(1), at(60))].into()).await.expect("put down");
    let before = counted.answered.load(Ordering::Relaxed);
    let due = store.due_rechecks(at(120)).await.expect("read");
    assert_eq!(due.iter().flat_map(|page| &page.people).collect::<Vec<_>>(), [&id(1)]);
    let bytes = counted.answered.load(Ordering::Relaxed) - before;
    assert!(bytes < 5_000, "{bytes} bytes for one person among 3,000");
}
