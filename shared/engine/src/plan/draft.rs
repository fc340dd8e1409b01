//! What the CRM should hold: rows to be written, and the steps that write them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_model::Timestamp;

use crate::{
    Chats, CompanyDraft, Digest, InvoiceDraft, Marketing, NoteDraft, Payments, PersonId, ShowKey, Stage, StageGuard,
    TaskDraft,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactDraft {
    pub person: PersonId,
    /// For contacts that we create, and for those that were made before anybody told a name; any other name in the CRM
    /// belongs to the manager.
    pub name: Option<String>,
    /// Values that the contact never had, and is to get. Nothing that stands there is taken away.
    pub phones: Vec<String>,
    pub emails: Vec<String>,
    pub telegram: Option<String>,
    /// Tags that it should bear, and those of ours that it should not; others are a manager's.
    pub tags: Vec<String>,
    pub untagged: Vec<String>,
    pub chats: Option<Chats>,
    pub marketing: Option<Marketing>,
    /// The company that they are a contact of.
    pub company: Option<CompanyRef>,
    /// Other ids that the row may bear: of people who were joined into this one, or whom the hub does not know any more.
    #[serde(skip)]
    pub other_ids: BTreeSet<PersonId>,
}

impl ContactDraft {
    /// What of it is compared with what was last sent. Phones and e-mails are remembered one by one, and the name that a
    /// contact was `made` with is its manager's from then on.
    pub fn settled(&self, made: bool) -> Digest {
        let name = self.name.as_ref().filter(|_| !made);
        let company = self.company.as_ref().map(|company| &company.key);
        Digest::of(&(2, &self.telegram, name, &self.chats, &self.marketing, &self.tags, company))
    }
}

/// A company by its key, and by its id in the CRM once that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyRef {
    pub key: String,
    #[serde(skip)]
    pub id: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealDraft {
    pub person: PersonId,
    pub show: ShowKey,
    pub name: String,
    pub pipeline: String,
    /// `None`: leave the stage as the manager has it.
    pub stage: Option<(Stage, String)>,
    /// In whole major units.
    pub price: Option<i64>,
    /// Minor units beyond the whole ones, for a CRM that holds them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fraction: i64,
    pub city: Option<String>,
    pub starts_at: Option<Timestamp>,
    pub show_cancelled: bool,
    /// The show was called off, and is on again: what says so in the CRM is taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub show_resumed: bool,
    /// The show is postponed without a new date. The CRM loses the old one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub show_postponed: bool,
    pub orders: String,
    pub promo_codes: String,
    pub tickets: usize,
    pub refunded: i64,
    pub utm: BTreeMap<String, String>,
    /// The campaign that the sale is owed to, and by what that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Whose the collective order is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<CompanyRef>,
    /// How its orders stand with their money. What the stage says already makes no other draft.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub payment: Option<Payments>,
    /// What it is worth in other currencies than the CRM account's, in words; the price does not hold it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub other_sums: String,
    /// Fields for which it has nothing are emptied: what was written there is another deal's now, or somebody else's since
    /// two people parted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clears: bool,
    /// Other people's ids that the row may bear, as in `ContactDraft`.
    #[serde(skip)]
    pub other_ids: BTreeSet<PersonId>,
    /// What decides whether the stage may be sent, where the deal exists already.
    #[serde(skip)]
    pub guard: Option<StageGuard>,
    /// When the last fact happened that speaks for the stage.
    #[serde(skip)]
    pub stage_at: Option<Timestamp>,
    /// The hub's own stage, also where it is not to be sent.
    #[serde(skip)]
    pub weighed: Option<Stage>,
    /// Those of its orders that are paid.
    #[serde(skip)]
    pub paid_orders: BTreeSet<String>,
}

impl DealDraft {
    /// How its money stands, for people: `paid`, `paid; besides 30000.00 KZT`.
    pub fn payment_words(&self) -> Option<String> {
        let state = self.payment.map(|payment| payment.words().to_owned());
        let besides = (!self.other_sums.is_empty()).then(|| format!("besides {}", self.other_sums));
        let besides_nothing =
            if stagedoor_model::breakage::is_on("besides-nothing") { Some(String::new()) } else { None };
        let told: Vec<String> = state.or(besides_nothing).into_iter().chain(besides).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// Of what is to be sent. A refund that the stage does not say is a part of it.
    pub(super) fn digest(&self) -> Digest {
        let said = matches!(self.stage, Some((Stage::Refunded, _)));
        match self.payment {
            Some(Payments::Refunded) if !said => Digest::of(&(self, Payments::Refunded)),
            _ => Digest::of(self),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    CreateContact(ContactDraft),
    UpdateContact(u64, ContactDraft),
    /// The contact's id is known or comes from this plan's `CreateContact`.
    CreateDeal(DealDraft),
    UpdateDeal(u64, DealDraft),
    /// A further deal of the same person and show: worth nothing, lost, and it names the one that counts.
    CloseDouble(u64, DealDraft),
    /// The contact's and the deal's ids are known or come from this plan.
    CreateInvoice(InvoiceDraft, Digest),
    UpdateInvoice(u64, InvoiceDraft),
    /// An invoice whose order got another.
    CancelInvoice(u64, InvoiceDraft),
    /// A second contact of the same person: tag it, name the first.
    MarkDuplicate {
        contact: u64,
        of: u64,
    },
}

/// A deal that counts as deleted, and that would be written otherwise if it were there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubted {
    pub show: ShowKey,
    pub deal: u64,
    pub deleted_at: Timestamp,
    /// Of what would be written.
    pub digest: Digest,
}

#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub steps: Vec<(Step, Digest)>,
    /// The contact to which deals belong, when the CRM has it already.
    pub contact: Option<u64>,
    /// Companies that contacts, deals and invoices of this plan point at.
    pub companies: Vec<CompanyDraft>,
    /// What was said in chats and no note holds yet.
    pub note: Option<NoteDraft>,
    pub task: Option<TaskDraft>,
    /// Whether another task waits for this one.
    pub more: bool,
    /// Deals that may have been restored.
    pub doubted: Vec<Doubted>,
    /// Lines that chats no longer hold need not be remembered as noted.
    pub marks: BTreeSet<String>,
}

impl Plan {
    /// Things to do.
    pub fn len(&self) -> usize {
        self.steps.len() + usize::from(self.note.is_some()) + usize::from(self.task.is_some()) + usize::from(self.more)
    }

    /// Shows for which a deal is made.
    pub(super) fn makes_deals(&self) -> BTreeSet<ShowKey> {
        let made = self.steps.iter().filter_map(|(step, _)| match step {
            Step::CreateDeal(draft) => Some(draft.show.clone()),
            _ => None,
        });
        made.collect()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The stage says the same.
fn is_plain(payment: &Option<Payments>) -> bool {
    !matches!(payment, Some(Payments::Overdue | Payments::Over | Payments::Partly))
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}
