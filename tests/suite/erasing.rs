//! What is kept of somebody, and how it is removed.

use std::sync::Arc;

use serde_json::{Value, json};
use stagedoor_ports::SystemClock;
use stagedoor_sandbox::{Break, Platform};
use stagedoor_sqlite::SqliteQueue;
use stagedoor_testkit::{
    fans::{Account, ChatFan},
    form,
};
use stagedoor_tests::hub::TestHub;

use crate::end_to_end::{anna, field, lead, order};

#[tokio::test]
async fn of_an_erased_person_nothing_is_left_and_nothing_comes_back() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.take(&lead("Борис", "+79161112233", "boris@example.com")).await;
    hub.settled().await;
    let email = "email:anna@example.com".parse().expect("an identifier");
    let told = stagedoor::commands::erase(&hub.hub, &email).await.expect("erased");
    let contact =
        hub.sandbox.contacts().iter().find(|one| field(one, "EMAIL").as_deref() == Some("anna@example.com")).cloned();
    let contact = contact.expect("still in the CRM").get("id").map(ToString::to_string).expect("an id");
    assert!(told.iter().any(|line| line.contains(&contact)), "a manager is told what to delete: {told:?}");
    let phone = "phone:+79161234567".parse().expect("an identifier");
    assert!(stagedoor::commands::explanation(&hub.hub, &phone).await.is_err(), "nobody is known by her phone");
    assert!(stagedoor::commands::explanation(&hub.hub, &"email:boris@example.com".parse().expect("one")).await.is_ok());
    for file in ["hub.db", "hub.db-wal"] {
        let bytes = std::fs::read(hub.folder.path().join(file)).unwrap_or_default();
        for trace in ["anna@example.com", "79161234567", "Каренина"] {
            let found = bytes.windows(trace.len()).any(|window| window == trace.as_bytes());
            assert!(!found, "{trace} is still in {file}");
        }
    }
    // She is told of once more, by e-mail alone and by phone alone.
    hub.take(&lead("Анна", "+79160000001", "anna@example.com")).await;
    hub.take(&lead("Анна", "8 916 123-45-67", "other@example.com")).await;
    let status = hub.settled().await;
    assert_eq!((status.people, hub.sandbox.contacts().len()), (1, 2), "only he is known, and the CRM got nobody new");
    let kinds: Vec<_> = hub.hub.store.journal(2).await.expect("read").iter().map(|row| row.event.kind()).collect();
    assert_eq!(kinds, ["stagedoor.person.erased.v1"; 2], "what came is known, not what it said");
}

/// Texts as they may stand in a file: plain, in a form, and in base64 at each of its three places.
fn spellings(text: &str) -> Vec<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let encoded = (0..3).map(|before| {
        let whole = STANDARD.encode(format!("{}{text}", "x".repeat(before)));
        whole[4..whole.len() - 4].to_owned()
    });
    encoded.chain([text.to_owned(), text.replace('@', "%40")]).collect()
}

