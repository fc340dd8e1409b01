//! A withdrawal that is said again after a new consent counts again, whatever its sender names it by.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use stagedoor::segment_commands;
use stagedoor_model::{Body, Decision, Email, EventId, Identifier, Timestamp, Unrecognized};
use stagedoor_testkit::{form_signed, samples};
use stagedoor_tests::{hub::TestHub, profile::function_of, provider_harness::source};
use stagedoor_webhook::reread;

const AT: i64 = 1_800_000_000;

/// A secret of the shape that the provider's have.
fn secret_of(provider: &str) -> String {
    let all = samples::all().expect("events/ can be read");
    let sample = all.into_iter().find(|one| one.provider == provider).expect("a sample");
    sample.notes.get("secret").expect("a sample names its secret").clone()
}

/// Ids of the withdrawals in a body that was received at this second.
fn withdrawals(provider: &str, content_type: &str, body: &str, second: i64) -> BTreeSet<EventId> {
    let source = source(provider, &secret_of(provider));
    let parser = stagedoor::functions::provider(function_of(provider), &source).expect("a provider");
    let kept = Unrecognized {
        route: String::new(),
        reason: String::new(),
        headers: [("content-type".to_owned(), content_type.to_owned())].into(),
        body: STANDARD.encode(body),
    };
    let at = Timestamp::from_second(second).expect("a time");
    let events = match reread(parser.as_ref(), &source.name, &kept, at) {
        Ok(events) => events,
        Err(why) => why.beside,
    };
    let withdraws = |body: &Body| match body {
        Body::ConsentRecorded(said) => said.decision == Decision::Withdrawn,
        Body::ChatStopped(_) => true,
        _ => false,
    };
    let ids: BTreeSet<EventId> = events.into_iter().filter(|one| withdraws(&one.body)).map(|one| one.id).collect();
    assert!(!ids.is_empty(), "{provider}: {body}");
    ids
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

fn encoded(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn tagged(more: &[(&str, &str)]) -> String {
    let row = [
        ("contacts[update][0][id]", "7"),
        ("contacts[update][0][type]", "contact"),
        ("contacts[update][0][tags][0][id]", "1"),
        ("contacts[update][0][tags][0][name]", "отписан"),
    ];
    encoded(&[&row[..], more].concat())
}

fn left_mailchimp(more: &[(&str, &str)]) -> String {
    let fields = [("type", "unsubscribe"), ("data[email]", "anna@example.com"), ("data[list_id]", "a6")];
    encoded(&[&fields[..], more].concat())
}

fn suppressed(more: Value) -> String {
    let mut body = json!({
        "RecordType": "SubscriptionChange", "Recipient": "anna@example.com", "SuppressSending": true,
        "SuppressionReason": "ManualSuppression", "Origin": "Recipient",
    });
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    body.to_string()
}

/// Bodies that name neither an id nor a time.
fn untimed() -> Vec<(&'static str, &'static str, String)> {
    let sendpulse = json!([{ "event": "unsubscribe", "email": "anna@example.com", "book_id": 490_686 }]);
    let unisender =
        json!({ "event_name": "unsubscribe", "event_data": { "email": "anna@example.com", "list_ids": [1] } });
    let sendgrid = json!([{ "event": "unsubscribe", "email": "anna@example.com" }]);
    let viber = json!({ "event": "unsubscribed", "user_id": "01234567890A=" });
    let vk = json!({ "type": "message_deny", "group_id": 191_949_777, "object": { "user_id": 7 } });
    let stop = json!({ "notification_messages_status": "STOP_NOTIFICATIONS" });
    let messenger = json!({
        "object": "page", "entry": [{ "id": "1", "messaging": [{ "sender": { "id": "7" }, "optin": stop }] }],
    });
    vec![
        ("amocrm", FORM, tagged(&[])),
        ("mailchimp", FORM, left_mailchimp(&[])),
        ("mailchimp", FORM, left_mailchimp(&[("fired_at", "*|DATE|*")])),
        ("unisender", JSON, unisender.to_string()),
        ("sendpulse", JSON, sendpulse.to_string()),
        ("sendgrid", JSON, sendgrid.to_string()),
        ("postmark", JSON, suppressed(json!({}))),
        ("viber", JSON, viber.to_string()),
        ("vk", JSON, vk.to_string()),
        ("messenger", JSON, messenger.to_string()),
    ]
}

#[test]
fn a_withdrawal_without_a_time_counts_again_when_it_comes_again() {
    for (provider, content_type, body) in untimed() {
        let at = |second: i64| withdrawals(provider, content_type, &body, second);
        assert_eq!(at(AT), at(AT), "{provider}: one receipt is one event");
        assert!(at(AT).is_disjoint(&at(AT + 60)), "{provider}: {body}");
    }
}

#[test]
fn what_is_told_with_its_time_or_id_counts_once_however_often_it_is_repeated() {
    let sendpulse =
        json!([{ "event": "unsubscribe", "email": "anna@example.com", "book_id": 1, "timestamp": AT - 60 }]);
    let data = json!({ "email": "anna@example.com", "list_ids": [1], "event_time": "2027-01-15 08:00:00" });
    let unisender = json!({ "event_name": "unsubscribe", "event_data": data });
    let sendgrid = json!([{ "event": "unsubscribe", "email": "anna@example.com", "sg_event_id": "x" }]);
    let bounce = json!({ "RecordType": "Bounce", "ID": 7, "Type": "Unsubscribe", "Email": "anna@example.com" });
    let viber = json!({ "event": "unsubscribed", "user_id": "01234567890A=", "message_token": 7 });
    let vk = json!({
        "type": "message_deny", "event_id": "x", "group_id": 191_949_777, "object": { "user_id": 7 },
    });
    for (provider, content_type, body) in [
        ("amocrm", FORM, tagged(&[("contacts[update][0][last_modified]", "1799999000")])),
        ("mailchimp", FORM, left_mailchimp(&[("fired_at", "2027-01-15 08:00:00")])),
        ("unisender", JSON, unisender.to_string()),
        ("sendpulse", JSON, sendpulse.to_string()),
        ("sendgrid", JSON, sendgrid.to_string()),
        ("postmark", JSON, suppressed(json!({ "ChangedAt": "2027-01-15T08:00:00Z" }))),
        ("postmark", JSON, bounce.to_string()),
        ("viber", JSON, viber.to_string()),
        ("vk", JSON, vk.to_string()),
    ] {
        let at = |second: i64| withdrawals(provider, content_type, &body, second);
        assert_eq!(at(AT), at(AT + 86_400), "{provider}: {body}");
    }
}

#[test]
fn two_words_of_one_second_are_two_events() {
    let at = ("fired_at", "2027-01-15 08:00:00");
    let mailchimp = |reason: &str| left_mailchimp(&[at, ("data[action]", "unsub"), ("data[reason]", reason)]);
    let stream = |name: &str| suppressed(json!({ "ChangedAt": "2027-01-15T08:00:00Z", "MessageStream": name }));
    for (provider, content_type, one, other) in [
        ("mailchimp", FORM, mailchimp("manual"), mailchimp("abuse")),
        ("postmark", JSON, stream("broadcasts"), stream("outbound")),
    ] {
        let of = |body: &str| withdrawals(provider, content_type, body, AT);
        assert!(of(&one).is_disjoint(&of(&other)), "{provider}");
    }
    let archived = left_mailchimp(&[at, ("data[action]", "archive"), ("data[reason]", "manual")]);
    let source = source("mailchimp", &secret_of("mailchimp"));
    let parser = stagedoor::functions::provider("mail", &source).expect("a provider");
    let kept = Unrecognized {
        route: String::new(),
        reason: String::new(),
        headers: [("content-type".to_owned(), FORM.to_owned())].into(),
        body: STANDARD.encode(archived),
    };
    let now = Timestamp::from_second(AT).expect("a time");
    let tidied = reread(parser.as_ref(), &source.name, &kept, now).expect("it is understood");
    assert!(!withdrawals("mailchimp", FORM, &mailchimp("manual"), AT).contains(&tidied[0].id));
}

#[tokio::test]
async fn a_managers_tag_that_is_set_again_on_the_same_day_withdraws_again() {
    let hub = TestHub::start().await;
    let anna = Identifier::email(Email::parse("anna@example.com").expect("an address"));
    let stands = async || {
        hub.settled().await;
        let told = segment_commands::evidence(&hub.hub, &anna).await.expect("evidence");
        // Two changes within one second are one.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        told["now"]["email"]["standing"].as_str().unwrap_or_default().to_owned()
    };
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let form = async |id: &str| {
        let body = json!({ "form": "f", "email": "anna@example.com", "name": "Анна", "consents": consents });
        hub.take(&form_signed("/website/site", &body, "generic-source-secret", id, Timestamp::now())).await;
    };
    let tags = |tags: Value| {
        let id = hub.sandbox.contacts()[0]["id"].as_u64().expect("an id");
        hub.sandbox.changed_by_manager("contacts", id, json!({ "_embedded": { "tags": tags } }));
    };
    form("1").await;
    assert_eq!(stands().await, "given");
    tags(json!([{ "name": "отписан" }]));
    assert_eq!(stands().await, "withdrawn");
    tags(json!([]));
    assert_eq!(stands().await, "withdrawn");
    form("2").await;
    assert_eq!(stands().await, "given");
    tags(json!([{ "name": "отписан" }]));
    assert_eq!(stands().await, "withdrawn", "set again on the same day");
}
