//! A CRM that is restored from an older copy, or set up anew, gives its ids again: no two people become one by that.

use stagedoor_ports::Writes;
use std::collections::BTreeSet;

use stagedoor_engine::{ContactDraft, PersonId};
use stagedoor_model::{Body, ContactChanged, Event, EventId, Identifier, SourceName, Timestamp};
use stagedoor_tests::account::{Account, Which};

use crate::{
    crashes::{identifiers, order},
    crm_port::{contact, done},
};

crate::promises!(
    a_webhook_of_an_id_that_is_given_again_welds_no_strangers,
    a_managers_contact_under_an_id_that_is_given_again_welds_no_strangers,
    a_contact_that_a_manager_rewrites_stays_theirs,
    a_buyer_who_was_made_from_a_contact_stays_themselves_when_its_id_is_given_again,
);

async fn owner(account: &Account, name: &str) -> Option<PersonId> {
    let name: Identifier = name.parse().expect("an identifier");
    account.store.resolve(&BTreeSet::from([name.clone()])).await.expect("resolved").owners.remove(&name)
}

/// What the CRM tells of a contact that was made at `made`.
fn told(which: Which, id: u64, names: &[&str], made: &str, hub_id: Option<PersonId>, what: &str) -> Event {
    let source = SourceName::new(if which == Which::Amo { "amocrm" } else { "crm" }).expect("a name");
    let at: Timestamp = "2030-01-01T00:00:00Z".parse().expect("a time");
    let changed = ContactChanged {
        contact: id,
        deleted: false,
        name: None,
        identifiers: identifiers(names),
        phones: vec![],
        emails: vec![],
        created_at: made.parse().expect("a time"),
        hub_id: hub_id.map(|id| id.to_string()),
        changed_at: None,
    };
    let id = EventId::derive(&source, &["told", &id.to_string(), what]);
    Event::new(&source, id, at, Body::ContactChanged(changed)).received_by(at)
}

const BEFORE: &str = "2029-01-01T00:00:00Z";
const AFTER: &str = "2029-06-01T00:00:00Z";

/// Buyers of a CRM whose contacts were told of, and the same hub with a CRM that is empty again. All contacts are made by one
/// call, so that the next such call gives the same ids.
async fn emptied(which: Which, buyers: &[&str]) -> (Account, BTreeSet<u64>) {
    let account = Account::of(which).await;
    let orders = (1..).zip(buyers).map(|(n, buyer)| order(n, &[buyer])).collect();
    assert!(account.sync.handle(orders).await.is_empty());
    account.reconcile().await;
    let mut ids = BTreeSet::new();
    for buyer in buyers {
        let person = owner(&account, buyer).await.expect("a buyer");
        let links = account.store.crm_states(&BTreeSet::from([person])).await.expect("links");
        let id = links[&person].contact.id.expect("a contact");
        let event = told(which, id, &[buyer], BEFORE, Some(person), "first");
        assert!(account.sync.handle(vec![event]).await.is_empty());
        ids.insert(id);
    }
    account.reconcile().await;
    (account.emptied(which).await, ids)
}

async fn a_webhook_of_an_id_that_is_given_again_welds_no_strangers(which: Which) {
    let before = ["email:a0@example.org", "email:a1@example.org", "email:a2@example.org"];
    let after = ["email:b0@example.org", "email:b1@example.org", "email:b2@example.org"];
    let (account, ids) = emptied(which, &before).await;
    account.crm.set_up().await.expect("set up");
    let orders = (11..).zip(after).map(|(n, buyer)| order(n, &[buyer])).collect();
    assert!(account.sync.handle(orders).await.is_empty());
    // The hub makes the rows, and their webhooks are faster than its claim.
    let mut drafts = Vec::new();
    for buyer in after {
        let person = owner(&account, buyer).await.expect("a buyer");
        let email = buyer.trim_start_matches("email:").to_owned();
        drafts.push(ContactDraft { person, phones: vec![], emails: vec![email], ..contact("Борис", "") });
    }
    let made = done(account.crm.apply(Writes::CreateContacts(&drafts)).await);
    assert_eq!(made.iter().copied().collect::<BTreeSet<u64>>(), ids, "the CRM gives its ids again");
    let webhooks = made.iter().zip(after).zip(&drafts);
    let webhooks =
        webhooks.map(|((id, buyer), draft)| told(which, *id, &[buyer], AFTER, Some(draft.person), "second")).collect();
    assert!(account.sync.handle(webhooks).await.is_empty());
    account.reconcile().await;
    let mut owners = BTreeSet::new();
    for name in before.into_iter().chain(after) {
        owners.insert(owner(&account, name).await.expect("somebody"));
    }
    assert_eq!(owners.len(), 6, "nobody was joined");
    let contacts = account.contacts();
    assert_eq!(contacts.len(), 6, "each has a contact of their own again: {contacts:?}");
}

