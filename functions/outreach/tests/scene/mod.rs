//! A channel that says what a test has it say, and the consumer in front of it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use stagedoor_engine::{Group, Guards, SendingPolicy, fold};
use stagedoor_model::{
    Body, ChatChanged, ChatRef, Event, EventId, Identifier, Kind, MessageDecided, MessageSent, Messenger, SourceName,
    Timestamp,
};
use stagedoor_outreach::{Outreach, RateLimit};
use stagedoor_ports::{
    Channel, Clock, Commit, Queue, Sending, Settled, Store, SystemClock,
    memory::{MemoryQueue, MemoryStore},
};

/// Says what it was told to say, in turn; then that all is sent.
pub struct Scripted {
    answers: Mutex<Vec<Sending>>,
    settled: Mutex<Settled>,
    window: Option<Duration>,
    sent: Mutex<Vec<String>>,
}

impl Scripted {
    /// From now on the channel knows the message by this id.
    pub fn found(&self, id: &str) {
        *self.settled.lock().expect("a lock") = Settled::Sent(id.to_owned());
    }
}

#[async_trait]
impl Channel for Scripted {
    async fn send(&self, decision: &str, _: &MessageDecided) -> Sending {
        self.sent.lock().expect("a lock").push(decision.to_owned());
        let mut answers = self.answers.lock().expect("a lock");
        if answers.is_empty() { Sending::Sent("m1".into()) } else { answers.remove(0) }
    }

    async fn settle(&self, _: &str, _: &MessageDecided) -> Settled {
        self.settled.lock().expect("a lock").clone()
    }

    fn rate(&self) -> NonZeroU32 {
        NonZeroU32::new(1_000).expect("more than nothing")
    }

    fn window(&self) -> Option<Duration> {
        self.window
    }
}

/// A clock that is so many seconds ahead.
pub struct Ahead(pub i64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now() + jiff::SignedDuration::from_secs(self.0)
    }
}

pub struct Scene {
    pub outreach: Outreach,
    pub channel: Arc<Scripted>,
    pub outbox: Arc<MemoryQueue>,
    pub chats: Arc<MemoryQueue>,
}

pub fn bot() -> SourceName {
    SourceName::new("bot").expect("a name")
}

impl Scene {
    pub fn new(answers: Vec<Sending>, settled: Settled) -> Self {
        Self::within(answers, settled, None)
    }

    pub fn within(answers: Vec<Sending>, settled: Settled, window: Option<Duration>) -> Self {
        let (answers, settled) = (Mutex::new(answers), Mutex::new(settled));
        let channel = Arc::new(Scripted { answers, settled, window, sent: Mutex::default() });
        let (outbox, chats) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryQueue::default()));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let channels = BTreeMap::from([(bot(), channel.clone() as Arc<dyn Channel>)]);
        let outreach = Outreach {
            store,
            outbox: outbox.clone(),
            chats: chats.clone(),
            clock: Arc::new(SystemClock),
            channels,
            policy: SendingPolicy::default(),
            pace: Arc::new(RateLimit::default()),
        };
        Self { outreach, channel, outbox, chats }
    }

    pub fn calls(&self) -> usize {
        self.channel.sent.lock().expect("a lock").len()
    }

    /// What the chats' queue was told.
    pub async fn told(&self) -> Vec<MessageSent> {
        let all = self.chats.receive(100).await.expect("a queue");
        let told = all.into_iter().map(|one| match one.event.body {
            Body::MessageSent(sent) => *sent,
            other => panic!("not expected: {}", other.kind()),
        });
        told.collect()
    }
}

pub fn decided(number: u32, heard_hours_ago: i64) -> Event {
    let now = SystemClock.now();
    let heard_at = now - jiff::SignedDuration::from_hours(heard_hours_ago);
    let message = MessageDecided {
        heard_at: Some(heard_at),
        ..MessageDecided::new(
            bot(),
            Identifier::opaque(Kind::Chat(Messenger::Telegram), "", "5342492667").expect("an id"),
            "Ваш промокод".into(),
            now + jiff::SignedDuration::from_hours(1),
        )
    };
    let id = EventId::derive(&bot(), &["reply", &number.to_string()]);
    Event::new(&bot(), id, now, Body::MessageDecided(Box::new(message)))
}

/// With advertising for somebody who consents, as far as the store knows.
pub async fn advertising(scene: &Scene, consents: bool) -> Event {
    let mut event = decided(9, 0);
    let chat = Identifier::opaque(Kind::Chat(Messenger::Telegram), "", "5342492667").expect("an id");
    let may = Event::new(
        &bot(),
        EventId::derive(&bot(), &["may"]),
        SystemClock.now(),
        Body::ChatResumed(ChatChanged { chat: ChatRef::of(chat.clone()), marketing_only: true }),
    );
    if consents {
        let records = stagedoor_engine::record_of(&may).into_iter().collect();
        let group = Group { records, people: vec![] };
        let folded = fold(group, &BTreeSet::new(), &Guards::default());
        let person = folded.people.into_iter().next().expect("a person");
        let claims = vec![(chat, person.id, None)];
        let commit = Commit { people: vec![(person, None)], claims, ..Commit::default() };
        scene.outreach.store.save(vec![commit]).await.expect("saved");
    }
    if let Body::MessageDecided(message) = &mut event.body {
        message.marketing = true;
    }
    event
}
