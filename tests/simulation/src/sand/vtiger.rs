//! Vtiger in a world. It sends no webhooks, so the hub polls for managers' changes.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use axum::Router;
use jiff::{civil::DateTime, tz::TimeZone};
use serde_json::Value;
use stagedoor_config::{Config, CrmConfig};
use stagedoor_sandbox::{Fault, HookFault, SentHook, VtigerSandbox, VtigerSeed};

use super::{Row, Sand, dialled};
use crate::{
    account::{Account, Contact, Deal, Invoice},
    clock::VirtualClock,
};

/// The user id of the managers.
const MANAGER: u64 = 5;
const PHONES: [&str; 4] = ["mobile", "phone", "homephone", "otherphone"];
const EMAILS: [&str; 2] = ["email", "secondaryemail"];

pub struct Vtiger {
    sandbox: VtigerSandbox,
    /// The time zone of times in the hub's fields.
    zone: TimeZone,
    /// Later names of stages, by their names at the beginning.
    renamed: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Vtiger {
    pub fn new(config: &Config, crm: &CrmConfig, clock: VirtualClock) -> Self {
        let seed = stagedoor::serve::vtiger_seed(config, crm);
        let sandbox = VtigerSandbox::new(VtigerSeed { clock: clock.of_sandbox(), ..seed });
        let zone = config.catalog.zone.clone().unwrap_or(TimeZone::UTC);
        Self { sandbox, zone, renamed: Mutex::default() }
    }

    /// The present name of a stage, by its name at the beginning.
    fn now_named(&self, stage: &str) -> String {
        let renamed = self.renamed.lock().unwrap_or_else(PoisonError::into_inner);
        renamed.get(stage).and_then(|names| names.last()).cloned().unwrap_or_else(|| stage.to_owned())
    }

    fn first_named(&self, stage: String) -> String {
        let renamed = self.renamed.lock().unwrap_or_else(PoisonError::into_inner);
        // A call that began before the last rename may take effect after it.
        renamed.iter().find(|(_, names)| names.contains(&stage)).map_or(stage, |(first, _)| first.clone())
    }

    fn contact(&self, id: u64) -> Option<Value> {
        self.sandbox.records("Contacts").into_iter().find(|row| number(row, "id") == Some(id))
    }

    fn write(&self, row: Row, id: u64, changes: &[(&str, &str)]) {
        self.sandbox.by_manager(MANAGER, &told(row, id), changes);
    }

    fn deal(&self, row: &Value) -> Deal {
        let price = kopecks(&text(row, "amount"));
        let show_at = text(row, "cf_stagedoor_show_at");
        let begins = show_at.strip_suffix(" (cancelled)").unwrap_or(&show_at);
        let begins = begins.parse::<DateTime>().ok().and_then(|at| at.to_zoned_datetime(self.zone.clone()).ok());
        Deal {
            id: number(row, "id").unwrap_or_default(),
            contact: number(row, "contact_id"),
            own: text(row, "cf_stagedoor_id").split('|').next().unwrap_or_default().to_owned(),
            show: text(row, "cf_stagedoor_id").split_once('|').map(|(_, show)| show.to_owned()).unwrap_or_default(),
            price,
            stage: self.first_named(text(row, "sales_stage")),
            // A closed duplicate is worth nothing.
            duplicate: price == 0 && text(row, "cf_stagedoor_orders").starts_with("duplicate of deal"),
            cancelled: show_at.ends_with("(cancelled)"),
            starts_at: begins.map(|at| at.timestamp().as_second()),
        }
    }
}

fn told(row: Row, id: u64) -> String {
    let prefix = match row {
        Row::Contact => 12,
        Row::Deal => 13,
        Row::Company => 11,
    };
    format!("{prefix}x{id}")
}

fn text(row: &Value, field: &str) -> String {
    row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The number of the record that a field refers to.
fn number(row: &Value, field: &str) -> Option<u64> {
    text(row, field).split_once('x').and_then(|(_, number)| number.parse().ok())
}

fn invoice(row: &Value) -> Invoice {
    let key = text(row, "cf_stagedoor_id");
    Invoice {
        id: number(row, "id").unwrap_or_default(),
        order: key.split('/').next().unwrap_or_default().to_owned(),
        contact: number(row, "contact_id"),
        deal: number(row, "potential_id"),
        total: kopecks(&text(row, "hdnGrandTotal")),
        received: kopecks(&text(row, "received")),
        open: kopecks(&text(row, "balance")),
        cancelled: text(row, "invoicestatus") == "Cancel",
    }
}

/// Kopecks from an amount in the CRM, which has up to eight decimals.
fn kopecks(amount: &str) -> i64 {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let hundredths: String = fraction.chars().chain("00".chars()).take(2).collect();
    whole.parse::<i64>().unwrap_or_default() * 100 + hundredths.parse::<i64>().unwrap_or_default()
}

fn values(row: &Value, places: &[&str]) -> impl Iterator<Item = String> {
    places.iter().map(|place| text(row, place)).filter(|value| !value.is_empty()).collect::<Vec<_>>().into_iter()
}

impl Sand for Vtiger {
    fn name(&self) -> &'static str {
        "Vtiger"
    }

    fn router(&self) -> Router {
        self.sandbox.router()
    }

    fn calls(&self) -> u64 {
        self.sandbox.calls().values().sum()
    }

    fn over_the_rate(&self) -> u32 {
        // Vtiger has no rate.
        0
    }

    fn struck(&self) -> &'static [&'static str] {
        &[
            "create Contacts",
            "create Potentials",
            "create ModComments",
            "create Calendar",
            "create Accounts",
            "revise",
            "query",
            "retrieve",
            "login",
            "",
        ]
    }

