//! What a record says.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};

use crate::{
    Company, ConsentClaim, ConsentRecorded, Conversation, MailMessage, Money, Order, Payment, Promo, Refund, ShowRef,
    TicketHistory, Timestamp, TrackedLink, Verdict, breakage,
};

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

/// A form or a cart that somebody left.
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

#[expect(
    clippy::large_enum_variant,
    reason = "most stored facts are orders, and a box would cost each of them an allocation"
)]
/// What a record says, by its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    #[serde(rename = "touch")]
    Submission(Submission),
    Order {
        order: Option<Order>,
        /// Refunds told apart from the order.
        refunds: BTreeMap<String, Refund>,
        /// Payments for the order, by the provider's id of the payment.
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

    pub(crate) fn join(self, other: Self) -> Self {
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
                if is_later((&a, &()), (&b, &())) {
                    later(a, &b)
                } else {
                    later(b, &a)
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

/// The history of an order's tickets. Records that were stored without one have what their order tells.
fn tickets_of(order: Option<&Order>, kept: BTreeMap<String, TicketHistory>) -> BTreeMap<String, TicketHistory> {
    match order {
        Some(order) if kept.is_empty() => TicketHistory::of(order),
        _ => kept,
    }
}

/// When a row was changed, when it was found to be there again, and whether it is deleted.
fn times(fact: &Fact) -> Option<(Timestamp, Option<Timestamp>, bool)> {
    match fact {
        Fact::CrmContact { changed_at, restored_at, deleted, .. }
        | Fact::CrmLead { changed_at, restored_at, deleted, .. } => Some((*changed_at, *restored_at, *deleted)),
        _ => None,
    }
}

/// Whether the first of two states stands against the other. A restored row stands against an earlier deletion; what stands in
/// it is as old as its last change, however late the CRM tells of the restore. `tie` decides between states of one instant.
pub(crate) fn is_later<T: Ord>(one: (&Fact, &T), other: (&Fact, &T)) -> bool {
    let rank = |fact: &Fact, is_deletion: bool| {
        let (changed_at, restored_at, deleted) = times(fact)?;
        let is_there_since = restored_at.map_or(changed_at, |restored| restored.max(changed_at));
        if is_deletion || breakage::is_on("late-restore-is-news") {
            return Some((is_there_since, deleted, false));
        }
        // A restore keeps the time of the last change: a manager's move of that time does not outlive it.
        let is_restored = restored_at.is_some() && matches!(fact, Fact::CrmLead { .. });
        Some((changed_at, deleted, is_restored))
    };
    let is_deletion = [one.0, other.0].into_iter().any(|fact| times(fact).is_some_and(|(.., deleted)| deleted));
    (rank(one.0, is_deletion), one.0, one.1) >= (rank(other.0, is_deletion), other.0, other.1)
}

/// The later state. It is there since the later of the two says so.
pub(crate) fn later(mut late: Fact, early: &Fact) -> Fact {
    let known = times(early).and_then(|(_, restored_at, _)| restored_at);
    match &mut late {
        Fact::CrmContact { restored_at, deleted: false, .. } | Fact::CrmLead { restored_at, deleted: false, .. } => {
            *restored_at = known.max(*restored_at);
        }
        _ => {}
    }
    late
}
