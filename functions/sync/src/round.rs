//! The people of one round, what is to be done for each, and what was answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use stagedoor_engine::{
    CompanyRef, ContactDraft, DealDraft, Digest, Intent, InvoiceDraft, InvoiceLink, Link, ORDERS, Parked, Person,
    PersonId, Plan, ShowKey, Step,
};
use stagedoor_model::{Identifier, Kind, Timestamp};
use stagedoor_ports::{Hangs, Mark, Row};

use crate::Reconciled;

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
}

impl Case {
    pub(crate) fn wants(&self, company: &str) -> bool {
        !self.plan.steps.is_empty() && self.plan.companies.iter().any(|one| one.key == company)
    }
}

pub(crate) enum Job {
    CreateContact(ContactDraft),
    UpdateContact(u64, ContactDraft),
    CreateDeal(u64, DealDraft),
    UpdateDeal(u64, DealDraft),
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
    pub at: Timestamp,
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
    }

    pub(crate) fn stopped(&self) -> bool {
        self.report().unavailable.is_some()
    }

    /// A draft's company with its id; `None` while that is not known.
    fn resolved(&self, company: Option<&CompanyRef>) -> Option<Option<CompanyRef>> {
        let Some(company) = company else { return Some(None) };
        let id = self.company_id(Some(&company.key))?;
        Some(Some(CompanyRef { key: company.key.clone(), id }))
    }

    fn company_id(&self, key: Option<&String>) -> Option<Option<u64>> {
        let companies = self.companies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        key.map_or(Some(None), |key| companies.get(key).copied())
    }

    pub(crate) fn contact_tasks(&self) -> [Vec<Task>; 3] {
        let (mut create, mut update, mut mark) = (Vec::new(), Vec::new(), Vec::new());
        for (id, case) in self.cases().iter() {
            for (step, digest) in &case.plan.steps {
                match step.clone() {
                    // One whose intent could not be looked up waits.
                    Step::CreateContact(draft) if case.link.contact.id.is_none() => {
                        let company = self.resolved(draft.company.as_ref());
                        let job = |company| Job::CreateContact(ContactDraft { company, ..draft });
                        create.extend(company.map(|company| (*id, job(company), digest.clone())));
                    }
                    Step::UpdateContact(contact, draft) => {
                        let company = self.resolved(draft.company.as_ref());
                        let job = |company| Job::UpdateContact(contact, ContactDraft { company, ..draft });
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
        let (mut create, mut update) = (Vec::new(), Vec::new());
        for (id, case) in self.cases().iter_mut() {
            let contact = case.plan.contact.or(case.link.contact.id);
            let refused = case.link.contact.parked.is_some();
            for (step, digest) in &case.plan.steps {
                match (step.clone(), contact) {
                    (Step::CreateDeal(draft), Some(contact)) => {
                        let known = case.link.deals.get(&draft.show).and_then(|deal| deal.id);
                        let company = self.resolved(draft.company.as_ref()).filter(|_| known.is_none());
                        let job = |company| Job::CreateDeal(contact, DealDraft { company, ..draft });
                        create.extend(company.map(|company| (*id, job(company), digest.clone())));
                    }
                    // A deal whose contact the CRM refuses waits for the same manager.
                    (Step::CreateDeal(_), None) if refused => case.open = case.open.saturating_sub(1),
                    (Step::UpdateDeal(lead, draft), _) => {
                        let company = self.resolved(draft.company.as_ref());
                        let job = |company| Job::UpdateDeal(lead, DealDraft { company, ..draft });
                        update.extend(company.map(|company| (*id, job(company), digest.clone())));
                    }
                    _ => {}
                }
            }
        }
        [create, update, Vec::new()]
    }

    /// Invoices hang on deals, so they come after them.
    pub(crate) fn invoice_tasks(&self) -> [Vec<Task>; 3] {
        let (mut create, mut update, mut old) = (Vec::new(), Vec::new(), Vec::new());
        for (id, case) in self.cases().iter_mut() {
            let contact = case.plan.contact.or(case.link.contact.id);
            for (step, digest) in &case.plan.steps {
                match step.clone() {
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

    /// Marks what is about to be created; the links of these people are to be saved before the call.
    pub(crate) fn intend(&self, tasks: &[Task]) -> BTreeSet<PersonId> {
        let intent = Some(Intent { at: self.at });
        let mut cases = self.cases();
        let mut changed = BTreeSet::new();
        for (id, job, _) in tasks {
            let Some(case) = cases.get_mut(id) else { continue };
            match job {
                Job::CreateContact(_) => case.link.contact.intent = intent.clone(),
                Job::CreateDeal(_, draft) => {
                    case.link.deals.entry(draft.show.clone()).or_default().intent = intent.clone();
                }
                Job::CreateInvoice(_, draft, _) => {
                    case.link.invoices.entry(draft.order.clone()).or_default().intent = intent.clone();
                }
                _ => continue,
            }
            changed.insert(*id);
        }
        changed
    }

    /// Writes the answers into the links, and says whom the CRM's new rows belong to.
    #[allow(clippy::type_complexity, reason = "the two halves of one answer")]
    pub(crate) fn answer(
        &self,
        tasks: &[Task],
        rows: Vec<Row>,
    ) -> (BTreeSet<PersonId>, Vec<(Identifier, PersonId, Option<PersonId>)>) {
        let mut cases = self.cases();
        let mut report = self.report();
        let (mut changed, mut claims) = (BTreeSet::new(), Vec::new());
        for ((person, job, digest), row) in tasks.iter().zip(rows) {
            let Some(case) = cases.get_mut(person) else { continue };
            let row = row.or_refused();
            match &row {
                Row::Done(id) => {
                    report.rows += 1;
                    claims.extend(claim(job, *id, self.scope).map(|identifier| (identifier, *person, None)));
                }
                Row::Refused(reason) => {
                    report.parked += 1;
                    tracing::warn!(%person, reason, "the CRM refused a row");
                }
                Row::Unknown => tracing::warn!(%person, "the CRM's answer was lost; it will be looked up"),
                Row::NotSent => report.unavailable = Some("the CRM cannot be used now".into()),
                Row::Held(reason) => tracing::warn!(%person, reason, "a row waits for a manager"),
                Row::Gone(gone) => tracing::warn!(%person, %gone, "a row is gone"),
            }
            match row {
                Row::Done(_) | Row::Refused(_) => case.open = case.open.saturating_sub(1),
                Row::Unknown | Row::NotSent | Row::Held(_) | Row::Gone(_) => case.failed = true,
            }
            write(&mut case.link, job, digest, row, self.at);
            changed.insert(*person);
        }
        (changed, claims)
    }

    pub(crate) fn unanswered(&self) -> Unanswered {
        let mut unanswered = Unanswered::default();
        for (id, case) in self.cases().iter() {
            let contact = case.link.contact.intent.iter().map(|intent| intent.at);
            let deals = case.link.deals.iter().filter_map(|(show, deal)| Some((deal.intent.as_ref()?.at, show)));
            let invoices = case.link.invoices.iter();
            let invoices = invoices.filter_map(|(order, one)| Some((one.intent.as_ref()?.at, key_of(order, one))));
            let mut since: Vec<Timestamp> = contact.collect();
            if !since.is_empty() {
                unanswered.contacts.insert(*id);
            }
            for (at, show) in deals {
                since.push(at);
                unanswered.deals.insert((*id, show.clone()));
            }
            for (at, key) in invoices {
                since.push(at);
                unanswered.invoices.insert(key);
            }
            unanswered.since = since.into_iter().chain(unanswered.since).min();
        }
        unanswered
    }

    pub(crate) fn resolve_intents(
        &self,
        contacts: &BTreeMap<PersonId, u64>,
        deals: &BTreeMap<(PersonId, ShowKey), u64>,
        invoices: &BTreeMap<String, u64>,
    ) -> BTreeSet<PersonId> {
        let mut changed = BTreeSet::new();
        for (id, case) in self.cases().iter_mut() {
            let before = case.link.clone();
            if case.link.contact.intent.take().is_some() {
                case.link.contact.id = case.link.contact.id.or(contacts.get(id).copied());
            }
            for (show, deal) in &mut case.link.deals {
                if deal.intent.take().is_some() {
                    deal.id = deal.id.or(deals.get(&(*id, show.clone())).copied());
                }
            }
            for (order, invoice) in &mut case.link.invoices {
                let key = key_of(order, invoice);
                if invoice.intent.take().is_some()
                    && let Some(found) = invoices.get(&key)
                {
                    let anew = invoice.anew + u32::from(invoice.id.is_some());
                    *invoice = InvoiceLink { id: Some(*found), anew, ..InvoiceLink::default() };
                }
            }
            if case.link != before {
                changed.insert(*id);
            }
        }
        changed
    }
}

/// What was asked for and never answered.
#[derive(Default)]
pub(crate) struct Unanswered {
    pub contacts: BTreeSet<PersonId>,
    pub deals: BTreeSet<(PersonId, ShowKey)>,
    pub invoices: BTreeSet<String>,
    pub since: Option<Timestamp>,
}

/// The key of the invoice that was asked for last.
fn key_of(order: &str, known: &InvoiceLink) -> String {
    match known.anew + u32::from(known.id.is_some()) {
        0 => order.to_owned(),
        turn => format!("{order}/{turn}"),
    }
}

fn claim(job: &Job, id: u64, scope: &str) -> Option<Identifier> {
    match job {
        Job::CreateContact(_) => Identifier::opaque(Kind::CrmContact, scope, &id.to_string()),
        Job::CreateDeal(..) => Identifier::opaque(Kind::CrmLead, scope, &id.to_string()),
        _ => None,
    }
}

fn write(link: &mut Link, job: &Job, digest: &Digest, row: Row, at: Timestamp) {
    let parked = |reason: String| Some(Parked { digest: digest.clone(), reason, at });
    match job {
        Job::CreateContact(draft) | Job::UpdateContact(_, draft) => {
            let contact = &mut link.contact;
            match row {
                Row::Done(id) => {
                    contact.marketed = draft.marketing.as_ref().is_some_and(|shown| !shown.is_empty());
                    (contact.id, contact.pushed) = (Some(id), Some(digest.clone()));
                    (contact.intent, contact.parked) = (None, None);
                }
                Row::Refused(reason) => (contact.intent, contact.parked) = (None, parked(reason)),
                Row::NotSent | Row::Held(_) | Row::Gone(_) => contact.intent = None,
                Row::Unknown => {}
            }
        }
        Job::CreateDeal(_, draft) | Job::UpdateDeal(_, draft) => {
            let deal = link.deals.entry(draft.show.clone()).or_default();
            match row {
                Row::Done(id) => {
                    (deal.id, deal.pushed) = (Some(id), Some(digest.clone()));
                    deal.stage = draft.stage.as_ref().map(|(stage, _)| *stage).or(deal.stage);
                    deal.orders =
                        draft.orders.split(ORDERS).filter(|order| !order.is_empty()).map(str::to_owned).collect();
                    (deal.intent, deal.parked) = (None, None);
                }
                Row::Refused(reason) => (deal.intent, deal.parked) = (None, parked(reason)),
                Row::NotSent | Row::Held(_) | Row::Gone(_) => deal.intent = None,
                Row::Unknown => {}
            }
        }
        Job::CreateInvoice(_, draft, _) | Job::UpdateInvoice(_, draft) => {
            let invoice = link.invoices.entry(draft.order.clone()).or_default();
            match row {
                Row::Done(id) => {
                    if let Job::CreateInvoice(_, _, fixed) = job {
                        (invoice.fixed, invoice.anew) = (Some(fixed.clone()), draft.turn);
                    }
                    (invoice.id, invoice.pushed) = (Some(id), Some(digest.clone()));
                    (invoice.intent, invoice.parked) = (None, None);
                }
                Row::Refused(reason) => (invoice.intent, invoice.parked) = (None, parked(reason)),
                Row::NotSent | Row::Held(_) | Row::Gone(_) => invoice.intent = None,
                Row::Unknown => {}
            }
        }
        // The next plan finds the new one in its place.
        Job::LetGo(..) => {}
        Job::MarkDuplicate(contact, _) => {
            if matches!(row, Row::Done(_) | Row::Refused(_)) {
                link.marked.insert(*contact);
            }
        }
    }
}