#[tokio::test]
async fn of_an_erased_person_no_file_holds_a_trace_not_even_what_was_not_understood_or_given_up() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.take(&lead("Борис", "+79161112233", "boris@example.com")).await;
    hub.settled().await;
    for (n, strange) in
        [json!({ "email": "anna@example.com" }), json!({ "phone": "8 (916) 123-45-67" }), json!({ "id": 7 })]
            .into_iter()
            .enumerate()
    {
        let body = json!({ "type": "seance", "data": strange });
        let now = hub.now();
        let signed_request =
            stagedoor_testkit::form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &format!("s-{n}"), now);
        hub.take(&signed_request).await;
    }
    hub.settled().await;
    let told = hub.hub.store.journal(100).await.expect("rows");
    let about = |name: &str| {
        let row = told.iter().find(|row| serde_json::to_string(&row.event).expect("JSON").contains(name));
        row.expect("an event").event.clone()
    };
    let (anna, boris) = (about("anna@example.com"), about("boris@example.com"));
    let wait = std::time::Duration::from_secs(900);
    hub.hub.queues.outbox.send_later(vec![anna.clone(), boris], wait).await.expect("queued");
    for name in ["queue.db", "chats.db", "outbox.db"] {
        let file = rusqlite::Connection::open(hub.folder.path().join(name)).expect("a file");
        file.busy_timeout(wait).expect("set");
        let body = serde_json::to_string(&anna).expect("JSON");
        file.execute("INSERT INTO dead_letters (body) VALUES (?1)", [body]).expect("a dead letter");
    }
    let email = "email:anna@example.com".parse().expect("an identifier");
    let lines = stagedoor::commands::erase(&hub.hub, &email).await.expect("erased");
    assert!(lines.iter().any(|line| line.contains("6 kept deliveries and waiting messages")), "{lines:?}");
    for file in std::fs::read_dir(hub.folder.path()).expect("a folder").flatten() {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        for trace in ["anna@example.com", "79161234567", "(916) 123-45-67", "Каренина"] {
            for text in spellings(trace) {
                let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(!found, "{trace} ({text}) is still in {:?}", file.file_name());
            }
        }
    }
    let status = hub.hub.status().await.expect("a status");
    assert_eq!((status.outbox, status.dead_letters, status.unrecognized), (1, 0, 1), "what is of others stays");
}

#[tokio::test]
async fn what_strangers_typed_of_an_erased_person_goes_and_the_strangers_stay() {
    let hub = TestHub::start().await;
    let page = async |fields: &[(&str, &str)]| {
        let fields = [&[("key", "landing-key")], fields].concat();
        hub.take(&form("/website/landing", &fields).header("origin", "https://cherry.example.ru")).await;
        hub.settled().await;
    };
    // One types her phone before anybody knows her, one in a chat, and one form is hers alone.
    page(&[("your-name", "Вера"), ("your-tel", "8 916 123-45-67"), ("your-email", "vera@example.com")]).await;
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.settled().await;
    let fan = ChatFan::new(Account::Telegram(5_300_000_009), "чужой");
    hub.messengers.open(Platform::Telegram, &fan.id());
    let begun = hub.now().as_second() - 60;
    hub.take(&fan.start(None, 1, begun)).await;
    hub.settled().await;
    for (serial, words) in [(2, "8 (916) 123-45-67"), (3, "Во сколько начало?")] {
        hub.take(&fan.say(words, serial, begun + 10 * i64::try_from(serial).expect("small"))).await;
        hub.settled().await;
    }
    page(&[("your-email", "anna@example.com"), ("comment", "Пишите на anna@example.com")]).await;
    assert_eq!(hub.hub.status().await.expect("a status").people, 4);
    let email = "email:anna@example.com".parse().expect("an identifier");
    let kept = stagedoor::export::export(&hub.hub, &email).await.expect("exported");
    let claimed = kept["claimed_by_others"].to_string();
    assert_eq!(kept["claimed_by_others"].as_array().map(Vec::len), Some(3), "{claimed}");
    assert!(claimed.contains("phone:+79161234567") && claimed.contains("email:anna@example.com"), "{claimed}");
    assert!(!claimed.contains("vera@example.com") && !claimed.contains("5300000009"), "{claimed}");
    let lines = stagedoor::commands::erase(&hub.hub, &email).await.expect("erased");
    assert!(lines.iter().any(|line| line.contains("others typed one of their addresses")), "{lines:?}");
    hub.settled().await;
    for file in std::fs::read_dir(hub.folder.path()).expect("a folder").flatten() {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        for trace in ["anna@example.com", "79161234567", "916 123-45-67", "(916) 123-45-67", "Каренина"] {
            for text in spellings(trace) {
                let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(!found, "{trace} ({text}) is still in {:?}", file.file_name());
            }
        }
    }
    assert_eq!(hub.hub.status().await.expect("a status").people, 2, "Вера and the stranger stay");
    for (who, words) in [("email:vera@example.com", "Вера"), ("telegram:5300000009", "Во сколько начало?")]
    {
        let kept = stagedoor::export::export(&hub.hub, &who.parse().expect("an identifier")).await.expect("exported");
        assert!(kept.to_string().contains(words), "{kept}");
    }
}

