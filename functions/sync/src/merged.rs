//! Contacts that a manager merged into others. A CRM without webhooks does not report it: a contact is gone, and its
//! deals belong to another contact. This is the manager's decision that the two are one person. It overrides the
//! guards, except for an explicit decision to keep the people apart.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{Person, PersonId};
use stagedoor_model::{
    Body, ContactChanged, Event, EventId, Identifier, IdentityDecided, Kind, SourceName, Timestamp, Verdict, breakage,
};
use stagedoor_ports::{CrmError, Gone, PortError, SeenDeal};

use crate::Sync;

/// Author of the decision, as the journal shows it.
const BY: &str = "a manager who merged contacts in the CRM";

impl Sync {
    /// Events for contacts that are gone because a manager merged them into others: the other contact in its present
    /// state, and the decision. There are none if the deals belong to no other contact. There are also none if a
    /// manager moved the deals by hand to a contact without data of the gone contact's person.
    ///
    /// # Errors
    /// `Retry` when the CRM or the store cannot be used now.
    pub(crate) async fn merges(
        &self,
        source: &SourceName,
        gone: &[Gone],
        now: Timestamp,
    ) -> Result<Vec<Event>, PortError> {
        let contacts = gone.iter().filter_map(|row| if let Gone::Contact(id) = row { Some(*id) } else { None });
        let names: BTreeMap<Identifier, u64> = contacts.filter_map(|id| Some((self.contact(id)?, id))).collect();
        if self.crm.info().has_webhooks || names.is_empty() || breakage::is_on("merge-by-hand-unheard") {
            return Ok(vec![]);
        }
        let owners = self.store.resolve(&names.keys().cloned().collect()).await?.owners;
        let deals = self.deals_of(owners.values().copied().collect()).await?;
        let wanted: BTreeSet<u64> = deals.values().flatten().copied().collect();
        if wanted.is_empty() {
            return Ok(vec![]);
        }
        let there = match self.crm.fetch(&BTreeSet::new(), &wanted).await {
            Ok(there) => there.deals,
            Err(error) => return not_asked(&error),
        };
        let into = |name: &Identifier| {
            let own = deals.get(owners.get(name)?)?;
            home_of(there.iter().filter(|deal| own.contains(&deal.id)))
        };
        // A merge moves deals without changing them. A move by hand makes the manager the last editor of the deal.
        let is_moved_whole = |name: &Identifier| {
            let own = owners.get(name).and_then(|owner| deals.get(owner));
            own.is_some_and(|own| there.iter().filter(|deal| own.contains(&deal.id)).all(|deal| deal.by.is_none()))
                && !breakage::is_on("merge-of-full-contacts-unheard")
        };
        let pairs: Vec<(&Identifier, u64)> = names
            .iter()
            .filter_map(|(name, id)| {
                Some((name, into(name).filter(|kept| kept != id && !names.values().any(|gone| gone == kept))?))
            })
            .collect();
        let kept: BTreeSet<u64> = pairs.iter().map(|(_, kept)| *kept).collect();
        if kept.is_empty() {
            return Ok(vec![]);
        }
        let read = match self.crm.fetch(&kept, &BTreeSet::new()).await {
            Ok(read) => read.contacts,
            Err(error) => return not_asked(&error),
        };
        let mut events = Vec::new();
        for (name, kept) in pairs {
            let is_kept = |body: &Body| matches!(body, Body::ContactChanged(change) if change.contact == kept);
            let Some((at, body)) = read.iter().find(|(_, body)| is_kept(body)) else { continue };
            let (Body::ContactChanged(change), Some(owner)) = (body, owners.get(name)) else { continue };
            if let Some(decision) = self.merge(source, (name, *owner, is_moved_whole(name)), change, now).await? {
                tracing::info!(person = %owner, contact = kept, "a manager merged two contacts in the CRM");
                events.push(crate::changes::mirrored(source, (*at, body.clone()), now));
                events.push(decision);
            }
        }
        Ok(events)
    }

    fn contact(&self, id: u64) -> Option<Identifier> {
        Identifier::opaque(Kind::CrmContact, self.scope, &id.to_string())
    }

    /// Deals of these people in this CRM that the hub knows.
    async fn deals_of(&self, people: BTreeSet<PersonId>) -> Result<BTreeMap<PersonId, BTreeSet<u64>>, PortError> {
        let links = self.store.crm_states(&people).await?;
        let own = links.iter().filter_map(|(id, link)| Some((*id, self.own(link)?)));
        Ok(own.map(|(id, link)| (id, link.deals.values().filter_map(|deal| deal.id).collect())).collect())
    }

    /// The decision that the person of a gone contact is the person of the contact that was kept.
    async fn merge(
        &self,
        source: &SourceName,
        (gone, owner, is_moved_whole): (&Identifier, PersonId, bool),
        kept: &ContactChanged,
        now: Timestamp,
    ) -> Result<Option<Event>, PortError> {
        let Some(name) = self.contact(kept.contact) else { return Ok(None) };
        let named = kept.identifiers.iter().chain([&name]).cloned().collect();
        let known = self.store.resolve(&named).await?;
        let Some(other) = known.owners.get(&name).copied() else { return Ok(None) };
        let people = self.store.load(&BTreeSet::from([owner, other])).await?;
        let find = |id: PersonId| {
            let is = |person: &&Person| person.id == id || person.merged_ids.contains(&id);
            people.iter().map(|one| &one.value).find(is)
        };
        let (Some(theirs), Some(others)) = (find(owner), find(other)) else { return Ok(None) };
        // A shared identifier says nothing about who is who.
        let is_own = |one: &&Identifier| {
            matches!(one.kind(), Kind::Phone | Kind::Email)
                && (!known.shared.contains(*one) || breakage::is_on("crowds-address-merges"))
                && !self.guards.blocked.contains(*one)
        };
        let values = theirs.identifiers();
        let holds = kept.identifiers.iter().filter(is_own).any(|one| values.contains(one));
        // The hub itself moved deals there while two people, now separated, were one.
        let says_so = holds || is_moved_whole && !theirs.parted.contains(&others.id);
        if theirs.id == others.id || !says_so {
            return Ok(None);
        }
        let id = EventId::derive(source, &["merged", gone.value(), name.value()]);
        let verdict = Verdict::SamePerson(name, gone.clone());
        let body = Body::IdentityDecided(IdentityDecided { verdict, by: BY.to_owned() });
        Ok(Some(Event::new(source, id, now, body)))
    }
}

/// The contact to which all of these deals belong.
fn home_of<'d>(deals: impl Iterator<Item = &'d SeenDeal>) -> Option<u64> {
    let homes: BTreeSet<Option<u64>> = deals.map(|deal| deal.contact).collect();
    if homes.len() == 1 { homes.into_iter().next().flatten() } else { None }
}

fn not_asked(error: &CrmError) -> Result<Vec<Event>, PortError> {
    match error {
        CrmError::CredentialsRejected(reason) => {
            tracing::warn!(reason, "whether contacts were merged could not be asked");
            Ok(vec![])
        }
        error => Err(PortError::Retry(error.to_string())),
    }
}
