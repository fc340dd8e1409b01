//! What people say where the bot must keep silent: in a chat that a manager holds, and by SMS where the gateway answers.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stagedoor::segment_commands;
use stagedoor_model::{Body, Content, Event, Identifier, Messenger, Timestamp};
use stagedoor_sandbox::Platform;
use stagedoor_testkit::{
    SignedRequest,
    fans::{Account, ChatFan, signed_by_meta},
    form, hmac_sha1_base64,
};
use stagedoor_tests::{
    hub::TestHub,
    provider_harness::{ProviderHarness, source},
};

const PAGE: &str = "707356222221168";

/// How somebody stands with a channel, and how many withdrawals their ledger has.
async fn stands(hub: &TestHub, who: &Identifier, channel: &str) -> (String, usize) {
    let told = segment_commands::evidence(&hub.hub, who).await.expect("evidence");
    let withdrawn = |entry: &&Value| entry["decision"] == "withdrawn";
    let count = told["ledger"].as_array().expect("a ledger").iter().filter(withdrawn).count();
    (told["now"][channel]["standing"].as_str().expect("a standing").to_owned(), count)
}

/// All notes of the CRM.
fn notes(hub: &TestHub) -> String {
    json!(hub.sandbox.notes()).to_string()
}

/// An update of a page whose chat another app answers.
fn standby(path: &str, object: &str, who: &str, millisecond: i64, update: &Value, secret: &str) -> SignedRequest {
    let mut one = json!({ "sender": { "id": who }, "recipient": { "id": PAGE }, "timestamp": millisecond });
    for (key, value) in update.as_object().expect("an object") {
        one[key] = value.clone();
    }
    let entry = json!({ "id": PAGE, "time": millisecond, "standby": [one] });
    signed_by_meta(path, &json!({ "object": object, "entry": [entry] }), secret)
}

#[tokio::test]
async fn a_stop_that_is_said_to_a_manager_in_messenger_counts_and_the_bot_says_nothing() {
    let hub = TestHub::start().await;
    let fan = ChatFan::new(Account::Messenger(1_476_077_422_000_901), "кот");
    hub.messengers.open(Platform::Messenger, &fan.id());
    let now = Timestamp::now().as_second();
    hub.take(&fan.say("А можно прийти с собакой?", 1, now - 90)).await;
    hub.settled().await;
    let answered = hub.messengers.arrived().len();
    for (n, words) in [(2, "Запишите: 8 916 123-45-67"), (3, "Сколько стоит?"), (4, "Стоп")] {
        let update = json!({ "message": { "mid": format!("m_{n}"), "text": words } });
        let millisecond = (now - 90 + n * 10) * 1_000;
        let secret = "stagedoor-meta-app-secret";
        hub.take(&standby("/messaging/messenger", "page", &fan.id(), millisecond, &update, secret)).await;
    }
    hub.settled().await;
    assert_eq!((answered, hub.messengers.arrived().len()), (1, 1), "{:?}", hub.messengers.arrived());
    let chat = Identifier::chat(Messenger::Messenger, "messenger", &fan.id()).expect("an id");
    assert_eq!(stands(&hub, &chat, "messenger").await, ("withdrawn".to_owned(), 1));
    for words in ["Запишите: 8 916 123-45-67", "Сколько стоит?", "Стоп"] {
        assert_eq!(notes(&hub).matches(words).count(), 1, "{words}: {}", notes(&hub));
    }
}

async fn taken(provider: &str, signed_request: impl FnOnce(&str) -> SignedRequest) -> Vec<Event> {
    let at = Timestamp::from_second(1_800_000_100).expect("in range");
    let harness = ProviderHarness::open(source(provider, "secret"), at);
    harness.take(&signed_request(&harness.path)).await.events
}

/// An event as a reader of the conversation sees it.
fn shown(event: &Event) -> String {
    match &event.body {
        Body::MessageReceived(heard) => match &heard.content {
            Content::Other { kind, caption, files } => {
                let parts: Vec<&str> = caption.iter().chain(files).map(String::as_str).collect();
                format!("{kind}: {}", parts.join(" "))
            }
            content => format!("{content:?}"),
        },
        Body::ChatStopped(changed) => format!("stop, of marketing alone: {}", changed.marketing_only),
        Body::ConsentRecorded(said) => format!("{:?} by {}", said.decision, said.method),
        Body::MessageReported(told) => format!("{:?}", told.state),
        body => body.kind().to_owned(),
    }
}

fn all_shown(events: &[Event]) -> Vec<String> {
    let ids: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), events.len(), "each fact has its own id: {events:?}");
    events.iter().map(shown).collect()
}

