//! The hub's own id in a row of the CRM says whose row it is, also when a manager copied it or it stands in the wrong row.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stagedoor_engine::PersonId;
use stagedoor_model::{
    Body, ContactChanged, Event, EventId, Identifier, LeadChanged, Phone, Region, SourceName, Timestamp,
};
use stagedoor_ports::Gone;
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_tests::account::{Account, Which};

use crate::{
    crashes::order,
    mailings::{Stage, noon},
    stages::changed,
};

crate::promises!(
    a_copy_of_a_contact_ends_as_its_duplicate,
    a_new_buyer_costs_three_saves_of_what_the_crm_holds,
    a_copy_of_a_deal_ends_as_its_double,
    a_deal_that_was_deleted_before_the_hub_knew_it_is_a_double_once_it_is_restored,
    a_copy_that_became_another_persons_contact_stays_theirs,
    a_copy_that_holds_all_that_its_new_person_has_bears_their_id,
    nobody_waits_for_a_deleted_double_that_is_somebody_elses_deal,
    what_a_manager_added_stays_in_a_contact_that_was_deleted_and_restored,
    a_row_with_the_id_of_somebody_else_is_not_overwritten,
    a_contact_of_joined_people_is_marked_though_the_first_try_failed,
    a_deal_that_another_took_over_keeps_no_payment,
    a_hub_that_lost_its_store_makes_no_row_a_second_time,
);

const ANNA: &str = "phone:+79161110001";

async fn fold(account: &Account, n: i64, names: &[&str]) {
    assert!(account.sync.handle(vec![order(n, names)]).await.is_empty());
}

fn source(which: Which) -> SourceName {
    SourceName::new(if which == Which::Amo { "amocrm" } else { "crm" }).expect("a name")
}

/// All rows of a kind, as they stand there.
pub fn rows(account: &Account, which: Which, deals: bool) -> Vec<Value> {
    match (which, deals) {
        (Which::Amo, false) => account.amocrm().contacts(),
        (Which::Amo, true) => account.amocrm().leads(),
        (Which::Vtiger, false) => account.vtiger().records("Contacts"),
        (Which::Vtiger, true) => account.vtiger().records("Potentials"),
    }
}

fn copy(account: &Account, which: Which, deals: bool, row: &Value) -> Value {
    match which {
        Which::Amo => {
            let entity = if deals { "leads" } else { "contacts" };
            account.amocrm().copied_by_manager(entity, row["id"].as_u64().expect("an id")).expect("a copy").into()
        }
        Which::Vtiger => {
            account.vtiger().copied_by_manager(5, row["id"].as_str().expect("an id")).expect("a copy").into()
        }
    }
}

/// A manager writes a text into a field of a contact, by its code at amoCRM and by its name at Vtiger.
fn edit(account: &Account, which: Which, contact: &Value, (code, name): (&str, &str), text: &str) {
    match which {
        Which::Amo => {
            let kind = if code == "PHONE" { json!("MOB") } else { Value::Null };
            let fields = contact["custom_fields_values"].as_array().expect("fields");
            let field = fields.iter().find(|field| field["field_code"] == code).expect("the field");
            let value =
                if kind.is_null() { json!({ "value": text }) } else { json!({ "value": text, "enum_code": kind }) };
            let body = json!({ "custom_fields_values": [{ "field_id": field["field_id"], "values": [value] }] });
            let id = contact["id"].as_u64().expect("an id");
            assert!(account.amocrm().changed_by_manager("contacts", id, body).status().is_success());
        }
        Which::Vtiger => account.vtiger().by_manager(5, contact["id"].as_str().expect("an id"), &[(name, text)]),
    }
}

fn number(id: &Value) -> u64 {
    id.as_u64().or_else(|| id.as_str()?.split_once('x')?.1.parse().ok()).expect("an id")
}

/// A manager deletes a contact, and the hub is told.
async fn delete(account: &Account, which: Which, row: &Value) {
    account.delete(Gone::Contact(number(row)));
    tell_of_deletion(account, which, number(row)).await;
}

