use stagedoor_engine::{ContactDraft, DealDraft, Digest, InvoiceDraft, PersonId};
use stagedoor_ports::InvoiceOwners;

pub(crate) enum CrmChange {
    CreateContact(ContactDraft),
    UpdateContact(u64, ContactDraft),
    CreateDeal(u64, DealDraft),
    UpdateDeal(u64, DealDraft),
    /// Closes a further deal of the same person and show.
    CloseDouble(u64, DealDraft),
    MarkDuplicate(u64, u64),
    /// The digest covers the fields that cannot change after the invoice is made.
    CreateInvoice(InvoiceOwners, InvoiceDraft, Digest),
    UpdateInvoice(u64, InvoiceDraft),
    CancelInvoice(u64, InvoiceDraft),
}

pub(crate) type PlannedChange = (PersonId, CrmChange, Digest);
