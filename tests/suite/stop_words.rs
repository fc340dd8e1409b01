//! What people write to stop messages, wherever they write it, and what providers do that is no word of theirs.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::{Value, json};
use stagedoor_engine::{Standing, ledger, standing};
use stagedoor_model::{Channel, Email, Identifier, Kind, MARKETING, Messenger, Phone, Region, Timestamp};
use stagedoor_sandbox::Platform;
use stagedoor_testkit::{
    SignedRequest,
    fans::{Account, ChatFan},
    form, form_signed, samples, unisender,
};
use stagedoor_tests::{
    hub::TestHub,
    provider_harness::{self, ProviderHarness},
    tamper,
};

/// Who wrote more than a day ago is not answered any more.
static NOW: LazyLock<i64> = LazyLock::new(|| Timestamp::now().as_second());

const KEY: &str = "6x4mpl3un1s3nd3rk3y0000000000000";
const STOPS: [&str; 7] =
    ["Отпишите меня", "Не надо мне больше писать", "стоп реклама", "Стоп, спасибо", "СТОП 7", "не присылайте", "cтоп"];
const SMELLS: [&str; 2] = ["Как отписаться?", "Стоп, а где мой билет на пятницу"];

fn phone(text: &str) -> Identifier {
    Identifier::phone(Phone::parse(text, Region::new("RU").expect("a region")).expect("a phone"))
}

fn email(text: &str) -> Identifier {
    Identifier::email(Email::parse(text).expect("an address"))
}

async fn stands(hub: &TestHub, who: Identifier, channel: Channel) -> Standing {
    let owners = hub.hub.store.resolve(&BTreeSet::from([who])).await.expect("resolved").owners;
    let person = hub.hub.store.load(&owners.into_values().collect()).await.expect("loaded").remove(0).value;
    standing(&ledger(&person), MARKETING, channel, None, &hub.hub.config.catalog.consent, None)
}

fn sms(phone: &str, id: &str, words: &str) -> SignedRequest {
    let zone = jiff::tz::TimeZone::get("Europe/Moscow").expect("a zone");
    let time = Timestamp::now().to_zoned_datetime(zone).strftime("%d.%m.%Y %H:%M:%S").to_string();
    form("/mail/smsc/smsc_hook_17", &[("sms_id", id), ("phone", phone), ("mes", words), ("time", &time)])
}

#[tokio::test]
async fn the_same_words_stop_in_chats_and_by_sms() {
    let hub = TestHub::start().await;
    for (n, words) in (1_u64..).zip(STOPS.into_iter().chain(SMELLS)) {
        let fan = ChatFan::new(Account::Telegram(4_243_000 + n), "Анна");
        hub.messengers.open(Platform::Telegram, &fan.id());
        hub.take(&fan.start(None, n * 10, *NOW - 60)).await;
        hub.take(&fan.say(words, n * 10 + 1, *NOW - 50)).await;
        hub.take(&sms(&format!("7916100000{n}"), &n.to_string(), words)).await;
    }
    hub.settled().await;
    for (n, words) in (1_u64..).zip(STOPS.into_iter().chain(SMELLS)) {
        let chat =
            Identifier::opaque(Kind::Chat(Messenger::Telegram), "", &(4_243_000 + n).to_string()).expect("an id");
        let by_sms = stands(&hub, phone(&format!("+7916100000{n}")), Channel::Sms).await;
        let in_chat = stands(&hub, chat, Channel::Messenger).await;
        for stands in [by_sms, in_chat] {
            assert_eq!(matches!(stands, Standing::Withdrawn(_)), STOPS.contains(&words), "{words}: {stands:?}");
        }
    }
    let tasks = hub.sandbox.tasks();
    let told = tasks.iter().filter(|task| task.to_string().contains("Perhaps they want no more advertising")).count();
    assert_eq!(told, SMELLS.len() * 2, "{tasks:?}");
}