async fn tell_of_deletion(account: &Account, which: Which, contact: u64) {
    let now: Timestamp = "2030-01-01T00:00:00Z".parse().expect("a time");
    assert!(account.sync.handle(vec![deletion(&source(which), contact, now)]).await.is_empty());
}

/// What a CRM tells of a contact that a manager deleted.
pub(crate) fn deletion(source: &SourceName, contact: u64, at: Timestamp) -> Event {
    let change = ContactChanged {
        contact,
        deleted: true,
        name: None,
        identifiers: BTreeSet::new(),
        phones: vec![],
        emails: vec![],
        created_at: at,
        hub_id: None,
        changed_at: None,
    };
    Event::new(source, EventId::derive(source, &["deleted", &at.to_string()]), at, Body::ContactChanged(change))
}

/// What stands in a row, in any field.
fn bears(row: &Value, text: &str) -> bool {
    row.to_string().contains(text)
}

fn by_id<'r>(rows: &'r [Value], id: &Value) -> &'r Value {
    rows.iter().find(|row| row["id"] == *id).expect("the row")
}

async fn person(account: &Account, phone: &str) -> PersonId {
    let phone = Phone::parse(phone, Region::new("RU").expect("a region")).expect("a phone");
    let name = Identifier::phone(phone);
    account.store.resolve(&[name.clone()].into()).await.expect("read").owners[&name]
}

/// What the CRM has is walked, and what follows from it is written.
async fn seen(account: &Account, which: Which) {
    account.sync.backfill(&source(which)).await.expect("mirrored");
    account.reconcile().await;
}

/// Each save costs a write at AWS. The contact's answer is saved with the pending mark of the deal that follows.
async fn a_new_buyer_costs_three_saves_of_what_the_crm_holds(which: Which) {
    let account = Account::of(which).await;
    fold(&account, 1, &[ANNA]).await;
    account.reconcile().await;
    let anna = person(&account, "+79161110001").await;
    let links = account.store.crm_states(&[anna].into()).await.expect("read");
    let invoices = if which == Which::Vtiger { 2 } else { 0 };
    assert_eq!(links[&anna].revision, 3 + invoices, "a mark, a mark with the contact's answer, the deal's answer");
}

async fn a_copy_of_a_contact_ends_as_its_duplicate(which: Which) {
    let account = Account::of(which).await;
    fold(&account, 1, &[ANNA]).await;
    account.reconcile().await;
    let first = rows(&account, which, false)[0].clone();
    let copied = copy(&account, which, false, &first);
    // In the copy the phone is gone: only the hub's id tells whose it is.
    let contacts = rows(&account, which, false);
    edit(&account, which, by_id(&contacts, &copied), ("PHONE", "mobile"), if which == Which::Amo { "-" } else { "" });
    seen(&account, which).await;
    fold(&account, 2, &[ANNA]).await;
    account.reconcile().await;
    let contacts = rows(&account, which, false);
    assert_eq!(contacts.len(), 2);
    match which {
        Which::Amo => assert!(bears(by_id(&contacts, &copied), "duplicate of"), "{contacts:?}"),
        Which::Vtiger => {
            let comments = account.vtiger().records("ModComments");
            let told = comments.iter().find(|row| row["related_to"] == copied).expect("a comment");
            assert!(bears(told, "Duplicate of"), "{told}");
        }
    }
    assert_eq!(account.store.totals().await.expect("totals").people, 1);
}

