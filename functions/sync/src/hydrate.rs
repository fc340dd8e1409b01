//! Fetches the data to which a webhook only points, each source on its own. Many webhooks about one order in a batch
//! cost one read.
//!
//! A source has a budget of time for each batch. Events that the budget does not cover go back to the queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use jiff::SignedDuration;
use stagedoor_model::{Body, Event, EventId, OrderNoticed, PaymentNoticed, ShowRef, SourceName, Timestamp, breakage};
use stagedoor_ports::{Found, PortError};
use tokio::time::Instant;

use crate::Sync;

/// Concurrent reads at one source. Shops are small servers.
const READS: usize = 4;
/// Time of a batch that one source may use.
const BUDGET: Duration = Duration::from_secs(15);
/// Pause before events that the budget did not cover are fetched.
const SOON: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Pointer {
    Order { order: String, scope: Option<String> },
    Show(ShowRef),
    Payment { payment: String, refund: bool },
}

/// What a source answered, with the time of the fact if the shop gives one.
type Fetched = Result<Option<(Body, Option<Timestamp>)>, PortError>;

/// Events with their positions in the batch.
pub(crate) type Numbered = Vec<(usize, Event)>;

/// The events of one source after it was asked.
#[derive(Default)]
pub(crate) struct Hydrated {
    pub ready: Numbered,
    /// Events that come again; the attempt counts.
    pub failed: BTreeSet<usize>,
    /// Events that come again after this pause; the attempt does not count. The source was not asked, or did not
    /// answer in time.
    pub deferred: Option<(Numbered, Duration)>,
}

/// True if a source must be asked before the event can be folded.
pub(crate) fn needs_source(event: &Event) -> bool {
    pointer(event).is_some()
}

pub(crate) fn by_source(events: Numbered) -> BTreeMap<SourceName, Numbered> {
    let mut sources = BTreeMap::<SourceName, Numbered>::new();
    for (index, event) in events {
        sources.entry(event.source.clone()).or_default().push((index, event));
    }
    sources
}

impl Sync {
    /// Asks one source, until `deadline` at most.
    pub(crate) async fn hydrate(&self, source: SourceName, events: Numbered, deadline: Option<Instant>) -> Hydrated {
        if !self.order_apis.contains_key(&source) {
            return Hydrated { ready: events, ..Hydrated::default() };
        }
        if let Some(rest) = self.breakers.rest(source.as_str(), self.clock.now()) {
            tracing::info!(%source, events = events.len(), "the source does not answer; its events wait");
            return Hydrated { deferred: Some((events, pause(rest))), ..Hydrated::default() };
        }
        let mut until = Instant::now() + BUDGET;
        if breakage::is_on("shop-holds-batch") {
            until += BUDGET * 1_000;
        }
        let until = deadline.map_or(until, |deadline| deadline.min(until));
        let wanted: BTreeSet<Pointer> = events.iter().filter_map(|(_, event)| pointer(event)).collect();
        let fetched = self.fetch_all(&source, wanted, until).await;
        let now = self.clock.now();
        let rest = self.breakers.rest(source.as_str(), now);
        let mut hydrated = Hydrated::default();
        let mut deferred = Vec::new();
        for (index, mut event) in events {
            match pointer(&event).map(|pointer| fetched.get(&pointer)) {
                None | Some(Some(Ok(None))) => hydrated.ready.push((index, event)),
                // The hub cannot parse this row of the shop. It is kept once for all webhooks that lead to it. They
                // come again under their own ids.
                Some(Some(Ok(Some((body @ Body::Unrecognized(_), _))))) => {
                    event.id = EventId::derive(&source, &["unrecognized", &body.digest()]);
                    (event.body, event.time) = (body.clone(), now);
                    hydrated.ready.push((index, event));
                }
                Some(Some(Ok(Some((body, time))))) => {
                    (event.body, event.time) = (body.clone(), time.unwrap_or(event.time));
                    // The shop's clock is not trusted more when the hub asks.
                    hydrated.ready.push((index, event.received_by(now)));
                }
                // A failure while the source answers nothing is not the event's fault.
                Some(Some(Err(PortError::Retry(_)))) if rest.is_some() => deferred.push((index, event)),
                Some(Some(Err(_))) => {
                    tracing::warn!(trace = event.trace_id(), event = %event.id, "the event waits for its shop");
                    hydrated.failed.insert(index);
                }
                Some(None) => deferred.push((index, event)),
            }
        }
        hydrated.deferred = (!deferred.is_empty()).then(|| (deferred, rest.map_or(SOON, pause)));
        hydrated
    }

