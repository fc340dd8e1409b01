use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Company, ConsentClaim, ConsentRecorded, Identifier, Letter, Money, Order, Payment, Promo, Refund, ShowRef,
    SourceName, Talk, Timestamp, TrackedLink,
};

/// A step of the ladder that a deal climbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// Latest name with the time it was given.
    pub name: Option<(Timestamp, String)>,
    pub fact: Fact,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    Touch(Touch),
    Order {
        order: Option<Order>,
        /// Refunds told apart from the order.
        refunds: BTreeMap<String, Refund>,
        /// Money that moved for it, by whoever moved it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        payments: BTreeMap<String, Payment>,
    },
    /// The mirror of a CRM contact; of two states the later wins.
    CrmContact {
        changed_at: Timestamp,
        contact: u64,
        deleted: bool,
        phones: Vec<String>,
        emails: Vec<String>,
    },
    /// The mirror of a CRM deal that somebody moved by hand.
    CrmLead {
        changed_at: Timestamp,
        lead: u64,
        deleted: bool,
        pipeline: Option<u64>,
        status: Option<u64>,
        by: Option<u64>,
    },
    Talk(Box<Talk>),
    Link(TrackedLink),
    Promo(Promo),
    Letter(Letter),
    Consent(ConsentRecorded),
    /// Whether somebody is on a source's lists; of two states the later wins.
    Membership {
        changed_at: Timestamp,
        lists: BTreeSet<String>,
        member: bool,
    },
    /// They told another address.
    Moved,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Touch {
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
}

impl Record {
    /// Two tellings of one fact become one: associative, commutative, idempotent.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let mirror = matches!(self.fact, Fact::CrmContact { .. });
        let identifiers = if mirror {
            // A manager who takes a phone away from a contact means it: the later state's identifiers stand alone.
            if self.version() >= other.version() { self.identifiers } else { other.identifiers }
        } else {
            self.identifiers.into_iter().chain(other.identifiers).collect()
        };
        Self {
            key: self.key,
            source: self.source.min(other.source),
            at: self.at.min(other.at),
            identifiers,
            name: self.name.max(other.name),
            fact: self.fact.join(other.fact),
        }
    }

    fn version(&self) -> (&Fact, &BTreeSet<Identifier>) {
        (&self.fact, &self.identifiers)
    }
}

impl Fact {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Fact::Order { order: a, refunds: x, payments: p }, Fact::Order { order: b, refunds: y, payments: q }) => {
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
                Fact::Order { order, refunds, payments }
            }
            (Fact::Talk(a), Fact::Talk(b)) => Fact::Talk(Box::new(a.join(*b))),
            (Fact::Letter(a), Fact::Letter(b)) => Fact::Letter(a.join(b)),
            (Fact::Link(a), Fact::Link(b)) => Fact::Link(a.join(b)),
            // A code is issued once: of two tellings the earlier.
            (Fact::Promo(a), Fact::Promo(b)) if a.issued_at != b.issued_at => {
                Fact::Promo(if a.issued_at < b.issued_at { a } else { b })
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
    pub fn order(&self) -> Option<Order> {
        let Fact::Order { order: Some(order), refunds, .. } = self else { return None };
        let mut whole = order.clone();
        for (id, refund) in refunds {
            whole.refunds.entry(id.clone()).or_insert_with(|| refund.clone());
        }
        Some(whole)
    }
}
