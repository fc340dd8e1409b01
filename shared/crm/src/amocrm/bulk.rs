//! Bulk calls with an outcome for each row. One bad row fails a whole batch with 400, so the batch is sent again
//! without it.

use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;
use stagedoor_ports::{CrmError, Gone, WriteOutcome};

use crate::amocrm::transport::{Failure, Transport};

/// Maximum number of rows in a bulk call (amocrm.ru/developers/content/api/recommendations).
pub const BATCH: usize = 250;

/// Finds the deleted record when an error names a field of the row with this index. The record is the row itself or one
/// that the row points at.
pub type GoneIn<'a> = &'a (dyn Fn(usize, &str) -> Option<Gone> + Send + Sync);

/// For rows that point at no other record.
pub const NOTHING: fn(usize, &str) -> Option<Gone> = |_, _| None;

/// Sends `rows` and returns an outcome for each of them. `entity` is the key under `_embedded`.
pub async fn send(
    transport: &Transport,
    method: &Method,
    path: &str,
    entity: &str,
    rows: Vec<Value>,
    gone: GoneIn<'_>,
) -> Vec<WriteOutcome> {
    let mut outcome = vec![WriteOutcome::NotSent; rows.len()];
    let mut work: Vec<Vec<(usize, Value)>> = Vec::new();
    let mut numbered: Vec<(usize, Value)> = rows.into_iter().enumerate().collect();
    for (index, row) in &mut numbered {
        // The CRM echoes this id in answers and in errors. Nothing else tells the rows apart.
        if let Some(row) = row.as_object_mut() {
            row.insert("request_id".into(), index.to_string().into());
        }
    }
    while !numbered.is_empty() {
        let rest = numbered.split_off(numbered.len().min(BATCH));
        work.push(std::mem::replace(&mut numbered, rest));
    }
    work.reverse();
    while let Some(batch) = work.pop() {
        let body = Value::Array(batch.iter().map(|(_, row)| row.clone()).collect());
        match transport.call(method.clone(), path, Some(&body)).await {
            Ok(answer) => {
                let done = ids(answer.as_ref(), entity);
                for (index, row) in &batch {
                    let by_id = row.get("id").and_then(Value::as_u64);
                    let id = done.get(&index.to_string()).copied().or(by_id);
                    set(&mut outcome, *index, id.map_or(WriteOutcome::Unknown, WriteOutcome::Done));
                }
            }
            Err(Failure::Refused(problem)) => work.extend(without_refused(batch, &problem, &mut outcome, gone)),
            Err(Failure::TooLarge) if batch.len() > 1 => work.extend(halves(batch)),
            Err(Failure::TooLarge) => {
                let reason = "it is too large for the CRM".to_owned();
                batch.iter().for_each(|(index, _)| set(&mut outcome, *index, WriteOutcome::Refused(reason.clone())));
            }
            Err(Failure::TooSlow) if batch.len() > 1 && *method == Method::PATCH => work.extend(halves(batch)),
            Err(Failure::Lost | Failure::TooSlow) => {
                batch.iter().for_each(|(index, _)| set(&mut outcome, *index, WriteOutcome::Unknown));
            }
            Err(Failure::Unusable(error)) => {
                log(&error);
                break;
            }
        }
    }
    outcome
}

fn log(error: &CrmError) {
    match error {
        CrmError::Unavailable(_) => tracing::warn!(%error, "bulk call not made"),
        CrmError::CredentialsRejected(_) => tracing::error!(%error, "bulk call not made"),
    }
}

fn set(outcome: &mut [WriteOutcome], index: usize, row: WriteOutcome) {
    if let Some(place) = outcome.get_mut(index) {
        *place = row;
    }
}

fn ids(answer: Option<&Value>, entity: &str) -> BTreeMap<String, u64> {
    let items = answer.and_then(|answer| answer.get("_embedded")?.get(entity)?.as_array());
    items
        .into_iter()
        .flatten()
        .filter_map(|item| Some((item.get("request_id")?.as_str()?.to_owned(), item.get("id")?.as_u64()?)))
        .collect()
}

type Batch = Vec<(usize, Value)>;

// The error names rows by their `request_id`. If it names no row of the batch, the batch is halved until one row is
// left.
fn without_refused(batch: Batch, problem: &Value, outcome: &mut [WriteOutcome], gone: GoneIn<'_>) -> Vec<Batch> {
    let named = by_row(problem);
    let (refused, rest): (Batch, Batch) =
        batch.into_iter().partition(|(index, _)| named.contains_key(&index.to_string()));
    if refused.is_empty() {
        if let [(index, _)] = rest.as_slice() {
            let errors = named.into_values().next().unwrap_or_default();
            let row = verdict(*index, &errors, gone).unwrap_or_else(|| WriteOutcome::Refused(detail(problem)));
            set(outcome, *index, row);
            return vec![];
        }
        return halves(rest);
    }
    for (index, _) in &refused {
        let errors = named.get(&index.to_string()).map_or(&[][..], Vec::as_slice);
        let words = || WriteOutcome::Refused(errors.iter().map(|error| sentence(error)).collect::<Vec<_>>().join("; "));
        set(outcome, *index, verdict(*index, errors, gone).unwrap_or_else(words));
    }
    if rest.is_empty() { vec![] } else { vec![rest] }
}

/// The record that is gone, if an error of the row says so.
fn verdict(index: usize, errors: &[&Value], gone: GoneIn<'_>) -> Option<WriteOutcome> {
    let text = |error: &Value, key: &str| error.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let choices = errors.iter().filter(|error| text(error, "code") == "NotSupportedChoice");
    choices.filter_map(|error| gone(index, &text(error, "path"))).map(WriteOutcome::Gone).next()
}

fn halves(mut batch: Batch) -> Vec<Batch> {
    let second = batch.split_off(batch.len() / 2);
    vec![second, batch]
}

/// Errors by `request_id`.
fn by_row(problem: &Value) -> BTreeMap<String, Vec<&Value>> {
    let errors = problem.get("validation-errors").and_then(Value::as_array).into_iter().flatten();
    errors
        .filter_map(|row| {
            Some((row.get("request_id")?.as_str()?.to_owned(), row.get("errors")?.as_array()?.iter().collect()))
        })
        .collect()
}

/// The error in words that a manager can act on, together with the CRM's own words.
fn sentence(error: &Value) -> String {
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or("");
    let (path, code) = (text("path"), text("code"));
    let words = match (path, code) {
        ("id", "NotSupportedChoice") => "it is no longer in the CRM; somebody deleted it there",
        ("status_id" | "pipeline_id", _) => "the stage or pipeline is gone; make it again or change the config",
        (path, "NotSupportedChoice") if path.ends_with("responsible_user_id") => "its manager has left the account",
        (path, "NotSupportedChoice") if path.ends_with("contacts.0.id") => {
            "its contact is no longer in the CRM; somebody deleted it there"
        }
        (path, "NotSupportedChoice") if path.starts_with("custom_fields_values") => {
            "one of its fields, or a choice in it, is gone from the CRM"
        }
        (_, "InvalidType") => "a field in the CRM has another type than the hub made it with",
        (_, "FieldMissing") => "the CRM wants a field filled in that the hub does not know",
        _ => "the CRM does not take it",
    };
    format!("{words} [{path}: {} {code}]", text("detail"))
}

/// The reason of a refusal that names no row, in words.
pub fn detail(problem: &Value) -> String {
    let first = problem.get("validation-errors").and_then(|errors| errors.get(0)?.get("errors")?.get(0));
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or("refused without a reason");
    first.map_or_else(|| detail.to_owned(), sentence)
}
