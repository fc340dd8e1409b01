//! Contacts that a manager merged into others. A CRM that sends no webhooks tells nothing of it: a contact is gone, and its
//! deals hang on another one. That is the manager's word that the two are one person. It stands above the guards that keep
//! people apart, but for a decision that says so.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{Person, PersonId};
use stagedoor_model::{
    Body, ContactChanged, Event, EventId, Identifier, IdentityDecided, Kind, SourceName, Timestamp, Verdict, breakage,
};
use stagedoor_ports::{CrmError, Gone, PortError, SeenDeal};

use crate::Sync;

/// Who decided, as the journal tells it.
const BY: &str = "a manager who merged contacts in the CRM";

impl Sync {
    /// What follows from contacts that are gone because a manager merged them into others: the other contact as it stands
    /// now, and the decision. Nothing follows where the deals hang on no other contact, or where a manager hung them by hand on
    /// one that holds nothing of the gone contact's person.
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
        if self.crm.has_webhooks() || names.is_empty() || breakage::is_on("merge-by-hand-unheard") {
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
        // A merge moves deals without changing them. Who hangs them elsewhere by hand is the last who changed them.
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

    /// The deals that the hub has of people in this CRM.
    async fn deals_of(&self, people: BTreeSet<PersonId>) -> Result<BTreeMap<PersonId, BTreeSet<u64>>, PortError> {
        let links = self.store.crm_states(&people).await?;
        let own = links.iter().filter_map(|(id, link)| Some((*id, self.own(link)?)));
        Ok(own.map(|(id, link)| (id, link.deals.values().filter_map(|deal| deal.id).collect())).collect())
    }

    /// The decision that the person of a contact that is gone is the one of the contact that was kept.
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
        // What a crowd shares says nothing of who is who.
        let is_own = |one: &&Identifier| {
            matches!(one.kind(), Kind::Phone | Kind::Email)
                && (!known.shared.contains(*one) || breakage::is_on("crowds-address-merges"))
                && !self.guards.blocked.contains(*one)
        };
        let values = theirs.identifiers();
        let holds = kept.identifiers.iter().filter(is_own).any(|one| values.contains(one));
        // The hub itself hung deals there while two who are parted were one.
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

/// The contact on which all of these deals hang.
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
