//! Who is who, seen in the CRM: crowds, the CRM's own mirror, orders that are handed on, and what managers decide.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::Person;
use stagedoor_model::{
    Body, Channel, ChatRef, ConsentRecorded, ContactChanged, Content, Event, EventId, Identifier, IdentityDecided,
    MessageHeard, Money, Order, OrderBody, OrderState, ShowRef, SourceName, Ticket, Timestamp, Verdict,
};
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_sync::FlushMode;
use stagedoor_tests::account::{Account, Which};

use crate::{managers_edits::told, partings::form};

const BOTH: [Which; 2] = [Which::Amo, Which::Vtiger];

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

fn identifier(text: &str) -> Identifier {
    text.parse().expect("an identifier")
}

pub fn source(name: &str) -> SourceName {
    SourceName::new(name).expect("a name")
}

/// A paid order of one ticket, as the shop has it at this revision.
fn order(id: &str, show: &str, revision: i64, name: &str, who: &[&str]) -> Event {
    let price = Money { minor: 500_000, currency: "RUB".into() };
    let ticket = Ticket { id: "t".into(), show: ShowRef::id(show), price: price.clone(), live: true };
    let order = Order {
        revision: at(revision),
        state: OrderState::Paid,
        id: id.into(),
        number: None,
        placed_at: at(0),
        paid_at: Some(at(0)),
        paid: price.clone(),
        total: price,
        tickets: vec![ticket],
        refunds: BTreeMap::new(),
        promo_codes: vec![],
        utm: BTreeMap::new(),
        items: vec![],
        company: None,
        show: None,
        due_at: None,
        checks: Default::default(),
        refunds_as_of: None,
        earlier_starts: BTreeMap::new(),
        gone_refunds: None,
    };
    let identifiers = who.iter().map(|text| identifier(text)).collect();
    let body = Body::of_order(OrderBody::new(identifiers, Some(name.into()), order));
    let id = EventId::derive(&source("shop"), &[id, &revision.to_string()]);
    Event::new(&source("shop"), id, at(revision), body)
}

async fn tell(account: &Account, events: Vec<Event>) {
    assert!(account.sync.handle(events).await.is_empty());
    account.reconcile().await;
}

/// The CRM tells the hub every contact that it holds.
async fn mirror(account: &Account) {
    account.sync.backfill(&source("crm")).await.expect("mirrored");
    account.reconcile().await;
}

async fn known_by(account: &Account, text: &str) -> Person {
    let wanted = BTreeSet::from([identifier(text)]);
    let owner = account.store.resolve(&wanted).await.expect("resolved").owners;
    let owner = *owner.get(&identifier(text)).unwrap_or_else(|| panic!("nobody is known by {text}"));
    account.store.load(&BTreeSet::from([owner])).await.expect("loaded").remove(0).value
}

/// What the CRM holds under the only contact with this value.
fn held(account: &Account, value: &str) -> (String, Vec<String>) {
    let mut found = account.picture().into_iter().filter(|(contact, _)| contact.contains(value));
    let one = found.next().unwrap_or_else(|| panic!("no contact with {value}"));
    assert_eq!(found.next(), None, "a second contact with {value}");
    one
}

#[tokio::test]
async fn an_order_handed_to_another_buyer_hangs_on_their_contact() {
    for which in BOTH {
        let account = Account::of(which).await;
        let (alla, boris) = (["phone:+79160000001", "email:alla@example.com"], ["phone:+79160000002"]);
        tell(&account, vec![order("1", "moscow", 1, "Алла", &alla), order("2", "kazan", 2, "Борис", &boris)]).await;
        mirror(&account).await;
        tell(&account, vec![order("1", "moscow", 50, "Борис", &boris)]).await;
        mirror(&account).await;
        assert_eq!(account.counts().0, 2, "{which:?}: two people, two contacts");
        let (first, second) = (held(&account, "+79160000001"), held(&account, "+79160000002"));
        assert!(first.0.contains("Алла") && !first.0.contains("+79160000002"), "{which:?}: {first:?}");
        assert!(second.0.contains("Борис") && !second.0.contains("alla@"), "{which:?}: {second:?}");
        let is_worth = |deal: &&String| !deal.starts_with("Order") && deal.contains("5000");
        let worth = |deals: &[String]| deals.iter().filter(is_worth).count();
        assert_eq!((worth(&first.1), worth(&second.1)), (0, 2), "{which:?}: {first:?} {second:?}");
    }
}

