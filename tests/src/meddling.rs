//! A CRM that answers for some contacts itself, as if it failed on one person's row.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use stagedoor_engine::ContactDraft;
use stagedoor_model::Timestamp;
use stagedoor_ports::{
    Capabilities, Changes, Crm, CrmError, CrmFound, CrmHealth, CrmLookup, CrmPage, CrmRows, CrmTotals, Deleted,
    OfErased, Struck, WriteOutcome, Writes,
};

type Meddle = dyn Fn(&ContactDraft) -> Option<WriteOutcome> + Send + Sync;

pub struct Meddling {
    pub inner: Arc<dyn Crm>,
    /// The answer for a new contact. `None` leaves it to the CRM.
    pub meddle: Box<Meddle>,
}

#[async_trait]
impl Crm for Meddling {
    async fn set_up(&self) -> Result<(), CrmError> {
        self.inner.set_up().await
    }
    async fn apply(&self, change: Writes<'_>) -> Vec<WriteOutcome> {
        let Writes::CreateContacts(rows) = change else { return self.inner.apply(change).await };
        let own: Vec<Option<WriteOutcome>> = rows.iter().map(|row| (self.meddle)(row)).collect();
        let rest: Vec<ContactDraft> =
            rows.iter().zip(&own).filter(|(_, own)| own.is_none()).map(|(row, _)| row.clone()).collect();
        let mut answers =
            if rest.is_empty() { vec![] } else { self.inner.apply(Writes::CreateContacts(&rest)).await }.into_iter();
        own.into_iter().map(|own| own.or_else(|| answers.next()).unwrap_or(WriteOutcome::NotSent)).collect()
    }
    async fn find(&self, lookup: CrmLookup<'_>) -> Result<CrmFound, CrmError> {
        self.inner.find(lookup).await
    }
    async fn changes(&self, since: Timestamp) -> Result<Changes, CrmError> {
        self.inner.changes(since).await
    }
    async fn deleted(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Deleted, CrmError> {
        self.inner.deleted(contacts, deals).await
    }
    async fn fetch(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Changes, CrmError> {
        self.inner.fetch(contacts, deals).await
    }
    async fn page(&self, rows: CrmRows, page: u32) -> Result<CrmPage, CrmError> {
        self.inner.page(rows, page).await
    }
    async fn export(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<serde_json::Value, CrmError> {
        self.inner.export(contacts, deals).await
    }
    async fn strike(&self, rows: &[OfErased]) -> Vec<Struck> {
        self.inner.strike(rows).await
    }
    async fn totals(&self, deals: &BTreeSet<u64>, invoices: &BTreeSet<u64>) -> Result<CrmTotals, CrmError> {
        self.inner.totals(deals, invoices).await
    }
    fn info(&self) -> Capabilities {
        self.inner.info()
    }
    fn health(&self) -> CrmHealth {
        self.inner.health()
    }
}
