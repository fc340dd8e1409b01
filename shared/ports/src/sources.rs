//! The time of each source's last event, and its usual silences. One small value a source keeps both.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, civil::Weekday, tz::TimeZone};
use serde::{Deserialize, Serialize};
use stagedoor_model::{Body, Event, SourceName, Timestamp, breakage};

use crate::{KeyValues, Result, away};

/// The shortest time between two writes of a value, so that an on-sale night makes no hot write.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(60);
/// No gap is usual until this long after the first event of a source.
const HISTORY: SignedDuration = SignedDuration::from_hours(24 * 7);
/// The number of past weeks whose longest gaps count as usual, besides the present week.
const WEEKS: i64 = 4;
/// A source without any event is reported after this time.
const NEW: SignedDuration = SignedDuration::from_hours(24);
/// An event up to this age counts as new. Clocks and times of providers differ.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// Hours of the night (from, to), in the hub's time zone.
const NIGHT: (i8, i8) = (22, 8);
/// A gap is measured up to this length.
const MAX_GAP: SignedDuration = SignedDuration::from_hours(24 * 7 * 8);

/// Seconds of a gap by kind of hour: weekdays, nights, weekend days.
type Parts = [i64; 3];

/// The history of one source: when its events came, and how long its gaps were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLife {
    /// The time at which the hub first knew the source.
    pub since: Timestamp,
    /// The time of its first event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// The time of its last event, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// The longest gaps that ended in a week, by the number of the week.
    #[serde(default)]
    weeks: BTreeMap<i64, Parts>,
    /// The longest gaps of a week that were already too long when they ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    outages: BTreeMap<i64, Parts>,
}

/// The rule by which every source counts as silent.
#[derive(Debug, Clone)]
pub struct SilenceRule {
    /// A shorter silence is never reported.
    pub floor: SignedDuration,
    /// The time zone of nights and weekends.
    pub zone: TimeZone,
    /// The absences of the hub, as (begin, end).
    away: Vec<(Timestamp, Timestamp)>,
}

impl SilenceRule {
    /// A rule without absences of the hub.
    pub fn new(floor: SignedDuration, zone: TimeZone) -> Self {
        Self { floor, zone, away: vec![] }
    }

    /// The same rule with these absences of the hub. They do not count as silence.
    #[must_use]
    pub fn without(&self, away: Vec<(Timestamp, Timestamp)>) -> Self {
        Self { away, ..self.clone() }
    }

    /// The seconds from `from` to `to` in which the hub was there, by kind of hour.
    fn parts(&self, from: Timestamp, to: Timestamp) -> Parts {
        let from = from.max(to.checked_sub(MAX_GAP).unwrap_or(from));
        let mut all = parts(from, to, &self.zone);
        for (begin, end) in &self.away {
            let away = parts(from.max(*begin), to.min(*end), &self.zone);
            all.iter_mut().zip(away).for_each(|(all, away)| *all = (*all - away).max(0));
        }
        all
    }
}

/// A silence that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// The source has never sent anything.
    New { since: Timestamp },
    /// The source usually sends again sooner. `usual` is its longest gap in hours of this kind.
    Longer { since: Timestamp, usual: SignedDuration },
}

fn week(at: Timestamp) -> i64 {
    at.as_second().div_euclid(7 * 24 * 3_600)
}

/// The seconds from `from` to `to`, by kind of hour.
fn parts(from: Timestamp, to: Timestamp, zone: &TimeZone) -> Parts {
    let mut parts = Parts::default();
    let mut at = from.as_second();
    while at < to.as_second() {
        // Offsets of time zones are multiples of a quarter of an hour.
        let next = ((at.div_euclid(900) + 1) * 900).min(to.as_second());
        let local = zone.to_datetime(Timestamp::from_second(at).unwrap_or(from));
        let [weekdays, nights, weekends] = &mut parts;
        let kind = match local.hour() {
            hour if hour >= NIGHT.0 || hour < NIGHT.1 => nights,
            _ if matches!(local.weekday(), Weekday::Saturday | Weekday::Sunday) => weekends,
            _ => weekdays,
        };
        *kind += next - at;
        at = next;
    }
    parts
}

fn longer(mut one: Parts, other: Parts) -> Parts {
    one.iter_mut().zip(other).for_each(|(one, other)| *one = other.max(*one));
    one
}

