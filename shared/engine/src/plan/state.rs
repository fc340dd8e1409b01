//! What is known of a person in the CRM, and of what was last sent there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stagedoor_model::{Timestamp, breakage};

use super::{Plan, Step};
use crate::{
    Later, MailingState, NoteDraft, PersonId, ShowKey, Stage, TaskDraft, list_membership::Places, segments::Looked,
};

/// A hash of what was last sent, so that nothing is sent twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    pub fn of(value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).unwrap_or_default();
        let text = hex::encode(Sha256::digest(bytes));
        Self(text.get(..16).unwrap_or(&text).to_owned())
    }
}

/// A creating call that was not answered yet. Its row is looked up, and is made anew only when the call can have no late effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// When the call began.
    pub at: Timestamp,
    /// Until when the CRM may still carry the call out. Earlier builds wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_until: Option<Timestamp>,
    /// Phones and e-mails that the row is made with.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub values: BTreeSet<String>,
}

impl Pending {
    /// A call that begins now, in a CRM where calls take effect for so long after they were given up.
    pub fn new(now: Timestamp, late_for: SignedDuration) -> Self {
        Self { at: now, late_until: Some(now + late_for), values: BTreeSet::new() }
    }

    /// Whether the call can have no effect any more.
    pub fn is_over(&self, now: Timestamp, late_for: SignedDuration) -> bool {
        is_over(self.at, self.late_until, now, late_for)
    }
}

/// An end further away than two waits comes from a clock that was put back since.
fn is_over(at: Timestamp, until: Option<Timestamp>, now: Timestamp, late_for: SignedDuration) -> bool {
    let until = until.unwrap_or(at + late_for);
    now >= until || until > now + late_for + late_for || breakage::is_on("create-anew-at-once")
}

/// Why a row waits for a manager: the CRM refuses it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// What was refused; another content is tried again.
    pub digest: Digest,
    pub reason: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContactState {
    pub id: Option<u64>,
    #[serde(rename = "pushed")]
    pub last_sent: Option<Digest>,
    #[serde(rename = "intent")]
    pub pending: Option<Pending>,
    #[serde(rename = "parked")]
    pub rejected: Option<Rejected>,
    /// Why it, or its company, waits for the account, such as for a right that the hub's user lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Rejected>,
    /// Whether its fields of consent, letters and segments hold something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marketed: bool,
    /// The name that the hub wrote there. Earlier builds wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// Calls of joined people that began until then were looked up already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_until: Option<Timestamp>,
    /// Ids of contacts that the index has for this person.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub claimed: BTreeSet<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DealState {
    pub id: Option<u64>,
    #[serde(rename = "pushed")]
    pub last_sent: Option<Digest>,
    pub stage: Option<Stage>,
    /// The pipeline in which that stage was sent, by its name in the config. Earlier builds wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// When the last fact happened that spoke for that stage. Earlier builds wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_at: Option<Timestamp>,
    /// The hub's own stage when the deal was written last, sent or not. Earlier builds wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weighed: Option<Stage>,
    /// Stages that were sent since without an answer: the deal may stand at each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent_stages: Vec<Stage>,
    /// Its person was parted from somebody; what made it may be the other's now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_parted: bool,
    /// What was to be written when the CRM was last found to have the deal no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Digest>,
    #[serde(rename = "intent")]
    pub pending: Option<Pending>,
    #[serde(rename = "parked")]
    pub rejected: Option<Rejected>,
    /// Why it waits for the account, such as for a stage that is missing there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Rejected>,
    /// Orders that the deal was last pushed with.
    #[serde(default)]
    pub orders: BTreeSet<String>,
    /// Those of them that were paid then. Earlier builds wrote none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub paid_orders: BTreeSet<String>,
    /// Further deals that the CRM holds for the same person and show.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub doubles: BTreeSet<u64>,
    /// Doubles that were closed as such.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub closed: BTreeSet<u64>,
    /// Calls of joined people that began until then were looked up already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_until: Option<Timestamp>,
    /// Ids of deals that the index has for this person.
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
    /// Of what cannot be changed once it is made.
    pub fixed: Option<Digest>,
    /// The same of the one that was asked for last. A look that finds it says nothing of its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Digest>,
    /// How often the order's invoice was made anew because that changed.
    #[serde(default)]
    pub anew: u32,
    /// The deal that it belongs to in the CRM. Earlier builds wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deal: Option<u64>,
    /// Its contact there. A join or a parting moves the deal to another contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<u64>,
    /// Invoices of the order that another took the place of, and that are not cancelled yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub old: BTreeSet<u64>,
}

impl InvoiceState {
    /// Which invoice of its order is made next, from 0.
    #[must_use]
    pub fn turn(&self) -> u32 {
        self.anew + u32::from(self.id.is_some())
    }

