//! Changes in the CRM, read by the time of change, because its `sync` call answers 500 on PHP 8 (recorded: sync_...).
//! Deletions do not appear that way, so the hub asks for the expected records by their ids.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stagedoor_model::{Body, Timestamp};
use stagedoor_ports::{Changes, CrmError, HubDeal, SeenDeal};

use crate::vtiger::{
    client::Vtiger,
    query::{self, PAGE},
    schema::{Module, STAGE, Schema},
    transport::{Failure, Transport},
    wire,
};

/// Maximum number of pages in one poll. The next poll reads the rest.
const PAGES: usize = 40;

impl Vtiger {
    pub(super) async fn changes_since(&self, since: Timestamp) -> Result<Changes, CrmError> {
        let (transport, schema) = (&self.transport, self.schema().await?);
        let contacts = rows(transport, "Contacts", &wire::columns(&schema.contacts), since).await?;
        let deals = rows(transport, "Potentials", &deal_columns(&schema)?, since).await?;
        // If one list was cut short, the other one waits for it.
        let ends = [&contacts, &deals].into_iter().filter(|found| found.cut).filter_map(|found| found.last).min();
        let until = ends.or_else(|| contacts.last.max(deals.last));
        let changes = self.told(contacts.rows.values(), deals.rows.values()).await?;
        Ok(Changes { until, ..changes })
    }

    /// These rows as they are now. Missing rows are left out.
    pub(super) async fn rows_now(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Changes, CrmError> {
        let schema = self.schema().await?;
        let of = |module: &Module, numbers: &BTreeSet<u64>| -> Vec<String> {
            numbers.iter().map(|number| module.of(*number)).collect()
        };
        let columns = wire::columns(&schema.contacts);
        let contacts = self.columns(&columns, "Contacts", &of(&schema.contacts, contacts)).await?;
        let deals = self.columns(&deal_columns(&schema)?, "Potentials", &of(&schema.deals, deals)).await?;
        self.told(contacts.iter(), deals.iter()).await
    }

    async fn told<'r>(
        &self,
        contacts: impl Iterator<Item = &'r Value>,
        mut deals: impl Iterator<Item = &'r Value>,
    ) -> Result<Changes, CrmError> {
        let own = self.transport.user().await?;
        let mut schema = self.schema().await?;
        let mut seen = Vec::new();
        if let Some(first) = deals.next() {
            schema = self.read_stages().await?;
            let deals = std::iter::once(first).chain(deals);
            seen = deals.filter_map(|row| self.seen(row, &schema.deals, &own)).collect();
        }
        let contacts = contacts.filter_map(|row| self.mirrored(row, &schema)).collect();
        Ok(Changes { contacts, deals: seen, until: None })
    }

    pub(super) fn mirrored(&self, row: &Value, schema: &Schema) -> Option<(Timestamp, Body)> {
        wire::mirrored(row, &schema.contacts, self.settings.region, &self.transport.server_clock)
    }

    fn seen(&self, row: &Value, deals: &Module, own: &str) -> Option<SeenDeal> {
        let by = row.get("modifiedby").and_then(Value::as_str).filter(|by| *by != own);
        Some(SeenDeal {
            id: query::number(&query::id(row)?)?,
            changed_at: self.transport.server_clock.time(row, "modifiedtime")?,
            stage: deals.stage_name(row.get(STAGE).and_then(Value::as_str).unwrap_or_default()),
            by: by.and_then(query::number),
            hub_id: deals.hub_id(row),
            contact: contact_of(row),
        })
    }
}

fn deal_columns(schema: &Schema) -> Result<String, Failure> {
    Ok(format!("id,{STAGE},contact_id,modifiedby,modifiedtime,{}", schema.deals.key()?))
}

#[derive(Default)]
struct Found {
    rows: BTreeMap<String, Value>,
    last: Option<Timestamp>,
    /// True if there are more rows.
    cut: bool,
}

/// Reads rows from one time of change to the next. A row that changes in the meantime moves to the end and shifts no
/// page. Pages are counted only within one second.
async fn rows(transport: &Transport, module: &str, columns: &str, since: Timestamp) -> Result<Found, Failure> {
    let mut found = Found::default();
    let (mut from, mut skip) = (since, 0);
    for _ in 0..PAGES {
        let at = query::literal(&transport.server_clock.text(from));
        let query = format!(
            "select {columns} from {module} where modifiedtime>={at} order by modifiedtime limit {skip},{PAGE};"
        );
        let page = query::page(transport, &query).await?;
        let full = page.len() == PAGE;
        let last = page.last().and_then(|row| transport.server_clock.time(row, "modifiedtime"));
        found.last = found.last.max(last);
        found.rows.extend(page.into_iter().filter_map(|row| Some((query::id(&row)?, row))));
        found.cut = full;
        if !full {
            break;
        }
        match last {
            Some(last) if last > from => (from, skip) = (last, 0),
            _ => skip += PAGE,
        }
    }
    Ok(found)
}

/// Deals from this id number on that carry the hub's id, and the start of the next page.
pub(super) async fn deals_of_the_hub(
    transport: &Transport,
    schema: &Schema,
    from: u32,
) -> Result<(Vec<HubDeal>, Option<u32>), Failure> {
    let field = schema.deals.key()?;
    let after = query::literal(&schema.deals.of(u64::from(from.saturating_sub(1))));
    let query = format!("select id,contact_id,{field} from Potentials where id > {after} order by id limit 0,{PAGE};");
    let rows = query::page(transport, &query).await?;
    let number = |row: &Value| query::number(&query::id(row)?);
    let last = rows.last().and_then(number).filter(|_| rows.len() == PAGE);
    let next = last.and_then(|number| u32::try_from(number + 1).ok());
    let own =
        |row: &Value| Some(HubDeal { id: number(row)?, hub_id: schema.deals.hub_id(row)?, contact: contact_of(row) });
    Ok((rows.iter().filter_map(own).collect(), next))
}

fn contact_of(deal: &Value) -> Option<u64> {
    deal.get("contact_id").and_then(Value::as_str).and_then(query::number)
}