#[tokio::test]
async fn an_order_handed_on_before_its_deals_answer_was_found_leaves_no_money_behind() {
    for which in BOTH {
        let account = Account::of(which).await;
        let (alla, boris) = (["phone:+79160000001", "email:alla@example.com"], ["phone:+79160000002"]);
        let call = if which == Which::Amo { "POST /api/v4/leads$" } else { "create Potentials$" };
        account.fault(Fault::once(FaultKind::AnswerLost, call));
        assert!(account.sync.handle(vec![order("1", "moscow", 1, "Алла", &alla)]).await.is_empty());
        account.sync.reconcile(FlushMode::Everything).await.expect("a run");
        tell(&account, vec![order("1", "moscow", 50, "Борис", &boris)]).await;
        account.reconcile().await;
        let is_worth = |deal: &&String| !deal.starts_with("Order") && deal.contains("5000");
        let worth = |value: &str| held(&account, value).1.iter().filter(is_worth).count();
        assert_eq!((worth("+79160000001"), worth("+79160000002")), (0, 1), "{which:?}: {:?}", account.picture());
    }
}

#[tokio::test]
async fn buyers_with_a_cashiers_email_part_when_it_turns_out_to_be_one() {
    for which in BOTH {
        let account = Account::of(which).await;
        let buyer = |n: i64| {
            let phone = format!("phone:+791600000{n:02}");
            order(&n.to_string(), "moscow", n, &format!("Buyer {n}"), &[&phone, "email:kassa@example.com"])
        };
        for n in 0..5 {
            tell(&account, vec![buyer(n)]).await;
        }
        assert_eq!(account.counts().0, 1, "{which:?}: five phones are one person so far");
        mirror(&account).await;
        for n in 5..14 {
            tell(&account, vec![buyer(n)]).await;
            mirror(&account).await;
        }
        let mut people = BTreeSet::new();
        for n in 0..14 {
            people.insert(known_by(&account, &format!("phone:+791600000{n:02}")).await.id);
        }
        assert_eq!(people.len(), 14, "{which:?}: what the hub wrote into one contact proves nothing");
    }
}

/// Somebody's contact was in the CRM before the hub, and is told while a slip makes two people one.
#[tokio::test]
async fn a_contact_stays_with_whose_phone_it_holds_when_a_slip_is_corrected() {
    let account = Account::of(Which::Amo).await;
    let (anna, boris) = ("phone:+79160000001", "phone:+79160000002");
    let (hers, his) = ("email:anna@example.com", "email:boris@example.com");
    let orders = vec![order("1", "moscow", 1, "Anna", &[anna, his]), order("2", "kazan", 2, "Boris", &[boris, his])];
    assert!(account.sync.handle(orders).await.is_empty());
    let contact = ContactChanged {
        contact: 77,
        deleted: false,
        name: Some("Boris".into()),
        identifiers: [identifier(boris)].into(),
        phones: vec![],
        emails: vec![],
        created_at: at(0),
        hub_id: None,
        changed_at: None,
    };
    let id = EventId::derive(&source("crm"), &["77"]);
    let told = Event::new(&source("crm"), id, at(5), Body::ContactChanged(contact));
    assert!(account.sync.handle(vec![told]).await.is_empty());
    assert!(account.sync.handle(vec![order("1", "moscow", 10, "Anna", &[anna, hers])]).await.is_empty());
    assert_ne!(known_by(&account, anna).await.id, known_by(&account, boris).await.id);
    assert_eq!(known_by(&account, "crm_contact:77").await.id, known_by(&account, boris).await.id);
}

pub fn decided(verdict: Verdict, second: i64) -> Event {
    let id = EventId::derive(&source("manager"), &[&second.to_string()]);
    let body = Body::IdentityDecided(IdentityDecided { verdict, by: "manager".into() });
    Event::new(&source("manager"), id, at(second), body)
}

/// A message in a chat whose messenger tells whose it is.
fn wrote(chat: &str, who: &[&str], second: i64) -> Event {
    let chat = ChatRef { also: who.iter().map(|text| identifier(text)).collect(), ..ChatRef::of(identifier(chat)) };
    let heard =
        MessageHeard { chat, message: second.to_string(), content: Content::Text("When does it begin?".into()) };
    let id = EventId::derive(&source("chats"), &[&second.to_string()]);
    Event::new(&source("chats"), id, at(second), Body::MessageReceived(heard))
}