#[tokio::test]
async fn a_strangers_contact_that_bore_an_erased_address_for_a_name_is_not_remembered_by_it() {
    let hub = TestHub::start().await;
    let fields = [("key", "landing-key"), ("your-tel", "8 916 999-00-11"), ("your-email", "anna@example.com")];
    hub.take(&form("/website/landing", &fields).header("origin", "https://cherry.example.ru")).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts()[0]["name"], "anna@example.com");
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.settled().await;
    let email = "email:anna@example.com".parse().expect("an identifier");
    stagedoor::commands::erase(&hub.hub, &email).await.expect("erased");
    hub.settled().await;
    for file in std::fs::read_dir(hub.folder.path()).expect("a folder").flatten() {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        for text in spellings("anna@example.com") {
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!found, "{text} is still in {:?}", file.file_name());
        }
    }
}

/// The bodies of messages that wait to be sent.
fn waiting(hub: &TestHub) -> Vec<String> {
    let file = rusqlite::Connection::open(hub.folder.path().join("outbox.db")).expect("a file");
    file.busy_timeout(std::time::Duration::from_secs(10)).expect("set");
    let mut rows = file.prepare("SELECT body FROM messages").expect("a table");
    let bodies = rows.query_map([], |row| row.get(0)).expect("rows");
    bodies.map(|body| body.expect("a body")).collect()
}

