//! Two CRMs fed from one state: each with its own numbers, lease, intents and parked rows, and neither waits for the other.

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;
use stagedoor_model::{Body, ContactChanged, Event, EventId, SECOND_CRM, SourceName, Timestamp};
use stagedoor_ports::{Crm, Store, SystemClock};
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_sync::{CrmAccount, FlushMode, Sync};
use stagedoor_testkit::free_port;
use stagedoor_tests::{
    account::{Account, Which},
    crash::{Life, Mortal},
    hub::TheatreHub,
};

use crate::{crashes::batches, theatre::order};

/// amoCRM first, with its store; a Vtiger second.
async fn both() -> (Account, Account) {
    let (mut first, second) = (Account::of(Which::Amo).await, Account::of(Which::Vtiger).await);
    let invoicing = second.sync.catalog.invoicing.clone();
    first.sync.second = Some(CrmAccount { crm: Arc::clone(&second.crm), invoicing, currency: None });
    (first, second)
}

/// What each holds when it is alone.
async fn alone(which: Which) -> Account {
    let account = Account::of(which).await;
    for batch in batches() {
        assert!(account.sync.handle(batch).await.is_empty());
        account.reconcile().await;
    }
    account
}

/// The same, folded before anything is written.
async fn at_once(which: Which) -> Account {
    let account = Account::of(which).await;
    assert!(account.sync.handle(batches().concat()).await.is_empty());
    account.reconcile().await;
    account
}

#[tokio::test]
async fn both_hold_what_each_would_hold_alone() {
    let (first, second) = both().await;
    for batch in batches() {
        assert!(first.sync.handle(batch).await.is_empty());
        first.reconcile().await;
    }
    assert_eq!(first.picture(), alone(Which::Amo).await.picture());
    assert_eq!(second.picture(), alone(Which::Vtiger).await.picture());
    // Everything once more changes nothing.
    let before = second.vtiger().calls();
    for batch in batches() {
        assert!(first.sync.handle(batch).await.is_empty());
    }
    first.reconcile().await;
    assert_eq!(second.vtiger().calls(), before);
}

#[tokio::test]
async fn a_second_crm_that_is_added_later_gets_everybody_who_is_in_the_hub() {
    let (mut first, second) = both().await;
    let later = first.sync.second.take();
    assert!(first.sync.handle(batches().concat()).await.is_empty());
    first.reconcile().await;
    let before = first.picture();
    assert_eq!(second.counts(), (0, 0));
    first.sync.second = later;
    // Nobody does anything; the hub looks at everybody by itself.
    first.sync.wake().await.expect("woken");
    first.reconcile().await;
    assert_eq!(second.picture(), at_once(Which::Vtiger).await.picture());
    assert_eq!(first.picture(), before);
    // It is done once.
    first.sync.wake().await.expect("woken");
    assert_eq!(first.store.totals().await.expect("totals").waiting, 0);
}

#[tokio::test]
async fn a_second_crm_that_was_left_out_for_a_while_gets_what_changed_meanwhile() {
    let (mut first, second) = both().await;
    let mut batches = batches().into_iter();
    assert!(first.sync.handle(batches.next().expect("a batch")).await.is_empty());
    first.sync.wake().await.expect("woken");
    first.reconcile().await;
    let away = first.sync.second.take();
    first.sync.wake().await.expect("woken");
    assert!(first.sync.handle(batches.flatten().collect()).await.is_empty());
    first.reconcile().await;
    first.sync.second = away;
    first.sync.wake().await.expect("woken");
    first.reconcile().await;
    // As if it had been slow, and not left out.
    let slow = Account::of(Which::Vtiger).await;
    let mut batches = self::batches().into_iter();
    assert!(slow.sync.handle(batches.next().expect("a batch")).await.is_empty());
    slow.reconcile().await;
    assert!(slow.sync.handle(batches.flatten().collect()).await.is_empty());
    slow.reconcile().await;
    assert_eq!(second.picture(), slow.picture());
}

