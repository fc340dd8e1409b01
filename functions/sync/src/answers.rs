//! What the CRM answered of one row, written into what is known of it.

use stagedoor_engine::{Digest, Intent, Link, ORDERS, Parked};
use stagedoor_model::{Kind, Timestamp, breakage};
use stagedoor_ports::Row;

use crate::round::Job;

/// What a creating job makes.
pub(crate) fn kind_of_made(job: &Job) -> Option<Kind> {
    match job {
        Job::CreateContact(_) => Some(Kind::CrmContact),
        Job::CreateDeal(..) => Some(Kind::CrmLead),
        _ => None,
    }
}

/// What stays of an intent after the answer of a call. A call that creates nothing says nothing of an earlier one that did.
fn after(intent: &mut Option<Intent>, creates: bool, is_lost: bool, late_until: Timestamp) {
    match intent {
        Some(intent) if is_lost && creates => intent.late_until = Some(late_until),
        _ if creates => *intent = None,
        _ => {}
    }
}

/// The same reason holds since it was first heard.
pub(crate) fn hold(held: &mut Option<Parked>, now: Option<Parked>) {
    let same = |known: &Parked| now.as_ref().is_some_and(|now| now.reason == known.reason);
    if !held.as_ref().is_some_and(same) {
        *held = now;
    }
}

/// Writes the answer of a job into what is known of the CRM.
pub(crate) fn write(
    link: &mut Link,
    job: &Job,
    digest: &Digest,
    row: Row,
    (at, late_until): (Timestamp, Timestamp),
    room: Option<(usize, usize)>,
) {
    let is_lost = row == Row::Unknown;
    let parked = |reason: String| Some(Parked { digest: digest.clone(), reason, at });
    match job {
        Job::CreateContact(draft) | Job::UpdateContact(_, draft) => {
            if let Row::Done(id) = row {
                link.wrote_values(id, draft, room);
                // Of joined people the elder's contact may be the younger row: it stays one of theirs.
                let former =
                    link.contact.id.filter(|former| *former != id && !breakage::is_on("former-contact-forgotten"));
                link.doubles.extend(former);
            }
            let contact = &mut link.contact;
            after(&mut contact.intent, matches!(job, Job::CreateContact(_)), is_lost, late_until);
            match row {
                Row::Done(id) => {
                    let digest = draft.settled(matches!(job, Job::CreateContact(_)));
                    contact.marketed = draft.marketing.as_ref().is_some_and(|shown| !shown.is_empty());
                    (contact.id, contact.pushed) = (Some(id), Some(digest));
                    contact.named = draft.name.clone().or(contact.named.take());
                    (contact.parked, contact.held) = (None, None);
                }
                Row::Refused(reason) => (contact.parked, contact.held) = (parked(reason), None),
                Row::Held(_) if breakage::is_on("held-contact-unsaid") => {}
                Row::Held(reason) => hold(&mut contact.held, parked(reason)),
                Row::NotSent | Row::Unknown | Row::Gone(_) | Row::Misidentified(_) => {}
            }
        }
        Job::CreateDeal(_, draft) | Job::UpdateDeal(_, draft) => {
            let deal = link.deals.entry(draft.show.clone()).or_default();
            after(&mut deal.intent, matches!(job, Job::CreateDeal(..)), is_lost, late_until);
            match row {
                Row::Done(id) => {
                    (deal.id, deal.pushed) = (Some(id), Some(digest.clone()));
                    // It may have been a double that was closed before.
                    deal.closed.remove(&id);
                    if let Some((stage, _)) = &draft.stage {
                        (deal.stage, deal.pipeline) = (Some(*stage), Some(draft.pipeline.clone()));
                        deal.stage_at = draft.stage_at.or(deal.stage_at);
                        deal.sent_stages.clear();
                    }
                    deal.weighed = draft.weighed.or(deal.weighed);
                    deal.orders =
                        draft.orders.split(ORDERS).filter(|order| !order.is_empty()).map(str::to_owned).collect();
                    deal.paid_orders.clone_from(&draft.paid_orders);
                    (deal.parked, deal.held) = (None, None);
                }
                Row::Refused(reason) => (deal.parked, deal.held) = (parked(reason), None),
                Row::Held(reason) => hold(&mut deal.held, parked(reason)),
                Row::NotSent | Row::Unknown | Row::Gone(_) | Row::Misidentified(_) => {}
            }
        }
        Job::CreateInvoice(_, draft, _) | Job::UpdateInvoice(_, draft) => {
            let invoice = link.invoices.entry(draft.order.clone()).or_default();
            after(&mut invoice.intent, matches!(job, Job::CreateInvoice(..)), is_lost, late_until);
            match row {
                Row::Done(id) => {
                    match job {
                        Job::CreateInvoice(hangs, _, fixed) => {
                            (invoice.fixed, invoice.anew) = (Some(fixed.clone()), draft.turn);
                            (invoice.deal, invoice.contact) = (Some(hangs.deal), Some(hangs.contact));
                        }
                        _ => {
                            invoice.deal = draft.parents.map(|parents| parents.deal).or(invoice.deal);
                            invoice.contact = draft.parents.map(|parents| parents.contact).or(invoice.contact);
                        }
                    }
                    (invoice.id, invoice.pushed) = (Some(id), Some(digest.clone()));
                    if !breakage::is_on("found-invoice-made-again") {
                        invoice.old.remove(&id);
                    }
                    invoice.parked = None;
                }
                Row::Refused(reason) => invoice.parked = parked(reason),
                Row::NotSent | Row::Unknown | Row::Held(_) | Row::Gone(_) | Row::Misidentified(_) => {}
            }
        }
        // One that cannot be cancelled is a manager's.
        Job::LetGo(id, draft) => {
            if matches!(row, Row::Done(_) | Row::Refused(_)) {
                link.invoices.entry(draft.order.clone()).or_default().let_go(*id);
            }
        }
        Job::CloseDouble(lead, draft) => {
            let deal = link.deals.entry(draft.show.clone()).or_default();
            match row {
                Row::Done(_) | Row::Refused(_) => {
                    deal.closed.insert(*lead);
                    let is_its = deal.held.as_ref().is_some_and(|held| held.digest == *digest);
                    if is_its && !breakage::is_on("held-reason-stays") {
                        deal.held = None;
                    }
                }
                Row::Held(reason) => hold(&mut deal.held, parked(reason)),
                Row::NotSent | Row::Unknown | Row::Gone(_) | Row::Misidentified(_) => {}
            }
        }
        Job::MarkDuplicate(contact, _) => {
            if matches!(row, Row::Done(_) | Row::Refused(_)) {
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
        let mut link = Link::default();
        link.contact.id = Some(52);
        let (digest, at) = (Digest::of(&1), Timestamp::default());
        write(&mut link, &Job::UpdateContact(36, draft), &digest, Row::Done(36), (at, at), None);
        assert_eq!(
            (link.contact.id, link.doubles),
            (Some(36), BTreeSet::from([52])),
            "it is to be marked as a duplicate"
        );
    }
}
