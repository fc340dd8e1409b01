//! A store and a CRM that stop working at a chosen I/O step, as a killed process does.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use async_trait::async_trait;
use stagedoor_engine::{CrmState, Leaving, Member, Person, PersonId};
use stagedoor_model::{Email, EventId, Identifier, MessageDecided, Timestamp};
use stagedoor_ports::{
    Admin, Capabilities, Changes, Channel, Claims, Commit, Crm, CrmError, CrmFound, CrmHealth, CrmLookup, CrmPage,
    CrmRows, CrmStates, CrmTotals, Deleted, Dirty, DirtyPeople, Journal, JournalRow, KeyValue, KeyValues, Leases,
    Listed, MailingList, OfErased, People, PortError, Postponed, RecheckPage, Rechecks, Result, Saved, Sending,
    SetAside, Settled, Store, Struck, Taken, Totals, Versioned, WriteOutcome, Writes,
};

/// The steps until the death. Each I/O takes two: one before it happens, and one before its answer is seen.
#[derive(Clone)]
pub struct Life {
    steps: Arc<AtomicI64>,
    holds_time: bool,
}

impl Life {
    pub fn of(steps: i64) -> Self {
        Self { steps: Arc::new(AtomicI64::new(steps)), holds_time: false }
    }

    /// A life without an end that blocks the caller's thread while a store works on other threads, as an SQLite file
    /// does. No virtual time passes meanwhile, and everything happens in one order.
    pub fn that_holds_time() -> Self {
        Self { holds_time: true, ..Self::of(i64::MAX) }
    }

    pub fn is_over(&self) -> bool {
        self.steps.load(Ordering::SeqCst) <= 0
    }

    fn step(&self) -> std::result::Result<(), PortError> {
        if self.steps.fetch_sub(1, Ordering::SeqCst) > 0 { Ok(()) } else { Err(PortError::Fail("killed".into())) }
    }
}

#[async_trait]
impl Channel for Mortal<dyn Channel> {
    async fn send(&self, decision: &str, message: &MessageDecided) -> Sending {
        if self.life.step().is_err() {
            return Sending::NotSent("killed".into());
        }
        let answer = self.inner.send(decision, message).await;
        if self.life.step().is_err() { Sending::Lost } else { answer }
    }
    async fn settle(&self, decision: &str, message: &MessageDecided) -> Settled {
        if self.life.step().is_err() { Settled::Later } else { self.inner.settle(decision, message).await }
    }
    fn rate(&self) -> std::num::NonZeroU32 {
        self.inner.rate()
    }
    fn pause(&self) -> std::time::Duration {
        self.inner.pause()
    }
    fn window(&self) -> Option<std::time::Duration> {
        self.inner.window()
    }
}

