//! amoCRM in a world.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use serde_json::{Value, json};
use stagedoor_config::{Config, CrmConfig};
use stagedoor_sandbox::{Fault, HookFault, Robot, Sandbox, Seed, SentHook};

use super::{Row, Sand, dialled};
use crate::{
    account::{Account, Contact, Deal},
    clock::VirtualClock,
};

pub struct AmoCrm {
    sandbox: Sandbox,
    /// The pipeline, its name, and its stages by id, as they were at the beginning.
    pipeline: u64,
    pipeline_name: String,
    stages: BTreeMap<u64, String>,
}

impl AmoCrm {
    pub fn new(config: &Config, crm: &CrmConfig, clock: VirtualClock) -> Self {
        let seed = stagedoor::serve::seed(config, crm);
        let sandbox = Sandbox::new(Seed { clock: clock.of_sandbox(), keeps_hooks: true, ..seed });
        let pipeline_name = config.catalog.pipelines.first().map(|one| one.name.clone()).unwrap_or_default();
        let named = config.catalog.pipelines.iter().flat_map(|one| one.stages.values().map(|name| (&one.name, name)));
        let ids: Vec<((u64, u64), String)> =
            named.filter_map(|(pipeline, name)| Some((sandbox.stage(pipeline, name)?, name.clone()))).collect();
        let pipeline = ids.first().map(|((pipeline, _), _)| *pipeline).unwrap_or_default();
        let stages = ids.into_iter().map(|((_, stage), name)| (stage, name)).collect();
        Self { sandbox, pipeline, pipeline_name, stages }
    }

    fn stage(&self, name: &str) -> Option<(u64, u64)> {
        self.stages.iter().find(|(_, known)| *known == name).map(|(id, _)| (self.pipeline, *id))
    }

    fn phones(&self, contact: u64) -> BTreeSet<String> {
        let all = self.sandbox.contacts();
        let row = all.iter().find(|row| number(row, "id") == contact);
        row.map(|row| values(row, "PHONE").iter().map(|phone| dialled(phone)).collect()).unwrap_or_default()
    }

    fn write_phones(&self, contact: u64, phones: &BTreeSet<String>) {
        let values: Vec<Value> = phones.iter().map(|one| json!({ "value": one, "enum_code": "MOB" })).collect();
        let body = json!({ "custom_fields_values": [{ "field_code": "PHONE", "values": values }] });
        self.sandbox.changed_by_manager("contacts", contact, body);
    }
}

fn entity(row: Row) -> &'static str {
    match row {
        Row::Contact => "contacts",
        Row::Deal => "leads",
        Row::Company => "companies",
    }
}