#[tokio::test]
async fn whatever_is_said_while_another_app_answers_is_a_quote_and_opens_nothing() {
    const STOP: &str = "stop, of marketing alone: true";
    let image = json!({ "type": "image", "payload": { "url": "https://cdn.example/1.jpg" } });
    let reply = json!({ "mid": "m", "text": "Больше не писать", "quick_reply": { "payload": "q1" } });
    for (update, expected) in [
        (json!({ "message": { "mid": "m", "text": "Здравствуйте" } }), vec!["quote: Здравствуйте"]),
        (json!({ "message": { "mid": "m", "text": "Стоп" } }), vec![STOP, "quote: Стоп"]),
        (json!({ "message": reply }), vec![STOP, "quote: Больше не писать\nq1"]),
        (json!({ "message": { "mid": "m", "attachments": [image] } }), vec!["quote: image https://cdn.example/1.jpg"]),
        (json!({ "message_edit": { "mid": "m", "text": "Стоп", "num_edit": 1 } }), vec![STOP, "quote: Стоп"]),
        // The platform leaves out the payload there.
        (json!({ "postback": { "mid": "p", "title": "Отпишите меня" } }), vec![STOP, "quote: Отпишите меня"]),
        (json!({ "postback": { "mid": "p", "title": "Начать", "payload": "GET_STARTED" } }), vec![]),
        (json!({ "message": { "mid": "m", "text": "Чем помочь?", "is_echo": true } }), vec![]),
        (json!({ "read": { "mid": "m" } }), vec!["Seen"]),
        (json!({ "optin": { "notification_messages_status": "STOP_NOTIFICATIONS" } }), vec![STOP]),
        (json!({ "levitated": { "mid": "m" } }), vec!["stagedoor.delivery.unrecognized.v1"]),
    ] {
        for (provider, object) in [("messenger", "page"), ("instagram", "instagram")] {
            let sent = |path: &str| standby(path, object, "77", 1_800_000_000_000, &update, "secret");
            assert_eq!(all_shown(&taken(provider, sent).await), expected, "{provider}: {update}");
        }
    }
}

#[tokio::test]
async fn a_stop_by_sms_withdraws_once_stands_in_the_conversation_and_gets_no_answer() {
    let hub = TestHub::start().await;
    hub.consents_to_sms(&["+79161234567"]).await;
    let who = "phone:+79161234567".parse().expect("a phone");
    assert_eq!(stands(&hub, &who, "sms").await, ("given".to_owned(), 0));
    let zone = jiff::tz::TimeZone::get("Europe/Moscow").expect("a zone");
    let time = (Timestamp::now() - jiff::SignedDuration::from_secs(60)).to_zoned_datetime(zone);
    let time = time.strftime("%d.%m.%Y %H:%M:%S").to_string();
    let fields = [("sms_id", "7"), ("phone", "79161234567"), ("mes", "Стоп, спасибо"), ("time", &time)];
    for _ in 0..2 {
        hub.take(&form("/mail/smsc/smsc_hook_17", &fields)).await;
        hub.settled().await;
    }
    assert_eq!(stands(&hub, &who, "sms").await, ("withdrawn".to_owned(), 1));
    assert_eq!(notes(&hub).matches("Стоп, спасибо").count(), 1, "{}", notes(&hub));
    assert!(hub.messengers.arrived().is_empty(), "{:?}", hub.messengers.arrived());
    assert!(hub.sandbox.tasks().is_empty(), "there is nothing to decide: {:?}", hub.sandbox.tasks());
}

/// An SMS as Twilio brings it.
fn by_twilio(path: &str, more: &[(&str, &str)]) -> SignedRequest {
    let plain = [("From", "+79161234567"), ("MessageSid", "SM1"), ("SmsStatus", "received"), ("To", "+15005550006")];
    let mut fields = [&plain[..], more].concat();
    fields.sort_unstable();
    let signed: String = fields.iter().map(|(name, value)| format!("{name}{value}")).collect();
    let signed = format!("https://hub.example.test/mail/twilio/main{signed}");
    let signature = hmac_sha1_base64("secret", signed.as_bytes());
    form(path, &fields).header("x-twilio-signature", &signature)
}

#[tokio::test]
async fn every_word_and_every_file_that_twilio_brings_is_kept() {
    const WITHDRAWN: &str = "Withdrawn by stop-word";
    let pictures = [
        ("NumMedia", "2"),
        ("MediaUrl0", "https://api.example/0"),
        ("MediaContentType0", "image/jpeg"),
        ("MediaUrl1", "https://api.example/1"),
        ("MediaContentType1", "application/pdf"),
    ];
    let card = [("NumMedia", "1"), ("MediaUrl0", "https://api.example/0"), ("MediaContentType0", "text/vcard")];
    for (more, expected) in [
        (vec![("Body", "HELP"), ("OptOutType", "HELP")], vec!["quote: HELP"]),
        (vec![("Body", "START"), ("OptOutType", "START")], vec!["quote: START"]),
        (vec![("Body", "Хватит"), ("OptOutType", "STOP")], vec![WITHDRAWN, "quote: Хватит"]),
        (vec![("Body", "Стоп, спасибо")], vec![WITHDRAWN, "quote: Стоп, спасибо"]),
        (vec![("Body", "Где мой билет?")], vec!["Text(\"Где мой билет?\")"]),
        (
            [&[("Body", "Вот мой билет")][..], &pictures].concat(),
            vec!["image: Вот мой билет https://api.example/0 https://api.example/1"],
        ),
        ([&[("Body", "Стоп")][..], &card].concat(), vec![WITHDRAWN, "quote: Стоп https://api.example/0"]),
        (card.to_vec(), vec!["file: https://api.example/0"]),
        (vec![("NumMedia", "0")], vec!["stagedoor.delivery.unrecognized.v1"]),
    ] {
        let events = taken("twilio", |path| by_twilio(path, &more)).await;
        assert_eq!(all_shown(&events), expected, "{more:?}");
        let again = taken("twilio", |path| by_twilio(path, &more)).await;
        let ids = |events: &[Event]| events.iter().map(|event| event.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(&events), ids(&again), "a second delivery is the same facts");
    }
}
