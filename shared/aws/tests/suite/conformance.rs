//! SQS and DynamoDB keep the promises of their ports.

use std::sync::atomic::{AtomicU32, Ordering};

use stagedoor_aws::{DynamoStore, SqsQueue, create_tables};
use stagedoor_ports::testing::{queue_suite, store_suite};

use crate::moto::moto;

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
        let redrive = format!(
            "{{\"deadLetterTargetArn\":\"arn:aws:sqs:eu-central-1:123456789012:dead{n}\",\"maxReceiveCount\":\"5\"}}"
        );
        let queue = client.create_queue().queue_name(format!("events{n}"));
        let queue = queue.attributes(aws_sdk_sqs::types::QueueAttributeName::RedrivePolicy, redrive);
        let queue = queue.send().await.expect("a queue").queue_url.expect("its address");
        SqsQueue::new(&moto.config, &queue, Some(&dead))
    })
    .await;
}
