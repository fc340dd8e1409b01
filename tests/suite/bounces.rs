//! Which letters that came back close an address, at every mail provider, and how it is opened again.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stagedoor::decisions;
use stagedoor_engine::{ConsentPolicy, may_advertise};
use stagedoor_model::{Body, Channel, Email, Identifier, MailMessageState, Timestamp};
use stagedoor_testkit::{form_signed, samples, unisender};
use stagedoor_tests::{hub::TestHub, provider_harness::ProviderHarness};

const KEY: &str = "6x4mpl3un1s3nd3rk3y0000000000000";

/// Gmail's words to a sender of a mailbox that gets too much at once.
const AT_A_RATE: &str = "The user you are trying to contact is receiving mail at a rate that prevents additional \
                         messages from being delivered. Please resend your message at a later time.";

/// What a provider's report of a failed letter comes to, read again as a kept delivery is.
fn read(provider: &str, body: &Value) -> Vec<MailMessageState> {
    let all = samples::all().expect("samples");
    let sample = all.iter().find(|one| one.provider == provider).expect("a sample");
    let events = ProviderHarness::read_kept(sample, body);
    let states = events.iter().filter_map(|event| match &event.body {
        Body::LetterReported(reported) => Some(reported.state),
        _ => None,
    });
    states.collect()
}

fn mailgun(reason: &str, code: u16, message: &str) -> Value {
    json!({ "signature": { "token": "t" }, "event-data": {
        "event": "failed", "severity": "permanent", "timestamp": 1_795_197_791.5, "recipient": "anna@example.test",
        "reason": reason, "delivery-status": { "code": code, "message": message } } })
}

fn sendgrid(status: &str, reason: &str) -> Value {
    json!([{ "event": "bounce", "type": "bounce", "status": status, "reason": reason, "sg_event_id": "e",
        "email": "anna@example.test", "timestamp": 1_795_197_791 }])
}

fn classified(status: &str, class: &str) -> Value {
    let mut told = sendgrid(status, "550 5.2.1");
    told[0]["bounce_classification"] = class.into();
    told
}

fn dropped(reason: &str) -> Value {
    json!([{ "event": "dropped", "reason": reason, "sg_event_id": "e", "email": "anna@example.test",
        "timestamp": 1_795_197_791 }])
}

fn ses(kind: &str, status: &str, words: &str) -> Value {
    let one = json!({ "emailAddress": "anna@example.test", "status": status, "diagnosticCode": words });
    let inner = json!({ "eventType": "Bounce", "mail": { "messageId": "m" },
        "bounce": { "bounceType": "Permanent", "bounceSubType": kind, "bouncedRecipients": [one] } });
    json!({ "Type": "Notification", "MessageId": "m", "Message": inner.to_string() })
}

fn postmark(details: &str) -> Value {
    json!({ "RecordType": "Bounce", "ID": 1, "Type": "HardBounce", "MessageID": "m", "Email": "anna@example.test",
        "Details": details, "Description": "(ex: unknown user, mailbox not found)" })
}

fn go(status: &str, response: &str) -> Value {
    json!({ "event_name": "transactional_email_status", "status": "hard_bounced", "email": "anna@example.test",
        "event_time": "2026-09-06 23:22:40",
        "delivery_info": { "delivery_status": status, "destination_response": response } })
}

fn sendpulse(response: &str) -> Value {
    json!([{ "event": "hard_bounces", "email": "anna@example.test", "timestamp": 1_795_197_791, "task_id": 7,
        "smtp_server_response": response }])
}

