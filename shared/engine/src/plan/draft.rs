//! The rows that the CRM should hold, and the steps that write them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_model::Timestamp;
use stagedoor_texts::{Language, crm};

use crate::{
    Chats, CompanyDraft, CrmState, Digest, InvoiceDraft, Marketing, NoteDraft, Payments, PersonId, ShowKey, Stage,
    StageGuard, TaskDraft,
};

/// The separator between order numbers in one field.
pub(super) const ORDERS: &str = ", ";

/// A contact as the CRM should hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactDraft {
    pub person: PersonId,
    /// Set for a contact that the hub creates, and for one that was made before any name was known. Any other name in
    /// the CRM belongs to the manager.
    pub name: Option<String>,
    /// Phones and e-mails to add: values that the contact never had. The hub takes away no value that stands there.
    pub phones: Vec<String>,
    pub emails: Vec<String>,
    pub telegram: Option<String>,
    /// Tags that the contact should bear.
    pub tags: Vec<String>,
    /// Tags of the hub that the contact should not bear. Other tags are a manager's.
    pub untagged: Vec<String>,
    pub chats: Option<Chats>,
    pub marketing: Option<Marketing>,
    /// The company of the contact.
    pub company: Option<CompanyRef>,
    /// Other ids that the row may bear: of people who were joined into this one, or whom the hub no longer knows.
    #[serde(skip)]
    pub other_ids: BTreeSet<PersonId>,
}

impl ContactDraft {
    /// Returns the digest that is compared with what was last sent. Phones and e-mails are left out, because the hub
    /// remembers each of them. `made`: the contact is new. Then its name is left out too, because it belongs to a
    /// manager.
    pub fn settled(&self, made: bool) -> Digest {
        let name = self.name.as_ref().filter(|_| !made);
        let company = self.company.as_ref().map(|company| &company.key);
        Digest::of(&(2, &self.telegram, name, &self.chats, &self.marketing, &self.tags, company))
    }
}

/// A company by its key, and by its id in the CRM once the hub knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyRef {
    pub key: String,
    #[serde(skip)]
    pub id: Option<u64>,
}

/// A deal as the CRM should hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealDraft {
    pub person: PersonId,
    pub show: ShowKey,
    pub name: String,
    pub pipeline: String,
    /// `None`: the manager's stage stays.
    pub stage: Option<(Stage, String)>,
    /// Worth in whole major units of the CRM account's currency.
    pub price: Option<i64>,
    /// Minor units beyond the whole ones, for a CRM that stores them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fraction: i64,
    pub city: Option<String>,
    pub starts_at: Option<Timestamp>,
    pub show_cancelled: bool,
    /// True if the show was cancelled and is on again: the mark of the cancellation is removed from the CRM.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub show_resumed: bool,
    /// True if the show is postponed without a new date: the old date is removed from the CRM.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub show_postponed: bool,
    /// Order numbers, separated by `, `.
    pub orders: String,
    pub promo_codes: String,
    pub tickets: usize,
    /// Refunded sum in whole major units of the account's currency.
    pub refunded: i64,
    pub utm: BTreeMap<String, String>,
    /// The campaign that brought the sale, and in brackets how the hub knows: promo code, link, click or open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// The company that the collective order belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<CompanyRef>,
    /// How the orders stand with their money. A value that the stage implies is not part of the digest.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub payment: Option<Payments>,
    /// Worth in other currencies than the account's, in words. The price does not include it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub other_sums: String,
    /// True if fields without a value are emptied. Their content belongs to another deal now, or to another person
    /// since two people were parted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clears: bool,
    /// The language of the texts. Another language changes the digest, so that the deal is written in it.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub language: Language,
    /// Other people's ids that the row may bear, as in [`ContactDraft`].
    #[serde(skip)]
    pub other_ids: BTreeSet<PersonId>,
    /// Decides whether the stage may be sent to a deal that exists.
    #[serde(skip)]
    pub guard: Option<StageGuard>,
    /// When the last fact happened that speaks for the stage.
    #[serde(skip)]
    pub stage_at: Option<Timestamp>,
    /// The hub's own stage, also if it is not sent.
    #[serde(skip)]
    pub weighed: Option<Stage>,
    /// The orders of the deal that are paid.
    #[serde(skip)]
    pub paid_orders: BTreeSet<String>,
}

impl DealDraft {
    /// Returns the numbers of the orders that the deal shows.
    pub fn order_numbers(&self) -> BTreeSet<String> {
        self.orders.split(ORDERS).filter(|order| !order.is_empty()).map(str::to_owned).collect()
    }

