//! Ports in memory: the simplest implementation that keeps each port's contract.

mod queue;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
pub use queue::{MAX_ATTEMPTS, MemoryQueue};
use stagedoor_engine::{CrmState, Person, PersonId, cells_of_address};
use stagedoor_model::{EventId, Identifier, Timestamp};

use crate::{
    Admin, Claims, Commit, CrmStates, Dirty, DirtyPeople, Journal, JournalRow, KeyValue, KeyValues, Leases, Mark,
    Outcome, People, Postponed, RecheckPage, Rechecks, Result, Saved, SetAside, Taken, Totals, Versioned,
};

/// A dirty person in the queue for the CRM.
struct Waiting {
    id: PersonId,
    mark: u64,
    tries: u32,
    until: Option<Timestamp>,
}

#[derive(Default)]
struct State {
    journal: Vec<JournalRow>,
    people: BTreeMap<PersonId, Versioned<Person>>,
    redirects: BTreeMap<PersonId, PersonId>,
    owners: BTreeMap<Identifier, PersonId>,
    known_shared: BTreeSet<Identifier>,
    dirty: Vec<Waiting>,
    marks: u64,
    traces: BTreeMap<PersonId, String>,
    links: BTreeMap<PersonId, CrmState>,
    audience: BTreeMap<String, BTreeSet<PersonId>>,
    due: BTreeMap<String, PersonId>,
    leases: BTreeMap<String, (String, Timestamp)>,
    key_values: BTreeMap<String, KeyValue>,
    tombstones: BTreeSet<String>,
}

/// A [`crate::Store`] in memory.
#[derive(Default)]
pub struct MemoryStore(Mutex<State>);

impl MemoryStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn follow(&self, mut id: PersonId) -> PersonId {
        for _ in 0..16 {
            match self.redirects.get(&id) {
                Some(next) if !self.people.contains_key(&id) => id = *next,
                _ => break,
            }
        }
        id
    }

    fn mark(&mut self, id: PersonId) {
        self.marks += 1;
        let mark = self.marks;
        match self.dirty.iter_mut().find(|one| one.id == id) {
            Some(known) => (known.mark, known.until) = (mark, None),
            None => self.dirty.push(Waiting { id, mark, tries: 0, until: None }),
        }
    }

    /// True if the person has neither changed nor been marked since they were taken.
    fn is_as_taken(&self, taken: &Taken) -> bool {
        let marked = self.dirty.iter().find(|one| one.id == taken.id).is_some_and(|one| {
            one.mark.to_string() == taken.mark.0 || stagedoor_model::breakage::is_on("mark-lost-in-run")
        });
        marked && self.people.get(&taken.id).is_none_or(|person| person.version == taken.version)
    }

    fn conflicts(&self, commit: &Commit) -> bool {
        let at = |id: &PersonId| self.people.get(id).map(|person| person.version);
        commit.people.iter().any(|(person, version)| at(&person.id) != *version)
            || commit.removed.iter().any(|removal| at(&removal.id) != Some(removal.version))
            || commit.claims.iter().any(|(identifier, _, expected)| {
                let is_weak = self.known_shared.contains(identifier) && !commit.lifted.contains(identifier);
                is_weak || self.owners.get(identifier) != expected.as_ref()
            })
            || commit.rows_of_others().any(|(id, _)| at(&id).is_none() && !self.redirects.contains_key(&id))
    }

    fn apply(&mut self, commit: Commit) {
        if let Some(trace) = commit.trace() {
            self.traces.extend(commit.people.iter().map(|(person, _)| (person.id, trace.to_owned())));
        }
        for row in commit.journal {
            self.journal.retain(|known| known.event.id != row.event.id);
            self.journal.push(row);
        }
        for removal in commit.removed {
            self.people.remove(&removal.id);
            self.dirty.retain(|one| one.id != removal.id);
            self.redirects.insert(removal.id, removal.into);
        }
        for (person, version) in commit.people {
            self.mark(person.id);
            self.redirects.remove(&person.id);
            self.people.insert(person.id, Versioned { version: version.unwrap_or(0) + 1, value: person });
        }
        for identifier in commit.released.iter().chain(&commit.shared_identifiers) {
            self.owners.remove(identifier);
        }
        self.known_shared.retain(|mark| !commit.lifted.contains(mark));
        self.known_shared.extend(commit.shared_identifiers);
        self.owners.extend(commit.claims.into_iter().map(|(identifier, id, _)| (identifier, id)));
        for (show, id) in commit.audience {
            self.audience.entry(show).or_default().insert(id);
        }
    }
}

