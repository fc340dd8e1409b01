//! Every channel against its stand-in: what arrives, and what the original's errors are understood as.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use stagedoor::{DEFAULT_CONFIG, read_config};
use stagedoor_engine::SendingPolicy;
use stagedoor_model::{Body, Button, Event, EventId, Identifier, MessageDecided, Messenger, SourceName, Timestamp};
use stagedoor_outreach::{Outreach, RateLimit};
use stagedoor_ports::{
    Channel, Clock, Sending, Settled, SystemClock,
    memory::{MemoryQueue, MemoryStore},
};
use stagedoor_sandbox::{Break, Messengers, Platform};
use stagedoor_testkit::fans::ChatFan;
use stagedoor_tests::messengers::{StandIn, all, of};
use tokio::{net::TcpListener, task::JoinHandle};

struct Scene {
    messengers: Messengers,
    channel: Arc<dyn Channel>,
    platform: Platform,
    to: Identifier,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The channel of a source behind a stand-in.
async fn channel_of(source: &str) -> (Messengers, Arc<dyn Channel>, JoinHandle<std::io::Result<()>>) {
    let messengers = Messengers::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let serving = tokio::spawn(messengers.clone().serve(listener));
    let config = read_config("stagedoor.toml", &DEFAULT_CONFIG.replace("127.0.0.1:8082", &address), None);
    let channels = stagedoor_channels::channels(&config.expect("a config")).expect("channels");
    let channel = channels[&SourceName::new(source).expect("a name")].clone();
    (messengers, channel, serving)
}

async fn scene(one: &StandIn) -> Scene {
    let source = one.messenger.name();
    let (messengers, channel, serving) = channel_of(source).await;
    let id = ChatFan::new(one.account.clone(), "Анна").id();
    let to = Identifier::chat(one.messenger, source, &id).expect("an id");
    Scene { messengers, channel, platform: one.platform, to, serving }
}

async fn sms() -> Scene {
    let (messengers, channel, serving) = channel_of("sms").await;
    let to = "phone:+79171234567".parse().expect("a phone");
    Scene { messengers, channel, platform: Platform::Sms, to, serving }
}

impl Scene {
    fn message(&self, text: &str) -> MessageDecided {
        MessageDecided {
            button: Some(Button {
                label: "Купить билет".into(), url: "https://hub.example.ru/l/abc".into()
            }),
            ..MessageDecided::new(
                SourceName::new("bot").expect("a name"),
                self.to.clone(),
                text.to_owned(),
                Timestamp::MAX,
            )
        }
    }

    fn open(&self) {
        self.messengers.open(self.platform, self.to.value());
    }

