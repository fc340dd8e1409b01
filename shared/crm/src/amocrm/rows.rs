//! Rows of the account, read by their ids.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{Changes, CrmError, Deleted, HubDeal};

use crate::amocrm::{
    bulk::BATCH,
    client::{AmoCrm, SKEW},
    schema::{self, items, number},
    wire,
};

/// Number of ids in one list call. More ids would make the URL too long.
const IDS: usize = 100;
/// From this number of deals on, reading a page is cheaper than single reads.
const FEW: usize = 3;
/// From this number of rows on, searching the pages is cheaper than single reads.
const MANY: usize = 8;
/// Number of pages that a first search in an unknown account may need.
const SEARCH: usize = 16;

impl AmoCrm {
    /// Contacts that get new phones or e-mails, by their ids, as they are in the CRM now.
    pub(super) async fn standing(&self, ids: BTreeSet<u64>) -> Result<BTreeMap<u64, Value>, CrmError> {
        if ids.is_empty() || breakage::is_on("phones-sent-whole") {
            return Ok(BTreeMap::new());
        }
        let rows = self.rows("contacts", &ids).await?;
        Ok(rows.into_iter().filter_map(|row| Some((number(&row, "id")?, row))).collect())
    }

    /// The rows that exist among these ids. Without the paid add-on the CRM ignores `filter[id]`. Few rows are then
    /// read one by one, and many by the list pages on which they stand.
    pub(super) async fn rows(&self, entity: &str, ids: &BTreeSet<u64>) -> Result<Vec<Value>, CrmError> {
        let mut rows = Vec::new();
        if ids.len() < 2 || !self.has_filters().await? {
            let mut left = ids.clone();
            // Deals that move are mostly young, so the first page in descending order holds them.
            if ids.len() >= FEW && entity == "leads" {
                rows = self.page(entity, "desc", 1, &mut left).await?.1;
            }
            if left.len() >= MANY {
                rows.extend(self.by_pages(entity, &mut left).await?);
            }
            for id in left {
                rows.extend(schema::get(&self.transport, &format!("/api/v4/{entity}/{id}")).await?);
            }
            return Ok(rows);
        }
        let ids: Vec<u64> = ids.iter().copied().collect();
        for chunk in ids.chunks(IDS) {
            let filter: Vec<String> =
                chunk.iter().enumerate().map(|(n, id)| format!("filter%5Bid%5D%5B{n}%5D={id}")).collect();
            let path = format!("/api/v4/{entity}?limit=250&{}", filter.join("&"));
            let answer = schema::get(&self.transport, &path).await?;
            let own = |row: &&Value| number(row, "id").is_some_and(|id| chunk.contains(&id));
            rows.extend(items(answer.as_ref(), entity).into_iter().filter(own).cloned());
        }
        Ok(rows)
    }