#[tokio::test]
async fn the_one_that_is_down_holds_up_nothing_of_the_other() {
    for down in [true, false] {
        let (first, second) = both().await;
        let broken = if down { &first } else { &second };
        broken.set_down(true);
        assert!(first.sync.handle(batches().concat()).await.is_empty());
        for _ in 0..2 {
            _ = first.sync.reconcile(FlushMode::Everything).await.expect("a round");
        }
        let (whole, which) = if down { (&second, Which::Vtiger) } else { (&first, Which::Amo) };
        assert_eq!(whole.picture(), at_once(which).await.picture());
        assert_eq!(broken.counts(), (0, 0));
        broken.set_down(false);
        first.reconcile().await;
        assert_eq!(first.picture(), at_once(Which::Amo).await.picture());
        assert_eq!(second.picture(), at_once(Which::Vtiger).await.picture());
    }
}

#[tokio::test]
async fn killed_at_any_step_neither_has_a_double() {
    let work = async |account: &Account, store: Arc<dyn Store>, crm: Arc<dyn Crm>, second: CrmAccount| {
        let sync = Sync { store, crm, second: Some(second), ..account.sync.clone() };
        for batch in batches() {
            sync.handle(batch).await;
            for _ in 0..4 {
                _ = sync.reconcile(FlushMode::Everything).await;
            }
        }
    };
    let (amo, vtiger) = (alone(Which::Amo).await.picture(), alone(Which::Vtiger).await.picture());
    let mut steps = 3;
    loop {
        let (first, second) = both().await;
        let life = Life::of(steps);
        let store = Arc::new(Mortal { inner: Arc::clone(&first.store), life: life.clone() });
        let crm = Arc::new(Mortal { inner: Arc::clone(&first.crm), life: life.clone() });
        let other = Arc::new(Mortal { inner: Arc::clone(&second.crm), life: life.clone() });
        let invoicing = second.sync.catalog.invoicing.clone();
        work(&first, store, crm, CrmAccount { crm: other, invoicing, currency: None }).await;
        let died = life.is_over();
        let living = first.sync.second.clone().expect("a second");
        work(&first, Arc::clone(&first.store), Arc::clone(&first.crm), living).await;
        first.reconcile().await;
        assert_eq!((first.picture(), second.picture()), (amo.clone(), vtiger.clone()), "killed at step {steps}");
        if !died {
            break;
        }
        steps += 7;
    }
    assert!(steps > 100, "only {steps} steps: the test does not reach what it should");
}

/// A contact as a CRM reports it.
fn told(source: &str, contact: u64, phone: &str, hub_id: Option<String>) -> Event {
    let source = SourceName::new(source).expect("a name");
    let at = Timestamp::from_second(1_700_000_000).expect("a time");
    let change = ContactChanged {
        contact,
        deleted: false,
        name: Some(phone.to_owned()),
        identifiers: BTreeSet::from([format!("phone:{phone}").parse().expect("an identifier")]),
        phones: vec![phone.to_owned()],
        emails: vec![],
        created_at: at,
        hub_id,
        changed_at: None,
    };
    Event::new(&source, EventId::derive(&source, &["mirror", phone]), at, Body::ContactChanged(change))
}

#[tokio::test]
async fn a_contact_that_a_manager_adds_in_one_is_the_same_person_in_the_other() {
    let phone = "+79161110001";
    for source in ["crm", SECOND_CRM] {
        let (first, second) = both().await;
        assert!(first.sync.handle(vec![told(source, 12, phone, None)]).await.is_empty());
        first.reconcile().await;
        let phones = BTreeSet::from([format!("phone:{phone}").parse().expect("an identifier")]);
        let owner = *first.store.resolve(&phones).await.expect("owners").owners.values().next().expect("an owner");
        let states = first.store.crm_states(&BTreeSet::from([owner])).await.expect("states");
        let (other, made) = match source {
            SECOND_CRM => ("crm", states[&owner].contact.id),
            _ => (SECOND_CRM, states[&owner].second.as_ref().and_then(|second| second.contact.id)),
        };
        let echo = told(other, made.expect("a contact in the other"), phone, Some(owner.to_string()));
        assert!(first.sync.handle(vec![echo]).await.is_empty());
        first.reconcile().await;
        assert_eq!(first.store.totals().await.expect("totals").people, 1, "added in {source}");
        assert_eq!(first.counts().0 + second.counts().0, 1, "one contact is made for {source}'s");
    }
}

