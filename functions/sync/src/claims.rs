//! Keeps every CRM row of the hub in the index, so that changes of the row in the CRM reach its person. A row is
//! claimed when its creating call is answered. It is also claimed when a lookup finds it, or after a crash in
//! between.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{ContactState, CrmState, DealState, Person, PersonId, bearer_of, is_given_again};
use stagedoor_model::{Fact, Identifier, Kind, Record, breakage};
use stagedoor_ports::{Commit, PortError, Saved, Versioned};

use crate::{Sync, fold::Known, run::SyncRun};

/// A row that the index may not know yet.
struct Unclaimed {
    person: PersonId,
    kind: Kind,
    id: u64,
    identifier: Identifier,
}

impl Sync {
    /// Claims the rows of these people that the index does not know. `made` holds the ids that creating calls just
    /// returned. The CRM states change but are not saved.
    pub(crate) async fn claim_rows(
        &self,
        sync_run: &SyncRun,
        people: &BTreeSet<PersonId>,
        made: &BTreeSet<(Kind, u64)>,
    ) -> Result<BTreeSet<PersonId>, PortError> {
        let unclaimed = sync_run.unclaimed(people, made);
        if unclaimed.is_empty() {
            return Ok(BTreeSet::new());
        }
        let alone =
            |one: &Unclaimed| Commit { claims: vec![(one.identifier.clone(), one.person, None)], ..Commit::default() };
        let saved = self.store.save(unclaimed.iter().map(alone).collect()).await?;
        let taken = unclaimed.iter().zip(saved).filter(|(_, saved)| *saved == Saved::Conflict);
        let taken: Vec<&Unclaimed> = taken.map(|(one, _)| one).collect();
        if !taken.is_empty() {
            let identifiers = taken.iter().map(|one| one.identifier.clone()).collect();
            let owners = self.store.resolve(&identifiers).await?.owners;
            for one in taken {
                let Some(owner) = owners.get(&one.identifier).filter(|owner| **owner != one.person) else { continue };
                self.take_over(sync_run, one, *owner, made.contains(&(one.kind, one.id))).await?;
            }
        }
        Ok(sync_run.claimed(&unclaimed))
    }

    /// Handles a row of ours that the index has under another person.
    async fn take_over(
        &self,
        sync_run: &SyncRun,
        row: &Unclaimed,
        owner: PersonId,
        is_new: bool,
    ) -> Result<(), PortError> {
        // People who were joined meanwhile are found under one id.
        let loaded = self.store.load(&BTreeSet::from([owner, row.person])).await?;
        let of = |id: PersonId| loaded.iter().find(|one| one.value.id == id || one.value.merged_ids.contains(&id));
        let (Some(other), Some(own)) = (of(owner), of(row.person)) else { return Ok(()) };
        if other.value.id == own.value.id {
            return Ok(());
        }
        let known: BTreeSet<&Identifier> = own.value.identifiers_and_claims();
        let tells = |one: &&&Identifier| ***one != row.identifier && one.kind() != Kind::Link;
        let is_strange = other.value.identifiers().iter().filter(tells).any(|one| !known.contains(one));
        if is_told_by_the_crm_alone(&other.value, &row.identifier) && !(is_new && is_strange) {
            // The row's webhook came before the claim, and its record stands alone.
            self.attach(&own.value, &other.value).await?;
        } else if is_new && !breakage::is_on("reused-id-believed") {
            tracing::warn!(person = %row.person, other = %other.value.id, "the CRM gave an id again: the hub's data are older");
            self.disown(sync_run, row, other).await?;
        } else {
            tracing::warn!(person = %row.person, other = %other.value.id, "a row in the CRM belongs to somebody else already");
        }
        Ok(())
    }

    /// Handles a new row whose id another person's row had. That person's row is gone, and the hub forgets it.
    async fn disown(&self, sync_run: &SyncRun, row: &Unclaimed, other: &Versioned<Person>) -> Result<(), PortError> {
        let id = other.value.id;
        if self.release_row(&row.identifier, Some(row.person), other).await? != Saved::Done {
            return Err(PortError::Retry("somebody changed while a row of theirs was forgotten".into()));
        }
        if sync_run.forget_row(id, row.kind, row.id) {
            self.keep(sync_run, BTreeSet::from([id])).await?;
        } else {
            self.forget_stored_row(id, row.kind, row.id, self.scope).await?;
        }
        self.store.mark_dirty(BTreeSet::from([id])).await
    }

    /// Forgets contacts whose ids the CRM gave to other rows. A webhook may report such a row before it is claimed.
    /// Returns true if there were any.
    pub(crate) async fn forget_given_again(&self, records: &[Record], known: &Known) -> Result<bool, PortError> {
        let mut is_any = false;
        for record in records {
            let row = record.identifiers.iter().find(|one| one.kind() == Kind::CrmContact);
            let owner = row.and_then(|row| known.find(*known.claims.owners.get(row)?));
            let bearer = bearer_of(record).and_then(|id| known.find(id)).map(|one| &one.value);
            let (Some(row), Some(owner)) = (row, owner) else { continue };
            if !is_given_again(record, &owner.value, bearer) {
                continue;
            }
            is_any = true;
            let id = owner.value.id;
            tracing::warn!(person = %id, "the CRM gave an id again: the hub's data are older");
            let number = row.value().parse().map_err(|_| PortError::Fail("a row without a number".into()))?;
            // The index is last: until then a repetition finds the row given again, and does the rest.
            self.forget_stored_row(id, Kind::CrmContact, number, row.scope()).await?;
            self.store.mark_dirty(BTreeSet::from([id])).await?;
            self.release_row(row, None, owner).await?;
        }
        Ok(is_any)
    }

