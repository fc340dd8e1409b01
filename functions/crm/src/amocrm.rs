//! amoCRM's webhooks: form-encoded with PHP brackets, unsigned, to be answered within two seconds.
//!
//! Source: amocrm.ru/developers/content/crm_platform/webhooks-api; bodies captured in public test data (2016 to 2026).
//! A webhook is trusted only behind an unguessable path and from the configured account. Companies arrive as contacts
//! of another type. A change by user 0 is a robot's or the hub's own. Moves of deals by user 0 are left out.

use std::collections::BTreeSet;

use serde::Deserialize;
use stagedoor_model::{
    Body, Channel, ConsentRecorded, ContactChanged, Email, Event, Identifier, Kind, LeadChanged, Phone, SECOND_CRM,
    Timestamp, breakage,
};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, Form, FormValue, NotUnderstood, Provider, Reject, SecretShape, Source, Verified,
    VerifiedDelivery, signature,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Id of the account. Webhooks of another account are refused.
    #[serde(default)]
    account: Option<u64>,
    /// Tags with which a manager marks a contact who wants no more advertising.
    #[serde(default = "withdrawn")]
    withdrawn_tags: Vec<String>,
}

fn withdrawn() -> Vec<String> {
    ["отписан", "отписана", "не писать", "unsubscribed"].map(str::to_owned).to_vec()
}

struct AmoCrm {
    source: Source,
    options: Options,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    source.secrets_have(SecretShape::PATH)?;
    let options: Options = source.options()?;
    if options.account == Some(0) {
        return Err(
            "options.account is the number of your account, such as 28805383; leave it out to check none".into()
        );
    }
    Ok(Box::new(AmoCrm { options, source: source.clone() }))
}

impl Provider for AmoCrm {
    fn accepts(&self) -> Accepts {
        Accepts::Form
    }

    /// Maximum number of fields. One webhook may report a manager's change of many rows.
    fn max_fields(&self) -> usize {
        20_000
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        signature::shown(Some(&head.tail), &self.source.secrets).map(drop)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        let verified = signature::shown(Some(&delivery.tail), &self.source.secrets)?;
        let form = Form::parse(&delivery.body);
        let account = form.get("account").and_then(|account| account.text_of("id"));
        match (self.options.account, account) {
            // Older webhooks name only the account's subdomain.
            (Some(ours), Some(theirs)) if ours.to_string() != theirs => Err(Reject::WrongOrigin),
            _ => Ok(verified),
        }
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let form = Form::parse(delivery.body());
        let (mut events, mut odd) = (Vec::new(), None);
        let mut known = false;
        for (entity, actions) in form.fields().filter(|(key, _)| *key != "account") {
            for (action, items) in &actions.children {
                known |= KNOWN.contains(&entity);
                for item in items.children.values() {
                    // An unreadable row loses only itself.
                    match self.event(delivery, entity, action, item) {
                        Ok(event) => events.extend(event),
                        Err(why) if breakage::is_on("odd-row-loses-all") => return Err(why),
                        Err(why) => odd = Some(why.reason),
                    }
                    events.extend(self.withdrawal(delivery, entity, action, item));
                }
            }
        }
        let why = odd.as_deref().or((!known).then_some("no entity that is known"));
        NotUnderstood::unless(why.is_none(), why.unwrap_or_default(), events)
    }

    fn answer(&self, _: &Delivery) -> Answer {
        Answer::json("{}")
    }
}

/// Entities that may arrive. Those that do not concern a person's deals create no event.
const KNOWN: [&str; 10] = [
    "contacts",
    "leads",
    "companies",
    "customers",
    "catalogs",
    "task",
    "unsorted",
    "message",
    "outgoing_message",
    "talk",
];

