//! The sending policy: what every message has to pass right before its channel is called. It was decided earlier: since then
//! people withdraw, nights begin, other messages go out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use stagedoor_model::{Channel, MessageDecided, QuietHours, Timestamp, breakage};

use crate::{Catalog, ConsentPolicy, Person, PersonId, mailings::is_held_out, may_advertise};

/// What the config asks of every message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SendingPolicy {
    pub consent: ConsentPolicy,
    /// Advertising that bears no quiet hours of its own keeps to these.
    pub quiet: Option<QuietHours>,
    /// So much advertising at most to one person in so many seconds.
    pub cap: Option<(usize, i64)>,
    /// Of a hundred people, those who are not written to, by mailing.
    pub hold_outs: BTreeMap<String, u8>,
}

impl Catalog {
    pub fn sending_policy(&self) -> SendingPolicy {
        SendingPolicy {
            consent: self.consent.clone(),
            quiet: self.quiet_hours(None),
            cap: self.manners.cap,
            hold_outs: self.mailings.iter().map(|one| (one.name.clone(), one.hold_out)).collect(),
        }
    }
}

/// Advertising that one person was really sent, by decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Advertised(pub BTreeMap<String, Timestamp>);

impl Advertised {
    /// Without what is older than a cap looks back.
    #[must_use]
    pub fn since(mut self, seconds: i64, now: Timestamp) -> Self {
        self.0.retain(|_, at| at.as_second().saturating_add(seconds) > now.as_second());
        self
    }
}

/// Why a message is not sent now, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It may go at this time.
    Later(Timestamp),
    /// The next channel may follow.
    Refused(&'static str),
    /// Nothing follows.
    Dropped(&'static str),
}

/// A message in front of its channel.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The decision's id.
    pub decision: &'a str,
    pub message: &'a MessageDecided,
    /// How long after somebody's last sign the channel takes messages for them.
    pub window: Option<Duration>,
    pub now: Timestamp,
}

impl SendingPolicy {
    /// What stands against a message whoever it goes to.
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

    /// What stands against advertising to this person. `advertised`: what they were sent, under whichever id.
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

    /// By every id that the person ever had: who was drawn before two were joined stays drawn.
    fn holds_out(&self, message: &MessageDecided, person: &Person) -> bool {
        // A mailing bears no campaign's name.
        let Some(mailing) = &message.campaign else { return false };
        let share = self.hold_outs.get(mailing).copied().unwrap_or(0);
        let mut ids = person.merged_ids.iter().chain([&person.id]);
        ids.all(|id: &PersonId| is_held_out(*id, mailing, share))
    }
}
