//! What changed there, by the time of change: its `sync` call answers 500 on PHP 8 (recorded: sync_...). Deletions are not seen
//! that way, so what should be there is asked for by its ids.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stagedoor_model::{Region, Timestamp};
use stagedoor_ports::{Changes, SeenDeal};

use crate::vtiger::{
    query::{self, IN, PAGE},
    schema::Module,
    transport::{Failure, Transport},
    wire::{self, time},
};

/// Pages of one look: the rest is heard by the next.
const PAGES: usize = 40;

pub(super) async fn since(
    transport: &Transport,
    own: &str,
    region: Region,
    since: Timestamp,
) -> Result<Changes, Failure> {
    let contacts = rows(transport, "Contacts", wire::CONTACT, since).await?;
    let deals = rows(transport, "Potentials", "id,sales_stage,modifiedby,modifiedtime", since).await?;
    // Where one was cut short, the other waits for it.
    let ends = [&contacts, &deals].into_iter().filter(|found| found.cut).filter_map(|found| found.last).min();
    let until = ends.or_else(|| contacts.last.max(deals.last));
    let seen = |row: &Value| {
        let by = row.get("modifiedby").and_then(Value::as_str).filter(|by| *by != own);
        Some(SeenDeal {
            id: query::number(&query::id(row)?)?,
            changed_at: time(row, "modifiedtime")?,
            stage: row.get("sales_stage").and_then(Value::as_str).unwrap_or_default().to_owned(),
            by: by.and_then(query::number),
        })
    };
    Ok(Changes {
        contacts: contacts.rows.values().filter_map(|row| wire::mirrored(row, region)).collect(),
        deals: deals.rows.values().filter_map(seen).collect(),
        until,
    })
}

#[derive(Default)]
struct Found {
    rows: BTreeMap<String, Value>,
    last: Option<Timestamp>,
    /// Whether there is more.
    cut: bool,
}

/// From one time of change to the next: a row that changes meanwhile moves to the end and shifts no page. Only within one second
/// pages are counted.
async fn rows(transport: &Transport, module: &str, columns: &str, since: Timestamp) -> Result<Found, Failure> {
    let mut found = Found::default();
    let (mut from, mut skip) = (since, 0);
    for _ in 0..PAGES {
        let at = query::literal(&wire::clock(from));
        let query = format!(
            "select {columns} from {module} where modifiedtime>={at} order by modifiedtime limit {skip},{PAGE};"
        );
        let page = query::page(transport, &query).await?;
        let full = page.len() == PAGE;
        let last = page.last().and_then(|row| time(row, "modifiedtime"));
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

/// Which of these are not there, or out of the hub's sight.
pub(super) async fn missing(
    transport: &Transport,
    module: &Module,
    numbers: &BTreeSet<u64>,
) -> Result<BTreeSet<u64>, Failure> {
    let mut missing = numbers.clone();
    let all: Vec<String> = numbers.iter().map(|number| module.of(*number)).collect();
    for chunk in all.chunks(IN) {
        let list = query::list(chunk.iter().map(String::as_str));
        let rows = query::all(transport, "id", module.name, &format!("id in ({list})")).await?;
        for number in rows.iter().filter_map(query::id).filter_map(|id| query::number(&id)) {
            missing.remove(&number);
        }
    }
    Ok(missing)
}
