//! Gives own rows in the CRM to people who were joined by mistake and separated again.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{
    CrmState, Parting, Person, PersonId, outdated, rows_of, stale_mark, untangle, without_rows_of_parted,
};
use stagedoor_model::{Body, Identifier, SECOND_CRM, breakage};
use stagedoor_ports::{Crm, Dirty, Gone, PortError, WriteOutcome, Writes};
use tokio::time::Instant;

use crate::Sync;

/// People whose CRM states changed, and people for whom the CRM must still be called.
#[derive(Default)]
pub(crate) struct Untangled {
    pub changed: BTreeSet<PersonId>,
    pub unfinished: BTreeSet<PersonId>,
}

impl Sync {
    /// Puts the rows of separated people in order. No call begins after `until`, or after a call that the CRM did not
    /// answer.
    pub(crate) async fn untangle(&self, dirty: &mut [Dirty], until: Option<Instant>) -> Result<Untangled, PortError> {
        let mut untangled = Untangled::default();
        for one in dirty.iter_mut() {
            let id = one.person.id;
            if one.person.parted == one.link.untangled {
                self.clear_outdated(one, until, &mut untangled).await?;
                continue;
            }
            self.forget_partings_of(&one.person.merged_ids).await?;
            // One of the people came back, so no rows need to be separated.
            if one.person.parted.is_subset(&one.link.untangled) {
                one.link.untangled = one.person.parted.clone();
                untangled.changed.insert(id);
                continue;
            }
            let is_over = until.is_some_and(|until| Instant::now() >= until);
            if is_over || !untangled.unfinished.is_empty() || !self.lease().await? {
                untangled.unfinished.insert(id);
                continue;
            }
            // Rows of people who were joined into the others since belong to the others.
            let others = self.store.load(&one.person.parted).await?;
            let merged_ids = others.iter().flat_map(|other| other.value.merged_ids.iter().copied());
            let ids = merged_ids.chain(one.person.parted.iter().copied()).filter(|other| *other != id).collect();
            let links = self.store.crm_states(&ids).await?;
            let merged_ids = self.store.crm_states(&one.person.merged_ids).await?;
            let rows: BTreeSet<Identifier> = links
                .values()
                .chain(merged_ids.values())
                .chain([&one.link])
                .flat_map(|link| {
                    let second = link.second.iter().flat_map(|second| rows_of(second, SECOND_CRM));
                    rows_of(link, "").into_iter().chain(second)
                })
                .collect();
            let mut owners = self.store.resolve(&rows).await?.owners;
            let living = || others.iter().map(|other| &other.value).filter(|other| other.id != id);
            let joined = |person: &Person| {
                person.merged_ids.iter().map(|merged_ids| (*merged_ids, person.id)).collect::<Vec<_>>()
            };
            let joined: BTreeMap<PersonId, PersonId> = living().chain([&one.person]).flat_map(joined).collect();
            owners.values_mut().for_each(|owner| *owner = joined.get(owner).copied().unwrap_or(*owner));
            let parted = one.person.parted.iter().copied().chain(living().map(|other| other.id)).collect();
            let person = Person { parted, ..one.person.clone() };
            // The joined state remembers who is to be put in order, before those of merged people forget it.
            self.store.save_crm_states(vec![(id, one.link.clone())]).await?;
            one.link.revision += 1;
            self.leave_rows(merged_ids, &person, &owners).await?;
            let others: BTreeMap<PersonId, &CrmState> = links.iter().map(|(id, link)| (*id, link)).collect();
            let was_absorbed = !person.absorbed_by.is_subset(&one.link.untangled);
            let partings = untangle(&mut one.link, &person, &owners, (&others, was_absorbed), "");
            let (mut done, gone) = part(self.crm.as_ref(), &partings).await;
            one.link.note_gone(&partings, &gone);
            if let (Some(link), Some(second)) = (one.link.second.as_deref_mut(), &self.second) {
                let others: BTreeMap<PersonId, &CrmState> =
                    links.iter().filter_map(|(id, link)| Some((*id, link.second.as_deref()?))).collect();
                let partings = untangle(link, &person, &owners, (&others, was_absorbed), SECOND_CRM);
                let (is_done, gone) = part(second.crm.as_ref(), &partings).await;
                link.note_gone(&partings, &gone);
                done &= is_done;
            }
            untangled.changed.insert(id);
            if done {
                one.link.untangled = one.person.parted.clone();
            } else {
                untangled.unfinished.insert(id);
            }
        }
        Ok(untangled)
    }

