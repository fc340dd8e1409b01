//! The Ufa case: what the hub tells of it, and what a manager sees in the CRM.

use std::collections::BTreeSet;

use serde_json::Value;
use stagedoor::{campaign::figures, ufa};
use stagedoor_engine::By;
use stagedoor_sandbox::Platform;
use stagedoor_tests::hub::TestHub;

fn field<'v>(entity: &'v Value, code: &str) -> Option<&'v str> {
    let fields = entity["custom_fields_values"].as_array()?;
    fields.iter().find(|field| field["field_code"] == code)?["values"][0]["value"].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ufa_case_ends_with_243_contacts_86_chats_and_23_buyers() {
    let hub = TestHub::start().await;
    ufa::play(&hub.hub, &hub.base, &hub.sandbox, &hub.messengers).await.expect("played, and the two agree");
    let told = figures(&hub.hub, "ufa").await.expect("figures");
    assert_eq!((told.sent, told.not_sent, told.people), (243, 0, 243));
    let chats: Vec<(&str, usize)> = told.chats.iter().map(|(name, count)| (*name, *count)).collect();
    assert_eq!(chats, [("Messenger", 9), ("Telegram", 34), ("VK", 20), ("Viber", 23)]);
    assert_eq!((told.codes, told.purchases.get(&By::Code)), (86, Some(&23)));
    assert_eq!(told.revenue.get("RUB"), Some(&14_250_000));
    assert!(told.opened >= 86 && told.unsubscribed > 0);

    // Nobody was written to twice for one thing.
    let sms = hub.messengers.arrived().into_iter().filter(|one| one.platform == Platform::Sms);
    let phones: Vec<String> = sms.map(|one| one.to).collect();
    assert_eq!((phones.len(), phones.iter().collect::<BTreeSet<_>>().len()), (243, 243));

    let contacts = hub.sandbox.contacts();
    assert_eq!(contacts.len(), 243);
    let names: BTreeSet<&str> = contacts.iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(!names.contains("мама Оли") && !names.contains("🎸"), "no nickname became a name");
    let chatting = contacts.iter().filter(|one| field(one, "STAGEDOOR_CHANNELS").is_some()).count();
    assert_eq!(chatting, 86);
    let closed =
        contacts.iter().filter(|one| field(one, "STAGEDOOR_CHANNELS").is_some_and(|text| text.contains("closed")));
    assert!(closed.count() > 0, "a block shows");
    let owed =
        hub.sandbox.leads().iter().filter(|lead| field(lead, "STAGEDOOR_CAMPAIGN") == Some("ufa (promo code)")).count();
    assert_eq!(owed, 23);
    let questions = hub.sandbox.tasks().len();
    assert_eq!(questions, 7, "a task for each who asked what no reply is for");
}
