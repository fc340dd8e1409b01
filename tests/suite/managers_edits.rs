//! Phones and e-mails that a manager added, corrected, labelled or took away stay so, also when no webhook tells of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stagedoor_engine::{ContactDraft, PersonId};
use stagedoor_model::{
    Body, ContactChanged, Event, EventId, Identifier, Phone, RecordKey, Region, SourceName, Timestamp,
};
use stagedoor_ports::{Crm, Gone, WriteOutcome, Writes};
use stagedoor_sandbox::{Sandbox, Seed};
use stagedoor_tests::{
    account::{Account, Which},
    world::settings,
};

use crate::{
    crashes::order,
    crm_port::{contact, done},
    deletions::meddle,
    stages::{changed, deals},
};

crate::promises!(
    a_managers_phone_stays_beside_a_new_one_without_any_webhook,
    what_stands_there_in_other_signs_is_not_added_again,
    a_value_that_a_manager_took_away_does_not_come_back,
    a_value_that_came_and_went_between_two_runs_does_not_come_back,
    a_managers_phone_stays_though_an_earlier_restore_is_told_after_it,
    a_deal_that_was_deleted_and_restored_is_written_again,
    a_contact_that_was_read_twice_within_a_second_stands_as_it_was_read_last,
);

/// (value, kind) of a contact's phones and e-mails, as they stand there.
fn values(account: &Account, which: Which, id: u64) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match which {
        Which::Amo => {
            let contacts = account.amocrm().contacts();
            let contact = contacts.iter().find(|row| row["id"] == id).cloned().unwrap_or_default();
            let fields = contact["custom_fields_values"].as_array().cloned().unwrap_or_default();
            let multi = fields.into_iter().filter(|field| field["field_type"] == "multitext");
            let all = multi.flat_map(|field| field["values"].as_array().cloned().unwrap_or_default());
            all.map(|value| (text(&value["value"]), text(&value["enum_code"]))).collect()
        }
        Which::Vtiger => {
            let contacts = account.vtiger().records("Contacts");
            let contact = contacts.iter().find(|row| row["id"] == format!("12x{id}")).cloned().unwrap_or_default();
            let places = ["mobile", "phone", "homephone", "otherphone", "email", "secondaryemail"];
            let all = places.into_iter().map(|place| (text(&contact[place]), place.to_owned()));
            all.filter(|(value, _)| !value.is_empty()).collect()
        }
    }
}

/// What a manager makes of a contact's phones, with their kinds; Vtiger's places stand for kinds.
pub fn edit(account: &Account, which: Which, id: u64, phones: &[(&str, &str, &str)]) {
    match which {
        Which::Amo => {
            let values: Vec<Value> =
                phones.iter().map(|(value, kind, _)| json!({ "value": value, "enum_code": kind })).collect();
            let body = json!({ "custom_fields_values": [{ "field_code": "PHONE", "values": values }] });
            assert!(account.amocrm().changed_by_manager("contacts", id, body).status().is_success());
        }
        Which::Vtiger => {
            let mut places = BTreeMap::from([("mobile", ""), ("phone", ""), ("homephone", "")]);
            places.extend(phones.iter().map(|(value, _, place)| (*place, *value)));
            let changes: Vec<(&str, &str)> = places.into_iter().collect();
            account.vtiger().by_manager(5, &format!("12x{id}"), &changes);
        }
    }
}

fn adding(draft: &ContactDraft, phones: &[&str]) -> ContactDraft {
    ContactDraft { name: None, phones: phones.iter().map(|phone| (*phone).to_owned()).collect(), ..draft.clone() }
}

async fn a_managers_phone_stays_beside_a_new_one_without_any_webhook(which: Which) {
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let draft = contact("Анна", "+79161110001");
    let id = done(account.crm.apply(Writes::CreateContacts(std::slice::from_ref(&draft))).await)[0];
    edit(&account, which, id, &[("+79161110001", "MOB", "mobile"), ("+74951234567", "HOME", "homephone")]);
    let before = values(&account, which, id);
    assert_eq!(
        account.crm.apply(Writes::UpdateContacts(&[(id, adding(&draft, &["+79031110002"]))])).await,
        [WriteOutcome::Done(id)]
    );
    let after = values(&account, which, id);
    assert!(before.iter().all(|value| after.contains(value)), "{before:?} became {after:?}");
    assert_eq!(after.len(), 3);
}

