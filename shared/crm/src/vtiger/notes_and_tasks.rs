//! Comments and tasks. A comment is a separate record that points at a contact. A task is a record of the calendar and
//! needs a time (recorded: comment in 06; task_* in 10).

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use stagedoor_model::Timestamp;
use stagedoor_ports::WriteOutcome;

use crate::vtiger::{
    normalise::normalise_fields,
    query::{self, IN},
    schema::Schema,
    transport::{Failure, Transport},
};

/// Maximum length of a task's subject in characters. The description holds the whole text.
const SUBJECT: usize = 100;

pub(super) fn comment(record: &str, text: &str, owner: &str) -> Value {
    json!({ "commentcontent": normalise_fields("commentcontent", text), "related_to": record, "assigned_user_id": owner })
}

/// The JSON of a task. `until` is a time in the server's format.
pub(super) fn task(contact: &str, text: &str, until: &str, owner: &str) -> Value {
    let words = normalise_fields("description", text);
    let (date, time) = until.split_once(' ').unwrap_or((until, "12:00:00"));
    json!({ "subject": words.chars().take(SUBJECT).collect::<String>(), "description": words, "contact_id": contact,
        "date_start": date, "due_date": date, "time_start": time, "taskstatus": "Not Started", "activitytype": "Task",
        "assigned_user_id": owner })
}

/// Creates rows without adoption. The sync run later searches by text for rows whose call got no answer.
pub(super) async fn make(transport: &Transport, module: &str, rows: Vec<Value>) -> Vec<WriteOutcome> {
    let one = |row: Value| async move {
        match transport.post("create", &[("elementType", module), ("element", &row.to_string())]).await {
            Ok(held) => {
                query::id(&held).and_then(|id| query::number(&id)).map_or(WriteOutcome::Unknown, WriteOutcome::Done)
            }
            Err(Failure::Refused { code, message }) => WriteOutcome::Refused(format!("{message} ({code})")),
            Err(Failure::Broken(_) | Failure::ServerError | Failure::Lost) => WriteOutcome::Unknown,
            Err(Failure::Unavailable(_) | Failure::Denied(_)) => WriteOutcome::NotSent,
        }
    };
    stream::iter(rows.into_iter().map(one)).buffered(transport.sessions() * 2).collect().await
}

/// Pairs of contact and text that these contacts got since `since`.
pub(super) async fn of(
    transport: &Transport,
    schema: &Schema,
    (module, about, words): (&str, &str, &str),
    contacts: &BTreeSet<u64>,
    since: Timestamp,
) -> Result<Vec<(u64, String)>, Failure> {
    let ids: Vec<String> = contacts.iter().map(|number| schema.contacts.of(*number)).collect();
    let mut found = Vec::new();
    for chunk in ids.chunks(IN) {
        let list = query::list(chunk.iter().map(String::as_str));
        let condition =
            format!("{about} in ({list}) and createdtime>={}", query::literal(&transport.server_clock.text(since)));
        let rows = query::all(transport, &format!("id,{about},{words}"), module, &condition).await?;
        found.extend(rows.iter().filter_map(|row| {
            let contact = query::number(row.get(about)?.as_str()?)?;
            Some((contact, row.get(words)?.as_str()?.to_owned()))
        }));
    }
    Ok(found)
}
