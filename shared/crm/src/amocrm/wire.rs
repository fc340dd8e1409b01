//! Conversion of drafts into amoCRM's JSON, and of its contacts back.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use stagedoor_engine::{ContactDraft, DealDraft, PersonId, ShowKey};
use stagedoor_model::{Body, ContactChanged, Email, Identifier, Phone, Region, Timestamp, breakage};
use stagedoor_ports::{SeenDeal, WriteOutcome};
use stagedoor_texts::{Language, crm};

use crate::{
    amocrm::{
        schema::{Schema, number, text},
        stages,
    },
    hub_id::misidentified,
};

/// Maximum length of a text field in characters [amoCRM interface; longer text is refused].
const TEXT: usize = 255;

/// The JSON of a contact. `held` is the contact as it is in the CRM, and is given if phones or e-mails are added to it.
pub fn contact(draft: &ContactDraft, schema: &Schema, held: Option<&Value>, region: Region) -> Value {
    let mut fields = Vec::new();
    let phone = |text: &str| Phone::parse_all(text, region).into_iter().map(|it| it.as_str().to_owned()).collect();
    let email = |text: &str| Email::parse_all(text).into_iter().map(|it| it.as_str().to_owned()).collect();
    fields.extend(added("PHONE", &draft.phones, held, &phone));
    fields.extend(added("EMAIL", &draft.emails, held, &email));
    fields.extend(own(schema.contact_fields.get("STAGEDOOR_ID"), draft.person.to_string().into()));
    let telegram = draft.telegram.clone().map(Value::from);
    fields.extend(telegram.and_then(|id| own(schema.contact_fields.get("STAGEDOOR_TELEGRAM"), id)));
    if let Some(chats) = &draft.chats {
        let field = |code: &str, value: Value| own(schema.contact_fields.get(code), value);
        fields.extend(field("STAGEDOOR_CHANNELS", cut(&chats.channels).into()));
        fields.extend(field("STAGEDOOR_CHAT", chats.chat.clone().into()));
        if let Some(at) = chats.last_message_at {
            fields.extend(field("STAGEDOOR_LAST_MESSAGE", chats.last_message.clone().into()));
            fields.extend(field("STAGEDOOR_LAST_MESSAGE_AT", at.as_second().into()));
        }
    }
    if let Some(marketing) = &draft.marketing {
        let field = |code: &str, value: &str| match schema.contact_fields.get(code) {
            // A field without values is cleared (amocrm.ru/developers/content/crm_platform/custom-fields).
            Some(id) if value.is_empty() => Some(json!({ "field_id": id, "values": [] })),
            known => own(known, value.into()),
        };
        fields.extend(field("STAGEDOOR_CONSENT", &marketing.consent));
        fields.extend(field("STAGEDOOR_LETTERS", &marketing.letters));
        fields.extend(field("STAGEDOOR_SEGMENTS", &marketing.segments));
    }
    let mut row = Map::new();
    if let Some(name) = &draft.name {
        row.insert("name".into(), cut(name).into());
        row.insert("created_by".into(), 0.into());
    }
    // User 0 is a robot. A webhook with 0 reports a change of our own.
    row.insert("updated_by".into(), 0.into());
    row.insert("custom_fields_values".into(), fields.into());
    // `_embedded.tags` would replace the tags of a manager (amocrm.ru/developers/content/crm_platform/contacts-api,
    // "Редактирование контактов").
    let named = |tags: &[String]| -> Value { tags.iter().map(|name| json!({ "name": name })).collect() };
    for (key, tags) in [("tags_to_add", &draft.tags), ("tags_to_delete", &draft.untagged)] {
        if !tags.is_empty() {
            row.insert(key.into(), named(tags));
        }
    }
    Value::Object(row)
}

