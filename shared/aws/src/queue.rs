//! A standard SQS queue with a dead-letter queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
        QueueAttributeName, SendMessageBatchRequestEntry,
    },
};
use stagedoor_model::{Event, Timestamp};
use stagedoor_ports::{DeadLetter, PortError, Queue, Receipt, Received, Result, from_stored, to_stored};

/// The largest number of entries in one batch call (SQS, SendMessageBatch).
const BATCH: usize = 10;
/// The largest size of one batch call in bytes (SQS quotas, 2025: 1 MiB in all), with room for the envelope.
const BATCH_BYTES: usize = 1_000_000;

/// The longest delay of a message in seconds (SQS, DelaySeconds).
const MAX_DELAY: i32 = 900;

/// A [`Queue`] on SQS.
#[derive(Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
    dead_letters: Option<String>,
    #[cfg(feature = "operator")]
    config: aws_config::SdkConfig,
}

impl SqsQueue {
    /// The queue with this URL, and the URL of its dead-letter queue.
    pub fn new(config: &aws_config::SdkConfig, url: &str, dead_letters: Option<&str>) -> Self {
        Self {
            client: Client::new(config),
            url: url.to_owned(),
            dead_letters: dead_letters.map(str::to_owned),
            #[cfg(feature = "operator")]
            config: config.clone(),
        }
    }

    async fn count(&self, url: &str) -> Result<u64> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
        let answer = request.send().await.map_err(|error| retry("GetQueueAttributes", &error))?;
        let all = answer.attributes.unwrap_or_default();
        Ok(names.iter().filter_map(|name| all.get(name)?.parse::<u64>().ok()).sum())
    }

    async fn send_batch(&self, bodies: Vec<String>, delay: i32) -> Result<()> {
        let entries = bodies
            .into_iter()
            .enumerate()
            .map(|(n, body)| SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body))
            .map(|entry| if delay > 0 { entry.delay_seconds(delay).build() } else { entry.build() });
        let entries =
            entries.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| retry("SendMessageBatch", &error))?;
        let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| retry("SendMessageBatch", &error))?;
        // The caller reports a failure and the whole delivery comes again. The ids of stored events then reveal the
        // repetition.
        match answer.failed.is_empty() {
            true => Ok(()),
            false => Err(PortError::Retry("SQS took only a part of the batch".into())),
        }
    }
}

fn retry(call: &str, error: &impl std::error::Error) -> PortError {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    PortError::Retry(format!("SQS {call}: {cause}"))
}

