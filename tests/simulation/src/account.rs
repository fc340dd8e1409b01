//! What a CRM holds, as a manager sees it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stagedoor_sandbox::Sandbox;

#[derive(Debug, Clone, Default)]
pub struct Contact {
    pub id: u64,
    pub phones: BTreeSet<String>,
    pub emails: BTreeSet<String>,
    /// The hub's own id of its person; empty where the hub did not make it.
    pub own: String,
    /// It is marked as a duplicate of another contact.
    pub duplicate: bool,
}

impl Contact {
    pub fn holds(&self, identifier: &str) -> bool {
        self.phones.contains(identifier) || self.emails.contains(identifier)
    }

    pub fn holds_any(&self, identifiers: &BTreeSet<String>) -> bool {
        identifiers.iter().any(|one| self.holds(one))
    }
}

#[derive(Debug, Clone, Default)]
pub struct Deal {
    pub id: u64,
    pub contact: Option<u64>,
    /// The hub's own id of its person.
    pub own: String,
    /// The organiser's key of the show, by the hub's own id in the deal.
    pub show: String,
    pub price: i64,
    pub stage: String,
    pub duplicate: bool,
    /// It is told that the show was called off.
    pub cancelled: bool,
    /// When the show begins, in seconds of Unix time.
    pub starts_at: Option<i64>,
}

#[derive(Debug, Clone, Default)]
pub struct Account {
    pub contacts: Vec<Contact>,
    pub deals: Vec<Deal>,
}

impl Account {
    /// What it holds, a line a row.
    pub fn lines(&self) -> Vec<String> {
        let contacts = self.contacts.iter().map(|one| {
            let Contact { id, phones, emails, own, duplicate } = one;
            let double = if *duplicate { ", a duplicate" } else { "" };
            format!("contact {id} of {own:?}: {phones:?} {emails:?}{double}")
        });
        let deals = self.deals.iter().map(|one| {
            let Deal { id, contact, show, price, stage, duplicate, .. } = one;
            let double = if *duplicate { ", a double" } else { "" };
            let contact = contact.map_or("nobody".to_owned(), |id| id.to_string());
            format!("deal {id} of {contact}, {show}: {price}, {stage:?}{double}")
        });
        contacts.chain(deals).collect()
    }
}

/// Values of a row's field, by its code.
fn values(row: &Value, code: &str) -> BTreeSet<String> {
    let fields = row.get("custom_fields_values").and_then(Value::as_array).into_iter().flatten();
    let named = fields.filter(|field| field.get("field_code").and_then(Value::as_str) == Some(code));
    let all = named.flat_map(|field| field.get("values").and_then(Value::as_array).into_iter().flatten());
    all.filter_map(|value| value.get("value")?.as_str().map(str::to_owned)).collect()
}

/// The first number of a row's field.
fn numbers(row: &Value, code: &str) -> Option<i64> {
    let fields = row.get("custom_fields_values").and_then(Value::as_array)?;
    let named = fields.iter().find(|field| field.get("field_code").and_then(Value::as_str) == Some(code))?;
    named.pointer("/values/0/value").and_then(Value::as_i64)
}

/// Digits of a phone in E.164, however it is written.
fn dialled(phone: &str) -> String {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    match digits.strip_prefix('8').filter(|rest| rest.len() == 10) {
        Some(rest) => format!("+7{rest}"),
        None => format!("+{digits}"),
    }
}

fn tagged(row: &Value, word: &str) -> bool {
    let tags = row.pointer("/_embedded/tags").and_then(Value::as_array).into_iter().flatten();
    tags.filter_map(|tag| tag.get("name")?.as_str()).any(|name| name.starts_with(word))
}

/// `stages`: names of stages by their ids, as they were at the beginning.
pub fn of_amocrm(sandbox: &Sandbox, stages: &BTreeMap<u64, String>) -> Account {
    let number = |row: &Value, key: &str| row.get(key).and_then(Value::as_u64).unwrap_or_default();
    let (contacts, leads) = (sandbox.contacts(), sandbox.leads());
    let contacts = contacts.iter().map(|row| Contact {
        id: number(row, "id"),
        phones: values(row, "PHONE").iter().map(|phone| dialled(phone)).collect(),
        emails: values(row, "EMAIL").iter().map(|email| email.to_lowercase()).collect(),
        own: values(row, "STAGEDOOR_ID").into_iter().next().unwrap_or_default(),
        // A manager who merges the duplicate into its contact merges the tag, too.
        duplicate: tagged(row, "duplicate of") && !tagged(row, &format!("duplicate of {}", number(row, "id"))),
    });
    let contacts = contacts.collect();
    let deals = leads.iter().map(|row| {
        let linked = row.pointer("/_embedded/contacts").and_then(Value::as_array).into_iter().flatten();
        let main = linked.filter(|one| one.get("is_main").and_then(Value::as_bool) == Some(true));
        let own = values(row, "STAGEDOOR_ID").into_iter().next().unwrap_or_default();
        let orders = values(row, "STAGEDOOR_ORDERS");
        let price = row.get("price").and_then(Value::as_i64).unwrap_or_default();
        Deal {
            id: number(row, "id"),
            contact: main.filter_map(|one| one.get("id")?.as_u64()).next(),
            own: own.split('|').next().unwrap_or_default().to_owned(),
            show: own.split_once('|').map(|(_, show)| show.to_owned()).unwrap_or_default(),
            price,
            stage: stages.get(&number(row, "status_id")).cloned().unwrap_or_default(),
            // A closed double is worth nothing.
            duplicate: price == 0 && orders.iter().any(|text| text.starts_with("duplicate of deal")),
            cancelled: tagged(row, "show cancelled"),
            starts_at: numbers(row, "STAGEDOOR_SHOW_AT"),
        }
    });
    let deals = deals.collect();
    Account { contacts, deals }
}
