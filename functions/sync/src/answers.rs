//! Writes the CRM's answer about one row into the CRM state of a person.

use stagedoor_engine::{CrmState, Digest, Pending, Rejected};
use stagedoor_model::{Kind, Timestamp, breakage};
use stagedoor_ports::WriteOutcome;

use crate::crm_change::CrmChange;

/// Kind of the row that a creating change makes.
pub(crate) fn kind_of_made(change: &CrmChange) -> Option<Kind> {
    match change {
        CrmChange::CreateContact(_) => Some(Kind::CrmContact),
        CrmChange::CreateDeal(..) => Some(Kind::CrmLead),
        _ => None,
    }
}

/// Updates a pending mark after the answer of a call. A call that creates nothing says nothing about an earlier
/// creating call.
fn after(pending: &mut Option<Pending>, creates: bool, is_lost: bool, late_until: Timestamp) {
    match pending {
        Some(pending) if is_lost && creates => pending.late_until = Some(late_until),
        _ if creates => *pending = None,
        _ => {}
    }
}

/// Keeps the time at which a reason was first given, as long as the reason stays the same.
pub(crate) fn hold(held: &mut Option<Rejected>, now: Option<Rejected>) {
    let same = |known: &Rejected| now.as_ref().is_some_and(|now| now.reason == known.reason);
    if !held.as_ref().is_some_and(same) {
        *held = now;
    }
}