    /// One that was cancelled because its lines changed; what the order gets next has another key.
    pub fn let_go(&mut self, id: u64) {
        self.old.remove(&id);
        if self.id == Some(id) {
            let (pending, old, anew) = (self.pending.take(), std::mem::take(&mut self.old), self.anew + 1);
            *self = Self { pending, old, anew, ..Self::default() };
        }
    }
}

/// What is known of a person in the CRM. Written by the reconciler alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CrmState {
    /// How often it was written. Who writes from an older one is refused: a reconciler that lost its lease while a call
    /// was under way must not undo what the next one has learnt.
    #[serde(default)]
    pub revision: u64,
    pub contact: ContactState,
    pub deals: BTreeMap<ShowKey, DealState>,
    /// Second contacts of the same person that were marked as duplicates.
    #[serde(default)]
    pub marked: BTreeSet<u64>,
    /// Contacts that the hub made for people who turned out to be this one.
    #[serde(default)]
    pub doubles: BTreeSet<u64>,
    /// Deals that are to hang on the contact once it is made anew.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unhung: BTreeSet<u64>,
    /// Contacts of those from whom the person was parted: these deals may still hang there, too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unhung_from: BTreeSet<u64>,
    /// They get a contact anew, though a manager deleted the last of theirs then: it was merged into the contact of somebody
    /// from whom they are parted since, or their deals hang on that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owed_contact: Option<Timestamp>,
    /// Why the CRM refuses to hang them there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhung_reason: Option<Rejected>,
    /// Phones and e-mails that each contact has or had, as the hub writes them. One that is gone there was taken away by a
    /// manager.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contact_values: BTreeMap<u64, BTreeSet<String>>,
    /// Phones and e-mails of the hub for which a contact had no room.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<u64, BTreeSet<String>>,
    /// Claims of theirs that the hub began to write into a contact: there they are its own word, and no manager's.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub offered: BTreeSet<String>,
    /// Former phones and e-mails of theirs that the hub takes or took out of a contact. One that is theirs again is written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cleared: BTreeMap<u64, BTreeSet<String>>,
    /// Former phones and e-mails of theirs that a manager had taken away before the hub came to it. They stay away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removed: BTreeMap<u64, BTreeSet<String>>,
    /// When the CRM was last asked whether contacts of theirs that count as deleted are there, beside one that lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_asked_at: Option<Timestamp>,
    /// Ids that rows of theirs bear and that name nobody else: of people whom the hub does not know any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub other_ids: BTreeSet<PersonId>,
    /// Marks of the lines of conversations that a note holds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub noted: BTreeSet<String>,
    /// The line that the last task was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasked: Option<(Timestamp, String)>,
    /// A note and a task that were sent and not answered; what was sent is known by its digest.
    #[serde(rename = "note_intent", default, skip_serializing_if = "Option::is_none")]
    pub pending_note: Option<PendingText>,
    #[serde(rename = "task_intent", default, skip_serializing_if = "Option::is_none")]
    pub pending_task: Option<PendingText>,
    /// By `<source>:<the shop's id of the order>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub invoices: BTreeMap<String, InvoiceState>,
    /// What the second CRM is known to hold, where there is one. Only what is about a CRM is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Box<CrmState>>,
    /// Companies of theirs that the CRM refuses, by the company's key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub companies: BTreeMap<String, Rejected>,
    /// Money that has no place in an order, by what names it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unmatched: BTreeMap<String, Rejected>,
    /// Troubles with money that a manager was told of.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub troubles: BTreeSet<String>,
    /// When an order of theirs becomes overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns_at: Option<Timestamp>,
    /// The segments that somebody is in, and since when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<String, Timestamp>,
    /// The mailing lists that somebody may be on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: Places,
    /// What they were written of the hub's own accord, by occasion.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<String, MailingState>,
    /// When the next message to them may be due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_again_at: Option<Timestamp>,
    /// What their segments were last told from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<Looked>,
    /// When they are to be looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_again_at: Option<Timestamp>,
    /// People who were joined into this one and whose own links say nothing to people any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub joined: BTreeSet<PersonId>,
    /// People who were parted from this one and whose rows are not among these any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub untangled: BTreeSet<PersonId>,
    /// What a later version stored beside that.
    #[serde(skip)]
    pub later: Later,
}

impl CrmState {
    /// When the first of the calls began that were not answered.
    pub fn unanswered_since(&self) -> Option<Timestamp> {
        let pending_calls = [&self.contact.pending].into_iter();
        let pending_calls = pending_calls.chain(self.deals.values().map(|deal| &deal.pending));
        let pending_calls = pending_calls.chain(self.invoices.values().map(|invoice| &invoice.pending));
        let pending_texts =
            [&self.pending_note, &self.pending_task].into_iter().flatten().map(|pending_text| pending_text.at);
        pending_calls.flatten().map(|pending| pending.at).chain(pending_texts).min()
    }

