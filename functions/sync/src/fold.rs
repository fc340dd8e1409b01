//! Steps 1 and 2: folds events into the people they concern, and saves each group of people in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{
    BlockedJoin, CrmState, Folded, Group, Person, PersonId, bearer_of, fold, group, looked_up, named_in, owner_of,
    recognise, record_of, row_of, shows_claim,
};
use stagedoor_model::{Event, Identifier, Record, RecordKey, breakage};
use stagedoor_ports::{Claims, Commit, JournalRow, PortError, Removal, Result, Saved, Versioned};

use crate::{Sync, outcome, shows::shows_of, withdrawn::new_bearers};

/// False if the CRM states of a person's rows say that the hub never wrote this claim into one.
fn wrote_claim(links: &BTreeMap<PersonId, CrmState>, owner: &Person, claim: &Identifier) -> bool {
    let mut own = owner.merged_ids.iter().chain([&owner.id]).filter_map(|id| links.get(id)).peekable();
    own.peek().is_none() || own.any(|link| link.may_have_written(claim)) || breakage::is_on("managers-claim-is-echo")
}

/// Number of times a batch is folded when another process changes the same people first.
const TRIES: usize = 8;

/// What the store knows of a batch's people.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) people: BTreeMap<PersonId, Versioned<Person>>,
    pub(crate) claims: Claims,
    /// People who cannot be read: owners of claims and blocked people. It includes people who cannot be folded
    /// without them.
    unreadable: BTreeSet<PersonId>,
}

/// Result of one try, as positions of events in the batch.
#[derive(Default)]
struct Tried {
    /// Another process changed the same people first.
    conflicted: BTreeSet<usize>,
    /// The people of these events cannot be read.
    unreadable: BTreeSet<usize>,
}

impl Sync {
    pub(crate) async fn fold(&self, events: Vec<(usize, Event)>) -> BTreeSet<usize> {
        match self.fold_until_saved(events.clone()).await {
            Ok(failed) => failed,
            Err(error) if events.len() > 1 => {
                // One event may be the cause. Folded alone, it fails alone.
                tracing::warn!(%error, events = events.len(), "batch not saved; its events are tried one by one");
                let mut failed = BTreeSet::new();
                for (index, event) in events {
                    match self.fold_until_saved(vec![(index, event)]).await {
                        Ok(late) => failed.extend(late),
                        Err(_) => _ = failed.insert(index),
                    }
                }
                failed
            }
            Err(error) => {
                for (_, event) in &events {
                    tracing::error!(trace = event.trace_id(), event = %event.id, %error, "event not saved");
                }
                events.into_iter().map(|(index, _)| index).collect()
            }
        }
    }

    async fn fold_until_saved(&self, mut events: Vec<(usize, Event)>) -> Result<BTreeSet<usize>> {
        let mut unreadable = BTreeSet::new();
        for attempt in 0..TRIES {
            let tried = self.fold_once(&events, attempt > 0, &BTreeSet::new()).await?;
            unreadable.extend(tried.unreadable);
            events.retain(|(index, _)| tried.conflicted.contains(index));
            if events.is_empty() {
                break;
            }
        }
        Ok(events.into_iter().map(|(index, _)| index).chain(unreadable).collect())
    }

    /// Folds a manager's decision at once. `among` names people whom the decision concerns and whom no identifier
    /// finds.
    ///
    /// # Errors
    /// When the store fails, or other processes were faster each time.
    pub async fn fold_decision(&self, event: Event, among: &BTreeSet<PersonId>) -> Result<()> {
        for attempt in 0..TRIES {
            let tried = self.fold_once(&[(0, event.clone())], attempt > 0, among).await?;
            if !tried.unreadable.is_empty() {
                return Err(PortError::Fail("somebody whom it is about cannot be read".into()));
            }
            if tried.conflicted.is_empty() {
                return Ok(());
            }
        }
        Err(PortError::Retry("other processes write about the same people; try again".into()))
    }