fn texts(events: &[Event]) -> Result<Vec<String>> {
    let bodies = events.iter().map(to_stored).collect::<std::result::Result<Vec<_>, _>>();
    bodies.map_err(|error| PortError::Fail(error.to_string()))
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, events: Vec<Event>) -> Result<()> {
        let bodies = texts(&events)?;
        if let [body] = bodies.as_slice() {
            let request = self.client.send_message().queue_url(&self.url).message_body(body);
            return request.send().await.map(drop).map_err(|error| retry("SendMessage", &error));
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for body in bodies {
            if batch.len() == BATCH || (!batch.is_empty() && bytes + body.len() > BATCH_BYTES) {
                self.send_batch(std::mem::take(&mut batch), 0).await?;
                bytes = 0;
            }
            bytes += body.len();
            batch.push(body);
        }
        if batch.is_empty() { Ok(()) } else { self.send_batch(batch, 0).await }
    }

    async fn send_later(&self, events: Vec<Event>, delay: Duration) -> Result<()> {
        let seconds = i32::try_from(delay.as_secs()).unwrap_or(MAX_DELAY).clamp(1, MAX_DELAY);
        for chunk in texts(&events)?.chunks(BATCH) {
            self.send_batch(chunk.to_vec(), seconds).await?;
        }
        Ok(())
    }

    async fn receive(&self, max: usize) -> Result<Vec<Received>> {
        let mut all = Vec::new();
        while all.len() < max {
            let count = (max - all.len()).min(BATCH) as i32;
            let request = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(count)
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
            let answer = request.send().await.map_err(|error| retry("ReceiveMessage", &error))?;
            let messages = answer.messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let attempts = message
                    .attributes
                    .as_ref()
                    .and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount)?.parse().ok());
                let (Some(body), Some(receipt)) = (message.body, message.receipt_handle) else { continue };
                // A message that is no event stays in the queue, until SQS moves it to the dead letters.
                match from_stored(&body) {
                    Ok(event) => {
                        all.push(Received { event, receipt: Receipt(receipt), attempts: attempts.unwrap_or(1) })
                    }
                    Err(reason) => tracing::error!(reason, "a message that cannot be read is left to the dead letters"),
                }
            }
        }
        Ok(all)
    }

    async fn done(&self, receipts: Vec<Receipt>) -> Result<()> {
        for chunk in receipts.chunks(BATCH) {
            let entries = chunk.iter().enumerate().map(|(n, receipt)| {
                DeleteMessageBatchRequestEntry::builder().id(n.to_string()).receipt_handle(&receipt.0).build()
            });
            let entries = entries.collect::<std::result::Result<Vec<_>, _>>();
            let entries = entries.map_err(|error| retry("DeleteMessageBatch", &error))?;
            let request = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
            request.send().await.map_err(|error| retry("DeleteMessageBatch", &error))?;
        }
        Ok(())
    }

    async fn give_back(&self, receipts: Vec<Receipt>) -> Result<()> {
        for chunk in receipts.chunks(BATCH) {
            let entries = chunk.iter().enumerate().map(|(n, receipt)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
                entry.receipt_handle(&receipt.0).visibility_timeout(0).build()
            });
            let entries = entries.collect::<std::result::Result<Vec<_>, _>>();
            let entries = entries.map_err(|error| retry("ChangeMessageVisibilityBatch", &error))?;
            let request = self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
            request.send().await.map_err(|error| retry("ChangeMessageVisibilityBatch", &error))?;
        }
        Ok(())
    }

    async fn depth(&self) -> Result<u64> {
        self.count(&self.url).await
    }

    /// Sends each message before it is deleted. StartMessageMoveTask would need an additional permission on both
    /// queues.
    async fn redrive(&self) -> Result<u64> {
        let Some(dead) = &self.dead_letters else { return Ok(0) };
        let mut moved = 0;
        loop {
            let request = self.client.receive_message().queue_url(dead).max_number_of_messages(BATCH as i32);
            let answer = request.send().await.map_err(|error| retry("ReceiveMessage", &error))?;
            let messages = answer.messages.unwrap_or_default();
            if messages.is_empty() {
                return Ok(moved);
            }
            for message in messages {
                let (Some(body), Some(receipt)) = (message.body, message.receipt_handle) else { continue };
                self.send_batch(vec![body], 0).await?;
                let delete = self.client.delete_message().queue_url(dead).receipt_handle(receipt);
                delete.send().await.map_err(|error| retry("DeleteMessage", &error))?;
                moved += 1;
            }
        }
    }

    /// Asks CloudWatch, which is a minute or two late. SQS itself does not tell.
    async fn oldest(&self) -> Result<Option<Timestamp>> {
        #[cfg(feature = "operator")]
        {
            let name = self.url.rsplit('/').next().unwrap_or("");
            Ok(crate::oldest::oldest(&self.config, name).await)
        }
        #[cfg(not(feature = "operator"))]
        Ok(None)
    }

    async fn dead(&self, max: usize) -> Result<Vec<DeadLetter>> {
        let Some(dead) = &self.dead_letters else { return Ok(vec![]) };
        let mut found = BTreeMap::new();
        // The messages are hidden for a moment only, so that the next caller finds them, too. A queue on many hosts
        // answers in parts.
        let mut nothing_new = 0;
        while found.len() < max && nothing_new < 3 {
            let request = self.client.receive_message().queue_url(dead).max_number_of_messages(BATCH as i32);
            let answer = request.visibility_timeout(2).send().await.map_err(|error| retry("ReceiveMessage", &error))?;
            let before = found.len();
            for message in answer.messages.unwrap_or_default() {
                let (Some(id), Some(body)) = (message.message_id, message.body) else { continue };
                let event = from_stored(&body).ok();
                found.insert(id.clone(), DeadLetter { id, event, bytes: body.len() });
            }
            nothing_new = if found.len() == before { nothing_new + 1 } else { 0 };
        }
        Ok(found.into_values().take(max).collect())
    }

    /// Looks at dead letters only, because SQS shows no waiting messages.
    async fn drop_those(&self, are_meant: &(dyn for<'t> Fn(&'t str) -> bool + Send + Sync)) -> Result<u64> {
        let Some(dead) = &self.dead_letters else { return Ok(0) };
        let (mut seen, mut dropped, mut nothing_new) = (BTreeSet::new(), 0, 0);
        while nothing_new < 3 {
            let request = self.client.receive_message().queue_url(dead).max_number_of_messages(BATCH as i32);
            let answer = request.visibility_timeout(2).send().await.map_err(|error| retry("ReceiveMessage", &error))?;
            let before = seen.len();
            for message in answer.messages.unwrap_or_default() {
                let (Some(id), Some(body)) = (message.message_id, message.body) else { continue };
                if seen.insert(id) && are_meant(&body) {
                    let receipt = message.receipt_handle.unwrap_or_default();
                    let request = self.client.delete_message().queue_url(dead).receipt_handle(receipt);
                    request.send().await.map_err(|error| retry("DeleteMessage", &error))?;
                    dropped += 1;
                }
            }
            nothing_new = if seen.len() == before { nothing_new + 1 } else { 0 };
        }
        Ok(dropped)
    }

    async fn dead_letters(&self) -> Result<u64> {
        match &self.dead_letters {
            Some(url) => self.count(url).await,
            None => Ok(0),
        }
    }
}
