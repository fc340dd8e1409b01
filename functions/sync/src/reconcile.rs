//! Step 3: compares the people whose CRM state may be out of date with the CRM, and writes the differences in bulk.
//!
//! Creating is crash-safe. A pending mark is saved before the call. After a call without an answer, the row is looked
//! up by the hub's own id, until the call can have no late effect (`pending_calls`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt, stream};
use stagedoor_engine::{Catalog, Pending, Person, PersonId, Plan, next_turn, plan};
use stagedoor_model::{SECOND_CRM, Timestamp, breakage};
use stagedoor_ports::{Dirty, PortError, WriteOutcome, Writes, read_withdrawals};
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    CrmAccount, RunReport, Sync,
    crm_change::{CrmChange, PlannedChange},
    hang::{count_unhung, is_idle},
    lease::ELSEWHERE,
    restored::Asked,
    run::{PersonRun, SyncRun},
    untangle::Untangled,
};

/// Most people in one run.
const ROUND: usize = 2_000;
/// Most people in one run while the CRM cannot be used.
const OUTAGE: usize = 20_000;
/// Concurrent bulk calls. A CRM takes seconds for a full batch, and the rate limit is kept elsewhere.
const CALLS: usize = 3;

/// Says if a partial batch is sent now or waits until it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMode {
    FullBatches,
    Everything,
}

impl Sync {
    /// Does one run, if this process gets the lease. The rate limit belongs to the account, so one process reconciles
    /// at a time.
    ///
    /// # Errors
    /// When the store fails. A CRM that cannot be used is no error: its people wait.
    pub async fn reconcile(&self, pace: FlushMode) -> Result<RunReport, PortError> {
        self.reconcile_until(pace, None).await
    }