#[async_trait]
impl Journal for MemoryStore {
    async fn journaled(&self, ids: &[EventId]) -> Result<BTreeSet<EventId>> {
        let state = self.state();
        Ok(state.journal.iter().map(|row| &row.event.id).filter(|id| ids.contains(id)).cloned().collect())
    }

    async fn journal(&self, max: usize) -> Result<Vec<JournalRow>> {
        Ok(self.state().journal.iter().rev().take(max).cloned().collect())
    }

    async fn journal_between(
        &self,
        from: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Result<(Vec<JournalRow>, Option<Timestamp>)> {
        let state = self.state();
        let mut rows: Vec<JournalRow> =
            state.journal.iter().filter(|row| (from..until).contains(&row.folded_at)).cloned().collect();
        rows.sort_by_key(|row| row.folded_at);
        Ok(crate::up_to(rows, max))
    }

    async fn journal_of(&self, person: PersonId) -> Result<Vec<JournalRow>> {
        let state = self.state();
        let own = |row: &&JournalRow| row.person.is_some_and(|id| state.follow(id) == person);
        Ok(state.journal.iter().rev().filter(own).cloned().collect())
    }

    async fn unrecognized(&self, max: usize) -> Result<Vec<JournalRow>> {
        let state = self.state();
        Ok(state.journal.iter().rev().filter(|row| row.outcome == Outcome::Unrecognized).take(max).cloned().collect())
    }

    async fn event(&self, id: &EventId) -> Result<Option<JournalRow>> {
        Ok(self.state().journal.iter().find(|row| row.event.id == *id).cloned())
    }

    async fn forget(&self, id: &EventId) -> Result<()> {
        self.state().journal.retain(|row| row.event.id != *id);
        Ok(())
    }
}

#[async_trait]
impl People for MemoryStore {
    async fn resolve(&self, identifiers: &BTreeSet<Identifier>) -> Result<Claims> {
        let state = self.state();
        let owners = identifiers.iter().filter_map(|i| state.owners.get(i).map(|id| (i.clone(), *id))).collect();
        Ok(Claims { owners, shared: identifiers.intersection(&state.known_shared).cloned().collect() })
    }

    async fn load(&self, ids: &BTreeSet<PersonId>) -> Result<Vec<Versioned<Person>>> {
        let state = self.state();
        let living: BTreeSet<PersonId> = ids.iter().map(|id| state.follow(*id)).collect();
        Ok(living.iter().filter_map(|id| state.people.get(id).cloned()).collect())
    }

    async fn save(&self, commits: Vec<Commit>) -> Result<Vec<Saved>> {
        let mut state = self.state();
        let save = |commit: Commit| {
            if state.conflicts(&commit) {
                return Saved::Conflict;
            }
            state.apply(commit);
            Saved::Done
        };
        Ok(commits.into_iter().map(save).collect())
    }

    async fn unreadable(&self, _: &BTreeSet<PersonId>) -> Result<BTreeSet<PersonId>> {
        Ok(BTreeSet::new())
    }

    async fn audience(&self, show: &str) -> Result<BTreeSet<PersonId>> {
        let state = self.state();
        Ok(state.audience.get(show).into_iter().flatten().map(|id| state.follow(*id)).collect())
    }

    async fn scan_people(&self, after: Option<String>, max: usize) -> Result<(BTreeSet<PersonId>, Option<String>)> {
        let state = self.state();
        let all = state.people.keys().filter(|id| after.as_ref().is_none_or(|after| id.to_string() > *after));
        let page: BTreeSet<PersonId> = all.take(max).copied().collect();
        let next = page.last().filter(|_| page.len() == max).map(ToString::to_string);
        Ok((page, next))
    }

