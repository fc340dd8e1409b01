//! A stranger types a buyer's phone: nothing of the buyer's reaches them, and the buyer keeps what is theirs, in both CRMs.

use std::collections::BTreeMap;

use serde_json::Value;
use stagedoor_model::{
    Body, ChatRef, ContactShared, Content, Event, EventId, FormSubmitted, Identifier, Kind, MessageHeard, Messenger,
    Proof, ShowRef, SourceName, Verdict,
};
use stagedoor_tests::account::{Account, Which};

use stagedoor_model::Timestamp;
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_testkit::{fans::signed_by_viber, form};
use stagedoor_tests::{
    hub::TestHub,
    provider_harness::{ProviderHarness, source},
};

use crate::{
    identity::decided,
    managers_edits::{edit, told},
    partings::{BOTH, at, identifiers, mirror, order, tell},
};

const PHONE: &str = "phone:+79161234501";

fn chat(proof: Proof, second: i64) -> [Event; 2] {
    let source = SourceName::new("telegram").expect("a name");
    let chat = || ChatRef::of(Identifier::opaque(Kind::Chat(Messenger::Telegram), "", "777000333").expect("an id"));
    let shared = ContactShared { chat: chat(), given: PHONE.parse().expect("a phone"), proof };
    let content = Content::Text("Во сколько начало?".into());
    let heard = MessageHeard { chat: chat(), message: second.to_string(), content };
    let event = |second: i64, body: Body| {
        Event::new(&source, EventId::derive(&source, &["chat", &second.to_string()]), at(second), body)
    };
    [event(second, Body::ContactShared(shared)), event(second + 1, Body::MessageReceived(heard))]
}

fn public_form(name: &str, second: i64, who: &[&str]) -> Event {
    let form = FormSubmitted {
        identifiers: identifiers(who),
        proof: Proof::Claimed,
        name: Some(name.into()),
        form: None,
        show: Some(ShowRef::id("cherry")),
        amount: None,
        consents: vec![],
        labels: BTreeMap::new(),
        company: None,
    };
    let source = SourceName::new("landing").expect("a name");
    Event::new(&source, EventId::derive(&source, &[&second.to_string()]), at(second), Body::FormSubmitted(form))
}

/// Contacts that hold the phone.
fn with_phone(account: &Account) -> usize {
    account.contacts().iter().filter(|contact| contact.contains("79161234501")).count()
}

/// Who was asked about: managers' tasks by contact.
fn tasks(account: &Account) -> usize {
    account.picture().values().flatten().filter(|line| *line == "task").count()
}

async fn buyer(which: Which) -> Account {
    let account = Account::of(which).await;
    tell(&account, order("1", "cherry", 3, "Мария Петрова", &[PHONE, "email:maria@example.com"])).await;
    account
}

#[tokio::test]
async fn a_buyers_phone_that_a_stranger_types_in_a_chat_stays_on_the_buyers_contact_and_a_manager_is_asked() {
    for which in BOTH {
        let account = buyer(which).await;
        for event in chat(Proof::Claimed, 10) {
            tell(&account, event).await;
        }
        mirror(&account).await;
        // One task about the question, one about the phone.
        assert_eq!((account.counts().0, with_phone(&account), tasks(&account)), (2, 1, 2), "{which:?}");
        let notes = account.picture();
        let stranger = notes.iter().find(|(name, _)| !name.contains("Мария")).expect("the stranger's contact");
        assert!(stranger.1.iter().any(|line| line.contains("+79161234501")), "{which:?}: what was typed is kept");
    }
}

#[tokio::test]
async fn a_buyers_phone_that_the_messenger_itself_shares_is_the_buyers_chat() {
    for which in BOTH {
        let account = buyer(which).await;
        for event in chat(Proof::Channel, 10) {
            tell(&account, event).await;
        }
        assert_eq!((account.counts().0, with_phone(&account)), (1, 1), "{which:?}");
    }
}

#[tokio::test]
async fn a_public_form_with_a_buyers_phone_is_a_lead_of_its_own_and_renames_nobody() {
    for which in BOTH {
        let account = buyer(which).await;
        tell(&account, public_form("Срочно позвоните", 10, &[PHONE])).await;
        tell(&account, public_form("Срочно позвоните", 20, &[PHONE])).await;
        mirror(&account).await;
        assert_eq!((account.counts().0, with_phone(&account), tasks(&account)), (2, 1, 1), "{which:?}");
        assert!(account.picture().keys().any(|name| name.contains("Мария Петрова")), "{which:?}");
    }
}

