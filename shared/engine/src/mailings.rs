//! What people are written to about of the hub's own accord: a cart that was left, a show that moved, thanks after an evening.
//! What is due follows from what is known of somebody, from what they were written before and from the time, which is an argument. Each
//! occasion is written about once: through the first channel that is alive, and through the next where nobody read it.

mod cascade;
mod notices;
mod reports;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use cascade::Next;
pub use cascade::takes_no_sms;
use jiff::civil::Time;
pub use reports::Reports;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stagedoor_model::{Channel, Fact, Identifier, MARKETING, Purpose, QuietHours, Timestamp, breakage};

use crate::{
    Catalog, CrmState, Deal, INTEREST, Localised, Person, PersonId, ShowKey, ShowNotice, Standing, Traits, consent,
    deals,
    segments::{DealTraits, Rule, holds},
};

/// Something that people are written to about.
#[derive(Debug, Clone, PartialEq)]
pub struct Mailing {
    pub name: String,
    pub to: Audience,
    /// And of these only those of whom this is true.
    pub only: Option<Rule>,
    /// Advertising needs a consent; a service message (a show that moved) needs none.
    pub is_service: bool,
    /// In the order in which they are tried.
    pub through: Vec<Channel>,
    /// Seconds after which a message that nobody read is followed by one through the next channel; `None`: one is all.
    pub wait: Option<i64>,
    /// Of a hundred people, those who are not written to, so that the effect shows.
    pub hold_out: u8,
    /// Also in quiet hours.
    pub is_urgent: bool,
    pub campaign: Option<String>,
    /// At least one.
    pub variants: Vec<Variant>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Audience {
    /// Each deal of which the rule is true, once; where it is about changes of a show, once a change that is news.
    Deals(Rule),
    /// Whoever is in the segment, once.
    Segment(String),
    /// Addresses whose consent waits to be confirmed, each once.
    Unconfirmed,
    /// Addresses for which a stranger may have withdrawn a consent: their owners are asked.
    Doubted,
}

/// One of several texts, so that they can be compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variant {
    pub name: String,
    pub subject: Localised,
    /// With `{name}`, `{show}`, `{city}`, `{when}`, `{promo}`, `{link}`, `{confirm}`.
    pub text: Localised,
    /// Where an SMS says it shorter.
    pub sms: Localised,
    /// The label of a button that leads to the campaign's shop.
    pub button: Localised,
}

/// How often and when people are written to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailingLimits {
    /// Hours in which nobody is, on the clocks of the show's place.
    pub quiet: Option<(Time, Time)>,
    /// So much advertising at most in so many seconds.
    pub cap: Option<(usize, i64)>,
}

/// What somebody was written about one occasion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailingState {
    pub mailing: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<ShowKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    pub began_at: Timestamp,
    /// `None`: they were held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marketing: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<MailingStep>,
    /// The change of a show that they were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<ShowNotice>,
}

/// One message of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MailingStep {
    pub at: Timestamp,
    pub channel: Channel,
    /// The source, or `email`, or `sms`.
    pub through: String,
    pub to: Identifier,
    /// The decision's id.
    pub decision: String,
}

impl Mailing {
    /// Whether everything that its texts name is known of a deal: nobody is invited to an evening without a name.
    fn can_speak_of(&self, deal: &DealTraits) -> bool {
        let names = |what: &str| {
            let texts = self.variants.iter().flat_map(|one| [&one.subject, &one.text, &one.sms]);
            texts.flat_map(|text| text.0.values()).any(|text| text.contains(what))
        };
        (!names("{show}") || deal.show != INTEREST)
            && (!names("{city}") || deal.city.is_some())
            && (!names("{when}") || deal.starts_at.is_some())
    }
}

impl MailingState {
    /// What two joined people were written: the elder telling, with all messages.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let (mut first, second) = if self.began_at <= other.began_at { (self, other) } else { (other, self) };
        first.variant = first.variant.or(second.variant);
        first.told = first.told.max(second.told);
        first.steps.extend(second.steps);
        first.steps.sort();
        first.steps.dedup();
        first
    }
}

