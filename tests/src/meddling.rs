//! A CRM that answers for some contacts itself, as if it failed on one person's row.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use stagedoor_engine::{CompanyDraft, ContactDraft, DealDraft, Parting, PersonId, ShowKey};
use stagedoor_model::Timestamp;
use stagedoor_ports::{Crm, CrmError, CrmPage, WriteOutcome};

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
    async fn create_contacts(&self, rows: &[ContactDraft]) -> Vec<WriteOutcome> {
        let own: Vec<Option<WriteOutcome>> = rows.iter().map(|row| (self.meddle)(row)).collect();
        let rest: Vec<ContactDraft> =
            rows.iter().zip(&own).filter(|(_, own)| own.is_none()).map(|(row, _)| row.clone()).collect();
        let mut answers = if rest.is_empty() { vec![] } else { self.inner.create_contacts(&rest).await }.into_iter();
        own.into_iter().map(|own| own.or_else(|| answers.next()).unwrap_or(WriteOutcome::NotSent)).collect()
    }
    async fn update_contacts(&self, rows: &[(u64, ContactDraft)]) -> Vec<WriteOutcome> {
        self.inner.update_contacts(rows).await
    }
    async fn create_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
        self.inner.create_deals(rows).await
    }
    async fn update_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
        self.inner.update_deals(rows).await
    }
    async fn put_companies(&self, rows: &[(Option<u64>, CompanyDraft)], since: Option<Timestamp>) -> Vec<WriteOutcome> {
        self.inner.put_companies(rows, since).await
    }
    async fn mark_duplicates(&self, rows: &[(u64, u64)]) -> Vec<WriteOutcome> {
        self.inner.mark_duplicates(rows).await
    }
    async fn part_contacts(&self, rows: &[Parting]) -> Vec<WriteOutcome> {
        self.inner.part_contacts(rows).await
    }
    async fn add_notes(&self, rows: &[(u64, String)]) -> Vec<WriteOutcome> {
        self.inner.add_notes(rows).await
    }
    async fn add_tasks(&self, rows: &[(u64, String, Timestamp)]) -> Vec<WriteOutcome> {
        self.inner.add_tasks(rows).await
    }
    async fn find_notes(&self, contacts: &BTreeSet<u64>, since: Timestamp) -> Result<Vec<(u64, String)>, CrmError> {
        self.inner.find_notes(contacts, since).await
    }
    async fn find_tasks(&self, contacts: &BTreeSet<u64>, since: Timestamp) -> Result<Vec<(u64, String)>, CrmError> {
        self.inner.find_tasks(contacts, since).await
    }
    async fn find_contacts(
        &self,
        people: &BTreeSet<PersonId>,
        since: Timestamp,
    ) -> Result<BTreeMap<PersonId, BTreeSet<u64>>, CrmError> {
        self.inner.find_contacts(people, since).await
    }
    async fn find_deals(
        &self,
        deals: &BTreeSet<(PersonId, ShowKey)>,
        since: Timestamp,
    ) -> Result<BTreeMap<(PersonId, ShowKey), BTreeSet<u64>>, CrmError> {
        self.inner.find_deals(deals, since).await
    }
    async fn contacts(&self, page: u32) -> Result<CrmPage, CrmError> {
        self.inner.contacts(page).await
    }
    async fn export(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<serde_json::Value, CrmError> {
        self.inner.export(contacts, deals).await
    }
    fn room(&self) -> Option<(usize, usize)> {
        self.inner.room()
    }

    fn late_for(&self) -> jiff::SignedDuration {
        self.inner.late_for()
    }
    fn batch(&self) -> usize {
        self.inner.batch()
    }
    fn calls(&self) -> u64 {
        self.inner.calls()
    }
}
