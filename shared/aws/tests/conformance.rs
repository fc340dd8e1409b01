//! SQS and DynamoDB keep the promises of their ports, on a server that nobody of us wrote: moto.
#![allow(clippy::disallowed_methods, reason = "the test tells the SDK where the server is")]

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use stagedoor_aws::{DynamoStore, SqsQueue, create_tables};
use stagedoor_ports::testing::{queue_suite, store_suite};

struct Moto {
    child: Child,
    config: SdkConfig,
}

impl Drop for Moto {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

async fn moto() -> Moto {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/python/bin/moto_server");
    let child = Command::new(&tool)
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; tests/run installs it", tool.display()));
    let keys = aws_sdk_sqs::config::Credentials::new("test", "test", None, None, "test");
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .credentials_provider(keys)
        .load()
        .await;
    for _ in 0..200 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Moto { child, config };
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("moto did not come up");
}

#[tokio::test]
async fn dynamodb_keeps_every_promise_of_a_store() {
    let moto = moto().await;
    let number = AtomicU32::new(0);
    store_suite(async || {
        let prefix = format!("t{}", number.fetch_add(1, Ordering::Relaxed));
        create_tables(&moto.config, &prefix).await.expect("tables");
        DynamoStore::new(&moto.config, &prefix)
    })
    .await;
}

#[tokio::test]
async fn sqs_keeps_every_promise_of_a_queue() {
    let moto = moto().await;
    let number = AtomicU32::new(0);
    queue_suite(async || {
        let n = number.fetch_add(1, Ordering::Relaxed);
        let client = aws_sdk_sqs::Client::new(&moto.config);
        let dead = client.create_queue().queue_name(format!("dead{n}")).send().await.expect("a queue");
        let dead = dead.queue_url.expect("its address");
        let redrive = format!("{{\"deadLetterTargetArn\":\"arn:aws:sqs:eu-central-1:123456789012:dead{n}\",\"maxReceiveCount\":\"5\"}}");
        let queue = client.create_queue().queue_name(format!("events{n}"));
        let queue = queue.attributes(aws_sdk_sqs::types::QueueAttributeName::RedrivePolicy, redrive);
        let queue = queue.send().await.expect("a queue").queue_url.expect("its address");
        SqsQueue::new(&moto.config, &queue, Some(&dead))
    })
    .await;
}
