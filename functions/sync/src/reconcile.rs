//! Step 3: people whose CRM state may differ from what it should be are compared and made equal, in bulk.
//!
//! Creating is crash-safe: an intent is saved before the call, and an intent without an answer is looked up by the
//! hub's own id before anything is created again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, atomic::Ordering},
};

use futures_util::{StreamExt, stream};
use jiff::SignedDuration;
use stagedoor_engine::{
    ContactDraft, DealDraft, Digest, Intent, Link, ORDERS, Parked, Person, PersonId, Plan, ShowKey, Step, plan,
};
use stagedoor_model::{Identifier, Kind, Timestamp};
use stagedoor_ports::{Commit, CrmError, Dirty, PortError, Row};
use tracing::Instrument;

use crate::Sync;

const LEASE: &str = "reconciler";
pub(crate) const ELSEWHERE: &str = "another process reconciles";
const LEASE_TIME: SignedDuration = SignedDuration::from_secs(120);
/// A second, and a little for clocks that differ.
const REST: SignedDuration = SignedDuration::from_millis(1_100);
/// People compared in one round.
const ROUND: usize = 2_000;
/// And while the CRM cannot be used.
const OUTAGE: usize = 20_000;
/// Bulk calls under way at once: a CRM takes seconds for a full batch, and the rate is kept elsewhere.
const CALLS: usize = 3;

/// Whether a batch that is not full is sent now or waits for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    FullBatches,
    Everything,
}

/// What one round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// People who are now as they should be.
    pub settled: usize,
    /// Rows that the CRM took.
    pub rows: usize,
    /// Rows that it refused.
    pub parked: usize,
    /// People who still wait.
    pub left: usize,
    /// Why the CRM could not be used.
    pub unavailable: Option<String>,
}

/// A person in work.
pub(crate) struct Case {
    version: u64,
    pub person: Person,
    pub link: Link,
    pub plan: Plan,
    trace: Option<String>,
    /// Steps that were neither done nor refused.
    pub open: usize,
}

enum Job {
    CreateContact(ContactDraft),
    UpdateContact(u64, ContactDraft),
    CreateDeal(u64, DealDraft),
    UpdateDeal(u64, DealDraft),
    MarkDuplicate(u64, u64),
}

type Task = (PersonId, Job, Digest);

pub(crate) struct Round {
    cases: Mutex<BTreeMap<PersonId, Case>>,
    report: Mutex<Reconciled>,
    saving: tokio::sync::Mutex<()>,
    /// Whose segments changed and were not written down with anything else yet.
    unsaved: Mutex<BTreeSet<PersonId>>,
    pub at: Timestamp,
}

impl Sync {
    /// One round, if this process may hold the lease: the rate limit is one account's, so is the reconciler.
    ///
    /// # Errors
    /// When the store fails. A CRM that cannot be used is no error: its people wait.
    pub async fn reconcile(&self, pace: Pace) -> Result<Reconciled, PortError> {
        if !self.lease().await? {
            return Ok(Reconciled { unavailable: Some(ELSEWHERE.into()), ..Reconciled::default() });
        }
        let report = self.reconcile_leased(pace).await;
        self.release().await?;
        report
    }

    /// Gives the lease back, but not at once: whoever takes it next must not spend the same second of the CRM's rate.
    pub(crate) async fn release(&self) -> Result<(), PortError> {
        let now = self.clock.now();
        self.store.lease(LEASE, &self.owner, now, now + REST).await.map(drop)
    }

    pub(crate) async fn lease(&self) -> Result<bool, PortError> {
        let now = self.clock.now();
        self.store.lease(LEASE, &self.owner, now, now + LEASE_TIME).await
    }

