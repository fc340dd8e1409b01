//! The event source mapping as Lambda runs it. Messages gather until the batch is full, its window is over or its
//! payload is 6 MB. Messages that the function does not report as failed are deleted. Reported messages, or all if
//! the function fails, stay for the queue's visibility timeout and redrive policy.
//!
//! Sources: docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html and services-sqs-errorhandling.html.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_sqs::{
    Client,
    types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName},
};
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use crate::runtime::Function;

/// The most bytes of an invocation (Lambda quotas, synchronous payload).
const PAYLOAD: usize = 6 * 1024 * 1024;

#[derive(Clone)]
pub struct Source {
    pub client: Client,
    pub url: String,
    pub arn: String,
    pub batch: usize,
    pub window: Duration,
    pub concurrency: usize,
    /// True if the mapping has ReportBatchItemFailures.
    pub partial: bool,
    /// True if every message is delivered twice, as a standard queue may do.
    pub twice: bool,
    /// Polls that found nothing. Their number depends on the clock.
    pub idle: Arc<AtomicU64>,
}

/// Polls until it is dropped.
pub struct Polling(JoinHandle<()>);

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub fn poll(source: Source, function: Function) -> Polling {
    Polling(tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(source.concurrency));
        let mut running = JoinSet::new();
        loop {
            while running.try_join_next().is_some() {}
            let place = Arc::clone(&places).acquire_owned().await;
            let batch = gather(&source).await;
            if batch.is_empty() {
                continue;
            }
            let (source, function) = (source.clone(), function.clone());
            running.spawn(async move {
                hand_over(&source, &function, batch).await;
                drop(place);
            });
        }
    }))
}

async fn gather(source: &Source) -> Vec<Message> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut began: Option<Instant> = None;
    while batch.len() < source.batch && bytes < PAYLOAD && began.is_none_or(|began| began.elapsed() < source.window) {
        let count = (source.batch - batch.len()).min(10) as i32;
        let request = source
            .client
            .receive_message()
            .queue_url(&source.url)
            .max_number_of_messages(count)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let messages = request.send().await.ok().and_then(|answer| answer.messages).unwrap_or_default();
        if messages.is_empty() {
            source.idle.fetch_add(1, Ordering::Relaxed);
            // Lambda uses long polling; with the stand-in everybody else would wait meanwhile.
            tokio::time::sleep(Duration::from_millis(300)).await;
            if began.is_none() {
                return batch;
            }
            continue;
        }
        began.get_or_insert_with(Instant::now);
        bytes += messages.iter().filter_map(|one| one.body.as_ref()).map(String::len).sum::<usize>();
        batch.extend(messages);
    }
    batch
}

fn record(source: &Source, message: &Message) -> Value {
    let attributes = message.attributes.as_ref();
    let count = attributes.and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount).cloned());
    json!({
        "messageId": message.message_id, "receiptHandle": message.receipt_handle, "body": message.body,
        "attributes": { "ApproximateReceiveCount": count }, "messageAttributes": {},
        "md5OfBody": message.md5_of_body, "eventSource": "aws:sqs", "eventSourceARN": source.arn, "awsRegion": "eu-central-1",
    })
}

async fn hand_over(source: &Source, function: &Function, batch: Vec<Message>) {
    let records: Vec<Value> = batch.iter().map(|message| record(source, message)).collect();
    let payload = json!({ "Records": records }).to_string();
    if source.twice {
        _ = function.invoke(payload.clone().into()).await;
    }
    let Ok(answer) = function.invoke(payload.into()).await else { return };
    let failed = if source.partial { failures(&answer) } else { BTreeSet::new() };
    let done: Vec<&Message> =
        batch.iter().filter(|one| !failed.contains(one.message_id.as_deref().unwrap_or(""))).collect();
    for chunk in done.chunks(10) {
        let entry = |(n, message): (usize, &&Message)| {
            let receipt = message.receipt_handle.clone().unwrap_or_default();
            DeleteMessageBatchRequestEntry::builder().id(n.to_string()).receipt_handle(receipt).build().ok()
        };
        let entries = chunk.iter().enumerate().filter_map(entry).collect();
        _ = source.client.delete_message_batch().queue_url(&source.url).set_entries(Some(entries)).send().await;
    }
}

fn failures(answer: &[u8]) -> BTreeSet<String> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or(Value::Null);
    let items = answer.get("batchItemFailures").and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|one| one.get("itemIdentifier")?.as_str().map(str::to_owned)).collect()
}
