//! What the hub knows of a person's rows in the CRM, and what it last sent there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stagedoor_model::{Timestamp, breakage};

use crate::{
    Later, MailingState, NoteDraft, PersonId, ShowKey, Stage, TaskDraft, list_place::Places, segments::Looked,
};

/// A hash of what was last sent, so that nothing is sent twice. It has 16 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// Hashes the JSON form of a value.
    pub fn of(value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).unwrap_or_default();
        let text = hex::encode(Sha256::digest(bytes));
        Self(text.get(..16).unwrap_or(&text).to_owned())
    }
}

/// A create call without an answer yet. The hub looks its row up, and creates it again only when the call can have no
/// late effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// When the call began.
    pub at: Timestamp,
    /// Until when the CRM may still carry out the call. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_until: Option<Timestamp>,
    /// Phones and e-mails of the new row.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub values: BTreeSet<String>,
    /// The name of a new contact. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// True if a new contact's fields of consent, e-mails and segments hold something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marketed: bool,
    /// The orders that a new deal shows. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub orders: BTreeSet<String>,
    /// The orders that it shows as paid.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub paid_orders: BTreeSet<String>,
}

impl Pending {
    /// Creates the state of a call that begins now. `late_for`: how long an abandoned call can take effect in this
    /// CRM.
    pub fn new(now: Timestamp, late_for: SignedDuration) -> Self {
        Self { late_until: Some(now + late_for), ..Self::since(now) }
    }

    /// Creates the state of a call that began at `at`, of which nothing else is known.
    pub fn since(at: Timestamp) -> Self {
        let (values, orders, paid_orders) = Default::default();
        Self { at, late_until: None, values, named: None, marketed: false, orders, paid_orders }
    }

    /// Returns true if the call can have no effect any more.
    pub fn is_over(&self, now: Timestamp, late_for: SignedDuration) -> bool {
        is_over(self.at, self.late_until, now, late_for)
    }
}

/// Returns true if the wait is over. An end further away than two waits comes from a clock that was put back since.
fn is_over(at: Timestamp, until: Option<Timestamp>, now: Timestamp, late_for: SignedDuration) -> bool {
    let until = until.unwrap_or(at + late_for);
    now >= until || until > now + late_for + late_for || breakage::is_on("create-anew-at-once")
}

/// A row that waits for a manager, because the CRM refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The digest of the refused content. Other content is sent.
    pub digest: Digest,
    pub reason: String,
    pub at: Timestamp,
}

/// A contact in the CRM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContactState {
    pub id: Option<u64>,
    #[serde(rename = "pushed")]
    pub last_sent: Option<Digest>,
    #[serde(rename = "intent")]
    pub pending: Option<Pending>,
    #[serde(rename = "parked")]
    pub rejected: Option<Rejected>,
    /// Why the contact or its company waits for the account, for example because the hub's user lost a right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Rejected>,
    /// True if its fields of consent, e-mails and segments hold something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marketed: bool,
    /// The name that the hub wrote there. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// Calls of joined people that began until this time were looked up already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_until: Option<Timestamp>,
    /// Ids of contacts that the identity index has for this person.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub claimed: BTreeSet<u64>,
}

/// A deal in the CRM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DealState {
    pub id: Option<u64>,
    #[serde(rename = "pushed")]
    pub last_sent: Option<Digest>,
    /// The stage that was last sent.
    pub stage: Option<Stage>,
    /// The pipeline of that stage, by its name in the config. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// When the last fact happened that spoke for that stage. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_at: Option<Timestamp>,
    /// The hub's own stage when the deal was last written, sent or not. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weighed: Option<Stage>,
    /// Stages that were sent since then without an answer. The deal may stand at any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent_stages: Vec<Stage>,
    /// True if its person was parted from another, to whom the facts behind this deal may belong now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_parted: bool,
    /// The digest that was to be written when the CRM last reported the deal as deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Digest>,
    #[serde(rename = "intent")]
    pub pending: Option<Pending>,
    #[serde(rename = "parked")]
    pub rejected: Option<Rejected>,
    /// Why the deal waits for the account, for example because a stage is missing there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Rejected>,
    /// Orders with which the deal was last sent.
    #[serde(default)]
    pub orders: BTreeSet<String>,
    /// Orders among them that were paid then. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub paid_orders: BTreeSet<String>,
    /// Further deals in the CRM for the same person and show.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub doubles: BTreeSet<u64>,
    /// Doubles that the hub closed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub closed: BTreeSet<u64>,
    /// Calls of joined people that began until this time were looked up already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_until: Option<Timestamp>,
    /// Ids of deals that the identity index has for this person.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub claimed: BTreeSet<u64>,
}

