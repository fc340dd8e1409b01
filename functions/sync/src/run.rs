//! One sync run: its people, the changes planned for each person, and the answers of the CRM.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use stagedoor_engine::{
    CompanyRef, ContactDraft, CrmState, DealDraft, InvoiceDraft, InvoiceParents, Pending, Person, PersonId, Plan,
    ShowKey, Step,
};
use stagedoor_model::{Kind, Timestamp, breakage};
use stagedoor_ports::{Gone, InvoiceOwners, Mark, WriteOutcome};

use tokio::time::Instant;

use crate::{
    RunReport,
    answers::{kind_of_made, write},
    crm_change::{CrmChange, PlannedChange},
    foreign_row::Misidentified,
};

/// Number of calls in a row without a row sent that stops a run.
const STRIKES: usize = 2;

/// Reason that the report gives when a bulk call could not be made.
const UNUSABLE: &str = "the CRM cannot be used now";

/// One person in a sync run.
pub(crate) struct PersonRun {
    pub version: u64,
    pub mark: Mark,
    /// Failed runs before this one.
    pub tries: u32,
    /// True if a call for this person was made and brought no valid answer.
    pub failed: bool,
    pub person: Person,
    pub link: CrmState,
    pub plan: Plan,
    pub trace: Option<String>,
    /// Steps that were neither done nor refused.
    pub open: usize,
    /// Open steps that wait for a call without an answer. That call may still take effect.
    pub held: usize,
    /// True if calls without an answer may still make rows. Looking for those rows counts as one more open step,
    /// beside the plan.
    pub late: bool,
}

impl PersonRun {
    /// True if an earlier call may still make the contact. A company that delays the contact also delays its deals.
    pub(crate) fn is_contact_held(&self) -> bool {
        self.link.contact.pending.is_some() || self.held > 0
    }

    /// True if all open steps wait for calls that may still take effect.
    pub(crate) fn waits_for_a_late_call(&self) -> bool {
        let waiting = self.held + usize::from(self.late);
        waiting > 0 && waiting >= self.open
    }

    /// Ids, other than the person's own, that the person's rows may carry.
    fn other_ids(&self) -> BTreeSet<PersonId> {
        self.person.merged_ids.iter().chain(&self.link.other_ids).copied().collect()
    }

    fn is_deal_held(&self, show: &ShowKey) -> bool {
        self.link.deals.get(show).is_some_and(|deal| deal.pending.is_some() && deal.id.is_none())
    }

    pub(crate) fn wants(&self, company: &str) -> bool {
        !self.plan.steps.is_empty() && self.plan.companies.iter().any(|one| one.key == company)
    }
}

pub(crate) struct SyncRun {
    pub person_runs: Mutex<BTreeMap<PersonId, PersonRun>>,
    pub report: Mutex<RunReport>,
    pub saving: tokio::sync::Mutex<()>,
    /// People whose CRM state changed and is not saved yet.
    pub unsaved: Mutex<BTreeSet<PersonId>>,
    /// Ids of companies by their keys. `None` means that the CRM refuses the company.
    pub companies: Mutex<BTreeMap<String, Option<u64>>>,
    /// Companies that a call without an answer may still make.
    pub looking: Mutex<BTreeSet<String>>,
    /// Rows that calls found to be gone from the CRM.
    pub gone: Mutex<BTreeSet<Gone>>,
    /// Rows that were not written, because they carry another person's id.
    pub misidentified: Mutex<Vec<Misidentified>>,
    /// Calls in a row that sent no row.
    pub strikes: AtomicUsize,
    pub at: Timestamp,
    /// No call begins after this time.
    pub until: Option<Instant>,
    /// The first CRM's run, if this is the run of the second CRM. New facts are saved with it.
    pub beneath: Option<Arc<SyncRun>>,
    /// People for whom nothing may be made in the second CRM now. A row of theirs there may have been restored, and
    /// could not be asked for.
    pub second_waiting: BTreeSet<PersonId>,
    /// Namespace of this CRM's record ids. Empty for the first CRM.
    pub scope: &'static str,
}

