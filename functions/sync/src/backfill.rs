//! Mirrors the account's existing contacts into the identity index, so that finding a person costs no call.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::PersonId;
use stagedoor_model::{Body, Event, EventId, Identifier, Kind, LeadChanged, SourceName};
use stagedoor_ports::{CrmPage, CrmRows, HubDeal, PortError};

use crate::{Sync, changes::mirrored};

const CURSOR: &str = "backfill/page";
const DEALS: &str = "backfill/deals";

/// Result of reading the CRM's existing rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backfilled {
    pub pages: u32,
    pub contacts: usize,
    /// Deals that carry the hub's id and were not known.
    pub deals: usize,
}

impl Sync {
    /// Reads the account's contacts from the page at which an earlier walk stopped. A repeated walk changes nothing.
    ///
    /// # Errors
    /// `Retry` when the CRM cannot be used now; the next call goes on from the page that failed.
    pub async fn backfill(&self, source: &SourceName) -> Result<Backfilled, PortError> {
        let mut done = self.walk(source).await;
        if let Ok(done) = &mut done
            && let Err(error) = self.walk_deals(source, done).await
        {
            self.release().await?;
            return Err(error);
        }
        self.release().await?;
        done
    }

    /// Reads the deals that carry the hub's id. A deal that the hub does not know may be a second deal of a person
    /// and a show.
    async fn walk_deals(&self, source: &SourceName, done: &mut Backfilled) -> Result<(), PortError> {
        loop {
            if !self.lease_in_turn().await? {
                return Err(PortError::Retry("another process uses the CRM".into()));
            }
            let key_value = self.store.key_value(&self.cell_of(DEALS)).await?;
            let page = key_value.as_ref().and_then(|key_value| key_value.value.parse().ok()).unwrap_or(1);
            let CrmPage { deals: rows, next, .. } =
                self.crm.page(CrmRows::Deals, page).await.map_err(|error| PortError::Retry(error.to_string()))?;
            let events = self.unknown_deals(source, rows).await?;
            done.deals += events.len();
            if !self.handle(events).await.is_empty() {
                return Err(PortError::Retry(format!("page {page} of deals was not saved whole")));
            }
            let value = next.unwrap_or(1).to_string();
            self.store
                .compare_and_set(&self.cell_of(DEALS), &value, key_value.map(|key_value| key_value.version))
                .await?;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Deals that are not in the index, as events. Each deal carries the hub's id of a known person, or hangs on a
    /// contact with the same lost id.
    pub(crate) async fn unknown_deals(&self, source: &SourceName, rows: Vec<HubDeal>) -> Result<Vec<Event>, PortError> {
        let name = |lead: u64| Identifier::opaque(Kind::CrmLead, self.scope, &lead.to_string());
        let names: BTreeSet<Identifier> = rows.iter().filter_map(|deal| name(deal.id)).collect();
        let owners = self.store.resolve(&names).await?.owners;
        let unknown = rows.into_iter().filter(|deal| name(deal.id).is_some_and(|name| !owners.contains_key(&name)));
        let bearer = |hub_id: &str| PersonId::parse(hub_id.split('|').next()?.trim()).ok();
        let unknown: BTreeMap<u64, (HubDeal, PersonId)> =
            unknown.filter_map(|deal| Some((deal.id, (deal.clone(), bearer(&deal.hub_id)?)))).collect();
        if unknown.is_empty() {
            return Ok(vec![]);
        }
        let bearers: BTreeSet<PersonId> = unknown.values().map(|(_, bearer)| *bearer).collect();
        let living = self.store.load(&bearers).await?;
        let is_known =
            |id: &PersonId| living.iter().any(|one| one.value.id == *id || one.value.merged_ids.contains(id));
        let (known, lost): (Vec<_>, Vec<_>) = unknown.into_values().partition(|(_, bearer)| is_known(bearer));
        let renamed = self.under_new_ids(lost).await?;
        let now = self.clock.now();
        let told = |deal: HubDeal| {
            let id = EventId::derive(source, &["hub-id", &deal.id.to_string(), &deal.hub_id, &now.to_string()]);
            let (pipeline, status, moved_by, changed_at) = (None, None, Some(0), None);
            let (lead, deleted, hub_id) = (deal.id, false, Some(deal.hub_id));
            let change = LeadChanged { lead, deleted, pipeline, status, moved_by, hub_id, changed_at };
            Event::new(source, id, now, Body::LeadChanged(change))
        };
        Ok(known.into_iter().map(|(deal, _)| deal).chain(renamed).map(told).collect())
    }

    async fn walk(&self, source: &SourceName) -> Result<Backfilled, PortError> {
        let mut done = Backfilled::default();
        loop {
            if !self.lease_in_turn().await? {
                return Err(PortError::Retry("another process uses the CRM".into()));
            }
            let key_value = self.store.key_value(&self.cell_of(CURSOR)).await?;
            let page = key_value.as_ref().and_then(|key_value| key_value.value.parse().ok()).unwrap_or(1);
            let answer =
                self.crm.page(CrmRows::Contacts, page).await.map_err(|error| PortError::Retry(error.to_string()))?;
            let now = self.clock.now();
            let events: Vec<Event> = answer.bodies.into_iter().map(|told| mirrored(source, told, now)).collect();
            done.contacts += events.len();
            done.pages += 1;
            if !self.handle(events).await.is_empty() {
                return Err(PortError::Retry(format!("page {page} was not saved whole")));
            }
            let next = answer.next.unwrap_or(1);
            self.store
                .compare_and_set(&self.cell_of(CURSOR), &next.to_string(), key_value.map(|key_value| key_value.version))
                .await?;
            if answer.next.is_none() {
                return Ok(done);
            }
        }
    }
}
