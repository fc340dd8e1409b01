//! `/metrics` on the console's address: figures of the running hub for Prometheus, without personal data.

use std::sync::{Arc, atomic::AtomicU64};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use stagedoor_ports::{PortError, Queue, last_heard};

use crate::{
    alarms::{self, AlarmKind},
    hub::Hub,
};

/// The content type of Prometheus' text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counts = Family<Labels, Counter>;

/// The figures of one scrape. Nothing is kept between two scrapes.
#[derive(Default)]
struct Figures(Registry);

impl Figures {
    fn gauges(&mut self, name: &str, help: &str) -> Gauges {
        let family = Gauges::default();
        self.0.register(name, help, family.clone());
        family
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        set(&self.gauges(name, help), vec![], value);
    }

    fn counts(&mut self, name: &str, help: &str) -> Counts {
        let family = Counts::default();
        self.0.register(name, help, family.clone());
        family
    }
}

// Counts of rows and seconds stay far below 2^53, the limit of exact floats.
fn set(family: &Gauges, labels: Labels, value: u64) {
    family.get_or_create(&labels).set(value as f64);
}

/// The text for Prometheus.
///
/// # Errors
/// When the store or a queue cannot be read.
pub async fn text(hub: &Hub) -> Result<String, PortError> {
    let mut all = Figures::default();
    let deliveries = all.counts("stagedoor_deliveries", "Deliveries since the start, by source and outcome");
    for ((source, outcome), count) in hub.counters.all() {
        deliveries.get_or_create(&vec![("source", source), ("outcome", outcome)]).inc_by(count);
    }
    let last = all.gauges(
        "stagedoor_last_delivery_timestamp_seconds",
        "When a source was heard last, also before the start, in seconds since 1970",
    );
    let mut heard = hub.counters.last_accepted();
    let sources = hub.config.sources.iter().map(|one| one.source.name.clone()).collect();
    for (source, at) in last_heard(hub.store.as_ref(), &sources, hub.sync.clock.now()).await? {
        let known = heard.entry(source.as_str().to_owned()).or_insert(at);
        *known = at.max(*known);
    }
    for (source, at) in heard {
        set(&last, vec![("source", source)], u64::try_from(at.as_second()).unwrap_or(0));
    }
    let depth = all.gauges("stagedoor_queue_depth", "Messages in a queue, those being handled included");
    let dead = all.gauges("stagedoor_dead_letters", "Messages that were given up");
    let oldest = all.gauges("stagedoor_queue_oldest_seconds", "How long the oldest message of a queue waits");
    let queues: [(&str, &Arc<dyn Queue>); 3] =
        [("events", &hub.queues.events), ("chats", &hub.queues.chats), ("outbox", &hub.queues.outbox)];
    for (name, queue) in queues {
        let labels = || vec![("queue", name.to_owned())];
        set(&depth, labels(), queue.depth().await?);
        set(&dead, labels(), queue.dead_letters().await?);
        set(&oldest, labels(), hub.seconds_since(queue.oldest().await?).unwrap_or(0));
    }
    let totals = hub.store.totals().await?;
    let longest = hub.seconds_since(totals.waiting_since).unwrap_or(0);
    for (name, help, value) in [
        ("stagedoor_people_waiting", "People whose rows in the CRM are not yet what they should be", totals.waiting),
        ("stagedoor_people_waiting_seconds", "How long the longest of them waits", longest),
        (
            "stagedoor_people_parked",
            "People with a row that the CRM refused, or money without an order",
            totals.rejected,
        ),
        ("stagedoor_unrecognized", "Deliveries that were not understood and are kept for replay", totals.unrecognized),
        ("stagedoor_unreadable", "Stored people and events that this version cannot read", totals.unreadable),
        ("stagedoor_people", "People", totals.people),
        ("stagedoor_deals", "Deals in the CRM", totals.deals),
        ("stagedoor_events", "Events in the journal", totals.events),
    ] {
        all.gauge(name, help, value);
    }
    let rings = all.gauges("stagedoor_alarms", "Alarms that ring, by kind");
    let ringing = alarms::ringing(&*hub.store).await?;
    for kind in AlarmKind::ALL {
        let count = ringing.iter().filter(|one| one.kind == kind).count();
        set(&rings, vec![("kind", kind.name().to_owned())], count as u64);
    }
    let calls = all.counts("stagedoor_crm_calls", "Calls to the CRM since the start");
    let refused = all.counts("stagedoor_crm_refused", "Calls that the CRM answered with an error of the 400s");
    let second = hub.sync.second.as_ref().map(|second| ("second", &second.crm));
    for (name, crm) in [Some(("first", &hub.sync.crm)), second].into_iter().flatten() {
        calls.get_or_create(&vec![("crm", name.to_owned())]).inc_by(crm.health().calls);
        refused.get_or_create(&vec![("crm", name.to_owned())]).inc_by(crm.health().refused);
    }
    let about = all.gauges("stagedoor_build", "The version that runs");
    set(&about, vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1);
    let mut text = String::new();
    encode(&mut text, &all.0).map_err(|error| PortError::Fail(error.to_string()))?;
    Ok(text)
}

/// Answers a scrape.
pub async fn answer(State(hub): State<Arc<Hub>>) -> Response {
    match text(&hub).await {
        Ok(text) => ([("content-type", OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "the figures cannot be read");
            (StatusCode::SERVICE_UNAVAILABLE, "the figures cannot be read now").into_response()
        }
    }
}
