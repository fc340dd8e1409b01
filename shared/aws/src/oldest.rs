use aws_config::SdkConfig;
use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Statistic},
};
use jiff::SignedDuration;
use stagedoor_model::Timestamp;
use stagedoor_ports::{Clock, SystemClock};

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
