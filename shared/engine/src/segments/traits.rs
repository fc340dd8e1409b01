//! The facts that segment rules test, derived once for each person.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::{Deserialize, Serialize};
use stagedoor_model::{Channel, Fact, Identifier, Kind, MARKETING, MailMessage, Timestamp};

use super::Facets;
use crate::{Catalog, Person, Stage, Standing, consent, deals::deals_of, is_suppressed, settlements};

/// What segment rules can ask about a person.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traits {
    pub deals: Vec<DealTraits>,
    pub orders: usize,
    pub bought_at: Option<Timestamp>,
    pub first_seen: Option<Timestamp>,
    pub last_seen: Option<Timestamp>,
    pub promo_issued_at: Option<Timestamp>,
    pub promo_unused: bool,
    pub consents: BTreeSet<Channel>,
    pub withdrawn: BTreeSet<Channel>,
    pub ways: BTreeSet<&'static str>,
    pub letters: Vec<LetterTraits>,
    pub labels: BTreeMap<String, BTreeSet<String>>,
}

/// What segment rules can ask about a deal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DealTraits {
    pub show: String,
    pub city: Option<String>,
    pub stage: Stage,
    pub since: Timestamp,
    pub starts_at: Option<Timestamp>,
    pub tickets: usize,
    /// Worth in whole major units of the CRM account's currency, without sums in other currencies.
    pub worth: i64,
    pub cancelled: bool,
    pub moved: bool,
    /// True if the show takes place as announced after all. Only mailings know for whom that is news.
    pub on_again: bool,
    /// True if the show was moved without a new date so far.
    pub postponed: bool,
    /// Time zone of the show, an IANA name.
    pub zone: Option<String>,
    pub campaign: Option<String>,
    /// The CRM's id of the stage to which a manager moved the deal.
    pub moved_to: Option<u64>,
}

/// What segment rules can ask about an e-mail.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LetterTraits {
    pub campaign: Option<String>,
    pub delivered: bool,
    pub seen_at: Option<Timestamp>,
    pub clicked: bool,
}

impl Traits {
    /// Derives the facts of a person. `leads`: the CRM's ids of the deals, by show. A manager's move names only that
    /// id.
    pub fn of(person: &Person, leads: &BTreeMap<String, u64>, catalog: &Catalog) -> Self {
        let mut traits = Self::default();
        let moves = moves(person);
        let money = settlements(person.records.values());
        // A payment that only its provider reported is a purchase, too.
        let paid = money.orders.values().filter_map(|(order, settlement)| order.paid_at.or(settlement.paid_at));
        traits.bought_at = paid.max();
        for (key, deal) in deals_of(person, catalog, &money) {
            let moved = leads.get(&key.0).and_then(|lead| moves.get(lead));
            traits.orders += deal.orders.len();
            traits.deals.push(DealTraits {
                stage: deal.stage,
                since: deal.since,
                tickets: deal.live_tickets,
                worth: deal.worth(catalog.currency()).as_ref().map_or(0, stagedoor_model::Money::whole_major),
                cancelled: deal.show.cancelled,
                // A person whose deal began after the move knows the new time.
                moved: deal.show.moved_at.is_some_and(|at| deal.since <= at),
                on_again: false,
                postponed: deal.show.is_postponed(),
                zone: deal.show.zone,
                campaign: deal.attribution.map(|owed| owed.campaign),
                moved_to: moved.copied(),
                city: deal.show.city,
                starts_at: deal.show.starts_at,
                show: key.0,
            });
        }
        let mut codes = BTreeSet::new();
        for record in person.records.values() {
            traits.take(record.at, &record.fact, &mut codes);
        }
        let issued: Vec<&stagedoor_model::Promo> = person.promos().collect();
        traits.promo_issued_at = issued.iter().map(|promo| promo.issued_at).max();
        traits.promo_unused = issued.iter().any(|promo| !codes.contains(&promo.code.to_uppercase()));
        traits.consents_of(person, catalog);
        traits.ways_of(person);
        traits
    }