#[tokio::test]
async fn a_row_in_the_second_is_not_made_again_before_it_was_asked_for() {
    // amoCRM looks for no contact before it makes one.
    let (mut first, second) = (Account::of(Which::Vtiger).await, Account::of(Which::Amo).await);
    let invoicing = second.sync.catalog.invoicing.clone();
    first.sync.second = Some(CrmAccount { crm: Arc::clone(&second.crm), invoicing, currency: None });
    let anna = ["phone:+79161110001"];
    assert!(first.sync.handle(vec![crate::crashes::order(1, &anna)]).await.is_empty());
    first.reconcile().await;
    let names = BTreeSet::from([anna[0].parse().expect("an identifier")]);
    let owner = *first.store.resolve(&names).await.expect("owners").owners.values().next().expect("an owner");
    let states = first.store.crm_states(&BTreeSet::from([owner])).await.expect("states");
    let contact = states[&owner].second.as_ref().and_then(|second| second.contact.id).expect("a contact");
    // A manager deleted the contact and restored it. The hub heard of the deletion, and not of the restore.
    let source = SourceName::new(SECOND_CRM).expect("a name");
    let bought = crate::crashes::order(5, &anna);
    let died = bought.time - SignedDuration::from_secs(2);
    assert!(first.sync.handle(vec![crate::hub_ids::deletion(&source, contact, died)]).await.is_empty());
    // The one answer fails that would tell it.
    let calls = "GET /api/v4/contacts".to_owned();
    second.fault(Fault { kind: FaultKind::Broken, calls, after: 0, times: 4, milliseconds: 0 });
    assert!(first.sync.handle(vec![bought]).await.is_empty());
    let round = first.sync.reconcile(FlushMode::Everything).await.expect("a round");
    assert_eq!(round.left, 1, "they wait for the second CRM");
    first.reconcile().await;
    assert_eq!((first.counts().0, second.counts().0), (1, 1), "{:?}", second.picture());
}

#[tokio::test]
async fn the_same_number_in_both_is_two_contacts() {
    let (first, second) = both().await;
    let events = vec![told("crm", 12, "+79161110001", None), told(SECOND_CRM, 12, "+79161110002", None)];
    assert!(first.sync.handle(events).await.is_empty());
    assert_eq!(first.store.totals().await.expect("totals").people, 2);
    first.reconcile().await;
    // Whom the one knows is made in the other, and nobody is made where they are known.
    assert_eq!((first.counts().0, second.counts().0), (1, 1));
    assert!(first.picture().keys().next().expect("a contact").contains("+79161110002"));
    assert!(second.picture().keys().next().expect("a contact").contains("+79161110001"));
}

#[tokio::test]
async fn a_config_with_two_crms_feeds_both_through_the_hub() {
    let other = format!("127.0.0.1:{}", free_port());
    let section = format!(
        "[second_crm]\nkind = \"amocrm\"\nbase_url = \"http://{other}\"\ntoken = \"dev:dev-long-lived-token\"\nrate = 200\n\n[source.second-crm]\nfunction = \"crm\"\nprovider = \"amocrm\"\nsecrets = [\"dev:second-hook-secret\"]\n\n[sandbox]\nsecond = \"{other}\"\n"
    );
    let hub = TheatreHub::by(Arc::new(SystemClock), |text| text.replace("[sandbox]\n", &section)).await;
    hub.take(&order("1", |data| data["company"] = serde_json::json!({ "name": "ООО «Сад»", "inn": "7707083893" })))
        .await;
    let status = hub.settled().await;
    let amo = hub.amo.clone().expect("the second's sandbox");
    assert_eq!((amo.count("contacts"), amo.count("leads"), amo.count("companies")), (1, 1, 1));
    let counts = ["Contacts", "Potentials", "Invoice"].map(|module| hub.vtiger.records(module).len());
    assert_eq!((counts, status.rejected, status.people), ([1, 1, 1], 0, 1));
    assert_eq!(amo.leads()[0]["price"], 3601);
    assert_eq!(amo.leads()[0]["_embedded"]["companies"][0]["id"], amo.all_ids("companies")[0]);
    // What a manager types in the first is heard as of the first, and written into the second.
    let contact = hub.vtiger.records("Contacts").remove(0);
    hub.vtiger.by_manager(1, contact["id"].as_str().expect("an id"), &[("homephone", "+7 916 777 66 55")]);
    hub.hub.sync.hear_crm(&hub.hub.mirror).await.expect("heard");
    let status = hub.settled().await;
    assert_eq!((amo.count("contacts"), status.people), (1, 1));
    assert!(amo.contacts()[0].to_string().contains("+79167776655"), "{}", amo.contacts()[0]);
}