#[test]
fn only_a_mailbox_that_does_not_exist_closes_an_address() {
    use MailMessageState::{HardBounced, Rejected, SoftBounced};
    for (provider, body, expected) in [
        ("mailgun", mailgun("bounce", 550, "5.1.1 No such user"), HardBounced),
        ("mailgun", mailgun("espblock", 550, "5.7.1 blocked"), SoftBounced),
        ("mailgun", mailgun("generic", 552, "5.2.2 mailbox full"), SoftBounced),
        ("mailgun", mailgun("old", 602, "Too old"), SoftBounced),
        ("mailgun", mailgun("generic", 550, "No such user here"), HardBounced),
        ("sendgrid", sendgrid("5.1.1", "550 5.1.1 unknown"), HardBounced),
        ("sendgrid", sendgrid("5.7.1", "550 5.7.1 on a block list"), SoftBounced),
        ("sendgrid", sendgrid("5.2.2", "552 5.2.2 the mailbox is full"), SoftBounced),
        ("sendgrid", sendgrid("5.0.0", "550 No such user"), HardBounced),
        ("ses", ses("General", "5.1.1", "smtp; 550 5.1.1 user unknown"), HardBounced),
        ("ses", ses("General", "5.7.1", "smtp; 550 5.7.1 policy"), SoftBounced),
        ("ses", ses("NoEmail", "5.7.1", ""), HardBounced),
        ("ses", ses("OnAccountSuppressionList", "5.1.1", ""), Rejected),
        ("postmark", postmark("smtp;550 5.1.1 no account"), HardBounced),
        ("postmark", postmark("smtp;550 5.7.1 DMARC"), SoftBounced),
        ("postmark", postmark("smtp;550"), SoftBounced),
        ("postmark", postmark("smtp;554 delivery error: dd Not accepted from your host"), SoftBounced),
        ("mailgun", mailgun("bounce", 550, "5.2.1 The email account that you tried to reach is disabled"), HardBounced),
        ("mailgun", mailgun("bounce", 550, &format!("5.2.1 {AT_A_RATE}")), SoftBounced),
        ("sendgrid", sendgrid("5.2.1", &format!("550 5.2.1 {AT_A_RATE}")), SoftBounced),
        ("sendgrid", classified("5.2.1", "Frequency or Volume Too High"), SoftBounced),
        ("sendgrid", classified("5.2.1", "Invalid Address"), HardBounced),
        ("postmark", postmark(&format!("smtp;550-5.2.1 {AT_A_RATE}")), SoftBounced),
        ("ses", ses("General", "5.2.1", "smtp; 550 5.2.1 The user is receiving mail too quickly"), SoftBounced),
        ("mailgun", mailgun("generic", 550, "Administrative prohibition"), SoftBounced),
        ("sendgrid", sendgrid("", "550 sorry, we do not accept mail from your IP"), SoftBounced),
        ("sendgrid", sendgrid("5.0.0", "554 Transaction failed: access denied, sender IP"), SoftBounced),
        ("sendgrid", sendgrid("5.0.0", "unable to get mx info: lookup example.test"), SoftBounced),
        ("sendgrid", dropped("Invalid SMTPAPI header"), Rejected),
        ("sendgrid", dropped("Invalid"), HardBounced),
        ("sendgrid", dropped("Invalid email address."), HardBounced),
        ("ses", ses("General", "", "smtp; 550 rejected"), SoftBounced),
        ("unisender", go("hard_bounced", "550"), SoftBounced),
        ("sendpulse", sendpulse("550"), SoftBounced),
        ("unisender", go("err_user_unknown", "555 5.7.1 User unknown"), HardBounced),
        ("unisender", go("err_spam_rejected", "555 5.7.1 spam"), SoftBounced),
        ("unisender", go("", "552 5.2.2 full"), SoftBounced),
        ("sendpulse", sendpulse("550 5.1.1 User not found"), HardBounced),
        ("sendpulse", sendpulse("554 5.7.1 rejected"), SoftBounced),
    ] {
        assert_eq!(read(provider, &body), [expected], "{provider}: {body}");
    }
}

/// Whether a report withdraws a consent.
fn withdraws(provider: &str, body: &Value) -> bool {
    let all = samples::all().expect("samples");
    let sample = all.iter().find(|one| one.provider == provider).expect("a sample");
    let events = ProviderHarness::read_kept(sample, body);
    events.iter().any(|event| matches!(event.body, Body::ConsentRecorded(_)))
}

#[test]
fn only_a_person_complains_and_no_filter_or_list_of_a_provider() {
    let bounce = |kind: &str| {
        json!({ "RecordType": "Bounce", "ID": 1, "Type": kind, "MessageID": "m", "Email": "anna@example.test",
            "Details": "smtp;550 5.7.1 Message rejected as spam" })
    };
    let complaint = |kind: Value| {
        let who = json!([{ "emailAddress": "anna@example.test" }]);
        let inner = json!({ "eventType": "Complaint", "mail": { "messageId": "m" },
            "complaint": { "complaintSubType": kind, "complainedRecipients": who } });
        json!({ "Type": "Notification", "MessageId": "m", "Message": inner.to_string() })
    };
    for (provider, body, states, is_word) in [
        ("postmark", bounce("SpamNotification"), vec![MailMessageState::SoftBounced], false),
        ("postmark", bounce("SpamComplaint"), vec![], true),
        ("ses", complaint("OnAccountSuppressionList".into()), vec![MailMessageState::Rejected], false),
        ("ses", complaint(Value::Null), vec![], true),
    ] {
        assert_eq!((read(provider, &body), withdraws(provider, &body)), (states, is_word), "{provider}: {body}");
    }
}

#[tokio::test]
async fn an_address_that_was_held_back_is_opened_by_its_owner_or_by_an_operator() {
    let hub = TestHub::start().await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let body = json!({ "form": "f", "email": "anna@example.com", "consents": consents });
    let says = |id: &str| form_signed("/website/site", &body, "generic-source-secret", id, Timestamp::now());
    let anna = Identifier::email(Email::parse("anna@example.com").expect("an address"));
    let open = async || {
        let owners = hub.hub.store.resolve(&BTreeSet::from([anna.clone()])).await.expect("resolved").owners;
        let person = hub.hub.store.load(&owners.into_values().collect()).await.expect("loaded").remove(0).value;
        may_advertise(&person, Channel::Email, &anna, &ConsentPolicy::default(), None)
    };
    let bounces = async |campaign: u32| {
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        let zone = jiff::tz::TimeZone::get("Europe/Moscow").expect("a zone");
        let when = Timestamp::now().to_zoned_datetime(zone).strftime("%Y-%m-%d %H:%M:%S").to_string();
        let data = json!({ "email": "anna@example.com", "campaign_id": campaign, "status": "err_user_unknown" });
        let event = json!({ "event_name": "email_status", "event_time": when, "event_data": data });
        hub.take(&unisender("/mail/unisender", &[event], KEY)).await;
        hub.settled().await;
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    };
    hub.take(&says("1")).await;
    hub.settled().await;
    assert!(decisions::reopen(&hub.hub, &anna).await.is_err(), "it is not held back");
    bounces(1).await;
    assert!(!open().await, "the mailbox does not exist");
    hub.take(&says("2")).await;
    hub.settled().await;
    assert!(open().await, "its owner gives it anew");
    bounces(2).await;
    assert!(!open().await, "and it still does not exist");
    decisions::reopen(&hub.hub, &anna).await.expect("reopened");
    assert!(open().await, "the operator knows better");
}