    fn take(&mut self, at: Timestamp, fact: &Fact, codes: &mut BTreeSet<String>) {
        // Only acts of the person count as seen, not those of the hub, the CRM or a provider.
        let last = match fact {
            Fact::Submission(submission) => {
                for (name, value) in &submission.labels {
                    self.labels.entry(name.clone()).or_default().insert(value.clone());
                }
                Some(submission.last)
            }
            Fact::Order { order: Some(order), .. } => {
                codes.extend(order.promo_codes.iter().map(|code| code.to_uppercase()));
                Some(order.placed_at)
            }
            Fact::Conversation(conversation) => conversation.heard_at,
            Fact::MailMessage(letter) if letter.channel() == Channel::Email => {
                self.letters.push(LetterTraits::of(letter));
                letter.seen_at()
            }
            _ => None,
        };
        if let Some(last) = last {
            self.first_seen = Some(self.first_seen.map_or(at, |known| known.min(at)));
            self.last_seen = self.last_seen.max(Some(last));
        }
    }

    fn consents_of(&mut self, person: &Person, catalog: &Catalog) {
        let entries = consent::ledger(person);
        if entries.is_empty() {
            return;
        }
        for channel in Channel::ALL {
            match consent::standing(&entries, MARKETING, channel, None, &catalog.consent, None) {
                Standing::Given(_) => _ = self.consents.insert(channel),
                Standing::Withdrawn(_) => _ = self.withdrawn.insert(channel),
                Standing::Unknown | Standing::Unconfirmed(_) => {}
            }
        }
    }

    fn ways_of(&mut self, person: &Person) {
        let addresses: BTreeSet<&Identifier> = person.identifiers();
        let alive = |kind: Kind| addresses.iter().any(|one| one.kind() == kind && !is_suppressed(person, one));
        let mail = [(Kind::Email, "email"), (Kind::Phone, "sms")];
        self.ways.extend(mail.into_iter().filter(|(kind, _)| alive(*kind)).map(|(_, way)| way));
        self.ways.extend(
            person
                .conversations()
                .filter(|(_, conversation)| conversation.is_open())
                .filter_map(|(_, conversation)| Some(conversation.chat.kind().messenger()?.name())),
        );
    }

    /// Returns the number of past shows for which the person had tickets.
    pub fn visits(&self, now: Timestamp) -> usize {
        self.deals.iter().filter(|deal| deal.tickets > 0 && deal.starts_at.is_some_and(|at| at <= now)).count()
    }

    /// Returns the start of the last past show for which the person had tickets.
    pub fn last_visit(&self, now: Timestamp) -> Option<Timestamp> {
        let over = self.deals.iter().filter(|deal| deal.tickets > 0).filter_map(|deal| deal.starts_at);
        over.filter(|at| *at <= now).max()
    }
}

/// Hashes of the traits of the last evaluation. A part with an equal hash has not changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked([u64; 6]);

impl Looked {
    /// Hashes the traits. `rules`: the number of the rules; a different number makes every rule be evaluated.
    pub fn at(traits: &Traits, rules: u64) -> Self {
        let number = |part: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            part(&mut hasher);
            hasher.finish()
        };
        Self([
            number(&|hasher| {
                (&traits.deals, traits.orders, traits.bought_at, traits.promo_issued_at, traits.promo_unused)
                    .hash(hasher)
            }),
            number(&|hasher| traits.letters.hash(hasher)),
            number(&|hasher| (&traits.consents, &traits.withdrawn).hash(hasher)),
            number(&|hasher| traits.ways.hash(hasher)),
            number(&|hasher| (&traits.labels, traits.first_seen, traits.last_seen).hash(hasher)),
            rules,
        ])
    }

    /// Returns the parts that differ.
    pub fn changed(&self, now: &Self) -> Facets {
        let parts = [Facets::DEALS, Facets::LETTERS, Facets::CONSENT, Facets::CHATS, Facets::LABELS, Facets::ALL];
        let pairs = self.0.iter().zip(now.0).zip(parts);
        pairs.filter(|((before, now), _)| *before != now).fold(Facets::default(), |all, (_, part)| all.and(part))
    }
}

impl LetterTraits {
    fn of(letter: &MailMessage) -> Self {
        Self {
            campaign: letter.campaign.clone(),
            delivered: letter.delivered_at.is_some() || letter.seen_at().is_some(),
            seen_at: letter.last_opened_at.max(letter.seen_at()),
            clicked: letter.clicked_at().is_some(),
        }
    }
}

/// Returns the stage to which a manager moved each deal, by the deal's id in the CRM.
fn moves(person: &Person) -> BTreeMap<u64, u64> {
    let moved = |record: &stagedoor_model::Record| match record.fact {
        Fact::CrmLead { lead, status: Some(status), by, deleted: false, .. } if by != Some(0) => Some((lead, status)),
        _ => None,
    };
    person.records.values().filter_map(moved).collect()
}
