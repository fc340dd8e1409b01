//! Deals that carry an id which nobody has any more, because the hub lost its store. Their contact came back with a
//! backfill, and its person has another id now.

use std::collections::BTreeSet;

use stagedoor_engine::{PersonId, ShowKey, bearer_of};
use stagedoor_model::{Identifier, Kind, Record, breakage};
use stagedoor_ports::{HubDeal, PortError};

use crate::Sync;

impl Sync {
    /// Returns the deals whose contact carries the same lost id, each with the id of the contact's person. Deals of
    /// shows for which that person has a deal are left out.
    pub(crate) async fn under_new_ids(&self, deals: Vec<(HubDeal, PersonId)>) -> Result<Vec<HubDeal>, PortError> {
        let name = |contact: u64| Identifier::opaque(Kind::CrmContact, self.scope, &contact.to_string());
        let contacts: BTreeSet<Identifier> = deals.iter().filter_map(|(deal, _)| name(deal.contact?)).collect();
        if contacts.is_empty() || breakage::is_on("lost-id-is-nobodys") {
            return Ok(vec![]);
        }
        let owners = self.store.resolve(&contacts).await?.owners;
        let ids: BTreeSet<PersonId> = owners.values().copied().collect();
        let people = self.store.load(&ids).await?;
        let links = self.store.crm_states(&people.iter().map(|one| one.value.id).collect()).await?;
        let renamed = deals.into_iter().filter_map(|(deal, lost)| {
            let contact = name(deal.contact?)?;
            let owner = owners.get(&contact)?;
            let is_owner = |id: PersonId, merged: &BTreeSet<PersonId>| id == *owner || merged.contains(owner);
            let person = &people.iter().find(|one| is_owner(one.value.id, &one.value.merged_ids))?.value;
            let bears = |record: &Record| record.identifiers.contains(&contact) && bearer_of(record) == Some(lost);
            let show = ShowKey(deal.hub_id.split_once('|')?.1.to_owned());
            let show = self.catalog.current(&show).cloned().unwrap_or(show);
            let own = links.get(&person.id).and_then(|link| self.own(link));
            let has_one = own.and_then(|link| link.deals.get(&show)).is_some_and(|deal| deal.id.is_some());
            let is_theirs = !has_one && person.records.values().any(bears);
            is_theirs.then(|| HubDeal { hub_id: format!("{}|{}", person.id, show.0), ..deal })
        });
        Ok(renamed.collect())
    }
}