    /// Owner of each of these identifiers if a decision were folded. Saves nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn weigh_decision(
        &self,
        event: &Event,
        identifiers: &BTreeSet<Identifier>,
    ) -> Result<BTreeMap<Identifier, PersonId>> {
        let mut records: Vec<Record> = record_of(event).into_iter().collect();
        let known = self.know(&mut records, false, &BTreeSet::new()).await?;
        let loaded = known.people.values().map(|person| person.value.clone()).collect();
        let groups = group(records, loaded, &known.claims.owners, &known.claims.shared, &self.guards);
        let mut owners = self.store.resolve(identifiers).await?.owners;
        for folded in groups.into_iter().map(|group| fold(group, &known.claims.shared, &self.guards)) {
            for owner in owners.values_mut() {
                *owner = folded.redirects.get(owner).copied().unwrap_or(*owner);
            }
            owners.extend(folded.claims.into_iter().filter(|(identifier, _)| identifiers.contains(identifier)));
        }
        Ok(owners)
    }

    /// `again`: another process was faster in an earlier try.
    async fn fold_once(&self, events: &[(usize, Event)], again: bool, among: &BTreeSet<PersonId>) -> Result<Tried> {
        let struck = self.without_the_erased(events).await?;
        let events = struck.as_deref().unwrap_or(events);
        let ids: Vec<_> = events.iter().map(|(_, event)| event.id.clone()).collect();
        let journaled = self.store.journaled(&ids).await?;
        let mut seen = BTreeSet::new();
        let is_fresh = |(_, event): &&(usize, Event)| !journaled.contains(&event.id) && seen.insert(event.id.clone());
        let (fresh, repeated): (Vec<&(usize, Event)>, Vec<_>) = events.iter().partition(is_fresh);
        // Another process may have folded the event in the meantime.
        for (_, event) in repeated {
            tracing::info!(trace = event.trace_id(), event = %event.id, "a second delivery changes nothing");
        }
        for (_, event) in &fresh {
            self.learn_show(event).await?;
        }
        let mut of_nobody: Vec<&(usize, Event)> = Vec::new();
        let mut by_record = BTreeMap::<RecordKey, Vec<&(usize, Event)>>::new();
        let mut records = Vec::new();
        for numbered in fresh {
            match record_of(&numbered.1) {
                Some(record) => {
                    by_record.entry(record.key.clone()).or_default().push(numbered);
                    records.push(record);
                }
                None => of_nobody.push(numbered),
            }
        }
        let known = self.know(&mut records, again, among).await?;
        if self.forget_given_again(&records, &known).await? {
            // The people are read again, without the row.
            return Ok(Tried { conflicted: events.iter().map(|(index, _)| *index).collect(), ..Tried::default() });
        }
        let unreadable = leave_out_unreadable(&mut records, &known, &by_record);
        let loaded = known.people.values().map(|person| &person.value);
        let loaded = loaded.filter(|person| !known.unreadable.contains(&person.id)).cloned().collect();
        let groups = group(records, loaded, &known.claims.owners, &known.claims.shared, &self.guards);
        let mut commits: Vec<(Vec<usize>, Commit)> =
            groups.into_iter().map(|group| self.commit(group, &known, &by_record)).collect();
        if !of_nobody.is_empty() {
            // The event may also be about a person whom it does not change. The row is that person's, and goes when
            // they are erased.
            let named: Vec<BTreeSet<Identifier>> = of_nobody.iter().map(|(_, event)| named_in(event)).collect();
            let owners = self.owners(named.iter().flatten().cloned().collect(), again).await?;
            let whose = |named: &BTreeSet<Identifier>| named.iter().find_map(|name| owners.get(name).copied());
            let rows = of_nobody.iter().zip(&named);
            let journal = rows.map(|((_, event), named)| self.row(event, whose(named), None)).collect();
            let indices = of_nobody.iter().map(|(index, _)| *index).collect();
            commits.push((indices, Commit { journal, ..Commit::default() }));
        }
        let fresh: BTreeSet<RecordKey> = by_record.keys().cloned().collect();
        self.hear_withdrawals(&commits, &fresh, &known.people).await?;
        let (indices, commits): (Vec<Vec<usize>>, Vec<Commit>) = commits.into_iter().unzip();
        let commits = self.without_large(commits, &known.people).await?;
        let saved = self.store.save(commits).await?;
        if tracing::enabled!(tracing::Level::INFO) {
            let made = indices.iter().zip(&saved).filter(|(_, saved)| **saved == Saved::Done);
            let made: BTreeSet<usize> = made.flat_map(|(indices, _)| indices).copied().collect();
            for (_, event) in events.iter().filter(|(index, _)| made.contains(index)) {
                tracing::info!(trace = event.trace_id(), event = %event.id, kind = event.kind(), "event folded");
            }
        }
        let lost = indices.into_iter().zip(saved).filter(|(_, saved)| *saved == Saved::Conflict);
        Ok(Tried { conflicted: lost.flat_map(|(indices, _)| indices).collect(), unreadable })
    }

    /// Joins a person whom only a CRM reported into the person to whom the row belongs.
    pub(crate) async fn attach(&self, person: &Person, other: &Person) -> Result<()> {
        let both = BTreeSet::from([person.id, other.id]);
        for _ in 0..TRIES {
            let mut records: Vec<Record> = other.records.values().cloned().collect();
            let known = self.know(&mut records, true, &both).await?;
            let rows = records.iter_mut().filter(|record| record.is_mirror());
            rows.for_each(|record| recognise(record, person, None, |_| true));
            let loaded = known.people.values().map(|person| person.value.clone()).collect();
            let groups = group(records, loaded, &known.claims.owners, &known.claims.shared, &self.guards);
            let commits = groups.into_iter().map(|group| self.commit(group, &known, &BTreeMap::new()).1).collect();
            if self.store.save(commits).await?.iter().all(|saved| *saved == Saved::Done) {
                break;
            }
        }
        Ok(())
    }

    /// `again`: a crash may have left an identifier of a person who is not stored. A journal row about them would be
    /// a conflict.
    async fn owners(&self, named: BTreeSet<Identifier>, again: bool) -> Result<BTreeMap<Identifier, PersonId>> {
        if named.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut owners = self.store.resolve(&named).await?.owners;
        if again && !breakage::is_on("name-of-nobody-is-believed") {
            let ids: BTreeSet<PersonId> = owners.values().copied().collect();
            let living = self.store.load(&ids).await?;
            let unreadable = self.store.unreadable(&ids).await?;
            let is_stored = |id: &PersonId| {
                let is_of = |one: &Versioned<Person>| one.value.id == *id || one.value.merged_ids.contains(id);
                unreadable.contains(id) || living.iter().any(is_of)
            };
            owners.retain(|_, id| is_stored(id));
        }
        Ok(owners)
    }

    /// Loads all people whom the records could concern, and ties the CRM's own rows to the people they were made for.
    async fn know(&self, records: &mut [Record], again: bool, among: &BTreeSet<PersonId>) -> Result<Known> {
        let named: BTreeSet<Identifier> = records.iter().flat_map(looked_up).collect();
        let mut known = Known { claims: self.store.resolve(&named).await?, ..Known::default() };
        let mut wanted: BTreeSet<PersonId> = known.claims.owners.values().chain(among).copied().collect();
        wanted.extend(records.iter().filter_map(bearer_of));
        if again {
            // A crash may have left a person whom no identifier finds yet.
            wanted.extend(records.iter().map(|record| PersonId::of(&record.key)));
        }
        let mut missing = BTreeSet::new();
        while !wanted.is_empty() {
            let loaded = self.store.load(&wanted).await?;
            missing.extend(std::mem::take(&mut wanted));
            for person in loaded {
                missing.remove(&person.value.id);
                missing.retain(|id| !person.value.merged_ids.contains(id));
                wanted.extend(person.value.blocked_with.iter().copied());
                known.people.insert(person.value.id, person);
            }
            wanted.retain(|id| !known.people.contains_key(id) && !missing.contains(id));
        }
        if !missing.is_empty() {
            known.unreadable = self.store.unreadable(&missing).await?;
            known.spread_unreadable();
        }
        let theirs: BTreeSet<Identifier> = known
            .people
            .values()
            .flat_map(|person| person.value.records.values())
            .flat_map(looked_up)
            .filter(|identifier| !named.contains(identifier))
            .collect();
        if !theirs.is_empty() {
            let more = self.store.resolve(&theirs).await?;
            known.claims.owners.extend(more.owners);
            known.claims.shared.extend(more.shared);
        }
        let find = |id: PersonId| known.find(id).map(|person| &person.value);
        let claiming = records.iter().filter_map(|record| {
            let owner = owner_of(record, &known.claims.owners, find)?;
            shows_claim(record, owner).then(|| owner.merged_ids.iter().copied().chain([owner.id]))
        });
        let claiming: BTreeSet<PersonId> = claiming.flatten().collect();
        let links = if claiming.is_empty() { BTreeMap::new() } else { self.store.crm_states(&claiming).await? };
        for record in records.iter_mut() {
            if let Some(owner) = owner_of(record, &known.claims.owners, find) {
                let row_of = row_of(record, &known.claims.owners);
                let wrote = |claim: &Identifier| wrote_claim(&links, owner, claim);
                recognise(record, owner, row_of, wrote);
            }
        }
        Ok(known)
    }

    fn commit(
        &self,
        group: Group,
        known: &Known,
        by_record: &BTreeMap<RecordKey, Vec<&(usize, Event)>>,
    ) -> (Vec<usize>, Commit) {
        let fresh: Vec<Record> = group.records.clone();
        let before: Vec<PersonId> = group.people.iter().map(|person| person.id).collect();
        let folded = fold(group, &known.claims.shared, &self.guards);
        let keys: BTreeSet<&RecordKey> = fresh.iter().map(|record| &record.key).collect();
        let (mut indices, mut journal) = (Vec::new(), Vec::new());
        for key in keys {
            let person = holder(key, &folded, known);
            let blocked_joins: Vec<&BlockedJoin> =
                folded.blocked_joins.iter().filter(|blocked_join| blocked_join.record == *key).collect();
            for (index, event) in by_record.get(key).into_iter().flatten() {
                indices.push(*index);
                journal.push(self.row(event, person, outcome::note(&blocked_joins)));
            }
        }
        let mut audience = self.audience_of(&fresh, &before, &folded, known);
        audience.extend(new_bearers(&folded, &before, &known.people, &known.claims, &self.guards));
        let version = |id: &PersonId| known.people.get(id).map(|person| person.version);
        let removed = folded
            .redirects
            .iter()
            .filter_map(|(id, into)| Some(Removal { id: *id, version: version(id)?, into: *into }));
        let claims = folded.claims.iter().filter_map(|(identifier, person)| {
            let expected = known.claims.owners.get(identifier).copied();
            (expected != Some(*person)).then(|| (identifier.clone(), *person, expected))
        });
        let commit = Commit {
            journal,
            removed: removed.collect(),
            claims: claims.collect(),
            released: folded.released.iter().cloned().collect(),
            shared_identifiers: folded.shared_identifiers.iter().cloned().collect(),
            lifted: folded.lifted.iter().cloned().collect(),
            audience: audience.into_iter().collect(),
            people: folded
                .people
                .into_iter()
                .map(|person| (version(&person.id), person))
                .map(|(v, p)| (p, v))
                .collect(),
        };
        (indices, commit)
    }

    /// The people to add to the audiences of shows, each under their own id. A person who is separated from another
    /// person keeps their own shows.
    fn audience_of(
        &self,
        fresh: &[Record],
        before: &[PersonId],
        folded: &Folded,
        known: &Known,
    ) -> BTreeSet<(String, PersonId)> {
        let shows = |person: &Person| -> BTreeSet<String> {
            person.records.values().flat_map(|record| shows_of(record, &self.catalog)).collect()
        };
        if breakage::is_on("parted-unlisted") {
            let all = before.iter().filter_map(|id| known.people.get(id)).map(|person| shows(&person.value));
            let listed: BTreeSet<String> = all.flatten().collect();
            let new = fresh.iter().filter_map(|one| Some((holder(&one.key, folded, known)?, one)));
            let named = new.flat_map(|(id, one)| shows_of(one, &self.catalog).into_iter().map(move |show| (show, id)));
            return named.filter(|(show, _)| !listed.contains(show)).collect();
        }
        let new = folded.people.iter().flat_map(|person| {
            // Earlier builds listed joined people under the id that they had before.
            let same = known.people.get(&person.id).filter(|one| one.value.merged_ids.is_subset(&person.merged_ids));
            let listed = same.map(|one| shows(&one.value)).unwrap_or_default();
            shows(person).into_iter().filter(move |show| !listed.contains(show)).map(|show| (show, person.id))
        });
        new.collect()
    }

    fn row(&self, event: &Event, person: Option<PersonId>, note: Option<String>) -> JournalRow {
        let outcome = outcome::of(event, person.is_some());
        JournalRow { event: event.clone(), folded_at: self.clock.now(), outcome, person, note }
    }
}

