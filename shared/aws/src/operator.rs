//! The parts of a deployment that an operator's commands need.

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Statistic},
};
use jiff::SignedDuration;
use stagedoor_model::Timestamp;
use stagedoor_ports::{Clock, SystemClock};

use crate::{DynamoStore, SqsQueue};

/// A deployment, by the name of its stack.
pub struct Deployment {
    pub aws: SdkConfig,
    pub store: DynamoStore,
    pub queue: SqsQueue,
    pub chats: SqsQueue,
    pub outbox: SqsQueue,
}

/// Finds the queues of a stack by the names that the template gives them.
///
/// # Errors
/// A sentence: no such stack in this account and region, or no access to it.
pub async fn deployment(stack: &str) -> Result<Deployment, String> {
    let aws = crate::sdk().await;
    let sqs = aws_sdk_sqs::Client::new(&aws);
    let mut urls = Vec::new();
    for name in ["events", "events-dead", "chats", "chats-dead", "outbox", "outbox-dead"] {
        let name = format!("{stack}-{name}");
        let found = sqs.get_queue_url().queue_name(&name).send().await.map_err(|error| {
            let cause = error.as_service_error().map_or_else(|| "AWS does not answer".to_owned(), ToString::to_string);
            format!(
                "the queue {name} of the stack {stack} is not found ({cause}); are account and region the right ones?"
            )
        })?;
        urls.extend(found.queue_url);
    }
    let [events, dead, chats, chats_dead, outbox, outbox_dead] = urls.as_slice() else {
        return Err(format!("the queues of the stack {stack} have no address"));
    };
    Ok(Deployment {
        store: DynamoStore::new(&aws, stack),
        queue: SqsQueue::new(&aws, events, Some(dead)),
        chats: SqsQueue::new(&aws, chats, Some(chats_dead)),
        outbox: SqsQueue::new(&aws, outbox, Some(outbox_dead)),
        aws,
    })
}

/// The time since which the oldest message of a queue is there (CloudWatch, AWS/SQS, ApproximateAgeOfOldestMessage).
pub async fn oldest(aws: &SdkConfig, queue: &str) -> Option<Timestamp> {
    let now = SystemClock.now();
    let from = now - SignedDuration::from_mins(10);
    let answer = aws_sdk_cloudwatch::Client::new(aws)
        .get_metric_statistics()
        .namespace("AWS/SQS")
        .metric_name("ApproximateAgeOfOldestMessage")
        .dimensions(Dimension::builder().name("QueueName").value(queue).build())
        .start_time(DateTime::from_secs(from.as_second()))
        .end_time(DateTime::from_secs(now.as_second()))
        .period(60)
        .statistics(Statistic::Maximum)
        .send()
        .await
        .ok()?;
    let points = answer.datapoints.unwrap_or_default();
    let last = points.iter().max_by_key(|point| point.timestamp.map(|at| at.secs()))?;
    let age = last.maximum.filter(|age| *age > 0.0)?;
    Timestamp::from_second(last.timestamp?.secs() - age as i64).ok()
}
