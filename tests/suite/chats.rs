//! From an SMS through the page of messengers and a chat to one contact in the CRM.

use std::time::Duration;

use serde_json::{Value, json};
use stagedoor_model::{Phone, Region};
use stagedoor_sandbox::{Arrived, Platform};
use stagedoor_sync::Invitee;
use stagedoor_testkit::fans::{Account, ChatFan};
use stagedoor_tests::hub::TestHub;

const NOW: i64 = 1_795_600_000;

fn phone(text: &str) -> Phone {
    Phone::parse(text, Region::new("RU").expect("a region")).expect("a phone")
}

/// Sends the invitation and answers with the link that arrived.
async fn invited(hub: &TestHub, text: &str) -> String {
    let invitees = [Invitee { phone: phone(text), name: None }];
    hub.hub.sync.invite("ufa", &invitees).await.expect("invited");
    let to = phone(text).as_str().trim_start_matches('+').to_owned();
    let sms = arrived(hub, Platform::Sms, &to, 1).await;
    let sms = sms.first().expect("an SMS");
    let at = sms.text.find("http").expect("a link");
    sms.text[at..].split_whitespace().next().expect("a link").to_owned()
}

/// Waits until so many messages arrived at somebody.
async fn arrived(hub: &TestHub, platform: Platform, to: &str, count: usize) -> Vec<Arrived> {
    for _ in 0..400 {
        let all: Vec<Arrived> =
            hub.messengers.arrived().into_iter().filter(|one| one.platform == platform && one.to == to).collect();
        if all.len() >= count {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let all = hub.messengers.arrived();
    panic!("{count} messages to {to} did not arrive; {} did: {all:?}", all.len());
}

/// The token in the deep link of one messenger on the page.
async fn token_on_page(link: &str, needle: &str) -> String {
    let page =
        reqwest::Client::builder().build().expect("a client").get(link).header("user-agent", "Mozilla/5.0 (iPhone)");
    let page = page.send().await.expect("the page").text().await.expect("text");
    let at = page.find(needle).unwrap_or_else(|| panic!("{needle} is not on the page: {page}")) + needle.len();
    page[at..].chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn field(contact: &Value, code: &str) -> Option<String> {
    let fields = contact["custom_fields_values"].as_array()?;
    let field = fields.iter().find(|field| field["field_code"] == code)?;
    field["values"][0]["value"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_fan_known_by_phone_who_starts_a_chat_stays_one_contact_and_gets_a_code() {
    let hub = TestHub::start().await;
    let known = json!({ "name": "Раневская Любовь", "custom_fields_values": [
        { "field_code": "PHONE", "values": [{ "value": "8 (917) 123-45-67", "enum_code": "MOB" }] } ] });
    hub.sandbox.add_contacts(&[known]);
    stagedoor::commands::backfill(&hub.hub).await.expect("mirrored");

    let link = invited(&hub, "+79171234567").await;
    let token = token_on_page(&link, "t.me/stagedoor_tour_bot?start=").await;
    let fan = ChatFan::new(Account::Telegram(5_342_492_667), "🌸 lubasha");
    hub.messengers.open(Platform::Telegram, &fan.id());
    hub.take(&fan.start(Some(&token), 1, NOW)).await;

    let reply = arrived(&hub, Platform::Telegram, &fan.id(), 1).await.remove(0);
    assert!(reply.text.contains("Раневская Любовь"), "by the name that the CRM knows: {}", reply.text);
    assert!(reply.text.contains("UFA-"), "with a code: {}", reply.text);
    assert!(reply.button.as_ref().is_some_and(|url| url.starts_with(&hub.base)), "and a tracked link");
    hub.settled().await;

    let contacts = hub.sandbox.contacts();
    assert_eq!(contacts.len(), 1, "no second contact");
    assert_eq!(contacts[0]["name"], "Раневская Любовь");
    assert_eq!(field(&contacts[0], "STAGEDOOR_CHANNELS").as_deref(), Some("Telegram"));
    let stages = hub.sandbox.leads_by_stage();
    assert_eq!(stages.get(&("Уфа".into(), "Промокод выдан".into())), Some(&1), "{stages:?}");
    let notes = hub.sandbox.notes();
    assert!(notes.iter().any(|note| note["params"]["text"].as_str().is_some_and(|text| text.contains("UFA-"))));

    // The same webhook again changes nothing and sends nothing.
    hub.take(&fan.start(Some(&token), 1, NOW)).await;
    hub.settled().await;
    assert_eq!(arrived(&hub, Platform::Telegram, &fan.id(), 1).await.len(), 1);
}
