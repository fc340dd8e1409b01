//! What changed there, by the time of change: its `sync` call answers 500 on PHP 8 (recorded: sync_...). Deletions are not seen
//! that way, so what should be there is asked for by its ids.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stagedoor_model::{Region, Timestamp, breakage};
use stagedoor_ports::{Changes, SeenDeal};

use crate::vtiger::{
    query::{self, IN, PAGE},
    schema::{Module, Schema},
    transport::{Failure, Transport},
    wire::{self, time},
};

/// Missing records that are read one by one.
const LOOKED_AT: usize = 12;
/// Pages of one look: the rest is heard by the next.
const PAGES: usize = 40;

pub(super) async fn since(
    transport: &Transport,
    schema: &Schema,
    own: &str,
    region: Region,
    since: Timestamp,
) -> Result<Changes, Failure> {
    let contacts = rows(transport, "Contacts", &wire::columns(&schema.contacts), since).await?;
    let columns = format!("id,sales_stage,modifiedby,modifiedtime,{}", schema.deals.key()?);
    let deals = rows(transport, "Potentials", &columns, since).await?;
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
            hub_id: schema.deals.hub_id(row),
        })
    };
    Ok(Changes {
        contacts: contacts.rows.values().filter_map(|row| wire::mirrored(row, &schema.contacts, region)).collect(),
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

/// Deals from this number on that bear the hub's id, and where the next page begins.
pub(super) async fn deals_of_the_hub(
    transport: &Transport,
    schema: &Schema,
    from: u32,
) -> Result<(Vec<(u64, String)>, Option<u32>), Failure> {
    let field = schema.deals.key()?;
    let after = query::literal(&schema.deals.of(u64::from(from.saturating_sub(1))));
    let query = format!("select id,{field} from Potentials where id > {after} order by id limit 0,{PAGE};");
    let rows = query::page(transport, &query).await?;
    let number = |row: &Value| query::number(&query::id(row)?);
    let last = rows.last().and_then(number).filter(|_| rows.len() == PAGE);
    let next = last.and_then(|number| u32::try_from(number + 1).ok());
    Ok((rows.iter().filter_map(|row| Some((number(row)?, schema.deals.hub_id(row)?))).collect(), next))
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
        let rows = query::all(transport, "id", module.name, &format!("id in ({list})")).await;
        // Of records that are gone it answers nothing; this is about the module.
        let rows = rows.map_err(|failure| match failure.refused("ACCESS_DENIED") {
            true => lost_right(module),
            false => failure,
        })?;
        for number in rows.iter().filter_map(query::id).filter_map(|id| query::number(&id)) {
            missing.remove(&number);
        }
    }
    Ok(missing)
}

/// Those of these that are gone for sure. A query leaves out what the hub's user may not see; a single read tells the one from
/// the other.
pub(super) async fn gone(
    transport: &Transport,
    module: &Module,
    numbers: &BTreeSet<u64>,
) -> Result<BTreeSet<u64>, Failure> {
    let mut missing = missing(transport, module, numbers).await?;
    let looked_at: Vec<u64> = missing.iter().take(LOOKED_AT).copied().collect();
    for number in looked_at {
        match transport.get("retrieve", &[("id", &module.of(number))]).await {
            Err(failure) if failure.is_gone() => {}
            Err(failure) if failure.refused("ACCESS_DENIED") && !breakage::is_on("lost-right-is-deletion") => {
                return Err(lost_right(module));
            }
            Err(Failure::Refused { .. }) => {}
            Err(failure) => return Err(failure),
            // It was made again, or restored meanwhile.
            Ok(_) => _ = missing.remove(&number),
        }
    }
    Ok(missing)
}

fn lost_right(module: &Module) -> Failure {
    let what = "the CRM shows the hub no {} any more: give its user the right to see them";
    Failure::Denied(what.replace("{}", module.name))
}
