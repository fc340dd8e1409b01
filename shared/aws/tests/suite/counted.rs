//! What a call reads is what it asks for: the bytes that the server answers are counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use stagedoor_aws::{DynamoStore, create_tables};
use stagedoor_ports::Store;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::moto::{Moto, moto};

/// Stands before the server and counts its answers.
async fn counted(moto: &Moto) -> (aws_config::SdkConfig, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (answered, upstream) = (Arc::new(AtomicU64::new(0)), moto.url.trim_start_matches("http://").to_owned());
    let count = Arc::clone(&answered);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&upstream).await.expect("the server");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut part = [0; 16 * 1024];
                while let Ok(read) = from_server.read(&mut part).await {
                    count.fetch_add(read as u64, Ordering::Relaxed);
                    if read == 0 || to_client.write_all(&part[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (moto.config.clone().into_builder().endpoint_url(url).build(), answered)
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_of_a_prefix_are_read_without_the_others() {
    let moto = moto().await;
    create_tables(&moto.config, "t").await.expect("tables");
    let (config, answered) = counted(&moto).await;
    let store = DynamoStore::new(&config, "t");
    for n in 0..300 {
        let name = if n % 2 == 0 { format!("sent/{n}") } else { format!("told/{n}") };
        store.put_cell(&name, &"x".repeat(1_000), None).await.expect("put");
    }
    store.put_cell("show/site/1", "moved", None).await.expect("put");
    let before = answered.load(Ordering::Relaxed);
    let found = store.cells("show/").await.expect("read");
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["show/site/1"]);
    let bytes = answered.load(Ordering::Relaxed) - before;
    assert!(bytes < 10_000, "{bytes} bytes for one cell among 300 others");
}