async fn a_contact_of_joined_people_is_marked_though_the_first_try_failed(which: Which) {
    const MAIL: &str = "email:anna@example.com";
    // The elder's contact is the older one here, and the younger one there.
    for (names, numbers) in [([ANNA, MAIL], [1, 2]), ([MAIL, ANNA], [1, 2]), ([ANNA, MAIL], [2, 1])] {
        let account = Account::of(which).await;
        for (n, name) in numbers.into_iter().zip(names) {
            fold(&account, n, &[name]).await;
            account.reconcile().await;
        }
        let failing = if which == Which::Amo { "POST /api/v4/leads/link" } else { "create ModComments" };
        account.fault(Fault::once(FaultKind::TooSlow, failing));
        fold(&account, 3, &names).await;
        account.reconcile().await;
        let contacts = rows(&account, which, false);
        let marks = match which {
            Which::Amo => contacts.iter().filter(|row| bears(row, "duplicate of")).count(),
            Which::Vtiger => {
                let comments = account.vtiger().records("ModComments");
                comments.iter().filter(|row| bears(row, "Duplicate of")).count()
            }
        };
        assert_eq!((contacts.len(), marks), (2, 1), "{names:?} {numbers:?}");
    }
}

async fn a_copy_of_a_deal_ends_as_its_double(which: Which) {
    let account = Account::of(which).await;
    fold(&account, 1, &[ANNA]).await;
    account.reconcile().await;
    let first = rows(&account, which, true)[0].clone();
    let copied = copy(&account, which, true, &first);
    seen(&account, which).await;
    let deals = rows(&account, which, true);
    assert_eq!(deals.len(), 2);
    let double = by_id(&deals, &copied);
    assert!(bears(double, "duplicate of deal"), "{double}");
    let price = |row: &Value| {
        let price = if which == Which::Amo { &row["price"] } else { &row["amount"] };
        price.as_f64().or_else(|| price.as_str()?.parse().ok()).expect("a price")
    };
    assert_eq!((price(by_id(&deals, &first["id"])), price(double)), (1_500.0, 0.0));
    // Seen again, it is nothing new.
    seen(&account, which).await;
    assert_eq!(rows(&account, which, true).len(), 2);
}

async fn a_deal_that_was_deleted_before_the_hub_knew_it_is_a_double_once_it_is_restored(which: Which) {
    let account = Account::of(which).await;
    fold(&account, 1, &[ANNA]).await;
    account.reconcile().await;
    let first = rows(&account, which, true)[0].clone();
    let copied = copy(&account, which, true, &first);
    let lead = number(&copied);
    let hub_id = format!("{}|shop/show-1", person(&account, "+79161110001").await);
    for (n, deleted, hub_id) in [(1, true, None), (2, false, Some(hub_id))] {
        let now: Timestamp = format!("2030-01-01T00:00:0{n}Z").parse().expect("a time");
        let change =
            LeadChanged { lead, deleted, pipeline: None, status: None, moved_by: Some(0), hub_id, changed_at: None };
        let source = source(which);
        let id = EventId::derive(&source, &[&now.to_string()]);
        let event = Event::new(&source, id, now, Body::LeadChanged(change));
        assert!(account.sync.handle(vec![event]).await.is_empty());
        account.reconcile().await;
    }
    let deals = rows(&account, which, true);
    assert!(bears(by_id(&deals, &copied), "duplicate of deal"), "{deals:?}");
}

async fn what_a_manager_added_stays_in_a_contact_that_was_deleted_and_restored(which: Which) {
    let account = Account::of(which).await;
    fold(&account, 1, &[ANNA, "email:anna@example.com"]).await;
    account.reconcile().await;
    let contact = rows(&account, which, false)[0].clone();
    edit(&account, which, &contact, ("EMAIL", "email"), "added@example.com");
    seen(&account, which).await;
    // The manager restored the contact at once. The hub got the webhook of the deletion only.
    tell_of_deletion(&account, which, number(&contact["id"])).await;
    account.reconcile().await;
    let contact = rows(&account, which, false)[0].clone();
    assert!(bears(&contact, "added@example.com"), "{contact}");
}