#[tokio::test]
async fn a_list_that_is_tidied_up_withdraws_nobody() {
    let harness = ProviderHarness::open(
        provider_harness::source("mailchimp", "mailchimp-path-secret"),
        "2027-05-01T10:00:00Z".parse().expect("a time"),
    );
    for (action, withdraws) in [("unsub", true), ("archive", false), ("delete", false)] {
        let signed_request = form(
            &format!("{}/mailchimp-path-secret", harness.path),
            &[
                ("type", "unsubscribe"),
                ("fired_at", "2027-05-01 09:00:00"),
                ("data[action]", action),
                ("data[reason]", "manual"),
                ("data[email]", "anna@example.com"),
                ("data[list_id]", "a6b5da1054"),
            ],
        );
        let events = harness.take(&signed_request).await.events;
        let kinds: Vec<&str> = events.iter().map(|event| event.kind()).collect();
        let expected = if withdraws { "stagedoor.consent.recorded.v1" } else { "stagedoor.membership.reported.v1" };
        assert_eq!(kinds, [expected], "{action}");
    }
}

#[tokio::test]
async fn an_unsubscription_that_cannot_be_read_whole_withdraws_what_can_be_read() {
    let hub = TestHub::start().await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let both = json!({ "email": "anna@example.com", "phone": "+79161234567", "consents": consents });
    hub.take(&form_signed("/website/site", &both, "generic-source-secret", "1", Timestamp::now())).await;
    hub.settled().await;
    let when = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    let event = json!({ "event_name": "unsubscribe", "event_time": when,
        "event_data": { "email": "", "phone": "79161234567", "list_ids": [134] } });
    hub.take(&unisender("/mail/unisender", &[event], KEY)).await;
    hub.settled().await;
    let letters = stands(&hub, email("anna@example.com"), Channel::Email).await;
    assert!(matches!(letters, Standing::Withdrawn(_)), "{letters:?}");
}

#[tokio::test]
async fn an_unsubscription_with_odd_fields_withdraws_all_the_same() {
    let withdrawn = "stagedoor.consent.recorded.v1";
    let all = samples::all().expect("events/ can be read");
    let sample = all.into_iter().find(|one| one.provider == "sendgrid" && one.case == "open");
    let sample = sample.expect("a sample");
    let told = vec![json!({ "email": "anna@example.test", "timestamp": 1_795_197_800, "event": "group_unsubscribe",
        "sg_event_id": "sgev0002", "asm_group_id": 10 })];
    let bent: [fn(&mut Value); 4] = [
        |one| _ = one.as_object_mut().and_then(|one| one.remove("sg_event_id")),
        |one| one["sg_event_id"] = json!({}),
        |one| one["email"] = json!([one["email"]]),
        |one| one["event"] = "Group_Unsubscribe ".into(),
    ];
    for (number, change) in bent.iter().enumerate() {
        let (harness, mut told) = (ProviderHarness::of(&sample), told.clone());
        told.iter_mut().for_each(change);
        let body = serde_json::to_vec(&told).expect("JSON");
        let events = harness.take(&tamper::signed(&sample, &harness.path, body)).await.events;
        assert!(events.iter().any(|event| event.kind() == withdrawn), "{number}: {events:?}");
    }
    let at: Timestamp = "2027-05-01T10:00:00Z".parse().expect("a time");
    let harness = ProviderHarness::open(provider_harness::source("unisender", KEY), at);
    let event = json!({ "event_name": "unsubscribe", "event_time": "2027-05-01 09:00:00",
        "event_data": { "email": "anna@example.com; boris@example.com", "list_ids": [134] } });
    let events = harness.take(&unisender(&harness.path, &[event], KEY)).await.events;
    assert_eq!(events.iter().filter(|event| event.kind() == withdrawn).count(), 2, "{events:?}");
    let harness = ProviderHarness::open(provider_harness::source("mailchimp", "mailchimp-path-secret"), at);
    let signed_request = form(
        &format!("{}/mailchimp-path-secret", harness.path),
        &[
            ("type", "unsubscribe"),
            ("fired_at", "2027-05-01 09:00:00"),
            ("data[action]", "unsub"),
            ("data[email]", ""),
            ("data[merges][EMAIL]", "anna@example.com"),
            ("data[list_id]", "a6b5da1054"),
        ],
    );
    let events = harness.take(&signed_request).await.events;
    assert!(events.iter().any(|event| event.kind() == withdrawn), "{events:?}");
}
