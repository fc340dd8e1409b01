//! Mailings without the wire: what is decided and remembered, and that a crash decides nothing twice.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use stagedoor_model::{
    Body, Channel, ChatRef, ConsentClaim, ContactShared, Email, Event, EventId, FormSubmitted, Identifier, Kind,
    LinkKey, MARKETING, Messenger, Money, ShowRef, SourceName,
};
use stagedoor_ports::{DeadLetter, PortError, Queue, Receipt, Received, Result, memory::MemoryQueue};
use stagedoor_sync::{FlushMode, Talking};
use stagedoor_tests::{
    clock::Moved,
    crash::{Life, Mortal},
    world::World,
};

use crate::crashes::order;

const HOUR: i64 = 3_600;
/// 2027-05-03, noon in Moscow.
const NOON: i64 = 1_809_334_800;
const PHONE: &str = "phone:+79161110001";

/// Everything of `sync` with a cart that a letter is due about, and the outbox.
async fn with_a_cart() -> (World, Moved, Arc<MemoryQueue>) {
    let (mut world, clock) = (World::new().await, Moved::at(NOON));
    world.sync.clock = Arc::new(clock.clone());
    let (outbox, chats) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryQueue::default()));
    world.sync.conversation = Some(Talking {
        outbox: outbox.clone(),
        chats,
        links: LinkKey::new("key"),
        public_url: "https://hub.example.ru".into(),
    });
    let config = stagedoor::read_config("stagedoor.toml", stagedoor::DEFAULT_CONFIG, None).expect("a config").catalog;
    world.sync.catalog.shows.clone_from(&config.shows);
    let site = SourceName::new("site").expect("a name");
    let form = FormSubmitted {
        identifiers: [Identifier::email(Email::parse("anna@example.com").expect("an address"))].into(),
        proof: Default::default(),
        name: None,
        form: None,
        show: Some(ShowRef::id("cherry-kazan")),
        amount: Some(Money::from_major("100", "RUB").expect("money")),
        consents: vec![ConsentClaim { purpose: MARKETING.into(), channel: Channel::Email, given: true, wording: None }],
        labels: Default::default(),
        company: None,
    };
    let event = Event::new(&site, EventId::derive(&site, &["cart"]), world.sync.clock.now(), Body::CartAbandoned(form));
    world.run(vec![event]).await;
    clock.on(3 * HOUR);
    (world, clock, outbox)
}

/// As if the config had been written anew.
fn mail(world: &mut World) {
    let config = stagedoor::read_config("stagedoor.toml", stagedoor::DEFAULT_CONFIG, None).expect("a config").catalog;
    world.sync.catalog.mailings = config.mailings;
    world.sync.catalog.mailings.iter_mut().for_each(|one| one.hold_out = 0);
    world.sync.catalog.campaigns = config.campaigns;
    world.sync.catalog.senders = config.senders;
}

#[tokio::test]
async fn a_mailing_that_is_new_in_the_config_reaches_who_is_there_already() {
    let (mut world, _, outbox) = with_a_cart().await;
    world.sync.wake().await.expect("woken");
    world.reconcile().await;
    assert_eq!(outbox.depth().await.expect("a depth"), 0);
    mail(&mut world);
    world.sync.wake().await.expect("woken");
    world.reconcile().await;
    assert_eq!(outbox.depth().await.expect("a depth"), 1);
}