/// An invoice in the CRM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InvoiceState {
    pub id: Option<u64>,
    #[serde(rename = "pushed")]
    pub last_sent: Option<Digest>,
    #[serde(rename = "intent")]
    pub pending: Option<Pending>,
    #[serde(rename = "parked")]
    pub rejected: Option<Rejected>,
    /// The digest of what cannot change once the invoice exists.
    pub fixed: Option<Digest>,
    /// The same digest of the last create call. A lookup that finds the invoice does not tell its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Digest>,
    /// How often the order's invoice was created anew because that digest changed.
    #[serde(default)]
    pub anew: u32,
    /// Its deal in the CRM. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deal: Option<u64>,
    /// Its contact in the CRM. A join or a parting moves the deal to another contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<u64>,
    /// Invoices of the order that were replaced and are not cancelled yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub old: BTreeSet<u64>,
}

impl InvoiceState {
    /// Returns the number of the order's next invoice, from 0.
    #[must_use]
    pub fn turn(&self) -> u32 {
        self.anew + u32::from(self.id.is_some())
    }

    /// Forgets an invoice that was cancelled because its lines changed. The order's next invoice has another key.
    pub fn let_go(&mut self, id: u64) {
        self.old.remove(&id);
        if self.id == Some(id) {
            let (pending, old, anew) = (self.pending.take(), std::mem::take(&mut self.old), self.anew + 1);
            *self = Self { pending, old, anew, ..Self::default() };
        }
    }
}

/// What the hub knows of a person's rows in the CRM. Only the reconciler writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CrmState {
    /// How often the state was written. A write that starts from an older revision is refused. A reconciler that lost
    /// its lease during a call must not overwrite what the next one stored.
    #[serde(default)]
    pub revision: u64,
    pub contact: ContactState,
    pub deals: BTreeMap<ShowKey, DealState>,
    /// Second contacts of the same person that were marked as duplicates.
    #[serde(default)]
    pub marked: BTreeSet<u64>,
    /// Contacts that the hub made for people who were joined into this one.
    #[serde(default)]
    pub doubles: BTreeSet<u64>,
    /// Deals that the hub must attach to the contact once the contact is created anew.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unhung: BTreeSet<u64>,
    /// Contacts of people from whom this person was parted. The same deals may still hang there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unhung_from: BTreeSet<u64>,
    /// When a contact was deleted that the hub must replace, although a manager deleted it. The contact was merged
    /// into one of a person who is parted now, or the deals hang on that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owed_contact: Option<Timestamp>,
    /// Why the CRM refuses to attach those deals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhung_reason: Option<Rejected>,
    /// Phones and e-mails that each contact has or had, by the contact's id. A value that is missing in the CRM was
    /// removed by a manager.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contact_values: BTreeMap<u64, BTreeSet<String>>,
    /// Phones and e-mails for which a contact had no room.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<u64, BTreeSet<String>>,
    /// Claims that the hub began to write into a contact. There they are the hub's own values, not a manager's.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub offered: BTreeSet<String>,
    /// Former phones and e-mails that the hub removes or removed from a contact. If one is theirs again, it is
    /// written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cleared: BTreeMap<u64, BTreeSet<String>>,
    /// Former phones and e-mails that a manager removed before the hub did. They stay away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removed: BTreeMap<u64, BTreeSet<String>>,
    /// When the hub last asked the CRM whether contacts that count as deleted exist, beside one that lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_asked_at: Option<Timestamp>,
    /// Ids of unknown people that rows of this person bear, and that name no other person.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub other_ids: BTreeSet<PersonId>,
    /// Marks of the conversation lines that notes hold.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub noted: BTreeSet<String>,
    /// The conversation line of the last task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasked: Option<(Timestamp, String)>,
    /// A note that was sent and is not answered, known by its digest.
    #[serde(rename = "note_intent", default, skip_serializing_if = "Option::is_none")]
    pub pending_note: Option<PendingText>,
    /// A task that was sent and is not answered.
    #[serde(rename = "task_intent", default, skip_serializing_if = "Option::is_none")]
    pub pending_task: Option<PendingText>,
    /// Invoices by `<source>:<the shop's id of the order>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub invoices: BTreeMap<String, InvoiceState>,
    /// The state of the second CRM, if there is one. It holds only fields about a CRM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Box<CrmState>>,
    /// Companies of this person that the CRM refuses, by the company's key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub companies: BTreeMap<String, Rejected>,
    /// Money that has no place in an order, by the key of the trouble.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unmatched: BTreeMap<String, Rejected>,
    /// Keys of the troubles with money that a manager was told of.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub troubles: BTreeSet<String>,
    /// When the plan next changes without an event, for example because an order becomes overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns_at: Option<Timestamp>,
    /// The segments that the person is in, and since when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<String, Timestamp>,
    /// The mailing lists that the person may be on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: Places,
    /// What the mailings sent to the person, by occasion.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<String, MailingState>,
    /// When the next message may be due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_again_at: Option<Timestamp>,
    /// The input of the last evaluation of the segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<Looked>,
    /// When the person must be evaluated again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_again_at: Option<Timestamp>,
    /// People who were joined into this one, and whose own states no longer show reasons to people.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub joined: BTreeSet<PersonId>,
    /// People who were parted from this one, and whose rows are no longer among these.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub untangled: BTreeSet<PersonId>,
    /// Fields that a later version stored.
    #[serde(skip)]
    pub later: Later,
}