/// A multitext field with these values added. A write replaces all values of the field, so the present values are sent
/// along, each with its kind. `None` if no value is missing. `plain` finds the values in a text that a manager typed.
fn added(code: &str, values: &[String], held: Option<&Value>, plain: &dyn Fn(&str) -> Vec<String>) -> Option<Value> {
    let fields = held.and_then(|held| held.get("custom_fields_values")?.as_array()).into_iter().flatten();
    let field = fields.filter(|field| text(field, "field_code").as_deref() == Some(code));
    let standing: Vec<&Value> = field.filter_map(|field| field.get("values")?.as_array()).flatten().collect();
    let known: BTreeSet<String> = standing
        .iter()
        .filter_map(|value| text(value, "value"))
        .flat_map(|text| plain(&text).into_iter().chain([text]))
        .collect();
    let new: Vec<&String> = values.iter().filter(|value| !known.contains(*value)).collect();
    if new.is_empty() {
        return None;
    }
    let kept = standing.into_iter().map(with_kind);
    let values: Vec<Value> =
        kept.chain(new.into_iter().map(|value| json!({ "value": value, "enum_code": "WORK" }))).collect();
    Some(json!({ "field_code": code, "values": values }))
}

/// A present value of a multitext field, with its kind, in the form in which it is sent.
pub fn with_kind(value: &Value) -> Value {
    let mut kept = json!({ "value": value.get("value") });
    let kind =
        ["enum_code", "enum_id"].iter().find_map(|key| Some((*key, value.get(*key).filter(|it| !it.is_null())?)));
    if let (Some(kept), Some((key, kind))) = (kept.as_object_mut(), kind) {
        kept.insert(key.to_owned(), kind.clone());
    }
    kept
}

/// The hub's own id of a deal, in the form in which a field holds it.
pub fn deal_id(person: PersonId, show: &ShowKey) -> String {
    let mut id = format!("{person}|{show}");
    id.truncate(id.floor_char_boundary(TEXT));
    id
}

/// The JSON of a deal. `held` is the deal as it is in the CRM, and is given if the deal gets a stage.
///
/// # Errors
/// If the CRM does not have the stage.
pub fn deal(draft: &DealDraft, contact: Option<u64>, schema: &Schema, held: Option<&Value>) -> Result<Value, String> {
    let field = |code: &str, value: Value| own(schema.lead_fields.get(code), value);
    let empty = |code: &str| Some(json!({ "field_id": schema.lead_fields.get(code)?, "values": [] }));
    let told = |code: &str, text: &str| match text {
        "" => empty(code).filter(|_| draft.clears),
        text => field(code, cut(text).into()),
    };
    let mut fields = Vec::new();
    fields.extend(field("STAGEDOOR_ID", deal_id(draft.person, &draft.show).into()));
    fields.extend(draft.city.clone().and_then(|city| field("STAGEDOOR_CITY", cut(&city).into())));
    fields.extend(match draft.starts_at {
        Some(at) => field("STAGEDOOR_SHOW_AT", at.as_second().into()),
        None => empty("STAGEDOOR_SHOW_AT").filter(|_| draft.show_postponed && contact.is_none()),
    });
    fields.extend(told("STAGEDOOR_ORDERS", &draft.orders));
    if draft.clears || !draft.orders.is_empty() {
        fields.extend(field("STAGEDOOR_TICKETS", draft.tickets.to_string().into()));
        fields.extend(field("STAGEDOOR_REFUNDED", draft.refunded.to_string().into()));
    }
    fields.extend(told("STAGEDOOR_PROMO", &draft.promo_codes));
    fields.extend(told("STAGEDOOR_CAMPAIGN", draft.campaign.as_deref().unwrap_or_default()));
    fields.extend(told("STAGEDOOR_PAYMENT", &draft.payment_words().unwrap_or_default()));
    for (key, value) in &draft.utm {
        fields.extend(field(&key.to_ascii_uppercase(), cut(value).into()));
    }
    let mut row = Map::new();
    // An empty name is left out, so that the name in the CRM stays as it is.
    if !draft.name.is_empty() {
        row.insert("name".into(), cut(&draft.name).into());
    }
    row.insert("updated_by".into(), 0.into());
    row.insert("custom_fields_values".into(), fields.into());
    if let Some(price) = draft.price {
        row.insert("price".into(), price.into());
    }
    if let Some(to) = stages::moved_to(draft, schema, held)? {
        row.insert("pipeline_id".into(), to.pipeline.into());
        row.insert("status_id".into(), to.stage.into());
    }
    if let Some(contact) = contact {
        row.insert("created_by".into(), 0.into());
        let mut embedded = json!({ "contacts": [{ "id": contact, "is_main": true }] });
        if let (Some(company), Some(embedded)) =
            (draft.company.as_ref().and_then(|company| company.id), embedded.as_object_mut())
        {
            embedded.insert("companies".into(), json!([{ "id": company }]));
        }
        row.insert("_embedded".into(), embedded);
    }
    let cancelled = |language: Language| crm::show_cancelled_tag().to(language);
    if draft.show_cancelled {
        row.insert("tags_to_add".into(), json!([{ "name": cancelled(draft.language) }]));
    }
    if draft.show_resumed && contact.is_none() && !breakage::is_on("cancelled-tag-stays") {
        // The tag may be older than the choice of the language.
        let tags = BTreeSet::from([draft.language, Language::default()].map(cancelled));
        row.insert("tags_to_delete".into(), tags.into_iter().map(|name| json!({ "name": name })).collect());
    }
    Ok(Value::Object(row))
}