    /// Does the same as `reconcile`; no call begins after `until`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reconcile_until(&self, pace: FlushMode, until: Option<Instant>) -> Result<RunReport, PortError> {
        // Taking a lease is a write, and most runs find no people.
        if !breakage::is_on("idle-hub-writes") && !self.store.may_be_dirty(self.clock.now()).await? {
            return Ok(RunReport::default());
        }
        if self.is_wanted().await? || !self.lease().await? {
            return Ok(RunReport { unavailable: Some(ELSEWHERE.into()), ..RunReport::default() });
        }
        let report = self.reconcile_leased(pace, until).await;
        self.release().await?;
        report
    }

    /// The same consumer for the second CRM, if there is one.
    pub fn second(&self) -> Option<Self> {
        let CrmAccount { crm, invoicing, currency } = self.second.clone()?;
        let mut catalog = self.catalog.clone();
        (catalog.invoicing, catalog.currency) = (invoicing, currency);
        Some(Self { crm, catalog, scope: SECOND_CRM, second: None, ..self.clone() })
    }

    /// Compares the same people with the known state of the second CRM, and sends the differences.
    async fn push_second(&self, first: &Arc<SyncRun>, catalog: &Catalog, pace: FlushMode) -> Result<(), PortError> {
        let Catalog { invoicing, currency, .. } = self.catalog.clone();
        let catalog = Catalog { invoicing, currency, ..catalog.clone() };
        let mut learnt = Vec::new();
        let draft = |(id, person_run): (&PersonId, &PersonRun)| {
            let (person, mut link) =
                (person_run.person.seen_by(self.scope), person_run.link.second.clone().unwrap_or_default());
            // A row of theirs may have been restored, and the CRM did not answer.
            let waits = first.second_waiting.contains(id);
            let mut is_news = link.remember_values(&person)
                | link.remember_rows(&person, &catalog)
                | (!waits && link.renew_deleted(&person, &catalog))
                | link.count_first_contact(&person);
            // Tasks about money are as old in this CRM as in the first.
            is_news |= std::mem::replace(&mut link.unmatched, person_run.link.unmatched.clone()) != link.unmatched;
            let plan = if waits { Plan::default() } else { plan(&person, &link, &catalog, first.at) };
            if is_news | (!waits && link.release_held(&plan)) {
                learnt.push((*id, (*link).clone()));
            }
            let late = link.awaits_rows();
            let open = plan.len() + usize::from(late) + usize::from(waits);
            let (mark, tries, trace) = (person_run.mark.clone(), person_run.tries, person_run.trace.clone());
            let version = person_run.version;
            (
                *id,
                PersonRun {
                    version,
                    mark,
                    tries,
                    failed: waits,
                    person,
                    link: *link,
                    plan,
                    trace,
                    open,
                    held: 0,
                    late,
                },
            )
        };
        let mut person_runs: BTreeMap<PersonId, PersonRun> = first.person_runs().iter().map(draft).collect();
        let absent = self.look_for_restored(&mut person_runs).await?;
        learnt.extend(absent.into_iter().filter_map(|id| Some((id, person_runs.get(&id)?.link.clone()))));
        first.is_unsaved(learnt.iter().map(|(id, _)| *id).collect());
        first.learn_second(learnt);
        if person_runs.values().all(is_idle) {
            return Ok(());
        }
        let sync_run = SyncRun {
            person_runs: Mutex::new(person_runs),
            report: Mutex::default(),
            saving: tokio::sync::Mutex::default(),
            unsaved: Mutex::default(),
            companies: Mutex::default(),
            looking: Mutex::default(),
            gone: Mutex::default(),
            misidentified: Mutex::default(),
            strikes: AtomicUsize::default(),
            at: first.at,
            until: first.until,
            beneath: Some(Arc::clone(first)),
            second_waiting: BTreeSet::new(),
            scope: self.scope,
        };
        let last_sent = self.push(&sync_run, pace).await;
        let unsaved = sync_run.take_unsaved();
        first.learn_second(sync_run.links_of(&unsaved));
        first.is_unsaved(unsaved);
        self.release_account().await?;
        last_sent?;
        // A person who is not done in the second CRM is not done.
        let own = std::mem::take(&mut *sync_run.report());
        let mut person_runs = first.person_runs();
        for (id, person_run) in sync_run.person_runs().iter() {
            if let Some(theirs) = person_runs.get_mut(id) {
                theirs.open += person_run.open;
                theirs.failed |= person_run.failed;
                theirs.held += person_run.held + usize::from(person_run.late);
            }
        }
        let mut report = first.report();
        (report.rows, report.rejected) = (report.rows + own.rows, report.rejected + own.rejected);
        let second = |reason: String| if reason == ELSEWHERE { reason } else { format!("second CRM: {reason}") };
        let unasked = || "second CRM: it does not say which deleted rows were restored".to_owned();
        let unasked = (!first.second_waiting.is_empty()).then(unasked);
        report.unavailable = report.unavailable.take().or(own.unavailable.map(second)).or(unasked);
        Ok(())
    }

    async fn reconcile_leased(&self, pace: FlushMode, until: Option<Instant>) -> Result<RunReport, PortError> {
        let most = if self.outage.load(Ordering::Relaxed) { OUTAGE } else { ROUND };
        let mut dirty = self.store.claim_dirty(most, Some(self.clock.now())).await?;
        if dirty.is_empty() {
            return Ok(RunReport::default());
        }
        let catalog = self.catalog().await?;
        let Asked { mut is_stale, mut waiting, doubted, mut trouble } = self.hear_restored(&dirty, &catalog).await?;
        let mut heard = vec![self.hear_moves(&dirty).await?];
        let (mut second_doubted, mut second_waiting) = (BTreeSet::new(), BTreeSet::new());
        if let Some(second) = self.second() {
            let asked = second.hear_restored(&dirty, &catalog).await?;
            (is_stale, second_doubted) = (is_stale | asked.is_stale, asked.doubted);
            // They wait in the second CRM alone.
            second_waiting = asked.waiting;
            second_waiting.retain(|_| !breakage::is_on("unasked-row-remade-in-second"));
            heard.push(second.hear_moves(&dirty).await?);
        }
        for asked in heard {
            is_stale |= asked.is_stale;
            waiting.extend(asked.waiting);
            trouble = trouble.or(asked.trouble);
        }
        if is_stale {
            dirty = self.store.claim_dirty(most, Some(self.clock.now())).await?;
        }
        // A manager may have restored a row that this run would make again. It waits until the CRM answers.
        dirty.retain(|one| !waiting.contains(&one.person.id) || breakage::is_on("unasked-row-remade"));
        if dirty.is_empty() {
            return Ok(RunReport { left: waiting.len(), unavailable: trouble, ..RunReport::default() });
        }
        self.leave_out_large_links(&mut dirty).await?;
        let mut people: Vec<&mut Person> = dirty.iter_mut().map(|one| &mut one.person).collect();
        read_withdrawals(&*self.store, &mut people).await?;
        for one in &mut dirty {
            one.link = std::mem::take(&mut one.link).rekeyed(&catalog);
        }
        let Untangled { changed: mut unsaved, unfinished } = self.untangle(&mut dirty, until).await?;
        unsaved.extend(self.remember_asked(&mut dirty, &doubted));
        if let Some(second) = self.second() {
            unsaved.extend(second.remember_asked(&mut dirty, &second_doubted));
        }
        unsaved.extend(self.quiet_joined(&mut dirty).await?);
        unsaved.extend(self.segment(&mut dirty, &catalog).await?);
        unsaved.extend(self.write(&mut dirty, &catalog).await?);
        let now = self.clock.now();
        let list =
            |one: &mut Dirty| one.link.list_unmatched(&one.person, catalog.language, now).then_some(one.person.id);
        unsaved.extend(dirty.iter_mut().filter_map(list));
        unsaved.extend(self.look_at_dues(&mut dirty, now).await?);
        let mut learnt = BTreeSet::new();
        let draft = |dirty: Dirty| {
            let Dirty { person, version, mark, tries, mut link, trace } = dirty;
            let own = self.second.as_ref().map(|_| person.seen_by(self.scope));
            let seen = own.as_ref().unwrap_or(&person);
            let is_news = link.remember_values(seen)
                | link.remember_rows(seen, &catalog)
                | link.renew_deleted(seen, &catalog)
                | link.count_first_contact(seen);
            let plan = plan(seen, &link, &catalog, now);
            if is_news | link.release_held(&plan) {
                learnt.insert(person.id);
            }
            let late = link.awaits_rows();
            // Rows of separated people that the CRM did not put in order are one more open step, and a failed run.
            let failed = unfinished.contains(&person.id);
            let open = plan.len() + usize::from(late) + usize::from(failed);
            (person.id, PersonRun { version, mark, tries, failed, person, link, plan, trace, open, held: 0, late })
        };
        let mut person_runs: BTreeMap<PersonId, PersonRun> = dirty.into_iter().map(draft).collect();
        unsaved.extend(learnt);
        unsaved.extend(self.look_for_restored(&mut person_runs).await?);
        let unsaved = Mutex::new(unsaved);
        let idle = person_runs.values().all(is_idle);
        let (person_runs, at) = (Mutex::new(person_runs), self.clock.now());
        let sync_run = Arc::new(SyncRun {
            person_runs,
            report: Mutex::default(),
            saving: tokio::sync::Mutex::default(),
            unsaved,
            companies: Mutex::default(),
            looking: Mutex::default(),
            gone: Mutex::default(),
            misidentified: Mutex::default(),
            strikes: AtomicUsize::default(),
            at,
            until,
            beneath: None,
            second_waiting,
            scope: "",
        });
        let pushed = self.push_all(&sync_run, &catalog, pace, idle).await;
        // What is known by now is saved also if something failed.
        self.keep_rest(&sync_run).await.and(pushed)?;
        self.settle(&sync_run).await
    }

    /// Saves all that is unsaved. If one state cannot be saved, the others are saved by themselves.
    async fn keep_rest(&self, sync_run: &SyncRun) -> Result<(), PortError> {
        let people = sync_run.take_unsaved();
        let Err(error) = self.keep(sync_run, people.clone()).await else { return Ok(()) };
        for id in people {
            // Those that were stored before the error are refused, and stand.
            _ = self.keep(sync_run, BTreeSet::from([id])).await;
        }
        Err(error)
    }

    /// Writes to the CRM, then to the second one, then to the mailing lists.
    async fn push_all(
        &self,
        sync_run: &Arc<SyncRun>,
        catalog: &Catalog,
        pace: FlushMode,
        is_idle: bool,
    ) -> Result<(), PortError> {
        if !is_idle {
            self.push(sync_run, pace).await?;
        }
        if let Some(second) = self.second() {
            second.push_second(sync_run, catalog, pace).await?;
        }
        self.enrol(sync_run).await
    }

    /// Schedules rechecks for orders that become overdue by themselves, and for money whose order does not come.
    async fn look_at_dues(&self, dirty: &mut [Dirty], now: Timestamp) -> Result<BTreeSet<PersonId>, PortError> {
        let (mut again, mut changed) = (BTreeMap::new(), BTreeSet::new());
        for one in dirty {
            let turns_at = next_turn(&one.person, &one.link, now);
            if turns_at != one.link.turns_at {
                one.link.turns_at = turns_at;
                changed.insert(one.person.id);
                again.extend(turns_at.map(|at| (one.person.id, at)));
            }
        }
        if !again.is_empty() {
            self.store.schedule_rechecks(&again).await?;
        }
        Ok(changed)
    }

    async fn push(&self, sync_run: &SyncRun, pace: FlushMode) -> Result<(), PortError> {
        self.push_rows(sync_run, pace).await?;
        count_unhung(sync_run);
        sync_run.explain(self.crm.health().trouble);
        self.look_at_misidentified(sync_run).await?;
        self.hear_of_gone(sync_run).await
    }

    async fn push_rows(&self, sync_run: &SyncRun, pace: FlushMode) -> Result<(), PortError> {
        let pace = if self.crm.info().in_bulk { pace } else { FlushMode::Everything };
        if let Err(error) = self.crm.set_up().await {
            tracing::warn!(%error, "the CRM is not ready");
            sync_run.stop(error.to_string());
            return Ok(());
        }
        if let Err(error) = self.look_up_intents(sync_run).await? {
            tracing::warn!(%error, "what was created could not be looked up");
            sync_run.stop(error.to_string());
            return Ok(());
        }
        let everybody = sync_run.person_runs().keys().copied().collect();
        let claimed = self.claim_rows(sync_run, &everybody, &BTreeSet::new()).await?;
        self.keep(sync_run, claimed).await?;
        self.companies(sync_run).await?;
        self.run(sync_run, sync_run.contact_tasks(), pace).await?;
        self.hang_deals(sync_run).await?;
        self.run(sync_run, sync_run.deal_tasks(), pace).await?;
        self.run(sync_run, sync_run.invoice_tasks(), pace).await?;
        self.pending_text(sync_run, pace).await
    }

    async fn run(&self, sync_run: &SyncRun, lanes: [Vec<PlannedChange>; 3], pace: FlushMode) -> Result<(), PortError> {
        let batch = self.crm.info().batch.max(1);
        let mut chunks = Vec::new();
        for mut lane in lanes {
            if pace == FlushMode::FullBatches {
                lane.truncate(lane.len() / batch * batch);
            }
            while !lane.is_empty() {
                let rest = lane.split_off(lane.len().min(batch));
                chunks.push(std::mem::replace(&mut lane, rest));
            }
        }
        let done = stream::iter(chunks).map(|chunk| self.call(sync_run, chunk)).buffer_unordered(CALLS);
        done.fold(Ok(()), |all, one| async { all.and(one) }).await
    }

    /// Makes one bulk call: saves the pending marks, sends the rows, saves the answers.
    async fn call(&self, sync_run: &SyncRun, tasks: Vec<PlannedChange>) -> Result<(), PortError> {
        if sync_run.stopped() || sync_run.is_over() {
            return Ok(());
        }
        if !self.lease().await? {
            sync_run.stop(ELSEWHERE.into());
            return Ok(());
        }
        let late_for = self.crm.info().late_for;
        self.keep(sync_run, sync_run.intend(&tasks, Pending::new(self.clock.now(), late_for))).await?;
        // The log lines of the calls are inside this span: here deliveries reach the CRM.
        let span = tracing::info_span!("crm", traces = sync_run.traces_of(&tasks));
        let began = Instant::now();
        let rows = self.send(&tasks).instrument(span).await;
        sync_run.took(began.elapsed());
        let (mut people, made) = sync_run.answer(&tasks, rows, self.clock.now() + late_for, self.crm.info().room);
        // The ids and the marks of claimed rows are saved in one write. A crash before it leaves a pending mark, and
        // the next lookup finds the row.
        people.extend(self.claim_rows(sync_run, &people, &made).await?);
        self.keep(sync_run, sync_run.not_saved_by_the_next_call(&tasks, people)).await
    }

    /// Saves the current CRM states of `people`, one save at a time. Two concurrent calls may be about the same
    /// person, and an older state must not overwrite a newer one.
    pub(crate) async fn keep(&self, sync_run: &SyncRun, people: BTreeSet<PersonId>) -> Result<(), PortError> {
        if people.is_empty() {
            return Ok(());
        }
        if let Some(beneath) = &sync_run.beneath {
            sync_run.saves(&people);
            beneath.learn_second(sync_run.links_of(&people));
            return Box::pin(self.keep(beneath, people)).await;
        }
        let _turn = sync_run.saving.lock().await;
        sync_run.saves(&people);
        let links = sync_run.links_of(&people);
        if let Err(error) = self.store.save_crm_states(links).await {
            sync_run.is_unsaved(people);
            return Err(error);
        }
        sync_run.kept(&people);
        Ok(())
    }

    async fn send(&self, tasks: &[PlannedChange]) -> Vec<WriteOutcome> {
        let mut create_contacts = Vec::new();
        let mut update_contacts = Vec::new();
        let mut create_deals = Vec::new();
        let mut update_deals = Vec::new();
        let mut duplicates = Vec::new();
        let (mut create_invoices, mut update_invoices) = (Vec::new(), Vec::new());
        for (_, change, _) in tasks {
            match change {
                CrmChange::CreateContact(draft) => create_contacts.push(draft.clone()),
                CrmChange::UpdateContact(id, draft) => update_contacts.push((*id, draft.clone())),
                CrmChange::CreateDeal(contact, draft) => create_deals.push((*contact, draft.clone())),
                CrmChange::UpdateDeal(id, draft) | CrmChange::CloseDouble(id, draft) => {
                    update_deals.push((*id, draft.clone()))
                }
                CrmChange::MarkDuplicate(contact, of) => duplicates.push((*contact, *of)),
                CrmChange::CreateInvoice(hangs, draft, _) => create_invoices.push((*hangs, draft.clone())),
                CrmChange::UpdateInvoice(id, draft) | CrmChange::CancelInvoice(id, draft) => {
                    update_invoices.push((*id, draft.clone()))
                }
            }
        }
        // A lane holds changes of one kind, so at most one of these is a call.
        let mut rows = Vec::new();
        if !create_contacts.is_empty() {
            rows.extend(self.crm.apply(Writes::CreateContacts(&create_contacts)).await);
        }
        if !update_contacts.is_empty() {
            rows.extend(self.crm.apply(Writes::UpdateContacts(&update_contacts)).await);
        }
        if !create_deals.is_empty() {
            rows.extend(self.crm.apply(Writes::CreateDeals(&create_deals)).await);
        }
        if !update_deals.is_empty() {
            rows.extend(self.crm.apply(Writes::UpdateDeals(&update_deals)).await);
        }
        if !duplicates.is_empty() {
            rows.extend(self.crm.apply(Writes::MarkDuplicates(&duplicates)).await);
        }
        if !create_invoices.is_empty() {
            rows.extend(self.crm.apply(Writes::CreateInvoices(&create_invoices)).await);
        }
        if !update_invoices.is_empty() {
            rows.extend(self.crm.apply(Writes::UpdateInvoices(&update_invoices)).await);
        }
        rows
    }
}
