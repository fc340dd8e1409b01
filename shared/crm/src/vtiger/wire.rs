//! Conversion of drafts into Vtiger's fields, and of its contacts back.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use stagedoor_engine::{ContactDraft, DealDraft, PersonId, ShowKey};
use stagedoor_model::{Body, ContactChanged, Email, Identifier, Phone, Region, Timestamp};
use stagedoor_texts::crm;

use crate::vtiger::{
    normalise::{amount, plain, put},
    query,
    schema::{Module, STAGE, Schema},
    server_clock::ServerClock,
};

pub(super) type Fields = Map<String, Value>;

/// Fields of a contact for phones and e-mails, in the order in which they are filled.
pub(super) const PHONES: [&str; 4] = ["mobile", "phone", "homephone", "otherphone"];
pub(super) const EMAILS: [&str; 2] = ["email", "secondaryemail"];
/// Columns of a contact that the mirror reads.
const CONTACT: &str =
    "id,firstname,lastname,mobile,phone,homephone,otherphone,email,secondaryemail,createdtime,modifiedtime";

/// The fields that the contact should have. `held` is the present record, and is empty for a new contact.
pub(super) fn contact(draft: &ContactDraft, schema: &Schema, held: &Value, region: Region) -> Fields {
    let module = &schema.contacts;
    let mut row = Fields::new();
    if let Some(name) = &draft.name {
        let (first, last) = names(name);
        put(&mut row, "firstname", &first);
        put(&mut row, "lastname", &last);
    }
    let phone = |text: &str| Phone::parse_all(text, region).into_iter().map(|it| it.as_str().to_owned()).collect();
    let email = |text: &str| Email::parse_all(text).into_iter().map(|it| it.as_str().to_owned()).collect();
    room(&mut row, &PHONES, &draft.phones, held, &phone);
    room(&mut row, &EMAILS, &draft.emails, held, &email);
    own(&mut row, module, "id", &draft.person.to_string());
    // A company that is set already stays, because a manager may have chosen it.
    let free = held.get("account_id").map(plain).unwrap_or_default().is_empty();
    if let Some(company) = draft.company.as_ref().and_then(|company| company.id).filter(|_| free) {
        row.insert("account_id".into(), schema.accounts.of(company).into());
    }
    if let Some(telegram) = &draft.telegram {
        own(&mut row, module, "telegram", telegram);
    }
    if let Some(chats) = &draft.chats {
        own(&mut row, module, "channels", &chats.channels);
        own(&mut row, module, "chat", &chats.chat);
        own(&mut row, module, "last_message", &chats.last_message);
    }
    if let Some(marketing) = &draft.marketing {
        own(&mut row, module, "consent", &marketing.consent);
        own(&mut row, module, "letters", &marketing.letters);
        own(&mut row, module, "segments", &marketing.segments);
    }
    row
}

/// First and last name. The last name is mandatory: it is the only word, or the last of several.
fn names(name: &str) -> (String, String) {
    match name.trim().rsplit_once(char::is_whitespace) {
        Some((first, last)) => (first.trim().to_owned(), last.to_owned()),
        None if name.trim().is_empty() => (String::new(), "?".to_owned()),
        None => (String::new(), name.trim().to_owned()),
    }
}

/// Puts new values into empty fields. Filled fields belong to a manager. `read` finds the values in a text that a
/// manager typed.
fn room(row: &mut Fields, places: &[&str], values: &[String], held: &Value, read: &dyn Fn(&str) -> Vec<String>) {
    let has = |place: &&&str| held.get(**place).map(plain).unwrap_or_default();
    let texts = places.iter().map(|place| has(&place));
    let known: BTreeSet<String> = texts.flat_map(|text| read(&text).into_iter().chain([text])).collect();
    let mut free = places.iter().filter(|place| has(place).is_empty());
    for value in values.iter().filter(|value| !known.contains(*value)) {
        let Some(place) = free.next() else { break };
        put(row, place, value);
    }
}

fn own(row: &mut Fields, module: &Module, what: &str, value: &str) {
    if let Some(field) = module.own(what) {
        row.insert(field.to_owned(), crate::vtiger::normalise::normalise_fields(field, value).into());
    }
}

/// The hub's own id of a deal, in the form in which a field holds it.
pub(super) fn deal_id(person: PersonId, show: &ShowKey) -> String {
    let id: String = format!("{person}|{show}").chars().take(255).collect();
    crate::vtiger::normalise::normalise_fields("", &id)
}