#[async_trait]
impl MailingList for Mortal<dyn MailingList> {
    fn batch(&self) -> usize {
        self.inner.batch()
    }
    async fn add(&self, list: &str, members: &[Member]) -> Vec<Listed> {
        self.listed(members.len(), self.inner.add(list, members)).await
    }
    async fn remove(&self, list: &str, emails: &[Email], why: Leaving) -> Vec<Listed> {
        self.listed(emails.len(), self.inner.remove(list, emails, why)).await
    }
    fn calls(&self) -> u64 {
        self.inner.calls()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn on_this_thread<R>(work: impl Future<Output = R>) -> R {
    // The runtime would never refill its budget here.
    let mut work = pin!(tokio::task::unconstrained(work));
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}

pub struct Mortal<T: ?Sized> {
    pub inner: Arc<T>,
    pub life: Life,
}

impl<T: ?Sized> Mortal<T> {
    async fn io<R>(&self, work: impl Future<Output = Result<R>>) -> Result<R> {
        self.life.step()?;
        let answer = if self.life.holds_time { on_this_thread(work)? } else { work.await? };
        self.life.step()?;
        Ok(answer)
    }

    async fn rows(&self, count: usize, work: impl Future<Output = Vec<WriteOutcome>>) -> Vec<WriteOutcome> {
        if self.life.step().is_err() {
            return vec![WriteOutcome::NotSent; count];
        }
        let rows = work.await;
        // The process is dead: the answer is lost, and nothing is written after it.
        if self.life.step().is_err() { vec![WriteOutcome::Unknown; count] } else { rows }
    }

    async fn listed(&self, count: usize, work: impl Future<Output = Vec<Listed>>) -> Vec<Listed> {
        if self.life.step().is_err() {
            return vec![Listed::Later; count];
        }
        let told = work.await;
        if self.life.step().is_err() { vec![Listed::Later; count] } else { told }
    }

    async fn crm<R>(
        &self,
        work: impl Future<Output = std::result::Result<R, CrmError>>,
    ) -> std::result::Result<R, CrmError> {
        let killed = |_| CrmError::Unavailable("killed".into());
        self.life.step().map_err(killed)?;
        let answer = work.await?;
        self.life.step().map_err(killed)?;
        Ok(answer)
    }
}

#[async_trait]
impl Journal for Mortal<dyn Store> {
    async fn journaled(&self, ids: &[EventId]) -> Result<BTreeSet<EventId>> {
        self.io(self.inner.journaled(ids)).await
    }
    async fn journal(&self, max: usize) -> Result<Vec<JournalRow>> {
        self.io(self.inner.journal(max)).await
    }
    async fn journal_between(
        &self,
        from: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Result<(Vec<JournalRow>, Option<Timestamp>)> {
        self.io(self.inner.journal_between(from, until, max)).await
    }
    async fn journal_of(&self, person: PersonId) -> Result<Vec<JournalRow>> {
        self.io(self.inner.journal_of(person)).await
    }
    async fn unrecognized(&self, max: usize) -> Result<Vec<JournalRow>> {
        self.io(self.inner.unrecognized(max)).await
    }
    async fn event(&self, id: &EventId) -> Result<Option<JournalRow>> {
        self.io(self.inner.event(id)).await
    }
    async fn forget(&self, id: &EventId) -> Result<()> {
        self.io(self.inner.forget(id)).await
    }
}

#[async_trait]
impl People for Mortal<dyn Store> {
    fn has_room(&self, json: &[u8]) -> bool {
        self.inner.has_room(json)
    }
    async fn resolve(&self, identifiers: &BTreeSet<Identifier>) -> Result<Claims> {
        self.io(self.inner.resolve(identifiers)).await
    }
    async fn load(&self, ids: &BTreeSet<PersonId>) -> Result<Vec<Versioned<Person>>> {
        self.io(self.inner.load(ids)).await
    }
    async fn save(&self, commits: Vec<Commit>) -> Result<Vec<Saved>> {
        self.io(self.inner.save(commits)).await
    }
    async fn unreadable(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeSet<PersonId>> {
        self.io(self.inner.unreadable(ids)).await
    }
    async fn audience(&self, show: &str) -> Result<BTreeSet<PersonId>> {
        self.io(self.inner.audience(show)).await
    }
    async fn scan_people(&self, after: Option<String>, max: usize) -> Result<(BTreeSet<PersonId>, Option<String>)> {
        self.io(self.inner.scan_people(after, max)).await
    }
    async fn erase(
        &self,
        people: &BTreeSet<PersonId>,
        names: &BTreeSet<Identifier>,
        tombstones: &BTreeSet<String>,
    ) -> Result<()> {
        self.io(self.inner.erase(people, names, tombstones)).await
    }
    async fn erased(&self, tombstones: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        self.io(self.inner.erased(tombstones)).await
    }
}

#[async_trait]
impl DirtyPeople for Mortal<dyn Store> {
    async fn claim_dirty(&self, max: usize, now: Option<Timestamp>) -> Result<Vec<Dirty>> {
        self.io(self.inner.claim_dirty(max, now)).await
    }
    async fn mark_clean(&self, people: Vec<Taken>) -> Result<()> {
        self.io(self.inner.mark_clean(people)).await
    }
    async fn postpone(&self, people: Vec<Postponed>) -> Result<()> {
        self.io(self.inner.postpone(people)).await
    }
    async fn mark_dirty(&self, people: BTreeSet<PersonId>) -> Result<()> {
        self.io(self.inner.mark_dirty(people)).await
    }
}

#[async_trait]
impl CrmStates for Mortal<dyn Store> {
    async fn crm_states(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeMap<PersonId, CrmState>> {
        self.io(self.inner.crm_states(ids)).await
    }
    async fn save_crm_states(&self, links: Vec<(PersonId, CrmState)>) -> Result<()> {
        self.io(self.inner.save_crm_states(links)).await
    }
    async fn rejected(&self, max: usize) -> Result<Vec<(PersonId, CrmState)>> {
        self.io(self.inner.rejected(max)).await
    }
}

#[async_trait]
impl Rechecks for Mortal<dyn Store> {
    async fn schedule_rechecks(&self, people: &BTreeMap<PersonId, Timestamp>) -> Result<()> {
        self.io(self.inner.schedule_rechecks(people)).await
    }
    async fn due_rechecks(&self, until: Timestamp) -> Result<Vec<RecheckPage>> {
        self.io(self.inner.due_rechecks(until)).await
    }
    async fn ack_rechecks(&self, pages: Vec<String>) -> Result<()> {
        self.io(self.inner.ack_rechecks(pages)).await
    }
}

#[async_trait]
impl KeyValues for Mortal<dyn Store> {
    async fn key_value(&self, name: &str) -> Result<Option<KeyValue>> {
        self.io(self.inner.key_value(name)).await
    }
    async fn key_values_of(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, KeyValue>> {
        self.io(self.inner.key_values_of(names)).await
    }
    async fn compare_and_set(&self, name: &str, value: &str, expected: Option<u64>) -> Result<bool> {
        self.io(self.inner.compare_and_set(name, value, expected)).await
    }
    async fn key_values(&self, prefix: &str) -> Result<BTreeMap<String, KeyValue>> {
        self.io(self.inner.key_values(prefix)).await
    }
}

#[async_trait]
impl Leases for Mortal<dyn Store> {
    async fn lease(&self, name: &str, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        self.io(self.inner.lease(name, owner, now, until)).await
    }
    async fn release(&self, name: &str, owner: &str) -> Result<()> {
        self.io(self.inner.release(name, owner)).await
    }
}

#[async_trait]
impl Admin for Mortal<dyn Store> {
    async fn crowds(&self, max: usize) -> Result<BTreeSet<Identifier>> {
        self.io(self.inner.crowds(max)).await
    }
    async fn set_aside(&self, max: usize) -> Result<Vec<SetAside>> {
        self.io(self.inner.set_aside(max)).await
    }
    async fn read_again(&self) -> Result<()> {
        self.io(self.inner.read_again()).await
    }
    async fn sweep(&self, journal: Timestamp, kept: Option<Timestamp>) -> Result<u64> {
        self.io(self.inner.sweep(journal, kept)).await
    }
    async fn totals(&self) -> Result<Totals> {
        self.io(self.inner.totals()).await
    }
}

#[async_trait]
impl Crm for Mortal<dyn Crm> {
    async fn set_up(&self) -> std::result::Result<(), CrmError> {
        self.crm(self.inner.set_up()).await
    }
    async fn apply(&self, change: Writes<'_>) -> Vec<WriteOutcome> {
        self.rows(change.len(), self.inner.apply(change)).await
    }
    async fn find(&self, lookup: CrmLookup<'_>) -> std::result::Result<CrmFound, CrmError> {
        self.crm(self.inner.find(lookup)).await
    }
    async fn changes(&self, since: Timestamp) -> std::result::Result<Changes, CrmError> {
        self.inner.changes(since).await
    }
    async fn deleted(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> std::result::Result<Deleted, CrmError> {
        self.inner.deleted(contacts, deals).await
    }
    async fn fetch(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> std::result::Result<Changes, CrmError> {
        self.inner.fetch(contacts, deals).await
    }
    async fn page(&self, rows: CrmRows, page: u32) -> std::result::Result<CrmPage, CrmError> {
        self.crm(self.inner.page(rows, page)).await
    }
    async fn export(
        &self,
        contacts: &BTreeSet<u64>,
        deals: &BTreeSet<u64>,
    ) -> std::result::Result<serde_json::Value, CrmError> {
        self.inner.export(contacts, deals).await
    }
    async fn strike(&self, rows: &[OfErased]) -> Vec<Struck> {
        self.inner.strike(rows).await
    }
    async fn totals(
        &self,
        deals: &BTreeSet<u64>,
        invoices: &BTreeSet<u64>,
    ) -> std::result::Result<CrmTotals, CrmError> {
        self.inner.totals(deals, invoices).await
    }
    fn info(&self) -> Capabilities {
        self.inner.info()
    }
    fn health(&self) -> CrmHealth {
        self.inner.health()
    }
}
