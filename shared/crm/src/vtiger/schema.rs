//! What the installation is: prefixes of ids, fields of the hub, stages. Custom fields are made by an administrator (the
//! webservice makes none), so the hub finds its own by name or by label, and says what is missing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stagedoor_ports::CrmError;

use crate::vtiger::{
    query,
    transport::{Failure, Transport},
};

#[derive(Debug, Clone, Default)]
pub(super) struct Module {
    pub name: &'static str,
    prefix: String,
    fields: BTreeSet<String>,
    /// The hub's own fields: what the hub calls them, to their names here.
    own: BTreeMap<&'static str, String>,
    choices: BTreeMap<String, BTreeSet<String>>,
}

/// The hub's fields: what it calls them, and the label that an administrator gives them.
const OWN: [(&str, &str); 16] = [
    ("id", "Stagedoor ID"),
    ("telegram", "Stagedoor Telegram"),
    ("channels", "Stagedoor channels"),
    ("chat", "Stagedoor chat"),
    ("last_message", "Stagedoor last message"),
    ("consent", "Stagedoor consent"),
    ("letters", "Stagedoor letters"),
    ("segments", "Stagedoor segments"),
    ("city", "Stagedoor city"),
    ("show_at", "Stagedoor show at"),
    ("orders", "Stagedoor orders"),
    ("tickets", "Stagedoor tickets"),
    ("refunded", "Stagedoor refunded"),
    ("promo", "Stagedoor promo codes"),
    ("campaign", "Stagedoor campaign"),
    ("payment", "Stagedoor payment"),
];

#[derive(Debug, Clone)]
pub(super) struct Schema {
    pub contacts: Module,
    pub deals: Module,
    /// Whom new records belong to.
    pub owner: String,
}

impl Module {
    pub fn of(&self, number: u64) -> String {
        format!("{}x{number}", self.prefix)
    }

    pub fn own(&self, what: &str) -> Option<&str> {
        self.own.get(what).map(String::as_str)
    }

    pub fn has(&self, field: &str) -> bool {
        self.fields.contains(field)
    }

    pub fn may_be(&self, field: &str, value: &str) -> bool {
        self.choices.get(field).is_none_or(|choices| choices.contains(value))
    }

    /// The hub's own field without which nothing is found again.
    pub fn key(&self) -> Result<&str, Failure> {
        self.own("id").ok_or_else(|| {
            Failure::Denied(format!(
                "{} has no field \"Stagedoor ID\" (text, 255 characters): make it under Settings, Module Layouts & Fields",
                self.name
            ))
        })
    }
}

pub(super) async fn describe(transport: &Transport, name: &'static str) -> Result<Module, Failure> {
    let answer = match transport.get("describe", &[("elementType", name)]).await {
        Err(Failure::Refused { code, .. }) if code == "ACCESS_DENIED" => {
            return Err(Failure::Denied(format!("the hub's user may not use the module {name}")));
        }
        answer => answer?,
    };
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut module = Module { name, prefix: text(&answer, "idPrefix"), ..Module::default() };
    for field in answer.get("fields").and_then(Value::as_array).into_iter().flatten() {
        let (field_name, label) = (text(field, "name"), text(field, "label"));
        let named = OWN.iter().find(|(what, title)| {
            field_name == format!("cf_stagedoor_{what}") || label.trim().to_lowercase() == title.to_lowercase()
        });
        if let Some((what, _)) = named {
            module.own.insert(what, field_name.clone());
        }
        if let Some(choices) = field.pointer("/type/picklistValues").and_then(Value::as_array) {
            module.choices.insert(field_name.clone(), choices.iter().map(|one| text(one, "value")).collect());
        }
        module.fields.insert(field_name);
    }
    if module.prefix.is_empty() {
        return Err(Failure::Unavailable(format!("describe of {name} names no prefix of ids")));
    }
    Ok(module)
}

impl Schema {
    pub async fn read(transport: &Transport, owner: Option<&str>) -> Result<Self, CrmError> {
        let contacts = describe(transport, "Contacts").await?;
        let deals = describe(transport, "Potentials").await?;
        let missing: Vec<String> = [&contacts, &deals]
            .into_iter()
            .filter_map(|module| match module.key() {
                Err(Failure::Denied(reason)) => Some(reason),
                _ => None,
            })
            .collect();
        if !missing.is_empty() {
            return Err(CrmError::Denied(missing.join("; ")));
        }
        let owner = match owner {
            Some(name) => owner_named(transport, name).await?,
            None => transport.user().await?,
        };
        Ok(Self { contacts, deals, owner })
    }
}

/// A user or a group by its name. A record for an owner that does not exist is answered with a bare sentence instead of
/// JSON, for good (recorded: owner_not_existing), so it is looked up first.
async fn owner_named(transport: &Transport, name: &str) -> Result<String, CrmError> {
    for (module, field) in [("Users", "user_name"), ("Groups", "groupname")] {
        let query = format!("select id,{field} from {module} where {field}={};", query::literal(name));
        let rows = query::page(transport, &query).await?;
        if let Some(id) = rows.first().and_then(query::id) {
            return Ok(id);
        }
    }
    Err(CrmError::Denied(format!("the CRM has no user and no group {name:?}, which crm.owner names")))
}