impl CrmState {
    /// Returns when the first unanswered call began.
    pub fn unanswered_since(&self) -> Option<Timestamp> {
        let pending_calls = [&self.contact.pending].into_iter();
        let pending_calls = pending_calls.chain(self.deals.values().map(|deal| &deal.pending));
        let pending_calls = pending_calls.chain(self.invoices.values().map(|invoice| &invoice.pending));
        let pending_texts =
            [&self.pending_note, &self.pending_task].into_iter().flatten().map(|pending_text| pending_text.at);
        pending_calls.flatten().map(|pending| pending.at).chain(pending_texts).min()
    }

    /// Returns true if unanswered calls may still create contacts, deals or invoices.
    pub fn awaits_rows(&self) -> bool {
        let mut deals = self.deals.values();
        let mut invoices = self.invoices.values();
        let is_late = self.contact.pending.is_some()
            || deals.any(|deal| deal.pending.is_some())
            || invoices.any(|invoice| invoice.pending.is_some());
        is_late && !breakage::is_on("late-row-of-joined-unseen")
    }

    /// Returns until when the last unanswered call may take effect.
    pub fn late_until(&self) -> Option<Timestamp> {
        let pending_calls = [&self.contact.pending].into_iter();
        let pending_calls = pending_calls.chain(self.deals.values().map(|deal| &deal.pending));
        let pending_calls = pending_calls.chain(self.invoices.values().map(|invoice| &invoice.pending));
        let pending_texts = [&self.pending_note, &self.pending_task]
            .into_iter()
            .flatten()
            .filter_map(|pending_text| pending_text.late_until);
        pending_calls.flatten().filter_map(|pending| pending.late_until).chain(pending_texts).max()
    }

    /// Returns the CRM's ids of deals, by show.
    pub fn leads(&self) -> BTreeMap<String, u64> {
        self.deals.iter().filter_map(|(show, deal)| Some((show.0.clone(), deal.id?))).collect()
    }
}

/// A note or a task that the hub is about to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingText {
    pub at: Timestamp,
    /// Until when the CRM may still carry out the call. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_until: Option<Timestamp>,
    pub digest: Digest,
    /// For a note: marks of its lines. For a task about trouble with money: the key of the trouble.
    #[serde(default)]
    pub lines: BTreeSet<String>,
    /// For a task about a conversation: the line that it is about.
    #[serde(default)]
    pub about: Option<(Timestamp, String)>,
}

