//! Notes and tasks. Notes have the `note_type` `common` and their text inside `params`
//! (amocrm.ru/developers/content/crm_platform/events-and-notes). Tasks need `text` and `complete_till`, and task type 1
//! is a follow-up (…/tasks-api). Both lists have filters by entity without the paid add-on.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use stagedoor_model::Timestamp;
use stagedoor_ports::{CrmError, WriteOutcome};
use stagedoor_texts::{Language, notes};

use crate::amocrm::{
    schema::{self, items, number, text},
    transport::Transport,
};

/// Number of ids in one list call.
const IDS: usize = 100;
/// Number of rows on a page.
const PAGE: usize = 250;

/// The JSON of a note on a contact.
pub fn note(contact: u64, text: &str) -> Value {
    json!({ "entity_id": contact, "note_type": "common", "created_by": 0, "params": { "text": text } })
}

/// The JSON of a task on a contact, due at `until`.
pub fn task(contact: u64, text: &str, until: Timestamp) -> Value {
    json!({
        "entity_id": contact, "entity_type": "contacts", "task_type_id": 1, "text": text,
        "complete_till": until.as_second(), "created_by": 0,
    })
}

/// Adds a note to each contact that was marked. The note is a courtesy, so a lost one is not sent again.
pub async fn tell_managers(transport: &Transport, rows: &[(u64, u64)], tagged: &[WriteOutcome], language: Language) {
    let done = rows.iter().zip(tagged).filter(|(_, row)| matches!(row, WriteOutcome::Done(_)));
    let notes = done.map(|((contact, of), _)| note(*contact, &notes::same_person(of.to_string()).to(language)));
    let notes: Vec<Value> = notes.collect();
    if notes.is_empty() {
        return;
    }
    if let Err(error) = transport.call(Method::POST, "/api/v4/contacts/notes", Some(&Value::Array(notes))).await {
        tracing::warn!(%error, "the notes about duplicates were not written");
    }
}

/// Pairs of contact and text of the notes since `since`, in Unix seconds.
pub async fn notes_of(
    transport: &Transport,
    contacts: &BTreeSet<u64>,
    since: i64,
) -> Result<Vec<(u64, String)>, CrmError> {
    let words = |row: &Value| text(row.get("params")?, "text");
    let filter = "filter%5Bnote_type%5D%5B%5D=common";
    walk(transport, ("/api/v4/contacts/notes", "notes"), filter, contacts, since, words).await
}

/// Pairs of contact and text of the tasks since `since`, in Unix seconds.
pub async fn tasks_of(
    transport: &Transport,
    contacts: &BTreeSet<u64>,
    since: i64,
) -> Result<Vec<(u64, String)>, CrmError> {
    let filter = "filter%5Bentity_type%5D=contacts";
    walk(transport, ("/api/v4/tasks", "tasks"), filter, contacts, since, |row| text(row, "text")).await
}

async fn walk(
    transport: &Transport,
    (path, entity): (&str, &str),
    filter: &str,
    contacts: &BTreeSet<u64>,
    since: i64,
    words: impl Fn(&Value) -> Option<String>,
) -> Result<Vec<(u64, String)>, CrmError> {
    let mut found = Vec::new();
    let contacts: Vec<&u64> = contacts.iter().collect();
    for chunk in contacts.chunks(IDS) {
        let ids: Vec<String> = chunk.iter().map(|id| format!("filter%5Bentity_id%5D%5B%5D={id}")).collect();
        for page in 1.. {
            let path = format!("{path}?{filter}&{}&limit={PAGE}&page={page}", ids.join("&"));
            let answer = schema::get(transport, &path).await?;
            let rows = items(answer.as_ref(), entity);
            let fresh =
                rows.iter().filter(|row| row.get("created_at").and_then(Value::as_i64).is_none_or(|at| at >= since));
            found.extend(fresh.filter_map(|row| Some((number(row, "entity_id")?, words(row)?))));
            if rows.len() < PAGE {
                break;
            }
        }
    }
    Ok(found)
}
