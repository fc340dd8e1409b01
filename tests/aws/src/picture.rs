//! The CRM as a manager sees it, without ids and times that differ between accounts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use stagedoor_sandbox::Sandbox;

/// Attributes that every account sets itself.
const ITS_OWN: [&str; 8] =
    ["id", "created_at", "updated_at", "closed_at", "_links", "account_id", "closest_task_at", "request_id"];

fn plain(value: &Value) -> Value {
    match value {
        // A person's id depends on the order of the first batch. It says nothing about the person.
        Value::Object(map) if map.get("field_code").and_then(Value::as_str) == Some("STAGEDOOR_ID") => {
            let value = map.get("values").and_then(|values| values.pointer("/0/value")?.as_str());
            Value::from(value.and_then(|text| text.split_once('|')).map_or("", |(_, show)| show))
        }
        Value::Object(map) => {
            let kept = map
                .iter()
                .filter(|(name, _)| !ITS_OWN.contains(&name.as_str()) && *name != "field_id" && *name != "enum_id");
            Value::Object(kept.map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(plain).collect();
            items.sort_by_key(ToString::to_string);
            Value::Array(items)
        }
        other => other.clone(),
    }
}

/// Contacts, and the deals of each, as texts that can be compared.
pub fn picture(sandbox: &Sandbox) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    let mut names = BTreeMap::new();
    for contact in sandbox.contacts() {
        let mut shown = plain(&contact);
        if let Some(embedded) = shown.get_mut("_embedded").and_then(Value::as_object_mut) {
            embedded.remove("leads");
        }
        let shown = shown.to_string();
        names.insert(contact.get("id").map(ToString::to_string), shown.clone());
        all.entry(shown).or_default();
    }
    for lead in sandbox.leads() {
        let owner = lead.pointer("/_embedded/contacts/0/id").map(ToString::to_string);
        let owner = names.get(&owner).cloned().unwrap_or_else(|| "nobody".into());
        let mut shown = plain(&lead);
        if let Some(embedded) = shown.get_mut("_embedded").and_then(Value::as_object_mut) {
            embedded.remove("contacts");
        }
        all.entry(owner).or_default().push(shown.to_string());
    }
    // The lines of notes, regardless of their split into notes. Our own lines have our own clock and are left out.
    for note in sandbox.notes() {
        let owner =
            names.get(&note.get("entity_id").map(ToString::to_string)).cloned().unwrap_or_else(|| "nobody".into());
        let words = note.pointer("/params/text").and_then(Value::as_str).unwrap_or("");
        // A form is as old as its receipt, and the hubs run one after the other.
        let told = |line: &str| line.find(" form \"").map_or(line, |at| line.get(at..).unwrap_or(line)).to_owned();
        let theirs = words.lines().filter(|line| line.contains('▸')).map(|line| format!("note {}", told(line)));
        all.entry(owner).or_default().extend(theirs);
    }
    for task in sandbox.tasks() {
        let owner =
            names.get(&task.get("entity_id").map(ToString::to_string)).cloned().unwrap_or_else(|| "nobody".into());
        all.entry(owner).or_default().push("task".into());
    }
    all.values_mut().for_each(|deals| deals.sort());
    all
}

/// A few lines of each difference between two pictures.
pub fn differences(left: &BTreeMap<String, Vec<String>>, right: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut told = Vec::new();
    for (contact, deals) in left {
        match right.get(contact) {
            None => told.push(format!("only left: {contact}")),
            Some(other) if other != deals => told.push(format!("{contact}\n  left  {deals:?}\n  right {other:?}")),
            Some(_) => {}
        }
    }
    told.extend(
        right.keys().filter(|contact| !left.contains_key(*contact)).map(|contact| format!("only right: {contact}")),
    );
    told
}
