//! Looks for rows that a call may have made in the CRM although its answer was lost. Erasing needs them.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{CrmState, Pending, Person, PersonId, ShowKey};
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{Crm, CrmError, CrmLookup, PortError, Result, Versioned};

use crate::{Sync, pending::key_of};

impl Sync {
    /// Adds the rows of calls without an answer to the CRM states.
    ///
    /// # Errors
    /// `Fail` while such a call may still make a row, or if a CRM cannot be asked. Nobody would know of that row.
    pub(crate) async fn hear_of_rows(
        &self,
        people: &[Versioned<Person>],
        links: &mut BTreeMap<PersonId, CrmState>,
    ) -> Result<()> {
        if breakage::is_on("unheard-rows-outlive") {
            return Ok(());
        }
        // Joined people may each have asked for a row under their own id.
        let ids: BTreeSet<PersonId> =
            people.iter().flat_map(|one| one.value.merged_ids.iter().copied().chain([one.value.id])).collect();
        let now = self.clock.now();
        let first = hear(self.crm.as_ref(), &ids, links.values_mut().collect(), now).await;
        let second = match &self.second {
            Some(second) => {
                let links = links.values_mut().filter_map(|link| link.second.as_deref_mut()).collect();
                hear(second.crm.as_ref(), &ids, links, now).await
            }
            None => Ok(None),
        };
        let cannot =
            |error: CrmError| PortError::Fail(format!("the CRM cannot be asked for rows of this person: {error}"));
        match first.map_err(cannot)?.max(second.map_err(cannot)?) {
            Some(until) => Err(PortError::Fail(format!(
                "a call that makes a row of this person in the CRM got no answer, and may take effect until {until}; ask \
                 again after that"
            ))),
            None => Ok(()),
        }
    }
}

/// Returns the time until which a call whose row does not exist may still take effect.
async fn hear(
    crm: &dyn Crm,
    ids: &BTreeSet<PersonId>,
    mut links: Vec<&mut CrmState>,
    now: Timestamp,
) -> std::result::Result<Option<Timestamp>, CrmError> {
    let late_for = crm.info().late_for;
    let open = |pending: &Pending| {
        (!pending.is_over(now, late_for)).then(|| pending.late_until.unwrap_or(pending.at + late_for))
    };
    let mut until = None;
    let since = links.iter().filter_map(|link| link.unanswered_since()).min();
    let Some(since) = since else { return Ok(None) };
    let is_joined = (ids.len() > 1 || links.len() > 1) && !breakage::is_on("joined-rows-answer");
    let asked: Vec<&mut &mut CrmState> = links.iter_mut().filter(|link| link.contact.pending.is_some()).collect();
    if !asked.is_empty() {
        let known: BTreeSet<u64> =
            asked.iter().flat_map(|link| link.contact.id.iter().chain(&link.doubles)).copied().collect();
        let found: BTreeSet<u64> = crm
            .find(CrmLookup::Contacts { people: ids, since })
            .await
            .map(|found| found.contacts)?
            .into_values()
            .flatten()
            .collect();
        // If people are joined, a found row says nothing of the other's call.
        let is_answered = !is_joined && !found.is_subset(&known);
        for link in asked {
            until = until.max(link.contact.pending.as_ref().filter(|_| !is_answered).and_then(open));
            link.doubles.extend(&found);
        }
    }
    let shows: BTreeSet<ShowKey> = links
        .iter()
        .flat_map(|link| link.deals.iter().filter(|(_, deal)| deal.pending.is_some()).map(|(show, _)| show.clone()))
        .collect();
    if !shows.is_empty() {
        let keys = shows.iter().flat_map(|show| ids.iter().map(|id| (*id, show.clone()))).collect();
        let found = crm.find(CrmLookup::Deals { deals: &keys, since }).await.map(|found| found.deals)?;
        for show in &shows {
            let rows: BTreeSet<u64> =
                found.iter().filter(|((_, key), _)| key == show).flat_map(|(_, rows)| rows).copied().collect();
            let asked: Vec<_> = links.iter_mut().filter_map(|link| link.deals.get_mut(show)).collect();
            let known = asked.iter().flat_map(|deal| deal.id.iter().chain(&deal.doubles)).copied().collect();
            let is_answered = !is_joined && !rows.is_subset(&known);
            for deal in asked {
                until = until.max(deal.pending.as_ref().filter(|_| !is_answered).and_then(open));
                deal.doubles.extend(&rows);
            }
        }
    }
    let invoices = links.iter_mut().flat_map(|link| link.invoices.iter_mut());
    let asked: Vec<_> = invoices.filter(|(_, invoice)| invoice.pending.is_some()).collect();
    if !asked.is_empty() {
        let keys = asked.iter().map(|(order, invoice)| key_of(order, invoice)).collect();
        let found = crm.find(CrmLookup::Invoices { keys: &keys }).await.map(|found| found.invoices)?;
        for (order, invoice) in asked {
            let row = found.get(&key_of(order, invoice));
            until = until.max(invoice.pending.as_ref().filter(|_| row.is_none()).and_then(open));
            invoice.old.extend(row);
        }
    }
    Ok(until)
}