async fn what_stands_there_in_other_signs_is_not_added_again(which: Which) {
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let draft = contact("Анна", "+79161110001");
    let id = done(account.crm.apply(Writes::CreateContacts(std::slice::from_ref(&draft))).await)[0];
    edit(&account, which, id, &[("8 (903) 111-00-02", "MOB", "mobile")]);
    let before = values(&account, which, id);
    assert_eq!(
        account.crm.apply(Writes::UpdateContacts(&[(id, adding(&draft, &["+79031110002"]))])).await,
        [WriteOutcome::Done(id)]
    );
    assert_eq!(values(&account, which, id), before);
}

async fn a_contact_that_was_read_twice_within_a_second_stands_as_it_was_read_last(which: Which) {
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let id = done(account.crm.apply(Writes::CreateContacts(&[contact("Анна", "+79161110001")])).await)[0];
    let source = SourceName::new("crm").expect("a name");
    for phone in ["+74957654321", "+74951234567"] {
        edit(&account, which, id, &[("+79161110001", "MOB", "mobile"), (phone, "WORK", "homephone")]);
        account.sync.backfill(&source).await.expect("mirrored");
    }
    assert!(account.sync.handle(vec![order(1, &["phone:+74951234567"])]).await.is_empty());
    account.reconcile().await;
    assert_eq!(account.counts().0, 1, "{:?}", account.picture());
}

/// What the CRM tells of a contact whose phones a manager changed.
pub fn told(which: Which, id: u64, phones: &[&str]) -> Event {
    told_at(which, id, phones, 0)
}

fn told_at(which: Which, id: u64, phones: &[&str], second: i64) -> Event {
    let source = SourceName::new(if which == Which::Amo { "amocrm" } else { "crm" }).expect("a name");
    let now: Timestamp = format!("2030-01-01T00:00:{second:02}Z").parse().expect("a time");
    let region = Region::new("RU").expect("a region");
    let identifiers =
        phones.iter().map(|phone| Identifier::phone(Phone::parse(phone, region).expect("a phone"))).collect();
    let changed = ContactChanged {
        contact: id,
        deleted: false,
        name: Some("Анна".into()),
        identifiers,
        phones: phones.iter().map(|phone| (*phone).to_owned()).collect(),
        emails: vec![],
        created_at: now,
        hub_id: None,
        changed_at: None,
    };
    Event::new(
        &source,
        EventId::derive(&source, &["edited", &id.to_string(), &second.to_string()]),
        now,
        Body::ContactChanged(changed),
    )
}

async fn a_value_that_a_manager_took_away_does_not_come_back(which: Which) {
    let account = Account::of(which).await;
    let fold = async |event: Event| {
        assert!(account.sync.handle(vec![event]).await.is_empty());
        account.reconcile().await;
    };
    fold(order(1, &["phone:+79161110001"])).await;
    let id = contact_id(&account, which);
    // The wrong number is corrected, and the CRM tells so.
    edit(&account, which, id, &[("+79161110009", "MOB", "mobile")]);
    fold(told(which, id, &["+79161110009"])).await;
    assert_eq!(values(&account, which, id).len(), 1);
    // A later order knows the wrong number still, and an e-mail that is new.
    fold(order(2, &["phone:+79161110001", "email:anna@example.com"])).await;
    let after: Vec<String> = values(&account, which, id).into_iter().map(|(value, _)| value).collect();
    assert_eq!(after, ["+79161110009", "anna@example.com"]);
}

/// The hub wrote the phone, died before it could remember that, and hears of its own work and of the manager's at once.
async fn a_value_that_came_and_went_between_two_runs_does_not_come_back(which: Which) {
    let account = Account::of(which).await;
    assert!(account.sync.handle(vec![order(1, &["email:anna@example.com"])]).await.is_empty());
    account.reconcile().await;
    let id = contact_id(&account, which);
    let phone = "+79161110001";
    let events = vec![
        told_at(which, id, &[], 2),
        order(2, &["phone:+79161110001", "email:anna@example.com"]),
        told_at(which, id, &[phone], 1),
    ];
    assert!(account.sync.handle(events).await.is_empty());
    account.reconcile().await;
    let after: Vec<String> = values(&account, which, id).into_iter().map(|(value, _)| value).collect();
    assert_eq!(after, ["anna@example.com"]);
}

