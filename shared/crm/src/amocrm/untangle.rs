//! Contacts of people who were joined by mistake and parted again. Deals, phones, e-mails, chats and tags go back to
//! their owners.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use stagedoor_engine::Parting;
use stagedoor_model::{Email, Identifier, Kind, Messenger, Phone, Region, breakage};
use stagedoor_ports::{CrmError, Gone, WriteOutcome};
use stagedoor_texts::{Language, MARK, crm};

use crate::amocrm::{
    bulk,
    client::AmoCrm,
    links::{self, Link},
    schema::{self, Schema, items, number, text},
    transport::Failure,
    wire,
};

/// Fields that describe chats.
const CHATS: [&str; 4] =
    ["STAGEDOOR_CHANNELS", "STAGEDOOR_CHAT", "STAGEDOOR_LAST_MESSAGE", "STAGEDOOR_LAST_MESSAGE_AT"];

impl AmoCrm {
    pub(super) async fn part(&self, parting: &Parting) -> WriteOutcome {
        let link = |deal: &u64| Link { from: *deal, to_entity: "contacts", to: parting.contact };
        let wanted: Vec<Link> = parting.deals.iter().map(link).collect();
        let linked = links::link(&self.transport, "leads", &wanted).await;
        // A deal that was deleted in the meantime needs no new contact.
        let faults =
            || linked.iter().filter(|row| !matches!(row, WriteOutcome::Done(_) | WriteOutcome::Gone(Gone::Deal(_))));
        // A deal that is refused keeps nothing else from its place.
        if let Some(fault) = faults().find(|row| !matches!(row, WriteOutcome::Refused(_))) {
            return fault.clone();
        }
        let refused = faults().next().cloned();
        if let Err(error) = self.unlink_others(parting).await {
            tracing::warn!(%error, "deals of parted people were not taken off; tried again later");
            return WriteOutcome::NotSent;
        }
        let held = match self.rows("contacts", &BTreeSet::from([parting.contact])).await {
            Ok(held) => held.into_iter().next(),
            Err(error) => {
                tracing::warn!(%error, "a contact could not be read before it is written");
                return WriteOutcome::NotSent;
            }
        };
        let Some(held) = held else { return WriteOutcome::Gone(Gone::Contact(parting.contact)) };
        let region = self.settings.region;
        let build = |schema: &Schema| cleared(&held, parting, schema, region).into_iter().map(Ok).collect::<Vec<_>>();
        match self.schema().await {
            Ok(schema) if build(&schema).is_empty() => return refused.unwrap_or(WriteOutcome::Done(parting.contact)),
            Ok(_) => {}
            Err(_) => return WriteOutcome::NotSent,
        }
        let gone = |_: usize, field: &str| (field == "id").then_some(Gone::Contact(parting.contact));
        let done = self.send_healing(&Method::PATCH, "/api/v4/contacts", "contacts", build, &gone).await;
        match done.into_iter().next().unwrap_or(WriteOutcome::NotSent) {
            WriteOutcome::Done(id) => refused.unwrap_or(WriteOutcome::Done(id)),
            row => row,
        }
    }

    /// Unlinks other contacts from the deals of this one, and takes deals of other people off this contact. A new link
    /// leaves the deal's earlier contact in place.
    async fn unlink_others(&self, parting: &Parting) -> Result<(), CrmError> {
        let own = parting.deals.iter().filter(|_| !parting.strangers.is_empty());
        let deals: BTreeSet<u64> = own.chain(parting.others_deals.keys()).copied().collect();
        if deals.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = deals.iter().map(|deal| format!("filter%5Bentity_id%5D%5B%5D={deal}")).collect();
        let answer = schema::get(&self.transport, &format!("/api/v4/leads/links?{}", ids.join("&"))).await?;
        let links = items(answer.as_ref(), "links").into_iter().filter_map(|link| {
            let (deal, contact) = (number(link, "entity_id")?, number(link, "to_entity_id")?);
            (text(link, "to_entity_type").as_deref() == Some("contacts")).then_some((deal, contact))
        });
        let is_wrong = |(deal, contact): &(u64, u64)| match parting.others_deals.contains_key(deal) {
            true => *contact == parting.contact,
            false => parting.strangers.contains(contact),
        };
        let wrong: Vec<(u64, u64)> = links.filter(is_wrong).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        // A deleted contact gets no deal. The run of its person finds another contact.
        let home = |(deal, _): &(u64, u64)| {
            Some(Link { from: *deal, to_entity: "contacts", to: (*parting.others_deals.get(deal)?)? })
        };
        let homes: Vec<Link> = wrong.iter().filter_map(home).collect();
        let linked = links::link(&self.transport, "leads", &homes).await;
        if linked.iter().any(|row| matches!(row, WriteOutcome::NotSent | WriteOutcome::Unknown)) {
            return Err(CrmError::Unavailable("a deal was not linked to its own contact".into()));
        }
        let row = |(deal, contact): &(u64, u64)| {
            let kind = "contacts";
            json!({ "entity_id": deal, "to_entity_id": contact, "to_entity_type": kind })
        };
        let theirs: Vec<Value> = wrong.iter().map(row).collect();
        match self.transport.call(Method::POST, "/api/v4/leads/unlink", Some(&Value::Array(theirs))).await {
            // If the CRM refuses to remove a link, the link stays. The contact is corrected all the same.
            Err(Failure::Refused(problem)) => {
                tracing::warn!(reason = bulk::detail(&problem), "deals of parted people keep both contacts");
                Ok(())
            }
            answer => answer.map(drop).map_err(schema::unusable),
        }
    }
}