    async fn reconcile_leased(&self, pace: Pace) -> Result<Reconciled, PortError> {
        let most = if self.outage.load(Ordering::Relaxed) { OUTAGE } else { ROUND };
        let mut dirty = self.store.take_dirty(most).await?;
        if dirty.is_empty() {
            return Ok(Reconciled::default());
        }
        let catalog = self.catalog().await?;
        let mut unsaved = self.segment(&mut dirty, &catalog).await?;
        unsaved.extend(self.write(&mut dirty, &catalog).await?);
        let unsaved = Mutex::new(unsaved);
        let draft = |dirty: Dirty| {
            let plan = plan(&dirty.person, &dirty.link, &catalog);
            let open = plan.len();
            let Dirty { person, version, link, trace } = dirty;
            (person.id, Case { version, person, link, plan, trace, open })
        };
        let cases: BTreeMap<PersonId, Case> = dirty.into_iter().map(draft).collect();
        let idle = cases.values().all(|case| case.open == 0);
        let (cases, at) = (Mutex::new(cases), self.clock.now());
        let round = Round { cases, report: Mutex::default(), saving: tokio::sync::Mutex::default(), unsaved, at };
        if !idle {
            self.push(&round, pace).await?;
        }
        self.enrol(&round).await?;
        let unsaved = std::mem::take(&mut *round.unsaved.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        self.keep(&round, unsaved).await?;
        self.settle(round).await
    }

    async fn push(&self, round: &Round, pace: Pace) -> Result<(), PortError> {
        let pace = if self.crm.in_bulk() { pace } else { Pace::Everything };
        if let Err(error) = self.crm.set_up().await {
            tracing::warn!(%error, "the CRM is not ready");
            round.stop(error.to_string());
            return Ok(());
        }
        if let Err(error) = self.look_up_intents(round).await? {
            tracing::warn!(%error, "what was created could not be looked up");
            round.stop(error.to_string());
            return Ok(());
        }
        self.run(round, round.contact_tasks(), pace).await?;
        self.run(round, round.deal_tasks(), pace).await?;
        self.remark(round, pace).await
    }

    async fn run(&self, round: &Round, lanes: [Vec<Task>; 3], pace: Pace) -> Result<(), PortError> {
        let batch = self.crm.batch().max(1);
        let mut chunks = Vec::new();
        for mut lane in lanes {
            if pace == Pace::FullBatches {
                lane.truncate(lane.len() / batch * batch);
            }
            while !lane.is_empty() {
                let rest = lane.split_off(lane.len().min(batch));
                chunks.push(std::mem::replace(&mut lane, rest));
            }
        }
        let done = stream::iter(chunks).map(|chunk| self.call(round, chunk)).buffer_unordered(CALLS);
        done.fold(Ok(()), |all, one| async { all.and(one) }).await
    }

    /// One bulk call: intents saved, rows sent, answers saved.
    async fn call(&self, round: &Round, tasks: Vec<Task>) -> Result<(), PortError> {
        if round.stopped() {
            return Ok(());
        }
        if !self.lease().await? {
            round.stop(ELSEWHERE.into());
            return Ok(());
        }
        self.keep(round, round.intend(&tasks)).await?;
        // The calls' own log lines stand in it: this is where deliveries come to the CRM.
        let span = tracing::info_span!("crm", traces = round.traces_of(&tasks));
        let rows = self.send(&tasks).instrument(span).await;
        let (people, claims) = round.answer(&tasks, rows);
        self.keep(round, people).await?;
        if !claims.is_empty() {
            // A claim that the CRM's own webhook made first stands: a conflict loses nothing.
            let alone = |claim| Commit { claims: vec![claim], ..Commit::default() };
            self.store.save(claims.into_iter().map(alone).collect()).await?;
        }
        Ok(())
    }

    /// Saves the links of `people` as they are now. In turns: two calls under way may be about the same person, and what
    /// was written later must not be overwritten by what was read earlier.
    pub(crate) async fn keep(&self, round: &Round, people: BTreeSet<PersonId>) -> Result<(), PortError> {
        if people.is_empty() {
            return Ok(());
        }
        let _turn = round.saving.lock().await;
        let links = round.links_of(&people);
        self.store.save_links(links).await?;
        round.kept(&people);
        Ok(())
    }

    async fn send(&self, tasks: &[Task]) -> Vec<Row> {
        let mut create_contacts = Vec::new();
        let mut update_contacts = Vec::new();
        let mut create_deals = Vec::new();
        let mut update_deals = Vec::new();
        let mut duplicates = Vec::new();
        for (_, job, _) in tasks {
            match job {
                Job::CreateContact(draft) => create_contacts.push(draft.clone()),
                Job::UpdateContact(id, draft) => update_contacts.push((*id, draft.clone())),
                Job::CreateDeal(contact, draft) => create_deals.push((*contact, draft.clone())),
                Job::UpdateDeal(id, draft) => update_deals.push((*id, draft.clone())),
                Job::MarkDuplicate(contact, of) => duplicates.push((*contact, *of)),
            }
        }
        // A lane holds jobs of one kind, so at most one of these is a call.
        let mut rows = Vec::new();
        if !create_contacts.is_empty() {
            rows.extend(self.crm.create_contacts(&create_contacts).await);
        }
        if !update_contacts.is_empty() {
            rows.extend(self.crm.update_contacts(&update_contacts).await);
        }
        if !create_deals.is_empty() {
            rows.extend(self.crm.create_deals(&create_deals).await);
        }
        if !update_deals.is_empty() {
            rows.extend(self.crm.update_deals(&update_deals).await);
        }
        if !duplicates.is_empty() {
            rows.extend(self.crm.mark_duplicates(&duplicates).await);
        }
        rows
    }

    /// What was asked for and never answered is looked up; what is not there may be created again.
    async fn look_up_intents(&self, round: &Round) -> Result<Result<(), CrmError>, PortError> {
        let (contacts, deals, since) = round.unanswered();
        let (mut found_contacts, mut found_deals) = (BTreeMap::new(), BTreeMap::new());
        let Some(since) = since else { return Ok(Ok(())) };
        if !contacts.is_empty() {
            match self.crm.find_contacts(&contacts, since).await {
                Ok(found) => found_contacts = found,
                Err(error) => return Ok(Err(error)),
            }
        }
        if !deals.is_empty() {
            match self.crm.find_deals(&deals, since).await {
                Ok(found) => found_deals = found,
                Err(error) => return Ok(Err(error)),
            }
        }
        let changed = round.resolve_intents(&found_contacts, &found_deals);
        self.keep(round, changed).await?;
        Ok(Ok(()))
    }

    async fn settle(&self, round: Round) -> Result<Reconciled, PortError> {
        let cases = round.cases.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut report = round.report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let done: Vec<(PersonId, u64)> =
            cases.iter().filter(|(_, case)| case.open == 0).map(|(id, case)| (*id, case.version)).collect();
        self.outage.store(report.unavailable.is_some(), Ordering::Relaxed);
        report.settled = done.len();
        report.left = cases.len() - done.len();
        if !done.is_empty() {
            self.store.settle(done).await?;
        }
        Ok(report)
    }
}

impl Round {
    /// The traces of those whom a call is about, between spaces.
    fn traces_of(&self, tasks: &[Task]) -> String {
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

    fn contact_tasks(&self) -> [Vec<Task>; 3] {
        let (mut create, mut update, mut mark) = (Vec::new(), Vec::new(), Vec::new());
        for (id, case) in self.cases().iter() {
            for (step, digest) in &case.plan.steps {
                match step.clone() {
                    // One whose intent could not be looked up waits.
                    Step::CreateContact(draft) if case.link.contact.id.is_none() => {
                        create.push((*id, Job::CreateContact(draft), digest.clone()));
                    }
                    Step::UpdateContact(contact, draft) => {
                        update.push((*id, Job::UpdateContact(contact, draft), digest.clone()));
                    }
                    Step::MarkDuplicate { contact, of } => {
                        mark.push((*id, Job::MarkDuplicate(contact, of), digest.clone()));
                    }
                    Step::CreateContact(_) | Step::CreateDeal(_) | Step::UpdateDeal(..) => {}
                }
            }
        }
        [create, update, mark]
    }

    fn deal_tasks(&self) -> [Vec<Task>; 3] {
        let (mut create, mut update) = (Vec::new(), Vec::new());
        for (id, case) in self.cases().iter_mut() {
            let contact = case.plan.contact.or(case.link.contact.id);
            let refused = case.link.contact.parked.is_some();
            for (step, digest) in &case.plan.steps {
                match (step.clone(), contact) {
                    (Step::CreateDeal(draft), Some(contact)) => {
                        let known = case.link.deals.get(&draft.show).and_then(|deal| deal.id);
                        if known.is_none() {
                            create.push((*id, Job::CreateDeal(contact, draft), digest.clone()));
                        }
                    }
                    // A deal whose contact the CRM refuses waits for the same manager.
                    (Step::CreateDeal(_), None) if refused => case.open = case.open.saturating_sub(1),
                    (Step::UpdateDeal(lead, draft), _) => {
                        update.push((*id, Job::UpdateDeal(lead, draft), digest.clone()));
                    }
                    _ => {}
                }
            }
        }
        [create, update, Vec::new()]
    }

    /// What was written is now a revision further.
    fn kept(&self, people: &BTreeSet<PersonId>) {
        self.unsaved.lock().unwrap_or_else(std::sync::PoisonError::into_inner).retain(|id| !people.contains(id));
        let mut cases = self.cases();
        people.iter().for_each(|id| {
            if let Some(case) = cases.get_mut(id) {
                case.link.revision += 1;
            }
        });
    }

    fn links_of(&self, people: &BTreeSet<PersonId>) -> Vec<(PersonId, Link)> {
        let cases = self.cases();
        people.iter().filter_map(|id| cases.get(id).map(|case| (*id, case.link.clone()))).collect()
    }

    /// Marks what is about to be created; the links of these people are to be saved before the call.
    fn intend(&self, tasks: &[Task]) -> BTreeSet<PersonId> {
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
                _ => continue,
            }
            changed.insert(*id);
        }
        changed
    }

