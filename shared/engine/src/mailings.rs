//! Mailings: messages that the hub sends on its own occasions, such as an abandoned cart, a moved show, or thanks
//! after an evening. What is due follows from the person, from earlier messages and from the time, which is an
//! argument. Each occasion gets one message through the first channel that works. If it is not read, the next channel
//! follows.

mod cascade;
mod notices;
mod reports;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use cascade::Next;
pub use cascade::takes_no_sms;
pub use reports::Reports;
use sha2::{Digest, Sha256};
use stagedoor_model::{Channel, Fact, Identifier, MARKETING, Purpose, QuietHours, Timestamp, breakage};

use crate::{
    Audience, Catalog, CrmState, Deal, INTEREST, Mailing, MailingStep, Person, PersonId, ShowKey, ShowNotice, Standing,
    Traits, Variant, consent, deals,
    segments::{DealTraits, Rule, holds},
};

impl Mailing {
    /// Returns true if the deal has every fact that the texts name, for example the title of the show. A service
    /// message goes out without a city or a date that nobody told: what it tells is worth more.
    fn can_speak_of(&self, deal: &DealTraits) -> bool {
        let names = |what: &str| {
            let texts = self.variants.iter().flat_map(|one| [&one.subject, &one.text, &one.sms]);
            texts.flat_map(|text| text.0.values()).any(|text| text.contains(what))
        };
        let goes_without = self.is_service && !breakage::is_on("notice-needs-a-city");
        (!names("{show}") || deal.show != INTEREST)
            && (goes_without || !names("{city}") || deal.city.is_some())
            && (goes_without || !names("{when}") || deal.starts_at.is_some())
    }
}

/// Channel, source and address of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub channel: Channel,
    pub through: String,
    pub to: Identifier,
}

/// A message that must be sent now.
#[derive(Debug, Clone, PartialEq)]
pub struct DueMessage<'c> {
    pub mailing: &'c Mailing,
    /// Key of the occasion, unique within the person.
    pub key: String,
    pub show: Option<ShowKey>,
    pub city: Option<String>,
    /// True if this is the first message about the occasion.
    pub begins: bool,
    /// The change of a show that the message is about.
    pub told: Option<ShowNotice>,
    /// `None`: the person is held out.
    pub message: Option<MessageDraft<'c>>,
}

/// Text and route of a due message.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageDraft<'c> {
    pub variant: &'c Variant,
    pub route: Route,
    /// Number of earlier messages about the occasion.
    pub step: usize,
    pub quiet: Option<QuietHours>,
}

/// The result of one evaluation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DueMessages<'c> {
    pub now: Vec<DueMessage<'c>>,
    /// When the result may change by time alone.
    pub again_at: Option<Timestamp>,
}

/// One occasion of a mailing for one person.
struct Occasion<'t> {
    key: String,
    deal: Option<&'t DealTraits>,
    /// If set, the message only goes to this address.
    address: Option<Identifier>,
    told: Option<ShowNotice>,
}

/// Returns the messages that are due for a person at `now`. `shared`: addresses that many people have, such as a
/// cashier's. They get no advertising, and a notice only if the person has no other address.
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
    let order_tells = |fact: &Fact| match fact {
        Fact::Order { order: Some(order), .. } => order.earlier_starts.values().any(|told| !told.others.is_empty()),
        _ => false,
    };
    let is_changed = || !catalog.learned.is_empty() || person.records.values().any(|record| order_tells(&record.fact));
    let tells = catalog.mailings.iter().any(is_of_changes) && is_changed();
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

/// Returns when advertising was sent to a person, each with its decision. `but`: a campaign whose invitation is left
/// out.
fn spent(person: &Person, link: &CrmState, but: Option<&str>) -> BTreeSet<(Timestamp, String)> {
    let written = link.written.values().filter(|one| one.marketing).flat_map(|one| &one.steps);
    let mut spent: BTreeSet<(Timestamp, String)> = written.map(|step| (step.at, step.decision.clone())).collect();
    // An invitation counts, too. It holds a personal link.
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

/// Returns when a campaign's invitation may go to a person, if the cap forbids it now. An earlier invitation of the
/// same campaign does not count: a repeated decision is not sent again.
pub fn capped(
    person: &Person,
    link: &CrmState,
    catalog: &Catalog,
    campaign: &str,
    now: Timestamp,
) -> Option<Timestamp> {
    over(&spent(person, link, Some(campaign)), catalog.manners.cap, now)
}

/// Returns when the cap leaves room again. `None`: there is room now.
fn over(spent: &BTreeSet<(Timestamp, String)>, cap: Option<(usize, i64)>, now: Timestamp) -> Option<Timestamp> {
    let (most, seconds) = cap?;
    let lately: Vec<i64> =
        spent.iter().map(|(at, _)| at.as_second()).filter(|at| at.saturating_add(seconds) > now.as_second()).collect();
    let index = lately.len().checked_sub(most)?;
    Timestamp::from_second(lately.get(index)?.saturating_add(seconds)).ok()
}

/// One evaluation of all mailings for one person.
struct MailingRun<'l, 'c> {
    person: &'l Person,
    link: &'l CrmState,
    traits: &'l Traits,
    catalog: &'c Catalog,
    shared: &'l BTreeSet<Identifier>,
    now: Timestamp,
    again_at: Option<Timestamp>,
    spent: BTreeSet<(Timestamp, String)>,
    /// Deals for which a change of the show may be told.
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
                // The latest show that the person asked for gives the time zone.
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
                // Once for each consent, however often a stranger withdraws it.
                let of = |(one, given): (Identifier, Timestamp)| {
                    let key = format!("{name}|{one}|{}", given.as_second());
                    Occasion { key, deal: None, address: Some(one), told: None }
                };
                doubted.filter(|(one, _)| !consent::is_suppressed(self.person, one)).map(of).collect()
            }
            Audience::Unconfirmed => {
                let addresses = self.unconfirmed().into_iter();
                // A person who withdraws and consents again is asked again.
                let left = consent::withdrawn_at(&consent::ledger(self.person), Channel::Email);
                let round = left.map_or_else(String::new, |at| format!("|{}", at.as_second()));
                let key = |one: &Identifier| format!("{name}|{one}{round}");
                let of = |one: Identifier| Occasion { key: key(&one), deal: None, address: Some(one), told: None };
                addresses.map(of).collect()
            }
        }
    }

    /// Returns the latest change of a deal's show, if the rule makes it news to this holder.
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
        // One form can name an address a thousand times, so its standing is computed once.
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
        // A mailing to a segment is about no show. Its deal only gives the place.
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

    /// Returns the variant for this person. `None`: the person is held out.
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
    /// Returns the hours in which messages that can wait do not go out. `zone`: IANA name; if absent, the organiser's
    /// zone.
    pub fn quiet_hours(&self, zone: Option<&str>) -> Option<QuietHours> {
        let (from, until) = self.manners.quiet?;
        let house = || self.zone.as_ref().and_then(|zone| zone.iana_name()).unwrap_or("UTC");
        Some(QuietHours { from, until, zone: zone.unwrap_or_else(house).to_owned() })
    }
}

/// Returns true if this person is held out. `held`: percentage of people who get no message.
pub(crate) fn is_held_out(person: PersonId, mailing: &str, held: u8) -> bool {
    share(person, mailing, "hold-out") % 100 < u64::from(held)
}

/// Returns a number that depends only on the arguments, so that each evaluation gives the same result.
fn share(person: PersonId, mailing: &str, what: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(person.as_bytes());
    hash.update(mailing.as_bytes());
    hash.update(what.as_bytes());
    hash.finalize().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