impl SyncRun {
    /// Traces of the people in a call, separated by spaces.
    pub(crate) fn traces_of(&self, tasks: &[PlannedChange]) -> String {
        let person_runs = self.person_runs();
        let traces: BTreeSet<&str> =
            tasks.iter().filter_map(|(id, _, _)| person_runs.get(id)?.trace.as_deref()).collect();
        traces.into_iter().collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn person_runs(&self) -> std::sync::MutexGuard<'_, BTreeMap<PersonId, PersonRun>> {
        self.person_runs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn report(&self) -> std::sync::MutexGuard<'_, RunReport> {
        self.report.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn stop(&self, reason: String) {
        self.report().unavailable = Some(reason);
        self.strikes.store(STRIKES, Ordering::Relaxed);
    }

    /// Replaces a general reason by the reason of the CRM's client, which knows more than its rows say.
    pub(crate) fn explain(&self, trouble: Option<String>) {
        let mut report = self.report();
        if report.unavailable.as_deref() == Some(UNUSABLE)
            && let Some(trouble) = trouble
            && !breakage::is_on("unpaid-unsaid")
        {
            report.unavailable = Some(trouble);
        }
    }

    /// True if the run's time is over. The people who are left wait for the next run.
    pub(crate) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Notes the duration of a call. Each call that was made reports it.
    pub(crate) fn took(&self, time: Duration) {
        let mut report = self.report();
        report.longest_call = report.longest_call.max(time);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.strikes.load(Ordering::Relaxed) >= STRIKES
    }

    /// Counts the rows of a call that could not be sent. One row alone may be the fault of that row. A whole call, or
    /// a second one, is the fault of the CRM.
    pub(crate) fn unsent(&self, unsent: usize, of: usize) {
        match unsent {
            0 if of > 0 => self.strikes.store(0, Ordering::Relaxed),
            0 => {}
            _ => {
                self.report().unavailable = Some(UNUSABLE.into());
                let is_one_row = of == 1 && !breakage::is_on("one-row-stops-all");
                let strikes = if is_one_row { 1 } else { STRIKES * usize::from(unsent == of) };
                self.strikes.fetch_add(strikes, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn is_gone(&self, gone: Gone) {
        self.gone.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(gone);
    }

    /// Company of a draft with its id. The outer `None` means that the id is not known yet.
    fn resolved(&self, company: Option<&CompanyRef>) -> Option<Option<CompanyRef>> {
        let Some(company) = company else { return Some(None) };
        let id = self.company_id(Some(&company.key))?;
        Some(Some(CompanyRef { key: company.key.clone(), id }))
    }

    /// Returns 1 if this company may still be made by an earlier call, so that its step waits. Otherwise 0.
    fn held_by(&self, company: Option<&String>) -> usize {
        let looking = self.looking.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        usize::from(company.is_some_and(|key| looking.contains(key)))
    }

    fn company_id(&self, key: Option<&String>) -> Option<Option<u64>> {
        let companies = self.companies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        key.map_or(Some(None), |key| companies.get(key).copied())
    }

    pub(crate) fn contact_tasks(&self) -> [Vec<PlannedChange>; 3] {
        let (mut create, mut update, mut mark) = (Vec::new(), Vec::new(), Vec::new());
        for (id, person_run) in self.person_runs().iter_mut() {
            for (step, digest) in &person_run.plan.steps {
                match step.clone() {
                    // A contact that an earlier call may still make waits.
                    Step::CreateContact(_) if person_run.link.contact.pending.is_some() => person_run.held += 1,
                    Step::CreateContact(draft) if person_run.link.contact.id.is_none() => {
                        let company = self.resolved(draft.company.as_ref());
                        person_run.held += self.held_by(draft.company.as_ref().map(|company| &company.key));
                        let change = |company| CrmChange::CreateContact(ContactDraft { company, ..draft });
                        create.extend(company.map(|company| (*id, change(company), digest.clone())));
                    }
                    Step::UpdateContact(contact, draft) => {
                        let company = self.resolved(draft.company.as_ref());
                        person_run.held += self.held_by(draft.company.as_ref().map(|company| &company.key));
                        let other_ids = person_run.other_ids();
                        let change =
                            |company| CrmChange::UpdateContact(contact, ContactDraft { company, other_ids, ..draft });
                        update.extend(company.map(|company| (*id, change(company), digest.clone())));
                    }
                    Step::MarkDuplicate { contact, of } => {
                        mark.push((*id, CrmChange::MarkDuplicate(contact, of), digest.clone()));
                    }
                    _ => {}
                }
            }
        }
        [create, update, mark]
    }

    pub(crate) fn deal_tasks(&self) -> [Vec<PlannedChange>; 3] {
        let (mut create, mut update, mut double) = (Vec::new(), Vec::new(), Vec::new());
        let gone = self.gone.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        for (id, person_run) in self.person_runs().iter_mut() {
            let contact = person_run.plan.contact.or(person_run.link.contact.id);
            // A deal that showed the purchase now would say that the contact was deleted after the purchase.
            if contact.is_some_and(|contact| gone.contains(&Gone::Contact(contact))) {
                continue;
            }
            let refused = person_run.link.contact.rejected.is_some();
            let held = usize::from(contact.is_none() && person_run.is_contact_held());
            for (step, digest) in &person_run.plan.steps {
                match (step.clone(), contact) {
                    (Step::CreateDeal(draft), _) if person_run.is_deal_held(&draft.show) => person_run.held += 1,
                    (Step::CreateDeal(draft), Some(contact)) => {
                        let known = person_run.link.deals.get(&draft.show).and_then(|deal| deal.id);
                        let company = self.resolved(draft.company.as_ref()).filter(|_| known.is_none());
                        person_run.held += self.held_by(draft.company.as_ref().map(|company| &company.key));
                        let change = |company| CrmChange::CreateDeal(contact, DealDraft { company, ..draft });
                        create.extend(company.map(|company| (*id, change(company), digest.clone())));
                    }
                    // A deal whose contact the CRM refuses waits for the same manager as the contact.
                    (Step::CreateDeal(_), None) if refused => person_run.open = person_run.open.saturating_sub(1),
                    (Step::CreateDeal(_), None) => person_run.held += held,
                    (Step::CloseDouble(lead, draft), _) => {
                        let draft = DealDraft { other_ids: person_run.other_ids(), ..draft };
                        double.push((*id, CrmChange::CloseDouble(lead, draft), digest.clone()));
                    }
                    (Step::UpdateDeal(lead, draft), _) => {
                        let company = self.resolved(draft.company.as_ref());
                        person_run.held += self.held_by(draft.company.as_ref().map(|company| &company.key));
                        let other_ids = person_run.other_ids();
                        let change = |company| CrmChange::UpdateDeal(lead, DealDraft { company, other_ids, ..draft });
                        update.extend(company.map(|company| (*id, change(company), digest.clone())));
                    }
                    _ => {}
                }
            }
        }
        [create, update, double]
    }

    /// Plans changes of invoices. Invoices belong to deals, so they come after deals.
    pub(crate) fn invoice_tasks(&self) -> [Vec<PlannedChange>; 3] {
        let (mut create, mut update, mut old) = (Vec::new(), Vec::new(), Vec::new());
        for (id, person_run) in self.person_runs().iter_mut() {
            let contact = person_run.plan.contact.or(person_run.link.contact.id);
            for (step, digest) in &person_run.plan.steps {
                match step.clone() {
                    Step::CreateInvoice(draft, _)
                        if person_run.link.invoices.get(&draft.order).is_some_and(|one| one.pending.is_some())
                            || person_run.is_deal_held(&draft.show)
                            || contact.is_none() && person_run.is_contact_held()
                            || self.held_by(draft.company.as_ref()) > 0 =>
                    {
                        person_run.held += 1;
                    }
                    // A lookup found the invoice after the plan was made.
                    Step::CreateInvoice(draft, _)
                        if person_run.link.invoices.get(&draft.order).is_some_and(|one| one.turn() != draft.turn)
                            && !breakage::is_on("found-invoice-made-again") => {}
                    Step::CreateInvoice(draft, fixed) => {
                        let deal = person_run.link.deals.get(&draft.show);
                        let company = self.company_id(draft.company.as_ref());
                        // An invoice whose contact, deal or company the CRM refuses waits for the same manager. A
                        // company's invoice is never in another name.
                        let nameless = draft.company.is_some() && company == Some(None);
                        let refused = nameless
                            || person_run.link.contact.rejected.is_some()
                            || deal.is_some_and(|deal| deal.rejected.is_some());
                        let company = company.filter(|_| !nameless);
                        let hangs = contact.zip(deal.and_then(|deal| deal.id)).zip(company);
                        match hangs {
                            Some(((contact, deal), company)) => {
                                let change =
                                    CrmChange::CreateInvoice(InvoiceOwners { contact, deal, company }, draft, fixed);
                                create.push((*id, change, digest.clone()));
                            }
                            None if refused => person_run.open = person_run.open.saturating_sub(1),
                            None => {}
                        }
                    }
                    Step::UpdateInvoice(invoice, draft) => {
                        let deal = person_run.link.deals.get(&draft.show);
                        let of = deal.and_then(|deal| deal.id);
                        let is_moving =
                            person_run.link.invoices.get(&draft.order).is_some_and(|one| one.deal.is_some());
                        // The invoice moves to its deal once the deal is made.
                        if is_moving && of.is_none() {
                            person_run.held += usize::from(person_run.is_deal_held(&draft.show));
                            if deal.is_some_and(|deal| deal.rejected.is_some()) {
                                person_run.open = person_run.open.saturating_sub(1);
                            }
                            continue;
                        }
                        // A company that the CRM refuses holds up no money. One that is looked for does: without it,
                        // the invoice would count as written.
                        let Some(company) = self.company_id(draft.company.as_ref()) else {
                            person_run.held += self.held_by(draft.company.as_ref());
                            continue;
                        };
                        let parents = contact.zip(of).map(|(contact, deal)| InvoiceParents { contact, deal, company });
                        let draft = InvoiceDraft { parents, ..draft };
                        update.push((*id, CrmChange::UpdateInvoice(invoice, draft), digest.clone()));
                    }
                    Step::CancelInvoice(invoice, draft) => {
                        old.push((*id, CrmChange::CancelInvoice(invoice, draft), digest.clone()))
                    }
                    _ => {}
                }
            }
        }
        [create, update, old]
    }

    /// Takes over the new state of the second CRM.
    pub(crate) fn learn_second(&self, links: Vec<(PersonId, CrmState)>) {
        let mut person_runs = self.person_runs();
        for (person, link) in links {
            if let Some(person_run) = person_runs.get_mut(&person) {
                person_run.link.second = Some(Box::new(link));
            }
        }
    }

    pub(crate) fn links_of(&self, people: &BTreeSet<PersonId>) -> Vec<(PersonId, CrmState)> {
        let person_runs = self.person_runs();
        people.iter().filter_map(|id| person_runs.get(id).map(|person_run| (*id, person_run.link.clone()))).collect()
    }

    /// Notes rows that the call will create and stages that it will send. Returns the people whose state must be
    /// saved before the call.
    pub(crate) fn intend(&self, tasks: &[PlannedChange], pending: Pending) -> BTreeSet<PersonId> {
        let pending = Some(pending);
        let mut person_runs = self.person_runs();
        let mut changed = BTreeSet::new();
        for (id, change, _) in tasks {
            let Some(person_run) = person_runs.get_mut(id) else { continue };
            match change {
                CrmChange::UpdateContact(_, draft) if !person_run.link.offer_claims(&person_run.person, draft) => {
                    continue;
                }
                CrmChange::UpdateContact(..) => {}
                CrmChange::CreateContact(draft) => {
                    person_run.link.offer_claims(&person_run.person, draft);
                    let values = draft.phones.iter().chain(&draft.emails).cloned().collect();
                    let named = draft.name.clone();
                    let marketed = draft.marketing.as_ref().is_some_and(|shown| !shown.is_empty());
                    let sent = |pending| Pending { values, named, marketed, ..pending };
                    person_run.link.contact.pending = pending.clone().map(sent);
                }
                CrmChange::CreateDeal(_, draft) => {
                    let deal = person_run.link.deals.entry(draft.show.clone()).or_default();
                    let (orders, paid_orders) = (draft.order_numbers(), draft.paid_orders.clone());
                    deal.pending = pending.clone().map(|pending| Pending { orders, paid_orders, ..pending });
                    // If the deal is found later, it stands at the stage at which it was made.
                    let made_at = draft.stage.as_ref().map(|(stage, _)| *stage);
                    let made_at = made_at.filter(|stage| !deal.sent_stages.contains(stage));
                    deal.sent_stages.extend(made_at.filter(|_| !breakage::is_on("made-stage-unnoted")));
                }
                CrmChange::CreateInvoice(_, draft, fixed) => {
                    let invoice = person_run.link.invoices.entry(draft.order.clone()).or_default();
                    invoice.asked = Some(fixed.clone()).filter(|_| !breakage::is_on("found-lines-unknown"));
                    invoice.old.extend(invoice.id);
                    invoice.pending = pending.clone();
                }
                // A crash must not leave the deal at a stage that the hub does not know.
                CrmChange::UpdateDeal(_, draft) if !breakage::is_on("stage-sent-unnoted") => {
                    let Some((stage, _)) = draft.stage else { continue };
                    let sent = &mut person_run.link.deals.entry(draft.show.clone()).or_default().sent_stages;
                    if sent.contains(&stage) {
                        continue;
                    }
                    sent.push(stage);
                }
                _ => continue,
            }
            changed.insert(*id);
        }
        changed
    }

    /// Writes the answers into the CRM states. Returns the people whose state changed, and the ids of new rows. A
    /// call without an answer may take effect until `late_until`. `room` is how many phones and e-mails a contact
    /// takes.
    pub(crate) fn answer(
        &self,
        tasks: &[PlannedChange],
        rows: Vec<WriteOutcome>,
        late_until: Timestamp,
        room: Option<(usize, usize)>,
    ) -> (BTreeSet<PersonId>, BTreeSet<(Kind, u64)>) {
        let mut person_runs = self.person_runs();
        let mut report = self.report();
        let (mut changed, mut made, mut unsent) = (BTreeSet::new(), BTreeSet::new(), 0);
        for ((person, change, digest), row) in tasks.iter().zip(rows) {
            let Some(person_run) = person_runs.get_mut(person) else { continue };
            let row = if breakage::is_on("company-gone-kept") { row.or_refused() } else { row };
            match &row {
                WriteOutcome::Done(id) => {
                    report.rows += 1;
                    made.extend(kind_of_made(change).map(|kind| (kind, *id)));
                }
                WriteOutcome::Refused(reason) => {
                    report.rejected += 1;
                    tracing::warn!(%person, reason, "the CRM refused a row");
                }
                WriteOutcome::Unknown => tracing::warn!(%person, "the CRM's answer was lost; it will be looked up"),
                WriteOutcome::NotSent => unsent += 1,
                WriteOutcome::Held(reason) => tracing::warn!(%person, reason, "a row waits for a manager"),
                WriteOutcome::Gone(gone) => {
                    tracing::warn!(%person, %gone, "a row is gone");
                    self.is_gone(*gone);
                }
                WriteOutcome::Misidentified(bearer) => self.is_misidentified(*person, change, *bearer),
            }
            match row {
                WriteOutcome::Done(_) | WriteOutcome::Refused(_) => person_run.open = person_run.open.saturating_sub(1),
                WriteOutcome::Unknown | WriteOutcome::NotSent | WriteOutcome::Held(_) | WriteOutcome::Gone(_) => {
                    person_run.failed = true
                }
                // The row is checked below, and the next run does the step. A row that was to be made needs no check.
                WriteOutcome::Misidentified(_) => person_run.failed |= kind_of_made(change).is_some(),
            }
            write(&mut person_run.link, change, digest, row, (self.at, late_until), room);
            changed.insert(*person);
        }
        drop((person_runs, report));
        self.unsent(unsent, tasks.len());
        (changed, made)
    }
}
