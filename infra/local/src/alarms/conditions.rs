//! Finds the conditions that hold now.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::SignedDuration;
use stagedoor_model::{SourceName, Timestamp, breakage};
use stagedoor_ports::{PortError, Silence, silent_sources};

use super::{
    alarm::{AlarmKind, key},
    book::{Book, Found},
    words::AlarmText,
};
use crate::hub::Hub;

/// The time in which rejected signatures count.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// The number of reasons in the text about people who wait.
const REASONS: usize = 2;
/// Outcomes, as the counters call them, that reject a sender: its signature, or the site or account that it comes
/// from.
const REJECTED: [&str; 5] =
    ["MissingSignature", "MalformedSignature", "WrongSignature", "OutsideReplayWindow", "WrongOrigin"];

/// Counts since the start, one set for each look of the last ten minutes.
#[derive(Default)]
pub(super) struct Rejections {
    first_look: Option<Timestamp>,
    looks: VecDeque<(Timestamp, BTreeMap<String, u64>)>,
}

impl Rejections {
    /// Rejected deliveries of the last ten minutes, by source.
    fn look(&mut self, all: &BTreeMap<(String, String), u64>, now: Timestamp) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::<String, u64>::new();
        let is_heard = |outcome: &str| outcome != "WrongOrigin" || !breakage::is_on("wrong-origin-rings-nobody");
        let is_rejected = |outcome: &str| REJECTED.contains(&outcome) && is_heard(outcome);
        for ((source, _), count) in all.iter().filter(|((_, outcome), _)| is_rejected(outcome)) {
            *counts.entry(source.clone()).or_default() += count;
        }
        if self.first_look.is_none() {
            self.first_look = Some(now);
            // The counters began at zero.
            self.looks.push_back((now, BTreeMap::new()));
        }
        // The window's counts begin at the last look before the window.
        while self.looks.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.looks.pop_front();
        }
        let before = self.looks.front().map(|(_, before)| before.clone()).unwrap_or_default();
        self.looks.push_back((now, counts.clone()));
        let since = |source: &String, count: u64| count - before.get(source).copied().unwrap_or(0).min(count);
        counts.iter().map(|(source, count)| (source.clone(), since(source, *count))).collect()
    }

    /// False right after the start, when the counts of the last ten minutes are not known.
    fn knows(&self, now: Timestamp) -> bool {
        self.first_look.is_some_and(|first| now.duration_since(first) >= WINDOW)
    }
}

/// Sources get this time after a start: while the hub did not run, they could not send.
const STARTED: SignedDuration = SignedDuration::from_hours(1);

/// The conditions found, and the alarms whose condition is unknown now.
pub(super) type Conditions = (Vec<Found>, BTreeSet<String>);

/// Finds the conditions that hold now.
///
/// # Errors
/// When the store or a queue cannot be read.
pub(super) async fn look(
    hub: &Hub,
    book: &Book,
    rejections: &mut Rejections,
    now: Timestamp,
) -> Result<Conditions, PortError> {
    let (mut found, mut unknown) = (Vec::new(), BTreeSet::new());
    // Deliveries that made no event are also signs of their sources.
    let accepted = hub.counters.last_accepted().into_iter();
    hub.hear(accepted.filter_map(|(source, at)| Some((SourceName::new(&source).ok()?, at))).collect()).await;
    found.extend(people_wait(hub, book, now).await?);
    found.extend(dead_letters(hub, now).await?);
    let limit = hub.config.alarms.rejected;
    for (source, count) in rejections.look(&hub.counters.all(), now) {
        let kind = AlarmKind::SignaturesRejected;
        // The alarm rings until ten minutes pass without any rejection.
        if count >= limit || count > 0 && book.rings(kind, Some(&source)) {
            found.push(Found { kind, source: Some(source), since: now, count, told: AlarmText::default() });
        }
    }
    if !rejections.knows(now) {
        unknown.extend(keys_of(book, AlarmKind::SignaturesRejected));
    }
    let is_started = rejections.first_look.is_some_and(|first| now.duration_since(first) >= STARTED);
    // A new source counts from the first look on.
    match silent(hub, now).await {
        Ok(silent) if is_started => found.extend(silent),
        other => {
            unknown.extend(keys_of(book, AlarmKind::SourceSilent));
            // Other alarms are still reported.
            if let Err(error) = other {
                tracing::warn!(%error, "which sources are silent could not be read");
            }
        }
    }
    Ok((found, unknown))
}

fn keys_of(book: &Book, kind: AlarmKind) -> impl Iterator<Item = String> {
    book.ringing().filter(move |one| one.kind == kind).map(|one| key(one.kind, one.source.as_deref()))
}

async fn silent(hub: &Hub, now: Timestamp) -> Result<Vec<Found>, PortError> {
    let heard = &hub.config.alarms.heard;
    let silent = silent_sources(&*hub.store, heard, now, &hub.silence_rule()).await?;
    let found = silent.into_iter().map(|(source, silence)| {
        let (since, usual_hours, is_new) = match silence {
            Silence::New { since } => (since, 0, true),
            Silence::Longer { since, usual } => (since, usual.as_hours(), false),
        };
        let told = AlarmText { usual_hours, is_new, ..AlarmText::default() };
        Found { kind: AlarmKind::SourceSilent, source: Some(source.as_str().to_owned()), since, count: 1, told }
    });
    Ok(found.collect())
}

async fn people_wait(hub: &Hub, book: &Book, now: Timestamp) -> Result<Option<Found>, PortError> {
    let kind = AlarmKind::PeopleWait;
    let totals = hub.store.totals().await?;
    let Some(since) = totals.waiting_since.filter(|_| totals.waiting > 0) else { return Ok(None) };
    let limit = hub.config.alarms.waiting;
    // A ringing alarm ends at half of the time, so that it does not flap.
    let limit = if book.rings(kind, None) { limit / 2 } else { limit };
    if now.duration_since(since) < limit {
        return Ok(None);
    }
    let mut told = AlarmText::default();
    if book.is_due(kind, totals.waiting, now) {
        let reasons = stagedoor_sync::reasons_of_people(hub.store.as_ref()).await?;
        let own = reasons.iter().filter(|one| one.people > 0).take(REASONS);
        told.why = own.map(|one| (one.reason.clone(), one.who_acts.clone())).collect();
    }
    Ok(Some(Found { kind, source: None, since, count: totals.waiting, told }))
}

async fn dead_letters(hub: &Hub, now: Timestamp) -> Result<Option<Found>, PortError> {
    let queues = [("events", &hub.queues.events), ("chats", &hub.queues.chats), ("outbox", &hub.queues.outbox)];
    let mut parts = Vec::new();
    for (name, queue) in queues {
        let count = queue.dead_letters().await?;
        if count > 0 && !breakage::is_on("dead-letters-ring-nobody") {
            parts.push((name, count));
        }
    }
    let count = parts.iter().map(|(_, count)| count).sum();
    let told = AlarmText { parts, ..AlarmText::default() };
    Ok((count > 0).then_some(Found { kind: AlarmKind::DeadLetters, source: None, since: now, count, told }))
}
