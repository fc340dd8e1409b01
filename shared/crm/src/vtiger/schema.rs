//! The layout of the installation: prefixes of ids, the hub's fields, stages. The webservice cannot create custom
//! fields, so an administrator creates them. The hub finds its fields by name or by label, and reports missing ones.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stagedoor_engine::{PersonId, StagePlace};
use stagedoor_ports::{CrmError, WriteOutcome};
use stagedoor_texts::{Text, fields};

use crate::{
    hub_id::misidentified,
    vtiger::{
        normalise::plain,
        query,
        transport::{Failure, Transport},
    },
};

#[derive(Debug, Clone, Default)]
pub(super) struct Module {
    pub name: &'static str,
    prefix: String,
    fields: BTreeSet<String>,
    /// The hub's own fields: the hub's name for each, and its name in the CRM.
    own: BTreeMap<&'static str, String>,
    /// Values of picklists, in their order.
    choices: BTreeMap<String, Vec<String>>,
    /// Stages of the config that have another name in the CRM.
    pub renamed: BTreeMap<String, String>,
    /// Former names of such stages. The picklist no longer has them.
    pub former: BTreeMap<String, String>,
}

/// A field of the hub: module, name and label.
pub type Field = (&'static str, &'static str, fn() -> Text);

/// The custom fields that the hub writes if an administrator has created them: module, name and label. The hub finds a
/// field by its name, or by its label in either language.
pub const FIELDS: [Field; 24] = [
    ("Contacts", "cf_stagedoor_id", fields::vtiger_id),
    ("Contacts", "cf_stagedoor_telegram", fields::vtiger_telegram),
    ("Contacts", "cf_stagedoor_channels", fields::vtiger_channels),
    ("Contacts", "cf_stagedoor_chat", fields::vtiger_chat),
    ("Contacts", "cf_stagedoor_last_message", fields::vtiger_last_message),
    ("Contacts", "cf_stagedoor_consent", fields::vtiger_consent),
    ("Contacts", "cf_stagedoor_letters", fields::vtiger_letters),
    ("Contacts", "cf_stagedoor_segments", fields::vtiger_segments),
    ("Potentials", "cf_stagedoor_id", fields::vtiger_id),
    ("Potentials", "cf_stagedoor_city", fields::vtiger_city),
    ("Potentials", "cf_stagedoor_show_at", fields::vtiger_show_at),
    ("Potentials", "cf_stagedoor_orders", fields::vtiger_orders),
    ("Potentials", "cf_stagedoor_tickets", fields::vtiger_tickets),
    ("Potentials", "cf_stagedoor_refunded", fields::vtiger_refunded),
    ("Potentials", "cf_stagedoor_promo", fields::vtiger_promo),
    ("Potentials", "cf_stagedoor_campaign", fields::vtiger_campaign),
    ("Potentials", "cf_stagedoor_payment", fields::vtiger_payment),
    ("Potentials", "cf_stagedoor_paid", fields::vtiger_paid),
    ("Potentials", "cf_stagedoor_due", fields::vtiger_due),
    ("Accounts", "cf_stagedoor_id", fields::vtiger_id),
    ("Accounts", "cf_stagedoor_inn", fields::vtiger_inn),
    ("Accounts", "cf_stagedoor_kpp", fields::vtiger_kpp),
    ("Invoice", "cf_stagedoor_id", fields::vtiger_id),
    ("Invoice", "cf_stagedoor_payments", fields::vtiger_payments),
];

/// The hub's name of one of its own fields, without the module.
fn own_name(module: &str, name: &str, label: &str) -> Option<&'static str> {
    let label = label.trim().to_lowercase();
    let is = |known: &&Field| {
        let is_label = || known.2().to_all().iter().any(|(_, own)| own.to_lowercase() == label);
        known.0 == module && (known.1 == name || is_label())
    };
    FIELDS.iter().find(is).and_then(|known| known.1.strip_prefix("cf_stagedoor_"))
}

/// The field of a deal that holds its stage.
pub(super) const STAGE: &str = "sales_stage";

#[derive(Debug, Clone)]
pub(super) struct Schema {
    pub contacts: Module,
    pub deals: Module,
    /// Organisations. They are read if the config mentions them.
    pub accounts: Module,
    pub invoices: Option<Invoices>,
    /// Id of the user or group that owns new records.
    pub owner: String,
}

/// What the hub needs to write invoices.
#[derive(Debug, Clone)]
pub(super) struct Invoices {
    pub module: Module,
    pub comments: Module,
    /// Id of the service of every line. Each line of an invoice must have one.
    pub service: String,
    /// Ids of currencies, by ISO 4217 code.
    pub currencies: BTreeMap<String, String>,
}

impl Module {
    /// The CRM's id of a record with this number, such as `12x34`.
    pub fn of(&self, number: u64) -> String {
        format!("{}x{number}", self.prefix)
    }

    /// The name of one of the hub's own fields in the CRM. `None` if the module does not have it.
    pub fn own(&self, what: &str) -> Option<&str> {
        self.own.get(what).map(String::as_str)
    }

