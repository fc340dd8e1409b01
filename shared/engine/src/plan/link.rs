//! What is known of a person in the CRM, and of what was last sent there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stagedoor_model::Timestamp;

use crate::{NoteDraft, ShowKey, Stage, TaskDraft, Written, enrolment::Places, segments::Looked};

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

/// Said before a creating call. One without an answer is looked up before anything is created again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub at: Timestamp,
}

/// Why a row waits for a manager: the CRM refuses it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// What was refused; another content is tried again.
    pub digest: Digest,
    pub reason: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContactLink {
    pub id: Option<u64>,
    pub pushed: Option<Digest>,
    pub intent: Option<Intent>,
    pub parked: Option<Parked>,
    /// Whether its fields of consent, letters and segments hold something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marketed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DealLink {
    pub id: Option<u64>,
    pub pushed: Option<Digest>,
    pub stage: Option<Stage>,
    pub intent: Option<Intent>,
    pub parked: Option<Parked>,
    /// Orders that the deal was last pushed with.
    #[serde(default)]
    pub orders: BTreeSet<String>,
}

/// An invoice in the CRM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InvoiceLink {
    pub id: Option<u64>,
    pub pushed: Option<Digest>,
    pub intent: Option<Intent>,
    pub parked: Option<Parked>,
    /// Of what cannot be changed once it is made.
    pub fixed: Option<Digest>,
    /// How often the order's invoice was made anew because that changed.
    #[serde(default)]
    pub anew: u32,
}

/// What is known of a person in the CRM. Written by the reconciler alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Link {
    /// How often it was written. Who writes from an older one is refused: a reconciler that lost its lease while a call
    /// was under way must not undo what the next one has learnt.
    #[serde(default)]
    pub revision: u64,
    pub contact: ContactLink,
    pub deals: BTreeMap<ShowKey, DealLink>,
    /// Second contacts of the same person that were marked as duplicates.
    #[serde(default)]
    pub marked: BTreeSet<u64>,
    /// Contacts that the hub made for people who turned out to be this one.
    #[serde(default)]
    pub doubles: BTreeSet<u64>,
    /// Marks of the lines of conversations that a note holds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub noted: BTreeSet<String>,
    /// The line that the last task was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasked: Option<(Timestamp, String)>,
    /// A note and a task that were sent and not answered; what was sent is known by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note_intent: Option<Remark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_intent: Option<Remark>,
    /// By `<source>:<the shop's id of the order>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub invoices: BTreeMap<String, InvoiceLink>,
    /// What the second CRM is known to hold, where there is one. Only what is about a CRM is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Box<Link>>,
    /// Companies of theirs that the CRM refuses, by the company's key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub companies: BTreeMap<String, Parked>,
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
    pub written: BTreeMap<String, Written>,
    /// When the next message to them may be due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_again_at: Option<Timestamp>,
    /// What their segments were last told from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<Looked>,
    /// When they are to be looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_again_at: Option<Timestamp>,
}

impl Link {
    /// The CRM's ids of deals, by show.
    pub fn leads(&self) -> BTreeMap<String, u64> {
        self.deals.iter().filter_map(|(show, deal)| Some((show.0.clone(), deal.id?))).collect()
    }
}

/// Said before a note or a task is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    pub at: Timestamp,
    pub digest: Digest,
    /// Of a note: the lines that it holds.
    #[serde(default)]
    pub lines: BTreeSet<String>,
    /// Of a task: the line that it is about.
    #[serde(default)]
    pub about: Option<(Timestamp, String)>,
}

impl Remark {
    pub fn of_note(note: &NoteDraft, at: Timestamp) -> Self {
        Self { at, digest: Digest::of(&note.text), lines: note.lines.clone(), about: None }
    }

    pub fn of_task(task: &TaskDraft, at: Timestamp) -> Self {
        let about = task.trouble.is_none().then(|| task.about.clone());
        Self { at, digest: Digest::of(&task.text), lines: task.trouble.iter().cloned().collect(), about }
    }

    /// Whether this text is what was sent.
    pub fn is(&self, text: &str) -> bool {
        self.digest == Digest::of(&text)
    }
}

impl Link {
    /// What two joined people had in the CRM, the elder's first.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.doubles.extend(other.doubles);
        match (self.contact.id, other.contact.id) {
            (Some(known), Some(second)) if known != second => _ = self.doubles.insert(second),
            (None, _) if other.contact != ContactLink::default() => self.contact = other.contact,
            _ => {}
        }
        self.second = match (self.second, other.second) {
            (Some(own), Some(other)) => Some(Box::new(own.join(*other))),
            (own, other) => own.or(other),
        };
        self.companies.extend(other.companies);
        self.troubles.extend(other.troubles);
        for (key, invoice) in other.invoices {
            let known = self.invoices.entry(key).or_default();
            if known.id.is_none() {
                *known = invoice;
            }
        }
        for (show, deal) in other.deals {
            let known = self.deals.entry(show).or_default();
            if known.id.is_none() {
                *known = deal;
            }
        }
        self.marked.extend(other.marked);
        self.noted.extend(other.noted);
        self.tasked = self.tasked.max(other.tasked);
        self.note_intent = self.note_intent.or(other.note_intent);
        self.task_intent = self.task_intent.or(other.task_intent);
        for (list, places) in other.lists {
            let known = self.lists.entry(list).or_default();
            for (address, place) in places {
                let place = known.get(&address).map_or(place.clone(), |known| known.clone().min(place));
                known.insert(address, place);
            }
        }
        for (key, written) in other.written {
            let both = match self.written.remove(&key) {
                Some(known) => known.join(written),
                None => written,
            };
            self.written.insert(key, both);
        }
        // Together they are somebody else than each was.
        (self.looked, self.write_again_at) = (None, None);
        for (segment, since) in other.segments {
            let known = self.segments.entry(segment).or_insert(since);
            *known = since.min(*known);
        }
        self
    }

    pub fn parked(&self) -> Vec<&Parked> {
        let deals = self.deals.values().filter_map(|deal| deal.parked.as_ref());
        let invoices = self.invoices.values().filter_map(|invoice| invoice.parked.as_ref());
        let second = self.second.iter().flat_map(|second| second.parked());
        self.contact.parked.iter().chain(deals).chain(invoices).chain(self.companies.values()).chain(second).collect()
    }

    /// As it is once everything parked is to be tried again.
    #[must_use]
    pub fn unparked(mut self) -> Self {
        self.contact.parked = None;
        self.deals.values_mut().for_each(|deal| deal.parked = None);
        self.invoices.values_mut().for_each(|invoice| invoice.parked = None);
        if !std::mem::take(&mut self.companies).is_empty() {
            self.write_rows_again();
        }
        self.second = self.second.map(|second| Box::new(second.unparked()));
        self
    }

    /// Once a company of theirs is in the CRM: rows that were written without it are written with it.
    pub fn write_rows_again(&mut self) {
        self.contact.pushed = None;
        self.deals.values_mut().for_each(|deal| deal.pushed = None);
    }
}
