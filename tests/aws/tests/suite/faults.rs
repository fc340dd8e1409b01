use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::{Value, json};
use stagedoor::tour::send;
use stagedoor_proof::hub::{AwsHub, Options};
use stagedoor_sandbox::{Break, Platform};
use stagedoor_testkit::{
    SignedRequest,
    fans::{Account, ChatFan},
    form,
};
use tokio::net::TcpListener;

/// Seconds instead of minutes, so that what failed comes again while the test looks.
fn quick() -> Options {
    let parameters = json!({
        "DeletionProtection": "false", "SyncSeconds": 8, "VisibilitySeconds": 8, "Attempts": 4, "BatchWindowSeconds": 1,
    });
    Options { parameters, ..Options::default() }
}

fn fans(prefix: u32, count: u32) -> Vec<SignedRequest> {
    let fan = |n: u32| {
        let (phone, email) = (format!("+7916{prefix:03}{n:04}"), format!("fan{prefix}-{n}@example.com"));
        let tranid = format!("{prefix}:{n}");
        let fields = [("Name", "Фан"), ("Phone", phone.as_str()), ("Email", email.as_str()), ("tranid", &tranid)];
        form("/website/tilda", &fields).header("x-api-key", "tilda-api-key")
    };
    (0..count).map(fan).collect()
}