impl Known {
    /// Finds a person by their id, or by the id of a person who was joined into them.
    pub(crate) fn find(&self, id: PersonId) -> Option<&Versioned<Person>> {
        let joined = || self.people.values().find(|person| person.value.merged_ids.contains(&id));
        self.people.get(&id).or_else(joined)
    }

    /// Marks people who cannot be folded because a blocked or merged person of theirs cannot be read. The guards
    /// weigh them all together.
    fn spread_unreadable(&mut self) {
        loop {
            let touched = self.people.values().map(|person| &person.value).filter(|person| {
                let near = person.blocked_with.iter().chain(&person.merged_ids);
                !self.unreadable.contains(&person.id) && near.into_iter().any(|id| self.unreadable.contains(id))
            });
            let touched: BTreeSet<PersonId> =
                touched.flat_map(|person| person.merged_ids.iter().copied().chain([person.id])).collect();
            if touched.is_empty() {
                return;
            }
            self.unreadable.extend(touched);
        }
    }
}

/// Removes the records about people who cannot be read. Folded alone, they would make a second person and take over
/// the first person's identifiers. Returns the positions of their events.
fn leave_out_unreadable(
    records: &mut Vec<Record>,
    known: &Known,
    by_record: &BTreeMap<RecordKey, Vec<&(usize, Event)>>,
) -> BTreeSet<usize> {
    let owned =
        |identifier: &Identifier| known.claims.owners.get(identifier).is_some_and(|id| known.unreadable.contains(id));
    let keys: BTreeSet<RecordKey> =
        records.iter().filter(|record| looked_up(record).iter().any(owned)).map(|record| record.key.clone()).collect();
    records.retain(|record| !keys.contains(&record.key));
    let events = keys.iter().filter_map(|key| by_record.get(key)).flatten();
    let events = events.inspect(|(_, event)| {
        tracing::error!(trace = event.trace_id(), event = %event.id, "the person of this event cannot be read; it waits");
    });
    events.map(|(index, _)| *index).collect()
}

fn holder(key: &RecordKey, folded: &Folded, known: &Known) -> Option<PersonId> {
    let changed = folded.people.iter().find(|person| person.records.contains_key(key)).map(|person| person.id);
    let unchanged = || known.people.values().map(|p| &p.value).find(|p| p.records.contains_key(key)).map(|p| p.id);
    changed.or_else(unchanged)
}