    async fn send(&self, decision: &str) -> Sending {
        self.channel.send(decision, &self.message("Ваш промокод: UFA-7K2")).await
    }
}

#[tokio::test]
async fn a_text_with_its_button_arrives_through_every_messenger() {
    for one in all() {
        let scene = scene(&one).await;
        scene.open();
        assert!(matches!(scene.send("d1").await, Sending::Sent(id) if !id.is_empty()), "{:?}", one.messenger);
        let arrived = scene.messengers.arrived().remove(0);
        assert_eq!(arrived.to, scene.to.value(), "{:?}", one.messenger);
        assert_eq!(arrived.text, "Ваш промокод: UFA-7K2", "{:?}", one.messenger);
        assert_eq!(arrived.button.as_deref(), Some("https://hub.example.ru/l/abc"), "{:?}", one.messenger);
    }
}

/// The scene's channel behind the outbox, as the hub has it.
fn outreach(scene: &Scene) -> Outreach {
    Outreach {
        store: Arc::new(MemoryStore::default()),
        outbox: Arc::new(MemoryQueue::default()),
        chats: Arc::new(MemoryQueue::default()),
        clock: Arc::new(SystemClock),
        channels: [(SourceName::new("bot").expect("a name"), scene.channel.clone())].into(),
        policy: SendingPolicy::default(),
        pace: Arc::new(RateLimit::default()),
    }
}

#[tokio::test]
async fn a_text_that_is_too_long_arrives_in_parts_and_the_way_to_the_shop_with_the_last() {
    let sentence = |n: usize| format!("{n}. Билеты 😀 на вечерний спектакль, партер и балкон.\n");
    let long: String = (0..250).map(sentence).collect();
    for one in all().into_iter().map(Some).chain([None]) {
        let scene = match one {
            Some(one) => scene(&one).await,
            None => sms().await,
        };
        scene.open();
        let (outreach, source) = (outreach(&scene), SourceName::new("bot").expect("a name"));
        let message = MessageDecided { heard_at: Some(SystemClock.now()), ..scene.message(&long) };
        let id = EventId::derive(&source, &["long"]);
        let event = Event::new(&source, id, SystemClock.now(), Body::MessageDecided(Box::new(message)));
        // Handed out twice, it goes once.
        for _ in 0..2 {
            assert!(outreach.handle(vec![event.clone()]).await.is_empty(), "{:?}", scene.platform);
        }
        let arrived = scene.messengers.arrived();
        let (last, before) = arrived.split_last().expect("parts");
        let address = "https://hub.example.ru/l/abc";
        assert!(
            before.iter().all(|part| part.button.is_none() && !part.text.contains(address)),
            "{:?}",
            scene.platform
        );
        assert!(last.button.as_deref() == Some(address) || last.text.ends_with(address), "{:?}", scene.platform);
        let text: Vec<&str> = arrived.iter().map(|part| part.text.trim_end_matches(address)).collect();
        let (text, expected) = (text.join("\n"), long.split_whitespace());
        assert!(text.split_whitespace().eq(expected), "{:?} lost words or their order", scene.platform);
        assert!(before.iter().all(|part| part.text.ends_with("балкон.")), "{:?}: split within a line", scene.platform);
        // The conversation holds every part, and each is known by its own id.
        let told = outreach.chats.receive(100).await.expect("a queue");
        let sent: BTreeSet<String> = told
            .into_iter()
            .filter_map(|one| match one.event.body {
                Body::MessageSent(sent) => Some((sent.decision == event.id.to_string()).then_some(sent.text)?),
                _ => None,
            })
            .collect();
        assert_eq!(sent.len(), arrived.len(), "{:?}", scene.platform);
    }
}

#[tokio::test]
async fn an_sms_arrives_with_the_address_in_its_text() {
    let scene = sms().await;
    assert!(matches!(scene.send("d1").await, Sending::Sent(_)));
    let arrived = scene.messengers.arrived().remove(0);
    assert_eq!(
        (arrived.to.as_str(), arrived.text.as_str()),
        ("79171234567", "Ваш промокод: UFA-7K2 https://hub.example.ru/l/abc")
    );
}

#[tokio::test]
async fn whoever_blocked_us_or_never_came_withdraws_the_channel() {
    for one in all() {
        let scene = scene(&one).await;
        assert!(matches!(scene.send("d1").await, Sending::RecipientOptedOut(_)), "{:?} never came", one.messenger);
        scene.open();
        scene.messengers.block(scene.platform, scene.to.value());
        assert!(matches!(scene.send("d2").await, Sending::RecipientOptedOut(_)), "{:?} blocked us", one.messenger);
        assert!(scene.messengers.arrived().is_empty());
    }
}

#[tokio::test]
async fn flood_control_is_waited_out_for_as_long_as_it_says() {
    for one in all() {
        let scene = scene(&one).await;
        scene.open();
        scene.messengers.break_next(scene.platform, Break::Flood(17), 1);
        match scene.send("d1").await {
            Sending::Throttled(wait) if one.messenger == Messenger::Telegram => {
                assert_eq!(wait, Duration::from_secs(17))
            }
            Sending::Throttled(wait) | Sending::Busy(wait) => assert!(!wait.is_zero(), "{:?}", one.messenger),
            other => panic!("{:?}: {other:?}", one.messenger),
        }
        assert!(matches!(scene.send("d1").await, Sending::Sent(_)), "{:?}", one.messenger);
    }
}

#[tokio::test]
async fn a_wrong_token_stops_the_channel_and_is_no_persons_fault() {
    for one in all() {
        let scene = scene(&one).await;
        scene.open();
        scene.messengers.change_token(scene.platform, "another");
        match scene.send("d1").await {
            // The token must not come back in the reason.
            Sending::CredentialsRejected(reason) => assert!(!reason.contains("dev-"), "{:?}", one.messenger),
            other => panic!("{:?}: {other:?}", one.messenger),
        }
    }
    let scene = sms().await;
    scene.messengers.change_token(Platform::Sms, "another");
    assert!(matches!(scene.send("d1").await, Sending::CredentialsRejected(_)));
}

#[tokio::test]
async fn an_answer_that_was_lost_is_told_from_one_that_was_never_given() {
    for one in all() {
        let scene = scene(&one).await;
        scene.open();
        scene.messengers.break_next(scene.platform, Break::AnswerLost, 1);
        assert_eq!(scene.send("d1").await, Sending::Lost, "{:?}", one.messenger);
        scene.messengers.break_next(scene.platform, Break::Broken, 1);
        assert!(matches!(scene.send("d2").await, Sending::NotSent(_)), "{:?}", one.messenger);
    }
}

#[tokio::test]
async fn vk_sends_one_decision_once_however_often_it_is_asked() {
    let scene = scene(&of(Messenger::Vk)).await;
    scene.open();
    scene.messengers.break_next(Platform::Vk, Break::AnswerLost, 1);
    assert_eq!(scene.send("d1").await, Sending::Lost);
    assert_eq!(scene.channel.settle("d1", &scene.message("")).await, Settled::Again);
    assert!(matches!(scene.send("d1").await, Sending::Sent(_)));
    assert_eq!(scene.messengers.arrived().len(), 1);
    assert!(matches!(scene.send("d2").await, Sending::Sent(_)));
    assert_eq!(scene.messengers.arrived().len(), 2);
}

#[tokio::test]
async fn an_sms_whose_answer_was_lost_is_asked_for() {
    let scene = sms().await;
    let message = scene.message("Ваш промокод: UFA-7K2");
    assert_eq!(scene.channel.settle("d1", &message).await, Settled::NotKnown, "nobody knows of it");
    scene.messengers.break_next(Platform::Sms, Break::AnswerLost, 1);
    assert_eq!(scene.channel.send("d1", &message).await, Sending::Lost);
    assert!(matches!(scene.channel.settle("d1", &message).await, Settled::Sent(_)));
    assert!(matches!(scene.channel.send("d1", &message).await, Sending::Busy(_)), "the same text twice a minute");
}

#[tokio::test]
async fn whatsapp_is_told_the_decision_so_that_its_webhook_can_settle_it() {
    let scene = scene(&of(Messenger::Whatsapp)).await;
    scene.open();
    scene.send("bot.decision").await;
    assert_eq!(scene.messengers.arrived().remove(0).key.as_deref(), Some("bot.decision"));
    assert_eq!(scene.channel.settle("bot.decision", &scene.message("")).await, Settled::Later);
}

#[tokio::test]
async fn outside_its_day_metas_messengers_refuse_and_the_person_is_not_given_up() {
    for one in all().into_iter().filter(|one| one.messenger.info().window.is_some()) {
        let scene = scene(&one).await;
        scene.open();
        scene.messengers.silent_for(scene.platform, scene.to.value(), 25 * 3_600);
        assert!(matches!(scene.send("d1").await, Sending::Refused(_)), "{:?}", one.messenger);
    }
}

#[tokio::test]
async fn what_cannot_be_reached_was_not_sent() {
    let scene = scene(&of(Messenger::Telegram)).await;
    scene.open();
    scene.serving.abort();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(scene.send("d1").await, Sending::NotSent(_) | Sending::Lost));
}

