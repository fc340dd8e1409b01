//! The parts of a deployment that an operator's commands need.

use aws_config::SdkConfig;

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
