//! The people of one round, what is to be done for each, and what was answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use stagedoor_engine::{
    CompanyRef, ContactDraft, DealDraft, Digest, Intent, InvoiceDraft, InvoiceParents, Link, Person, PersonId, Plan,
    ShowKey, Step,
};
use stagedoor_model::{Kind, Timestamp, breakage};
use stagedoor_ports::{Gone, Hangs, Mark, Row};

use tokio::time::Instant;

use crate::{
    Reconciled,
    answers::{kind_of_made, write},
    misidentified::Misidentified,
};

/// So many calls of which no row could be sent stop a round.
const STRIKES: usize = 2;

/// What is known where a bulk call could not be made.
const UNUSABLE: &str = "the CRM cannot be used now";

/// A person in work.
pub(crate) struct Case {
    pub version: u64,
    pub mark: Mark,
    /// Runs that failed before this one.
    pub tries: u32,
    /// Whether one of its calls was made and brought no answer that stands.
    pub failed: bool,
    pub person: Person,
    pub link: Link,
    pub plan: Plan,
    pub trace: Option<String>,
    /// Steps that were neither done nor refused.
    pub open: usize,
    /// Open steps that wait for a call without an answer, which may still take effect.
    pub held: usize,
    /// Calls without an answer may still make rows: one more open step is to look for them, whatever the plan says.
    pub late: bool,
}

impl Case {
    /// Whether an earlier call may still make the contact. A company that holds the contact up holds up its deals, too.
    pub(crate) fn is_contact_held(&self) -> bool {
        self.link.contact.intent.is_some() || self.held > 0
    }

    /// Whether all that is open waits for calls that may still take effect.
    pub(crate) fn waits_for_a_late_call(&self) -> bool {
        let waiting = self.held + usize::from(self.late);
        waiting > 0 && waiting >= self.open
    }

    /// Ids beside the person's own that their rows may bear.
    fn other_ids(&self) -> BTreeSet<PersonId> {
        self.person.absorbed.iter().chain(&self.link.other_ids).copied().collect()
    }

    fn is_deal_held(&self, show: &ShowKey) -> bool {
        self.link.deals.get(show).is_some_and(|deal| deal.intent.is_some() && deal.id.is_none())
    }

    pub(crate) fn wants(&self, company: &str) -> bool {
        !self.plan.steps.is_empty() && self.plan.companies.iter().any(|one| one.key == company)
    }
}

pub(crate) enum Job {
    CreateContact(ContactDraft),
    UpdateContact(u64, ContactDraft),
    CreateDeal(u64, DealDraft),
    UpdateDeal(u64, DealDraft),
    /// A further deal of the same person and show.
    CloseDouble(u64, DealDraft),
    MarkDuplicate(u64, u64),
    /// With the digest of what cannot be changed once it is made.
    CreateInvoice(Hangs, InvoiceDraft, Digest),
    UpdateInvoice(u64, InvoiceDraft),
    LetGo(u64, InvoiceDraft),
}

pub(crate) type Task = (PersonId, Job, Digest);

pub(crate) struct Round {
    pub cases: Mutex<BTreeMap<PersonId, Case>>,
    pub report: Mutex<Reconciled>,
    pub saving: tokio::sync::Mutex<()>,
    /// Whose segments changed and were not written down with anything else yet.
    pub unsaved: Mutex<BTreeSet<PersonId>>,
    /// By their keys; `None` for one that the CRM refuses.
    pub companies: Mutex<BTreeMap<String, Option<u64>>>,
    /// Companies that a call without an answer may still make.
    pub looking: Mutex<BTreeSet<String>>,
    /// Rows that calls found to be gone from the CRM.
    pub gone: Mutex<BTreeSet<Gone>>,
    /// Rows that were not written, because they bear somebody else's id.
    pub misidentified: Mutex<Vec<Misidentified>>,
    /// Calls in a row of which no row could be sent.
    pub strikes: AtomicUsize,
    pub at: Timestamp,
    /// No call begins after this.
    pub until: Option<Instant>,
    /// The round of the first CRM, where this is the second's: what is learnt is saved with it.
    pub beneath: Option<Arc<Round>>,
    /// Of the CRM's numbers.
    pub scope: &'static str,
}