/// A way to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub channel: Channel,
    pub through: String,
    pub to: Identifier,
}

/// What is to be written now.
#[derive(Debug, Clone, PartialEq)]
pub struct DueMessage<'c> {
    pub mailing: &'c Mailing,
    /// Names the occasion within the person.
    pub key: String,
    pub show: Option<ShowKey>,
    pub city: Option<String>,
    /// Whether nothing was written about it yet.
    pub begins: bool,
    /// The change of a show that it is about.
    pub told: Option<ShowNotice>,
    /// `None`: they are held out.
    pub message: Option<MessageDraft<'c>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MessageDraft<'c> {
    pub variant: &'c Variant,
    pub route: Route,
    /// From 0.
    pub step: usize,
    pub quiet: Option<QuietHours>,
}

/// What one look came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DueMessages<'c> {
    pub now: Vec<DueMessage<'c>>,
    /// When time alone may change it.
    pub again_at: Option<Timestamp>,
}

struct Occasion<'t> {
    key: String,
    deal: Option<&'t DealTraits>,
    /// Only this address.
    address: Option<Identifier>,
    told: Option<ShowNotice>,
}

/// What somebody is to be written at `now`. `shared`: addresses that many people have, such as a cashier's. They get no
/// advertising. A notice goes there only if the person has no other address.
pub fn due_messages<'c>(
    person: &Person,
    link: &CrmState,
    traits: &Traits,
    catalog: &'c Catalog,
    shared: &BTreeSet<Identifier>,
    now: Timestamp,
) -> DueMessages<'c> {
    let mut due_messages = DueMessages::default();
    let spent = spent(person, link, None);
    let is_of_changes = |one: &Mailing| matches!(&one.to, Audience::Deals(rule) if rule.is_about_changes());
    let tells = !catalog.learned.is_empty() && catalog.mailings.iter().any(is_of_changes);
    let deals = if tells { deals(person, catalog) } else { BTreeMap::new() };
    let reports = Reports::of(person);
    let mut look = MailingRun { person, link, traits, catalog, shared, now, again_at: None, spent, deals, reports };
    for mailing in &catalog.mailings {
        let ways = OnceCell::new();
        for occasion in look.occasions(mailing) {
            due_messages.now.extend(look.due(mailing, &occasion, &ways));
        }
    }
    due_messages.again_at = look.again_at;
    due_messages
}

/// When somebody was sent advertising, but for one campaign's invitation.
fn spent(person: &Person, link: &CrmState, but: Option<&str>) -> BTreeSet<(Timestamp, String)> {
    let written = link.written.values().filter(|one| one.marketing).flat_map(|one| &one.steps);
    let mut spent: BTreeSet<(Timestamp, String)> = written.map(|step| (step.at, step.decision.clone())).collect();
    // An invitation holds a personal link.
    for record in person.records.values() {
        if let Fact::Link(link) = &record.fact
            && link.purpose == Purpose::Chat
            && but != Some(link.campaign.as_str())
        {
            spent.insert((record.at, link.token.as_str().to_owned()));
        }
    }
    spent
}

/// When a campaign's invitation may go to somebody, where the cap forbids it now. One that went before does not stand against itself:
/// decided again it is not sent again.
pub fn capped(
    person: &Person,
    link: &CrmState,
    catalog: &Catalog,
    campaign: &str,
    now: Timestamp,
) -> Option<Timestamp> {
    over(&spent(person, link, Some(campaign)), catalog.manners.cap, now)
}

fn over(spent: &BTreeSet<(Timestamp, String)>, cap: Option<(usize, i64)>, now: Timestamp) -> Option<Timestamp> {
    let (most, seconds) = cap?;
    let lately: Vec<i64> =
        spent.iter().map(|(at, _)| at.as_second()).filter(|at| at.saturating_add(seconds) > now.as_second()).collect();
    let index = lately.len().checked_sub(most)?;
    Timestamp::from_second(lately.get(index)?.saturating_add(seconds)).ok()
}