impl SourceLife {
    /// Adds an event at this time. A gap that was too long becomes usual only when another gap of four weeks was as
    /// long. So one outage of the source does not silence later alarms.
    pub fn hear(&mut self, at: Timestamp, rule: &SilenceRule) {
        if let Some(last) = self.last.filter(|last| *last < at) {
            let gap = rule.parts(last, at);
            let limits = self.limits(at, rule).filter(|_| !breakage::is_on("outage-is-usual"));
            let (mut usual, mut outage) = (gap, Parts::default());
            for (n, limit) in limits.into_iter().flatten().enumerate() {
                if gap.get(n).is_some_and(|own| *own > limit) {
                    let before = self.outages.values().filter_map(|one| one.get(n)).max().copied().unwrap_or(0);
                    usual.iter_mut().skip(n).take(1).for_each(|own| *own = before.min(*own));
                    outage.iter_mut().zip(gap).skip(n).take(1).for_each(|(own, gap)| *own = gap);
                }
            }
            let longest = self.weeks.entry(week(at)).or_default();
            *longest = longer(*longest, usual);
            if outage != Parts::default() {
                let longest = self.outages.entry(week(at)).or_default();
                *longest = longer(*longest, outage);
            }
        }
        self.weeks.retain(|one, _| week(at) - one <= WEEKS);
        self.outages.retain(|one, _| week(at) - one <= WEEKS);
        self.first.get_or_insert(at);
        self.last = self.last.max(Some(at));
    }

    /// The silence at `now`, if it is longer than usual for this source. Each kind of hour is compared on its own, so
    /// that a quiet night does not hide a quiet day. A gap of more than one and a half times the longest of the last
    /// four weeks is too long.
    pub fn silence(&self, now: Timestamp, rule: &SilenceRule) -> Option<Silence> {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            let is_long = now.duration_since(self.since) >= NEW && !breakage::is_on("new-source-never-missed");
            return is_long.then_some(Silence::New { since: self.since });
        };
        if last.duration_since(first) < HISTORY && !breakage::is_on("silence-without-history") {
            return None;
        }
        let limits = self.limits(now, rule)?;
        let own = rule.parts(last, now).into_iter().zip(limits).zip(self.usual(now));
        let mut too_long = own.filter(|((own, limit), _)| own > limit).map(|(_, usual)| usual);
        too_long.next().map(|usual| Silence::Longer { since: last, usual: SignedDuration::from_secs(usual) })
    }

    /// The longest gaps that are usual.
    fn usual(&self, now: Timestamp) -> Parts {
        let counted = self.weeks.iter().filter(|(one, _)| week(now) - *one <= WEEKS);
        counted.fold(Parts::default(), |usual, (_, own)| longer(usual, *own))
    }

    /// The gaps beyond which a silence is too long. `None`: the history is too short.
    fn limits(&self, now: Timestamp, rule: &SilenceRule) -> Option<Parts> {
        let known = self.last?.duration_since(self.first?);
        if known < HISTORY && !breakage::is_on("silence-without-history") {
            return None;
        }
        let limit = |usual: i64| {
            let usual = if breakage::is_on("silence-by-floor-alone") { 0 } else { usual };
            rule.floor.as_secs().max(usual + usual / 2)
        };
        Some(self.usual(now).map(limit))
    }
}

fn key_value(source: &str) -> String {
    format!("source/{source}")
}

/// Reads a stored history. A value that this version cannot read starts anew.
fn read(value: &str, now: Timestamp) -> SourceLife {
    serde_json::from_str(value).unwrap_or_else(|_| new(now))
}

fn new(now: Timestamp) -> SourceLife {
    SourceLife { since: now, ..SourceLife::default() }
}

/// The time of the last event of each source among `events`. Events that the hub itself made from a source's messages
/// do not count. An event that waited in a queue or was a dead letter counts at the time of its arrival.
pub fn sources_heard(events: &[Event], now: Timestamp) -> BTreeMap<SourceName, Timestamp> {
    let is_own = |event: &&Event| {
        let own = matches!(
            event.body,
            Body::MessageDecided(_) | Body::MessageSent(_) | Body::LinkIssued(_) | Body::PromoIssued(_)
        );
        !own || breakage::is_on("own-messages-are-deliveries")
    };
    let heard_at = |event: &Event| {
        let at = event.received_at.unwrap_or(event.time).min(now);
        let is_fresh = now.duration_since(at) < FRESH || breakage::is_on("redriven-is-heard");
        if is_fresh { now } else { at }
    };
    let mut heard = BTreeMap::new();
    for event in events.iter().filter(is_own) {
        let at = heard_at(event);
        heard.entry(event.source.clone()).and_modify(|known: &mut Timestamp| *known = at.max(*known)).or_insert(at);
    }
    heard
}