fn number(row: &Value, key: &str) -> u64 {
    row.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// The values of a row's field, by its code.
fn values(row: &Value, code: &str) -> BTreeSet<String> {
    let fields = row.get("custom_fields_values").and_then(Value::as_array).into_iter().flatten();
    let named = fields.filter(|field| field.get("field_code").and_then(Value::as_str) == Some(code));
    let all = named.flat_map(|field| field.get("values").and_then(Value::as_array).into_iter().flatten());
    all.filter_map(|value| value.get("value")?.as_str().map(str::to_owned)).collect()
}

/// The first number in a row's field, by its code.
fn first_number(row: &Value, code: &str) -> Option<i64> {
    let fields = row.get("custom_fields_values").and_then(Value::as_array)?;
    let named = fields.iter().find(|field| field.get("field_code").and_then(Value::as_str) == Some(code))?;
    named.pointer("/values/0/value").and_then(Value::as_i64)
}

fn tagged(row: &Value, word: &str) -> bool {
    let tags = row.pointer("/_embedded/tags").and_then(Value::as_array).into_iter().flatten();
    tags.filter_map(|tag| tag.get("name")?.as_str()).any(|name| name.starts_with(word))
}

/// The contacts named in duplicate tags, other than the row itself. A merge into the contact copies the tag, too.
fn originals(row: &Value) -> impl Iterator<Item = u64> {
    let tags = row.pointer("/_embedded/tags").and_then(Value::as_array).into_iter().flatten();
    let originals = tags.filter_map(|tag| tag.get("name")?.as_str()?.strip_prefix("duplicate of ")?.parse().ok());
    originals.filter(|of| *of != number(row, "id"))
}

impl Sand for AmoCrm {
    fn name(&self) -> &'static str {
        "amoCRM"
    }

    fn router(&self) -> Router {
        self.sandbox.router()
    }

    fn calls(&self) -> u64 {
        self.sandbox.calls().values().sum()
    }

    fn over_the_rate(&self) -> u32 {
        self.sandbox.over_the_rate()
    }

    fn struck(&self) -> &'static [&'static str] {
        &[
            "POST /api/v4/contacts",
            "POST /api/v4/leads",
            "PATCH /api/v4/leads",
            "PATCH /api/v4/contacts",
            "GET /api/v4/leads",
            "GET /api/v4/contacts",
            "POST /api/v4/contacts/notes",
            "POST /api/v4/tasks",
            "POST /api/v4/leads/link",
            "",
        ]
    }

    fn making(&self) -> [&'static str; 2] {
        ["POST /api/v4/contacts$", "POST /api/v4/leads$"]
    }

    fn set_fault(&self, fault: Fault) {
        self.sandbox.set_fault(fault);
    }

    fn set_down(&self, down: bool) {
        self.sandbox.set_down(down);
    }

    fn set_hook_faults(&self, faults: Vec<HookFault>) {
        self.sandbox.set_hook_faults(faults);
    }

    fn calm(&self) {
        self.sandbox.clear_faults();
        self.sandbox.set_hook_faults(vec![]);
        self.sandbox.release_hooks();
        self.sandbox.set_down(false);
    }

    fn take_hooks(&self) -> Vec<SentHook> {
        self.sandbox.take_hooks()
    }

    fn account(&self) -> Account {
        let (contacts, leads) = (self.sandbox.contacts(), self.sandbox.leads());
        let contacts = contacts.iter().map(|row| Contact {
            id: number(row, "id"),
            phones: values(row, "PHONE").iter().map(|phone| dialled(phone)).collect(),
            emails: values(row, "EMAIL").iter().map(|email| email.to_lowercase()).collect(),
            own: values(row, "STAGEDOOR_ID").into_iter().next().unwrap_or_default(),
            duplicate: originals(row).next().is_some(),
            duplicate_of: originals(row).last(),
            name: row.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
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
                price: price * 100,
                stage: self.stages.get(&number(row, "status_id")).cloned().unwrap_or_default(),
                // A closed duplicate is worth nothing.
                duplicate: price == 0 && orders.iter().any(|text| text.starts_with("duplicate of deal")),
                cancelled: tagged(row, "show cancelled"),
                starts_at: first_number(row, "STAGEDOOR_SHOW_AT"),
            }
        });
        let deals = deals.collect();
        Account { invoices: None, contacts, deals, tells: true, in_roubles: true }
    }

    fn add_phone(&self, contact: u64, phone: &str) -> bool {
        let mut phones = self.phones(contact);
        phones.insert(phone.to_owned());
        self.write_phones(contact, &phones);
        true
    }

    fn remove_phone(&self, contact: u64, phone: &str) {
        let mut phones = self.phones(contact);
        phones.remove(phone);
        self.write_phones(contact, &phones);
    }

    fn add_contact(&self, name: &str, phone: &str) {
        let value = json!({ "value": phone.replace("+7", "8"), "enum_code": "WORK" });
        let field = json!({ "field_code": "PHONE", "values": [value] });
        self.sandbox.add_contacts(&[json!({ "name": name, "custom_fields_values": [field] })]);
    }

    fn move_deal(&self, deal: u64, stage: &str) {
        if let Some(stage) = self.stage(stage) {
            self.sandbox.moved_by_manager(deal, stage);
        }
    }

    fn delete(&self, row: Row, id: u64) {
        self.sandbox.deleted_by_manager(entity(row), id);
    }

    fn restore(&self, row: Row, id: u64) {
        self.sandbox.restored_by_manager(entity(row), id);
    }

    fn merge_contacts(&self, gone: u64, kept: u64) {
        self.sandbox.merged_by_manager("contacts", gone, kept);
    }

    fn rename_stage(&self, stage: &str, to: &str) {
        self.sandbox.rename_stage(&self.pipeline_name, stage, to);
    }

    fn companies(&self) -> Vec<u64> {
        self.sandbox.all_ids("companies")
    }

    fn set_robot(&self, from: &str, to: &str) {
        if let (Some(from), Some(to)) = (self.stage(from), self.stage(to)) {
            self.sandbox.set_robots(vec![Robot { from, to, milliseconds: 700 }]);
        }
    }
}
