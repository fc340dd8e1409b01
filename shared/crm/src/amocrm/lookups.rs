//! Rows that the hub created in amoCRM, and pages of rows.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{PersonId, ShowKey};
use stagedoor_model::Timestamp;
use stagedoor_ports::{CrmError, CrmPage};

use crate::amocrm::{
    bulk::BATCH,
    client::{AmoCrm, SKEW},
    companies, notes_and_tasks,
    schema::{self, items, number},
    wire,
};

impl AmoCrm {
    pub(super) async fn find_notes(
        &self,
        contacts: &BTreeSet<u64>,
        since: Timestamp,
    ) -> Result<Vec<(u64, String)>, CrmError> {
        notes_and_tasks::notes_of(&self.transport, contacts, since.as_second() - SKEW).await
    }

    pub(super) async fn find_tasks(
        &self,
        contacts: &BTreeSet<u64>,
        since: Timestamp,
    ) -> Result<Vec<(u64, String)>, CrmError> {
        notes_and_tasks::tasks_of(&self.transport, contacts, since.as_second() - SKEW).await
    }

    pub(super) async fn find_contacts(
        &self,
        people: &BTreeSet<PersonId>,
        since: Timestamp,
    ) -> Result<BTreeMap<PersonId, BTreeSet<u64>>, CrmError> {
        let mut found = BTreeMap::<PersonId, BTreeSet<u64>>::new();
        self.newest("contacts", since, |contact| {
            let person = wire::values(contact, "STAGEDOOR_ID").first().and_then(|text| PersonId::parse(text).ok());
            if let (Some(person), Some(id)) = (person.filter(|person| people.contains(person)), number(contact, "id")) {
                found.entry(person).or_default().insert(id);
            }
        })
        .await?;
        Ok(found)
    }

    pub(super) async fn find_deals(
        &self,
        deals: &BTreeSet<(PersonId, ShowKey)>,
        since: Timestamp,
    ) -> Result<BTreeMap<(PersonId, ShowKey), BTreeSet<u64>>, CrmError> {
        let by_text: BTreeMap<String, &(PersonId, ShowKey)> =
            deals.iter().map(|key| (wire::deal_id(key.0, &key.1), key)).collect();
        let mut found = BTreeMap::<(PersonId, ShowKey), BTreeSet<u64>>::new();
        self.newest("leads", since, |lead| {
            let ids = wire::values(lead, "STAGEDOOR_ID");
            let key = ids.first().and_then(|text| by_text.get(text));
            if let (Some(key), Some(id)) = (key, number(lead, "id")) {
                found.entry((*key).clone()).or_default().insert(id);
            }
        })
        .await?;
        Ok(found)
    }

    pub(super) async fn find_companies(
        &self,
        keys: &BTreeSet<String>,
        since: Timestamp,
    ) -> Result<BTreeMap<String, BTreeSet<u64>>, CrmError> {
        let mut found = companies::newest(&self.transport, since.as_second() - SKEW).await?;
        found.retain(|key, _| keys.contains(key));
        Ok(found)
    }

    pub(super) async fn contacts(&self, page: u32) -> Result<CrmPage, CrmError> {
        let path = format!("/api/v4/contacts?order%5Bid%5D=asc&limit=250&page={page}");
        let answer = schema::get(&self.transport, &path).await?;
        let rows = items(answer.as_ref(), "contacts");
        let next = (rows.len() == BATCH).then_some(page + 1);
        Ok(CrmPage {
            bodies: rows.into_iter().filter_map(|row| wire::mirrored(row, self.settings.region)).collect(),
            next,
            ..CrmPage::default()
        })
    }
}
