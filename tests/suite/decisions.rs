//! What managers decide about who is who by the hub's commands, from the wire to the CRM.

use serde_json::{Value, json};
use stagedoor::decisions;
use stagedoor_model::{Identifier, Timestamp};
use stagedoor_testkit::{SignedRequest, form_signed};
use stagedoor_tests::hub::TestHub;

fn order(id: &str, name: &str, phone: &str, email: &str) -> SignedRequest {
    let tickets = json!([{ "id": "t1", "show": { "id": "kzn-1" }, "price": "1500.00" }]);
    let body = json!({ "type": "order", "data": {
        "id": id, "number": id, "status": "paid", "updated_at": "2026-01-10T10:05:00Z", "placed_at": "2026-01-10T10:00:00Z",
        "paid_at": "2026-01-10T10:05:00Z", "currency": "RUB", "total": "1500.00",
        "buyer": { "name": name, "email": email, "phone": phone }, "tickets": tickets, "refunds": [],
    }});
    form_signed("/ticketing/theatre", &body, "theatre-shop-secret", id, Timestamp::now())
}

fn read(hub: &TestHub, text: &str) -> Identifier {
    stagedoor::commands::read_identifier(text, hub.hub.config.region).expect("an identifier")
}

/// Deals that are worth something, by contact.
fn worth(hub: &TestHub) -> Vec<(String, u64)> {
    let contacts = hub.sandbox.contacts();
    let leads = hub.sandbox.leads();
    let of = |contact: &Value| {
        let hangs = |lead: &&Value| {
            let all = lead["_embedded"]["contacts"].as_array().expect("contacts");
            all.iter().any(|one| one["id"] == contact["id"])
        };
        leads.iter().filter(hangs).filter_map(|lead| lead["price"].as_u64()).sum::<u64>()
    };
    let name = |contact: &Value| contact["name"].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<(String, u64)> = contacts.iter().map(|contact| (name(contact), of(contact))).collect();
    all.sort();
    all
}

#[tokio::test]
async fn two_people_whom_a_manager_joins_and_parts_have_their_own_deals_again() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "Анна", "+79161234567", "anna@example.com")).await;
    hub.take(&order("T-2", "Борис", "+79161112233", "boris@example.com")).await;
    assert_eq!(hub.settled().await.people, 2);
    let (anna, boris) = (read(&hub, "8 916 123-45-67"), read(&hub, "boris@example.com"));
    let told = decisions::join(&hub.hub, &anna, &boris, "olga").await.expect("joined");
    assert!(told[0].starts_with("one person: "), "{told:?}");
    assert_eq!(hub.settled().await.people, 1);
    let text = stagedoor::commands::explanation(&hub.hub, &boris).await.expect("somebody");
    assert!(text.contains("shares phone:+79161234567") && text.contains("T-2"), "{text}");
    assert_eq!(text.matches("made from").count(), 1, "{text}");

    let told = decisions::part(&hub.hub, &anna, &boris, "olga").await.expect("parted");
    assert!(told[0].starts_with("two people: "), "{told:?}");
    assert_eq!(hub.settled().await.people, 2);
    let both = [("Анна".to_owned(), 1500), ("Борис".to_owned(), 1500)];
    assert_eq!(worth(&hub), both);
    let paid = |hub: &TestHub| hub.sandbox.leads_by_stage().get(&("Казань".to_owned(), "Оплачено".to_owned())).copied();
    assert_eq!(paid(&hub), Some(2), "neither is lost any more: {:?}", hub.sandbox.leads_by_stage());
    // Once more, there and back.
    decisions::join(&hub.hub, &anna, &boris, "olga").await.expect("joined");
    assert_eq!(hub.settled().await.people, 1);
    decisions::part(&hub.hub, &anna, &boris, "olga").await.expect("parted");
    assert_eq!(hub.settled().await.people, 2);
    assert_eq!((worth(&hub), paid(&hub)), (both.to_vec(), Some(2)), "{:?}", hub.sandbox.leads_by_stage());
    // What holds them together by itself does not undo the decision.
    hub.take(&order("T-3", "Борис", "+79161234567", "boris@example.com")).await;
    assert_eq!(hub.settled().await.people, 2);
}