    async fn erase(
        &self,
        people: &BTreeSet<PersonId>,
        names: &BTreeSet<Identifier>,
        tombstones: &BTreeSet<String>,
    ) -> Result<()> {
        let mut state = self.state();
        state.tombstones.extend(tombstones.iter().cloned());
        names.iter().flat_map(cells_of_address).for_each(|key_value| _ = state.key_values.remove(&key_value));
        state.owners.retain(|name, owner| !people.contains(owner) && !names.contains(name));
        state.journal.retain(|row| row.person.is_none_or(|id| !people.contains(&id)));
        state.redirects.retain(|from, into| !people.contains(from) && !people.contains(into));
        state.dirty.retain(|one| !people.contains(&one.id));
        state.audience.values_mut().for_each(|all| all.retain(|id| !people.contains(id)));
        for id in people {
            state.people.remove(id);
            state.links.remove(id);
            state.traces.remove(id);
        }
        Ok(())
    }

    async fn erased(&self, tombstones: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        Ok(self.state().tombstones.intersection(tombstones).cloned().collect())
    }
}

#[async_trait]
impl DirtyPeople for MemoryStore {
    async fn claim_dirty(&self, max: usize, now: Option<Timestamp>) -> Result<Vec<Dirty>> {
        let state = self.state();
        let dirty = |waiting: &Waiting| {
            let person = state.people.get(&waiting.id)?;
            let own = std::iter::once(&waiting.id).chain(&person.value.merged_ids);
            let mut link = own.filter_map(|id| state.links.get(id).cloned()).reduce(CrmState::join).unwrap_or_default();
            link.revision = state.links.get(&waiting.id).map_or(0, |own| own.revision);
            let trace = state.traces.get(&waiting.id).cloned();
            let (mark, tries) = (Mark(waiting.mark.to_string()), waiting.tries);
            Some(Dirty { person: person.value.clone(), version: person.version, mark, tries, link, trace })
        };
        let ready = |one: &&Waiting| now.is_none_or(|now| one.until.is_none_or(|until| until <= now));
        Ok(state.dirty.iter().filter(ready).take(max).filter_map(dirty).collect())
    }

    async fn may_be_dirty(&self, now: Timestamp) -> Result<bool> {
        Ok(self.state().dirty.iter().any(|one| one.until.is_none_or(|until| until <= now)))
    }

    async fn mark_clean(&self, people: Vec<Taken>) -> Result<()> {
        let mut state = self.state();
        for taken in people {
            if state.is_as_taken(&taken) {
                state.dirty.retain(|other| other.id != taken.id);
            }
        }
        Ok(())
    }

    async fn postpone(&self, people: Vec<Postponed>) -> Result<()> {
        let mut state = self.state();
        for Postponed { taken, tries, until } in people {
            let is_as_taken = state.is_as_taken(&taken);
            let Some(place) = state.dirty.iter().position(|one| one.id == taken.id) else { continue };
            let mut waiting = state.dirty.remove(place);
            waiting.tries = tries;
            match until.filter(|_| is_as_taken) {
                Some(until) => {
                    waiting.until = Some(until);
                    state.dirty.push(waiting);
                }
                None => state.dirty.insert(place, waiting),
            }
        }
        Ok(())
    }

