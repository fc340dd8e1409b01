//! People who were taken for one and part, seen in the CRM: each has their own contact and deals again.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{
    Body, Event, EventId, FormSubmitted, Identifier, Money, Order, OrderBody, OrderState, ShowRef, SourceName, Ticket,
    Timestamp,
};
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_tests::account::{Account, Which};

use crate::managers_edits::edit;

pub(crate) const BOTH: [Which; 2] = [Which::Amo, Which::Vtiger];

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

pub(crate) fn source(name: &str) -> SourceName {
    SourceName::new(name).expect("a name")
}

pub(crate) fn identifiers(who: &[&str]) -> BTreeSet<Identifier> {
    who.iter().map(|text| text.parse().expect("an identifier")).collect()
}

/// A paid order of one ticket, as the shop has it at this revision.
pub(crate) fn order(id: &str, show: &str, revision: i64, name: &str, who: &[&str]) -> Event {
    let price = Money { minor: 500_000, currency: "RUB".into() };
    let ticket = Ticket { id: "t".into(), show: ShowRef::id(show), price: price.clone(), live: true };
    let order = Order {
        revision: at(revision),
        state: OrderState::Paid,
        id: id.into(),
        number: None,
        placed_at: at(2),
        paid_at: Some(at(2)),
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
        checks: BTreeMap::new(),
        refunds_as_of: None,
        earlier_starts: BTreeMap::new(),
        gone_refunds: None,
    };
    let body = Body::of_order(OrderBody::new(identifiers(who), Some(name.into()), order));
    Event::new(&source("shop"), EventId::derive(&source("shop"), &[id, &revision.to_string()]), at(revision), body)
}

pub(crate) fn form(show: &str, second: i64, name: &str, who: &[&str]) -> Event {
    let body = FormSubmitted {
        identifiers: identifiers(who),
        proof: Default::default(),
        name: Some(name.into()),
        form: None,
        show: Some(ShowRef::id(show)),
        amount: None,
        consents: vec![],
        labels: BTreeMap::new(),
        company: None,
    };
    let id = EventId::derive(&source("shop"), &["form", &second.to_string()]);
    Event::new(&source("shop"), id, at(second), Body::FormSubmitted(body))
}

pub(crate) async fn tell(account: &Account, event: Event) {
    assert!(account.sync.handle(vec![event]).await.is_empty());
    account.reconcile().await;
}

/// The CRM tells the hub every contact that it holds.
pub(crate) async fn mirror(account: &Account) {
    account.sync.backfill(&source("crm")).await.expect("mirrored");
    account.reconcile().await;
}

/// What the CRM holds under the only contact with this value.
pub(crate) fn held(account: &Account, value: &str) -> (String, Vec<String>) {
    let mut found = account.picture().into_iter().filter(|(contact, _)| contact.contains(value));
    let one = found.next().unwrap_or_else(|| panic!("no contact with {value}: {:?}", account.picture()));
    assert_eq!(found.next(), None, "a second contact with {value}");
    one
}

/// Whether each deal is worth something, and its stage.
pub(crate) fn deals(lines: &[String]) -> BTreeSet<(bool, String)> {
    let is_deal = |line: &&String| !line.is_empty() && *line != "task" && !line.starts_with("Order");
    let stage = |line: &String| line.trim_end_matches(" ·").rsplit(' ').next().unwrap_or_default().to_owned();
    lines.iter().filter(is_deal).map(|line| (line.contains("5000"), stage(line))).collect()
}

/// How many contacts a manager would take for duplicates.
pub(crate) fn duplicates(account: &Account, which: Which) -> usize {
    if which == Which::Amo {
        return account.contacts().iter().filter(|contact| contact.contains("duplicate of")).count();
    }
    let mut last = BTreeMap::<String, bool>::new();
    for row in account.vtiger().records("ModComments") {
        let text = |field: &str| row.get(field).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        let said = text("commentcontent");
        let taken_back = ["Two people were parted", "No duplicate any more"];
        if said.starts_with("Duplicate of ") || taken_back.iter().any(|word| said.starts_with(word)) {
            last.insert(text("related_to"), said.starts_with("Duplicate of "));
        }
    }
    last.values().filter(|is_duplicate| **is_duplicate).count()
}

