//! `sync` as AWS runs it: an SQS batch with partial failures, then the CRM while the invocation has time. A tick of the
//! schedule goes on for those who wait.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use stagedoor_aws::{Consumer, Error, FunctionContext, Reading, consume, emit, setting};
use stagedoor_model::{Event, LinkKey, SECOND_CRM, SourceName};
use stagedoor_ports::{Clock, HeardSources, PortError, SilenceRule, SystemClock, sources_heard};
use stagedoor_sync::{Breakers, CrmAccount, ErasureKey, FlushMode, Retention, Sync, Talking};
use tokio::time::Instant;

/// Left of an invocation when no new call is begun: for the call under way and for saving what it answered.
const RESERVE: Duration = Duration::from_secs(15);
/// A batch is acknowledged after this time at the latest, whoever still waits for the CRM: the next batch or tick goes on.
const ACKNOWLEDGED: Duration = Duration::from_secs(45);
/// What of a tick each of its other tasks may take.
const TASK: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<(), Error> {
    consume(build).await
}

async fn build() -> Result<Arc<dyn Consumer>, Error> {
    let FunctionContext { config, store, queue, chats, outbox, clock } = setting(Reading::Sync, &|_, _| Ok(())).await?;
    let store: Arc<dyn stagedoor_ports::Store> = Arc::new(store);
    // One process of many: its lease is its own.
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

/// What an invocation has where its runtime tells no deadline: the time-out in the template.
const UNTOLD: Duration = Duration::from_secs(120);

/// With the source under which the CRM's contacts are mirrored, how long what was told is kept, and when sources were heard.
struct Syncing(Sync, SourceName, Retention, HeardSources, SilenceRule);

/// What of a tick the nightly sweep may take: it goes on with the next one.
const SWEEP: Duration = Duration::from_secs(10);

#[async_trait]
impl Consumer for Syncing {
    async fn handle(&self, events: Vec<Event>, left: Duration) -> BTreeSet<usize> {
        let began = Instant::now();
        // A runtime that tells no deadline, such as `cargo lambda`, seems to leave nothing.
        let left = if left.is_zero() { UNTOLD } else { left };
        let (taken, is_tick) = (events.len(), events.is_empty());
        let heard = sources_heard(&events, self.0.clock.now());
        if is_tick {
            self.tick().await;
        }
        let spent = began.elapsed();
        let failed = self.0.handle_within(events, Some(left.saturating_sub(spent))).await;
        let folded = taken.saturating_sub(failed.len());
        emit("sync", &[count("Folded", folded as u64), count("Failed", failed.len() as u64)], false);
        if let Err(error) = self.3.note(self.0.store.as_ref(), heard, &self.4).await {
            tracing::warn!(%error, "when a source was heard could not be noted");
        }
        let end = if is_tick { left } else { left.min(ACKNOWLEDGED + RESERVE) };
        // An invocation that is shorter than that has to reach the CRM, too.
        let mut reserve = RESERVE.min(left / 4);
        while began.elapsed() + reserve < end {
            let (calls, refused) = (self.0.crm.calls(), self.0.crm.refused());
            let until = began + end.saturating_sub(reserve);
            let sync_run = self.0.reconcile_until(FlushMode::Everything, Some(until)).await;
            if let Ok(sync_run) = &sync_run {
                // Half as long again as the longest call so far.
                reserve = reserve.max(sync_run.longest_call.mul_f64(1.5));
            }
            let rejected = sync_run.as_ref().map_or(0, |sync_run| sync_run.rejected);
            // Told round by round: an invocation that is cut off has told all but its last.
            let calls = count("CrmCalls", self.0.crm.calls() - calls);
            emit("sync", &[calls, count("CrmRefused", self.0.crm.refused() - refused + rejected as u64)], false);
            match sync_run {
                // Whom others folded meanwhile is taken along.
                Ok(sync_run) if sync_run.unavailable.is_none() && (sync_run.left > 0 || sync_run.settled > 0) => {}
                // Nobody waits, or the CRM cannot be used: the next batch or tick goes on.
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
    /// What the clock has to do besides. A task that takes too long is dropped, as if the process had ended: it is begun again
    /// by the next tick.
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
                // It may have held the lease.
                if let Err(error) = self.0.let_go().await {
                    tracing::warn!(%error, "the lease ends by itself");
                }
            }
        }
    }

    /// Told once a tick: how it stands with those who wait for the CRM.
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