/// As on AWS: there a queue cannot be searched, and keeps what waits in it.
#[tokio::test]
async fn an_erased_person_gets_no_answer_that_their_queue_still_holds() {
    let clock = stagedoor::Moved::at(1_800_000_000);
    let hub = TestHub::by(Arc::new(clock.clone()), |text| text.replace("quiet = \"21:00-09:00\"\n", "")).await;
    let mut fans = Vec::new();
    for id in [5_300_000_009, 5_300_000_010] {
        let fan = ChatFan::new(Account::Telegram(id), "кот");
        hub.messengers.open(Platform::Telegram, &fan.id());
        fans.push(fan);
    }
    hub.messengers.break_next(Platform::Telegram, Break::Flood(600), 1);
    hub.take(&fans[0].say("сколько стоит?", 1, hub.now().as_second())).await;
    let mut held = Vec::new();
    for _ in 0..400 {
        held = waiting(&hub);
        if hub.messengers.over_the_rate(Platform::Telegram) == 1 && held.len() == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    let held = serde_json::from_str(held.first().expect("it waits")).expect("an event");
    let who = format!("telegram:{}", fans[0].id()).parse().expect("an identifier");
    stagedoor::commands::erase(&hub.hub, &who).await.expect("erased");
    assert!(waiting(&hub).is_empty());
    hub.hub.queues.outbox.send(vec![held]).await.expect("queued");
    clock.on(700);
    hub.take(&fans[1].say("сколько стоит?", 2, hub.now().as_second())).await;
    hub.settled().await;
    let written: Vec<String> = hub.messengers.arrived().into_iter().map(|one| one.to).collect();
    assert_eq!(written, [fans[1].id()], "others are answered");
    let rows = hub.hub.store.journal(10).await.expect("read");
    let told = rows.iter().map(|row| serde_json::to_string(&row.event).expect("JSON"));
    assert!(told.filter(|event| event.contains(&fans[0].id())).count() == 0);
}

#[tokio::test]
async fn what_is_older_than_the_retention_goes_at_night_and_people_stay() {
    let clock = stagedoor::Moved::at(1_800_000_000);
    let section = "[retention]\njournal_days = 60\nunrecognized_days = 90\n\n[crm]";
    let hub = TestHub::by(Arc::new(clock.clone()), |text| text.replacen("[crm]", section, 1)).await;
    let tell = async |n: u32| {
        let fields = [("Phone", format!("8 916 123-45-{n:02}")), ("tranid", format!("1:{n}"))];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        hub.take(&stagedoor_testkit::form("/website/tilda", &fields).header("x-api-key", "tilda-api-key")).await;
        let strange = json!({ "type": "seance", "data": { "n": n } });
        let now = hub.now();
        let signed_request = stagedoor_testkit::form_signed(
            "/ticketing/theatre",
            &strange,
            "theatre-shop-secret",
            &format!("s-{n}"),
            now,
        );
        hub.take(&signed_request).await;
        hub.settled().await;
    };
    let kept = async || {
        let rows = hub.hub.store.journal(1_000).await.expect("rows");
        let forms = rows.iter().filter(|row| row.event.kind() == "stagedoor.form.submitted.v1").count();
        (forms, hub.hub.store.unrecognized(10).await.expect("rows").len())
    };
    const DAY: i64 = 86_400;
    tell(1).await;
    clock.on(50 * DAY);
    tell(2).await;
    stagedoor::retention::sweep(&hub.hub).await.expect("swept");
    assert_eq!(kept().await, (2, 2), "nothing is old yet");
    clock.on(20 * DAY);
    assert!(stagedoor::retention::sweep(&hub.hub).await.expect("swept") >= Some(1));
    assert_eq!(stagedoor::retention::sweep(&hub.hub).await.expect("swept"), None, "once a night");
    assert_eq!(kept().await, (1, 2), "the journal of the first day");
    clock.on(30 * DAY);
    stagedoor::retention::sweep(&hub.hub).await.expect("swept");
    assert_eq!(kept().await, (1, 1), "and the delivery that nobody came to understand");
    assert_eq!(hub.hub.status().await.expect("a status").people, 2, "people stay");
}

#[tokio::test]
async fn old_lines_of_a_chat_and_old_looks_at_a_link_go_and_who_it_was_stays() {
    let clock = stagedoor::Moved::at(1_800_000_000);
    let section = "[retention]\nconversation_days = 30\nclick_days = 30\n\n[crm]";
    let hub = TestHub::by(Arc::new(clock.clone()), |text| text.replacen("[crm]", section, 1)).await;
    let fan = stagedoor_testkit::fans::ChatFan::new(stagedoor_testkit::fans::Account::Telegram(5_300_000_007), "anna");
    hub.take(&fan.start(None, 1, hub.now().as_second())).await;
    hub.take(&fan.say("Есть ли скидка на Чайку?", 2, hub.now().as_second())).await;
    hub.settled().await;
    let lines = async || -> Vec<String> {
        let (ids, _) = hub.hub.store.scan_people(None, 10).await.expect("people");
        let people = hub.hub.store.load(&ids).await.expect("loaded");
        let all =
            people.iter().flat_map(|one| one.value.conversations()).flat_map(|(_, conversation)| &conversation.lines);
        all.map(|line| format!("{:?}", line.said)).collect()
    };
    assert!(lines().await.iter().any(|line| line.contains("скидка")));
    clock.on(20 * 86_400);
    hub.take(&fan.say("А завтра?", 3, hub.now().as_second())).await;
    hub.settled().await;
    stagedoor::retention::sweep(&hub.hub).await.expect("swept");
    assert!(lines().await.iter().any(|line| line.contains("скидка")), "nothing is old yet");
    clock.on(15 * 86_400);
    stagedoor::retention::sweep(&hub.hub).await.expect("swept");
    hub.settled().await;
    let left = lines().await;
    assert!(
        left.iter().any(|line| line.contains("завтра")) && !left.iter().any(|line| line.contains("скидка")),
        "{left:?}"
    );
    assert_eq!(hub.hub.status().await.expect("a status").people, 1);
    let notes = format!("{:?}", hub.sandbox.notes());
    assert!(notes.matches("скидка").count() <= 1, "what stands in the CRM stands there once");
}

#[tokio::test]
async fn an_erased_person_does_not_come_back_from_an_order_that_is_somebody_elses_now() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.settled().await;
    let boris = json!({ "name": "Борис Годунов", "phone": "+79161112233", "email": "boris@example.com" });
    hub.take(&order("T-1", "paid", "2026-01-11T10:05:00Z", boris.clone(), json!([]))).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts().len(), 2);
    let email = "email:anna@example.com".parse().expect("an identifier");
    stagedoor::commands::erase(&hub.hub, &email).await.expect("erased");
    hub.take(&order("T-1", "paid", "2026-01-12T10:05:00Z", boris, json!([]))).await;
    let status = hub.settled().await;
    assert_eq!((status.people, hub.sandbox.contacts().len()), (1, 2));
    for file in ["hub.db", "hub.db-wal"] {
        let bytes = std::fs::read(hub.folder.path().join(file)).unwrap_or_default();
        for trace in ["anna@example.com", "79161234567", "Каренина"] {
            let found = bytes.windows(trace.len()).any(|window| window == trace.as_bytes());
            assert!(!found, "{trace} is still in {file}");
        }
    }
}

