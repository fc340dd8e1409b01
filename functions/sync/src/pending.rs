//! Creating calls that got no answer. Each run looks their rows up until the CRM can no longer carry out the call.
//! Only then may a row be made again. Meanwhile the person's other rows proceed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use stagedoor_engine::{InvoiceState, Pending, Person, PersonId, ShowKey};
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{CrmError, CrmLookup, PortError};

use crate::{
    Sync,
    run::{PersonRun, SyncRun},
};

/// Shortest and longest time between two lookups of the same row.
const SOONEST: SignedDuration = SignedDuration::from_secs(10);
const LATEST: SignedDuration = SignedDuration::from_secs(60);

/// Creating calls that got no answer.
#[derive(Default)]
struct Unanswered {
    contacts: BTreeSet<PersonId>,
    deals: BTreeSet<(PersonId, ShowKey)>,
    invoices: BTreeSet<String>,
    since: Option<Timestamp>,
}

/// Rows in the CRM that such calls may have made.
#[derive(Default)]
struct Found {
    contacts: BTreeMap<PersonId, BTreeSet<u64>>,
    deals: BTreeMap<(PersonId, ShowKey), BTreeSet<u64>>,
    invoices: BTreeMap<String, u64>,
}

impl Sync {
    /// Looks up the rows of creating calls that got no answer.
    pub(crate) async fn look_up_intents(&self, sync_run: &SyncRun) -> Result<Result<(), CrmError>, PortError> {
        let Unanswered { contacts, deals, invoices, since } = sync_run.unanswered();
        let Some(since) = since else { return Ok(Ok(())) };
        let mut found = Found::default();
        if !contacts.is_empty() {
            match self.crm.find(CrmLookup::Contacts { people: &contacts, since }).await.map(|found| found.contacts) {
                Ok(rows) => found.contacts = rows,
                Err(error) => return Ok(Err(error)),
            }
        }
        if !deals.is_empty() {
            match self.crm.find(CrmLookup::Deals { deals: &deals, since }).await.map(|found| found.deals) {
                Ok(rows) => found.deals = rows,
                Err(error) => return Ok(Err(error)),
            }
        }
        if !invoices.is_empty() {
            match self.crm.find(CrmLookup::Invoices { keys: &invoices }).await.map(|found| found.invoices) {
                Ok(rows) => found.invoices = rows,
                Err(error) => return Ok(Err(error)),
            }
        }
        let changed = sync_run.resolve_intents(&found, self.clock.now(), self.crm.info().late_for);
        self.keep(sync_run, changed).await?;
        Ok(Ok(()))
    }
}

/// Time of the next lookup: soon at first, then less and less often.
pub(crate) fn next_look(person_run: &PersonRun, now: Timestamp) -> Timestamp {
    let links = [Some(&person_run.link), person_run.link.second.as_deref()];
    let since = links.into_iter().flatten().filter_map(|link| link.unanswered_since()).min();
    let age = since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
    now + age.clamp(SOONEST, LATEST)
}

/// The ids under which rows of a person may have been made, with the ids of people who were joined since.
fn ids_of(person: &Person) -> impl Iterator<Item = PersonId> + Clone + '_ {
    std::iter::once(person.id).chain(person.merged_ids.iter().copied())
}

/// Clears a pending mark if a lookup answered it, or if the call can have no effect any more. Returns true if it was
/// cleared. Joined people may each have made a call, and a found row says nothing of the other's call.
fn resolve(
    pending: &mut Option<Pending>,
    is_found: bool,
    is_joined: bool,
    now: Timestamp,
    late_for: SignedDuration,
) -> bool {
    let is_answered = is_found && (!is_joined || breakage::is_on("late-row-of-joined-unseen"));
    let is_done = is_answered || pending.as_ref().is_some_and(|pending| pending.is_over(now, late_for));
    if is_done {
        *pending = None;
    }
    is_done
}

impl SyncRun {
    fn unanswered(&self) -> Unanswered {
        let mut unanswered = Unanswered::default();
        let mut since = Vec::new();
        for person_run in self.person_runs().values() {
            if let Some(pending) = &person_run.link.contact.pending {
                since.push(pending.at);
                unanswered.contacts.extend(ids_of(&person_run.person));
            }
            for (show, deal) in &person_run.link.deals {
                if let Some(pending) = &deal.pending {
                    since.push(pending.at);
                    unanswered.deals.extend(ids_of(&person_run.person).map(|id| (id, show.clone())));
                }
            }
            for (order, invoice) in &person_run.link.invoices {
                if let Some(pending) = &invoice.pending {
                    since.push(pending.at);
                    unanswered.invoices.insert(key_of(order, invoice));
                }
            }
        }
        unanswered.since = since.into_iter().min();
        unanswered
    }