async fn a_managers_contact_under_an_id_that_is_given_again_welds_no_strangers(which: Which) {
    let (account, ids) = emptied(which, &["email:a0@example.org"]).await;
    account.crm.set_up().await.expect("set up");
    let draft = ContactDraft { phones: vec![], emails: vec!["b0@example.org".into()], ..contact("Борис", "") };
    let made = done(account.crm.apply(Writes::CreateContacts(&[draft])).await);
    assert_eq!(made.iter().copied().collect::<BTreeSet<u64>>(), ids);
    let event = told(which, made[0], &["email:b0@example.org"], AFTER, None, "second");
    assert!(account.sync.handle(vec![event, order(11, &["email:b0@example.org"])]).await.is_empty());
    account.reconcile().await;
    let (first, second) =
        (owner(&account, "email:a0@example.org").await, owner(&account, "email:b0@example.org").await);
    assert!(first.is_some() && second.is_some() && first != second, "{first:?} {second:?}");
}

async fn a_contact_that_a_manager_rewrites_stays_theirs(which: Which) {
    let account = Account::of(which).await;
    assert!(account.sync.handle(vec![order(1, &["email:a0@example.org"])]).await.is_empty());
    account.reconcile().await;
    let person = owner(&account, "email:a0@example.org").await.expect("a buyer");
    let links = account.store.crm_states(&BTreeSet::from([person])).await.expect("links");
    let id = links[&person].contact.id.expect("a contact");
    for (name, what) in [("email:a0@example.org", "first"), ("email:new@example.org", "second")] {
        let event = told(which, id, &[name], BEFORE, Some(person), what);
        assert!(account.sync.handle(vec![event]).await.is_empty());
        account.reconcile().await;
    }
    assert_eq!(owner(&account, "email:new@example.org").await, Some(person));
}

async fn a_buyer_who_was_made_from_a_contact_stays_themselves_when_its_id_is_given_again(which: Which) {
    let (anna, boris) = ("email:a0@example.org", "email:b0@example.org");
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let by_manager = |name: &str, email: &str| ContactDraft {
        phones: vec![],
        emails: vec![email.trim_start_matches("email:").to_owned()],
        ..contact(name, "")
    };
    let first = done(account.crm.apply(Writes::CreateContacts(&[by_manager("Анна", anna)])).await)[0];
    assert!(account.sync.handle(vec![told(which, first, &[anna], BEFORE, None, "first")]).await.is_empty());
    assert!(account.sync.handle(vec![order(1, &[anna])]).await.is_empty());
    account.reconcile().await;
    let before = owner(&account, anna).await;
    let account = account.emptied(which).await;
    account.crm.set_up().await.expect("set up");
    let again = done(account.crm.apply(Writes::CreateContacts(&[by_manager("Борис", boris)])).await)[0];
    assert_eq!(again, first, "the CRM gives its ids again");
    assert!(account.sync.handle(vec![told(which, again, &[boris], AFTER, None, "second")]).await.is_empty());
    for buyer in [anna, boris] {
        assert!(account.sync.handle(vec![order(if buyer == anna { 2 } else { 3 }, &[buyer])]).await.is_empty());
        account.reconcile().await;
    }
    let after = (owner(&account, anna).await, owner(&account, boris).await);
    assert_eq!(after.0, before, "the buyer is who they were");
    assert_ne!(after.1, before);
    assert_eq!(account.contacts().len(), 2, "{:?}", account.picture());
    assert_eq!(account.store.totals().await.expect("totals").people, 2);
}