    /// Writes the answers into the links, and says whom the CRM's new rows belong to.
    #[allow(clippy::type_complexity, reason = "the two halves of one answer")]
    fn answer(
        &self,
        tasks: &[Task],
        rows: Vec<Row>,
    ) -> (BTreeSet<PersonId>, Vec<(Identifier, PersonId, Option<PersonId>)>) {
        let mut cases = self.cases();
        let mut report = self.report();
        let (mut changed, mut claims) = (BTreeSet::new(), Vec::new());
        for ((person, job, digest), row) in tasks.iter().zip(rows) {
            let Some(case) = cases.get_mut(person) else { continue };
            match &row {
                Row::Done(id) => {
                    report.rows += 1;
                    claims.extend(claim(job, *id).map(|identifier| (identifier, *person, None)));
                }
                Row::Refused(reason) => {
                    report.parked += 1;
                    tracing::warn!(%person, reason, "the CRM refused a row");
                }
                Row::Unknown => tracing::warn!(%person, "the CRM's answer was lost; it will be looked up"),
                Row::NotSent => report.unavailable = Some("the CRM cannot be used now".into()),
            }
            if matches!(row, Row::Done(_) | Row::Refused(_)) {
                case.open = case.open.saturating_sub(1);
            }
            write(&mut case.link, job, digest, row, self.at);
            changed.insert(*person);
        }
        (changed, claims)
    }

