use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Fact, Identifier, Kind, RecordKey, SourceName, Timestamp, fact};

/// Claims that a fact keeps. A chat may name any number of phones; its lines hold them all.
const CLAIMS: usize = 16;
/// How many values that are gone from a row are remembered.
const STOOD: usize = 64;

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
                let is_late = fact::is_later((&self.fact, &self.version()), (&other.fact, &other.version()));
                let (late, early) = if is_late { (self, other) } else { (other, self) };
                let is_address = |one: &&Identifier| matches!(one.kind(), Kind::Phone | Kind::Email);
                let mut stood: BTreeSet<Identifier> = early.held().filter(is_address).cloned().collect();
                stood.extend(late.stood.iter().chain(&early.stood).cloned());
                stood.retain(|one| !late.identifiers.contains(one) && !late.echoes.contains(one));
                while stood.len() > STOOD {
                    stood.pop_last();
                }
                Self { fact: fact::later(late.fact.clone(), &early.fact), name, stood, ..late }
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
