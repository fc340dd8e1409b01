//! Reads moves of deals by managers right before people are separated. A separation puts deals back where they
//! belong. After it, the hub no longer knows the stages that it set itself. So a CRM without webhooks is asked first.

use std::collections::BTreeSet;

use stagedoor_engine::PersonId;
use stagedoor_model::{SECOND_CRM, SourceName, breakage};
use stagedoor_ports::{Dirty, PortError, SeenDeal};

use crate::{Sync, restored::Asked};

/// True if rows of this person must still be separated.
pub(crate) fn is_to_part(one: &Dirty) -> bool {
    !one.person.parted.is_subset(&one.link.untangled)
}

impl Sync {
    /// Reads where the deals of the people stand who are about to be separated.
    pub(crate) async fn hear_moves(&self, people: &[Dirty]) -> Result<Asked, PortError> {
        let parting: Vec<&Dirty> = people.iter().filter(|one| is_to_part(one)).collect();
        if parting.is_empty() || self.crm.info().has_webhooks || breakage::is_on("move-before-parting-unheard") {
            return Ok(Asked::default());
        }
        let mut ids: BTreeSet<PersonId> = parting
            .iter()
            .flat_map(|one| one.person.parted.iter().chain(&one.person.merged_ids).copied().chain([one.person.id]))
            .collect();
        // These ids belong to people who were joined into the others since.
        ids.extend(self.store.load(&ids).await?.iter().flat_map(|other| other.value.merged_ids.iter().copied()));
        let links = self.store.crm_states(&ids).await?;
        let own = links.values().filter_map(|link| self.own(link)).flat_map(|link| link.deals.values());
        let deals: BTreeSet<u64> = own.filter_map(|deal| deal.id).collect();
        let name = SourceName::new(if self.scope.is_empty() { "crm" } else { SECOND_CRM });
        let (Ok(source), false) = (name, deals.is_empty()) else { return Ok(Asked::default()) };
        let mut there = match self.crm.fetch(&BTreeSet::new(), &deals).await {
            Ok(there) => there,
            Err(error) => {
                tracing::warn!(%error, "where the deals of people who part stand could not be asked");
                let waiting = parting.iter().map(|one| one.person.id).collect();
                return Ok(Asked { waiting, trouble: Some(error.to_string()), ..Asked::default() });
            }
        };
        // The hub itself may have put the deal there, or closed it as a double, while they were one person.
        let by_hub =
            |seen: &SeenDeal| links.values().filter_map(|link| self.own(link)).any(|link| self.put(link, seen));
        there.deals.retain(|seen| !by_hub(seen));
        let moved = self.moves(&source, there.deals, self.clock.now()).await?;
        if moved.is_empty() {
            return Ok(Asked::default());
        }
        tracing::info!(deals = moved.len(), "managers moved deals of people who part");
        if !Box::pin(self.handle(moved)).await.is_empty() {
            return Err(PortError::Retry("what was moved in the CRM was not saved whole".into()));
        }
        Ok(Asked { is_stale: true, ..Asked::default() })
    }
}