    /// Whether calls without an answer may still make contacts, deals or invoices.
    pub fn awaits_rows(&self) -> bool {
        let mut deals = self.deals.values();
        let mut invoices = self.invoices.values();
        let is_late = self.contact.pending.is_some()
            || deals.any(|deal| deal.pending.is_some())
            || invoices.any(|invoice| invoice.pending.is_some());
        is_late && !breakage::is_on("late-row-of-joined-unseen")
    }

    /// Until when the last of the calls that were not answered may still take effect.
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

    /// The CRM's ids of deals, by show.
    pub fn leads(&self) -> BTreeMap<String, u64> {
        self.deals.iter().filter_map(|(show, deal)| Some((show.0.clone(), deal.id?))).collect()
    }
}

/// Said before a note or a task is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingText {
    pub at: Timestamp,
    /// Until when the CRM may still carry the call out. Earlier builds wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_until: Option<Timestamp>,
    pub digest: Digest,
    /// Of a note: the lines that it holds.
    #[serde(default)]
    pub lines: BTreeSet<String>,
    /// Of a task: the line that it is about.
    #[serde(default)]
    pub about: Option<(Timestamp, String)>,
}

impl PendingText {
    pub fn of_note(note: &NoteDraft, at: Timestamp) -> Self {
        Self { at, late_until: None, digest: Digest::of(&note.text), lines: note.lines.clone(), about: None }
    }

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

    /// Whether the call can have no effect any more.
    pub fn is_over(&self, now: Timestamp, late_for: SignedDuration) -> bool {
        is_over(self.at, self.late_until, now, late_for)
    }

    /// Whether this text is what was sent.
    pub fn is(&self, text: &str) -> bool {
        self.digest == Digest::of(&text)
    }
}

impl CrmState {
    /// What waits for a manager: rows that the CRM refused, and money that has no place.
    pub fn rejected(&self) -> Vec<&Rejected> {
        self.refused().into_iter().chain(self.unmatched.values()).collect()
    }

    pub fn refused(&self) -> Vec<&Rejected> {
        let deals = self.deals.values().filter_map(|deal| deal.rejected.as_ref());
        let invoices = self.invoices.values().filter_map(|invoice| invoice.rejected.as_ref());
        let second = self.second.iter().flat_map(|second| second.refused());
        let own = self.contact.rejected.iter().chain(&self.unhung_reason).chain(deals).chain(invoices);
        own.chain(self.companies.values()).chain(second).collect()
    }

    /// Why contacts and deals wait for something in the CRM that concerns many.
    pub fn held(&self) -> Vec<&Rejected> {
        let second = self.second.iter().flat_map(|second| second.held());
        let deals = self.deals.values().filter_map(|deal| deal.held.as_ref());
        self.contact.held.iter().chain(deals).chain(second).collect()
    }

    /// Takes off why deals waited that the plan has nothing to do for any more. Returns whether there were any.
    pub fn release_held(&mut self, plan: &Plan) -> bool {
        let is_over = plan.is_empty() && self.contact.held.take().is_some();
        // Without a living contact nothing is planned, and the deals wait as before.
        if plan.contact.is_none() {
            return is_over;
        }
        let is_planned = |show: &ShowKey| {
            plan.steps.iter().any(|(step, _)| match step {
                Step::CreateDeal(draft) | Step::UpdateDeal(_, draft) | Step::CloseDouble(_, draft) => {
                    draft.show == *show
                }
                _ => false,
            })
        };
        let over = self.deals.iter_mut().filter(|(show, deal)| deal.held.is_some() && !is_planned(show));
        over.map(|(_, deal)| deal.held = None).count() > 0 || is_over
    }

    /// Takes off what is shown to people. The link of the person into whom this one was joined says it from now on.
    pub fn forget_reasons(&mut self) {
        (self.contact.rejected, self.contact.held, self.unhung_reason) = (None, None, None);
        self.deals.values_mut().for_each(|deal| (deal.rejected, deal.held) = (None, None));
        self.invoices.values_mut().for_each(|invoice| invoice.rejected = None);
        self.companies.clear();
        self.unmatched.clear();
        self.second.iter_mut().for_each(|second| second.forget_reasons());
    }

    /// Whether a note or a task was sent without an answer.
    pub fn has_remarks(&self) -> bool {
        let own = self.pending_note.is_some() || self.pending_task.is_some();
        own || self.second.as_ref().is_some_and(|second| second.has_remarks())
    }

    /// The link of the person into whom this one was joined looks for them from now on.
    pub fn forget_remarks(&mut self) {
        (self.pending_note, self.pending_task) = (None, None);
        self.second.iter_mut().for_each(|second| second.forget_remarks());
    }

    /// As it is once everything parked is to be tried again.
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

    /// Once a company of theirs is in the CRM: rows that were written without it are written with it.
    pub fn write_rows_again(&mut self) {
        self.contact.last_sent = None;
        self.deals.values_mut().for_each(|deal| deal.last_sent = None);
    }
}