/// Each of them once, in the hub and in the CRM.
async fn each_once(hub: &AwsHub, people: usize) {
    hub.settled().await;
    let status = hub.operator.status().await.unwrap();
    assert_eq!((status.dead_letters, status.rejected), (0, 0), "{status:?}");
    assert_eq!((hub.sandbox.count("contacts"), hub.sandbox.count("leads")), (people, people));
    let phones: BTreeSet<String> =
        hub.sandbox.contacts().iter().map(|one| one["custom_fields_values"].to_string()).collect();
    assert_eq!(phones.len(), people);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_killed_in_mid_batch_and_messages_handed_out_twice_leave_nothing_lost_and_nothing_doubled() {
    let mut hub = AwsHub::start(Options { twice: true, ..quick() }).await;
    // Among the people, among their names, among the CRM links.
    for (round, writes) in [5, 25, 60].into_iter().enumerate() {
        hub.pause();
        send(fans(round as u32, 20), &hub.base).await.unwrap();
        let tripped = hub.meter.trip("sync", writes);
        hub.resume();
        tokio::time::timeout(Duration::from_secs(30), tripped).await.expect("sync writes").unwrap();
        hub.function("sync").kill();
        each_once(&hub, 20 * (round + 1)).await;
    }
    assert!(hub.function("sync").invocations().failed >= 3, "it was killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_invocations_that_meet_on_the_same_people_lose_and_double_nothing() {
    let mut hub = AwsHub::start(quick()).await;
    hub.pause();
    send(fans(0, 12), &hub.base).await.unwrap();
    // The same fans once more, by another road.
    send(fans(0, 12).into_iter().map(|signed_request| signed_request.header("x-again", "1")).collect(), &hub.base)
        .await
        .unwrap();
    let taken = hub.operator.queue.receive(100).await.unwrap();
    let record = |one: &stagedoor_ports::Received| json!({ "messageId": one.receipt.0, "body": serde_json::to_string(&one.event).unwrap() });
    let batch = json!({ "Records": taken.iter().map(record).collect::<Vec<_>>() }).to_string();
    for action in ["dynamodb:UpdateItem", "dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:BatchGetItem"] {
        // More than the SDK tries by itself.
        hub.meter.throttle(action, 9);
        let sync = hub.function("sync");
        let four = tokio::join!(
            sync.invoke(batch.clone().into()),
            sync.invoke(batch.clone().into()),
            sync.invoke(batch.clone().into()),
            sync.invoke(batch.clone().into()),
        );
        drop(four);
    }
    hub.operator.queue.give_back(taken.into_iter().map(|one| one.receipt).collect()).await.unwrap();
    hub.resume();
    each_once(&hub, 12).await;
    let events = hub.operator.store.journal(1_000).await.unwrap();
    let ids: BTreeSet<_> = events.iter().map(|row| row.event.id.clone()).collect();
    assert_eq!(ids.len(), events.len(), "each event once in the journal");
}

/// A pretix that is down until it is up: recorded answers of a real one.
async fn pretix() -> (String, Arc<AtomicBool>) {
    let up = Arc::new(AtomicBool::new(false));
    let recorded = |name: &str| -> Value {
        let path = stagedoor_testkit::samples::folder().join("rest").join(name);
        let whole: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        whole.get("response").cloned().unwrap_or(whole)
    };
    let say = |body: Value| {
        get(move |State(up): State<Arc<AtomicBool>>| async move {
            if up.load(Ordering::Relaxed) {
                Json(body).into_response()
            } else {
                StatusCode::BAD_GATEWAY.into_response()
            }
        })
    };
    let app = Router::new()
        .route("/api/v1/organizers/stagedoor/events/cherry/", say(recorded("pretix_event.json")))
        .route("/api/v1/organizers/stagedoor/events/cherry/orders/QJETG/", say(recorded("pretix_order_paid.json")))
        .route("/api/v1/organizers/stagedoor/orders/", say(recorded("pretix_orders_page.json")))
        .with_state(Arc::clone(&up));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (base, up)
}

fn with_pretix(base: &str, text: &str) -> String {
    format!(
        "{text}\n[source.box-office]\nfunction = \"ticketing\"\nprovider = \"pretix\"\nsecrets = [\"ssm:/stagedoor/ticketing/theatre\"]\n\
         [source.box-office.options]\nbase_url = \"{base}\"\norganizer = \"stagedoor\"\ntoken = \"t\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_message_ends_alone_among_the_dead_letters_and_redrive_brings_it_back() {
    let (base, up) = pretix().await;
    let hub = AwsHub::start(Options { config: Box::new(move |text| with_pretix(&base, &text)), ..quick() }).await;
    // Its shop is down, and what is no event at all will never be one.
    let body = json!({ "notification_id": 1, "organizer": "stagedoor", "event": "cherry", "code": "QJETG", "action": "pretix.event.order.paid" });
    let notice = stagedoor_testkit::json("/ticketing/box-office/theatre-shop-secret", &body);
    send(vec![notice], &hub.base).await.unwrap();
    send(fans(7, 10), &hub.base).await.unwrap();
    let dead = async || hub.operator.queue.dead_letters().await.unwrap();
    for _ in 0..240 {
        if dead().await > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    hub.settled().await;
    assert_eq!(dead().await, 1, "the poisoned one, alone");
    assert_eq!(hub.sandbox.count("contacts"), 10, "everybody else is in the CRM");
    // What an operator sees, and does.
    let status: Value = serde_json::from_str(&hub.command(&["status", "--json"]).await).unwrap();
    assert_eq!((status["dead_letters"].as_u64(), status["waiting"].as_u64()), (Some(1), Some(0)), "{status}");
    let listed = hub.command(&["dead-letters"]).await;
    assert!(listed.contains("stagedoor.order.noticed.v1") && listed.contains("from box-office"), "{listed}");
    let id = listed.lines().nth(1).and_then(|line| line.split(' ').next()).unwrap().to_owned();
    // The listing hides it for two seconds.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let shown = hub.command(&["dead-letters", &id]).await;
    assert!(shown.contains("‹text of 5›") && !shown.contains("QJETG"), "its shape: {shown}");
    up.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(hub.command(&["redrive"]).await.starts_with("1 dead letters are in the queue again"));
    hub.settled().await;
    assert_eq!((dead().await, hub.sandbox.count("contacts")), (0, 11));
    // The same commands as on a laptop.
    let explained = hub.command(&["explain", "fan7-3@example.com"]).await;
    assert!(explained.contains("the record that the person was made from"), "{explained}");
    let replayed = hub.command(&["replay", "--from", "2026-01-01T00:00:00Z"]).await;
    assert!(replayed.contains("events of that time are in the queue again"), "{replayed}");
    hub.settled().await;
    assert_eq!((hub.sandbox.count("contacts"), hub.sandbox.count("leads")), (11, 11), "a replay changes nothing");
    let erased = hub.command(&["erase", "fan7-3@example.com"]).await;
    assert!(erased.contains("erased") && erased.contains("delete these contacts"), "{erased}");
    let phone = "phone:+79160070003".parse().unwrap();
    assert!(
        stagedoor::commands::explanation(&hub.operator, &phone).await.is_err(),
        "nobody is known by the phone either"
    );
    send(fans(7, 10).into_iter().skip(3).take(1).map(|one| one.header("x-again", "1")).collect(), &hub.base)
        .await
        .unwrap();
    hub.settled().await;
    assert!(stagedoor::commands::explanation(&hub.operator, &phone).await.is_err(), "and stays unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_pulled_by_the_schedule_with_the_rights_that_it_has() {
    let (base, up) = pretix().await;
    up.store(true, Ordering::Relaxed);
    let hub = AwsHub::start(Options { config: Box::new(move |text| with_pretix(&base, &text)), ..quick() }).await;
    // Heard for a month, and silent for years.
    let life = r#"{"since":"2020-01-01T00:00:00Z","first":"2020-01-01T00:00:00Z","last":"2020-02-01T00:00:00Z"}"#;
    assert!(hub.operator.store.compare_and_set("source/tilda", life, None).await.unwrap());
    hub.tick("schedule").await;
    hub.settled().await;
    let log = hub.function("schedule").log();
    let figure = log.iter().find(|line| line.contains("\"SilentSources\":")).expect("a figure for the alarm");
    assert!(figure.contains("\"SilentSources\":1.0"), "{figure}");
    let named = |line: &&String| line.contains("longer than usual") && line.contains("tilda");
    assert_eq!(log.iter().filter(named).count(), 1, "the log names the source");
    let heard = hub.operator.store.key_value("source/box-office").await.unwrap().expect("sync notes who is heard");
    assert!(heard.value.contains("\"last\":"), "{}", heard.value);
    let pulled = hub.operator.store.journal(100).await.unwrap();
    assert_eq!(pulled.iter().filter(|row| row.event.source.as_str() == "box-office").count(), 10, "a page of ten");
    assert_eq!((hub.sandbox.count("contacts"), hub.sandbox.count("leads")), (5, 5));
    let counts = hub.meter.counts();
    assert!(counts.refused.is_empty(), "{:?}", counts.refused);
    for statement in &hub.deployed.function("schedule").statements {
        for action in statement.action.all().into_iter().filter(|action| !action.starts_with("logs:")) {
            for resource in statement.resource.all() {
                let is_used = counts.does("schedule", action, resource);
                assert!(is_used, "{action} on {resource} is allowed and never done");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_messenger_is_waited_out_and_its_message_comes_once() {
    let hub = AwsHub::start(quick()).await;
    let fan = ChatFan::new(Account::Telegram(5_342_492_667), "кот");
    hub.messengers.open(Platform::Telegram, &fan.id());
    hub.messengers.break_next(Platform::Telegram, Break::Flood(3), 1);
    // A clock of the messenger's own: the line is of this minute.
    let now = stagedoor_ports::Clock::now(&stagedoor_ports::SystemClock).as_second();
    let http = stagedoor_http::builder().build().unwrap();
    let (status, answer) = fan.say("сколько стоит?", 1, now).post(&http, &hub.base).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    for _ in 0..300 {
        if !hub.messengers.arrived().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    hub.settled().await;
    let arrived = hub.messengers.arrived();
    assert_eq!(arrived.len(), 1, "{arrived:?}");
    assert_eq!(hub.messengers.over_the_rate(Platform::Telegram), 1);
    let postponed = hub.meter.counts().calls_on("outreach", "sqs:SendMessage", ":stagedoor-outbox");
    assert!(postponed >= 1, "it went back into the outbox");
    assert!(hub.meter.counts().refused.is_empty(), "{:?}", hub.meter.counts().refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developers_sample_events_are_taken_by_their_functions() {
    let hub = AwsHub::start(quick()).await;
    let invoke = async |function: &str| -> Value {
        let path = stagedoor_proof::stack::root().join(format!("events/lambda/{function}.json"));
        let event = std::fs::read_to_string(path).unwrap();
        let answer = hub.function(function).invoke(event.into()).await.expect("an answer");
        serde_json::from_slice(&answer).unwrap()
    };
    assert_eq!(invoke("messaging").await["statusCode"], 200);
    assert_eq!(invoke("mail").await["statusCode"], 200);
    let page = invoke("links").await;
    assert_eq!(page["statusCode"], 200);
    assert!(page["body"].as_str().unwrap().contains("t.me/stagedoor_tour_bot?start=01j90td6erfh3vj0"), "{page}");
    assert_eq!(invoke("outreach").await["batchItemFailures"], json!([]));
}