impl PendingText {
    /// Creates the state of a note that is about to be written at `at`.
    pub fn of_note(note: &NoteDraft, at: Timestamp) -> Self {
        Self { at, late_until: None, digest: Digest::of(&note.text), lines: note.lines.clone(), about: None }
    }

    /// Creates the state of a task that is about to be written at `at`.
    pub fn of_task(task: &TaskDraft, at: Timestamp) -> Self {
        let about = task.trouble.is_none().then(|| task.about.clone());
        Self {
            at,
            late_until: None,
            digest: Digest::of(&task.text),
            lines: task.trouble.iter().cloned().collect(),
            about,
        }
    }

    /// Returns true if the call can have no effect any more.
    pub fn is_over(&self, now: Timestamp, late_for: SignedDuration) -> bool {
        is_over(self.at, self.late_until, now, late_for)
    }

    /// Returns true if this text is what was sent.
    pub fn is(&self, text: &str) -> bool {
        self.digest == Digest::of(&text)
    }
}

impl CrmState {
    /// Returns what waits for a manager: rows that the CRM refused, and money without a place.
    pub fn rejected(&self) -> Vec<&Rejected> {
        self.refused().into_iter().chain(self.unmatched.values()).collect()
    }

    /// Returns the rows that the CRM refused, of both CRMs.
    pub fn refused(&self) -> Vec<&Rejected> {
        let deals = self.deals.values().filter_map(|deal| deal.rejected.as_ref());
        let invoices = self.invoices.values().filter_map(|invoice| invoice.rejected.as_ref());
        let second = self.second.iter().flat_map(|second| second.refused());
        let own = self.contact.rejected.iter().chain(&self.unhung_reason).chain(deals).chain(invoices);
        own.chain(self.companies.values()).chain(second).collect()
    }

    /// Returns why contacts and deals wait for something in the CRM that concerns many rows.
    pub fn held(&self) -> Vec<&Rejected> {
        let second = self.second.iter().flat_map(|second| second.held());
        let deals = self.deals.values().filter_map(|deal| deal.held.as_ref());
        self.contact.held.iter().chain(deals).chain(second).collect()
    }

    /// Clears what is shown to people. The state of the person into whom this one was joined shows it from now on.
    pub fn forget_reasons(&mut self) {
        (self.contact.rejected, self.contact.held, self.unhung_reason) = (None, None, None);
        self.deals.values_mut().for_each(|deal| (deal.rejected, deal.held) = (None, None));
        self.invoices.values_mut().for_each(|invoice| invoice.rejected = None);
        self.companies.clear();
        self.unmatched.clear();
        self.second.iter_mut().for_each(|second| second.forget_reasons());
    }

    /// Returns true if a note or a task was sent without an answer.
    pub fn has_remarks(&self) -> bool {
        let own = self.pending_note.is_some() || self.pending_task.is_some();
        own || self.second.as_ref().is_some_and(|second| second.has_remarks())
    }

    /// Forgets pending notes and tasks. The state of the person into whom this one was joined keeps looking for them.
    pub fn forget_remarks(&mut self) {
        (self.pending_note, self.pending_task) = (None, None);
        self.second.iter_mut().for_each(|second| second.forget_remarks());
    }

    /// Returns the state after a command to retry all rejected rows.
    #[must_use]
    pub fn unparked(mut self) -> Self {
        (self.contact.rejected, self.unhung_reason) = (None, None);
        self.deals.values_mut().for_each(|deal| deal.rejected = None);
        self.invoices.values_mut().for_each(|invoice| invoice.rejected = None);
        if !std::mem::take(&mut self.companies).is_empty() {
            self.write_rows_again();
        }
        self.second = self.second.map(|second| Box::new(second.unparked()));
        self
    }

    /// Makes contact and deals be written again, for example with a company that is in the CRM now.
    pub fn write_rows_again(&mut self) {
        self.contact.last_sent = None;
        self.deals.values_mut().for_each(|deal| deal.last_sent = None);
    }
}