#[tokio::test]
async fn a_letter_whose_code_is_not_there_yet_has_not_begun() {
    let (mut world, clock, outbox) = with_a_cart().await;
    mail(&mut world);
    let cart = world.sync.catalog.mailings.iter_mut().find(|one| one.name == "cart").expect("a mailing");
    let variants = cart.variants.clone();
    cart.variants.iter_mut().flat_map(|one| one.text.0.values_mut()).for_each(|text| text.push_str(" {promo}"));
    world.sync.wake().await.expect("woken");
    world.reconcile().await;
    let begun = async |world: &World| {
        let rows = world.store.journal(1_000).await.expect("a journal");
        rows.into_iter().filter(|row| matches!(row.event.body, Body::MailingBegun(_))).count()
    };
    assert_eq!((outbox.depth().await.expect("a depth"), begun(&world).await), (0, 0));
    // Half an hour later it goes without one.
    world.sync.catalog.mailings.iter_mut().filter(|one| one.name == "cart").for_each(|one| {
        one.variants.clone_from(&variants);
    });
    clock.on(HOUR / 2);
    world.sync.wake().await.expect("woken");
    world.reconcile().await;
    assert_eq!((outbox.depth().await.expect("a depth"), begun(&world).await), (1, 1));
}

#[tokio::test]
async fn killed_at_any_step_it_is_decided_once_and_remembered() {
    for steps in 1.. {
        let (mut world, clock, outbox) = with_a_cart().await;
        mail(&mut world);
        world.sync.wake().await.expect("woken");
        let life = Life::of(steps);
        let mut mortal = world.sync.clone();
        mortal.store = Arc::new(Mortal { inner: Arc::clone(&world.store), life: life.clone() });
        _ = mortal.reconcile(FlushMode::Everything).await;
        // A process that lives goes on, a minute later.
        clock.on(200);
        world.reconcile().await;
        let decided: Vec<Event> = outbox.receive(9).await.expect("read").into_iter().map(|one| one.event).collect();
        let ids: BTreeSet<String> = decided.iter().map(|event| event.id.to_string()).collect();
        assert_eq!(ids.len(), 1, "killed at step {steps}: {decided:?}");
        let people = world.store.scan_people(None, 10).await.expect("read").0;
        let links = world.store.crm_states(&people).await.expect("read");
        let written: Vec<_> = links.values().flat_map(|link| link.written.values()).collect();
        assert_eq!(written.iter().map(|one| one.steps.len()).collect::<Vec<_>>(), [1], "killed at step {steps}");
        if !life.is_over() {
            assert!(steps > 5, "there are steps to be killed at");
            break;
        }
    }
}

/// A chat of the same person, in which they told their address.
fn chat(now: stagedoor_model::Timestamp) -> Event {
    let bot = SourceName::new("telegram").expect("a name");
    let id = Identifier::opaque(Kind::Chat(Messenger::Telegram), "", "5342492667").expect("an id");
    let given = Identifier::email(Email::parse("anna@example.com").expect("an address"));
    let body =
        Body::ContactShared(ContactShared { chat: ChatRef::of(id), given, proof: stagedoor_model::Proof::Channel });
    Event::new(&bot, EventId::derive(&bot, &["shared"]), now, body)
}

/// The decisions about the cart in the outbox.
async fn cart_decisions(outbox: &MemoryQueue) -> BTreeSet<String> {
    let decided = outbox.receive(99).await.expect("read").into_iter().map(|one| one.event);
    let is_of_cart = |event: &Event| match &event.body {
        Body::MessageDecided(message) => message.campaign.as_deref() == Some("cart"),
        _ => false,
    };
    decided.filter(is_of_cart).map(|event| event.id.to_string()).collect()
}

#[tokio::test]
async fn killed_at_any_step_a_message_does_not_go_another_way_as_well() {
    for steps in 1.. {
        let (mut world, clock, outbox) = with_a_cart().await;
        mail(&mut world);
        world.sync.catalog.consent.chats = true;
        world.sync.wake().await.expect("woken");
        let life = Life::of(steps);
        let mut mortal = world.sync.clone();
        mortal.store = Arc::new(Mortal { inner: Arc::clone(&world.store), life: life.clone() });
        _ = mortal.reconcile(FlushMode::Everything).await;
        // Before another process goes on, she opens a chat, through which she would be written to first.
        clock.on(200);
        world.run(vec![chat(world.sync.clock.now())]).await;
        let ids = cart_decisions(&outbox).await;
        assert_eq!(ids.len(), 1, "killed at step {steps}: {ids:?}");
        if !life.is_over() {
            assert!(steps > 5, "there are steps to be killed at");
            break;
        }
    }
}

