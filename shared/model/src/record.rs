use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};

use crate::{
    Company, ConsentClaim, ConsentRecorded, Conversation, Identifier, Kind, MailMessage, Money, Order, Payment, Promo,
    Refund, ShowRef, SourceName, TicketHistory, Timestamp, TrackedLink, Verdict, row_state,
};

/// Claims that a fact keeps. A chat may name any number of phones; its lines hold them all.
const CLAIMS: usize = 16;
/// How many values that are gone from a row are remembered.
const STOOD: usize = 64;

/// A step of the ladder that a deal climbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    Interested,
    Talked,
    PromoIssued,
    Cart,
    Paid,
    Attended,
}

/// Names one fact within a person: two deliveries of it meet here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordKey(pub String);

/// One fact about somebody, with every identifier that it came with. A person is a set of records; everything else
/// (names, deals, consents) is derived from them, so people can be joined and parted without loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub key: RecordKey,
    pub source: SourceName,
    /// The earliest time the fact is known from.
    pub at: Timestamp,
    pub identifiers: BTreeSet<Identifier>,
    /// Identifiers that nothing proves: somebody typed them. They join nobody who exists already.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub claims: BTreeSet<Identifier>,
    /// Latest name with the time it was given.
    pub name: Option<(Timestamp, String)>,
    pub fact: Fact,
    /// Of an order: every buyer that its revisions named, once they named more than one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub buyers: BTreeSet<Buyer>,
    /// Of the CRM's mirror: values in the row that the hub wrote there itself. They prove nothing about who is who.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub echoes: BTreeSet<Identifier>,
    /// Of the CRM's mirror: phones and e-mails that stood in the row once and stand there no more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stood: BTreeSet<Identifier>,
    /// Of the CRM's mirror: the record that stands for the person whom the row was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<RecordKey>,
    /// Of a consent or a withdrawal: when the hub first received it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// Of a consent or a withdrawal: the instant that the sender's clock gave, where `at` had to be bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
}