    async fn mark_dirty(&self, people: BTreeSet<PersonId>) -> Result<()> {
        let mut state = self.state();
        for id in people {
            let id = state.follow(id);
            if state.people.contains_key(&id) {
                state.mark(id);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl CrmStates for MemoryStore {
    async fn crm_states(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeMap<PersonId, CrmState>> {
        let state = self.state();
        Ok(ids.iter().filter_map(|id| state.links.get(id).map(|link| (*id, link.clone()))).collect())
    }

    async fn save_crm_states(&self, links: Vec<(PersonId, CrmState)>) -> Result<()> {
        let mut state = self.state();
        let known = |id: &PersonId| state.links.get(id).map_or(0, |link| link.revision);
        if links.iter().any(|(id, link)| known(id) != link.revision) {
            return Err(crate::outdated());
        }
        state.links.extend(links.into_iter().map(|(id, link)| (id, CrmState { revision: link.revision + 1, ..link })));
        Ok(())
    }

    async fn rejected(&self, max: usize) -> Result<Vec<(PersonId, CrmState)>> {
        let state = self.state();
        let rejected = state.links.iter().filter(|(_, link)| !link.rejected().is_empty());
        Ok(rejected.take(max).map(|(id, link)| (*id, link.clone())).collect())
    }
}

#[async_trait]
impl Rechecks for MemoryStore {
    async fn schedule_rechecks(&self, people: &BTreeMap<PersonId, Timestamp>) -> Result<()> {
        let mut state = self.state();
        let key = |id: &PersonId, at: &Timestamp| format!("{:020}#{id}", at.as_millisecond());
        state.due.extend(people.iter().map(|(id, at)| (key(id, at), *id)));
        Ok(())
    }

    async fn due_rechecks(&self, until: Timestamp) -> Result<Vec<RecheckPage>> {
        let last = format!("{:020}#~", until.as_millisecond());
        let page = |(key, id): (&String, &PersonId)| RecheckPage { key: key.clone(), people: BTreeSet::from([*id]) };
        Ok(self.state().due.range(..last).map(page).take(2_000).collect())
    }

    async fn ack_rechecks(&self, pages: Vec<String>) -> Result<()> {
        let mut state = self.state();
        pages.iter().for_each(|key| _ = state.due.remove(key));
        Ok(())
    }
}

#[async_trait]
impl KeyValues for MemoryStore {
    async fn key_value(&self, name: &str) -> Result<Option<KeyValue>> {
        Ok(self.state().key_values.get(name).cloned())
    }

    async fn key_values_of(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, KeyValue>> {
        let state = self.state();
        Ok(names.iter().filter_map(|name| Some((name.clone(), state.key_values.get(name)?.clone()))).collect())
    }

    async fn compare_and_set(&self, name: &str, value: &str, expected: Option<u64>) -> Result<bool> {
        let mut state = self.state();
        if state.key_values.get(name).map(|key_value| key_value.version) != expected {
            return Ok(false);
        }
        let version = expected.unwrap_or(0) + 1;
        state.key_values.insert(name.to_owned(), KeyValue { value: value.to_owned(), version });
        Ok(true)
    }

    async fn key_values(&self, prefix: &str) -> Result<BTreeMap<String, KeyValue>> {
        let state = self.state();
        let from_there = state.key_values.range(prefix.to_owned()..);
        let named = from_there.take_while(|(name, _)| name.starts_with(prefix));
        Ok(named.map(|(name, key_value)| (name.clone(), key_value.clone())).collect())
    }
}

#[async_trait]
impl Leases for MemoryStore {
    async fn lease(&self, name: &str, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        let mut state = self.state();
        let free = state.leases.get(name).is_none_or(|(holder, end)| holder == owner || *end <= now);
        if free {
            state.leases.insert(name.to_owned(), (owner.to_owned(), until));
        }
        Ok(free)
    }

    async fn release(&self, name: &str, owner: &str) -> Result<()> {
        self.state().leases.retain(|known, (holder, _)| known != name || holder != owner);
        Ok(())
    }
}

#[async_trait]
impl Admin for MemoryStore {
    async fn crowds(&self, max: usize) -> Result<BTreeSet<Identifier>> {
        Ok(self.state().known_shared.iter().take(max).cloned().collect())
    }

    async fn set_aside(&self, _: usize) -> Result<Vec<SetAside>> {
        Ok(vec![])
    }

    async fn read_again(&self) -> Result<()> {
        Ok(())
    }

    async fn sweep(&self, journal: Timestamp, kept: Option<Timestamp>) -> Result<u64> {
        let mut state = self.state();
        let before = state.journal.len();
        state.journal.retain(|row| match row.outcome {
            Outcome::Unrecognized => kept.is_none_or(|end| row.folded_at >= end),
            _ => row.folded_at >= journal,
        });
        Ok((before - state.journal.len()) as u64)
    }

    async fn totals(&self) -> Result<Totals> {
        let state = self.state();
        Ok(Totals {
            events: state.journal.len() as u64,
            people: state.people.len() as u64,
            deals: state.links.values().flat_map(|link| link.deals.values()).filter(|d| d.id.is_some()).count() as u64,
            waiting: state.dirty.len() as u64,
            // Memory has no clock.
            waiting_since: None,
            rejected: state.links.values().filter(|link| !link.rejected().is_empty()).count() as u64,
            unrecognized: state.journal.iter().filter(|r| r.outcome == Outcome::Unrecognized).count() as u64,
            unreadable: 0,
        })
    }
}