    pub fn has(&self, field: &str) -> bool {
        self.fields.contains(field)
    }

    /// The values of the picklist of stages, in its order.
    pub fn stages(&self) -> &[String] {
        self.choices.get(STAGE).map_or(&[], Vec::as_slice)
    }

    /// The name of a config stage in the CRM, or `None` if the stage is missing.
    pub fn stage_value<'m>(&'m self, name: &'m str) -> Option<&'m str> {
        let value = self.renamed.get(name).map_or(name, String::as_str);
        let known = self.choices.get(STAGE).is_none_or(|choices| choices.iter().any(|one| one == value));
        known.then_some(value)
    }

    pub fn has_stage(&self, value: &str) -> bool {
        self.choices.get(STAGE).is_some_and(|choices| choices.iter().any(|one| one == value))
    }

    /// The config's name for a value of the picklist.
    pub fn stage_name(&self, value: &str) -> String {
        let renamed = self.renamed.iter().find(|(_, now)| *now == value).map(|(name, _)| name);
        renamed.or_else(|| self.former_stage(value)).map_or(value, String::as_str).to_owned()
    }

    /// The config stage that once had this name. A value that somebody has added under this name since is another
    /// stage.
    fn former_stage(&self, value: &str) -> Option<&String> {
        self.former.get(value).filter(|_| !self.has_stage(value))
    }

    /// The place of a stage among the values of the picklist.
    pub fn stage(&self, name: &str) -> Option<StagePlace> {
        let name = self.former_stage(name).map_or(name, String::as_str);
        let name = self.stage_value(name)?;
        let index = self.stages().iter().position(|one| one == name)?;
        let (stage, position) = (u64::try_from(index).ok()?, i64::try_from(index).ok()?);
        Some(StagePlace { pipeline: 0, stage, position, won: name == "Closed Won", lost: name == "Closed Lost" })
    }

    /// The outcome for a record that carries the hub's id of another person.
    pub fn foreign(&self, held: &Value, person: PersonId, other_ids: &BTreeSet<PersonId>) -> Option<WriteOutcome> {
        misidentified(&self.hub_id(held)?, person, other_ids)
    }

    /// The hub's id in a record.
    pub fn hub_id(&self, held: &Value) -> Option<String> {
        held.get(self.own("id")?).map(plain).filter(|text| !text.is_empty())
    }

    /// The name of the field that holds the hub's id. Without it the hub cannot find its records.
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
        if let Some(what) = own_name(name, &field_name, &label) {
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
    pub async fn read(transport: &Transport, owner: Option<&str>, service: Option<&str>) -> Result<Self, CrmError> {
        let contacts = describe(transport, "Contacts").await?;
        let deals = describe(transport, "Potentials").await?;
        let accounts = describe(transport, "Accounts").await?;
        let missing: Vec<String> = [&contacts, &deals]
            .into_iter()
            .filter_map(|module| match module.key() {
                Err(Failure::Denied(reason)) => Some(reason),
                _ => None,
            })
            .collect();
        if !missing.is_empty() {
            return Err(CrmError::CredentialsRejected(missing.join("; ")));
        }
        let owner = match owner {
            Some(name) => owner_named(transport, name).await?,
            None => transport.user().await?,
        };
        let invoices = match service {
            Some(service) => Some(Invoices::read(transport, service, &owner).await?),
            None => None,
        };
        Ok(Self { contacts, deals, accounts, invoices, owner })
    }
}

impl Invoices {
    async fn read(transport: &Transport, service: &str, owner: &str) -> Result<Self, CrmError> {
        let module = describe(transport, "Invoice").await?;
        let comments = describe(transport, "ModComments").await?;
        let query =
            format!("select id from Services where servicename={} order by id limit 0,1;", query::literal(service));
        let known = query::page(transport, &query).await?.first().and_then(query::id);
        let service = match known {
            Some(id) => id,
            None => {
                let element = json!({ "servicename": service, "assigned_user_id": owner }).to_string();
                let made = transport.post("create", &[("elementType", "Services"), ("element", &element)]).await?;
                query::id(&made).ok_or_else(|| CrmError::Unavailable("a service without an id".into()))?
            }
        };
        let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let rows = query::page(transport, "select * from Currency;").await?;
        let currencies = rows.iter().map(|row| (text(row, "currency_code"), text(row, "id"))).collect();
        Ok(Self { module, comments, service, currencies })
    }
}

/// The id of a user or a group by its name. For an owner that does not exist, the CRM always answers with a bare
/// sentence instead of JSON (recorded: owner_not_existing). So the owner is looked up first.
async fn owner_named(transport: &Transport, name: &str) -> Result<String, CrmError> {
    for (module, field) in [("Users", "user_name"), ("Groups", "groupname")] {
        let query = format!("select id,{field} from {module} where {field}={};", query::literal(name));
        let rows = query::page(transport, &query).await?;
        if let Some(id) = rows.first().and_then(query::id) {
            return Ok(id);
        }
    }
    Err(CrmError::CredentialsRejected(format!("the CRM has no user and no group {name:?}, which crm.owner names")))
}