#[tokio::test]
async fn who_asks_gets_all_that_is_kept_of_them_and_nothing_of_another() {
    let hub = TestHub::start().await;
    hub.take(&order("T-1", "paid", "2026-01-10T10:05:00Z", anna(), json!([]))).await;
    hub.take(&lead("Борис", "+79161112233", "boris@example.com")).await;
    hub.settled().await;
    let email = "email:anna@example.com".parse().expect("an identifier");
    let all = stagedoor::export::export(&hub.hub, &email).await.expect("exported");
    assert_eq!(all["name"], "Анна Каренина");
    let named = all["identifiers"].as_array().expect("identifiers");
    assert!(
        named.contains(&json!("email:anna@example.com")) && named.contains(&json!("phone:+79161234567")),
        "{named:?}"
    );
    let kinds: Vec<&Value> = all["events"].as_array().expect("events").iter().map(|event| &event["type"]).collect();
    assert!(kinds.contains(&&json!("stagedoor.order.paid.v1")), "{kinds:?}");
    assert_eq!(all["deals"][0]["stage"], "paid");
    let held = &all["crm"]["held"];
    assert_eq!(held["contacts"].as_array().map(Vec::len), Some(1), "{held}");
    assert_eq!(held["deals"].as_array().map(Vec::len), Some(1), "{held}");
    let text = all.to_string();
    assert!(!text.contains("boris@example.com") && !text.contains("Борис"), "{text}");
}

#[tokio::test]
async fn erasing_somebody_takes_nothing_from_a_neighbour_or_a_crowd() {
    let hub = TestHub::start().await;
    hub.take(&lead("Анна", "+79161234567", "family@example.com")).await;
    hub.take(&lead("Борис", "+79161112233", "boris@example.com")).await;
    hub.settled().await;
    let store = &hub.hub.store;
    let name = |text: &str| text.parse::<stagedoor_model::Identifier>().expect("an identifier");
    let (family, office) = (name("email:family@example.com"), name("phone:+74950000000"));
    let owner = async |identifier: stagedoor_model::Identifier| {
        let claims = store.resolve(&std::collections::BTreeSet::from([identifier.clone()])).await.expect("read");
        claims.owners.get(&identifier).copied()
    };
    let (anna, boris) = (owner(family.clone()).await, owner(name("phone:+79161112233")).await);
    // A guard left the family's address with him, and the box office's phone belongs to a crowd.
    let commit = stagedoor_ports::Commit {
        claims: vec![(family.clone(), boris.expect("known"), anna)],
        shared_identifiers: vec![office.clone()],
        ..stagedoor_ports::Commit::default()
    };
    store.save(vec![commit]).await.expect("saved");
    assert!(stagedoor::commands::erase(&hub.hub, &office).await.is_err(), "a crowd is nobody");
    stagedoor::commands::erase(&hub.hub, &name("phone:+79161234567")).await.expect("erased");
    assert_eq!(owner(family).await, boris);
    assert_eq!(owner(name("phone:+79161234567")).await, None);
    hub.take(&lead("Борис", "+79161112233", "family@example.com")).await;
    hub.settled().await;
    let rows = hub.hub.store.journal(100).await.expect("read");
    let kinds: Vec<_> = rows.iter().map(|row| row.event.kind()).collect();
    assert!(
        kinds.contains(&"stagedoor.form.submitted.v1") && !kinds.contains(&"stagedoor.person.erased.v1"),
        "{kinds:?}"
    );
}