/// Remembers which times this process has already noted, so that it writes rarely.
#[derive(Default)]
pub struct HeardSources(Mutex<BTreeMap<SourceName, Timestamp>>);

impl HeardSources {
    /// Notes the times of these sources, each at most once a minute.
    ///
    /// # Errors
    /// When the store fails. The next note makes up for it.
    pub async fn note(
        &self,
        store: &dyn KeyValues,
        heard: BTreeMap<SourceName, Timestamp>,
        rule: &SilenceRule,
        now: Timestamp,
    ) -> Result<()> {
        for (source, at) in heard {
            let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&source).copied();
            if before.is_none_or(|before| is_news(before, at)) {
                note(store, source.as_str(), at, rule, now).await?;
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(source, at);
            }
        }
        Ok(())
    }
}

fn is_news(before: Timestamp, at: Timestamp) -> bool {
    at.duration_since(before) >= RESOLUTION || at > before && breakage::is_on("each-delivery-noted")
}

async fn note(store: &dyn KeyValues, source: &str, at: Timestamp, rule: &SilenceRule, now: Timestamp) -> Result<()> {
    let mut key_values = store.key_values_of(&BTreeSet::from([key_value(source), away::CELL.to_owned()])).await?;
    let known = key_values.remove(&key_value(source));
    let mut life = known.as_ref().map_or_else(|| new(now), |one| read(&one.value, now));
    // A history begins now, also if the first delivery tells of an old order.
    let at = if life.first.is_none() && !breakage::is_on("history-of-old-orders") { now } else { at };
    if life.last.is_some_and(|last| !is_news(last, at)) {
        return Ok(());
    }
    let watched = key_values.get(away::CELL).map(|one| one.value.as_str());
    life.hear(at, &rule.without(away::away_by(watched, at)));
    // A process that writes first has noted the same, so a lost write is harmless.
    put(store, source, &life, known.map(|one| one.version)).await.map(drop)
}

async fn put(store: &dyn KeyValues, source: &str, life: &SourceLife, version: Option<u64>) -> Result<bool> {
    let value = serde_json::to_string(life).map_err(|error| crate::PortError::Fail(error.to_string()))?;
    store.compare_and_set(&key_value(source), &value, version).await
}

/// The time of the last event of each of these sources. Writes nothing.
///
/// # Errors
/// When the store fails.
pub async fn last_heard(
    store: &dyn KeyValues,
    sources: &BTreeSet<SourceName>,
    now: Timestamp,
) -> Result<BTreeMap<SourceName, Timestamp>> {
    let key_values = store.key_values_of(&sources.iter().map(|source| key_value(source.as_str())).collect()).await?;
    let last = |source: &SourceName| read(&key_values.get(&key_value(source.as_str()))?.value, now).last;
    Ok(sources.iter().filter_map(|source| Some((source.clone(), last(source)?))).collect())
}

/// The history of each of these sources. A source that is new to the store is written to it.
///
/// # Errors
/// When the store fails.
pub async fn source_lives(
    store: &dyn KeyValues,
    sources: &BTreeSet<SourceName>,
    now: Timestamp,
) -> Result<BTreeMap<SourceName, SourceLife>> {
    let mut lives = BTreeMap::new();
    for source in sources {
        let life = match store.key_value(&key_value(source.as_str())).await? {
            Some(known) => read(&known.value, now),
            None => {
                let life = new(now);
                put(store, source.as_str(), &life, None).await?;
                life
            }
        };
        lives.insert(source.clone(), life);
    }
    Ok(lives)
}

/// Those of these sources that are silent for longer than usual. Also notes that the hub is there: while no process
/// asks, no source can be silent.
///
/// # Errors
/// When the store fails.
pub async fn silent_sources(
    store: &dyn KeyValues,
    sources: &BTreeSet<SourceName>,
    now: Timestamp,
    rule: &SilenceRule,
) -> Result<BTreeMap<SourceName, Silence>> {
    let rule = &rule.without(away::watch(store, now).await?);
    let lives = source_lives(store, sources, now).await?;
    Ok(lives.into_iter().filter_map(|(source, life)| Some((source, life.silence(now, rule)?))).collect())
}