/// The row that removes other people's values from a contact. `None` if the contact holds none of them.
fn cleared(held: &Value, parting: &Parting, schema: &Schema, region: Region) -> Option<Value> {
    let phone = |text: &str| Phone::parse_all(text, region).into_iter().map(Identifier::phone).collect();
    let email = |text: &str| Email::parse_all(text).into_iter().map(Identifier::email).collect();
    let mut fields = Vec::new();
    fields.extend(without(held, "PHONE", parting, &phone));
    fields.extend(without(held, "EMAIL", parting, &email));
    let own = |code: &str| {
        let id = schema.contact_fields.get(code)?;
        let all = held.get("custom_fields_values").and_then(Value::as_array).into_iter().flatten();
        let mut standing = all.filter(|field| number(field, "field_id") == Some(*id));
        standing.next().map(|field| (*id, field))
    };
    let empty = |id: u64| json!({ "field_id": id, "values": [] });
    if let Some((id, field)) = own("STAGEDOOR_TELEGRAM") {
        let value =
            field.pointer("/values/0/value").map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
        let is_theirs =
            |one: &Identifier| one.kind() == Kind::Chat(Messenger::Telegram) && Some(one.value()) == value.as_deref();
        fields.extend(parting.values.iter().any(is_theirs).then(|| empty(id)));
    }
    if parting.values.iter().any(|one| one.kind().is_chat()) {
        fields.extend(CHATS.iter().filter_map(|code| own(code)).map(|(id, _)| empty(id)));
    }
    let tags = held.pointer("/_embedded/tags").and_then(Value::as_array).into_iter().flatten();
    let of_stranger = |name: &String| {
        let of = |language| name.strip_prefix(&crm::duplicate_tag(MARK).around(language).0)?.parse().ok();
        Language::ALL.into_iter().find_map(of).is_some_and(|id| {
            match breakage::is_on("duplicate-of-strangers-stays") {
                true => parting.strangers.contains(&id),
                // A merge in the CRM leaves the tag of the removed contact on the kept one.
                false => {
                    let is_strange = !parting.kin.is_empty() && (id == parting.contact || !parting.kin.contains(&id));
                    is_strange || parting.no_duplicate_of.contains(&id)
                }
            }
        })
    };
    let tags: Vec<Value> =
        tags.filter_map(|tag| text(tag, "name")).filter(of_stranger).map(|name| json!({ "name": name })).collect();
    let mut row = json!({ "updated_by": 0 });
    if let Some(row) = row.as_object_mut() {
        if !fields.is_empty() {
            row.insert("custom_fields_values".into(), fields.into());
        }
        if !tags.is_empty() {
            row.insert("tags_to_delete".into(), tags.into());
        }
        if row.len() == 1 {
            return None;
        }
    }
    Some(wire::with_id(parting.contact, row))
}

/// A multitext field without other people's values. `None` if the field holds none of them.
fn without(held: &Value, code: &str, parting: &Parting, read: &dyn Fn(&str) -> Vec<Identifier>) -> Option<Value> {
    let fields = held.get("custom_fields_values").and_then(Value::as_array).into_iter().flatten();
    let field = fields.filter(|field| text(field, "field_code").as_deref() == Some(code));
    let standing: Vec<&Value> = field.filter_map(|field| field.get("values")?.as_array()).flatten().collect();
    let is_theirs = |value: &&&Value| {
        let read = text(value, "value").map(|text| read(&text)).unwrap_or_default();
        !read.is_empty() && read.iter().all(|one| parting.values.contains(one))
    };
    let kept: Vec<&&Value> = standing.iter().filter(|value| !is_theirs(value)).collect();
    if kept.len() == standing.len() {
        return None;
    }
    let kept: Vec<Value> = kept.into_iter().map(|value| wire::with_kind(value)).collect();
    Some(json!({ "field_code": code, "values": kept }))
}
