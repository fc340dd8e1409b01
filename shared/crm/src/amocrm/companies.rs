//! Companies. They are created in bulk. The hub finds them by its own field among the newest ones, or by their tax id,
//! and links them to contacts and leads (amocrm.ru/developers/content/crm_platform/companies-api, entity-links-api). A
//! lead and a contact have at most one company.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};
use stagedoor_engine::CompanyDraft;
use stagedoor_model::Timestamp;
use stagedoor_ports::{CrmError, WriteOutcome};
use stagedoor_texts::{Language, crm, fields as texts};

use crate::amocrm::{
    bulk,
    schema::{self, Field, items, number},
    transport::Transport,
    wire,
};

/// The hub's own fields of companies.
pub const FIELDS: [Field; 4] = [
    ("STAGEDOOR_ID", texts::company_id, "text"),
    ("STAGEDOOR_INN", texts::inn, "text"),
    ("STAGEDOOR_KPP", texts::kpp, "text"),
    ("STAGEDOOR_ABOUT", texts::about, "textarea"),
];

fn row(draft: &CompanyDraft, fields: &BTreeMap<String, u64>, language: Language) -> Value {
    let mut values = Vec::new();
    let mut put = |code: &str, value: &str| {
        if let Some(id) = fields.get(code).filter(|_| !value.is_empty()) {
            values.push(json!({ "field_id": id, "values": [{ "value": wire::cut(value) }] }));
        }
    };
    put("STAGEDOOR_ID", &draft.key);
    put("STAGEDOOR_INN", draft.inn.as_deref().unwrap_or_default());
    put("STAGEDOOR_KPP", draft.kpp.as_deref().unwrap_or_default());
    let mut about: Vec<String> = Vec::new();
    about.extend(draft.unchecked.iter().map(|text| crm::company_no_tax_id(text).to(language)));
    if !draft.domains.is_empty() {
        let all: Vec<&str> = draft.domains.iter().map(String::as_str).collect();
        about.push(crm::company_domains(all.join(", ")).to(language));
    }
    put("STAGEDOOR_ABOUT", &about.join("\n"));
    json!({ "name": wire::cut(&draft.name), "created_by": 0, "updated_by": 0, "custom_fields_values": values })
}

/// Finds or creates the companies without an id. A company that exists already belongs to its manager and stays as it
/// is.
pub async fn put(
    transport: &Transport,
    fields: &BTreeMap<String, u64>,
    rows: &[(Option<u64>, CompanyDraft)],
    since: Option<i64>,
    language: Language,
) -> Vec<WriteOutcome> {
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    let fresh = rows.iter().filter(|(id, _)| id.is_none()).map(|(_, draft)| draft);
    let looked = async {
        if let Some(since) = since {
            let elder = newest(transport, since).await?;
            known.extend(elder.into_iter().filter_map(|(key, ids)| Some((key, ids.first().copied()?))));
        }
        for draft in fresh.clone() {
            if let (Some(inn), false) = (&draft.inn, known.contains_key(&draft.key))
                && let Some(id) = by_tax_id(transport, inn).await?
            {
                known.insert(draft.key.clone(), id);
            }
        }
        Ok::<(), CrmError>(())
    };
    if let Err(error) = looked.await {
        tracing::warn!(%error, "companies could not be looked up");
        return vec![WriteOutcome::NotSent; rows.len()];
    }
    let made: Vec<&CompanyDraft> = fresh.filter(|draft| !known.contains_key(&draft.key)).collect();
    let bodies = made.iter().map(|draft| row(draft, fields, language)).collect();
    let mut answers = match made.is_empty() {
        true => vec![],
        false => bulk::send(transport, &Method::POST, "/api/v4/companies", "companies", bodies, &bulk::NOTHING).await,
    }
    .into_iter();
    rows.iter()
        .map(|(id, draft)| match id.or_else(|| known.get(&draft.key).copied()) {
            Some(id) => WriteOutcome::Done(id),
            None => answers.next().unwrap_or(WriteOutcome::NotSent),
        })
        .collect()
}

/// Companies created since this time, by the hub's own field.
pub async fn newest(transport: &Transport, since: i64) -> Result<BTreeMap<String, BTreeSet<u64>>, CrmError> {
    let mut found = BTreeMap::<String, BTreeSet<u64>>::new();
    for page in 1.. {
        let path = format!("/api/v4/companies?order%5Bid%5D=desc&limit=250&page={page}");
        let answer = schema::get(transport, &path).await?;
        let rows = items(answer.as_ref(), "companies");
        for row in &rows {
            if let (Some(key), Some(id)) = (wire::values(row, "STAGEDOOR_ID").into_iter().next(), number(row, "id")) {
                found.entry(key).or_default().insert(id);
            }
        }
        let oldest = rows.last().and_then(|row| row.get("created_at")?.as_i64());
        if rows.len() < 250 || oldest.is_some_and(|second| second < since) {
            break;
        }
    }
    Ok(found)
}

/// A company that a manager created and gave this tax id, in any field.
async fn by_tax_id(transport: &Transport, inn: &str) -> Result<Option<u64>, CrmError> {
    let answer = schema::get(transport, &format!("/api/v4/companies?query={inn}&limit=50")).await?;
    let has = |row: &&&Value| {
        let fields = row.get("custom_fields_values").and_then(Value::as_array).into_iter().flatten();
        let mut values = fields.flat_map(|field| field.get("values").and_then(Value::as_array).into_iter().flatten());
        values.any(|value| value.get("value").and_then(Value::as_str).is_some_and(|text| text.trim() == inn))
    };
    let rows = items(answer.as_ref(), "companies");
    Ok(rows.iter().filter(has).filter_map(|row| number(row, "id")).min())
}

/// The start of a search in Unix seconds, earlier by `skew` seconds.
pub fn second(since: Option<Timestamp>, skew: i64) -> Option<i64> {
    since.map(|at| at.as_second() - skew)
}