#[tokio::test]
async fn killed_at_any_step_a_message_does_not_go_again_to_somebody_who_was_joined_since() {
    for steps in 1.. {
        let (mut world, clock, outbox) = with_a_cart().await;
        mail(&mut world);
        world.run(vec![order(1, &[PHONE])]).await;
        world.sync.wake().await.expect("woken");
        let life = Life::of(steps);
        let mut mortal = world.sync.clone();
        mortal.store = Arc::new(Mortal { inner: Arc::clone(&world.store), life: life.clone() });
        _ = mortal.reconcile(FlushMode::Everything).await;
        // Before another process goes on, the buyer shows that the cart is theirs, too.
        clock.on(200);
        world.run(vec![order(2, &[PHONE, "email:anna@example.com"])]).await;
        let ids = cart_decisions(&outbox).await;
        assert!(ids.len() < 2, "killed at step {steps}: {ids:?}");
        if !life.is_over() {
            assert_eq!(ids.len(), 1);
            assert!(steps > 5, "there are steps to be killed at");
            break;
        }
    }
}

/// A queue that takes nothing.
struct Away;

#[async_trait]
impl Queue for Away {
    async fn send(&self, _: Vec<Event>) -> Result<()> {
        Err(PortError::Retry("the queue is away".into()))
    }
    async fn send_later(&self, events: Vec<Event>, _: Duration) -> Result<()> {
        self.send(events).await
    }
    async fn receive(&self, _: usize) -> Result<Vec<Received>> {
        Ok(vec![])
    }
    async fn done(&self, _: Vec<Receipt>) -> Result<()> {
        Ok(())
    }
    async fn give_back(&self, _: Vec<Receipt>) -> Result<()> {
        Ok(())
    }
    async fn depth(&self) -> Result<u64> {
        Ok(0)
    }
    async fn dead_letters(&self) -> Result<u64> {
        Ok(0)
    }
    async fn oldest(&self) -> Result<Option<stagedoor_model::Timestamp>> {
        Ok(None)
    }
    async fn dead(&self, _: usize) -> Result<Vec<DeadLetter>> {
        Ok(vec![])
    }
    async fn drop_those(&self, _: &(dyn for<'t> Fn(&'t str) -> bool + Send + Sync)) -> Result<u64> {
        Ok(0)
    }

    async fn redrive(&self) -> Result<u64> {
        Ok(0)
    }
}

#[tokio::test]
async fn an_outbox_that_takes_nothing_keeps_nobody_from_the_crm() {
    let (mut world, clock, outbox) = with_a_cart().await;
    mail(&mut world);
    world.sync.wake().await.expect("woken");
    let conversation = world.sync.conversation.clone().expect("a way to answer");
    world.sync.conversation = Some(Talking { outbox: Arc::new(Away), ..conversation.clone() });
    let before = world.sandbox.contacts().len();
    let site = SourceName::new("site").expect("a name");
    let form = FormSubmitted {
        identifiers: [Identifier::email(Email::parse("boris@example.com").expect("an address"))].into(),
        proof: Default::default(),
        name: None,
        form: None,
        show: Some(ShowRef::id("cherry-kazan")),
        amount: None,
        consents: vec![],
        labels: Default::default(),
        company: None,
    };
    let id = EventId::derive(&site, &["boris"]);
    world.run(vec![Event::new(&site, id, world.sync.clock.now(), Body::FormSubmitted(form))]).await;
    assert_eq!(world.sandbox.contacts().len(), before + 1);
    // When the outbox is back, Anna's letter goes.
    world.sync.conversation = Some(conversation);
    clock.on(120);
    world.sync.wake().await.expect("woken");
    world.reconcile().await;
    assert_eq!(outbox.depth().await.expect("a depth"), 1);
}