fn own(field: Option<&u64>, value: Value) -> Option<Value> {
    Some(json!({ "field_id": field?, "values": [{ "value": value }] }))
}

pub fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

/// Values of a field of a contact or lead, by the field's code.
pub fn values(entity: &Value, code: &str) -> Vec<String> {
    let fields = entity.get("custom_fields_values").and_then(Value::as_array).into_iter().flatten();
    fields
        .filter(|field| text(field, "field_code").as_deref() == Some(code))
        .flat_map(|field| field.get("values").and_then(Value::as_array).into_iter().flatten())
        .filter_map(|value| value.get("value").map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)))
        .collect()
}

/// The outcome for a row that carries the hub's id of another person, or `None` if the row is the person's own.
pub fn foreign(held: Option<&Value>, person: PersonId, other_ids: &BTreeSet<PersonId>) -> Option<WriteOutcome> {
    values(held?, "STAGEDOOR_ID").first().and_then(|text| misidentified(text, person, other_ids))
}

/// A contact of the CRM as an event, with the time of its change. `None` if it cannot be read.
pub fn mirrored(contact: &Value, region: Region) -> Option<(Timestamp, Body)> {
    let (phones, emails) = (values(contact, "PHONE"), values(contact, "EMAIL"));
    let mut identifiers: BTreeSet<Identifier> =
        phones.iter().flat_map(|phone| Phone::parse_all(phone, region)).map(Identifier::phone).collect();
    identifiers.extend(emails.iter().flat_map(|email| Email::parse_all(email)).map(Identifier::email));
    let second = |key: &str| contact.get(key).and_then(Value::as_i64).and_then(|s| Timestamp::from_second(s).ok());
    let changed = ContactChanged {
        contact: number(contact, "id")?,
        deleted: contact.get("is_deleted").and_then(Value::as_bool).unwrap_or(false),
        name: text(contact, "name").filter(|name| !name.is_empty()),
        identifiers,
        phones,
        emails,
        created_at: second("created_at")?,
        hub_id: values(contact, "STAGEDOOR_ID").into_iter().next(),
        changed_at: None,
    };
    Some((second("updated_at")?, Body::ContactChanged(changed)))
}

/// A deal as it is now. Its stage has only a number here, so the stage stays empty; webhooks report it.
pub fn seen(deal: &Value) -> Option<SeenDeal> {
    Some(SeenDeal {
        id: number(deal, "id")?,
        changed_at: deal.get("updated_at").and_then(Value::as_i64).and_then(|s| Timestamp::from_second(s).ok())?,
        stage: String::new(),
        by: None,
        hub_id: values(deal, "STAGEDOOR_ID").into_iter().next(),
        contact: None,
    })
}

/// The row with its id in the CRM.
pub fn with_id(id: u64, mut row: Value) -> Value {
    if let Some(row) = row.as_object_mut() {
        row.insert("id".into(), id.into());
    }
    row
}