/// Whom one revision of an order names as its buyer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Buyer {
    pub revision: Timestamp,
    pub identifiers: BTreeSet<Identifier>,
    pub name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    #[serde(rename = "touch")]
    Submission(Submission),
    Order {
        order: Option<Order>,
        /// Refunds told apart from the order.
        refunds: BTreeMap<String, Refund>,
        /// Money that moved for it, by whoever moved it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        payments: BTreeMap<String, Payment>,
        /// What all of its revisions tell of its tickets, by ticket id.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        tickets: BTreeMap<String, TicketHistory>,
    },
    /// The mirror of a CRM contact; of two states the later wins.
    CrmContact {
        changed_at: Timestamp,
        contact: u64,
        deleted: bool,
        phones: Vec<String>,
        emails: Vec<String>,
        /// The hub's own id that stands in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hub_id: Option<String>,
        /// When it was last found to be there again after a deletion, where that is later than the change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored_at: Option<Timestamp>,
    },
    /// The mirror of a CRM deal that somebody moved by hand.
    CrmLead {
        changed_at: Timestamp,
        lead: u64,
        deleted: bool,
        pipeline: Option<u64>,
        status: Option<u64>,
        by: Option<u64>,
        /// The hub's own id that stands in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hub_id: Option<String>,
        /// When it was last found to be there again after a deletion, where that is later than the change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored_at: Option<Timestamp>,
    },
    #[serde(rename = "talk")]
    Conversation(Box<Conversation>),
    Link(TrackedLink),
    Promo(Promo),
    #[serde(rename = "letter")]
    MailMessage(MailMessage),
    Consent(ConsentRecorded),
    /// Whether somebody is on a source's lists; of two states the later wins.
    Membership {
        changed_at: Timestamp,
        lists: BTreeSet<String>,
        member: bool,
    },
    /// They told another address.
    Moved,
    /// They were the buyer of an order that a later revision gave to somebody else.
    HandedOn {
        /// The record of the order.
        order: RecordKey,
        /// How deals name the order.
        number: String,
    },
    /// A manager decided who is who.
    Decided {
        at: Timestamp,
        verdict: Verdict,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Submission {
    pub last: Timestamp,
    pub rung: Rung,
    pub show: Option<ShowRef>,
    pub form: Option<String>,
    pub amount: Option<Money>,
    pub consents: Vec<ConsentClaim>,
    pub labels: BTreeMap<String, String>,
    /// For whom they asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<Company>,
    /// It tells of a person and of no interest: it makes no deal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
    /// Anybody can have sent it: its name and its consents count for less.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_anonymous: bool,
}

impl Record {
    /// A fact with nothing but what it came with.
    pub fn new(key: RecordKey, source: SourceName, at: Timestamp, fact: Fact) -> Self {
        let (identifiers, claims) = (BTreeSet::new(), BTreeSet::new());
        let (buyers, echoes, stood) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (name, beside, received_at, told_at) = (None, None, None, None);
        Self { key, source, at, identifiers, claims, name, fact, buyers, echoes, stood, beside, received_at, told_at }
    }

    /// Whether anybody can have sent it.
    pub fn is_anonymous(&self) -> bool {
        let is_anonymous =
            matches!(&self.fact, Fact::Submission(submission) if submission.is_anonymous || !self.claims.is_empty());
        is_anonymous && !crate::breakage::is_on("anonymous-counts-in-full")
    }

    /// Two tellings of one fact become one: associative, commutative, idempotent.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let at = self.at.min(other.at);
        let source = self.source.clone().min(other.source.clone());
        let beside = self.beside.clone().into_iter().chain(other.beside.clone()).min();
        let received_at = self.received_at.into_iter().chain(other.received_at).min();
        let told_at = self.told_at.into_iter().chain(other.told_at).min();
        let claims: BTreeSet<Identifier> = self.claims.iter().chain(&other.claims).cloned().collect();
        let mut record = match (&self.fact, &other.fact) {
            // A manager who takes a phone away from a contact means it: the later state's identifiers stand alone.
            (Fact::CrmContact { .. }, Fact::CrmContact { .. }) => {
                let name = self.name.clone().max(other.name.clone());
                let is_late = row_state::is_later((&self.fact, &self.version()), (&other.fact, &other.version()));
                let (late, early) = if is_late { (self, other) } else { (other, self) };
                let is_address = |one: &&Identifier| matches!(one.kind(), Kind::Phone | Kind::Email);
                let mut stood: BTreeSet<Identifier> = early.held().filter(is_address).cloned().collect();
                stood.extend(late.stood.iter().chain(&early.stood).cloned());
                stood.retain(|one| !late.identifiers.contains(one) && !late.echoes.contains(one));
                while stood.len() > STOOD {
                    stood.pop_last();
                }
                Self { fact: row_state::later(late.fact.clone(), &early.fact), name, stood, ..late }
            }
            (Fact::Order { .. }, Fact::Order { .. }) => self.join_order(other),
            _ => Self {
                identifiers: self.identifiers.into_iter().chain(other.identifiers).collect(),
                name: self.name.max(other.name),
                fact: self.fact.join(other.fact),
                ..Self::new(self.key, source.clone(), at, Fact::Moved)
            },
        };
        (record.at, record.source, record.beside) = (at, source, beside);
        (record.received_at, record.told_at) = (received_at, told_at);
        // What was proved since is no claim any more.
        let unproven = claims.into_iter().filter(|one| !record.identifiers.contains(one));
        record.claims = unproven.take(CLAIMS).collect();
        record
    }

    /// The buyer of the latest revision that names one stands; what a payment or a refund tells names nobody.
    fn join_order(self, other: Self) -> Self {
        let mut named = BTreeMap::<(BTreeSet<Identifier>, Option<String>), Timestamp>::new();
        for buyer in self.named_buyers().into_iter().chain(other.named_buyers()) {
            let known = named.entry((buyer.identifiers, buyer.name)).or_insert(buyer.revision);
            *known = buyer.revision.max(*known);
        }
        let buyer = |((identifiers, name), revision)| Buyer { revision, identifiers, name };
        let buyers: BTreeSet<Buyer> = named.into_iter().map(buyer).collect();
        let identifiers = self.identifiers.iter().chain(&other.identifiers).cloned().collect();
        let name = self.name.max(other.name);
        let fact = self.fact.join(other.fact);
        let mut record = Self { identifiers, name, buyers, ..Self::new(self.key, self.source, self.at, fact) };
        if !crate::breakage::is_on("order-identifiers-union") {
            record.stand_by_latest_buyer();
        }
        record
    }

    fn stand_by_latest_buyer(&mut self) {
        let Some(standing) = self.buyers_in_turn().pop() else { return };
        self.identifiers.retain(|one| one.kind().is_of_order());
        self.identifiers.extend(standing.identifiers);
        if self.buyers.len() > 1 {
            self.name = standing.name.map(|name| (standing.revision, name));
        } else if matches!(&self.fact, Fact::Order { order: Some(order), .. } if order.revision == standing.revision) {
            self.buyers.clear();
        }
    }

    /// The buyers whom the order had one after the other, each as their last revision names them. Another address with the
    /// same name, or another name with one of the addresses, is a correction. What it replaces is nobody's.
    fn buyers_in_turn(&self) -> Vec<Buyer> {
        let mut turns: Vec<(Vec<&Buyer>, Buyer)> = Vec::new();
        for buyer in &self.buyers {
            match turns.last_mut().filter(|(_, standing)| is_same_buyer(standing, buyer)) {
                Some((revisions, standing)) => {
                    *standing = corrected(revisions, buyer);
                    revisions.push(buyer);
                }
                None => turns.push((vec![buyer], buyer.clone())),
            }
        }
        turns.into_iter().map(|(_, standing)| standing).collect()
    }

    fn named_buyers(&self) -> BTreeSet<Buyer> {
        let Fact::Order { order: Some(order), .. } = &self.fact else { return BTreeSet::new() };
        if !self.buyers.is_empty() {
            return self.buyers.clone();
        }
        let own = self.identifiers.iter().filter(|one| !one.kind().is_of_order());
        let identifiers: BTreeSet<Identifier> = own.cloned().collect();
        if !identifiers.iter().any(|one| one.kind().is_strong()) {
            return BTreeSet::new();
        }
        BTreeSet::from([Buyer { revision: order.revision, identifiers, name: self.name.clone().map(|(_, text)| text) }])
    }

    /// The buyers who handed the order on to somebody else. A buyer who gets it back later is among them, too: what their
    /// earlier revision proved stands.
    pub fn former_buyers(&self) -> Vec<Buyer> {
        let mut turns = self.buyers_in_turn();
        let standing = turns.pop();
        if crate::breakage::is_on("handed-back-is-corrected") {
            turns.retain(|buyer| standing.as_ref().is_some_and(|standing| !is_same_buyer(buyer, standing)));
        }
        turns
    }

    /// Every identifier that the fact is about, also those that it proves nothing of.
    pub fn mentions(&self) -> BTreeSet<Identifier> {
        let mut all = self.identifiers.clone();
        all.extend(self.claims.iter().cloned());
        match &self.fact {
            Fact::Decided { verdict, .. } => all.extend(verdict.identifiers().into_iter().cloned()),
            Fact::HandedOn { order, .. } => all.extend(order.0.parse::<Identifier>().ok()),
            // A revision that comes late may tell that another buyer had the order between two of these.
            Fact::Order { .. } if !crate::breakage::is_on("former-buyers-unsought") => {
                all.extend(self.buyers.iter().flat_map(|buyer| buyer.identifiers.clone()));
            }
            _ => {}
        }
        all.extend(self.order_number());
        all
    }

    /// The printed number of an order, where its id is another: money may name the order by it. Two orders of a shop may
    /// bear one number, so it proves nothing about who is who.
    pub fn order_number(&self) -> Option<Identifier> {
        let Fact::Order { order: Some(order), .. } = &self.fact else { return None };
        let number = order.number.as_deref().filter(|number| *number != order.id)?;
        let number = Identifier::opaque(Kind::Order, self.source.as_str(), number);
        number.filter(|_| !crate::breakage::is_on("order-number-unheard"))
    }

    /// False for what providers and the hub itself tell of an address, such as the letter that asks whose it is.
    pub fn is_of_somebody(&self) -> bool {
        let of_address = matches!(
            self.fact,
            Fact::MailMessage(_)
                | Fact::Link(_)
                | Fact::Consent(_)
                | Fact::Membership { .. }
                | Fact::Moved
                | Fact::Promo(_)
        );
        !of_address
    }

    /// True for what the CRM tells of its own rows.
    pub fn is_mirror(&self) -> bool {
        matches!(self.fact, Fact::CrmContact { .. } | Fact::CrmLead { .. })
    }

    /// True if the fact came with the identifier, proved or claimed.
    pub fn names(&self, identifier: &Identifier) -> bool {
        self.identifiers.contains(identifier) || self.claims.contains(identifier)
    }

    /// Everything that the row holds, also what the hub wrote there.
    pub fn held(&self) -> impl Iterator<Item = &Identifier> {
        self.identifiers.iter().chain(&self.echoes)
    }

    fn version(&self) -> (&Fact, BTreeSet<&Identifier>, &BTreeSet<Identifier>) {
        (&self.fact, self.held().collect(), &self.echoes)
    }
}