    /// Returns the payment state in words: `paid`, `paid; besides 30000.00 KZT`.
    pub fn payment_words(&self) -> Option<String> {
        let state = self.payment.map(|payment| payment.words().to(self.language));
        let besides = || crm::payment_besides(&self.other_sums).to(self.language);
        let besides = (!self.other_sums.is_empty()).then(besides);
        let besides_nothing =
            if stagedoor_model::breakage::is_on("besides-nothing") { Some(String::new()) } else { None };
        let told: Vec<String> = state.or(besides_nothing).into_iter().chain(besides).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// Returns the digest of what is to be sent. It includes a refund that the stage does not show.
    pub(super) fn digest(&self) -> Digest {
        let said = matches!(self.stage, Some((Stage::Refunded, _)));
        match self.payment {
            Some(Payments::Refunded) if !said => Digest::of(&(self, Payments::Refunded)),
            _ => Digest::of(self),
        }
    }
}

/// One write to the CRM. A `u64` is the id of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    CreateContact(ContactDraft),
    UpdateContact(u64, ContactDraft),
    /// The contact's id is known, or comes from `CreateContact` of the same plan.
    CreateDeal(DealDraft),
    UpdateDeal(u64, DealDraft),
    /// Closes a double of the same person and show: price 0, lost, with the id of the deal that counts.
    CloseDouble(u64, DealDraft),
    /// The ids of contact and deal are known, or come from the same plan. The digest is of what cannot change later.
    CreateInvoice(InvoiceDraft, Digest),
    UpdateInvoice(u64, InvoiceDraft),
    /// Cancels an invoice whose order got another one.
    CancelInvoice(u64, InvoiceDraft),
    /// Tags a second contact of the same person and names the first one, `of`.
    MarkDuplicate {
        contact: u64,
        of: u64,
    },
}

/// A deal that counts as deleted but has changes. The hub asks the CRM whether it was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubted {
    pub show: ShowKey,
    pub deal: u64,
    pub deleted_at: Timestamp,
    /// The digest of what the hub would write.
    pub digest: Digest,
}

/// The steps that make the CRM equal to what the hub knows of one person.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Writes in their order, each with the digest of its content.
    pub steps: Vec<(Step, Digest)>,
    /// The contact that deals belong to, if the CRM has it already.
    pub contact: Option<u64>,
    /// Companies of the contacts, deals and invoices in this plan.
    pub companies: Vec<CompanyDraft>,
    /// Chat messages that no note holds yet.
    pub note: Option<NoteDraft>,
    /// A request to a manager.
    pub task: Option<TaskDraft>,
    /// True if another note or task waits for this one.
    pub more: bool,
    /// Deals that count as deleted and may have been restored.
    pub doubted: Vec<Doubted>,
    /// Marks of all lines that chats still hold. Other lines need not be remembered as noted.
    pub marks: BTreeSet<String>,
}

impl Plan {
    /// Returns the number of things to do.
    pub fn len(&self) -> usize {
        self.steps.len() + usize::from(self.note.is_some()) + usize::from(self.task.is_some()) + usize::from(self.more)
    }

    /// Returns the shows for which the plan creates a deal.
    pub(super) fn makes_deals(&self) -> BTreeSet<ShowKey> {
        let made = self.steps.iter().filter_map(|(step, _)| match step {
            Step::CreateDeal(draft) => Some(draft.show.clone()),
            _ => None,
        });
        made.collect()
    }

    /// Returns true if the plan writes a deal of this show.
    pub fn concerns_deal(&self, show: &ShowKey) -> bool {
        self.steps.iter().any(|(step, _)| match step {
            Step::CreateDeal(draft) | Step::UpdateDeal(_, draft) | Step::CloseDouble(_, draft) => draft.show == *show,
            _ => false,
        })
    }

    /// Returns true if the plan writes an invoice of this order.
    pub fn concerns_invoice(&self, order: &str) -> bool {
        self.steps.iter().any(|(step, _)| match step {
            Step::CreateInvoice(draft, _) | Step::UpdateInvoice(_, draft) => draft.order == order,
            _ => false,
        })
    }

    /// Returns true if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Returns true if the stage implies the payment state.
fn is_plain(payment: &Option<Payments>) -> bool {
    !matches!(payment, Some(Payments::Overdue | Payments::Over | Payments::Partly))
}

/// Returns true for the language that deals had before there was a choice.
fn is_usual(language: &Language) -> bool {
    *language == Language::default() || stagedoor_model::breakage::is_on("deal-keeps-its-language")
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl CrmState {
    /// Clears the reasons of rows that no longer need a write. Returns true if there were any.
    pub fn release_held(&mut self, plan: &Plan) -> bool {
        let is_over = plan.is_empty() && self.contact.held.take().is_some();
        // Without a living contact, no deal is planned, and the deals wait as before.
        if plan.contact.is_none() {
            return is_over;
        }
        let over = self.deals.iter_mut().filter(|(show, deal)| deal.held.is_some() && !plan.concerns_deal(show));
        over.map(|(_, deal)| deal.held = None).count() > 0 || is_over
    }
}
