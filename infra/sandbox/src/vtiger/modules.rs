//! Modules and their fields, as `describe` returned them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Recordings that contain descriptions.
const RECORDED: [&str; 2] = [
    include_str!("../../recorded/vtiger/02_meta.json"),
    include_str!("../../recorded/vtiger/10_companies_tasks_invoices.json"),
];

/// The prefixes of record numbers, from their recorded values.
const SERIES: [(&str, &str, &str); 7] = [
    ("Contacts", "contact_no", "CON"),
    ("Potentials", "potential_no", "POT"),
    ("Accounts", "account_no", "ACC"),
    ("Leads", "lead_no", "LEA"),
    ("Campaigns", "campaign_no", "CAM"),
    ("Services", "service_no", "SER"),
    ("Invoice", "invoice_no", "INV"),
];

pub(crate) struct Field {
    pub name: String,
    pub kind: String,
    pub mandatory: bool,
    pub refers_to: Vec<String>,
}

pub(crate) struct Module {
    pub name: &'static str,
    pub prefix: String,
    /// The result of `describe`.
    pub described: Value,
    pub fields: Vec<Field>,
    /// The field with the record number, and the prefix of its values.
    pub series: Option<(&'static str, &'static str)>,
}

impl Module {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// The exchanges of a recorded file, without answers that are no JSON.
pub(crate) fn recorded(text: &str) -> Vec<Value> {
    match serde_json::from_str(text) {
        Ok(Value::Array(pairs)) => pairs,
        _ => Vec::new(),
    }
}

/// The recorded result of an exchange.
pub(crate) fn result_of(name: &str) -> Value {
    let pairs = RECORDED.iter().flat_map(|text| recorded(text));
    let named = |pair: &Value| pair.get("name").and_then(Value::as_str) == Some(name);
    pairs.into_iter().find(named).and_then(|pair| pair.pointer("/response/json/result").cloned()).unwrap_or_default()
}

pub(crate) fn all(custom: &[(String, String, String)], stages: &[String]) -> BTreeMap<&'static str, Module> {
    let names = [
        "Contacts",
        "Potentials",
        "Accounts",
        "Leads",
        "Campaigns",
        "Services",
        "Invoice",
        "LineItem",
        "Calendar",
        "ModComments",
        "Tax",
    ];
    let module = |name: &'static str| {
        let mut described = result_of(&format!("describe_{name}"));
        // Custom fields depend on the installation; those of the recorded one do not belong to this one.
        if let Some(fields) = described.get_mut("fields").and_then(Value::as_array_mut) {
            fields.retain(|field| !text(field, "name").starts_with("cf_"));
            let stage = fields.iter_mut().find(|field| text(field, "name") == "sales_stage");
            let values = stage.and_then(|field| field.pointer_mut("/type/picklistValues")?.as_array_mut());
            if let Some(values) = values {
                values.extend(stages.iter().map(|stage| json!({ "label": stage, "value": stage })));
            }
            for (_, field, label) in custom.iter().filter(|(module, _, _)| module == name) {
                fields.push(json!({ "name": field, "label": label, "mandatory": false, "type": { "name": "string" },
                    "isunique": false, "nullable": true, "editable": true, "default": "" }));
            }
        }
        let fields = described.get("fields").and_then(Value::as_array).into_iter().flatten().map(field).collect();
        let series = SERIES.iter().find(|(module, _, _)| *module == name).map(|(_, field, begin)| (*field, *begin));
        (name, Module { name, prefix: text(&described, "idPrefix"), fields, series, described })
    };
    names.into_iter().map(module).collect()
}

fn field(value: &Value) -> Field {
    let refers_to = value.pointer("/type/refersTo").and_then(Value::as_array).into_iter().flatten();
    Field {
        name: text(value, "name"),
        kind: value.pointer("/type/name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        mandatory: value.get("mandatory").and_then(Value::as_bool).unwrap_or(false),
        refers_to: refers_to.filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

pub(crate) fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