    /// Removes phones and e-mails from the contacts of a person who corrected them, and the duplicate mark from the
    /// contact that counts.
    async fn clear_outdated(
        &self,
        one: &mut Dirty,
        until: Option<Instant>,
        untangled: &mut Untangled,
    ) -> Result<(), PortError> {
        let (id, mut first) = (one.person.id, stale(&one.link, &one.person, ""));
        let second = one.link.second.as_ref().filter(|_| self.second.is_some());
        let mut second = second.map(|link| stale(link, &one.person, SECOND_CRM)).unwrap_or_default();
        if first.is_empty() && second.is_empty() {
            return Ok(());
        }
        let is_over = until.is_some_and(|until| Instant::now() >= until);
        if is_over || !untangled.unfinished.is_empty() || !self.lease().await? {
            untangled.unfinished.insert(id);
            return Ok(());
        }
        let noted = self.note_clearing(one, (&mut first, &mut second)).await?;
        let mut done = false;
        if noted {
            let (is_done, gone) = part(self.crm.as_ref(), &first).await;
            one.link.note_gone(&first, &gone);
            first.retain(|parting| !gone.contains(&parting.contact));
            done = is_done;
        }
        if done {
            note_done(&mut one.link, &one.person, &first, "");
        }
        if let (Some(link), Some(crm)) = (one.link.second.as_deref_mut(), self.second.as_ref().map(|one| &one.crm))
            && !second.is_empty()
        {
            let mut is_clear = false;
            if done {
                let (is_done, gone) = part(crm.as_ref(), &second).await;
                link.note_gone(&second, &gone);
                second.retain(|parting| !gone.contains(&parting.contact));
                is_clear = is_done;
            }
            if is_clear {
                note_done(link, &one.person, &second, SECOND_CRM);
            }
            done &= is_clear;
        }
        untangled.changed.insert(id);
        if !done {
            untangled.unfinished.insert(id);
        }
        Ok(())
    }

    /// Notes values that the hub is about to remove from contacts, and values that a manager removed before. The CRM
    /// state is saved before the call. Without that, after a crash the hub's own change would look like a manager's.
    /// A contact that is gone is left out: it may be restored with all its values. Returns false if a CRM could not
    /// be asked.
    async fn note_clearing(
        &self,
        one: &mut Dirty,
        (first, second): (&mut Vec<Parting>, &mut Vec<Parting>),
    ) -> Result<bool, PortError> {
        let Some(there) = standing(self.crm.as_ref(), first).await else { return Ok(false) };
        let is_there = |there: &BTreeMap<u64, BTreeSet<Identifier>>, parting: &Parting| {
            there.contains_key(&parting.contact) || breakage::is_on("gone-contact-counts-as-cleared")
        };
        first.retain(|parting| is_there(&there, parting));
        let mut is_news = one.link.note_clearing(first, &there);
        if let (Some(link), Some(crm)) = (one.link.second.as_deref_mut(), self.second.as_ref().map(|one| &one.crm)) {
            let Some(there) = standing(crm.as_ref(), second).await else { return Ok(false) };
            second.retain(|parting| is_there(&there, parting));
            is_news |= link.note_clearing(second, &there);
        }
        if is_news {
            self.store.save_crm_states(vec![(one.person.id, one.link.clone())]).await?;
            one.link.revision += 1;
        }
        Ok(true)
    }