    fn making(&self) -> [&'static str; 2] {
        ["create Contacts$", "create Potentials$"]
    }

    fn set_fault(&self, fault: Fault) {
        self.sandbox.set_fault(fault);
    }

    fn set_down(&self, down: bool) {
        self.sandbox.set_down(down);
    }

    /// Vtiger has no webhooks; its sessions end instead.
    fn set_hook_faults(&self, _: Vec<HookFault>) {
        self.sandbox.forget_sessions();
    }

    fn calm(&self) {
        self.sandbox.clear_faults();
        self.sandbox.set_down(false);
    }

    fn take_hooks(&self) -> Vec<SentHook> {
        vec![]
    }

    fn account(&self) -> Account {
        let mut comments = self.sandbox.records("ModComments");
        comments.sort_by_key(|row| number(row, "id"));
        // A merge of the duplicate into its contact copies the comment, too.
        let of_itself = |row: &Value| format!("Duplicate of {}:", text(row, "related_to"));
        let mut marked = BTreeMap::<u64, Option<u64>>::new();
        for row in comments.iter().filter(|row| !text(row, "commentcontent").starts_with(&of_itself(row))) {
            // Managers read the last comment.
            match (number(row, "related_to"), text(row, "commentcontent")) {
                (Some(contact), said)
                    if ["Two people were parted", "No duplicate any more"]
                        .iter()
                        .any(|word| said.starts_with(word)) =>
                {
                    _ = marked.remove(&contact)
                }
                (Some(contact), said) => {
                    let of = said.strip_prefix("Duplicate of ").and_then(|rest| rest.split(':').next());
                    if let Some(of) = of {
                        marked.insert(contact, of.split_once('x').and_then(|(_, id)| id.parse().ok()));
                    }
                }
                _ => {}
            }
        }
        let contacts = self.sandbox.records("Contacts").into_iter().filter_map(|row| {
            let id = number(&row, "id")?;
            Some(Contact {
                id,
                phones: values(&row, &PHONES).map(|phone| dialled(&phone)).collect(),
                emails: values(&row, &EMAILS).map(|email| email.to_lowercase()).collect(),
                own: text(&row, "cf_stagedoor_id"),
                duplicate: marked.contains_key(&id),
                duplicate_of: marked.get(&id).copied().flatten(),
                name: format!("{} {}", text(&row, "firstname"), text(&row, "lastname")),
            })
        });
        let deals = self.sandbox.records("Potentials");
        let invoices = self.sandbox.records("Invoice").iter().map(invoice).collect();
        Account {
            contacts: contacts.collect(),
            deals: deals.iter().map(|row| self.deal(row)).collect(),
            invoices: Some(invoices),
            tells: false,
            in_roubles: false,
        }
    }

    fn add_phone(&self, contact: u64, phone: &str) -> bool {
        let Some(row) = self.contact(contact) else { return false };
        let Some(place) = PHONES.iter().find(|place| text(&row, place).is_empty()) else { return false };
        self.write(Row::Contact, contact, &[(place, phone)]);
        true
    }

    fn remove_phone(&self, contact: u64, phone: &str) {
        let Some(row) = self.contact(contact) else { return };
        for place in PHONES.iter().filter(|place| dialled(&text(&row, place)) == phone) {
            self.write(Row::Contact, contact, &[(place, "")]);
        }
    }

    fn add_contact(&self, name: &str, phone: &str) {
        let (first, last) = name.split_once(' ').unwrap_or(("", name));
        let fields = [("firstname", first), ("lastname", last), ("phone", &phone.replace("+7", "8"))];
        self.sandbox.added_by_manager(MANAGER, "Contacts", &fields);
    }

    fn move_deal(&self, deal: u64, stage: &str) {
        self.write(Row::Deal, deal, &[("sales_stage", &self.now_named(stage))]);
    }

    fn delete(&self, row: Row, id: u64) {
        self.sandbox.deleted_by_manager(&told(row, id));
    }

    fn restore(&self, row: Row, id: u64) {
        // Every second row keeps its time of change, as in an older Vtiger.
        self.sandbox.restored_by_manager(MANAGER, &told(row, id), id.is_multiple_of(2));
    }

    fn merge_contacts(&self, gone: u64, kept: u64) {
        self.sandbox.merged_by_manager(MANAGER, &told(Row::Contact, gone), &told(Row::Contact, kept));
    }

    fn rename_stage(&self, stage: &str, to: &str) {
        if self.sandbox.rename_stage(&self.now_named(stage), to) {
            let mut renamed = self.renamed.lock().unwrap_or_else(PoisonError::into_inner);
            renamed.entry(stage.to_owned()).or_default().push(to.to_owned());
        }
    }

    fn companies(&self) -> Vec<u64> {
        self.sandbox.records("Accounts").iter().filter_map(|row| number(row, "id")).collect()
    }

    fn set_robot(&self, from: &str, to: &str) {
        self.sandbox.set_workflows(vec![(self.now_named(from), self.now_named(to))]);
    }
}