#[tokio::test]
async fn two_who_part_have_their_own_rows_as_if_they_had_never_been_one() {
    for which in BOTH {
        let account = Account::of(which).await;
        let (anna, boris, hers) = ("phone:+79160000001", "phone:+79160000002", "email:anna@example.com");
        tell(&account, order("1", "moscow", 2, "Анна", &[anna, hers])).await;
        // The elder of the two, whose contact is the younger row.
        tell(&account, form("moscow", 1, "Борис", &[boris])).await;
        let before = ["+79160000001", "+79160000002"].map(|phone| deals(&held(&account, phone).1));
        // He mistypes his e-mail, and it is hers.
        tell(&account, order("3", "kazan", 3, "Борис", &[boris, hers])).await;
        assert_eq!(duplicates(&account, which), 1, "{which:?}");
        mirror(&account).await;
        tell(&account, order("3", "kazan", 50, "Борис", &[boris, "email:boris@example.com"])).await;
        mirror(&account).await;
        assert_eq!((account.counts().0, duplicates(&account, which)), (2, 0), "{which:?}: {:?}", account.picture());
        let (first, second) = (held(&account, "+79160000001"), held(&account, "+79160000002"));
        assert!(first.0.contains("anna@example.com") && !first.0.contains("+79160000002"), "{which:?}: {first:?}");
        assert!(second.0.contains("boris@example.com") && !second.0.contains("anna@"), "{which:?}: {second:?}");
        assert_eq!(deals(&first.1), before[0], "{which:?}: her deal is as it was");
        let both: BTreeSet<_> = before[0].union(&before[1]).cloned().collect();
        assert_eq!(deals(&second.1), both, "{which:?}: his is, too, and his purchase stands beside it");
    }
}

/// While they are one the elder's purchase stands on the deal of the other, under the elder's id.
#[tokio::test]
async fn who_parts_has_their_own_name_again() {
    for which in BOTH {
        let account = Account::of(which).await;
        let (anna, boris, hers) = ("phone:+79160000001", "phone:+79160000002", "email:anna@example.com");
        assert!(account.sync.handle(vec![order("1", "moscow", 2, "Анна", &[anna, hers])]).await.is_empty());
        // Both are one before the CRM holds either.
        tell(&account, order("3", "kazan", 3, "Борис", &[boris, hers])).await;
        mirror(&account).await;
        tell(&account, order("3", "kazan", 50, "Борис", &[boris, "email:boris@example.com"])).await;
        mirror(&account).await;
        let (first, second) = (held(&account, "+79160000001"), held(&account, "+79160000002"));
        assert!(first.0.contains("Анна") && second.0.contains("Борис"), "{which:?}: {first:?} {second:?}");
    }
}

