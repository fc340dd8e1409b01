//! People who are parted after a manager merged their contacts, and people who are joined and parted in turns: each has a
//! contact of their own with their own deals, closed doubles too.

use std::collections::BTreeSet;

use serde_json::Value;
use stagedoor_model::{Body, ContactChanged, Event, EventId, IdentityDecided, SourceName, Verdict};
use stagedoor_tests::account::{Account, Which};

use crate::{
    partings::{at, contact_with, deals, held, mirror, order, tell},
    restored::hear,
};

crate::promises!(
    who_is_parted_after_a_managers_merge_has_a_contact_and_a_deal_again,
    doubles_and_marks_go_with_whom_they_belong_to_through_joins_and_partings,
    who_parts_from_two_who_were_joined_before_is_put_in_order_once,
);

fn source(name: &str) -> SourceName {
    SourceName::new(name).expect("a name")
}

fn phone(n: u32) -> String {
    format!("phone:+791600000{n:02}")
}

fn email(n: u32) -> String {
    format!("email:m{n}@example.com")
}

async fn buys(account: &Account, n: u32, name: &str) {
    let who = [phone(n), email(n)];
    tell(account, order(&n.to_string(), "moscow", i64::from(n), name, &who.each_ref().map(String::as_str))).await;
}

async fn decide(account: &Account, are_one: bool, (a, b): (u32, u32), second: i64) {
    let pair = [phone(a), phone(b)].map(|text| text.parse().expect("an identifier"));
    let [one, other] = pair;
    let verdict = if are_one { Verdict::SamePerson(one, other) } else { Verdict::DifferentPeople(one, other) };
    let id = EventId::derive(&source("manager"), &["decided", &second.to_string()]);
    let body = Body::IdentityDecided(IdentityDecided { verdict, by: "manager".into() });
    tell(account, Event::new(&source("manager"), id, at(second), body)).await;
    mirror(account).await;
}

/// A manager merges the first contact into the second, and the hub hears of it.
async fn merge(account: &Account, which: Which, (gone, kept): (u64, u64), second: i64) {
    match which {
        Which::Amo => {
            assert!(account.amocrm().merged_by_manager("contacts", gone, kept));
            let told = ContactChanged {
                contact: gone,
                deleted: true,
                name: None,
                identifiers: BTreeSet::new(),
                phones: vec![],
                emails: vec![],
                created_at: at(second),
                hub_id: None,
                changed_at: None,
            };
            let id = EventId::derive(&source("amocrm"), &["gone", &second.to_string()]);
            tell(account, Event::new(&source("amocrm"), id, at(second), Body::ContactChanged(told))).await;
        }
        Which::Vtiger => {
            let (gone, kept) = (format!("12x{gone}"), format!("12x{kept}"));
            assert!(account.vtiger().merged_by_manager(5, &gone, &kept));
            let also = [("homephone", "+79160000001"), ("secondaryemail", "m1@example.com")];
            account.vtiger().by_manager(5, &kept, &also);
            assert_eq!(hear(account, second).await.deleted, 1);
            account.reconcile().await;
        }
    }
    mirror(account).await;
}

async fn who_is_parted_after_a_managers_merge_has_a_contact_and_a_deal_again(which: Which) {
    let account = Account::of(which).await;
    for (n, name) in [(1, "Анна"), (2, "Борис")] {
        buys(&account, n, name).await;
    }
    mirror(&account).await;
    let rows = ["+79160000001", "+79160000002"].map(|phone| contact_with(&account, which, phone));
    let before = ["+79160000001", "+79160000002"].map(|phone| deals(&held(&account, phone).1));
    merge(&account, which, (rows[0], rows[1]), 10).await;
    assert_eq!(account.counts(), (1, 2), "{:?}", account.picture());
    decide(&account, false, (1, 2), 20).await;
    assert_eq!(account.counts(), (2, 2), "{:?}", account.picture());
    let (first, second) = (held(&account, "+79160000001"), held(&account, "+79160000002"));
    assert!(first.0.contains("Анна") && first.0.contains("m1@example.com"), "{first:?}");
    assert!(second.0.contains("Борис") && !second.0.contains("m1@example.com"), "{second:?}");
    assert_eq!([deals(&first.1), deals(&second.1)], before, "{:?}", account.picture());
    assert_eq!(rows.map(|row| deals_on(&account, which, row)), [0, 1], "{:?}", account.picture());
}