    /// Takes a row away from a person. It goes to `to`, or to the next person who claims it.
    async fn release_row(
        &self,
        row: &Identifier,
        to: Option<PersonId>,
        from: &Versioned<Person>,
    ) -> Result<Saved, PortError> {
        let mut person = from.value.clone();
        let mut released = without_row(&mut person, row);
        if to.is_none() {
            released.insert(row.clone());
        }
        let owners = self.store.resolve(&released).await?.owners;
        let id = person.id;
        let commit = Commit {
            claims: to.map(|to| (row.clone(), to, Some(id))).into_iter().collect(),
            released: released.into_iter().filter(|one| owners.get(one) == Some(&id)).collect(),
            people: vec![(person, Some(from.version))],
            ..Commit::default()
        };
        Ok(self.store.save(vec![commit]).await?.first().copied().unwrap_or(Saved::Conflict))
    }

    /// `scope` is the namespace of the CRM's record ids. It is empty for the first CRM.
    async fn forget_stored_row(&self, id: PersonId, kind: Kind, row: u64, scope: &str) -> Result<(), PortError> {
        if let Some(mut link) = self.store.crm_states(&BTreeSet::from([id])).await?.remove(&id) {
            let own = if scope.is_empty() { Some(&mut link) } else { link.second.as_deref_mut() };
            own.into_iter().for_each(|own| forget_row(own, kind, row));
            self.store.save_crm_states(vec![(id, link)]).await?;
        }
        Ok(())
    }
}

/// Takes a row of the CRM away from a person. Returns the identifiers that went with it, without the row's own.
pub(crate) fn without_row(person: &mut Person, row: &Identifier) -> BTreeSet<Identifier> {
    let before: BTreeSet<Identifier> = person.identifiers().into_iter().cloned().collect();
    person.forget_row(row);
    let after: BTreeSet<Identifier> = person.identifiers().into_iter().cloned().collect();
    before.difference(&after).filter(|one| one.kind().is_strong() && *one != row).cloned().collect()
}

/// True if everything known of a person comes from this row, or from facts about addresses in it.
fn is_told_by_the_crm_alone(person: &Person, row: &Identifier) -> bool {
    let mut facts = person.records.values().filter(|record| record.is_of_somebody());
    facts.all(|record| {
        matches!(record.fact, Fact::CrmContact { .. } | Fact::CrmLead { .. }) && record.identifiers.contains(row)
    })
}

pub(crate) fn forget_row(link: &mut CrmState, kind: Kind, id: u64) {
    if kind == Kind::CrmContact {
        link.doubles.remove(&id);
        link.marked.remove(&id);
        if link.contact.id == Some(id) {
            link.contact = ContactState::default();
        }
        link.contact.claimed.remove(&id);
        return;
    }
    for deal in link.deals.values_mut() {
        deal.doubles.remove(&id);
        if deal.id == Some(id) {
            *deal = DealState { doubles: std::mem::take(&mut deal.doubles), ..DealState::default() };
        }
        deal.claimed.remove(&id);
    }
}

impl SyncRun {
    fn unclaimed(&self, people: &BTreeSet<PersonId>, made: &BTreeSet<(Kind, u64)>) -> Vec<Unclaimed> {
        let person_runs = self.person_runs();
        let mut all = Vec::new();
        for (person, person_run) in people.iter().filter_map(|id| Some((id, person_runs.get(id)?))) {
            let contact = &person_run.link.contact;
            let contacts = contact.id.iter().chain(&person_run.link.doubles).filter(|id| !contact.claimed.contains(id));
            let deals = person_run
                .link
                .deals
                .values()
                .flat_map(|deal| deal.id.iter().chain(&deal.doubles).filter(|id| !deal.claimed.contains(id)));
            let rows = contacts.map(|id| (Kind::CrmContact, *id)).chain(deals.map(|id| (Kind::CrmLead, *id)));
            let rows = rows.filter(|row| made.contains(row) || !breakage::is_on("lookup-unclaimed"));
            all.extend(rows.filter_map(|(kind, id)| {
                let identifier = Identifier::opaque(kind, self.scope, &id.to_string())?;
                Some(Unclaimed { person: *person, kind, id, identifier })
            }));
        }
        all
    }

    /// Notes that the index has these rows now.
    fn claimed(&self, rows: &[Unclaimed]) -> BTreeSet<PersonId> {
        let mut person_runs = self.person_runs();
        for row in rows {
            let Some(person_run) = person_runs.get_mut(&row.person) else { continue };
            if row.kind == Kind::CrmContact {
                person_run.link.contact.claimed.insert(row.id);
                continue;
            }
            let has = |deal: &&mut DealState| deal.id == Some(row.id) || deal.doubles.contains(&row.id);
            person_run.link.deals.values_mut().filter(has).for_each(|deal| _ = deal.claimed.insert(row.id));
        }
        rows.iter().map(|row| row.person).collect()
    }

    /// Forgets a row of a person in this run. Returns true if the person is in the run.
    fn forget_row(&self, person: PersonId, kind: Kind, id: u64) -> bool {
        let mut person_runs: std::sync::MutexGuard<'_, BTreeMap<_, _>> = self.person_runs();
        let Some(person_run) = person_runs.get_mut(&person) else { return false };
        forget_row(&mut person_run.link, kind, id);
        // This run's plan concerns the forgotten row.
        person_run.plan.steps.clear();
        person_run.open += 1;
        true
    }
}