async fn nobody_waits_for_a_deleted_double_that_is_somebody_elses_deal(which: Which) {
    const BORIS: &str = "phone:+79161110002";
    let account = Account::of(which).await;
    fold(&account, 1, &[ANNA]).await;
    fold(&account, 2, &[BORIS]).await;
    account.reconcile().await;
    let (anna, boris) = (person(&account, "+79161110001").await, person(&account, "+79161110002").await);
    let links = account.store.crm_states(&[anna, boris].into()).await.expect("read");
    let theirs = links[&boris].deals.values().find_map(|deal| deal.id).expect("a deal");
    // As after a parting of the two.
    let mut link = links[&anna].clone();
    link.deals.values_mut().for_each(|deal| _ = deal.doubles.insert(theirs));
    account.store.save_crm_states(vec![(anna, link)]).await.expect("saved");
    account.delete(Gone::Deal(theirs));
    fold(&account, 3, &[ANNA]).await;
    account.reconcile().await;
    let links = account.store.crm_states(&[anna].into()).await.expect("read");
    assert!(links[&anna].deals.values().all(|deal| deal.doubles.is_empty()));
}

/// Anna's contact, and a copy of it with another phone. Returns both ids.
async fn with_a_copy_for_boris(which: Which) -> (Account, Value, Value) {
    let account = Account::of(which).await;
    fold(&account, 1, &[ANNA]).await;
    account.reconcile().await;
    let first = rows(&account, which, false)[0].clone();
    let copied = copy(&account, which, false, &first);
    let contacts = rows(&account, which, false);
    edit(&account, which, by_id(&contacts, &copied), ("PHONE", "mobile"), "+79162220002");
    seen(&account, which).await;
    (account, first["id"].clone(), copied)
}

async fn a_copy_that_became_another_persons_contact_stays_theirs(which: Which) {
    let (account, first, copied) = with_a_copy_for_boris(which).await;
    fold(&account, 2, &["phone:+79162220002", "email:boris@example.com"]).await;
    account.reconcile().await;
    let contacts = rows(&account, which, false);
    assert_eq!(contacts.len(), 2, "the copy is the contact of the second person");
    assert!(bears(by_id(&contacts, &copied), "boris@example.com"));
    assert!(!bears(by_id(&contacts, &first), "boris@example.com"));
    let boris = person(&account, "+79162220002").await;
    assert_ne!(boris, person(&account, "+79161110001").await);
    assert!(bears(by_id(&contacts, &copied), &boris.to_string()), "and bears their id from now on");
}

async fn a_copy_that_holds_all_that_its_new_person_has_bears_their_id(which: Which) {
    let (account, first, copied) = with_a_copy_for_boris(which).await;
    fold(&account, 2, &["phone:+79162220002"]).await;
    account.reconcile().await;
    let (contacts, boris) = (rows(&account, which, false), person(&account, "+79162220002").await);
    assert_eq!(contacts.len(), 2, "the copy is the contact of the second person");
    assert!(bears(by_id(&contacts, &copied), &boris.to_string()), "{contacts:?}");
    assert!(!bears(by_id(&contacts, &first), &boris.to_string()), "{contacts:?}");
}

/// What the fields of a deal say of its money and promo codes.
pub fn money_of(row: &Value, which: Which) -> Vec<String> {
    let of = |code: &str, name: &str| match which {
        Which::Amo => {
            let fields = row["custom_fields_values"].as_array().cloned().unwrap_or_default();
            let field = fields.iter().find(|field| field["field_code"] == code);
            field.and_then(|field| field["values"][0]["value"].as_str()).unwrap_or_default().to_owned()
        }
        Which::Vtiger => row[name].as_str().unwrap_or_default().to_owned(),
    };
    vec![of("STAGEDOOR_PAYMENT", "cf_stagedoor_payment"), of("STAGEDOOR_PROMO", "cf_stagedoor_promo")]
}

/// Order 1 of Anna with a promo code, as a later revision names its buyer.
fn with_code(revision: i64, names: &[&str]) -> Event {
    changed(1, revision, names, |order| order.promo_codes.push("SPRING".into()))
}