#[tokio::test]
async fn a_new_lead_of_a_public_form_is_a_contact_with_its_phone_and_stays_one_when_it_asks_again() {
    for which in BOTH {
        let account = Account::of(which).await;
        tell(&account, public_form("Вера", 10, &[PHONE])).await;
        mirror(&account).await;
        tell(&account, public_form("Вера", 20, &[PHONE, "email:vera@example.com"])).await;
        mirror(&account).await;
        assert_eq!((account.counts(), with_phone(&account), tasks(&account)), ((1, 1), 1, 0), "{which:?}");
        // The owner of the phone comes: they are two until somebody confirms.
        tell(&account, order("1", "cherry", 30, "Мария Петрова", &[PHONE])).await;
        mirror(&account).await;
        assert_eq!((account.counts().0, tasks(&account)), (2, 1), "{which:?}");
        // The phone stands where it is proved, and what nobody else proves stays with the lead.
        let lead: Vec<String> = account.contacts().into_iter().filter(|one| one.contains("vera@example.com")).collect();
        assert_eq!((with_phone(&account), lead.len()), (1, 1), "{which:?}: {:?}", account.contacts());
        assert!(!lead[0].contains("79161234501"), "{which:?}: {}", lead[0]);
    }
}

#[tokio::test]
async fn a_typed_phone_is_the_name_of_no_contact_once_its_owner_proves_it() {
    for which in BOTH {
        let account = Account::of(which).await;
        let mut nameless = public_form("", 10, &[PHONE]);
        if let Body::FormSubmitted(form) = &mut nameless.body {
            form.name = None;
        }
        tell(&account, nameless).await;
        mirror(&account).await;
        assert!(account.picture().keys().any(|name| name.contains("+79161234501")), "{which:?}");
        tell(&account, order("1", "cherry", 30, "Мария Петрова", &[PHONE])).await;
        mirror(&account).await;
        mirror(&account).await;
        assert_eq!((account.counts().0, with_phone(&account)), (2, 1), "{which:?}: {:?}", account.contacts());
    }
}

#[tokio::test]
async fn a_typed_phone_that_its_owner_proves_comes_back_to_the_contact_when_a_manager_joins_the_two() {
    for which in BOTH {
        let account = Account::of(which).await;
        tell(&account, public_form("Вера", 10, &[PHONE, "email:vera@example.com"])).await;
        tell(&account, order("1", "cherry", 30, "Мария Петрова", &[PHONE])).await;
        mirror(&account).await;
        assert_eq!((account.counts().0, with_phone(&account)), (2, 1), "{which:?}");
        let vera = "email:vera@example.com".parse().expect("an e-mail");
        tell(&account, decided(Verdict::SamePerson(vera, PHONE.parse().expect("a phone")), 40)).await;
        mirror(&account).await;
        assert_eq!(people(&account).await, 1, "{which:?}: {:?}", account.contacts());
        let one = account.contacts().into_iter().find(|one| !one.contains("duplicate of")).expect("a contact");
        assert!(one.contains("79161234501") && one.contains("vera@example.com"), "{which:?}: {one}");
    }
}

#[tokio::test]
async fn a_contact_that_a_manager_makes_for_a_typed_phone_is_not_the_strangers() {
    for which in BOTH {
        let account = Account::of(which).await;
        tell(&account, public_form("Вера", 10, &[PHONE, "email:vera@example.com"])).await;
        mirror(&account).await;
        assert_eq!((people(&account).await, with_phone(&account)), (1, 1), "{which:?}");
        tell(&account, told(which, 77_777, &["+79161234501"])).await;
        mirror(&account).await;
        assert_eq!((people(&account).await, with_phone(&account), tasks(&account)), (2, 0, 1), "{which:?}");
    }
}

#[tokio::test]
async fn each_visitor_of_a_public_form_is_one_person_and_one_contact() {
    let hub = TestHub::start().await;
    for n in 0..5 {
        let (phone, email) = (format!("8 916 200-00-0{n}"), format!("visitor{n}@example.com"));
        let fields = [("your-name", "Вера"), ("your-tel", &phone), ("your-email", &email), ("key", "landing-key")];
        hub.take(&form("/website/landing", &fields).header("origin", "https://cherry.example.ru")).await;
    }
    let status = hub.settled().await;
    let first = "phone:+79162000000".parse().expect("a phone");
    let told = stagedoor::commands::explanation(&hub.hub, &first).await.expect("known");
    assert_eq!((status.people, hub.sandbox.contacts().len()), (5, 5), "{told}");
    assert!(told.contains("typed phone:+79162000000: not confirmed"), "{told}");
}

