//! A person has several contacts, and another one starts to count: it shows what the one before it showed.

use stagedoor_model::{Body, Channel, ConsentRecorded, Event, EventId};
use stagedoor_ports::Gone;
use stagedoor_tests::account::{Account, Which};

use crate::{
    crashes::{identifiers, order},
    deletions::meddle,
    hub_ids::rows,
    managers_edits::told,
    partings::duplicates,
    stages::deals,
};

crate::promises!(
    a_contact_that_is_restored_shows_the_consent_of_now,
    a_contact_that_a_manager_made_before_the_hubs_shows_what_the_hub_knows,
    deals_hang_on_the_contact_that_counts_once_it_is_restored,
);

const ANNA: [&str; 2] = ["phone:+79161110001", "email:anna@example.com"];

async fn fold(account: &Account, event: Event) {
    assert!(account.sync.handle(vec![event]).await.is_empty());
    account.reconcile().await;
}

/// Anna allows letters at a second of the orders' clock, or wants none any more.
fn consent(second: i64, given: bool) -> Event {
    let (who, channel) = (identifiers(&ANNA[1..]), Channel::Email);
    let body = if given {
        ConsentRecorded::given(who, channel, "paper")
    } else {
        ConsentRecorded::withdrawn(who.into_iter().next().expect("an address"), channel, "unsubscribe")
    };
    let at = order(second, &[]);
    Event::new(&at.source, EventId::derive(&at.source, &["consent", &second.to_string()]), at.time, {
        Body::ConsentRecorded(body)
    })
}

/// The ids of all contacts, from the first.
fn ids(account: &Account, which: Which) -> Vec<u64> {
    let all = rows(account, which, false);
    let number = |id: &serde_json::Value| id.as_u64().or_else(|| id.as_str()?.split_once('x')?.1.parse().ok());
    let mut ids: Vec<u64> = all.iter().filter_map(|row| number(&row["id"])).collect();
    ids.sort_unstable();
    ids
}

/// A contact with all that it shows.
fn shown(account: &Account, which: Which, id: u64) -> String {
    let name = if which == Which::Amo { format!("\"id\":{id},") } else { format!("\"12x{id}\"") };
    let all = account.contacts();
    all.iter().find(|row| row.contains(&name)).unwrap_or_else(|| panic!("no {id}: {all:?}")).clone()
}

/// Anna's first contact was deleted, and she bought again: the first contact, and the one that took its place.
async fn replaced(which: Which) -> (Account, u64, u64) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    fold(&account, consent(2, true)).await;
    let first = ids(&account, which)[0];
    assert!(shown(&account, which, first).contains("e-mail: yes"), "{:?}", account.contacts());
    meddle(&account, which, Gone::Contact(first), true, 5).await;
    fold(&account, order(8, &ANNA)).await;
    let [second] = ids(&account, which)[..] else { panic!("{:?}", account.contacts()) };
    (account, first, second)
}

async fn a_contact_that_is_restored_shows_the_consent_of_now(which: Which) {
    let (account, first, second) = replaced(which).await;
    fold(&account, consent(9, false)).await;
    assert!(shown(&account, which, second).contains("e-mail: withdrawn"));
    meddle(&account, which, Gone::Contact(first), false, 20).await;
    let counts = shown(&account, which, first);
    assert!(counts.contains("e-mail: withdrawn") && !counts.contains("e-mail: yes"), "{counts}");
    assert_eq!(duplicates(&account, which), 1);
}

async fn a_contact_that_a_manager_made_before_the_hubs_shows_what_the_hub_knows(which: Which) {
    let account = Account::of(which).await;
    let phone = "+79161110001";
    match which {
        Which::Amo => {
            let field =
                serde_json::json!({ "field_code": "PHONE", "values": [{ "value": phone, "enum_code": "MOB" }] });
            account.amocrm().add_contacts(&[serde_json::json!({ "name": "Анна", "custom_fields_values": [field] })]);
        }
        Which::Vtiger => {
            account.vtiger().added_by_manager(5, "Contacts", &[("lastname", "Анна"), ("mobile", phone)]);
        }
    }
    let elder = ids(&account, which)[0];
    fold(&account, order(1, &ANNA[..1])).await;
    let mut allows = consent(2, true);
    if let Body::ConsentRecorded(body) = &mut allows.body {
        (body.identifiers, body.channel) = (identifiers(&ANNA[..1]), Channel::Sms);
    }
    fold(&account, allows).await;
    let [_, own] = ids(&account, which)[..] else { panic!("{:?}", account.contacts()) };
    assert!(shown(&account, which, own).contains("SMS: yes"), "{:?}", account.contacts());
    fold(&account, told(which, elder, &[phone])).await;
    let counts = shown(&account, which, elder);
    assert!(counts.contains("SMS: yes"), "{counts}");
    assert_eq!(duplicates(&account, which), 1);
}

async fn deals_hang_on_the_contact_that_counts_once_it_is_restored(which: Which) {
    let (account, first, _) = replaced(which).await;
    meddle(&account, which, Gone::Contact(first), false, 20).await;
    fold(&account, order(30, &ANNA)).await;
    let deal = deals(&account, which)[0].0;
    assert_eq!(account.owner_of(deal), Some(first), "{:?}", account.picture());
    if which == Which::Vtiger {
        let invoices = account.vtiger().records("Invoice");
        assert!(invoices.len() == 3 && invoices.iter().all(|row| row["contact_id"] == format!("12x{first}")));
    }
}