#[tokio::test]
async fn a_deal_that_goes_back_is_as_it_was_and_is_not_taken_for_a_new_one_of_the_other() {
    for which in BOTH {
        let account = Account::of(which).await;
        let (anna, boris, hers) = ("phone:+79160000001", "phone:+79160000002", "email:anna@example.com");
        tell(&account, order("1", "kazan", 1, "Анна", &[anna, hers])).await;
        tell(&account, form("moscow", 9, "Борис", &[boris])).await;
        let before = deals(&held(&account, "+79160000002").1);
        // She mistypes her phone, and it is his.
        tell(&account, order("2", "moscow", 20, "Анна", &[boris, hers])).await;
        tell(&account, order("2", "moscow", 50, "Анна", &[anna, hers])).await;
        let (first, second) = (held(&account, "+79160000001").1, held(&account, "+79160000002").1);
        assert_eq!(deals(&second), before, "{which:?}: he bought nothing: {second:?}");
        let is_worth = |line: &&String| line.contains("5000") && !line.starts_with("Order");
        assert_eq!(first.iter().filter(is_worth).count(), 2, "{which:?}: she bought both: {first:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_corrected_is_taken_out_of_the_contact() {
    for which in BOTH {
        let account = Account::of(which).await;
        let phone = "phone:+79160000001";
        tell(&account, order("1", "moscow", 1, "Анна", &[phone, "email:anan@example.com"])).await;
        tell(&account, order("1", "moscow", 50, "Анна", &[phone, "email:anna@example.com"])).await;
        for _ in 0..2 {
            let (contact, lines) = held(&account, "+79160000001");
            assert!(contact.contains("anna@") && !contact.contains("anan@"), "{which:?}: {contact}");
            assert_eq!(deals(&lines).len(), 1, "{which:?}");
            mirror(&account).await;
        }
        // What was a slip before is right now.
        tell(&account, order("1", "moscow", 90, "Анна", &[phone, "email:anan@example.com"])).await;
        assert!(held(&account, "+79160000001").0.contains("anan@"), "{which:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_a_contacts_name_is_corrected_also_if_its_making_was_never_answered() {
    for which in BOTH {
        for is_lost in [false, true] {
            let (account, phone) = (Account::of(which).await, "phone:+79160000001");
            if is_lost {
                let call = if which == Which::Amo { "POST /api/v4/contacts$" } else { "create Contacts$" };
                account.fault(Fault::once(FaultKind::AnswerLost, call));
            }
            tell(&account, order("1", "moscow", 1, "", &[phone, "email:anan@example.com"])).await;
            account.reconcile().await;
            let contact = held(&account, "anan@").0;
            assert_eq!(contact.matches("anan@").count(), 2, "{which:?}: its name and its e-mail: {contact}");
            tell(&account, order("1", "moscow", 50, "", &[phone, "email:anna@example.com"])).await;
            let contact = held(&account, "anna@").0;
            assert!(!contact.contains("anan@"), "{which:?}, the answer was lost: {is_lost}: {contact}");
        }
    }
}

/// Between the two corrections the CRM tells nothing.
#[tokio::test]
async fn an_address_that_is_corrected_there_and_back_stands_in_the_contact() {
    for which in BOTH {
        let account = Account::of(which).await;
        let (first, second) =
            (["phone:+79160000001", "email:a@example.com"], ["phone:+79160000002", "email:b@example.com"]);
        tell(&account, order("1", "moscow", 1, "Анна", &first)).await;
        mirror(&account).await;
        tell(&account, order("1", "moscow", 50, "Анна", &second)).await;
        assert!(held(&account, "+79160000002").0.contains("b@example.com"), "{which:?}");
        tell(&account, order("1", "moscow", 90, "Анна", &first)).await;
        let (contact, _) = held(&account, "Анна");
        assert!(contact.contains("+79160000001") && contact.contains("a@example.com"), "{which:?}: {contact}");
        assert!(!contact.contains("+79160000002") && !contact.contains("b@example.com"), "{which:?}: {contact}");
        // What a manager takes away now stays away.
        edit(&account, which, contact_with(&account, which, "+79160000001"), &[]);
        mirror(&account).await;
        tell(&account, order("2", "kazan", 95, "Анна", &first)).await;
        assert!(!held(&account, "Анна").0.contains("+7916"), "{which:?}");
    }
}

#[tokio::test]
async fn a_phone_that_was_taken_for_another_persons_stands_in_the_contact_again() {
    for which in BOTH {
        let account = Account::of(which).await;
        let (hers, his) =
            (["phone:+79160000001", "email:a@example.com"], ["phone:+79160000002", "email:b@example.com"]);
        tell(&account, order("1", "moscow", 1, "Анна", &hers)).await;
        tell(&account, order("2", "moscow", 2, "Борис", &his)).await;
        mirror(&account).await;
        tell(&account, order("1", "moscow", 50, "Анна", &[his[0], hers[1]])).await;
        mirror(&account).await;
        tell(&account, order("1", "moscow", 90, "Анна", &hers)).await;
        let (first, second) = (held(&account, "+79160000001"), held(&account, "+79160000002"));
        assert!(
            first.0.contains("a@example.com") && second.0.contains("b@example.com"),
            "{which:?}: {first:?} {second:?}"
        );
        // She has his number now.
        tell(&account, order("2", "moscow", 91, "Борис", &["phone:+79160000003", his[1]])).await;
        tell(&account, order("3", "kazan", 92, "Анна", &[his[0], hers[1]])).await;
        assert!(held(&account, "+79160000002").0.contains("a@example.com"), "{which:?}: {:?}", account.picture());
    }
}

#[tokio::test]
async fn a_phone_that_a_manager_took_away_before_it_was_corrected_stays_away() {
    for which in BOTH {
        let account = Account::of(which).await;
        let (first, second, mail) = ("phone:+79160000001", "phone:+79160000002", "email:a@example.com");
        tell(&account, order("1", "moscow", 1, "Анна", &[first, mail])).await;
        edit(&account, which, contact_with(&account, which, "+79160000001"), &[]);
        tell(&account, order("1", "moscow", 50, "Анна", &[second, mail])).await;
        assert!(held(&account, "a@example.com").0.contains("+79160000002"), "{which:?}");
        tell(&account, order("1", "moscow", 90, "Анна", &[first, mail])).await;
        assert!(!held(&account, "a@example.com").0.contains("+7916"), "{which:?}: {:?}", account.picture());
    }
}

/// A contact of Vtiger has room for four phones.
#[tokio::test]
async fn a_phone_for_which_there_was_no_room_is_written_once_there_is() {
    let account = Account::of(Which::Vtiger).await;
    let (boris, kassa) = ("customer/shop:7", "email:kassa@example.com");
    tell(&account, order("b1", "moscow", 1, "Борис", &[boris, kassa])).await;
    let other = |n: i64| {
        order(&n.to_string(), "moscow", 1 + n, &format!("Гость {n}"), &[&format!("phone:+791600000{n:02}"), kassa])
    };
    for n in 1..5 {
        tell(&account, other(n)).await;
    }
    tell(&account, order("b2", "moscow", 9, "Борис", &[boris, "phone:+79160000050"])).await;
    assert_eq!(account.counts().0, 1, "five phones are one person so far");
    for n in 10..16 {
        tell(&account, other(n)).await;
    }
    assert!(held(&account, "+79160000050").0.contains("Борис"), "{:?}", account.picture());
}

#[tokio::test]
async fn who_parts_from_people_who_were_joined_one_after_the_other_is_nobodys_duplicate() {
    let (anna, boris, clara) = ("phone:+79161110001", "phone:+79161110002", "phone:+79161110003");
    for which in BOTH {
        let account = Account::of(which).await;
        tell(&account, form("moscow", 1, "Anna", &[anna])).await;
        tell(&account, form("moscow", 2, "Boris", &[boris, "email:boris@example.com"])).await;
        tell(&account, form("moscow", 3, "Clara", &[clara, "email:clara@example.com"])).await;
        // Boris mistypes his address, and is found to be Anna then.
        tell(&account, order("1", "moscow", 10, "Boris", &[boris, "email:clara@example.com"])).await;
        tell(&account, form("moscow", 20, "Anna", &[anna, "email:boris@example.com"])).await;
        assert_eq!(duplicates(&account, which), 2);
        tell(&account, order("1", "moscow", 30, "Boris", &[boris, "email:boris@example.com"])).await;
        tell(&account, form("moscow", 40, "Anna", &[anna])).await;
        let (contact, _) = held(&account, "+79161110003");
        assert!(contact.contains("clara@example.com") && !contact.contains("duplicate"), "{contact}");
        assert_eq!(duplicates(&account, which), 1, "Boris is Anna");
    }
}

/// The number of the contact that bears this phone.
pub(crate) fn contact_with(account: &Account, which: Which, phone: &str) -> u64 {
    let rows = match which {
        Which::Amo => account.amocrm().contacts(),
        Which::Vtiger => account.vtiger().records("Contacts"),
    };
    let row = rows.into_iter().find(|row| row.to_string().contains(phone)).expect("a contact");
    let of_vtiger = || row["id"].as_str()?.split_once('x')?.1.parse().ok();
    row["id"].as_u64().or_else(of_vtiger).expect("a number")
}

/// While they are one, the hub writes into the contact of both what the manager wrote into his.
#[tokio::test]
async fn a_phone_that_a_manager_added_does_not_tie_those_who_were_taken_for_one() {
    for which in BOTH {
        let account = Account::of(which).await;
        let (anna, boris, hers) = ("phone:+79160000001", "phone:+79160000002", "email:anna@example.com");
        tell(&account, form("moscow", 1, "Анна", &[anna, hers])).await;
        tell(&account, form("moscow", 2, "Борис", &[boris])).await;
        let phones = [("+79160000002", "WORK", "mobile"), ("+74953000131", "WORK", "homephone")];
        edit(&account, which, contact_with(&account, which, "+79160000002"), &phones);
        mirror(&account).await;
        tell(&account, order("3", "kazan", 3, "Борис", &[boris, hers])).await;
        mirror(&account).await;
        let joined = contact_with(&account, which, "+79160000001");
        assert_eq!(joined, contact_with(&account, which, "+74953000131"), "{which:?}: {:?}", account.picture());
        tell(&account, order("3", "kazan", 50, "Борис", &[boris, "email:boris@example.com"])).await;
        mirror(&account).await;
        let (first, second) = (held(&account, "+79160000001"), held(&account, "+79160000002"));
        assert!(!first.0.contains("+79160000002") && !first.0.contains("+74953000131"), "{which:?}: {first:?}");
        assert!(second.0.contains("+74953000131") && !second.0.contains("anna@"), "{which:?}: {second:?}");
        assert_eq!(duplicates(&account, which), 0, "{which:?}");
    }
}