#[tokio::test]
async fn a_decision_about_somebody_unknown_says_so() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "Анна", "+79161234567", "anna@example.com")).await;
    hub.settled().await;
    let (anna, nobody) = (read(&hub, "anna@example.com"), read(&hub, "nobody@example.com"));
    for told in [
        decisions::join(&hub.hub, &anna, &nobody, "olga").await,
        decisions::part(&hub.hub, &nobody, &anna, "olga").await,
    ] {
        assert!(told.expect_err("refused").contains("nobody is known by"), "a sentence");
    }
    let told = decisions::part(&hub.hub, &anna, &anna, "olga").await.expect_err("refused");
    assert!(told.contains("name two"), "{told}");
    let told = decisions::lift(&hub.hub, &anna, "olga").await.expect_err("refused");
    assert!(told.contains("not marked as a crowd's"), "{told}");
}

#[tokio::test]
async fn a_decision_that_is_refused_is_not_recorded() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "Анна", "+79161234567", "anna@example.com")).await;
    hub.settled().await;
    let (phone, email) = (read(&hub, "+79161234567"), read(&hub, "anna@example.com"));
    let told = decisions::part(&hub.hub, &phone, &email, "olga").await.expect_err("refused");
    assert!(told.contains("nothing is recorded"), "{told}");
    // She buys again with her e-mail alone, and is still one person.
    hub.take(&order("T-2", "Анна", "", "anna@example.com")).await;
    assert_eq!(hub.settled().await.people, 1);

    hub.take(&order("T-3", "Борис", "+79161112233", "boris@example.com")).await;
    hub.settled().await;
    let (phone, boris) = (read(&hub, "+79161112233"), read(&hub, "boris@example.com"));
    decisions::join(&hub.hub, &email, &boris, "olga").await.expect("joined");
    decisions::part(&hub.hub, &email, &boris, "olga").await.expect("parted");
    let told = decisions::join(&hub.hub, &email, &phone, "olga").await.expect_err("refused");
    assert!(told.contains("stagedoor join email:anna@example.com email:boris@example.com"), "{told}");
    assert_eq!(hub.settled().await.people, 2);
}

#[tokio::test]
async fn a_crowd_is_listed_and_can_be_lifted() {
    let hub = TestHub::start().await;
    let cashier = "kassa@example.com";
    for n in 0..12 {
        hub.take(&order(&format!("T-{n}"), &format!("Гость {n}"), &format!("+7916000{n:04}"), cashier)).await;
    }
    let before = hub.settled().await.people;
    assert_eq!(before, 12, "strangers with a cashier's e-mail stay strangers");
    let listed = decisions::crowds(&hub.hub).await.expect("listed");
    assert!(listed.iter().any(|line| line.contains(cashier)), "{listed:?}");
    let told = decisions::lift(&hub.hub, &read(&hub, cashier), "olga").await.expect("lifted");
    assert!(told[0].contains("12 people"), "{told:?}");
    hub.settled().await;
    let listed = decisions::crowds(&hub.hub).await.expect("listed");
    assert!(!listed.iter().any(|line| line.contains(cashier)), "{listed:?}");
    // The guard of five phones still holds.
    let after = hub.settled().await.people;
    assert!((3..12).contains(&after), "{after} people");
}

#[tokio::test]
async fn strangers_who_part_when_a_crowd_is_found_are_written_once() {
    let hub = TestHub::start().await;
    let cashier = "kassa@example.com";
    let buy = |n: usize| order(&format!("T-{n}"), &format!("Гость {n}"), &format!("+7916000{n:04}"), cashier);
    for n in 0..5 {
        hub.take(&buy(n)).await;
    }
    assert_eq!(hub.settled().await.people, 1);
    for n in 5..11 {
        hub.take(&buy(n)).await;
    }
    assert_eq!(hub.settled().await.people, 11);
    let calls = hub.sandbox.calls();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(hub.sandbox.calls(), calls, "nothing is left to do");
    assert_eq!(worth(&hub).iter().map(|(_, sum)| *sum).collect::<Vec<_>>(), [1500; 11]);
}
