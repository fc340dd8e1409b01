//! Killed between hearing and answering, and between deciding and sending: everybody is answered, and once.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use stagedoor::{DEFAULT_CONFIG, read_config};
use stagedoor_model::{
    Body, ChatChanged, ChatRef, ChatStarted, Content, Event, EventId, Identifier, Kind, LinkIssued, LinkKey,
    MessageDecided, MessageHeard, Messenger, Purpose, SourceName, Timestamp,
};
use stagedoor_outreach::{Outreach, RateLimit};
use stagedoor_ports::{
    Channel, Queue, Sending, Settled, Store, SystemClock,
    memory::{MemoryQueue, MemoryStore},
};
use stagedoor_sync::{Sync, Talking};
use stagedoor_tests::{
    crash::{Life, Mortal},
    world::World,
};

fn source(name: &str) -> SourceName {
    SourceName::new(name).expect("a name")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).expect("in range")
}

fn chat() -> ChatRef {
    ChatRef::of(Identifier::opaque(Kind::Chat(Messenger::Telegram), "", "5342492667").expect("an id"))
}

/// A link, a start through it, a question, and one that only a manager can answer.
fn story() -> Vec<Event> {
    let token = LinkKey::new("link-key").mint(1, Purpose::Chat, "anna", at(8_000_000));
    let identifiers: BTreeSet<Identifier> = ["phone:+79171234567".parse().expect("a phone")].into();
    let (campaign, purpose) = ("ufa".to_owned(), Purpose::Chat);
    let issued =
        LinkIssued { identifiers, token: token.clone(), campaign, purpose, expires_at: at(8_000_000), is_sent: false };
    let started = ChatStarted { chat: chat(), token: Some(token), may_write: true, only_opened: false };
    let said = |n: i64, text: &str| {
        Body::MessageReceived(MessageHeard {
            chat: chat(),
            message: n.to_string(),
            content: Content::Text(text.into()),
        })
    };
    let event = |n: i64, body| {
        let telegram = source("telegram");
        Event::new(&telegram, EventId::derive(&telegram, &[&n.to_string()]), at(n), body)
    };
    vec![
        event(1, Body::LinkIssued(issued)),
        event(2, Body::ChatStarted(started)),
        event(3, said(3, "1 3")),
        event(4, said(4, "а с собакой можно?")),
    ]
}

struct Talker {
    sync: Sync,
    outbox: Arc<MemoryQueue>,
    chats: Arc<MemoryQueue>,
}

fn talker(world: &World, store: Arc<dyn Store>) -> Talker {
    let config = read_config("stagedoor.toml", DEFAULT_CONFIG, None).expect("a config");
    let (outbox, chats) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryQueue::default()));
    let conversation = Talking {
        outbox: outbox.clone(),
        chats: chats.clone(),
        links: LinkKey::new("link-key"),
        public_url: "https://hub.example.ru".into(),
    };
    let sync = Sync { store, conversation: Some(conversation), catalog: config.catalog, ..world.sync.clone() };
    Talker { sync, outbox, chats }
}

/// What the queues hold, by the ids of the events: a decision made twice is one.
async fn held(all: &[Talker]) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    for one in all {
        for queue in [&one.outbox, &one.chats] {
            for received in queue.receive(1_000).await.expect("a queue") {
                let text = match &received.event.body {
                    Body::MessageDecided(message) => message.text.clone(),
                    other => other.kind().to_owned(),
                };
                held.insert(received.event.id.to_string(), text);
            }
        }
    }
    held
}

#[tokio::test]
async fn killed_between_hearing_and_answering_everybody_is_answered_the_same() {
    let calm = World::new().await;
    let one = talker(&calm, Arc::clone(&calm.store));
    assert!(one.sync.handle(story()).await.is_empty());
    let expected = held(&[one]).await;
    assert_eq!(expected.values().filter(|text| !text.starts_with("stagedoor.")).count(), 3, "{expected:?}");
    for steps in 1.. {
        let world = World::new().await;
        let life = Life::of(steps);
        let mortal = Arc::new(Mortal { inner: Arc::clone(&world.store), life: life.clone() });
        let (first, second) = (talker(&world, mortal), talker(&world, Arc::clone(&world.store)));
        first.sync.handle(story()).await;
        // The queue gives the batch again, for it was never acknowledged.
        assert!(second.sync.handle(story()).await.is_empty());
        // A code that was taken and not written down is lost to the pool: the person's own may be the next one.
        let same = |held: BTreeMap<String, String>| -> BTreeMap<String, String> {
            let shown = |text: String| text.split("UFA-").next().unwrap_or("").to_owned();
            held.into_iter()
                .filter(|(_, text)| !text.contains("promo-code"))
                .map(|(id, text)| (id, shown(text)))
                .collect()
        };
        assert_eq!(same(held(&[first, second]).await), same(expected.clone()), "killed at step {steps}");
        if !life.is_over() {
            assert!(steps > 8, "there are steps to be killed at");
            break;
        }
    }
}