    /// Fetches as much as there is time for.
    async fn fetch_all(
        &self,
        source: &SourceName,
        wanted: BTreeSet<Pointer>,
        until: Instant,
    ) -> BTreeMap<Pointer, Fetched> {
        let mut fetched = BTreeMap::new();
        let (mut wanted, mut answered) = (wanted.into_iter(), false);
        // A source that had less than its budget may only have been short of time.
        let in_full = until.saturating_duration_since(Instant::now()) + SOON >= BUDGET;
        // A source that did not answer must answer once before it is asked for the rest.
        let first = if self.breakers.is_on_trial(source.as_str()) { 1 } else { 0 };
        for (some, reads) in [(wanted.by_ref().take(first).collect(), 1), (wanted.by_ref().collect::<Vec<_>>(), READS)]
        {
            let some: Vec<Pointer> = some;
            if some.is_empty() {
                continue;
            }
            let mut calls = stream::iter(some)
                .map(|pointer| async move {
                    let answer = self.fetch(source, &pointer).await;
                    (pointer, answer)
                })
                .buffer_unordered(reads);
            loop {
                let Ok(next) = tokio::time::timeout_at(until, calls.next()).await else {
                    if !answered {
                        self.source_failed(source, in_full).await;
                    }
                    return fetched;
                };
                let Some((pointer, answer)) = next else { break };
                let is_out = match &answer {
                    Err(error) => {
                        tracing::warn!(%source, %error, "the shop could not be asked back");
                        matches!(error, PortError::Retry(_)) && self.source_failed(source, false).await
                    }
                    Ok(_) => {
                        answered = true;
                        self.source_answered(source).await;
                        false
                    }
                };
                fetched.insert(pointer, answer);
                if is_out {
                    return fetched;
                }
            }
        }
        fetched
    }

    /// Returns true if the source rests from now on.
    async fn source_failed(&self, source: &SourceName, outright: bool) -> bool {
        let Some(since) = self.breakers.failed(source.as_str(), self.clock.now(), outright) else { return false };
        tracing::warn!(%source, %since, "the source does not answer; its events wait");
        self.note_source(source, Some(since)).await;
        true
    }

    async fn source_answered(&self, source: &SourceName) {
        if self.breakers.succeeded(source.as_str()) {
            tracing::info!(%source, "the source answers again");
            self.note_source(source, None).await;
        }
    }

    /// Puts events back into the queue for later. Returns the positions of events that could not be put back; they
    /// come again as failed.
    pub(crate) async fn defer(&self, events: Numbered, after: Duration) -> BTreeSet<usize> {
        let (places, events): (BTreeSet<usize>, Vec<Event>) = events.into_iter().unzip();
        let Some(queue) = &self.events else { return places };
        match queue.send_later(events, after).await {
            Ok(()) => BTreeSet::new(),
            Err(error) => {
                tracing::warn!(%error, "events that wait for their shop could not be put back");
                places
            }
        }
    }

    async fn fetch(&self, source: &SourceName, pointer: &Pointer) -> Fetched {
        let Some(order_api) = self.order_apis.get(source) else { return Ok(None) };
        match pointer {
            Pointer::Order { order, scope } => {
                let noticed = OrderNoticed { order: order.clone(), scope: scope.clone() };
                let asked_at = self.clock.now();
                match order_api.order(&noticed).await? {
                    Found::Order(body, time) if order_api.tells_changes() => Ok(Some((*body, Some(time)))),
                    Found::Order(body, time) => Ok(Some((body.known_at(asked_at), Some(time)))),
                    Found::Nothing(reason) => {
                        tracing::info!(%source, reason, "an order that is not folded");
                        Ok(None)
                    }
                }
            }
            Pointer::Payment { payment, refund } => {
                let noticed = PaymentNoticed { payment: payment.clone(), refund: *refund };
                Ok(order_api.payment(&noticed).await?.map(|(body, at)| (body, Some(at))))
            }
            Pointer::Show(show) => Ok(order_api.show(show).await?.map(|body| (body, None))),
        }
    }
}

/// Pause for a rest, at most the longest delay of a queue.
fn pause(rest: SignedDuration) -> Duration {
    rest.unsigned_abs().clamp(SOON, Duration::from_secs(900))
}

fn pointer(event: &Event) -> Option<Pointer> {
    match &event.body {
        Body::OrderNoticed(noticed) => {
            Some(Pointer::Order { order: noticed.order.clone(), scope: noticed.scope.clone() })
        }
        Body::PaymentNoticed(noticed) => {
            Some(Pointer::Payment { payment: noticed.payment.clone(), refund: noticed.refund })
        }
        Body::ShowNoticed(noticed) => Some(Pointer::Show(noticed.show.clone())),
        _ => None,
    }
}