#[tokio::test]
async fn people_parted_by_a_manager_have_their_own_contacts_and_deals_again() {
    for which in BOTH {
        let account = Account::of(which).await;
        let (anna, boris) = ("phone:+79160000001", "email:boris@example.com");
        tell(&account, vec![order("1", "moscow", 1, "Anna", &[anna])]).await;
        tell(&account, vec![order("2", "kazan", 2, "Boris", &[boris])]).await;
        tell(&account, vec![wrote("telegram:4711", &[anna], 3)]).await;
        mirror(&account).await;
        let ids = (known_by(&account, anna).await.id, known_by(&account, boris).await.id);
        let (contacts, deals_before) = account.counts();
        assert_eq!(contacts, 2);
        tell(&account, vec![decided(Verdict::SamePerson(identifier(anna), identifier(boris)), 10)]).await;
        mirror(&account).await;
        assert_eq!(known_by(&account, anna).await.id, known_by(&account, boris).await.id);
        tell(&account, vec![decided(Verdict::DifferentPeople(identifier(anna), identifier(boris)), 20)]).await;
        mirror(&account).await;
        assert_eq!((known_by(&account, anna).await.id, known_by(&account, boris).await.id), ids);
        let picture = account.picture();
        let deals = |name: &str| -> Vec<String> {
            let of = picture.iter().filter(|(contact, _)| contact.contains(name));
            of.flat_map(|(_, deals)| {
                deals.iter().filter(|deal| deal.contains("5000") && !deal.starts_with("Order")).cloned()
            })
            .collect()
        };
        let (first, second) = (deals("Anna"), deals("Boris"));
        assert!(first.len() == 1 && first[0].contains("moscow"), "{which:?}: {picture:?}");
        assert!(second.len() == 1 && second[0].contains("kazan"), "{which:?}: {picture:?}");
        assert_eq!(account.counts(), (2, deals_before), "{which:?}: nothing was made anew: {picture:?}");
        assert!(held(&account, "+79160000001").0.contains("Anna"), "{which:?}: {picture:?}");
        assert!(held(&account, "boris@example.com").0.contains("Boris"), "{which:?}: {picture:?}");
        let contacts = account.contacts();
        let with_chat: Vec<&String> = contacts.iter().filter(|contact| contact.contains("Telegram: ")).collect();
        assert!(with_chat.len() == 1 && with_chat[0].contains("Anna"), "{which:?}: {contacts:?}");
        assert!(!contacts.iter().any(|contact| contact.contains("duplicate of")), "{which:?}: {contacts:?}");
        let hung: usize =
            picture.values().flatten().filter(|deal| deal.contains("5000") && !deal.starts_with("Order")).count();
        assert_eq!(hung, 2, "{which:?}: a deal hangs on both");
        // Once more, there and back.
        tell(&account, vec![decided(Verdict::SamePerson(identifier(anna), identifier(boris)), 25)]).await;
        mirror(&account).await;
        tell(&account, vec![decided(Verdict::DifferentPeople(identifier(anna), identifier(boris)), 26)]).await;
        mirror(&account).await;
        assert_eq!(account.picture(), picture, "{which:?}");
        // The next purchase of each is each one's own.
        tell(&account, vec![order("3", "ufa", 30, "Boris", &[boris])]).await;
        assert_eq!(account.counts(), (2, deals_before + 1), "{which:?}");
    }
}

#[tokio::test]
async fn a_contact_that_a_manager_makes_of_somebody_who_only_said_no_by_sms_is_theirs_when_they_come() {
    for which in BOTH {
        let account = Account::of(which).await;
        let (phone, sms) = (identifier("phone:+79161234501"), source("sms"));
        let no = ConsentRecorded::withdrawn(phone, Channel::Sms, "stop-word");
        let no = Event::new(&sms, EventId::derive(&sms, &["no"]), at(10), Body::ConsentRecorded(no));
        let form = form("moscow", 5, "Анна", &["phone:+79161234501", "email:anna@example.com"]);
        for event in [no, told(which, 77_777, &["+79161234501"]), form] {
            assert!(account.sync.handle(vec![event]).await.is_empty());
        }
        assert_eq!(account.store.totals().await.expect("totals").people, 1, "{which:?}");
    }
}