    /// Removes rows of separated people from the CRM states of merged people.
    async fn leave_rows(
        &self,
        mut merged_ids: BTreeMap<PersonId, CrmState>,
        person: &Person,
        owners: &BTreeMap<Identifier, PersonId>,
    ) -> Result<(), PortError> {
        merged_ids.retain(|_, link| {
            let before = link.clone();
            // These people exist again: none of their rows need to be put in order in this CRM state.
            link.joined.retain(|id| !person.parted.contains(id) || breakage::is_on("parted-put-in-order-for-ever"));
            without_rows_of_parted(link, person, owners, "");
            if let Some(second) = link.second.as_deref_mut() {
                without_rows_of_parted(second, person, owners, SECOND_CRM);
            }
            *link != before && !breakage::is_on("parted-rows-come-back")
        });
        if merged_ids.is_empty() { Ok(()) } else { self.store.save_crm_states(merged_ids.into_iter().collect()).await }
    }

    /// Forgets finished separations, so that rows are put in order again if the same people are separated again.
    async fn forget_partings_of(&self, merged_ids: &BTreeSet<PersonId>) -> Result<(), PortError> {
        let mut links = self.store.crm_states(merged_ids).await?;
        links.retain(|_, link| !link.untangled.is_empty());
        links.values_mut().for_each(|link| link.untangled.clear());
        if links.is_empty() { Ok(()) } else { self.store.save_crm_states(links.into_iter().collect()).await }
    }
}

/// Outdated values in a person's contacts: former phones and e-mails, and marks of duplicates.
fn stale(link: &CrmState, person: &Person, scope: &str) -> Vec<Parting> {
    let mut all = outdated(link, person);
    if link.marked.is_empty() {
        return all;
    }
    if let Some(marked) = stale_mark(link, &person.seen_by(scope)) {
        match all.iter_mut().find(|one| one.contact == marked.contact) {
            Some(one) => (one.kin, one.deals, one.shows) = (marked.kin, marked.deals, marked.shows),
            None => all.push(marked),
        }
    }
    all
}

fn note_done(link: &mut CrmState, person: &Person, done: &[Parting], scope: &str) {
    link.note_cleared(done);
    if done.iter().any(|one| !one.kin.is_empty()) {
        link.note_unmarked(&person.seen_by(scope));
    }
}

/// The phones and e-mails that are in these contacts now. `None` if the CRM cannot be read now.
async fn standing(crm: &dyn Crm, partings: &[Parting]) -> Option<BTreeMap<u64, BTreeSet<Identifier>>> {
    let contacts: BTreeSet<u64> = partings.iter().map(|parting| parting.contact).collect();
    if contacts.is_empty() {
        return Some(BTreeMap::new());
    }
    match crm.fetch(&contacts, &BTreeSet::new()).await {
        Ok(there) => {
            let told = there.contacts.into_iter().filter_map(|(_, body)| match body {
                Body::ContactChanged(change) => Some((change.contact, change.identifiers)),
                _ => None,
            });
            Some(told.collect())
        }
        Err(error) => {
            tracing::warn!(%error, "contacts could not be read before values are taken out of them");
            None
        }
    }
}

/// Returns true if no part of it must be tried again, and the contacts that are gone. A row that the CRM refuses, or
/// that is gone, waits for nothing.
async fn part(crm: &dyn Crm, partings: &[Parting]) -> (bool, BTreeSet<u64>) {
    let rows = crm.apply(Writes::PartContacts(partings)).await;
    let mut gone = BTreeSet::new();
    for (parting, row) in partings.iter().zip(&rows) {
        match row {
            WriteOutcome::Refused(reason) => {
                tracing::warn!(contact = parting.contact, reason, "the CRM keeps rows of parted people together");
            }
            WriteOutcome::Gone(Gone::Contact(contact)) if !breakage::is_on("gone-contact-counts-as-parted") => {
                gone.insert(*contact);
            }
            _ => {}
        }
    }
    (
        rows.iter().all(|row| matches!(row, WriteOutcome::Done(_) | WriteOutcome::Refused(_) | WriteOutcome::Gone(_))),
        gone,
    )
}