    /// These rows as they are now. Missing rows are left out.
    pub(super) async fn rows_now(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Changes, CrmError> {
        let is_there = |row: &Value| row.get("is_deleted").and_then(Value::as_bool) != Some(true);
        let of = async |entity: &str, ids: &BTreeSet<u64>| match ids.is_empty() {
            true => Ok(vec![]),
            false => self.rows(entity, ids).await,
        };
        let (contacts, deals) = (of("contacts", contacts).await?, of("leads", deals).await?);
        let region = self.settings.region;
        let contacts =
            contacts.iter().filter(|row| is_there(row)).filter_map(|row| wire::mirrored(row, region)).collect();
        let deals = deals.iter().filter(|row| is_there(row)).filter_map(wire::seen).collect();
        Ok(Changes { contacts, deals, until: None })
    }

    pub(super) async fn missing_rows(
        &self,
        contacts: &BTreeSet<u64>,
        deals: &BTreeSet<u64>,
    ) -> Result<Deleted, CrmError> {
        let (contacts, deals) = (self.gone("contacts", contacts).await?, self.gone("leads", deals).await?);
        Ok(Deleted { contacts, deals, hidden: 0 })
    }

    /// The ids that do not exist. Each one is read by itself: a list leaves out what the user may not see, while a
    /// single read is refused.
    async fn gone(&self, entity: &str, ids: &BTreeSet<u64>) -> Result<BTreeSet<u64>, CrmError> {
        let mut gone = BTreeSet::new();
        for id in ids {
            // The CRM answers 204 for a deleted row.
            if schema::get(&self.transport, &format!("/api/v4/{entity}/{id}")).await?.is_none() {
                gone.insert(*id);
            }
        }
        Ok(gone)
    }

    /// Reads the list pages on which these rows stand, and removes the rows that it found from `left`.
    async fn by_pages(&self, entity: &str, left: &mut BTreeSet<u64>) -> Result<Vec<Value>, CrmError> {
        let mut all = self.pages.lock().await;
        let pages = all.entry(entity.to_owned()).or_default();
        let (mut rows, mut read) = (Vec::new(), BTreeSet::new());
        // A page without a match costs as much as a single read, so misses are limited.
        let mut misses = SEARCH + left.len() / 2;
        let mut next = left.first().copied();
        while let Some(id) = next {
            let page = pages.guess(id);
            if misses == 0 || !read.insert(page) {
                next = left.range(id + 1..).next().copied();
                continue;
            }
            let (first, own) = self.page(entity, "asc", page, left).await?;
            pages.learn(page, first);
            misses = if own.is_empty() { misses - 1 } else { misses };
            rows.extend(own);
            next = if left.contains(&id) { Some(id) } else { left.range(id..).next().copied() };
        }
        Ok(rows)
    }

    /// Reads one page in the order of ids. Returns its first id and the rows that `left` names, and removes these from
    /// `left`.
    async fn page(
        &self,
        entity: &str,
        order: &str,
        page: u32,
        left: &mut BTreeSet<u64>,
    ) -> Result<(Option<u64>, Vec<Value>), CrmError> {
        let path = format!("/api/v4/{entity}?order%5Bid%5D={order}&limit=250&page={page}");
        let answer = schema::get(&self.transport, &path).await?;
        let found = items(answer.as_ref(), entity);
        let first = found.first().and_then(|row| number(row, "id"));
        let own = found.into_iter().filter(|row| number(row, "id").is_some_and(|id| left.remove(&id)));
        Ok((first, own.cloned().collect()))
    }

    /// Visits the newest rows, down to those created before `since`.
    pub(super) async fn newest(
        &self,
        entity: &str,
        since: Timestamp,
        mut visit: impl FnMut(&Value),
    ) -> Result<(), CrmError> {
        for page in 1.. {
            let path = format!("/api/v4/{entity}?order%5Bid%5D=desc&limit=250&page={page}");
            let answer = schema::get(&self.transport, &path).await?;
            let rows = items(answer.as_ref(), entity);
            rows.iter().for_each(|row| visit(row));
            let oldest = rows.last().and_then(|row| row.get("created_at")?.as_i64());
            if rows.len() < 250 || oldest.is_some_and(|second| second < since.as_second() - SKEW) {
                break;
            }
        }
        Ok(())
    }

    /// Deals on one list page that carry the hub's id, and the next page.
    pub(super) async fn deals_of_the_hub(&self, page: u32) -> Result<(Vec<HubDeal>, Option<u32>), CrmError> {
        let path = format!("/api/v4/leads?order%5Bid%5D=asc&limit=250&with=contacts&page={page}");
        let answer = schema::get(&self.transport, &path).await?;
        let rows = items(answer.as_ref(), "leads");
        let next = (rows.len() == BATCH).then_some(page + 1);
        let own = |row: &Value| {
            let hub_id = wire::values(row, "STAGEDOOR_ID").into_iter().next()?;
            Some(HubDeal { id: number(row, "id")?, hub_id, contact: main_contact(row) })
        };
        Ok((rows.into_iter().filter_map(own).collect(), next))
    }

    async fn has_filters(&self) -> Result<bool, CrmError> {
        let ask = async || {
            let account = schema::get(&self.transport, "/api/v4/account").await?;
            let flag = account.as_ref().and_then(|account| account.get("is_api_filter_enabled")?.as_bool());
            Ok(flag.unwrap_or(false))
        };
        self.filters.get_or_try_init(ask).await.copied()
    }
}

fn main_contact(lead: &Value) -> Option<u64> {
    let contacts = lead.pointer("/_embedded/contacts")?.as_array()?;
    let is_main = |contact: &&Value| contact.get("is_main").and_then(Value::as_bool) == Some(true);
    number(contacts.iter().find(is_main).or(contacts.first())?, "id")
}
