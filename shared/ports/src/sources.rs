//! When each source was last heard, and how long it is usually silent. One small cell a source keeps both.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, civil::Weekday, tz::TimeZone};
use serde::{Deserialize, Serialize};
use stagedoor_model::{Body, Event, SourceName, Timestamp, breakage};

use crate::{Result, Store, away};

/// A cell is written again after this time at the earliest: an on-sale night writes nothing hot.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(60);
/// Nothing is usual before a source was heard for so long.
const HISTORY: SignedDuration = SignedDuration::from_hours(24 * 7);
/// Weeks whose longest gaps count as usual, besides the present one.
const WEEKS: i64 = 4;
/// A source that never sent anything is told of after this time.
const NEW: SignedDuration = SignedDuration::from_hours(24);
/// An event of this age came just now. Providers' clocks and times differ.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// Hours of the night, in the zone of the hub.
const NIGHT: (i8, i8) = (22, 8);
/// A longer gap is not measured further.
const MAX_GAP: SignedDuration = SignedDuration::from_hours(24 * 7 * 8);

/// Seconds of a gap by kind of hour: days of the week, nights, days of the weekend.
type Parts = [i64; 3];

/// How a source was heard so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLife {
    /// When the hub knew the source first.
    pub since: Timestamp,
    /// When it was first heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When it was last heard, give or take a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// The longest gaps that ended in a week, by its number.
    #[serde(default)]
    weeks: BTreeMap<i64, Parts>,
    /// The longest gaps of a week that were too long when they ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    outages: BTreeMap<i64, Parts>,
}

/// What is asked of every source.
#[derive(Debug, Clone)]
pub struct SilenceRule {
    /// A shorter silence is never told.
    pub floor: SignedDuration,
    /// In which nights and weekends are.
    pub zone: TimeZone,
    /// When the hub itself was away.
    away: Vec<(Timestamp, Timestamp)>,
}

impl SilenceRule {
    pub fn new(floor: SignedDuration, zone: TimeZone) -> Self {
        Self { floor, zone, away: vec![] }
    }

    /// The same for a hub that was away at these times: they count as no silence.
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

/// A source that is silent for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// It never sent anything.
    New { since: Timestamp },
    /// It usually sends again sooner. `usual` is its longest gap in hours of this kind.
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
        // Zones differ by quarters of an hour at least.
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
    /// It is heard at this time. A gap that was too long is usual only once another one of four weeks was as long: an outage
    /// of the source makes no alarm deaf.
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

    /// Whether it is silent for longer than is usual for it. A gap is compared by kind of hour: a quiet night hides no quiet
    /// day. Half as long again as ever in the last four weeks is too long.
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

    /// Longer gaps are too long. `None`: too little is known.
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

/// What this version cannot read begins anew.
fn read(value: &str, now: Timestamp) -> SourceLife {
    serde_json::from_str(value).unwrap_or_else(|_| new(now))
}

fn new(now: Timestamp) -> SourceLife {
    SourceLife { since: now, ..SourceLife::default() }
}

/// When the sources of these events were heard. What the hub itself made of a source's messages is no sign of it. An event that
/// waited in a queue, or was a dead letter, is a sign of the time when it came.
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

/// Notes which sources are heard.
#[derive(Default)]
pub struct HeardSources(Mutex<BTreeMap<SourceName, Timestamp>>);

impl HeardSources {
    /// Notes when these sources were heard, each once a minute at most.
    ///
    /// # Errors
    /// When the store fails. The next note makes up for it.
    pub async fn note(
        &self,
        store: &dyn Store,
        heard: BTreeMap<SourceName, Timestamp>,
        rule: &SilenceRule,
    ) -> Result<()> {
        for (source, at) in heard {
            let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&source).copied();
            if before.is_none_or(|before| is_news(before, at)) {
                note(store, source.as_str(), at, rule).await?;
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(source, at);
            }
        }
        Ok(())
    }
}

fn is_news(before: Timestamp, at: Timestamp) -> bool {
    at.duration_since(before) >= RESOLUTION || at > before && breakage::is_on("each-delivery-noted")
}

async fn note(store: &dyn Store, source: &str, at: Timestamp, rule: &SilenceRule) -> Result<()> {
    let mut key_values = store.key_values_of(&BTreeSet::from([key_value(source), away::CELL.to_owned()])).await?;
    let known = key_values.remove(&key_value(source));
    let mut life = known.as_ref().map_or_else(|| new(at), |one| read(&one.value, at));
    if life.last.is_some_and(|last| !is_news(last, at)) {
        return Ok(());
    }
    let watched = key_values.get(away::CELL).map(|one| one.value.as_str());
    life.hear(at, &rule.without(away::away_by(watched, at)));
    // Another process that is faster notes the same.
    put(store, source, &life, known.map(|one| one.version)).await.map(drop)
}

async fn put(store: &dyn Store, source: &str, life: &SourceLife, version: Option<u64>) -> Result<bool> {
    let value = serde_json::to_string(life).map_err(|error| crate::PortError::Fail(error.to_string()))?;
    store.compare_and_set(&key_value(source), &value, version).await
}

/// When each of these sources was heard last. Writes nothing.
///
/// # Errors
/// When the store fails.
pub async fn last_heard(
    store: &dyn Store,
    sources: &BTreeSet<SourceName>,
    now: Timestamp,
) -> Result<BTreeMap<SourceName, Timestamp>> {
    let key_values = store.key_values_of(&sources.iter().map(|source| key_value(source.as_str())).collect()).await?;
    let last = |source: &SourceName| read(&key_values.get(&key_value(source.as_str()))?.value, now).last;
    Ok(sources.iter().filter_map(|source| Some((source.clone(), last(source)?))).collect())
}

/// How each of these sources was heard. One that is new to the store is written down.
///
/// # Errors
/// When the store fails.
pub async fn source_lives(
    store: &dyn Store,
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

/// Those of these sources that are silent for longer than usual. Notes that the hub is there: while nobody asks, no source can be
/// silent.
///
/// # Errors
/// When the store fails.
pub async fn silent_sources(
    store: &dyn Store,
    sources: &BTreeSet<SourceName>,
    now: Timestamp,
    rule: &SilenceRule,
) -> Result<BTreeMap<SourceName, Silence>> {
    let rule = &rule.without(away::watch(store, now).await?);
    let lives = source_lives(store, sources, now).await?;
    Ok(lives.into_iter().filter_map(|(source, life)| Some((source, life.silence(now, rule)?))).collect())
}
