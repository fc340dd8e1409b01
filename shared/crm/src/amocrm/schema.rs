//! The layout of the account: field ids, pipelines and stages. Set-up reads it and creates missing fields.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use stagedoor_engine::StagePlace;
use stagedoor_ports::CrmError;
use stagedoor_texts::{Language, Text, fields as texts};

use crate::amocrm::transport::{Failure, Transport};

/// A field of the hub: code, label and type.
pub type Field = (&'static str, fn() -> Text, &'static str);

/// The hub's own fields of contacts.
pub const CONTACT_FIELDS: [Field; 9] = [
    ("STAGEDOOR_ID", texts::contact_id, "text"),
    ("STAGEDOOR_TELEGRAM", texts::telegram_id, "text"),
    ("STAGEDOOR_CHANNELS", texts::channels, "text"),
    ("STAGEDOOR_CHAT", texts::chat, "textarea"),
    ("STAGEDOOR_LAST_MESSAGE", texts::last_message, "textarea"),
    ("STAGEDOOR_LAST_MESSAGE_AT", texts::last_message_at, "date_time"),
    ("STAGEDOOR_CONSENT", texts::consent, "textarea"),
    ("STAGEDOOR_LETTERS", texts::letters, "textarea"),
    ("STAGEDOOR_SEGMENTS", texts::segments, "textarea"),
];
/// The hub's own fields of leads.
pub const LEAD_FIELDS: [Field; 9] = [
    ("STAGEDOOR_ID", texts::deal_id, "text"),
    ("STAGEDOOR_CITY", texts::city, "text"),
    ("STAGEDOOR_SHOW_AT", texts::show_at, "date_time"),
    ("STAGEDOOR_ORDERS", texts::orders, "text"),
    ("STAGEDOOR_PROMO", texts::promo, "text"),
    ("STAGEDOOR_CAMPAIGN", texts::campaign, "text"),
    ("STAGEDOOR_TICKETS", texts::tickets, "numeric"),
    ("STAGEDOOR_REFUNDED", texts::refunded, "numeric"),
    ("STAGEDOOR_PAYMENT", texts::payment, "text"),
];

/// Ids of the account's fields and stages.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    pub contact_fields: BTreeMap<String, u64>,
    pub lead_fields: BTreeMap<String, u64>,
    /// Ids of pipeline and stage, by their names.
    pub stages: BTreeMap<(String, String), (u64, u64)>,
    /// Places of stages, by the ids of pipeline and stage.
    pub places: BTreeMap<(u64, u64), StagePlace>,
}

/// Ids of the stages that close deals as won and as lost. They are the same in every pipeline and do not depend on
/// names.
const WON: u64 = 142;
const LOST: u64 = 143;

/// Reads the account's schema and creates missing fields.
///
/// # Errors
/// If a call fails.
pub async fn read(transport: &Transport, language: Language) -> Result<Schema, CrmError> {
    let mut schema = Schema {
        contact_fields: fields(transport, "contacts", &CONTACT_FIELDS, language).await?,
        lead_fields: fields(transport, "leads", &LEAD_FIELDS, language).await?,
        ..Schema::default()
    };
    read_stages(transport, &mut schema).await?;
    Ok(schema)
}

/// Reads pipelines and stages again and replaces the known ones.
pub async fn read_stages(transport: &Transport, schema: &mut Schema) -> Result<(), CrmError> {
    let answer = get(transport, "/api/v4/leads/pipelines").await?;
    schema.stages.clear();
    schema.places.clear();
    for pipeline in items(answer.as_ref(), "pipelines") {
        let (Some(name), Some(id)) = (text(pipeline, "name"), number(pipeline, "id")) else { continue };
        for status in items(Some(pipeline), "statuses") {
            if let (Some(stage), Some(number)) = (text(status, "name"), number(status, "id")) {
                let position = status.get("sort").and_then(Value::as_i64).unwrap_or(0);
                let (won, lost) = (number == WON, number == LOST);
                let place = StagePlace { pipeline: id, stage: number, position, won, lost };
                schema.places.insert((id, number), place);
                schema.stages.insert((name.clone(), stage), (id, number));
            }
        }
    }
    Ok(())
}

/// Reads the ids of an entity's fields by code, and creates those of `own` that are missing.
pub async fn fields(
    transport: &Transport,
    entity: &str,
    own: &[Field],
    language: Language,
) -> Result<BTreeMap<String, u64>, CrmError> {
    let mut known = BTreeMap::new();
    let path = format!("/api/v4/{entity}/custom_fields");
    // A page holds at most 50 fields, even if the limit asks for more.
    for page in 1..=40 {
        let answer = get(transport, &format!("{path}?limit=50&page={page}")).await?;
        let rows = items(answer.as_ref(), "custom_fields");
        known.extend(rows.iter().filter_map(|field| Some((text(field, "code")?, number(field, "id")?))));
        let more = answer.as_ref().is_some_and(|answer| answer.pointer("/_links/next").is_some());
        if !more {
            break;
        }
    }
    let missing: Vec<Value> = own
        .iter()
        .filter(|(code, _, _)| !known.contains_key(*code))
        .map(|(code, label, kind)| json!({ "code": code, "name": label().to(language), "type": kind }))
        .collect();
    if !missing.is_empty() {
        let made = transport.call(Method::POST, &path, Some(&Value::Array(missing))).await.map_err(unusable)?;
        let rows = items(made.as_ref(), "custom_fields");
        known.extend(rows.iter().filter_map(|field| Some((text(field, "code")?, number(field, "id")?))));
    }
    Ok(known)
}

/// Makes a GET call. `None` if the CRM has nothing to return.
pub async fn get(transport: &Transport, path: &str) -> Result<Option<Value>, CrmError> {
    transport.call(Method::GET, path, None).await.map_err(unusable)
}

/// The error of a call that set-up needs.
pub fn unusable(failure: Failure) -> CrmError {
    match failure {
        Failure::Unusable(error) => error,
        Failure::Refused(_) => CrmError::CredentialsRejected(
            "it refuses a call that set-up needs; the authorised user may lack a right".into(),
        ),
        Failure::Lost | Failure::TooSlow | Failure::TooLarge => CrmError::Unavailable(failure.to_string()),
    }
}

/// The rows of an answer, under `_embedded`.
pub fn items<'v>(answer: Option<&'v Value>, entity: &str) -> Vec<&'v Value> {
    let list = answer.and_then(|answer| answer.get("_embedded")?.get(entity)?.as_array());
    list.into_iter().flatten().collect()
}

pub fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

pub fn number(value: &Value, key: &str) -> Option<u64> {
    value.get(key)?.as_u64()
}
