//! `sync` as AWS runs it: an SQS batch with partial failures, then the CRM while the invocation has time. A tick of
//! the schedule continues for the people who wait.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use stagedoor_aws::{Consumer, Error, FunctionContext, Reading, consume, emit, setting};
use stagedoor_model::{Event, LinkKey, SECOND_CRM, SourceName};
use stagedoor_ports::{Clock, HeardSources, PortError, SilenceRule, SystemClock, sources_heard};
use stagedoor_sync::{Breakers, CrmAccount, ErasureKey, FlushMode, Retention, Sync, Talking};
use tokio::time::Instant;

/// Time at the end of an invocation in which no new call begins. It covers the current call and saving its answer.
const RESERVE: Duration = Duration::from_secs(15);
/// Longest time before a batch is acknowledged, even if people still wait for the CRM. The next batch or tick
/// continues.
const ACKNOWLEDGED: Duration = Duration::from_secs(45);
/// Time of a tick that each of its other tasks may use.
const TASK: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<(), Error> {
    consume(build).await
}

async fn build() -> Result<Arc<dyn Consumer>, Error> {
    let FunctionContext { config, store, queue, chats, outbox, clock } = setting(Reading::Sync, &|_, _| Ok(())).await?;
    let store: Arc<dyn stagedoor_ports::Store> = Arc::new(store);
    // Each process has its own owner name for leases.
    let owner = format!("lambda-{}-{}", std::process::id(), clock.now().as_nanosecond());
    let crm = stagedoor_crm::crm(&config, &store, &clock, &owner)?;
    let currency = config.second_crm.as_ref().map(|second| second.currency.clone());
    let second = stagedoor_crm::second(&config, &store, &clock, &owner)?;
    let second = second.map(|(crm, invoicing)| CrmAccount { crm, invoicing, currency });
    let order_apis = stagedoor_source_clients::order_apis(config.sources.iter().map(|one| &one.source))?;
    let topics: Option<Arc<dyn stagedoor_ports::SnsConfirmer>> =
        Some(Arc::new(stagedoor_source_clients::Sns::new(None)));
    let (catalog, guards) = (config.catalog.clone(), config.guards.clone());
    let erasure = config.erasure_key.as_ref().map(|key| ErasureKey::new(&key.reveal()));
    let conversation = config.link_key.as_ref().zip(config.public_url.as_ref()).map(|(key, public_url)| Talking {
        outbox: Arc::new(outbox),
        chats: Arc::new(chats),
        links: LinkKey::new(&key.reveal()),
        public_url: public_url.clone(),
    });
    let lists = stagedoor_lists::mailers(&config)?;
    let sync = Sync {
        store,
        crm,
        clock,
        order_apis,
        topics,
        catalog,
        guards,
        lists,
        erasure,
        conversation,
        owner,
        outage: Arc::default(),
        breakers: Breakers::default(),
        events: Some(Arc::new(queue)),
        second,
        scope: "",
    };
    let mirror = config.first_crm_source()?;
    let kept = config.retention;
    let retention = Retention {
        journal: kept.journal,
        unrecognized: kept.unrecognized,
        conversations: kept.conversations,
        clicks: kept.clicks,
    };
    let zone = config.catalog.zone.clone().unwrap_or(jiff::tz::TimeZone::UTC);
    let rule = SilenceRule::new(config.alarms.silent, zone);
    Ok(Arc::new(Syncing(sync, mirror, retention, HeardSources::default(), rule)))
}

/// Time of an invocation if its runtime gives no deadline: the time-out in the template.
const UNTOLD: Duration = Duration::from_secs(120);

/// The consumer, the source under which the CRM's contacts are mirrored, the retention times, the times at which
/// sources were heard, and the rule about silence.
struct Syncing(Sync, SourceName, Retention, HeardSources, SilenceRule);

/// Time of a tick that the nightly sweep may use. The next tick continues the sweep.
const SWEEP: Duration = Duration::from_secs(10);

