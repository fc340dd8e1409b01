//! The loops of the one process. Each loop ends once the hub has to stop, after its current work.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use stagedoor_model::{SECOND_CRM, SourceName};
use stagedoor_outreach::WebhookCheck;
use stagedoor_ports::{Queue, Received, sources_heard};
use stagedoor_sync::{FlushMode, RunReport, Sync};
use tokio::task::JoinSet;

use crate::hub::Hub;

/// The most events folded in one batch.
pub const BATCH: usize = 500;
/// The most events of chats folded in one batch. It is small, so that the first event need not wait for the last.
pub const CHATS: usize = 50;
/// The most batches at once whose sources are asked first.
const ASKING: usize = 32;
/// The most batches of the outbox at once.
const SENDING: usize = 8;
/// The pause when the queue is empty.
const IDLE: Duration = Duration::from_millis(25);
/// How long a batch that is not full waits for more.
const LINGER: Duration = Duration::from_millis(400);
/// The longest wait of anybody for a full batch while others are served.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between tries while the CRM cannot be used.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

fn is_over(hub: &Hub) -> bool {
    hub.stopping.is_cancelled()
}

/// A pause that ends early if the hub has to stop.
async fn pause(hub: &Hub, time: Duration) {
    tokio::select! {
        () = hub.stopping.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}

/// Consumes a queue. Events whose source has to be asked first run beside the others, which never wait for a shop.
pub async fn consume(hub: Arc<Hub>, queue: Arc<dyn Queue>, most: usize) {
    let mut asking = JoinSet::new();
    while !is_over(&hub) {
        while asking.try_join_next().is_some() {}
        if asking.len() >= ASKING {
            asking.join_next().await;
        }
        match queue.receive(most).await {
            Ok(batch) if batch.is_empty() => pause(&hub, IDLE).await,
            Ok(batch) => {
                let (pointing, ready): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|one| Sync::needs_source(&one.event));
                if !pointing.is_empty() {
                    let (hub, queue) = (Arc::clone(&hub), Arc::clone(&queue));
                    asking.spawn(async move { fold(&hub, queue.as_ref(), pointing).await });
                }
                if !ready.is_empty() {
                    fold(&hub, queue.as_ref(), ready).await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read");
                pause(&hub, Duration::from_secs(1)).await;
            }
        }
    }
    while asking.join_next().await.is_some() {}
}

/// Sends from the outbox, several batches at once, so that a slow messenger delays no other.
pub async fn send(hub: Arc<Hub>) {
    let outbox = Arc::clone(&hub.queues.outbox);
    let mut under_way = JoinSet::new();
    while !is_over(&hub) {
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= SENDING {
            under_way.join_next().await;
        }
        match outbox.receive(CHATS).await {
            Ok(batch) if batch.is_empty() => pause(&hub, IDLE).await,
            Ok(batch) => _ = under_way.spawn(send_batch(Arc::clone(&hub), batch)),
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be read");
                pause(&hub, Duration::from_secs(1)).await;
            }
        }
    }
    while under_way.join_next().await.is_some() {}
}

async fn send_batch(hub: Arc<Hub>, batch: Vec<Received>) {
    let (events, receipts): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.event, one.receipt)).unzip();
    // A message that was begun is sent to its end. The others of the batch wait for the next start.
    let may_begin = || !is_over(&hub);
    let failed = hub.outreach.handle_while(events, &may_begin).await;
    let (back, done): (Vec<_>, Vec<_>) =
        receipts.into_iter().enumerate().partition(|(index, _)| failed.contains(index));
    if let Err(error) = hub.queues.outbox.done(done.into_iter().map(|(_, one)| one).collect()).await {
        tracing::error!(%error, "sent messages come again; the store knows them");
    }
    // Otherwise they come again after the visibility timeout.
    if is_over(&hub)
        && let Err(error) = hub.queues.outbox.give_back_unused(back.into_iter().map(|(_, one)| one).collect()).await
    {
        tracing::warn!(%error, "messages that were not begun come later");
    }
}

