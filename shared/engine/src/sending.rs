//! The checks that every message passes right before its channel is called. The decision is older: since then people
//! withdraw, quiet hours begin, and other messages go out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use stagedoor_model::{Channel, MessageDecided, QuietHours, Timestamp, breakage};

use crate::{Catalog, ConsentPolicy, Person, PersonId, mailings::is_held_out, may_advertise};

/// What the config demands of every message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SendingPolicy {
    pub consent: ConsentPolicy,
    /// Quiet hours for advertising that has none of its own.
    pub quiet: Option<QuietHours>,
    /// The most advertising messages to one person, and the seconds in which they count.
    pub cap: Option<(usize, i64)>,
    /// Percentage of people who get no message, by mailing.
    pub hold_outs: BTreeMap<String, u8>,
}

impl Catalog {
    /// Returns the sending policy of the config.
    pub fn sending_policy(&self) -> SendingPolicy {
        SendingPolicy {
            consent: self.consent.clone(),
            quiet: self.quiet_hours(None),
            cap: self.manners.cap,
            hold_outs: self.mailings.iter().map(|one| (one.name.clone(), one.hold_out)).collect(),
        }
    }
}

/// When advertising was really sent to one person, by the decision's id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Advertised(pub BTreeMap<String, Timestamp>);

impl Advertised {
    /// Drops entries that are older than `seconds`, the time that the cap covers.
    #[must_use]
    pub fn since(mut self, seconds: i64, now: Timestamp) -> Self {
        self.0.retain(|_, at| at.as_second().saturating_add(seconds) > now.as_second());
        self
    }
}

/// Why a message is not sent now, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The message may go at this time.
    Later(Timestamp),
    /// This message is not sent. The next channel may follow.
    Refused(&'static str),
    /// This message is not sent, and nothing follows.
    Dropped(&'static str),
}

/// A message right before its channel is called.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Id of the decision to send it.
    pub decision: &'a str,
    pub message: &'a MessageDecided,
    /// How long after the person's last message or button press the channel takes messages. `None`: always.
    pub window: Option<Duration>,
    pub now: Timestamp,
}

impl SendingPolicy {
    /// Returns what stands against a message to any recipient: its end, the channel's window, quiet hours.
    pub fn obstacle(&self, attempt: &Attempt<'_>) -> Option<Obstacle> {
        let Attempt { message, window, now, .. } = *attempt;
        if now > message.until {
            return Some(Obstacle::Refused("too late"));
        }
        // A messenger's clock may be ahead of ours.
        let since = |at: Timestamp| Duration::try_from(now.duration_since(at)).unwrap_or_default();
        if window.is_some_and(|window| message.heard_at.is_none_or(|at| since(at) > window)) {
            return Some(Obstacle::Refused("outside the channel's window"));
        }
        let house = self.quiet.as_ref().filter(|_| message.marketing && !breakage::is_on("advertising-asks-no-night"));
        let end = message.quiet.as_ref().or(house).and_then(|quiet| quiet.end(now));
        end.filter(|_| !breakage::is_on("night-unasked")).map(Obstacle::Later)
    }

    /// Returns what stands against advertising to this person: consent, hold-out, cap. `advertised`: what was sent
    /// under any id of the person.
    pub fn against_advertising(
        &self,
        attempt: &Attempt<'_>,
        person: Option<&Person>,
        advertised: &Advertised,
    ) -> Option<Obstacle> {
        let Attempt { decision, message, now, .. } = *attempt;
        let through = Channel::ALL.into_iter().find(|one| one.reaches(message.to.kind()));
        let consents = |person: &Person| {
            through.is_some_and(|through| may_advertise(person, through, &message.to, &self.consent, None))
        };
        let consents = person.is_some_and(consents) || breakage::is_on("consent-unasked");
        if !consents {
            return Some(Obstacle::Refused("no consent"));
        }
        if let Some(person) = person
            && self.holds_out(message, person)
            && !breakage::is_on("hold-out-unasked")
        {
            return Some(Obstacle::Dropped("held out"));
        }
        let (most, seconds) = self.cap.filter(|_| !breakage::is_on("cap-asked-when-decided"))?;
        let lately = advertised.clone().since(seconds, now);
        if lately.0.contains_key(decision) {
            return None;
        }
        let times: BTreeSet<(Timestamp, &String)> = lately.0.iter().map(|(id, at)| (*at, id)).collect();
        let (oldest, _) = times.iter().nth(times.len().checked_sub(most)?)?;
        let free = Timestamp::from_second(oldest.as_second().saturating_add(seconds)).unwrap_or(now);
        Some(if free > message.until { Obstacle::Dropped("written to too often") } else { Obstacle::Later(free) })
    }

    /// Returns true if all ids that the person ever had are held out. A person who was not held out before a join
    /// gets the message.
    fn holds_out(&self, message: &MessageDecided, person: &Person) -> bool {
        // No mailing has the name of a campaign: a message of a campaign has no hold-out.
        let Some(mailing) = &message.campaign else { return false };
        let share = self.hold_outs.get(mailing).copied().unwrap_or(0);
        let mut ids = person.merged_ids.iter().chain([&person.id]);
        ids.all(|id: &PersonId| is_held_out(*id, mailing, share))
    }
}
