//! A withdrawal holds until a new word about that very channel, and every word stays in the ledger.

use std::{collections::BTreeSet, sync::LazyLock, time::Duration};

use serde_json::json;
use stagedoor_engine::{Entry, Standing, cell_of_withdrawals, ledger, standing};
use stagedoor_model::{Channel, Decision, Email, Identifier, Kind, MARKETING, Messenger, Timestamp};
use stagedoor_ports::read_withdrawals;
use stagedoor_sandbox::Platform;
use stagedoor_testkit::{
    SignedRequest,
    fans::{Account, ChatFan},
    form_signed, json as posted, unisender,
};
use stagedoor_tests::{
    hub::TestHub,
    messengers::{self, StandIn},
};

/// Who wrote more than a day ago is not answered any more.
static NOW: LazyLock<i64> = LazyLock::new(|| Timestamp::now().as_second());

const KEY: &str = "6x4mpl3un1s3nd3rk3y0000000000000";

async fn ledger_of(hub: &TestHub, who: Identifier) -> Vec<Entry> {
    let owners = hub.hub.store.resolve(&BTreeSet::from([who])).await.expect("resolved").owners;
    let person = hub.hub.store.load(&owners.into_values().collect()).await.expect("loaded").remove(0).value;
    ledger(&person)
}

/// Of the only person in the hub.
async fn only_ledger(hub: &TestHub) -> Vec<Entry> {
    let (ids, _) = hub.hub.store.scan_people(None, 10).await.expect("people");
    let people = hub.hub.store.load(&ids).await.expect("loaded");
    assert_eq!(people.len(), 1);
    ledger(&people[0].value)
}

fn stands(hub: &TestHub, entries: &[Entry], channel: Channel) -> Standing {
    standing(entries, MARKETING, channel, None, &hub.hub.config.catalog.consent, None)
}

fn methods(entries: &[Entry], decision: Decision) -> Vec<&str> {
    entries.iter().filter(|entry| entry.decision == decision).map(|entry| entry.method.as_str()).collect()
}

#[tokio::test]
async fn a_start_deletes_no_withdrawal_in_any_messenger() {
    for StandIn { messenger, platform, account } in messengers::all() {
        let hub = TestHub::start().await;
        let fan = ChatFan::new(account, "Анна");
        hub.messengers.open(platform, &fan.id());
        for signed_request in [
            fan.start(None, 1, *NOW - 60),
            fan.say("Здравствуйте", 2, *NOW - 50),
            fan.say("стоп", 3, *NOW - 40),
            fan.start(None, 4, *NOW - 30),
            fan.say("А билеты есть?", 5, *NOW - 20),
        ] {
            hub.take(&signed_request).await;
            hub.settled().await;
        }
        let entries = only_ledger(&hub).await;
        assert_eq!(methods(&entries, Decision::Withdrawn), ["stop-word"], "{messenger:?}: {entries:?}");
        for channel in [Channel::Email, Channel::Sms, Channel::Call] {
            let stands = stands(&hub, &entries, channel);
            assert!(matches!(stands, Standing::Withdrawn(_)), "{messenger:?} {channel:?}: {stands:?}");
        }
    }
}

#[tokio::test]
async fn a_bot_that_was_blocked_and_is_let_in_again_may_write_as_before_the_block() {
    for (stops, account, kind) in [
        (false, Account::Telegram(4_242_001), Kind::Chat(Messenger::Telegram)),
        (true, Account::Telegram(4_242_001), Kind::Chat(Messenger::Telegram)),
        (false, Account::Vk(4_242_003), Kind::Chat(Messenger::Vk)),
    ] {
        let hub = TestHub::start().await;
        let fan = ChatFan::new(account, "Анна");
        let platform = if kind == Kind::Chat(Messenger::Vk) { Platform::Vk } else { Platform::Telegram };
        hub.messengers.open(platform, &fan.id());
        let stop = stops.then(|| fan.say("стоп", 3, *NOW - 40));
        let block = fan.block(4, *NOW - 30);
        for signed_request in [Some(fan.start(None, 1, *NOW - 60)), stop, block].into_iter().flatten() {
            hub.take(&signed_request).await;
            hub.settled().await;
        }
        let id = Identifier::opaque(kind, "", &fan.id()).expect("an id");
        let now = stands(&hub, &ledger_of(&hub, id.clone()).await, Channel::Messenger);
        assert!(matches!(&now, Standing::Withdrawn(entry) if entry.method == "blocked"), "{now:?}");
        let again = match kind {
            Kind::Chat(Messenger::Telegram) => fan.say("Это снова я", 5, *NOW - 20),
            _ => fan.start(None, 5, Timestamp::now().as_second() + 1),
        };
        hub.take(&again).await;
        hub.settled().await;
        let entries = ledger_of(&hub, id.clone()).await;
        assert!(methods(&entries, Decision::Withdrawn).contains(&"blocked"), "{entries:?}");
        if kind == Kind::Chat(Messenger::Telegram) {
            let now = stands(&hub, &entries, Channel::Messenger);
            assert!(matches!(now, Standing::Withdrawn(_)), "a message is no word about advertising: {now:?}");
            hub.take(&fan.start(None, 6, *NOW - 10)).await;
            hub.settled().await;
        }
        let entries = ledger_of(&hub, id).await;
        let now = stands(&hub, &entries, Channel::Messenger);
        assert!(matches!(now, Standing::Given(_)), "{kind:?}, {stops}: {now:?}");
        let letters = stands(&hub, &entries, Channel::Email);
        assert_eq!(matches!(letters, Standing::Withdrawn(_)), stops, "{letters:?}");
    }
}

