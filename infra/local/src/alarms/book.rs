//! The alarms that ring, and the notices still to send. The store keeps them, so that a restart sends nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use stagedoor_model::{Timestamp, breakage};

use super::{
    alarm::{Alarm, AlarmKind, Phase, key},
    words::{AlarmText, words},
};

/// The time between two messages about an alarm that lasts.
const REMINDER: SignedDuration = SignedDuration::from_hours(24);
/// The least time between two messages about a number that grows.
const GROWTH: SignedDuration = SignedDuration::from_hours(1);
/// After this time the book forgets how often an alarm rang without a notice.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24 * 7);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ringing {
    alarm: Alarm,
    told_at: Timestamp,
    /// True if no reminder follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_told_once: bool,
    /// True if the alarm began within the rest of its kind, so that no notice was sent so far.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_untold: bool,
}

/// When the last notice of a beginning was sent, and how often the alarm began since without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rest {
    told_at: Timestamp,
    untold: u32,
}

/// A notice to send, and the routes that have not sent it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice {
    /// The id of the notice. It never changes, so that a receiver of a second copy recognises it.
    pub id: String,
    pub phase: Phase,
    pub at: Timestamp,
    pub alarm: Alarm,
    pub left: BTreeSet<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Book {
    #[serde(default)]
    ringing: BTreeMap<String, Ringing>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rests: BTreeMap<String, Rest>,
    #[serde(default)]
    pub notices: Vec<Notice>,
}

/// The present state of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub kind: AlarmKind,
    pub source: Option<String>,
    pub since: Timestamp,
    pub count: u64,
    pub told: AlarmText,
}

impl Book {
    /// The alarms that ring.
    pub fn ringing(&self) -> impl Iterator<Item = &Alarm> {
        self.ringing.values().map(|one| &one.alarm)
    }

    pub fn rings(&self, kind: AlarmKind, source: Option<&str>) -> bool {
        self.ringing.contains_key(&key(kind, source))
    }

    /// True if the text of this alarm is needed now.
    pub fn is_due(&self, kind: AlarmKind, count: u64, now: Timestamp) -> bool {
        self.ringing.get(&key(kind, None)).is_none_or(|one| one.is_due(count, now))
    }

    /// Makes the book equal to what was found, and plans notices of the changes for `ways`. Alarms of `unknown` stay
    /// as they are.
    pub fn follow(&mut self, found: Vec<Found>, unknown: &BTreeSet<String>, now: Timestamp, ways: &BTreeSet<String>) {
        self.notices.iter_mut().for_each(|notice| notice.left.retain(|way| ways.contains(way)));
        let holds: BTreeSet<String> = found.iter().map(|one| key(one.kind, one.source.as_deref())).collect();
        let over = self.ringing.keys().filter(|key| !holds.contains(*key) && !unknown.contains(*key));
        for key in over.cloned().collect::<Vec<_>>() {
            let Some(Ringing { mut alarm, is_untold, .. }) = self.ringing.remove(&key) else { continue };
            if is_untold {
                continue;
            }
            alarm.say(&words(Phase::Over, &alarm, &AlarmText::default()));
            self.notice(Phase::Over, alarm, now, ways);
        }
        self.rests.retain(|_, rest| now.duration_since(rest.told_at) < FORGOTTEN);
        for mut one in found {
            let key = key(one.kind, one.source.as_deref());
            let known = self.ringing.get(&key);
            let rests = self.rests.get(&key).is_some_and(|rest| now.duration_since(rest.told_at) < one.kind.rest());
            let phase = match known {
                None => Phase::Began,
                Some(known) if known.is_untold && rests => continue,
                Some(known) if known.is_untold => Phase::Began,
                Some(known) if known.is_due(one.count, now) => Phase::Still,
                Some(_) => continue,
            };
            let is_untold = phase == Phase::Began && rests;
            if phase == Phase::Began {
                let rest = self.rests.entry(key.clone()).or_insert(Rest { told_at: now, untold: 0 });
                // A beginning whose notice is sent now does not count as untold.
                one.told.untold = rest.untold.saturating_sub(u32::from(known.is_some()));
                *rest = match is_untold {
                    true => Rest { untold: rest.untold + 1, ..rest.clone() },
                    false => Rest { told_at: now, untold: 0 },
                };
            }
            let since = known.map_or(one.since, |known| known.alarm.since);
            let mut alarm = Alarm {
                kind: one.kind,
                source: one.source,
                since,
                count: one.count,
                text: String::new(),
                text_ru: String::new(),
            };
            alarm.say(&words(Phase::Began, &alarm, &one.told));
            let is_told_once = one.told.is_new;
            self.ringing.insert(key, Ringing { alarm: alarm.clone(), told_at: now, is_told_once, is_untold });
            if is_untold {
                tracing::warn!(
                    kind = alarm.kind.name(),
                    source = alarm.source,
                    count = alarm.count,
                    "alarm, not told again"
                );
                continue;
            }
            alarm.say(&words(phase, &alarm, &one.told));
            self.notice(phase, alarm, now, ways);
        }
        self.notices.retain(|notice| !notice.left.is_empty());
    }

    /// At most a beginning, a reminder and an end of each alarm wait for one route, however long it cannot be used.
    fn notice(&mut self, phase: Phase, alarm: Alarm, at: Timestamp, ways: &BTreeSet<String>) {
        tracing::warn!(kind = alarm.kind.name(), source = alarm.source, ?phase, count = alarm.count, "alarm");
        let key = alarm.key();
        let mut left = ways.clone();
        for way in ways {
            let mut own = self.notices.iter_mut().filter(|one| one.alarm.key() == key && one.left.contains(way));
            match phase {
                // This route has not sent the end, so for its readers the alarm still rings.
                Phase::Began => {
                    if let Some(over) = own.find(|one| one.phase == Phase::Over) {
                        over.left.remove(way);
                        left.remove(way);
                    }
                }
                Phase::Still if own.next().is_some() => _ = left.remove(way),
                Phase::Still | Phase::Over => {}
            }
        }
        let id = format!("alarm-{}-{}-{}", key.replace('/', "-"), at.as_millisecond(), phase.name());
        self.notices.push(Notice { id, phase, at, alarm, left });
    }

    /// Notes that this route has sent this notice.
    pub fn told(&mut self, id: &str, way: &str) {
        self.notices.iter_mut().filter(|one| one.id == id).for_each(|one| _ = one.left.remove(way));
        self.notices.retain(|notice| !notice.left.is_empty());
    }
}

impl Ringing {
    fn is_due(&self, count: u64, now: Timestamp) -> bool {
        let ago = now.duration_since(self.told_at);
        // Each dead letter is something that did not happen; a number of people goes up and down.
        let has_grown = self.alarm.kind == AlarmKind::DeadLetters && count > self.alarm.count && ago >= GROWTH;
        has_grown || ago >= REMINDER && !self.is_told_once && !breakage::is_on("alarms-remind-nobody")
    }
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Still => "still",
            Self::Over => "over",
        }
    }
}