fn is_same_buyer(one: &Buyer, other: &Buyer) -> bool {
    !one.identifiers.is_disjoint(&other.identifiers) || is_same_name(&one.name, &other.name)
}

/// The buyer of the latest of these revisions. One that leaves out a kind of address of the same buyer corrects nothing.
fn corrected(earlier: &[&Buyer], latest: &Buyer) -> Buyer {
    let mut standing = latest.clone();
    for earlier in earlier.iter().rev() {
        if !earlier.identifiers.is_disjoint(&standing.identifiers) {
            let told: BTreeSet<Kind> = standing.identifiers.iter().map(Identifier::kind).collect();
            let untold = earlier.identifiers.iter().filter(|one| !told.contains(&one.kind()));
            standing.identifiers.extend(untold.cloned());
        }
        standing.name = standing.name.or_else(|| earlier.name.clone());
    }
    standing
}

fn is_same_name(one: &Option<String>, other: &Option<String>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if words(one) == words(other))
}

/// A name without case, order of words and dots on letters.
pub fn words(name: &str) -> BTreeSet<String> {
    name.to_lowercase().replace('ё', "е").split_whitespace().map(str::to_owned).collect()
}

/// The history of an order's tickets. Records that were stored without one have what their order tells.
fn tickets_of(order: Option<&Order>, kept: BTreeMap<String, TicketHistory>) -> BTreeMap<String, TicketHistory> {
    match order {
        Some(order) if kept.is_empty() => TicketHistory::of(order),
        _ => kept,
    }
}