fn unsubscribes(address: &str) -> SignedRequest {
    let when = Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::get("Europe/Moscow").expect("a zone"));
    let data = json!({ "email": address, "list_ids": [134] });
    let when = when.strftime("%Y-%m-%d %H:%M:%S").to_string();
    unisender("/mail/unisender", &[json!({ "event_name": "unsubscribe", "event_time": when, "event_data": data })], KEY)
}

#[tokio::test]
async fn the_same_form_of_the_same_day_is_a_new_word_after_a_withdrawal() {
    let hub = TestHub::start().await;
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let body = json!({ "your-email": "anna@example.com", "consents": consents });
    let form = || {
        posted("/website/landing", &body)
            .header("origin", "https://cherry.example.ru")
            .header("x-stagedoor-key", "landing-key")
    };
    for signed_request in [form(), unsubscribes("anna@example.com"), form()] {
        hub.take(&signed_request).await;
        hub.settled().await;
        // Two clicks within one second are one.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    let anna = Identifier::email(Email::parse("anna@example.com").expect("an address"));
    let entries = ledger_of(&hub, anna).await;
    let said: Vec<Decision> =
        entries.iter().map(|entry| entry.decision).filter(|one| *one != Decision::Asked).collect();
    assert_eq!(said, [Decision::Given, Decision::Withdrawn, Decision::Given]);
}

#[tokio::test]
async fn a_stop_word_holds_for_letters_until_a_word_about_letters() {
    let hub = TestHub::start().await;
    let fan = ChatFan::new(Account::Telegram(4_242_001), "Анна");
    hub.messengers.open(Platform::Telegram, &fan.id());
    let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
    let form = |id: &str| {
        let body = json!({ "form": "f", "email": "anna@example.com", "phone": "+79161234567", "consents": consents });
        form_signed("/website/site", &body, "generic-source-secret", id, Timestamp::now())
    };
    let anna = Identifier::email(Email::parse("anna@example.com").expect("an address"));
    // After the consent of the form: a clock that is ahead is bounded by the receipt.
    let now = Timestamp::now().as_second() + 60;
    let parcels = [
        form("1"),
        fan.start(None, 1, now),
        fan.share_phone("+79161234567", 2, now),
        fan.say("Стоп", 3, now),
        fan.start(None, 4, now),
    ];
    for signed_request in parcels {
        hub.take(&signed_request).await;
        hub.settled().await;
    }
    let entries = ledger_of(&hub, anna.clone()).await;
    let letters = stands(&hub, &entries, Channel::Email);
    assert!(matches!(letters, Standing::Withdrawn(_)), "a chat is no letter: {letters:?}");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    hub.take(&form("2")).await;
    hub.settled().await;
    let letters = stands(&hub, &ledger_of(&hub, anna).await, Channel::Email);
    assert!(matches!(letters, Standing::Given(_)), "{letters:?}");
}

#[tokio::test]
async fn what_is_kept_of_withdrawals_and_cannot_be_read_counts_as_withdrawn_and_stays() {
    for unreadable in ["not JSON", r#"[{"at":"2026-01-01T00:00:00Z","channel":"telepathy"}]"#] {
        let hub = TestHub::start().await;
        let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true }]);
        let body = json!({ "form": "f", "email": "anna@example.com", "consents": consents });
        let form = |id: &str| form_signed("/website/site", &body, "generic-source-secret", id, Timestamp::now());
        let anna = Identifier::email(Email::parse("anna@example.com").expect("an address"));
        let letters = async || {
            let ids = hub.hub.store.scan_people(None, 10).await.expect("people").0;
            let mut people = hub.hub.store.load(&ids).await.expect("loaded");
            let mut people: Vec<_> = people.iter_mut().map(|one| &mut one.value).collect();
            read_withdrawals(&*hub.hub.store, &mut people).await.expect("read");
            stands(&hub, &ledger(people[0]), Channel::Email)
        };
        hub.take(&form("1")).await;
        hub.settled().await;
        assert!(matches!(letters().await, Standing::Given(_)));
        let key_value = cell_of_withdrawals(&anna);
        assert!(hub.hub.store.compare_and_set(&key_value, unreadable, None).await.expect("put"));
        assert!(matches!(letters().await, Standing::Withdrawn(_)), "{unreadable}");
        for signed_request in [unsubscribes("anna@example.com"), form("2")] {
            hub.take(&signed_request).await;
            hub.settled().await;
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            assert!(matches!(letters().await, Standing::Withdrawn(_)), "{unreadable}: what was said is not known");
        }
        let kept = hub.hub.store.key_value(&key_value).await.expect("read").expect("a cell").value;
        let kept: Vec<serde_json::Value> = serde_json::from_str(&kept).expect("a list");
        let old = serde_json::from_str(unreadable)
            .map_or_else(|_| json!(unreadable), |all: serde_json::Value| all[0].clone());
        assert!(kept.contains(&old), "{unreadable}: {kept:?}");
        assert!(kept.iter().any(|word| word["decision"] == "withdrawn"), "{unreadable}: {kept:?}");
    }
}