async fn fold(hub: &Hub, queue: &dyn Queue, batch: Vec<Received>) {
    let (events, receipts): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.event, one.receipt)).unzip();
    hub.hear(sources_heard(&events, hub.sync.clock.now())).await;
    let failed = hub.sync.handle(events).await;
    // Failed messages come again after the visibility timeout.
    let done = receipts.into_iter().enumerate().filter(|(index, _)| !failed.contains(index)).map(|(_, one)| one);
    if let Err(error) = queue.done(done.collect()).await {
        tracing::error!(%error, "folded events come again; the journal knows them");
    }
}

pub async fn reconcile(hub: Arc<Hub>) {
    let (mut last_news, mut last_flush) = (Instant::now(), Instant::now());
    let mut wait = Duration::from_millis(500);
    let mut left_before = 0;
    let (mut heard_at, mut second_heard_at) = (None, None);
    let is_due = |at: &mut Option<Instant>, poll: Duration| {
        let is_due = at.is_none_or(|at| at.elapsed() >= poll);
        if is_due {
            *at = Some(Instant::now());
        }
        is_due
    };
    while !is_over(&hub) {
        if is_due(&mut heard_at, hub.config.crm.poll)
            && let Err(error) = hub.sync.hear_crm(&hub.mirror).await
        {
            tracing::warn!(%error, "what managers changed could not be heard");
        }
        if let (Some(second), Some(config)) = (hub.sync.second(), &hub.config.second_crm)
            && is_due(&mut second_heard_at, config.poll)
            && let Ok(source) = SourceName::new(SECOND_CRM)
            && let Err(error) = second.hear_crm(&source).await
        {
            tracing::warn!(%error, "what managers changed in the second CRM could not be heard");
        }
        let quiet = last_news.elapsed() >= LINGER && hub.is_calm().await;
        let pace =
            if quiet || last_flush.elapsed() >= PATIENCE { FlushMode::Everything } else { FlushMode::FullBatches };
        let round = hub.sync.reconcile(pace).await;
        if pace == FlushMode::Everything {
            last_flush = Instant::now();
        }
        match round {
            Ok(RunReport { unavailable: Some(reason), .. }) => {
                tracing::warn!(reason, seconds = wait.as_secs_f32(), "people wait for the CRM");
                pause(&hub, wait).await;
                wait = (wait * 2).min(LONGEST_PAUSE);
            }
            Ok(round) => {
                wait = Duration::from_millis(500);
                if round.left > left_before || round.settled > 0 {
                    last_news = Instant::now();
                }
                left_before = round.left;
                if round.settled == 0 {
                    pause(&hub, IDLE * 4).await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "reconciling failed");
                pause(&hub, Duration::from_secs(1)).await;
            }
        }
    }
}

/// Asks the messengers once an hour whether they still post to the hub.
pub async fn check_webhooks(hub: Arc<Hub>) {
    let check = WebhookCheck::new(hub.config.public_url.as_deref());
    while !is_over(&hub) {
        check.look(&hub.outreach.channels).await;
        pause(&hub, Duration::from_secs(60)).await;
    }
}

/// Evaluates people whose segments may change by time alone.
pub async fn wake(hub: Arc<Hub>) {
    while !is_over(&hub) {
        if let Err(error) = hub.sync.wake().await {
            tracing::warn!(%error, "who is to be looked at again could not be read");
        }
        if let Err(error) = crate::backup::heed_hold(&hub).await {
            tracing::warn!(%error, "whether advertising is held could not be read");
        }
        pause(&hub, Duration::from_secs(1)).await;
    }
}

pub async fn pull(hub: Arc<Hub>) {
    while !is_over(&hub) {
        hub.schedule.pull_all().await;
        if let Err(error) = hub.sync.ask_lists().await {
            tracing::warn!(%error, "who left the mailing lists could not be heard");
        }
        pause(&hub, hub.config.pull_every).await;
    }
}
