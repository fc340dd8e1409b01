//! Rows that carry the hub's id of another person than the one to be written. The CRM reused an id, the index was
//! wrong, or a manager merged rows. Such a row is not overwritten. The hub forgets it and looks for the person's own
//! row.

use std::collections::BTreeSet;

use stagedoor_engine::{CrmState, Pending, PersonId};
use stagedoor_model::{Identifier, Kind, Timestamp};
use stagedoor_ports::{Commit, PortError, Saved};

use crate::{
    Sync,
    claims::{forget_row, without_row},
    crm_change::CrmChange,
    foreign_row::Misidentified,
    run::SyncRun,
};

impl SyncRun {
    pub(crate) fn is_misidentified(&self, person: PersonId, change: &CrmChange, bearer: PersonId) {
        let (kind, row, show) = match change {
            CrmChange::UpdateContact(id, _) => (Kind::CrmContact, *id, None),
            CrmChange::UpdateDeal(id, draft) | CrmChange::CloseDouble(id, draft) => {
                (Kind::CrmLead, *id, Some(draft.show.clone()))
            }
            _ => return,
        };
        let one = Misidentified { person, kind, row, show, bearer };
        self.misidentified.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(one);
    }

    /// Accepts the row as this person's. The next run writes it and overwrites the id of the other.
    fn accept(&self, one: &Misidentified) {
        if let Some(person_run) = self.person_runs().get_mut(&one.person) {
            person_run.link.other_ids.insert(one.bearer);
        }
    }

    /// Forgets the row. The person's own row is looked for from `since` on.
    fn look_for_another(&self, one: &Misidentified, since: Timestamp, now: Timestamp) {
        let mut person_runs = self.person_runs();
        let Some(person_run) = person_runs.get_mut(&one.person) else { return };
        forget_row(&mut person_run.link, one.kind, one.row);
        let pending = Some(Pending { late_until: Some(now), ..Pending::since(since) });
        match &one.show {
            None => person_run.link.contact.pending = pending,
            Some(show) => {
                let deal = person_run.link.deals.entry(show.clone()).or_default();
                // A double that belongs to another person does not change the deal that counts.
                if deal.id.is_none() {
                    deal.pending = pending;
                }
            }
        }
    }
}

impl Sync {
    /// Decides to whom the rows belong that calls of this run did not write.
    pub(crate) async fn look_at_misidentified(&self, sync_run: &SyncRun) -> Result<(), PortError> {
        let all =
            std::mem::take(&mut *sync_run.misidentified.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for one in all {
            let found = self.store.load(&BTreeSet::from([one.bearer])).await?.pop().map(|found| found.value);
            // No person carries that id any more, or its person was joined into this one.
            let is_own = match found.filter(|bearer| bearer.id != one.person) {
                None => true,
                Some(bearer) => {
                    let theirs = self.link_in_this_crm(bearer.id).await?.unwrap_or_default();
                    let bearer = if self.second.is_some() || !self.scope.is_empty() {
                        bearer.seen_by(self.scope)
                    } else {
                        bearer
                    };
                    one.is_copy(&bearer, &theirs)
                }
            };
            if is_own {
                sync_run.accept(&one);
            } else {
                tracing::warn!(person = %one.person, bearer = %one.bearer, row = one.row, "a row in the CRM is somebody else's");
                self.let_row_go(sync_run, &one).await?;
            }
            self.keep(sync_run, BTreeSet::from([one.person])).await?;
        }
        Ok(())
    }

    async fn link_in_this_crm(&self, person: PersonId) -> Result<Option<CrmState>, PortError> {
        let link = self.store.crm_states(&BTreeSet::from([person])).await?.remove(&person);
        Ok(if self.scope.is_empty() { link } else { link.and_then(|link| link.second).map(|second| *second) })
    }

    /// Takes the row away from the person, in the index too.
    async fn let_row_go(&self, sync_run: &SyncRun, one: &Misidentified) -> Result<(), PortError> {
        let Some(identifier) = Identifier::opaque(one.kind, self.scope, &one.row.to_string()) else { return Ok(()) };
        let Some(loaded) = self.store.load(&BTreeSet::from([one.person])).await?.pop() else { return Ok(()) };
        let (version, mut person) = (loaded.version, loaded.value);
        let (id, now) = (person.id, self.clock.now());
        let since = person.records.values().map(|record| record.at).min().unwrap_or(now);
        let mut released = without_row(&mut person, &identifier);
        released.insert(identifier);
        let owners = self.store.resolve(&released).await?.owners;
        released.retain(|name| owners.get(name) == Some(&id));
        let commit = Commit {
            released: released.into_iter().collect(),
            people: vec![(person, Some(version))],
            ..Commit::default()
        };
        if self.store.save(vec![commit]).await? != [Saved::Done] {
            return Err(PortError::Retry("somebody changed while a row of theirs was forgotten".into()));
        }
        sync_run.look_for_another(one, since, now);
        Ok(())
    }
}