    fn resolve_intents(&self, found: &Found, now: Timestamp, late_for: SignedDuration) -> BTreeSet<PersonId> {
        let mut changed = BTreeSet::new();
        for (id, person_run) in self.person_runs().iter_mut() {
            let before = person_run.link.clone();
            let ids: Vec<PersonId> = ids_of(&person_run.person).collect();
            let is_joined = ids.len() > 1;
            let link = &mut person_run.link;
            if link.contact.pending.is_some() {
                let rows: BTreeSet<u64> =
                    ids.iter().filter_map(|id| found.contacts.get(id)).flatten().copied().collect();
                let call = link.contact.pending.clone();
                let sent = call.as_ref().map(|call| call.values.clone()).unwrap_or_default();
                for row in rows.iter().filter(|_| !sent.is_empty()) {
                    // If a manager removes a value before the lookup, the value stays removed.
                    link.contact_values.entry(*row).or_default().extend(sent.iter().cloned());
                }
                if resolve(&mut link.contact.pending, !rows.is_empty(), is_joined, now, late_for) && is_joined {
                    link.contact.looked_until = Some(now);
                }
                if link.contact.id.is_none()
                    && !rows.is_empty()
                    && let Some(call) = call.filter(|_| !breakage::is_on("found-contact-has-no-name"))
                {
                    link.contact.named = call.named.or(link.contact.named.take());
                    link.contact.marketed |= call.marketed;
                }
                link.contact.id = link.contact.id.or(rows.first().copied());
                let known = link.contact.id;
                link.doubles.extend(rows.into_iter().filter(|row| Some(*row) != known));
            }
            for (show, deal) in link.deals.iter_mut().filter(|(_, deal)| deal.pending.is_some()) {
                let keys = ids.iter().map(|id| (*id, show.clone()));
                let rows: BTreeSet<u64> = keys.filter_map(|key| found.deals.get(&key)).flatten().copied().collect();
                let call = deal.pending.clone();
                if resolve(&mut deal.pending, !rows.is_empty(), is_joined, now, late_for) && is_joined {
                    deal.looked_until = Some(now);
                }
                if deal.id.is_none()
                    && !rows.is_empty()
                    && let Some(call) = call.filter(|_| !breakage::is_on("found-deal-shows-no-order"))
                {
                    (deal.orders, deal.paid_orders) = (call.orders, call.paid_orders);
                    // An order that went to somebody else meanwhile leaves nothing to plan but this deal.
                    person_run.open += usize::from(!person_run.plan.concerns_deal(show));
                }
                deal.id = deal.id.or(rows.first().copied());
                let known = deal.id;
                deal.doubles.extend(rows.into_iter().filter(|row| Some(*row) != known));
            }
            for (order, invoice) in link.invoices.iter_mut().filter(|(_, invoice)| invoice.pending.is_some()) {
                let row = found.invoices.get(&key_of(order, invoice)).copied();
                resolve(&mut invoice.pending, row.is_some(), false, now, late_for);
                if row.is_some() {
                    // The order may ask for nothing any more. Then this run plans nothing for its invoice.
                    let is_unplanned = !person_run.plan.concerns_invoice(order);
                    person_run.open += usize::from(is_unplanned && !breakage::is_on("found-invoice-stands"));
                    let anew = invoice.anew + u32::from(invoice.id.is_some());
                    let mut old = std::mem::take(&mut invoice.old);
                    old.retain(|one| Some(*one) != row);
                    let fixed = invoice.asked.take();
                    *invoice = InvoiceState { id: row, anew, old, fixed, ..InvoiceState::default() };
                }
            }
            if person_run.late && !person_run.link.awaits_rows() {
                (person_run.late, person_run.open) = (false, person_run.open.saturating_sub(1));
            }
            if person_run.link != before {
                let doubles = |link: &stagedoor_engine::CrmState| {
                    link.doubles.len() + link.deals.values().map(|deal| deal.doubles.len()).sum::<usize>()
                };
                // This run's plan does not know the doubles; the next run's plan does.
                person_run.open += usize::from(doubles(&person_run.link) > doubles(&before));
                changed.insert(*id);
            }
        }
        changed
    }
}

/// Key of the invoice of the last creating call.
pub(crate) fn key_of(order: &str, known: &InvoiceState) -> String {
    match known.turn() {
        0 => order.to_owned(),
        turn => format!("{order}/{turn}"),
    }
}