/// An adapter of somebody's own: it checks the signature with the reference library, and answers as it was told.
pub(crate) async fn adapter(statuses: Vec<u16>) -> (String, Arc<std::sync::Mutex<Vec<serde_json::Value>>>) {
    type Seen = Arc<std::sync::Mutex<Vec<serde_json::Value>>>;
    let seen: Seen = Arc::default();
    let left = Arc::new(std::sync::Mutex::new(statuses));
    let (kept, told) = (Arc::clone(&seen), Arc::clone(&left));
    let handle = async move |headers: http::HeaderMap, body: String| {
        let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "sms-secret");
        let checker = standardwebhooks::Webhook::new(&key).expect("a key");
        if checker.verify(body.as_bytes(), &headers).is_err() {
            return (http::StatusCode::UNAUTHORIZED, String::new());
        }
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(headers["webhook-id"], body["id"].as_str().expect("an id"));
        kept.lock().expect("a lock").push(body);
        let status = told.lock().expect("a lock").remove(0);
        (http::StatusCode::from_u16(status).expect("a status"), "{\"id\":\"g1\"}".to_owned())
    };
    let app = axum::Router::new().route("/sms", axum::routing::post(handle));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}/sms", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (base, seen)
}

#[tokio::test]
async fn sms_go_through_any_gateway_by_a_signed_post_that_knows_each_decision() {
    let (url, seen) = adapter(vec![200, 409, 410, 429, 422, 503]).await;
    let sms = format!("provider = \"http\"\napi = \"{url}\"\nsecret = \"dev:sms-secret\"");
    let own = "provider = \"smsc\"\napi = \"http://127.0.0.1:8082\"\nlogin = \"stagedoor\"\nsecret = \"dev:dev-sms-password\"";
    assert!(DEFAULT_CONFIG.contains(own));
    let config = read_config("stagedoor.toml", &DEFAULT_CONFIG.replace(own, &sms), None).expect("a config");
    let channels = stagedoor_channels::channels(&config).expect("channels");
    let channel = channels[&SourceName::new("sms").expect("a name")].clone();
    let scene = sms_to(channel).await;
    assert_eq!(scene.send("d1").await, Sending::Sent("g1".into()));
    assert!(matches!(scene.send("d1").await, Sending::Sent(_)), "taken before is taken");
    assert!(matches!(scene.send("d2").await, Sending::RecipientOptedOut(_)));
    assert!(matches!(scene.send("d3").await, Sending::Throttled(_)));
    assert!(matches!(scene.send("d4").await, Sending::Refused(_)));
    assert!(matches!(scene.send("d5").await, Sending::NotSent(_)));
    assert_eq!(scene.channel.settle("d5", &scene.message("")).await, Settled::Again);
    let first = seen.lock().expect("a lock")[0].clone();
    assert_eq!((first["phone"].as_str(), first["id"].as_str()), (Some("+79171234567"), Some("d1")));
}

/// The scene of SMS with another channel.
async fn sms_to(channel: Arc<dyn Channel>) -> Scene {
    let mut scene = sms().await;
    scene.channel = channel;
    scene
}