#[async_trait]
impl Consumer for Syncing {
    async fn handle(&self, events: Vec<Event>, left: Duration) -> BTreeSet<usize> {
        let began = Instant::now();
        // A runtime that gives no deadline, such as `cargo lambda`, seems to leave no time.
        let left = if left.is_zero() { UNTOLD } else { left };
        let (taken, is_tick) = (events.len(), events.is_empty());
        let now = self.0.clock.now();
        let heard = sources_heard(&events, now);
        if is_tick {
            self.tick().await;
        }
        let spent = began.elapsed();
        let failed = self.0.handle_within(events, Some(left.saturating_sub(spent))).await;
        let folded = taken.saturating_sub(failed.len());
        emit("sync", &[count("Folded", folded as u64), count("Failed", failed.len() as u64)], false);
        if let Err(error) = self.3.note(&*self.0.store, heard, &self.4, now).await {
            tracing::warn!(%error, "when a source was heard could not be noted");
        }
        let end = if is_tick { left } else { left.min(ACKNOWLEDGED + RESERVE) };
        // An invocation with little time must reach the CRM, too.
        let mut reserve = RESERVE.min(left / 4);
        while began.elapsed() + reserve < end {
            let (calls, refused) = (self.0.crm.health().calls, self.0.crm.health().refused);
            let until = began + end.saturating_sub(reserve);
            let sync_run = self.0.reconcile_until(FlushMode::Everything, Some(until)).await;
            if let Ok(sync_run) = &sync_run {
                // The reserve is half as long again as the longest call so far.
                reserve = reserve.max(sync_run.longest_call.mul_f64(1.5));
            }
            let rejected = sync_run.as_ref().map_or(0, |sync_run| sync_run.rejected);
            // Figures are written run by run: an invocation that is cut off loses only those of its last run.
            let calls = count("CrmCalls", self.0.crm.health().calls - calls);
            emit("sync", &[calls, count("CrmRefused", self.0.crm.health().refused - refused + rejected as u64)], false);
            match sync_run {
                // People whom other processes folded meanwhile are included.
                Ok(sync_run) if sync_run.unavailable.is_none() && (sync_run.left > 0 || sync_run.settled > 0) => {}
                // No person waits, or the CRM cannot be used: the next batch or tick continues.
                Ok(_) => break,
                Err(error) => {
                    tracing::error!(%error, "reconciling failed; the next batch or tick goes on");
                    break;
                }
            }
        }
        if is_tick {
            self.gauges().await;
        }
        failed
    }
}

fn count(name: &'static str, value: u64) -> (&'static str, f64, &'static str) {
    (name, value as f64, "Count")
}

impl Syncing {
    /// Does the other tasks of a tick. A task that takes too long is dropped, as if the process had ended. The next
    /// tick begins it again.
    async fn tick(&self) {
        self.task("who is to be looked at again could not be read", self.0.wake()).await;
        self.task("who left the mailing lists could not be heard", self.0.ask_lists()).await;
        self.task("what managers changed could not be heard", self.0.hear_crm(&self.1)).await;
        self.task("what is too old could not be removed", self.0.sweep_old(self.2, SWEEP)).await;
        if let (Some(second), Ok(source)) = (self.0.second(), SourceName::new(SECOND_CRM)) {
            self.task("what managers changed in the second CRM could not be heard", second.hear_crm(&source)).await;
        }
    }

    async fn task<T>(&self, otherwise: &str, task: impl Future<Output = Result<T, PortError>>) {
        match tokio::time::timeout(TASK, task).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "{otherwise}"),
            Err(_) => {
                tracing::warn!(seconds = TASK.as_secs(), "{otherwise}: it took too long");
                // The task may have held the lease.
                if let Err(error) = self.0.let_go().await {
                    tracing::warn!(%error, "the lease ends by itself");
                }
            }
        }
    }

    /// Writes gauges once a tick about the people who wait for the CRM.
    async fn gauges(&self) {
        match self.0.store.totals().await {
            Ok(totals) => {
                let now = SystemClock.now();
                let wait = totals.waiting_since.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0));
                let figures = [
                    ("PeopleWaiting", totals.waiting as f64, "Count"),
                    ("LongestWait", wait, "Seconds"),
                    ("Parked", totals.rejected as f64, "Count"),
                    ("KeptUnrecognized", totals.unrecognized as f64, "Count"),
                ];
                emit("sync", &figures, true);
            }
            Err(error) => tracing::warn!(%error, "how it stands cannot be told"),
        }
    }
}