async fn a_deal_that_another_took_over_keeps_no_payment(which: Which) {
    const BORIS: &str = "phone:+79162220002";
    // Two who are joined have two deals of one show: one is closed as the other's double.
    let account = Account::of(which).await;
    assert!(account.sync.handle(vec![order(2, &[ANNA])]).await.is_empty());
    account.reconcile().await;
    assert!(account.sync.handle(vec![with_code(3, &[BORIS])]).await.is_empty());
    account.reconcile().await;
    fold(&account, 4, &[ANNA, BORIS]).await;
    account.reconcile().await;
    let deals = rows(&account, which, true);
    let double = deals.iter().find(|row| bears(row, "duplicate of deal")).expect("a double");
    assert_eq!(money_of(double, which), ["", ""], "{double}");
    let other = deals.iter().find(|row| !bears(row, "duplicate of deal")).expect("the one that counts");
    assert_eq!(money_of(other, which), ["paid", "SPRING"]);
    // An order that is handed on leaves an empty deal.
    let account = Account::of(which).await;
    assert!(account.sync.handle(vec![with_code(1, &[ANNA])]).await.is_empty());
    account.reconcile().await;
    assert_eq!(money_of(&rows(&account, which, true)[0], which), ["paid", "SPRING"]);
    assert!(account.sync.handle(vec![with_code(5, &[BORIS])]).await.is_empty());
    account.reconcile().await;
    let deals = rows(&account, which, true);
    let mut all: Vec<Vec<String>> = deals.iter().map(|row| money_of(row, which)).collect();
    all.sort();
    assert_eq!(all, [["", ""], ["paid", "SPRING"]], "{deals:?}");
}

async fn a_row_with_the_id_of_somebody_else_is_not_overwritten(which: Which) {
    let account = Account::of(which).await;
    fold(&account, 1, &[ANNA]).await;
    account.reconcile().await;
    let first = rows(&account, which, false)[0].clone();
    fold(&account, 2, &["phone:+79163330003"]).await;
    account.reconcile().await;
    let vera = person(&account, "+79163330003").await;
    let contacts = rows(&account, which, false);
    let second = contacts.iter().find(|row| bears(row, "+79163330003")).expect("a contact")["id"].clone();
    // As after a merge or a restored backup: the second contact is gone, and its id stands in the first.
    delete(&account, which, &second).await;
    edit(&account, which, &first, ("STAGEDOOR_ID", "cf_stagedoor_id"), &vera.to_string());
    fold(&account, 3, &[ANNA, "email:anna@example.com"]).await;
    account.reconcile().await;
    let contacts = rows(&account, which, false);
    let taken = by_id(&contacts, &first["id"]);
    assert!(bears(taken, &vera.to_string()) && !bears(taken, "anna@example.com"), "{taken}");
    let anna = person(&account, "+79161110001").await;
    let own: Vec<&Value> = contacts.iter().filter(|row| bears(row, &anna.to_string())).collect();
    assert_eq!(own.len(), 1, "{contacts:?}");
    assert!(bears(own[0], "anna@example.com"));
}

#[tokio::test]
async fn a_row_that_a_manager_copies_is_found_by_its_webhook() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.on(60).await;
    let sandbox = stage.hub.sandbox.clone();
    let id = |rows: Vec<Value>| rows[0]["id"].as_u64().expect("an id");
    let deal = sandbox.copied_by_manager("leads", id(sandbox.leads())).expect("a copy");
    let contact = sandbox.copied_by_manager("contacts", id(sandbox.contacts())).expect("a copy");
    for _ in 0..100 {
        let (deals, contacts) = (sandbox.leads(), sandbox.contacts());
        if bears(by_id(&deals, &deal.into()), "duplicate of deal")
            && bears(by_id(&contacts, &contact.into()), "duplicate of")
        {
            return;
        }
        stage.on(10).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{:?} {:?}", sandbox.leads(), sandbox.contacts());
}

async fn a_hub_that_lost_its_store_makes_no_row_a_second_time(which: Which) {
    let mut account = Account::of(which).await;
    fold(&account, 1, &[ANNA]).await;
    account.reconcile().await;
    let before = account.counts();
    account.lose_the_store(which);
    seen(&account, which).await;
    fold(&account, 1, &[ANNA]).await;
    account.reconcile().await;
    assert_eq!(account.counts(), before, "{:?}", account.picture());
}