#[test]
fn a_file_of_an_earlier_version_keeps_no_remnants_of_what_was_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("queue.db");
    let old = rusqlite::Connection::open(&path).expect("opened");
    let made = "PRAGMA journal_mode=WAL; PRAGMA secure_delete=OFF;
        CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL,
        visible_at INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0) STRICT;
        INSERT INTO messages (body) VALUES ('a message of anna@example.com to the theatre');
        INSERT INTO messages (body) VALUES ('what is still to be done');
        DELETE FROM messages WHERE id = 1;";
    old.execute_batch(made).expect("made");
    drop(old);
    let holds = |text: &str| {
        let files =
            ["queue.db", "queue.db-wal"].map(|file| std::fs::read(folder.path().join(file)).unwrap_or_default());
        files.iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    assert!(holds("anna@example.com"), "an earlier version leaves it in the file");
    for _ in 0..2 {
        drop(SqliteQueue::open(&path, Arc::new(SystemClock)).expect("opened"));
        assert!(!holds("anna@example.com"));
        assert!(holds("what is still to be done"));
    }
}

#[tokio::test]
async fn a_sweep_that_is_cut_short_goes_on_where_it_was() {
    let clock = stagedoor::Moved::at(1_800_000_000);
    let hub = TestHub::by(Arc::new(clock.clone()), |text| text).await;
    for n in 0..250 {
        let (phone, number) = (format!("8 916 123-{:02}-{:02}", n / 100, n % 100), format!("1:{n}"));
        let fields = [("Phone", phone.as_str()), ("tranid", number.as_str())];
        hub.take(&stagedoor_testkit::form("/website/tilda", &fields).header("x-api-key", "tilda-api-key")).await;
    }
    let fan = stagedoor_testkit::fans::ChatFan::new(stagedoor_testkit::fans::Account::Telegram(5_300_000_007), "anna");
    hub.take(&fan.start(None, 1, hub.now().as_second())).await;
    hub.take(&fan.say("Есть ли скидка на Чайку?", 2, hub.now().as_second())).await;
    hub.settled().await;
    let lines = async || -> usize {
        let (ids, _) = hub.hub.store.scan_people(None, 1_000).await.expect("people");
        let people = hub.hub.store.load(&ids).await.expect("loaded");
        people.iter().flat_map(|one| one.value.conversations()).map(|(_, conversation)| conversation.lines.len()).sum()
    };
    assert!(lines().await > 0);
    clock.on(40 * 86_400);
    let days = |days: i64| jiff::SignedDuration::from_hours(24 * days);
    let retention = stagedoor_sync::Retention {
        journal: days(400),
        unrecognized: None,
        conversations: Some(days(30)),
        clicks: None,
    };
    // An invocation that has no time for more than one part.
    let part = async || hub.hub.sync.sweep_old(retention, std::time::Duration::ZERO).await.expect("swept");
    assert_eq!(part().await, None, "more is left");
    assert!(part().await.is_some(), "the second part was the last");
    assert_eq!((part().await, lines().await), (None, 0), "once a night, and nobody was left out");
}