    fn unanswered(&self) -> (BTreeSet<PersonId>, BTreeSet<(PersonId, ShowKey)>, Option<Timestamp>) {
        let (mut contacts, mut deals, mut since) = (BTreeSet::new(), BTreeSet::new(), None::<Timestamp>);
        for (id, case) in self.cases().iter() {
            let contact = case.link.contact.intent.iter().map(|intent| (intent.at, None));
            let shows = case.link.deals.iter();
            let shows = shows.filter_map(|(show, deal)| Some((deal.intent.as_ref()?.at, Some(show.clone()))));
            for (at, show) in contact.chain(shows) {
                since = Some(since.map_or(at, |known| known.min(at)));
                match show {
                    None => _ = contacts.insert(*id),
                    Some(show) => _ = deals.insert((*id, show)),
                }
            }
        }
        (contacts, deals, since)
    }

    fn resolve_intents(
        &self,
        contacts: &BTreeMap<PersonId, u64>,
        deals: &BTreeMap<(PersonId, ShowKey), u64>,
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
            if case.link != before {
                changed.insert(*id);
            }
        }
        changed
    }
}

fn claim(job: &Job, id: u64) -> Option<Identifier> {
    match job {
        Job::CreateContact(_) => Identifier::opaque(Kind::CrmContact, "", &id.to_string()),
        Job::CreateDeal(..) => Identifier::opaque(Kind::CrmLead, "", &id.to_string()),
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
                Row::NotSent => contact.intent = None,
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
                Row::NotSent => deal.intent = None,
                Row::Unknown => {}
            }
        }
        Job::MarkDuplicate(contact, _) => {
            if matches!(row, Row::Done(_) | Row::Refused(_)) {
                link.marked.insert(*contact);
            }
        }
    }
}
