//! Nothing that a person says in a messenger is lost: each word is in the conversation, or its delivery is kept whole.

use serde_json::{Value, json};
use stagedoor_model::{Body, Content, Event, Messenger, SourceName, Timestamp};
use stagedoor_testkit::{SignedRequest, fans::signed_by_meta, json as posted, samples};
use stagedoor_tests::provider_harness::{ProviderHarness, source};

/// Fields in which people's own words stand, in any messenger.
const SAID: [&str; 8] =
    ["text", "caption", "body", "file_name", "filename", "question", "formatted_name", "first_name"];
/// Parents of what somebody else said or what tells who they are.
const OTHERS: [&str; 17] = [
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
    "buttons",
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
        if Messenger::named(&sample.provider).is_none() {
            continue;
        }
        let harness = ProviderHarness::of(&sample);
        let events = harness.take(&sample.signed_request(&harness.path)).await.events;
        let mut body: Value = serde_json::from_slice(&sample.body).unwrap_or(Value::Null);
        // Beside a press stands the message of ours that has the button.
        if body.get("callback").is_some() {
            body["message"] = Value::Null;
        }
        // What a message answers was said before.
        if body.pointer("/message/link/type").is_some_and(|kind| kind == "reply") {
            body["message"]["link"] = Value::Null;
        }
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

async fn heard(provider: &str, signed_request: impl FnOnce(&str) -> SignedRequest) -> Vec<Event> {
    heard_after(provider, 0, signed_request).await
}

/// Received so many milliseconds after the second in which it was sent.
async fn heard_after(provider: &str, late: i64, signed_request: impl FnOnce(&str) -> SignedRequest) -> Vec<Event> {
    let mut source = source(provider, "secret");
    source.name = SourceName::new(provider).expect("a name");
    let harness =
        ProviderHarness::open(source, Timestamp::from_millisecond(1_800_000_000_000 + late).expect("in range"));
    harness.take(&signed_request(&harness.path)).await.events
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
    let signed_request = |path: &str| SignedRequest {
        path: path.to_owned(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_string().into_bytes(),
    };
    let events = heard("vk", signed_request).await;
    assert_eq!(kept(&events).trim(), "forwarded\n> Ваш билет: ряд 7\n> место 9");
}

/// The places of the events of deliveries that came one after the other within one second.
async fn places(provider: &str, deliveries: Vec<impl FnOnce(&str) -> SignedRequest>) -> Vec<(Timestamp, u64)> {
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
        move |path: &str| SignedRequest {
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

#[tokio::test]
async fn every_phone_and_every_e_mail_of_every_card_of_whatsapp_is_heard() {
    let card = |name: &str, phones: Value, emails: Value| {
        let name = json!({ "formatted_name": name });
        json!({ "name": name, "phones": phones, "emails": emails })
    };
    let first = card(
        "Анна",
        json!([{ "phone": "+7 916 123-45-01" }, { "phone": "+7 916 123-45-02", "type": "WORK" }]),
        json!([{ "email": "anna@example.com" }, { "email": "ranevskaya@example.com" }]),
    );
    let second = card("Борис", json!([{ "wa_id": "79161234503" }]), json!([]));
    let events = whatsapp_message(json!({ "type": "contacts", "contacts": [first, second] })).await;
    let anna = "Анна\n+7 916 123-45-01\n+7 916 123-45-02\nanna@example.com\nranevskaya@example.com";
    assert_eq!(said_of(&events), [format!("contacts\n{anna}\nБорис\n79161234503\n")]);
}

#[tokio::test]
async fn another_number_in_whatsapp_is_the_same_person_whatever_the_platform_calls_it() {
    for system in [
        json!({ "type": "user_changed_number", "wa_id": "79160000002" }),
        json!({ "type": "customer_changed_number", "wa_id": "79160000002", "customer": "79161234567" }),
        json!({ "type": "customer_changed_number", "new_wa_id": "79160000002" }),
    ] {
        let events = whatsapp_message(json!({ "type": "system", "system": system })).await;
        let bodies: Vec<&Body> = events.iter().map(|event| &event.body).collect();
        let [Body::ChatRenamed(changed)] = bodies[..] else { panic!("{events:?}") };
        assert_eq!(changed.chat.id.to_string(), "whatsapp:79160000002", "{system}");
        let before: stagedoor_model::Identifier = "whatsapp:79161234567".parse().expect("an id");
        assert!(changed.chat.also.contains(&before), "{system}: {changed:?}");
    }
    for kind in ["customer_identity_changed", "user_identity_changed"] {
        let events = whatsapp_message(json!({ "type": "system", "system": { "type": kind } })).await;
        assert!(events.is_empty(), "another device says nothing: {events:?}");
    }
    let events = whatsapp_message(json!({ "type": "system", "system": { "type": "customer_levitated" } })).await;
    assert!(matches!(&events[..], [one] if matches!(one.body, Body::Unrecognized(_))), "it is kept: {events:?}");
}

/// Whether the chat only opened. `None` if it did not start.
fn only_opened(events: &[Event]) -> Option<bool> {
    events.iter().find_map(|event| match &event.body {
        Body::ChatStarted(started) => Some(started.only_opened),
        _ => None,
    })
}

#[tokio::test]
async fn a_person_who_only_follows_a_link_or_an_advertisement_asks_for_no_messages() {
    let all = samples::all().expect("events/ can be read");
    for (provider, case, expected) in [
        ("viber", "conversation_started_with_context", true),
        ("messenger", "m_me_existing_chat_referral", true),
        ("messenger", "referral_ads_without_ref", true),
        ("messenger", "m_me_new_chat_get_started", false),
        ("messenger", "optin_ref_plugin", false),
        ("instagram", "igme_referral_existing_chat", true),
        ("whatsapp", "click_to_whatsapp_ad_referral", true),
        ("vk", "message_new_with_ref", false),
        ("vk", "message_allow_with_key", false),
        ("telegram", "start_with_token", false),
        ("max", "bot_started_with_payload", false),
    ] {
        let sample = all.iter().find(|one| one.provider == provider && one.case == case).expect("a sample");
        let harness = ProviderHarness::of(sample);
        let events = harness.take(&sample.signed_request(&harness.path)).await.events;
        assert_eq!(only_opened(&events), Some(expected), "{provider}/{case}");
    }
    let asks = json!({ "ref": "k7Qw_9Zt-Lm2Xa", "text": "Сколько стоит?" });
    let events = vk("message_new", json!({ "message": vk_message(asks) })).await;
    assert_eq!((only_opened(&events), said_of(&events)), (Some(true), vec!["Сколько стоит?".to_owned()]));
    let begins = json!({ "ref": "k7Qw_9Zt-Lm2Xa", "text": "Начать" });
    let events = vk("message_new", json!({ "message": vk_message(begins) })).await;
    assert_eq!(only_opened(&events), Some(false));
    let (at, purpose) = (Timestamp::from_second(1_800_000_000).expect("in range"), stagedoor_model::Purpose::Chat);
    let token = stagedoor_model::LinkKey::new("test").mint(1, purpose, "fan", at);
    assert_eq!(only_opened(&whatsapp(&format!("Хочу промокод [{token}]")).await), Some(false));
}

async fn telegram(update: Value) -> Vec<Event> {
    let secret = "x-telegram-bot-api-secret-token";
    heard("telegram", |path| posted(path, &update).header(secret, "secret")).await
}

fn telegram_message(more: Value) -> Value {
    let mut message = json!({ "message_id": 8, "date": 1_800_000_000,
        "from": { "id": 42, "is_bot": false, "first_name": "Анна" }, "chat": { "id": 42, "type": "private" } });
    for (key, value) in more.as_object().expect("an object") {
        message[key] = value.clone();
    }
    message
}

async fn vk(kind: &str, object: Value) -> Vec<Event> {
    let body = json!({ "type": kind, "group_id": 191_949_777, "secret": "secret", "event_id": "e1", "object": object });
    let signed_request = |path: &str| SignedRequest {
        path: path.to_owned(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_string().into_bytes(),
    };
    heard("vk", signed_request).await
}

fn vk_message(more: Value) -> Value {
    let mut message = json!({ "id": 7, "date": 1_800_000_000, "peer_id": 700, "from_id": 700, "text": "" });
    for (key, value) in more.as_object().expect("an object") {
        message[key] = value.clone();
    }
    message
}

#[tokio::test]
async fn a_text_that_was_changed_is_heard_as_a_new_line_in_every_messenger() {
    let edit = json!({ "edit_date": 1_800_000_060, "text": "я НЕ приду, верните деньги" });
    let mut told = vec![telegram(json!({ "update_id": 9, "edited_message": telegram_message(edit) })).await];
    let edit = json!({ "update_time": 1_800_000_060, "text": "я НЕ приду, верните деньги" });
    told.push(vk("message_edit", vk_message(edit)).await);
    let new = json!({ "type": "text", "text": { "body": "я НЕ приду, верните деньги" } });
    told.push(
        whatsapp_message(json!({ "type": "edit", "edit": { "original_message_id": "wamid.0", "message": new } })).await,
    );
    for (provider, page) in [("messenger", "page"), ("instagram", "instagram")] {
        let one = json!({ "sender": { "id": "77" }, "recipient": { "id": "5" }, "timestamp": 1_800_000_060_000_u64,
            "message_edit": { "mid": "m", "text": "я НЕ приду, верните деньги", "num_edit": 1 } });
        let body = json!({ "object": page, "entry": [{ "id": "5", "messaging": [one] }] });
        told.push(heard(provider, |path| signed_by_meta(path, &body, "secret")).await);
    }
    for events in told {
        assert_eq!(said_of(&events), ["edited\nя НЕ приду, верните деньги\n"], "{events:?}");
    }
    let moves = json!({ "edit_date": 1_800_000_060, "location": { "latitude": 55.7, "longitude": 37.6 } });
    let events = telegram(json!({ "update_id": 9, "edited_message": telegram_message(moves) })).await;
    assert!(events.is_empty(), "a place that moves on says nothing: {events:?}");
    let strange = whatsapp_message(json!({ "type": "edit", "edit": { "new": "?" } })).await;
    assert!(strange.iter().any(|event| matches!(event.body, Body::Unrecognized(_))), "{strange:?}");
    let by_us = vk("message_edit", vk_message(json!({ "out": 1, "text": "Здравствуйте!" }))).await;
    assert!(by_us.is_empty(), "{by_us:?}");
}

#[tokio::test]
async fn all_that_hangs_on_a_forward_or_on_the_word_that_begins_is_heard() {
    let photo = |n: u64| {
        json!({ "type": "photo", "photo": { "id": n, "owner_id": 5, "text": format!("подпись {n}"),
            "sizes": [{ "width": 100, "url": format!("https://vk.example/{n}.jpg") }] } })
    };
    let third = json!({ "from_id": 5, "text": "третий", "attachments": [photo(3)] });
    let second = json!({ "from_id": 5, "text": "второй", "attachments": [photo(2)], "fwd_messages": [third] });
    let first = json!({ "from_id": 5, "text": "первый", "attachments": [photo(1)], "fwd_messages": [second] });
    let events = vk("message_new", json!({ "message": vk_message(json!({ "fwd_messages": [first] })) })).await;
    let words = "> первый\n> подпись 1\n> второй\n> подпись 2\n> третий\n> подпись 3";
    let files = "https://vk.example/1.jpg\nhttps://vk.example/2.jpg\nhttps://vk.example/3.jpg";
    assert_eq!(said_of(&events), [format!("forwarded\n{words}\n{files}")]);
    let begins = json!({ "text": "Начать", "attachments": [photo(1)] });
    let events = vk("message_new", json!({ "message": vk_message(begins) })).await;
    assert!(events.iter().any(|event| matches!(event.body, Body::ChatStarted(_))), "{events:?}");
    assert_eq!(said_of(&events), ["photo\nподпись 1\nhttps://vk.example/1.jpg"]);
}

#[tokio::test]
async fn what_a_poll_offers_and_what_an_answer_quotes_is_heard() {
    let poll = json!({ "poll": { "id": "1", "question": "Когда идём?", "options": [{ "text": "В пятницу" }, { "text": "В субботу" }] } });
    let events = telegram(json!({ "update_id": 9, "message": telegram_message(poll) })).await;
    assert_eq!(said_of(&events), ["poll\nКогда идём?\nВ пятницу\nВ субботу\n"]);
    let quote = json!({ "text": "1", "quote": { "text": "Начало в 19:00\nвход с 18:30", "position": 0 } });
    let events = telegram(json!({ "update_id": 9, "message": telegram_message(quote) })).await;
    assert_eq!(said_of(&events), ["quote\n> Начало в 19:00\n> вход с 18:30\n", "1"]);
    assert!(events[0].order < events[1].order, "{events:?}");
}
