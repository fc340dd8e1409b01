//! Rows that the hub created in Vtiger, and pages of rows.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use stagedoor_engine::{PersonId, ShowKey};
use stagedoor_model::Timestamp;
use stagedoor_ports::{CrmError, CrmPage, HubDeal};

use crate::vtiger::{
    changes,
    client::Vtiger,
    notes_and_tasks,
    query::{self, PAGE},
    wire,
};

/// Largest difference between the CRM's clock and ours when the hub looks for records that it created.
const SKEW: SignedDuration = SignedDuration::from_secs(120);

impl Vtiger {
    pub(super) async fn find_notes(
        &self,
        contacts: &BTreeSet<u64>,
        since: Timestamp,
    ) -> Result<Vec<(u64, String)>, CrmError> {
        let schema = self.schema().await?;
        let about = ("ModComments", "related_to", "commentcontent");
        Ok(notes_and_tasks::of(&self.transport, &schema, about, contacts, since - SKEW).await?)
    }

    pub(super) async fn find_tasks(
        &self,
        contacts: &BTreeSet<u64>,
        since: Timestamp,
    ) -> Result<Vec<(u64, String)>, CrmError> {
        let schema = self.schema().await?;
        let about = ("Calendar", "contact_id", "description");
        Ok(notes_and_tasks::of(&self.transport, &schema, about, contacts, since - SKEW).await?)
    }

    /// Finds contacts by the hub's own field, regardless of the time of their creation.
    pub(super) async fn find_contacts(
        &self,
        people: &BTreeSet<PersonId>,
        _: Timestamp,
    ) -> Result<BTreeMap<PersonId, BTreeSet<u64>>, CrmError> {
        let schema = self.schema().await?;
        let keys: Vec<String> = people.iter().map(PersonId::to_string).collect();
        let found = self.contacts_of(&schema).find_all(&keys).await?;
        Ok(people.iter().filter_map(|id| Some((*id, found.get(&id.to_string())?.clone()))).collect())
    }

    pub(super) async fn find_deals(
        &self,
        deals: &BTreeSet<(PersonId, ShowKey)>,
        _: Timestamp,
    ) -> Result<BTreeMap<(PersonId, ShowKey), BTreeSet<u64>>, CrmError> {
        let schema = self.schema().await?;
        let key = |(person, show): &(PersonId, ShowKey)| wire::deal_id(*person, show);
        let found = self.deals_of(&schema).find_all(&deals.iter().map(key).collect::<Vec<_>>()).await?;
        Ok(deals.iter().filter_map(|deal| Some((deal.clone(), found.get(&key(deal))?.clone()))).collect())
    }

    pub(super) async fn find_companies(
        &self,
        keys: &BTreeSet<String>,
        _: Timestamp,
    ) -> Result<BTreeMap<String, BTreeSet<u64>>, CrmError> {
        let schema = self.schema().await?;
        Ok(self.accounts_of(&schema).find_all(&keys.iter().cloned().collect::<Vec<_>>()).await?)
    }

    pub(super) async fn find_invoices(&self, keys: &BTreeSet<String>) -> Result<BTreeMap<String, u64>, CrmError> {
        let schema = self.schema().await?;
        let keys: Vec<String> = keys.iter().cloned().collect();
        Ok(self.invoices_by_key(&schema, &keys).await?)
    }

    /// Reads contacts from this number on, in the order of numbers, so that created or deleted contacts shift no page.
    pub(super) async fn contacts(&self, from: u32) -> Result<CrmPage, CrmError> {
        let schema = self.schema().await?;
        let columns = wire::columns(&schema.contacts);
        let after = query::literal(&schema.contacts.of(u64::from(from.saturating_sub(1))));
        let query = format!("select {columns} from Contacts where id > {after} order by id limit 0,{PAGE};");
        let rows = query::page(&self.transport, &query).await?;
        let last = rows.last().and_then(query::id).and_then(|id| query::number(&id));
        let next = last.filter(|_| rows.len() == PAGE).and_then(|number| u32::try_from(number + 1).ok());
        let bodies = rows.iter().filter_map(|row| self.mirrored(row, &schema));
        Ok(CrmPage { bodies: bodies.collect(), next, ..CrmPage::default() })
    }

    pub(super) async fn deals(&self, from: u32) -> Result<(Vec<HubDeal>, Option<u32>), CrmError> {
        let schema = self.schema().await?;
        Ok(changes::deals_of_the_hub(&self.transport, &schema, from).await?)
    }
}