struct MailingRun<'l, 'c> {
    person: &'l Person,
    link: &'l CrmState,
    traits: &'l Traits,
    catalog: &'c Catalog,
    shared: &'l BTreeSet<Identifier>,
    now: Timestamp,
    again_at: Option<Timestamp>,
    spent: BTreeSet<(Timestamp, String)>,
    /// Where a change of a show may be told.
    deals: BTreeMap<ShowKey, Deal>,
    reports: Reports<'l>,
}

impl<'l, 'c> MailingRun<'l, 'c> {
    fn later(&mut self, at: Timestamp) {
        self.again_at = Some(self.again_at.map_or(at, |known| known.min(at)));
    }

    fn occasions(&mut self, mailing: &Mailing) -> Vec<Occasion<'l>> {
        let (traits, name) = (self.traits, &mailing.name);
        if let Some(rule) = &mailing.only
            && !holds(rule, traits, None, self.now, &mut self.again_at)
        {
            return vec![];
        }
        match &mailing.to {
            Audience::Deals(rule) => {
                let told = traits.deals.iter().filter(|deal| mailing.can_speak_of(deal));
                if rule.is_about_changes() {
                    return told.filter_map(|deal| self.change(name, rule, deal)).collect();
                }
                let (now, again_at) = (self.now, &mut self.again_at);
                let open = told.filter(|deal| holds(rule, traits, Some(deal), now, again_at));
                let key = |deal: &DealTraits| format!("{name}|{}", deal.show);
                open.map(|deal| Occasion { key: key(deal), deal: Some(deal), address: None, told: None }).collect()
            }
            Audience::Segment(segment) if self.link.segments.contains_key(segment) => {
                // The latest show that they asked for says where they are.
                let deal = traits.deals.iter().filter(|deal| deal.zone.is_some()).max_by_key(|deal| deal.since);
                vec![Occasion { key: format!("{name}|"), deal, address: None, told: None }]
            }
            Audience::Segment(_) => vec![],
            Audience::Doubted => {
                let entries = consent::ledger(self.person);
                let doubted = {
                    let (policy, contested) = (&self.catalog.consent, &self.person.contested);
                    consent::doubted(&entries, Channel::Email, policy, contested).into_iter()
                };
                // Once for each consent, however often a stranger says it.
                let of = |(one, given): (Identifier, Timestamp)| {
                    let key = format!("{name}|{one}|{}", given.as_second());
                    Occasion { key, deal: None, address: Some(one), told: None }
                };
                doubted.filter(|(one, _)| !consent::is_suppressed(self.person, one)).map(of).collect()
            }
            Audience::Unconfirmed => {
                let addresses = self.unconfirmed().into_iter();
                // Who withdraws and consents anew is asked anew.
                let left = consent::withdrawn_at(&consent::ledger(self.person), Channel::Email);
                let round = left.map_or_else(String::new, |at| format!("|{}", at.as_second()));
                let key = |one: &Identifier| format!("{name}|{one}{round}");
                let of = |one: Identifier| Occasion { key: key(&one), deal: None, address: Some(one), told: None };
                addresses.map(of).collect()
            }
        }
    }

    /// The latest change of a deal's show, if the rule makes it news to this holder.
    fn change(&mut self, name: &str, rule: &Rule, deal: &'l DealTraits) -> Option<Occasion<'l>> {
        let news = self.news(deal)?;
        let is_open = holds(rule, self.traits, Some(&news.deal), self.now, &mut self.again_at);
        let key = self.key_of_change(name, &deal.show, &news.now);
        is_open.then_some(Occasion { key, deal: Some(deal), address: None, told: Some(news.now) })
    }

    fn unconfirmed(&self) -> BTreeSet<Identifier> {
        let entries = consent::ledger(self.person);
        let told = entries.iter().filter(|entry| entry.channel == Channel::Email).flat_map(|entry| &entry.identifiers);
        let mut told: Vec<&Identifier> = told.collect();
        // One form can name an address a thousand times: its standing is worked out once.
        if !breakage::is_on("standing-of-each-word") {
            told.sort();
            told.dedup();
        }
        told.into_iter().filter(|one| self.waits_for_confirmation(&entries, one)).cloned().collect()
    }

    fn waits_for_confirmation(&self, entries: &[consent::Entry], address: &Identifier) -> bool {
        let policy = &self.catalog.consent;
        let standing = consent::standing(entries, MARKETING, Channel::Email, Some(address), policy, None);
        matches!(standing, Standing::Unconfirmed(_)) && !consent::is_suppressed(self.person, address)
    }

    fn due(
        &mut self,
        mailing: &'c Mailing,
        occasion: &Occasion<'_>,
        ways: &OnceCell<Vec<Route>>,
    ) -> Option<DueMessage<'c>> {
        let known = self.link.written.get(&occasion.key);
        if known.is_some_and(|written| written.variant.is_none()) {
            return None;
        }
        let steps = known.map_or(&[][..], |written| &written.steps);
        let route = match cascade::next(mailing, occasion.address.as_ref(), steps, self, ways) {
            Next::Nothing => return None,
            Next::Later(at) => {
                self.later(at);
                return None;
            }
            Next::Write(route) => route,
        };
        let quiet = self.quiet(mailing, occasion.deal);
        if let Some(end) = quiet.as_ref().and_then(|quiet| quiet.end(self.now)) {
            self.later(end);
            return None;
        }
        if !mailing.is_service
            && let Some(at) = over(&self.spent, self.catalog.manners.cap, self.now)
        {
            self.later(at);
            return None;
        }
        let variant = match known.and_then(|written| written.variant.as_ref()) {
            Some(name) => mailing.variants.iter().find(|one| one.name == *name).or_else(|| mailing.variants.first()),
            None => self.chosen(mailing),
        };
        let step = steps.len();
        let message = variant.map(|variant| MessageDraft { variant, route, step, quiet });
        if let (Some(_), false) = (&message, mailing.is_service) {
            self.spent.insert((self.now, format!("{} {step}", occasion.key)));
        }
        // A mailing to a segment is about no show: the deal only says where they are.
        let deal = occasion.deal.filter(|_| matches!(mailing.to, Audience::Deals(_)));
        Some(DueMessage {
            mailing,
            key: occasion.key.clone(),
            show: deal.map(|deal| ShowKey(deal.show.clone())),
            city: occasion.deal.and_then(|deal| deal.city.clone()),
            begins: known.is_none(),
            told: occasion.told,
            message,
        })
    }

    /// `None`: held out.
    fn chosen(&self, mailing: &'c Mailing) -> Option<&'c Variant> {
        if is_held_out(self.person.id, &mailing.name, mailing.hold_out) {
            return None;
        }
        let index = share(self.person.id, &mailing.name, "variant") % (mailing.variants.len().max(1) as u64);
        mailing.variants.get(usize::try_from(index).unwrap_or(0))
    }

    fn quiet(&self, mailing: &Mailing, deal: Option<&DealTraits>) -> Option<QuietHours> {
        let zone = deal.and_then(|deal| deal.zone.as_deref());
        self.catalog.quiet_hours(zone).filter(|_| !mailing.is_urgent)
    }
}

impl Catalog {
    /// The hours in which nothing goes out that can wait, by the clocks of `zone`, or else by those of the house.
    pub fn quiet_hours(&self, zone: Option<&str>) -> Option<QuietHours> {
        let (from, until) = self.manners.quiet?;
        let house = || self.zone.as_ref().and_then(|zone| zone.iana_name()).unwrap_or("UTC");
        Some(QuietHours { from, until, zone: zone.unwrap_or_else(house).to_owned() })
    }
}

/// Whether this person is one of the `held` of a hundred who are not written to.
pub(crate) fn is_held_out(person: PersonId, mailing: &str, held: u8) -> bool {
    share(person, mailing, "hold-out") % 100 < u64::from(held)
}

/// Deterministic by person: whoever asks again draws the same lot.
fn share(person: PersonId, mailing: &str, what: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(person.as_bytes());
    hash.update(mailing.as_bytes());
    hash.update(what.as_bytes());
    hash.finalize().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