async fn doubles_and_marks_go_with_whom_they_belong_to_through_joins_and_partings(which: Which) {
    let account = Account::of(which).await;
    for (n, name) in [(1, "Анна"), (2, "Борис"), (3, "Вера")] {
        buys(&account, n, name).await;
    }
    let numbers = ["+79160000001", "+79160000002", "+79160000003"];
    let [anna, boris, vera] = numbers.map(|phone| contact_with(&account, which, phone));
    let before = deals(&held(&account, numbers[0]).1);
    decide(&account, true, (1, 2), 11).await;
    decide(&account, true, (2, 3), 12).await;
    decide(&account, false, (1, 3), 13).await;
    assert_eq!(deals_on(&account, which, anna), 1, "hers alone: {:?}", account.picture());
    decide(&account, false, (1, 2), 14).await;
    decide(&account, true, (1, 3), 15).await;
    assert_eq!(deals_on(&account, which, boris), 1, "his alone: {:?}", account.picture());
    assert_eq!(deals(&held(&account, numbers[1]).1), before, "{:?}", account.picture());
    assert_eq!(marks(&account, which, vera), [anna], "{:?}", account.picture());
    assert_eq!((marks(&account, which, anna), marks(&account, which, boris)), (vec![], vec![]));
}

/// How many deals hang on a contact.
fn deals_on(account: &Account, which: Which, contact: u64) -> usize {
    match which {
        Which::Amo => {
            let hangs = |lead: &Value| {
                let contacts = lead["_embedded"]["contacts"].as_array().cloned().unwrap_or_default();
                contacts.iter().any(|one| one["id"] == contact)
            };
            account.amocrm().leads().iter().filter(|lead| hangs(lead)).count()
        }
        Which::Vtiger => {
            let deals = account.vtiger().records("Potentials");
            deals.iter().filter(|deal| deal["contact_id"] == format!("12x{contact}")).count()
        }
    }
}

/// The contacts of which a contact is said to be a duplicate.
fn marks(account: &Account, which: Which, contact: u64) -> Vec<u64> {
    match which {
        Which::Amo => {
            let contacts = account.amocrm().contacts();
            let row = contacts.iter().find(|row| row["id"] == contact).expect("a contact");
            let tags = row["_embedded"]["tags"].as_array().cloned().unwrap_or_default();
            let of = |tag: &Value| tag["name"].as_str()?.strip_prefix("duplicate of ")?.parse().ok();
            tags.iter().filter_map(of).collect()
        }
        Which::Vtiger => {
            let mut last = vec![];
            for row in account.vtiger().records("ModComments") {
                if row["related_to"] != format!("12x{contact}") {
                    continue;
                }
                let said = row["commentcontent"].as_str().unwrap_or_default();
                if let Some(rest) = said.strip_prefix("Duplicate of 12x") {
                    last = rest.split(':').next().and_then(|id| id.parse().ok()).into_iter().collect();
                } else if said.starts_with("Two people were parted") {
                    last.clear();
                }
            }
            last
        }
    }
}

async fn who_parts_from_two_who_were_joined_before_is_put_in_order_once(which: Which) {
    // Whoever of them the others are joined into.
    for (one, other, third) in [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)] {
        let account = Account::of(which).await;
        for (n, name) in [(1, "Анна"), (2, "Борис"), (3, "Вера")] {
            buys(&account, n, name).await;
        }
        mirror(&account).await;
        decide(&account, true, (one, other), 10).await;
        decide(&account, true, (other, third), 11).await;
        decide(&account, false, (one, other), 12).await;
        let names = [1, 2, 3].map(|n| phone(n).parse().expect("an identifier"));
        let owners = account.store.resolve(&names.into()).await.expect("read").owners;
        let before = account.crm.health().calls;
        account.store.mark_dirty(owners.into_values().collect()).await.expect("marked");
        account.reconcile().await;
        assert_eq!(account.crm.health().calls, before, "{one} {other} {third}: nothing is left to be written");
    }
}