/// Writes the answer to a change into the CRM state.
pub(crate) fn write(
    link: &mut CrmState,
    change: &CrmChange,
    digest: &Digest,
    row: WriteOutcome,
    (at, late_until): (Timestamp, Timestamp),
    room: Option<(usize, usize)>,
) {
    let is_lost = row == WriteOutcome::Unknown;
    let rejected = |reason: String| Some(Rejected { digest: digest.clone(), reason, at });
    match change {
        CrmChange::CreateContact(draft) | CrmChange::UpdateContact(_, draft) => {
            if let WriteOutcome::Done(id) = row {
                link.wrote_values(id, draft, room);
                // After a join, the older person's contact may be the newer row. It stays a contact of the joined
                // person.
                let former =
                    link.contact.id.filter(|former| *former != id && !breakage::is_on("former-contact-forgotten"));
                link.doubles.extend(former);
            }
            let contact = &mut link.contact;
            after(&mut contact.pending, matches!(change, CrmChange::CreateContact(_)), is_lost, late_until);
            match row {
                WriteOutcome::Done(id) => {
                    let digest = draft.settled(matches!(change, CrmChange::CreateContact(_)));
                    contact.marketed = draft.marketing.as_ref().is_some_and(|shown| !shown.is_empty());
                    (contact.id, contact.last_sent) = (Some(id), Some(digest));
                    contact.named = draft.name.clone().or(contact.named.take());
                    (contact.rejected, contact.held) = (None, None);
                }
                WriteOutcome::Refused(reason) => (contact.rejected, contact.held) = (rejected(reason), None),
                WriteOutcome::Held(_) if breakage::is_on("held-contact-unsaid") => {}
                WriteOutcome::Held(reason) => hold(&mut contact.held, rejected(reason)),
                WriteOutcome::NotSent
                | WriteOutcome::Unknown
                | WriteOutcome::Gone(_)
                | WriteOutcome::Misidentified(_) => {}
            }
        }
        CrmChange::CreateDeal(_, draft) | CrmChange::UpdateDeal(_, draft) => {
            let deal = link.deals.entry(draft.show.clone()).or_default();
            after(&mut deal.pending, matches!(change, CrmChange::CreateDeal(..)), is_lost, late_until);
            match row {
                WriteOutcome::Done(id) => {
                    (deal.id, deal.last_sent) = (Some(id), Some(digest.clone()));
                    // The deal may be a double that was closed before.
                    deal.closed.remove(&id);
                    if let Some((stage, _)) = &draft.stage {
                        (deal.stage, deal.pipeline) = (Some(*stage), Some(draft.pipeline.clone()));
                        deal.stage_at = draft.stage_at.or(deal.stage_at);
                        deal.sent_stages.clear();
                    }
                    deal.weighed = draft.weighed.or(deal.weighed);
                    deal.orders = draft.order_numbers();
                    deal.paid_orders.clone_from(&draft.paid_orders);
                    (deal.rejected, deal.held) = (None, None);
                }
                WriteOutcome::Refused(reason) => (deal.rejected, deal.held) = (rejected(reason), None),
                WriteOutcome::Held(reason) => hold(&mut deal.held, rejected(reason)),
                WriteOutcome::NotSent
                | WriteOutcome::Unknown
                | WriteOutcome::Gone(_)
                | WriteOutcome::Misidentified(_) => {}
            }
        }
        CrmChange::CreateInvoice(_, draft, _) | CrmChange::UpdateInvoice(_, draft) => {
            let invoice = link.invoices.entry(draft.order.clone()).or_default();
            after(&mut invoice.pending, matches!(change, CrmChange::CreateInvoice(..)), is_lost, late_until);
            match row {
                WriteOutcome::Done(id) => {
                    match change {
                        CrmChange::CreateInvoice(hangs, _, fixed) => {
                            (invoice.fixed, invoice.anew) = (Some(fixed.clone()), draft.turn);
                            (invoice.deal, invoice.contact) = (Some(hangs.deal), Some(hangs.contact));
                        }
                        _ => {
                            invoice.deal = draft.parents.map(|parents| parents.deal).or(invoice.deal);
                            invoice.contact = draft.parents.map(|parents| parents.contact).or(invoice.contact);
                        }
                    }
                    (invoice.id, invoice.last_sent) = (Some(id), Some(digest.clone()));
                    if !breakage::is_on("found-invoice-made-again") {
                        invoice.old.remove(&id);
                    }
                    invoice.rejected = None;
                }
                WriteOutcome::Refused(reason) => invoice.rejected = rejected(reason),
                WriteOutcome::NotSent
                | WriteOutcome::Unknown
                | WriteOutcome::Held(_)
                | WriteOutcome::Gone(_)
                | WriteOutcome::Misidentified(_) => {}
            }
        }
        // A manager takes care of an invoice that cannot be cancelled.
        CrmChange::CancelInvoice(id, draft) => {
            if matches!(row, WriteOutcome::Done(_) | WriteOutcome::Refused(_)) {
                link.invoices.entry(draft.order.clone()).or_default().let_go(*id);
            }
        }
        CrmChange::CloseDouble(lead, draft) => {
            let deal = link.deals.entry(draft.show.clone()).or_default();
            match row {
                WriteOutcome::Done(_) | WriteOutcome::Refused(_) => {
                    deal.closed.insert(*lead);
                    let is_its = deal.held.as_ref().is_some_and(|held| held.digest == *digest);
                    if is_its && !breakage::is_on("held-reason-stays") {
                        deal.held = None;
                    }
                }
                WriteOutcome::Held(reason) => hold(&mut deal.held, rejected(reason)),
                WriteOutcome::NotSent
                | WriteOutcome::Unknown
                | WriteOutcome::Gone(_)
                | WriteOutcome::Misidentified(_) => {}
            }
        }
        CrmChange::MarkDuplicate(contact, _) => {
            if matches!(row, WriteOutcome::Done(_) | WriteOutcome::Refused(_)) {
                link.marked.insert(*contact);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use stagedoor_engine::{ContactDraft, PersonId};
    use stagedoor_model::RecordKey;

    use super::*;

    #[test]
    fn a_contact_that_counts_no_more_stays_one_of_its_persons() {
        let draft = ContactDraft {
            person: PersonId::of(&RecordKey("order/shop:1".into())),
            name: None,
            phones: vec![],
            emails: vec![],
            telegram: None,
            tags: vec![],
            untagged: vec![],
            chats: None,
            marketing: None,
            company: None,
            other_ids: BTreeSet::new(),
        };
        let mut link = CrmState::default();
        link.contact.id = Some(52);
        let (digest, at) = (Digest::of(&1), Timestamp::default());
        write(&mut link, &CrmChange::UpdateContact(36, draft), &digest, WriteOutcome::Done(36), (at, at), None);
        assert_eq!(
            (link.contact.id, link.doubles),
            (Some(36), BTreeSet::from([52])),
            "it is to be marked as a duplicate"
        );
    }
}