/// The fields of a deal.
///
/// # Errors
/// If the CRM does not have the stage. It would accept an unknown stage, and no funnel would show the deal
/// (picklist_unknown_value).
pub(super) fn deal(
    draft: &DealDraft,
    contact: Option<u64>,
    schema: &Schema,
    zone: &TimeZone,
    today: Timestamp,
) -> Result<Fields, String> {
    let module = &schema.deals;
    let mut row = Fields::new();
    if !draft.name.is_empty() {
        put(&mut row, "potentialname", &draft.name);
    }
    if let Some((_, stage)) = &draft.stage {
        let value = module.stage_value(stage).ok_or_else(|| {
            format!("the CRM has no sales stage {stage:?}; add it to the picklist or change the config")
        })?;
        row.insert(STAGE.into(), value.into());
    }
    if let Some(price) = draft.price {
        row.insert("amount".into(), amount(price.saturating_mul(100).saturating_add(draft.fraction)).into());
    }
    let date = |at: Timestamp| at.to_zoned_datetime(zone.clone()).date().to_string();
    match (draft.starts_at, contact) {
        (Some(at), _) => _ = row.insert("closingdate".into(), date(at).into()),
        // The date is mandatory. A date with a time becomes an empty date (date_with_time).
        (None, Some(_)) => _ = row.insert("closingdate".into(), date(today).into()),
        (None, None) => {}
    }
    if let Some(contact) = contact {
        row.insert("contact_id".into(), schema.contacts.of(contact).into());
    }
    if let Some(company) = draft.company.as_ref().and_then(|company| company.id) {
        row.insert("related_to".into(), schema.accounts.of(company).into());
    }
    let mut told = |what: &str, text: &str| {
        if draft.clears || !text.is_empty() {
            own(&mut row, module, what, text);
        }
    };
    told("payment", &draft.payment_words().unwrap_or_default());
    told("orders", &draft.orders);
    told("promo", &draft.promo_codes);
    told("campaign", draft.campaign.as_deref().unwrap_or_default());
    own(&mut row, module, "id", &deal_id(draft.person, &draft.show));
    if let Some(city) = &draft.city {
        own(&mut row, module, "city", city);
    }
    if let Some(at) = draft.starts_at {
        let words = at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        let words = if draft.show_cancelled { crm::show_cancelled(words).to(draft.language) } else { words };
        own(&mut row, module, "show_at", &words);
    } else if draft.show_postponed {
        own(&mut row, module, "show_at", "");
    }
    if draft.clears || !draft.orders.is_empty() {
        own(&mut row, module, "tickets", &draft.tickets.to_string());
        own(&mut row, module, "refunded", &draft.refunded.to_string());
    }
    Ok(row)
}

/// Columns of a contact that the mirror reads, with the hub's own id.
pub(super) fn columns(module: &Module) -> String {
    [CONTACT].into_iter().chain(module.own("id")).collect::<Vec<_>>().join(",")
}

pub(super) fn mirrored(
    contact: &Value,
    module: &Module,
    region: Region,
    clock: &ServerClock,
) -> Option<(Timestamp, Body)> {
    let values = |places: &[&str]| -> Vec<String> {
        let all = places.iter().map(|place| contact.get(*place).map(plain).unwrap_or_default());
        all.filter(|value| !value.is_empty()).collect()
    };
    let (phones, emails) = (values(&PHONES), values(&EMAILS));
    let mut identifiers: BTreeSet<Identifier> =
        phones.iter().flat_map(|phone| Phone::parse_all(phone, region)).map(Identifier::phone).collect();
    identifiers.extend(emails.iter().flat_map(|email| Email::parse_all(email)).map(Identifier::email));
    let changed = ContactChanged {
        contact: query::number(&query::id(contact)?)?,
        deleted: false,
        name: Some(values(&["firstname", "lastname"]).join(" ")).filter(|name| !name.is_empty()),
        identifiers,
        phones,
        emails,
        created_at: clock.time(contact, "createdtime")?,
        hub_id: module.hub_id(contact),
        changed_at: None,
    };
    Some((clock.time(contact, "modifiedtime")?, Body::ContactChanged(changed)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_word_is_a_last_name() {
        assert_eq!(names("Ольга Петрова"), ("Ольга".into(), "Петрова".into()));
        assert_eq!(names("Анна Мария Новак"), ("Анна Мария".into(), "Новак".into()));
        assert_eq!(names(" Аркадина "), (String::new(), "Аркадина".into()));
    }

    #[test]
    fn a_managers_phones_stay_where_they_are() {
        let held = json!({ "mobile": "8 (916) 000-00-00", "phone": "", "homephone": null, "otherphone": "" });
        let mut row = Fields::new();
        let values = ["+79160000000", "+79030000001", "+79030000002"].map(String::from);
        let region = Region::new("RU").expect("a region");
        let read = |text: &str| Phone::parse_all(text, region).into_iter().map(|it| it.as_str().to_owned()).collect();
        room(&mut row, &PHONES, &values, &held, &read);
        assert_eq!(Value::Object(row), json!({ "phone": "+79030000001", "homephone": "+79030000002" }));
    }
}
