//! Nothing that a person says in a messenger is lost: each word is in the conversation, or its delivery is kept whole.

use serde_json::{Value, json};
use stagedoor_model::{Body, Content, Event, SourceName, Timestamp};
use stagedoor_testkit::{Parcel, fans::signed_by_meta, json as posted, samples};
use stagedoor_tests::door::{Door, source};

const MESSENGERS: [&str; 6] = ["telegram", "viber", "vk", "messenger", "instagram", "whatsapp"];
/// Fields in which people's own words stand, in any messenger.
const SAID: [&str; 8] =
    ["text", "caption", "body", "file_name", "filename", "question", "formatted_name", "first_name"];
/// Parents of what somebody else said or what tells who they are.
const OTHERS: [&str; 16] = [
    "from",
    "sender",
    "chat",
    "user",
    "reply_to_message",
    "reply_message",
    "profile",
    "contacts_of_sender",
    "client_info",
    "quick_reply",
    "postback",
    "button_reply",
    "list_reply",
    "context",
    "system",
    "entities",
];

fn said(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| !OTHERS.contains(&key.as_str())) {
                match value.as_str() {
                    Some(text) if SAID.contains(&key.as_str()) && !text.trim().is_empty() => all.push(text.to_owned()),
                    _ => said(value, all),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| said(value, all)),
        _ => {}
    }
}

/// The words of the conversation, as it is kept.
fn kept(events: &[Event]) -> String {
    let content = |event: &Event| match &event.body {
        Body::MessageReceived(heard) => match &heard.content {
            Content::Text(text) | Content::Button(text) => text.clone(),
            Content::Pressed { payload, label } => format!("{payload}\n{label}"),
            Content::Other { kind, caption, files } => {
                format!("{kind}\n{}\n{}", caption.as_deref().unwrap_or(""), files.join("\n"))
            }
        },
        _ => String::new(),
    };
    events.iter().map(content).collect::<Vec<_>>().join("\n")
}

fn is_heard(event: &Event) -> bool {
    matches!(event.body, Body::MessageReceived(_))
}

#[tokio::test]
async fn every_word_of_every_sample_is_in_the_conversation() {
    let mut checked = 0;
    for sample in samples::all().expect("events/ can be read") {
        if !MESSENGERS.contains(&sample.provider.as_str()) {
            continue;
        }
        let door = Door::of(&sample);
        let events = door.take(&sample.parcel(&door.path)).await.events;
        let body: Value = serde_json::from_slice(&sample.body).unwrap_or(Value::Null);
        // Buttons are ours, and so is a token.
        if !events.iter().any(is_heard) || events.iter().any(|event| matches!(event.body, Body::ChatStarted(_))) {
            continue;
        }
        let mut words = Vec::new();
        said(&body, &mut words);
        let conversation = kept(&events);
        let is_button = events.iter().any(
            |event| matches!(&event.body, Body::MessageReceived(heard) if matches!(heard.content, Content::Button(_))),
        );
        for word in words.iter().filter(|_| !is_button) {
            for line in word.trim().lines() {
                checked += 1;
                assert!(conversation.contains(line), "{}/{}: {line:?} is lost", sample.provider, sample.case);
            }
        }
    }
    assert!(checked > 30, "{checked}");
}

async fn heard(provider: &str, parcel: impl FnOnce(&str) -> Parcel) -> Vec<Event> {
    heard_after(provider, 0, parcel).await
}

/// Received so many milliseconds after the second in which it was sent.
async fn heard_after(provider: &str, late: i64, parcel: impl FnOnce(&str) -> Parcel) -> Vec<Event> {
    let mut source = source(provider, "secret");
    source.name = SourceName::new(provider).expect("a name");
    let door = Door::open(source, Timestamp::from_millisecond(1_800_000_000_000 + late).expect("in range"));
    door.take(&parcel(&door.path)).await.events
}

async fn whatsapp(text: &str) -> Vec<Event> {
    whatsapp_message(json!({ "type": "text", "text": { "body": text } })).await
}

async fn whatsapp_message(content: Value) -> Vec<Event> {
    let mut message = json!({ "from": "79161234567", "id": "wamid.1", "timestamp": "1800000000" });
    for (key, value) in content.as_object().expect("an object") {
        message[key] = value.clone();
    }
    let value = json!({ "metadata": { "phone_number_id": "106540352242922" }, "messages": [message] });
    let body = json!({ "object": "whatsapp_business_account",
        "entry": [{ "id": "1", "changes": [{ "field": "messages", "value": value }] }] });
    heard("whatsapp", |path| signed_by_meta(path, &body, "secret")).await
}

#[tokio::test]
async fn what_is_written_beside_the_token_of_whatsapp_is_heard() {
    let token = stagedoor_model::LinkKey::new("test").mint(
        1,
        stagedoor_model::Purpose::Chat,
        "fan",
        Timestamp::from_second(1_800_000_000).expect("in range"),
    );
    let filled = format!("Хочу промокод. Код моей ссылки: [{token}]");
    let alone = whatsapp(&filled).await;
    assert_eq!((alone.len(), kept(&alone)), (1, String::new()), "nobody said the words of the link");
    for (text, expected) in [
        (format!("{filled}\nИ подскажите, есть ли места для коляски?"), "И подскажите, есть ли места для коляски?"),
        (format!("Здравствуйте! {filled}"), "Здравствуйте!"),
        ("Вот снимок [screenshot-2026-11-27] экрана".to_owned(), "Вот снимок [screenshot-2026-11-27] экрана"),
    ] {
        let events = whatsapp(&text).await;
        assert_eq!(kept(&events).trim(), expected, "{text}");
        let starts = events.iter().filter(|event| matches!(event.body, Body::ChatStarted(_))).count();
        assert_eq!(
            starts,
            usize::from(text.contains(&filled)),
            "brackets that hold no link of ours open nothing: {text}"
        );
    }
}