#[tokio::test]
async fn a_contact_card_in_viber_is_a_claim_also_where_the_bot_asked_for_it() {
    let (mut source, secret) = (source("viber", "secret"), "secret");
    source.name = SourceName::new("viber").expect("a name");
    let harness = ProviderHarness::open(source, Timestamp::from_second(1_800_000_000).expect("in range"));
    let card = serde_json::json!({
        "event": "message", "timestamp": 1_800_000_000_000_i64, "message_token": 7,
        "sender": { "id": "01234567890A=", "name": "Чужой" },
        "message": { "type": "contact", "tracking_data": "ask-phone", "contact": { "phone_number": "79161234501" } },
    });
    let events = harness.take(&signed_by_viber(&harness.path, &card, secret)).await.events;
    let shared = events.iter().find_map(|event| match &event.body {
        Body::ContactShared(shared) => Some(shared),
        _ => None,
    });
    assert_eq!(shared.expect("it is kept").proof, Proof::Claimed);
}

#[tokio::test]
async fn a_phone_that_cannot_be_read_is_a_contact_and_a_managers_task() {
    let hub = TestHub::start().await;
    let fields = [("your-name", "Зоя"), ("your-tel", "позвоните на 22-35-0"), ("key", "landing-key")];
    hub.take(&form("/website/landing", &fields).header("origin", "https://cherry.example.ru")).await;
    let fields = [("your-name", "Яна"), ("your-tel", "8 917 223-45-05 Яна, после 18"), ("key", "landing-key")];
    hub.take(&form("/website/landing", &fields).header("origin", "https://cherry.example.ru")).await;
    let status = hub.settled().await;
    assert_eq!((status.unrecognized, hub.sandbox.contacts().len(), hub.sandbox.tasks().len()), (0, 2, 1));
    assert!(hub.sandbox.tasks()[0].to_string().contains("22-35-0"), "{:?}", hub.sandbox.tasks());
    assert!(hub.sandbox.contacts().iter().any(|contact| contact.to_string().contains("79172234505")));
}

/// The contact of the stranger, who is no Maria.
fn stranger(account: &Account, which: Which) -> u64 {
    let contacts: Vec<Value> =
        account.contacts().iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
    let one = contacts.iter().find(|one| !one.to_string().contains("Мария")).expect("a contact");
    match which {
        Which::Amo => one["id"].as_u64().expect("an id"),
        Which::Vtiger => one["id"].as_str().and_then(|id| id.split_once('x')?.1.parse().ok()).expect("an id"),
    }
}

async fn people(account: &Account) -> usize {
    account.store.scan_people(None, 10).await.expect("people").0.len()
}

#[tokio::test]
async fn a_claim_that_a_manager_types_into_the_contact_is_confirmed_and_one_that_the_hub_wrote_is_not() {
    for which in BOTH {
        // Somebody else proves it, so that the hub writes it nowhere: a manager decides.
        let account = buyer(which).await;
        for event in chat(Proof::Claimed, 10) {
            tell(&account, event).await;
        }
        mirror(&account).await;
        assert_eq!((people(&account).await, with_phone(&account)), (2, 1), "{which:?}");
        let contact = stranger(&account, which);
        edit(&account, which, contact, &[("+79161234501", "MOB", "mobile")]);
        for _ in 0..2 {
            mirror(&account).await;
            assert_eq!(people(&account).await, 1, "{which:?}: who types it there knows whose it is");
        }
        // The hub wrote it before its owner came. Then it proves nothing, also if a manager saves the contact.
        for is_lost in [false, true] {
            let account = Account::of(which).await;
            let unproven = chat(Proof::Claimed, 10);
            tell(&account, unproven[1].clone()).await;
            mirror(&account).await;
            if is_lost {
                let call = if which == Which::Amo { "PATCH /api/v4/contacts" } else { "revise" };
                account.fault(Fault::once(FaultKind::AnswerLost, call));
            }
            tell(&account, unproven[0].clone()).await;
            tell(&account, order("1", "cherry", 30, "Мария Петрова", &[PHONE])).await;
            mirror(&account).await;
            assert_eq!(people(&account).await, 2, "{which:?}, the answer was lost: {is_lost}");
            if !is_lost {
                edit(&account, which, stranger(&account, which), &[("+79161234501", "WORK", "phone")]);
                mirror(&account).await;
                assert_eq!(people(&account).await, 2, "{which:?}: it stood there");
            }
        }
    }
}