impl AmoCrm {
    /// Namespace of this CRM's record ids. Empty for the first CRM.
    fn scope(&self) -> &'static str {
        if self.source.name.as_str() == SECOND_CRM { SECOND_CRM } else { "" }
    }

    fn event(
        &self,
        delivery: &VerifiedDelivery,
        entity: &str,
        action: &str,
        item: &FormValue,
    ) -> Result<Option<Event>, NotUnderstood> {
        let deleted = action == "delete";
        let changed = time(item, &["last_modified", "updated_at"]);
        // A restored row keeps the time of its last change.
        let restored = changed.filter(|_| action == "restore");
        let body = match (entity, action) {
            ("contacts", "add" | "update" | "restore" | "delete") => {
                // Companies arrive as contacts of the type company.
                if item.text_of("type").is_some_and(|kind| kind != "contact") {
                    return Ok(None);
                }
                let contact = self.contact(item, deleted, delivery.received_at())?;
                Body::ContactChanged(ContactChanged { changed_at: restored, ..contact })
            }
            ("leads", "restore") if breakage::is_on("restore-unheard") => return Ok(None),
            // Of new deals only a manager's copy of a deal of the hub matters. It carries the same id.
            ("leads", "add") => {
                let is_own = number(item, "created_user_id").is_none_or(|user| user == 0);
                let hub_id = hub_id(item).filter(|_| !is_own);
                let (Some(lead), Some(hub_id)) = (number(item, "id"), hub_id) else { return Ok(None) };
                let (pipeline, status) = (number(item, "pipeline_id"), number(item, "status_id"));
                let (deleted, moved_by, hub_id) = (false, Some(0), Some(hub_id));
                Body::LeadChanged(LeadChanged { lead, deleted, pipeline, status, moved_by, hub_id, changed_at: None })
            }
            ("leads", "status" | "delete" | "restore") => {
                // A restored deal exists again and nobody moved it, so the hub may move it.
                let moved_by = if action == "restore" { Some(0) } else { number(item, "modified_user_id") };
                if action == "status" && moved_by == Some(0) {
                    return Ok(None);
                }
                Body::LeadChanged(LeadChanged {
                    lead: number(item, "id").ok_or("a deal without an id")?,
                    deleted,
                    pipeline: number(item, "pipeline_id"),
                    status: number(item, "status_id"),
                    moved_by,
                    hub_id: hub_id(item),
                    changed_at: restored,
                })
            }
            _ => return Ok(None),
        };
        // A deletion has no time, and a restore has an older one. Both have happened by now.
        let told = changed.filter(|_| action != "restore");
        let at = told.unwrap_or_else(|| delivery.received_at());
        let about = body.subject().unwrap_or_default();
        // Two changes may fall into the same second, so the content is part of the fact's id.
        let said = format!("{item:?}");
        Ok(Some(delivery.event(&[entity, action, &about, &at.to_string(), &said], at, body)))
    }

    /// The withdrawal that a manager's tag records. The contact gave it by phone or at the box office. Each change of a
    /// contact with the tag repeats it, so a tag that is set again counts again. A tag that stays outweighs a later
    /// consent until a manager removes it. A repeated webhook reports the same change and counts once.
    fn withdrawal(&self, delivery: &VerifiedDelivery, entity: &str, action: &str, item: &FormValue) -> Option<Event> {
        let is_person = item.text_of("type").is_none_or(|kind| kind == "contact");
        if entity != "contacts" || !matches!(action, "add" | "update" | "restore") || !is_person {
            return None;
        }
        let tags = item.child("tags")?.children.values().filter_map(|tag| tag.text_of("name"));
        let own = |tag: &&str| self.options.withdrawn_tags.iter().any(|one| one.to_lowercase() == tag.to_lowercase());
        let tag = tags.into_iter().find(own)?.to_owned();
        let contact = number(item, "id")?.to_string();
        let told_at = time(item, &["last_modified", "updated_at"]);
        let who = Identifier::opaque(Kind::CrmContact, self.scope(), &contact)?;
        let said = ConsentRecorded {
            evidence: [("tag".to_owned(), tag.clone())].into(),
            ..ConsentRecorded::withdrawn(who, Channel::Email, "crm")
        };
        let moment = told_at.map(|at| at.as_second()).unwrap_or_default();
        let moment = if breakage::is_on("tag-told-once-a-day") { moment / 86_400 } else { moment }.to_string();
        Some(delivery.event_told_at(&["withdrawn", &contact, &tag, &moment], told_at, Body::ConsentRecorded(said)))
    }

    fn contact(&self, item: &FormValue, deleted: bool, now: Timestamp) -> Result<ContactChanged, NotUnderstood> {
        let (phones, emails) = (values(item, "PHONE"), values(item, "EMAIL"));
        let mut identifiers: BTreeSet<Identifier> =
            phones.iter().flat_map(|text| Phone::parse_all(text, self.source.region)).map(Identifier::phone).collect();
        identifiers.extend(emails.iter().flat_map(|text| Email::parse_all(text)).map(Identifier::email));
        Ok(ContactChanged {
            contact: number(item, "id").ok_or("a contact without an id")?,
            deleted,
            name: item.text_of("name").map(str::to_owned).filter(|name| !name.trim().is_empty()),
            identifiers,
            phones,
            emails,
            created_at: time(item, &["date_create", "created_at"]).unwrap_or(now),
            hub_id: hub_id(item),
            changed_at: None,
        })
    }
}

fn number(item: &FormValue, key: &str) -> Option<u64> {
    item.text_of(key)?.parse().ok()
}

fn time(item: &FormValue, keys: &[&str]) -> Option<Timestamp> {
    let second = keys.iter().find_map(|key| item.text_of(key)?.parse().ok())?;
    Timestamp::from_second(second).ok()
}

/// The hub's own id in a row. Only system fields have codes here, so the hub's field is also found by its name.
fn hub_id(item: &FormValue) -> Option<String> {
    let fields = item.child("custom_fields").into_iter().flat_map(|fields| fields.children.values());
    let is_own = |field: &&FormValue| {
        field.text_of("code") == Some("STAGEDOOR_ID")
            || field.text_of("name").is_some_and(|name| ["Stagedoor: person", "Stagedoor: deal"].contains(&name))
    };
    let value = fields.filter(is_own).find_map(|field| field.child("values")?.children.values().next());
    let text = value.and_then(|value| value.text_of("value").or(value.text.as_deref()))?;
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Values of a system field. Only such fields have a `code`.
fn values(item: &FormValue, code: &str) -> Vec<String> {
    let fields = item.child("custom_fields").into_iter().flat_map(|fields| fields.children.values());
    fields
        .filter(|field| field.text_of("code") == Some(code))
        .flat_map(|field| field.child("values").into_iter().flat_map(|values| values.children.values()))
        // Some values come without `[value]`.
        .filter_map(|value| value.text_of("value").or(value.text.as_deref()).map(str::to_owned))
        .filter(|text| !text.is_empty())
        .collect()
}