/// The word of the restore is late, and bears what stood in the contact before a manager added a phone.
async fn a_managers_phone_stays_though_an_earlier_restore_is_told_after_it(which: Which) {
    let account = Account::of(which).await;
    let fold = async |event: Event| {
        assert!(account.sync.handle(vec![event]).await.is_empty());
        account.reconcile().await;
    };
    fold(order(1, &["phone:+79161110001"])).await;
    let id = contact_id(&account, which);
    edit(&account, which, id, &[("+79161110001", "MOB", "mobile"), ("+74951234567", "WORK", "homephone")]);
    fold(told_at(which, id, &["+79161110001", "+74951234567"], 2)).await;
    let mut restored = told_at(which, id, &["+79161110001"], 5);
    if let Body::ContactChanged(change) = &mut restored.body {
        change.changed_at = Some(told_at(which, id, &[], 1).time);
    }
    fold(restored).await;
    let after: Vec<String> = values(&account, which, id).into_iter().map(|(value, _)| value).collect();
    assert_eq!(after, ["+79161110001", "+74951234567"]);
}

async fn a_deal_that_was_deleted_and_restored_is_written_again(which: Which) {
    let account = Account::of(which).await;
    let fold = async |event: Event| {
        assert!(account.sync.handle(vec![event]).await.is_empty());
        account.reconcile().await;
    };
    fold(order(1, &["phone:+79161110001"])).await;
    let rows = if which == Which::Amo { account.amocrm().leads() } else { account.vtiger().records("Potentials") };
    let id = &rows.first().expect("a deal")["id"];
    let deal = id.as_u64().or_else(|| id.as_str()?.split_once('x')?.1.parse().ok()).expect("an id");
    let deal = Gone::Deal(deal);
    meddle(&account, which, deal, true, 10).await;
    fold(dearer(2, 300_000)).await;
    assert!(!costs(&account, which, "3000"), "nothing is written into what lies in the bin");
    meddle(&account, which, deal, false, 20).await;
    assert!(costs(&account, which, "3000"), "{:?}", account.picture());
    // A second deletion counts as the first did.
    meddle(&account, which, deal, true, 30).await;
    fold(dearer(3, 450_000)).await;
    assert!(!costs(&account, which, "4500"));
}

fn costs(account: &Account, which: Which, price: &str) -> bool {
    deals(account, which).iter().any(|(_, _, own)| own == price)
}

/// Order 1 as a later revision of it costs more: no purchase, only news of one.
fn dearer(revision: i64, minor: i64) -> Event {
    changed(1, revision, &["phone:+79161110001"], |order| (order.paid.minor, order.total.minor) = (minor, minor))
}

fn contact_id(account: &Account, which: Which) -> u64 {
    let rows = if which == Which::Amo { account.amocrm().contacts() } else { account.vtiger().records("Contacts") };
    let id = &rows.first().expect("a contact")["id"];
    id.as_u64().or_else(|| id.as_str()?.split_once('x')?.1.parse().ok()).expect("an id")
}

#[tokio::test]
async fn many_contacts_are_read_by_pages_and_with_the_paid_filters_by_their_ids() {
    for (filters, most) in [(false, 14), (true, 8)] {
        let sandbox = Sandbox::new(Seed { rate: 1_000, filters, ..stagedoor_tests::world::seed() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(sandbox.clone().serve(listener));
        let row = |n: u64| {
            let phone = json!({ "value": format!("+7495{n:07}"), "enum_code": "HOME" });
            json!({ "name": format!("Гость {n}"), "custom_fields_values": [{ "field_code": "PHONE", "values": [phone] }] })
        };
        for chunk in (0..2_000).collect::<Vec<u64>>().chunks(250) {
            sandbox.add_contacts(&chunk.iter().map(|n| row(*n)).collect::<Vec<_>>());
        }
        let token = stagedoor_crm::amocrm::Authorization::LongLived(Seed::default().long_lived);
        let crm = stagedoor_crm::amocrm::AmoCrm::new(settings(&base, 1_000), token).expect("a client");
        stagedoor_ports::Crm::set_up(&crm).await.expect("set up");
        let updates: Vec<(u64, ContactDraft)> = sandbox
            .all_ids("contacts")
            .into_iter()
            .skip(1_100)
            .take(250)
            .map(|id| {
                let person = PersonId::of(&RecordKey(id.to_string()));
                (
                    id,
                    ContactDraft {
                        person,
                        ..adding(&contact("Гость", ""), &[&format!("+7916{:07}", id % 10_000_000)])
                    },
                )
            })
            .collect();
        let before = crm.health().calls;
        done(crm.apply(Writes::UpdateContacts(&updates)).await);
        let calls = crm.health().calls - before;
        assert!(calls <= most, "{calls} calls for 250 contacts");
        let two = |row: &Value| row["custom_fields_values"][0]["values"].as_array().is_some_and(|all| all.len() == 2);
        assert_eq!(sandbox.contacts().iter().filter(|row| two(row)).count(), 250);
        serving.abort();
    }
}