#[tokio::test]
async fn whoever_lets_us_write_before_it_is_known_through_which_link_they_came_gets_their_promo_code() {
    let viber = source("viber");
    let chat =
        || ChatRef::of(Identifier::opaque(Kind::Chat(Messenger::Viber), "viber", "01234567890A=").expect("an id"));
    let [issued, started, _, _]: [Event; 4] = story().try_into().expect("a story of four");
    let Body::ChatStarted(ChatStarted { token, .. }) = started.body else { panic!("a start") };
    let event = |n: i64, body| Event::new(&viber, EventId::derive(&viber, &[&n.to_string()]), at(n), body);
    // Opening a chat with Viber lets nobody write yet; the button does, a second later.
    let opened = event(2, Body::ChatStarted(ChatStarted { chat: chat(), token, may_write: false, only_opened: false }));
    let pressed = event(3, Body::ChatResumed(ChatChanged { chat: chat(), marketing_only: false }));
    for order in [[&opened, &pressed], [&pressed, &opened]] {
        let world = World::new().await;
        let one = talker(&world, Arc::clone(&world.store));
        assert!(one.sync.handle(vec![issued.clone()]).await.is_empty());
        for event in order {
            assert!(one.sync.handle(vec![event.clone()]).await.is_empty());
        }
        let told = held(&[one]).await;
        let codes = told.values().filter(|text| text.contains("UFA-")).count();
        assert_eq!(codes, 1, "{told:?}");
    }
}

/// Takes every message, and remembers them.
struct Remembering {
    sent: Mutex<Vec<String>>,
    settled: Settled,
}

#[async_trait]
impl Channel for Remembering {
    async fn send(&self, decision: &str, _: &MessageDecided) -> Sending {
        self.sent.lock().expect("a lock").push(decision.to_owned());
        Sending::Sent("m1".into())
    }

    async fn settle(&self, _: &str, _: &MessageDecided) -> Settled {
        self.settled.clone()
    }

    fn rate(&self) -> NonZeroU32 {
        NonZeroU32::new(1_000).expect("more than nothing")
    }
}

fn decided(n: u32) -> Event {
    let message = MessageDecided::new(source("telegram"), chat().id, format!("text {n}"), Timestamp::MAX);
    let id = EventId::derive(&source("telegram"), &["reply", &n.to_string()]);
    Event::new(&source("telegram"), id, at(1), Body::MessageDecided(Box::new(message)))
}

#[tokio::test]
async fn killed_between_deciding_and_sending_nothing_is_sent_twice_and_all_of_it_is_told() {
    let batch = || vec![decided(1), decided(2)];
    for settled in [Settled::Unknown, Settled::Sent("m1".into())] {
        for steps in 1.. {
            let inner: Arc<dyn Store> = Arc::new(MemoryStore::default());
            let channel = Arc::new(Remembering { sent: Mutex::default(), settled: settled.clone() });
            let (outbox, chats) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryQueue::default()));
            let outreach = |store: Arc<dyn Store>| Outreach {
                store,
                outbox: outbox.clone(),
                chats: chats.clone(),
                clock: Arc::new(SystemClock),
                channels: BTreeMap::from([(source("telegram"), channel.clone() as Arc<dyn Channel>)]),
                policy: stagedoor_engine::SendingPolicy::default(),
                pace: Arc::new(RateLimit::default()),
            };
            let life = Life::of(steps);
            outreach(Arc::new(Mortal { inner: Arc::clone(&inner), life: life.clone() })).handle(batch()).await;
            // A process that lives, and the batch again, as often as it takes.
            let healthy = outreach(inner);
            for _ in 0..3 {
                healthy.handle(batch()).await;
            }
            let sent = channel.sent.lock().expect("a lock").clone();
            let once: BTreeSet<&String> = sent.iter().collect();
            assert_eq!(sent.len(), once.len(), "killed at step {steps}: {sent:?}");
            let told: BTreeSet<String> = chats
                .receive(100)
                .await
                .expect("a queue")
                .into_iter()
                .filter_map(|one| match one.event.body {
                    Body::MessageSent(sent) => Some(sent.decision),
                    _ => None,
                })
                .collect();
            assert_eq!(told.len(), 2, "killed at step {steps}");
            if !life.is_over() {
                assert!(steps > 6, "there are steps to be killed at");
                break;
            }
        }
    }
}
