//! Alarms: each is told once when it begins, once a day, and once when it is over, also across restarts and outages.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::State, routing::post};
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use stagedoor::{DEFAULT_CONFIG, Hub, Moved, alarms::Watch, read_config};
use stagedoor_model::Timestamp;
use stagedoor_sandbox::{Messengers, Platform, Post};
use stagedoor_testkit::{form, form_signed};
use stagedoor_tests::hub::free;
use tower::ServiceExt;

use super::stop::until;

const SECRET: &str = "alarm-secret-of-the-team";

/// The team's receiver of webhooks.
#[derive(Clone, Default)]
pub struct Team {
    heard: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    is_down: Arc<AtomicBool>,
}

async fn hear(State(team): State<Team>, headers: HeaderMap, body: String) -> StatusCode {
    if team.is_down.load(Ordering::Relaxed) {
        return StatusCode::BAD_GATEWAY;
    }
    team.heard.lock().expect("a lock").push((headers, body));
    StatusCode::NO_CONTENT
}

impl Team {
    pub async fn start() -> (Self, String) {
        let (team, listener) = (Self::default(), tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        let address = format!("http://{}/hooks/anna", listener.local_addr().expect("an address"));
        let app = Router::new().route("/hooks/anna", post(hear)).with_state(team.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (team, address)
    }

    /// What was told since the last time: kind, phase, and the whole body.
    pub fn told(&self) -> Vec<(String, String, Value)> {
        let heard = std::mem::take(&mut *self.heard.lock().expect("a lock"));
        let bodies = heard.into_iter().map(|(_, body)| serde_json::from_str::<Value>(&body).expect("JSON"));
        let word = |body: &Value, key: &str| body[key].as_str().unwrap_or_default().to_owned();
        bodies.map(|body| (word(&body, "kind"), word(&body, "phase"), body)).collect()
    }

    pub fn phases(&self) -> Vec<String> {
        self.told().into_iter().map(|(kind, phase, _)| format!("{kind} {phase}")).collect()
    }
}

/// A hub that does not run: the test looks.
pub struct Watched {
    pub hub: Arc<Hub>,
    pub clock: Moved,
    pub watch: Watch,
}

pub fn watched(folder: &Path, clock: &Moved, section: &str) -> Watched {
    watched_hearing(folder, clock, section, &[])
}

/// The same; these sources may not be silent.
pub fn watched_hearing(folder: &Path, clock: &Moved, section: &str, heard: &[&str]) -> Watched {
    let names = DEFAULT_CONFIG.lines().filter_map(|line| line.strip_prefix("[source.")?.strip_suffix("]"));
    let silent: Vec<&str> = names.filter(|name| !name.contains('.') && !heard.contains(name)).collect();
    let section = format!("{section}\nsilent_except = {silent:?}");
    let text = format!("{DEFAULT_CONFIG}\n[alarms]\n{section}\n").replace("127.0.0.1:8081", &free());
    let config = read_config("stagedoor.toml", &text, None).expect("a config");
    let hub = Arc::new(Hub::open_by(Arc::new(clock.clone()), config, folder, "serve").expect("a hub"));
    let watch = Watch::new(&hub).expect("a watch");
    Watched { hub, clock: clock.clone(), watch }
}

impl Watched {
    /// Looks once, so much later.
    pub async fn later(&mut self, seconds: i64) {
        self.clock.on(seconds);
        self.watch.round().await.expect("a look");
    }

    fn to_queue(&self, sql: &str) {
        let file = rusqlite::Connection::open(self.hub.folder.join("queue.db")).expect("a file");
        file.execute_batch(sql).expect("done");
    }

    /// Takes a delivery and folds it; the CRM is not told.
    pub async fn fold(&self, signed_request: &stagedoor_testkit::SignedRequest) {
        let mut request = Request::post(&signed_request.path);
        for (name, value) in &signed_request.headers {
            request = request.header(name, value);
        }
        let router = self.hub.router().expect("a router");
        let answer = router
            .oneshot(request.body(axum::body::Body::from(signed_request.body.clone())).expect("one"))
            .await
            .expect("one");
        assert_eq!(answer.status(), 200);
        let batch = self.hub.queues.events.receive(10).await.expect("a batch");
        let (events, receipts) = batch.into_iter().map(|one| (one.event, one.receipt)).unzip();
        assert!(self.hub.sync.handle(events).await.is_empty());
        self.hub.queues.events.done(receipts).await.expect("done");
    }
}

fn signed(url: &str) -> String {
    format!("webhook = \"dev:{url}\"\nwebhook_secret = \"dev:{SECRET}\"\nlanguage = \"en\"")
}

const DEAD: &str =
    "INSERT INTO dead_letters (id, body) VALUES ((SELECT coalesce(max(id), 0) + 1 FROM dead_letters), '{}')";

#[tokio::test]
async fn a_dead_letter_is_told_once_each_day_once_and_when_it_is_over() {
    let (team, url) = Team::start().await;
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let mut one = watched(folder.path(), &clock, &signed(&url));
    one.later(15).await;
    assert!(team.phases().is_empty(), "nothing rings");
    one.to_queue(DEAD);
    one.later(15).await;
    let heard = team.heard.lock().expect("a lock").clone();
    let (headers, body) = heard.first().expect("an alarm");
    let header = |name: &str| headers[name].to_str().expect("text").to_owned();
    let at = Timestamp::from_second(header("webhook-timestamp").parse().expect("seconds")).expect("a time");
    let value: Value = serde_json::from_str(body).expect("JSON");
    let reference = form_signed("/", &value, SECRET, &header("webhook-id"), at);
    assert!(reference.headers.contains(&("webhook-signature".into(), header("webhook-signature"))), "{reference:?}");
    assert_eq!(
        (&value["kind"], &value["phase"], &value["count"]),
        (&"dead_letters".into(), &"began".into(), &1.into())
    );
    assert_eq!((&value["id"], &value["source"]), (&header("webhook-id").into(), &Value::Null));
    assert_eq!(value["since"], "2027-01-15T08:00:30Z");
    let text = value["text"].as_str().expect("a text");
    assert!(text.contains("messages were given up: 1 (events 1)") && text.contains("redrive"), "{text}");
    team.told();
    // Within the hour a second one rings no second time; after it, it does.
    one.to_queue(DEAD);
    one.later(15).await;
    assert!(team.phases().is_empty());
    one.later(3_600).await;
    let told = team.told();
    assert_eq!((told.len(), &told[0].2["count"], &told[0].2["phase"]), (1, &2.into(), &"still".into()));
    for _ in 0..95 {
        one.later(900).await;
    }
    assert!(team.phases().is_empty(), "for a day");
    one.later(900).await;
    assert_eq!(team.phases(), ["dead_letters still"]);
    one.to_queue("DELETE FROM dead_letters");
    one.later(15).await;
    assert_eq!(team.phases(), ["dead_letters over"]);
    one.later(90_000).await;
    assert!(team.phases().is_empty());
}

#[tokio::test]
async fn a_restart_tells_nothing_twice_and_loses_no_end() {
    let (team, url) = Team::start().await;
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let mut one = watched(folder.path(), &clock, &signed(&url));
    one.to_queue(DEAD);
    for _ in 0..12 {
        one.hub.counters.count("tilda", "WrongSignature");
    }
    one.later(15).await;
    let mut told = team.phases();
    told.sort();
    assert_eq!(told, ["dead_letters began", "signatures_rejected began"]);
    drop(one);
    let mut one = watched(folder.path(), &clock, &signed(&url));
    one.later(15).await;
    one.later(60).await;
    assert!(team.phases().is_empty(), "it was told before the restart");
    one.later(600).await;
    assert_eq!(team.phases(), ["signatures_rejected over"], "ten minutes without any");
    drop(one);
    let mut one = watched(folder.path(), &clock, &signed(&url));
    one.to_queue("DELETE FROM dead_letters");
    one.later(15).await;
    assert_eq!(team.phases(), ["dead_letters over"]);
}

#[tokio::test]
async fn what_cannot_be_told_now_is_told_later_and_in_order() {
    let (team, url) = Team::start().await;
    team.is_down.store(true, Ordering::Relaxed);
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let mut one = watched(folder.path(), &clock, &signed(&url));
    one.to_queue(DEAD);
    one.later(15).await;
    one.to_queue("DELETE FROM dead_letters");
    one.later(15).await;
    drop(one);
    team.is_down.store(false, Ordering::Relaxed);
    let mut one = watched(folder.path(), &clock, &signed(&url));
    one.later(15).await;
    assert_eq!(team.phases(), ["dead_letters began", "dead_letters over"]);
    // It comes and goes while nobody can be told: that fills nothing.
    team.is_down.store(true, Ordering::Relaxed);
    for _ in 0..50 {
        one.to_queue(DEAD);
        one.later(60).await;
        one.to_queue("DELETE FROM dead_letters");
        one.later(60).await;
    }
    team.is_down.store(false, Ordering::Relaxed);
    one.later(1_000).await;
    assert_eq!(team.phases(), ["dead_letters began", "dead_letters over"]);
}

#[tokio::test]
async fn people_who_wait_too_long_are_told_without_their_names() {
    let (team, url) = Team::start().await;
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let section = format!("webhook = \"dev:{url}\"\nwaiting_minutes = 5");
    let mut one = watched(folder.path(), &clock, &section);
    let fields = [("Name", "Анна Каренина"), ("Phone", "8 916 123-45-67"), ("Email", "anna@example.com")];
    one.fold(&form("/website/tilda", &fields).header("x-api-key", "tilda-api-key")).await;
    // Nobody answers where the CRM should be.
    one.hub.sync.reconcile(stagedoor_sync::FlushMode::Everything).await.expect("a round");
    one.later(299).await;
    assert!(team.phases().is_empty());
    one.later(1).await;
    let told = team.told();
    let (kind, phase, body) = told.first().expect("an alarm");
    assert_eq!((kind.as_str(), phase.as_str(), &body["count"]), ("people_wait", "began", &1.into()));
    let text = body.to_string();
    for word in ["Анна", "916", "anna@"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    let text = body["text"].as_str().expect("a text");
    assert!(
        text.contains("CRM ждут 1 чел.") && text.contains("people wait for the CRM: 1, the longest"),
        "both languages: {text}"
    );
    assert!(text.contains("To act: nobody: it is tried again by itself"), "why: {text}");
    // The state is where an operator looks.
    let status = one.hub.status_with_reasons().await.expect("a status");
    let line = status.lines(Default::default()).into_iter().find(|line| line.starts_with("alarm ")).expect("a line");
    assert!(line.contains("people_wait, since 2027-01-15T08:00:00Z: people wait for the CRM: 1"), "{line}");
    let figures = stagedoor::metrics::text(&one.hub).await.expect("figures");
    assert!(figures.contains("stagedoor_alarms{kind=\"people_wait\"} 1.0"), "{figures}");
    assert!(figures.contains("stagedoor_alarms{kind=\"dead_letters\"} 0.0"), "{figures}");
    let token = stagedoor::console::ConsoleToken::of(&one.hub).expect("a token");
    let token = (token, std::fs::read_to_string(one.hub.folder.join("console_token")).expect("a token"));
    let request = Request::get("/").header("host", "127.0.0.1").header("accept-language", "ru");
    let request = request.header("authorization", format!("Bearer {}", token.1.trim()));
    let answer = one.hub.console(token.0).oneshot(request.body(axum::body::Body::empty()).expect("one")).await;
    let page = axum::body::to_bytes(answer.expect("a page").into_body(), 1 << 20).await.expect("a page");
    let page = String::from_utf8_lossy(&page);
    assert!(page.contains("Тревоги") && page.contains("CRM ждут 1 чел."), "{page}");
}

#[tokio::test]
async fn rejected_signatures_are_counted_by_source_in_ten_minutes() {
    let (team, url) = Team::start().await;
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let mut one = watched(folder.path(), &clock, &format!("{}\nrejected = 5", signed(&url)));
    for n in 0..30 {
        // Two sources with four each in ten minutes, and refusals that say nothing of a secret.
        for source in ["tilda", "qtickets"] {
            one.hub.counters.count(source, "MissingSignature");
            one.hub.counters.count(source, "TooMany");
        }
        one.later(150).await;
        assert!(team.phases().is_empty(), "{n}");
    }
    one.later(700).await;
    for _ in 0..5 {
        one.hub.counters.count("tilda", "WrongSignature");
    }
    one.later(15).await;
    let told = team.told();
    let (kind, _, body) = told.first().expect("an alarm");
    assert_eq!((told.len(), kind.as_str(), &body["source"]), (1, "signatures_rejected", &"tilda".into()));
    assert_eq!(body["count"], 5);
    one.later(500).await;
    assert!(team.phases().is_empty());
    one.later(130).await;
    assert_eq!(team.phases(), ["signatures_rejected over"]);
}

#[tokio::test]
async fn a_stranger_rings_once_in_six_hours_and_the_next_message_counts_the_others() {
    let (team, url) = Team::start().await;
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let mut one = watched(folder.path(), &clock, &signed(&url));
    let mut phases = Vec::new();
    for n in 0..17 {
        for _ in 0..12 {
            one.hub.counters.count("tilda", "WrongSignature");
        }
        one.later(15).await;
        assert_eq!(stagedoor::alarms::ringing(&*one.hub.store).await.expect("read").len(), 1, "it is shown");
        phases.extend(team.phases());
        one.later(601).await;
        one.later(601).await;
        phases.extend(team.phases());
        if n == 5 {
            drop(one);
            one = watched(folder.path(), &clock, &signed(&url));
            // The counts of the last ten minutes are known again.
            one.later(15).await;
            one.later(601).await;
        }
    }
    assert_eq!(phases, ["signatures_rejected began", "signatures_rejected over"]);
    // It goes on for longer than the rest.
    for n in 0..10 {
        for _ in 0..12 {
            one.hub.counters.count("tilda", "WrongSignature");
        }
        one.later(300).await;
        let told = team.told();
        let Some((kind, phase, body)) = told.first() else {
            assert!(n < 8, "it is told after the rest");
            continue;
        };
        assert_eq!((kind.as_str(), phase.as_str()), ("signatures_rejected", "began"));
        let text = body["text"].as_str().expect("a text");
        assert!(text.contains("It began 16 more times since the last message"), "{text}");
        return;
    }
}

/// As docs/machine.md tries it.
#[tokio::test]
async fn ten_deliveries_without_a_signature_ring() {
    let (team, url) = Team::start().await;
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let mut one = watched(folder.path(), &clock, &signed(&url));
    let router = one.hub.router().expect("a router");
    for _ in 0..10 {
        let request = Request::post("/website/site").header("content-type", "application/json");
        let request = request.body(axum::body::Body::from("{}")).expect("a request");
        assert_eq!(router.clone().oneshot(request).await.expect("an answer").status(), 401);
    }
    one.later(15).await;
    let told = team.told();
    let (kind, _, body) = told.first().expect("an alarm");
    assert_eq!((kind.as_str(), &body["source"], &body["count"]), ("signatures_rejected", &"site".into(), &10.into()));
}

#[tokio::test]
async fn a_hub_that_serves_looks_by_itself() {
    let (team, url) = Team::start().await;
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    watched(folder.path(), &clock, "").to_queue(DEAD);
    let section = format!("\n[alarms]\n{}\n", signed(&url));
    let text = DEFAULT_CONFIG
        .replace("127.0.0.1:8090", "127.0.0.1:0")
        .replace("127.0.0.1:8081", &free())
        .replace("127.0.0.1:8082", &free())
        .replace("8083", &stagedoor_testkit::free_port().to_string());
    let config = read_config("stagedoor.toml", &format!("{text}{section}"), None).expect("a config");
    let hub = Arc::new(Hub::open(config, folder.path(), "serve").expect("a hub"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let _running = stagedoor::start(&hub, listener).await.expect("started");
    until(async || !team.heard.lock().expect("a lock").is_empty()).await;
    assert_eq!(team.phases(), ["dead_letters began"]);
}

#[tokio::test]
async fn a_bot_and_a_letter_tell_the_team() {
    let (messengers, post, at) = (Messengers::default(), Post::default(), [free(), free()]);
    for (n, address) in at.iter().enumerate() {
        let listener = tokio::net::TcpListener::bind(address).await.expect("a port");
        let (messengers, post) = (messengers.clone(), post.clone());
        match n {
            0 => drop(tokio::spawn(async move { messengers.serve(listener).await })),
            _ => drop(tokio::spawn(async move { post.serve(listener).await })),
        }
    }
    messengers.open(Platform::Telegram, "-1001234567890");
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let section = "email = [\"duty@example.ru\"]\ntelegram = { source = \"telegram\", chat = \"-1001234567890\" }";
    let text = DEFAULT_CONFIG.replace("127.0.0.1:8082", &at[0]).replace("8083", at[1].split(':').nth(1).expect("one"));
    let config = read_config("s.toml", &format!("{text}\n[alarms]\n{section}\n"), None).expect("a config");
    let hub = Arc::new(Hub::open_by(Arc::new(clock.clone()), config, folder.path(), "serve").expect("a hub"));
    let mut watch = Watch::new(&hub).expect("a watch");
    for _ in 0..12 {
        hub.counters.count("tilda", "WrongSignature");
    }
    watch.round().await.expect("a look");
    watch.round().await.expect("a look");
    let said = messengers.arrived();
    assert_eq!((said.len(), said[0].to.as_str()), (1, "-1001234567890"));
    assert!(
        said[0].text.contains("источник tilda: доставок с неверной подписью за десять минут: 12"),
        "{}",
        said[0].text
    );
    let letters = post.arrived();
    assert_eq!((letters.len(), letters[0].to.as_str()), (1, "duty@example.ru"));
    assert!(letters[0].subject.contains("signatures_rejected tilda (began)"), "{}", letters[0].subject);
    assert!(
        letters[0].text.contains("source tilda: deliveries with a wrong signature in ten minutes: 12"),
        "{}",
        letters[0].text
    );
}

#[test]
fn every_mistake_of_the_alarms_is_told_with_its_remedy_and_no_address() {
    let section = "[alarms]\nwebhook = \"dev:chat.example.ru/s3cret\"\nwebhook_secret = \"dev:x\"\nemail = [\"duty\"]\n\
                   telegram = { source = \"tilda\", chat = \"team\" }\nwaiting_minutes = 0\nrejected = 0\nsilent_hours = 0\n\
                   silent_except = [\"tidla\"]\n";
    let start = DEFAULT_CONFIG.find("[smtp]").expect("a section");
    let end = start + DEFAULT_CONFIG[start..].find("\n\n").expect("its end");
    let text = format!("{}{}\n{section}", &DEFAULT_CONFIG[..start], &DEFAULT_CONFIG[end..]);
    let told = read_config("stagedoor.toml", &text, None).expect_err("mistakes");
    for expected in [
        "alarms.webhook: is no address, expected one such as https://chat.example.ru/hooks/",
        "alarms.email: letters need a relay: add the section [smtp]",
        "alarms.email: has a text that is no address, expected duty@example.ru",
        "alarms.telegram: there is no source \"tilda\" with provider = \"telegram\"",
        "alarms.telegram: chat is no number, expected one such as \"-1001234567890\"",
        "alarms.waiting_minutes: is 0, at least 1 is needed",
        "alarms.rejected: is 0, at least 1 is needed",
        "alarms.silent_hours: is 0, at least 1 is needed",
        "alarms.silent_except: there is no source \"tidla\"",
    ] {
        assert!(told.contains(expected), "missing {expected:?} in\n{told}");
    }
    assert!(!told.contains("s3cret"), "{told}");
    let lonely = format!("{DEFAULT_CONFIG}\n[alarms]\nwebhook_secret = \"dev:x\"\nlanguage = \"fr\"\n");
    let told = read_config("stagedoor.toml", &lonely, None).expect_err("mistakes");
    assert!(told.contains("alarms: unknown variant `fr`"), "{told}");
    let told = read_config("stagedoor.toml", &lonely.replace("language = \"fr\"", ""), None).expect_err("mistakes");
    assert!(told.contains("alarms.webhook_secret: signs nothing: webhook is missing"), "{told}");
}

#[tokio::test]
async fn a_site_that_moved_to_another_origin_rings() {
    let (team, url) = Team::start().await;
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let mut one = watched(folder.path(), &clock, &signed(&url));
    for _ in 0..12 {
        one.hub.counters.count("landing", "WrongOrigin");
    }
    one.later(15).await;
    assert_eq!(team.phases(), ["signatures_rejected began"]);
}