impl Fact {
    /// What an order's shop tells of it.
    pub fn of_order(order: Order) -> Self {
        let tickets = TicketHistory::of(&order);
        Fact::Order { order: Some(order), refunds: BTreeMap::new(), payments: BTreeMap::new(), tickets }
    }

    /// What somebody else than the shop tells of an order: refunds and payments by their ids.
    pub fn of_money(refunds: BTreeMap<String, Refund>, payments: BTreeMap<String, Payment>) -> Self {
        Fact::Order { order: None, refunds, payments, tickets: BTreeMap::new() }
    }

    /// The tickets of an order that were cancelled before they were paid for, with the earliest revision that says so.
    pub fn never_paid(&self) -> BTreeMap<String, Timestamp> {
        let Fact::Order { order, tickets, .. } = self else { return BTreeMap::new() };
        let tickets = tickets_of(order.as_ref(), tickets.clone()).into_iter();
        let unpaid = tickets.filter(|(_, history)| history.was_never_paid());
        unpaid.filter_map(|(id, history)| Some((id, history.cancelled_at?))).collect()
    }

    fn join(self, other: Self) -> Self {
        match (self, other) {
            (
                Fact::Order { order: a, refunds: x, payments: p, tickets: s },
                Fact::Order { order: b, refunds: y, payments: q, tickets: t },
            ) => {
                let mut tickets = tickets_of(a.as_ref(), s);
                for (id, history) in tickets_of(b.as_ref(), t) {
                    tickets.entry(id).or_default().join(&history);
                }
                let order = match (a, b) {
                    (Some(a), Some(b)) => Some(a.join(b)),
                    (a, b) => a.or(b),
                };
                let mut refunds = x;
                for (id, refund) in y {
                    let known = refunds.entry(id).or_insert_with(|| refund.clone());
                    if refund > *known {
                        *known = refund;
                    }
                }
                let mut payments = p;
                for (id, payment) in q {
                    let known = payments.entry(id).or_insert_with(|| payment.clone());
                    if payment > *known {
                        *known = payment;
                    }
                }
                Fact::Order { order, refunds, payments, tickets }
            }
            (Fact::Conversation(a), Fact::Conversation(b)) => Fact::Conversation(Box::new(a.join(*b))),
            (Fact::MailMessage(a), Fact::MailMessage(b)) => Fact::MailMessage(a.join(b)),
            (Fact::Link(a), Fact::Link(b)) => Fact::Link(a.join(b)),
            // A code is issued once: of two tellings the earlier.
            (Fact::Promo(a), Fact::Promo(b)) if a.issued_at != b.issued_at => {
                Fact::Promo(if a.issued_at < b.issued_at { a } else { b })
            }
            (a @ Fact::CrmLead { .. }, b @ Fact::CrmLead { .. }) => {
                if row_state::is_later((&a, &()), (&b, &())) {
                    row_state::later(a, &b)
                } else {
                    row_state::later(b, &a)
                }
            }
            (a, b) => a.max(b),
        }
    }

    /// Money that moved for the order.
    pub fn payments(&self) -> impl Iterator<Item = (&String, &Payment)> {
        let payments = if let Fact::Order { payments, .. } = self { Some(payments) } else { None };
        payments.into_iter().flatten()
    }

    /// The order with every refund known of it.
    pub fn order(&self) -> Option<Cow<'_, Order>> {
        let Fact::Order { order: Some(order), refunds, .. } = self else { return None };
        if refunds.keys().all(|id| order.refunds.contains_key(id)) {
            return Some(Cow::Borrowed(order));
        }
        let mut whole = order.clone();
        for (id, refund) in refunds {
            whole.refunds.entry(id.clone()).or_insert_with(|| refund.clone());
        }
        Some(Cow::Owned(whole))
    }
}
