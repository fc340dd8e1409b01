//! Bulk calls, row by row. One bad row fails a whole batch with 400: the batch is sent again without it.

use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;
use stagedoor_ports::{CrmError, Row};

use crate::amocrm::transport::{Failure, Transport};

/// Rows a bulk call takes at most (amocrm.ru/developers/content/api/recommendations).
pub const BATCH: usize = 250;

/// Sends `rows` and says of each what became of it. `entity` is the key under `_embedded`.
pub async fn send(transport: &Transport, method: &Method, path: &str, entity: &str, rows: Vec<Value>) -> Vec<Row> {
    let mut outcome = vec![Row::NotSent; rows.len()];
    let mut work: Vec<Vec<(usize, Value)>> = Vec::new();
    let mut numbered: Vec<(usize, Value)> = rows.into_iter().enumerate().collect();
    for (index, row) in &mut numbered {
        // Echoed in the answer and in errors: the only way to tell rows apart.
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
                    set(&mut outcome, *index, id.map_or(Row::Unknown, Row::Done));
                }
            }
            Err(Failure::Refused(problem)) => work.extend(without_refused(batch, &problem, &mut outcome)),
            Err(Failure::TooSlow) if batch.len() > 1 && *method == Method::PATCH => work.extend(halves(batch)),
            Err(Failure::Lost | Failure::TooSlow) => {
                batch.iter().for_each(|(index, _)| set(&mut outcome, *index, Row::Unknown));
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
        CrmError::Denied(_) => tracing::error!(%error, "bulk call not made"),
    }
}

fn set(outcome: &mut [Row], index: usize, row: Row) {
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

// The error names rows by their `request_id`; where it names none of ours, the batch is halved until one row is left.
fn without_refused(batch: Batch, problem: &Value, outcome: &mut [Row]) -> Vec<Batch> {
    let reasons = reasons(problem);
    let (refused, rest): (Batch, Batch) =
        batch.into_iter().partition(|(index, _)| reasons.contains_key(&index.to_string()));
    if refused.is_empty() {
        if let [(index, _)] = rest.as_slice() {
            set(outcome, *index, Row::Refused(detail(problem)));
            return vec![];
        }
        return halves(rest);
    }
    for (index, _) in &refused {
        let reason = reasons.get(&index.to_string()).cloned().unwrap_or_default();
        set(outcome, *index, Row::Refused(reason));
    }
    if rest.is_empty() { vec![] } else { vec![rest] }
}

fn halves(mut batch: Batch) -> Vec<Batch> {
    let second = batch.split_off(batch.len() / 2);
    vec![second, batch]
}

/// Reasons by `request_id`, in words that name the field and never the value.
fn reasons(problem: &Value) -> BTreeMap<String, String> {
    let errors = problem.get("validation-errors").and_then(Value::as_array).into_iter().flatten();
    errors
        .filter_map(|row| {
            let sentences: Vec<String> = row.get("errors")?.as_array()?.iter().map(sentence).collect();
            Some((row.get("request_id")?.as_str()?.to_owned(), sentences.join("; ")))
        })
        .collect()
}

/// In words that a manager can act on, with the CRM's own beside them.
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

fn detail(problem: &Value) -> String {
    let first = problem.get("validation-errors").and_then(|errors| errors.get(0)?.get("errors")?.get(0));
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or("refused without a reason");
    first.map_or_else(|| detail.to_owned(), sentence)
}