#[tokio::test]
async fn what_is_forwarded_in_vk_is_heard() {
    let message = json!({ "id": 7, "date": 1_800_000_000, "peer_id": 700, "from_id": 700, "text": "",
        "fwd_messages": [{ "from_id": 5, "text": "Ваш билет: ряд 7" }, { "from_id": 5, "text": "место 9" }] });
    let body = json!({ "type": "message_new", "group_id": 191_949_777, "secret": "secret", "event_id": "e1",
        "object": { "message": message } });
    let parcel = |path: &str| Parcel {
        path: path.to_owned(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_string().into_bytes(),
    };
    let events = heard("vk", parcel).await;
    assert_eq!(kept(&events).trim(), "forwarded\n> Ваш билет: ряд 7\n> место 9");
}

/// The places of the events of deliveries that came one after the other within one second.
async fn places(provider: &str, deliveries: Vec<impl FnOnce(&str) -> Parcel>) -> Vec<(Timestamp, u64)> {
    let mut places = Vec::new();
    for (late, delivery) in (0..).zip(deliveries) {
        places.extend(heard_after(provider, late, delivery).await.iter().map(|event| (event.time, event.order)));
    }
    places
}

#[tokio::test]
async fn what_is_said_within_one_second_keeps_its_order_in_every_messenger() {
    let second = 1_800_000_000;
    let plain = |body: Value| {
        move |path: &str| Parcel {
            path: path.to_owned(),
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.to_string().into_bytes(),
        }
    };
    let vk = |n: i64| {
        // Numbers of messages of a community are no order within one chat.
        let message = json!({ "id": 100 - n, "date": second, "peer_id": 700, "from_id": 700, "text": format!("{n}"),
            "conversation_message_id": n });
        plain(json!({ "type": "message_new", "group_id": 191_949_777, "secret": "secret", "event_id": format!("e{n}"),
            "object": { "message": message } }))
    };
    let told = places("vk", vec![vk(1), vk(2), vk(3)]).await;
    assert!(told.len() == 3 && told.is_sorted_by(|a, b| a.0 == b.0 && a.1 < b.1), "{told:?}");
    let whatsapp = |n: i64| {
        let one = |n: i64| {
            json!({ "from": "79161234567", "id": format!("wamid.{n}"), "timestamp": second.to_string(),
                "type": "text", "text": { "body": n.to_string() } })
        };
        let value =
            json!({ "metadata": { "phone_number_id": "106540352242922" }, "messages": [one(2 * n), one(2 * n + 1)] });
        let body = json!({ "object": "whatsapp_business_account",
            "entry": [{ "id": "1", "changes": [{ "field": "messages", "value": value }] }] });
        move |path: &str| signed_by_meta(path, &body, "secret")
    };
    let told = places("whatsapp", vec![whatsapp(1), whatsapp(2)]).await;
    assert!(told.len() == 4 && told.is_sorted_by(|a, b| a.0 == b.0 && a.1 < b.1), "{told:?}");
}

fn said_of(events: &[Event]) -> Vec<String> {
    let all = events.iter().filter(|event| is_heard(event));
    all.map(|event| kept(std::slice::from_ref(event))).collect()
}

#[tokio::test]
async fn the_label_of_a_pressed_button_is_heard_beside_its_payload() {
    let events = whatsapp_message(json!({ "type": "button",
        "button": { "text": "Отписаться", "payload": "unsub-42" } }))
    .await;
    assert_eq!(said_of(&events), ["unsub-42\nОтписаться"]);
    let reply = json!({ "type": "button_reply", "button_reply": { "id": "b7", "title": "Больше не писать" } });
    let events = whatsapp_message(json!({ "type": "interactive", "interactive": reply })).await;
    assert_eq!(said_of(&events), ["b7\nБольше не писать"]);
    let message = json!({ "mid": "m", "text": "Больше не писать", "quick_reply": { "payload": "q1" } });
    for (provider, page) in [("messenger", "page"), ("instagram", "instagram")] {
        for told in [
            json!({ "message": message }),
            json!({ "postback": { "mid": "p", "title": "Больше не писать", "payload": "q1" } }),
        ] {
            let mut one =
                json!({ "sender": { "id": "77" }, "recipient": { "id": "5" }, "timestamp": 1_800_000_000_000_u64 });
            for (key, value) in told.as_object().expect("an object") {
                one[key] = value.clone();
            }
            let body = json!({ "object": page, "entry": [{ "id": "5", "messaging": [one] }] });
            let events = heard(provider, |path| signed_by_meta(path, &body, "secret")).await;
            assert_eq!(said_of(&events), ["q1\nБольше не писать"], "{provider}: {told}");
        }
    }
}

#[tokio::test]
async fn what_is_written_behind_start_is_heard() {
    let start = |text: &str| {
        json!({ "update_id": 7, "message": { "message_id": 8, "date": 1_800_000_000, "text": text,
            "from": { "id": 42, "is_bot": false, "first_name": "Анна" }, "chat": { "id": 42, "type": "private" } } })
    };
    let told = |text: &str| {
        let update = start(text);
        async move {
            let secret = "x-telegram-bot-api-secret-token";
            heard("telegram", |path| posted(path, &update).header(secret, "secret")).await
        }
    };
    let events = told("/start где мои билеты").await;
    assert!(events.iter().any(|event| matches!(event.body, Body::ChatStarted(_))), "{events:?}");
    assert_eq!(said_of(&events), ["где мои билеты"]);
    assert!(said_of(&told("/start").await).is_empty());
    assert!(said_of(&told("/start 01j9abcdefgh1234").await).is_empty());
}