impl Round {
    /// The traces of those whom a call is about, between spaces.
    pub(crate) fn traces_of(&self, tasks: &[Task]) -> String {
        let cases = self.cases();
        let traces: BTreeSet<&str> = tasks.iter().filter_map(|(id, _, _)| cases.get(id)?.trace.as_deref()).collect();
        traces.into_iter().collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn cases(&self) -> std::sync::MutexGuard<'_, BTreeMap<PersonId, Case>> {
        self.cases.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn report(&self) -> std::sync::MutexGuard<'_, Reconciled> {
        self.report.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn stop(&self, reason: String) {
        self.report().unavailable = Some(reason);
        self.strikes.store(STRIKES, Ordering::Relaxed);
    }

    /// The CRM's client knows more than its rows tell.
    pub(crate) fn explain(&self, trouble: Option<String>) {
        let mut report = self.report();
        if report.unavailable.as_deref() == Some(UNUSABLE)
            && let Some(trouble) = trouble
            && !breakage::is_on("unpaid-unsaid")
        {
            report.unavailable = Some(trouble);
        }
    }

    /// Whether its time is over; who is left waits for the next one.
    pub(crate) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Told by each call that was made.
    pub(crate) fn took(&self, time: Duration) {
        let mut report = self.report();
        report.longest_call = report.longest_call.max(time);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.strikes.load(Ordering::Relaxed) >= STRIKES
    }

    /// Notes how many rows of a call could not be sent. One row may be at fault alone; a whole call, or a second one, is the CRM.
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

    /// A draft's company with its id; `None` while that is not known.
    fn resolved(&self, company: Option<&CompanyRef>) -> Option<Option<CompanyRef>> {
        let Some(company) = company else { return Some(None) };
        let id = self.company_id(Some(&company.key))?;
        Some(Some(CompanyRef { key: company.key.clone(), id }))
    }

    /// One step more waits where a company does that may still be made.
    fn held_by(&self, company: Option<&String>) -> usize {
        let looking = self.looking.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        usize::from(company.is_some_and(|key| looking.contains(key)))
    }

    fn company_id(&self, key: Option<&String>) -> Option<Option<u64>> {
        let companies = self.companies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        key.map_or(Some(None), |key| companies.get(key).copied())
    }

    pub(crate) fn contact_tasks(&self) -> [Vec<Task>; 3] {
        let (mut create, mut update, mut mark) = (Vec::new(), Vec::new(), Vec::new());
        for (id, case) in self.cases().iter_mut() {
            for (step, digest) in &case.plan.steps {
                match step.clone() {
                    // One that an earlier call may still make waits.
                    Step::CreateContact(_) if case.link.contact.intent.is_some() => case.held += 1,
                    Step::CreateContact(draft) if case.link.contact.id.is_none() => {
                        let company = self.resolved(draft.company.as_ref());
                        case.held += self.held_by(draft.company.as_ref().map(|company| &company.key));
                        let job = |company| Job::CreateContact(ContactDraft { company, ..draft });
                        create.extend(company.map(|company| (*id, job(company), digest.clone())));
                    }
                    Step::UpdateContact(contact, draft) => {
                        let company = self.resolved(draft.company.as_ref());
                        case.held += self.held_by(draft.company.as_ref().map(|company| &company.key));
                        let other_ids = case.other_ids();
                        let job = |company| Job::UpdateContact(contact, ContactDraft { company, other_ids, ..draft });
                        update.extend(company.map(|company| (*id, job(company), digest.clone())));
                    }
                    Step::MarkDuplicate { contact, of } => {
                        mark.push((*id, Job::MarkDuplicate(contact, of), digest.clone()));
                    }
                    _ => {}
                }
            }
        }
        [create, update, mark]
    }

    pub(crate) fn deal_tasks(&self) -> [Vec<Task>; 3] {
        let (mut create, mut update, mut double) = (Vec::new(), Vec::new(), Vec::new());
        let gone = self.gone.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        for (id, case) in self.cases().iter_mut() {
            let contact = case.plan.contact.or(case.link.contact.id);
            // A deal that showed the purchase now would say that the contact was deleted after it.
            if contact.is_some_and(|contact| gone.contains(&Gone::Contact(contact))) {
                continue;
            }
            let refused = case.link.contact.parked.is_some();
            let held = usize::from(contact.is_none() && case.is_contact_held());
            for (step, digest) in &case.plan.steps {
                match (step.clone(), contact) {
                    (Step::CreateDeal(draft), _) if case.is_deal_held(&draft.show) => case.held += 1,
                    (Step::CreateDeal(draft), Some(contact)) => {
                        let known = case.link.deals.get(&draft.show).and_then(|deal| deal.id);
                        let company = self.resolved(draft.company.as_ref()).filter(|_| known.is_none());
                        case.held += self.held_by(draft.company.as_ref().map(|company| &company.key));
                        let job = |company| Job::CreateDeal(contact, DealDraft { company, ..draft });
                        create.extend(company.map(|company| (*id, job(company), digest.clone())));
                    }
                    // A deal whose contact the CRM refuses waits for the same manager.
                    (Step::CreateDeal(_), None) if refused => case.open = case.open.saturating_sub(1),
                    (Step::CreateDeal(_), None) => case.held += held,
                    (Step::CloseDouble(lead, draft), _) => {
                        let draft = DealDraft { other_ids: case.other_ids(), ..draft };
                        double.push((*id, Job::CloseDouble(lead, draft), digest.clone()));
                    }
                    (Step::UpdateDeal(lead, draft), _) => {
                        let company = self.resolved(draft.company.as_ref());
                        case.held += self.held_by(draft.company.as_ref().map(|company| &company.key));
                        let other_ids = case.other_ids();
                        let job = |company| Job::UpdateDeal(lead, DealDraft { company, other_ids, ..draft });
                        update.extend(company.map(|company| (*id, job(company), digest.clone())));
                    }
                    _ => {}
                }
            }
        }
        [create, update, double]
    }

    /// Invoices hang on deals, so they come after them.
    pub(crate) fn invoice_tasks(&self) -> [Vec<Task>; 3] {
        let (mut create, mut update, mut old) = (Vec::new(), Vec::new(), Vec::new());
        for (id, case) in self.cases().iter_mut() {
            let contact = case.plan.contact.or(case.link.contact.id);
            for (step, digest) in &case.plan.steps {
                match step.clone() {
                    Step::CreateInvoice(draft, _)
                        if case.link.invoices.get(&draft.order).is_some_and(|one| one.intent.is_some())
                            || case.is_deal_held(&draft.show)
                            || contact.is_none() && case.is_contact_held()
                            || self.held_by(draft.company.as_ref()) > 0 =>
                    {
                        case.held += 1;
                    }
                    // A look found it since the plan was made.
                    Step::CreateInvoice(draft, _)
                        if case.link.invoices.get(&draft.order).is_some_and(|one| one.turn() != draft.turn)
                            && !breakage::is_on("found-invoice-made-again") => {}
                    Step::CreateInvoice(draft, fixed) => {
                        let deal = case.link.deals.get(&draft.show);
                        let company = self.company_id(draft.company.as_ref());
                        // What the CRM refuses them to hang on waits for the same manager; a company's invoice is in nobody else's name.
                        let nameless = draft.company.is_some() && company == Some(None);
                        let refused = nameless
                            || case.link.contact.parked.is_some()
                            || deal.is_some_and(|deal| deal.parked.is_some());
                        let company = company.filter(|_| !nameless);
                        let hangs = contact.zip(deal.and_then(|deal| deal.id)).zip(company);
                        match hangs {
                            Some(((contact, deal), company)) => {
                                let job = Job::CreateInvoice(Hangs { contact, deal, company }, draft, fixed);
                                create.push((*id, job, digest.clone()));
                            }
                            None if refused => case.open = case.open.saturating_sub(1),
                            None => {}
                        }
                    }
                    Step::UpdateInvoice(invoice, draft) => {
                        let deal = case.link.deals.get(&draft.show);
                        let of = deal.and_then(|deal| deal.id);
                        let is_moving = case.link.invoices.get(&draft.order).is_some_and(|one| one.deal.is_some());
                        // It moves to its deal once that is made.
                        if is_moving && of.is_none() {
                            case.held += usize::from(case.is_deal_held(&draft.show));
                            if deal.is_some_and(|deal| deal.parked.is_some()) {
                                case.open = case.open.saturating_sub(1);
                            }
                            continue;
                        }
                        let parents = contact.zip(of).map(|(contact, deal)| InvoiceParents { contact, deal });
                        let draft = InvoiceDraft { parents, ..draft };
                        update.push((*id, Job::UpdateInvoice(invoice, draft), digest.clone()));
                    }
                    Step::LetGo(invoice, draft) => old.push((*id, Job::LetGo(invoice, draft), digest.clone())),
                    _ => {}
                }
            }
        }
        [create, update, old]
    }

    /// Takes over what the second CRM is now known to hold.
    pub(crate) fn learn_second(&self, links: Vec<(PersonId, Link)>) {
        let mut cases = self.cases();
        for (person, link) in links {
            if let Some(case) = cases.get_mut(&person) {
                case.link.second = Some(Box::new(link));
            }
        }
    }

    /// What was written is now a revision further.
    pub(crate) fn kept(&self, people: &BTreeSet<PersonId>) {
        self.unsaved.lock().unwrap_or_else(std::sync::PoisonError::into_inner).retain(|id| !people.contains(id));
        let mut cases = self.cases();
        people.iter().for_each(|id| {
            if let Some(case) = cases.get_mut(id) {
                case.link.revision += 1;
            }
        });
    }

    pub(crate) fn links_of(&self, people: &BTreeSet<PersonId>) -> Vec<(PersonId, Link)> {
        let cases = self.cases();
        people.iter().filter_map(|id| cases.get(id).map(|case| (*id, case.link.clone()))).collect()
    }

    /// Marks what is about to be created, and stages that are about to be sent; the links of these people are to be saved before the call.
    pub(crate) fn intend(&self, tasks: &[Task], intent: Intent) -> BTreeSet<PersonId> {
        let intent = Some(intent);
        let mut cases = self.cases();
        let mut changed = BTreeSet::new();
        for (id, job, _) in tasks {
            let Some(case) = cases.get_mut(id) else { continue };
            match job {
                Job::UpdateContact(_, draft) if !case.link.offer_claims(&case.person, draft) => continue,
                Job::UpdateContact(..) => {}
                Job::CreateContact(draft) => {
                    case.link.offer_claims(&case.person, draft);
                    let values = draft.phones.iter().chain(&draft.emails).cloned().collect();
                    case.link.contact.intent = intent.clone().map(|intent| Intent { values, ..intent });
                }
                Job::CreateDeal(_, draft) => {
                    let deal = case.link.deals.entry(draft.show.clone()).or_default();
                    deal.intent = intent.clone();
                    // Found later, it stands where it was made.
                    let made_at = draft.stage.as_ref().map(|(stage, _)| *stage);
                    let made_at = made_at.filter(|stage| !deal.sent_stages.contains(stage));
                    deal.sent_stages.extend(made_at.filter(|_| !breakage::is_on("made-stage-unnoted")));
                }
                Job::CreateInvoice(_, draft, fixed) => {
                    let invoice = case.link.invoices.entry(draft.order.clone()).or_default();
                    invoice.asked = Some(fixed.clone()).filter(|_| !breakage::is_on("found-lines-unknown"));
                    invoice.old.extend(invoice.id);
                    invoice.intent = intent.clone();
                }
                // A crash must not leave the deal at a stage of which the hub does not know.
                Job::UpdateDeal(_, draft) if !breakage::is_on("stage-sent-unnoted") => {
                    let Some((stage, _)) = draft.stage else { continue };
                    let sent = &mut case.link.deals.entry(draft.show.clone()).or_default().sent_stages;
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

    /// Writes the answers into the links. Answers whose links changed, and which ids the CRM gave to new rows. A call without an
    /// answer may take effect until `late_until`. `room`: how many phones and e-mails a contact takes.
    pub(crate) fn answer(
        &self,
        tasks: &[Task],
        rows: Vec<Row>,
        late_until: Timestamp,
        room: Option<(usize, usize)>,
    ) -> (BTreeSet<PersonId>, BTreeSet<(Kind, u64)>) {
        let mut cases = self.cases();
        let mut report = self.report();
        let (mut changed, mut made, mut unsent) = (BTreeSet::new(), BTreeSet::new(), 0);
        for ((person, job, digest), row) in tasks.iter().zip(rows) {
            let Some(case) = cases.get_mut(person) else { continue };
            let row = if breakage::is_on("company-gone-kept") { row.or_refused() } else { row };
            match &row {
                Row::Done(id) => {
                    report.rows += 1;
                    made.extend(kind_of_made(job).map(|kind| (kind, *id)));
                }
                Row::Refused(reason) => {
                    report.parked += 1;
                    tracing::warn!(%person, reason, "the CRM refused a row");
                }
                Row::Unknown => tracing::warn!(%person, "the CRM's answer was lost; it will be looked up"),
                Row::NotSent => unsent += 1,
                Row::Held(reason) => tracing::warn!(%person, reason, "a row waits for a manager"),
                Row::Gone(gone) => {
                    tracing::warn!(%person, %gone, "a row is gone");
                    self.is_gone(*gone);
                }
                Row::Misidentified(bearer) => self.is_misidentified(*person, job, *bearer),
            }
            match row {
                Row::Done(_) | Row::Refused(_) => case.open = case.open.saturating_sub(1),
                Row::Unknown | Row::NotSent | Row::Held(_) | Row::Gone(_) => case.failed = true,
                // Looked at below, and done by the next run; of a row that was to be made there is nothing to look at.
                Row::Misidentified(_) => case.failed |= kind_of_made(job).is_some(),
            }
            write(&mut case.link, job, digest, row, (self.at, late_until), room);
            changed.insert(*person);
        }
        drop((cases, report));
        self.unsent(unsent, tasks.len());
        (changed, made)
    }
}
