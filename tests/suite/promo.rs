//! One promo code a person and campaign, given once whatever is repeated; and whose a sale is.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor::{DEFAULT_CONFIG, Hub, campaign::figures, read_config};
use stagedoor_engine::By;
use stagedoor_model::{
    Body, ChatRef, ChatStarted, Event, EventId, Identifier, Kind, LinkClicked, LinkIssued, Messenger, Money, Order,
    OrderBody, OrderState, Purpose, ShowRef, SourceName, Ticket, Timestamp, Token,
};

struct Scene {
    hub: Hub,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn with(change: impl FnOnce(String) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = read_config("stagedoor.toml", &change(DEFAULT_CONFIG.to_owned()), None).expect("a config");
        Self { hub: Hub::open(config, folder.path(), "test").expect("a hub"), _folder: folder }
    }

    /// What the outbox holds: who is written to, and the code in the text.
    async fn given(&self) -> Vec<(String, Option<String>)> {
        let all = self.hub.queues.outbox.receive(1_000).await.expect("a queue");
        self.hub.queues.outbox.done(all.iter().map(|one| one.receipt.clone()).collect()).await.expect("a queue");
        let given = all.into_iter().filter_map(|one| match one.event.body {
            Body::MessageDecided(message) => {
                let code = message.text.split_whitespace().find(|word| word.starts_with("UFA-"));
                Some((message.to.to_string(), code.map(|code| code.trim_end_matches('.').to_owned())))
            }
            _ => None,
        });
        given.collect()
    }

    /// What answering found out is folded as any other event.
    async fn fold_chats(&self) {
        let all = self.hub.queues.chats.receive(1_000).await.expect("a queue");
        let (events, receipts) = all.into_iter().map(|one| (one.event, one.receipt)).unzip();
        assert!(self.hub.sync.handle(events).await.is_empty());
        self.hub.queues.chats.done(receipts).await.expect("a queue");
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).expect("in range")
}

fn source(name: &str) -> SourceName {
    SourceName::new(name).expect("a name")
}

fn token(hub: &Hub, n: usize) -> Token {
    hub.sync.conversation.as_ref().expect("a key").links.mint(1, Purpose::Chat, &n.to_string(), at(8_000_000))
}

fn phone(n: usize) -> Identifier {
    format!("phone:+7916{:07}", 1_000_000 + n).parse().expect("a phone")
}

fn issued(hub: &Hub, n: usize) -> Event {
    let body = LinkIssued {
        identifiers: [phone(n)].into(),
        token: token(hub, n),
        campaign: "ufa".into(),
        purpose: Purpose::Chat,
        expires_at: at(8_000_000),
        is_sent: false,
    };
    Event::new(
        &source("sms"),
        EventId::derive(&source("sms"), &["link", &n.to_string()]),
        at(0),
        Body::LinkIssued(body),
    )
}

fn started(hub: &Hub, n: usize, second: i64) -> Event {
    let chat =
        ChatRef::of(Identifier::opaque(Kind::Chat(Messenger::Telegram), "", &(7_000 + n).to_string()).expect("an id"));
    let body = ChatStarted { chat, token: Some(token(hub, n)), may_write: true, only_opened: false };
    let id = EventId::derive(&source("telegram"), &["start", &n.to_string(), &second.to_string()]);
    Event::new(&source("telegram"), id, at(second), Body::ChatStarted(body))
}

fn bought(n: usize, codes: &[&str], second: i64) -> Event {
    let money = Money { minor: 620_000, currency: "RUB".into() };
    let order = Order {
        revision: at(second),
        state: OrderState::Paid,
        id: n.to_string(),
        number: None,
        placed_at: at(second),
        paid_at: Some(at(second)),
        paid: money.clone(),
        total: money.clone(),
        tickets: vec![Ticket { id: "t".into(), show: ShowRef::id("ufa-1"), price: money, live: true }],
        refunds: BTreeMap::new(),
        promo_codes: codes.iter().map(|code| (*code).to_owned()).collect(),
        utm: BTreeMap::new(),
        items: vec![],
        company: None,
        show: None,
        due_at: None,
        checks: BTreeMap::new(),
        refunds_as_of: None,
        earlier_starts: BTreeMap::new(),
        gone_refunds: None,
    };
    let body = Body::of_order(OrderBody::new([phone(n)].into(), None, order));
    Event::new(&source("theatre"), EventId::derive(&source("theatre"), &["order", &n.to_string()]), at(second), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_again_gets_the_same_code_and_nobody_gets_anothers() {
    let scene = Scene::with(|text| text);
    let hub = &scene.hub;
    let links: Vec<Event> = (0..40).map(|n| issued(hub, n)).collect();
    assert!(hub.sync.handle(links).await.is_empty());
    // Eight at a time, each first start and a second one, every delivery twice.
    let mut hands = tokio::task::JoinSet::new();
    for hand in 0..8 {
        let events: Vec<Event> =
            (hand * 5..hand * 5 + 5).flat_map(|n| [started(hub, n, 10), started(hub, n, 500)]).collect();
        let sync = hub.sync.clone();
        hands.spawn(async move {
            for batch in [events.clone(), events] {
                assert!(sync.handle(batch).await.is_empty());
            }
        });
    }
    while let Some(done) = hands.join_next().await {
        done.expect("no panic");
    }
    let mut codes = BTreeMap::<String, BTreeSet<String>>::new();
    for (to, code) in scene.given().await {
        codes.entry(to).or_default().insert(code.expect("a code"));
    }
    assert_eq!(codes.len(), 40);
    assert!(codes.values().all(|own| own.len() == 1), "one code a person: {codes:?}");
    assert_eq!(codes.values().flatten().collect::<BTreeSet<_>>().len(), 40, "and each of them once");
}

#[tokio::test]
async fn a_crash_between_taking_a_code_and_writing_whose_it_is_loses_none() {
    let scene = Scene::with(|text| text.replace("size = 300\nprefix = \"UFA\"", "codes = [\"UFA-1\", \"UFA-2\"]"));
    let hub = &scene.hub;
    hub.sync.handle((0..2).map(|n| issued(hub, n)).collect()).await;
    let owners = hub.store.resolve(&[phone(0)].into()).await.expect("a store").owners;
    let interrupted = format!("1 promo/ufa/{}", owners[&phone(0)]);
    assert!(hub.store.compare_and_set("promo-next/ufa", &interrupted, None).await.expect("a store"));
    // Somebody else comes first, and then the one whose code was taken.
    for (n, code) in [(1, "UFA-2"), (0, "UFA-1")] {
        hub.sync.handle(vec![started(hub, n, 10)]).await;
        let given = scene.given().await;
        assert_eq!(given.first().and_then(|(_, code)| code.as_deref()), Some(code));
    }
}

#[tokio::test]
async fn a_pool_whose_count_cannot_be_read_gives_nobody_anothers_code() {
    let scene = Scene::with(|text| text.replace("size = 300\nprefix = \"UFA\"", "codes = [\"UFA-1\", \"UFA-2\"]"));
    let hub = &scene.hub;
    hub.sync.handle((0..1).map(|n| issued(hub, n)).collect()).await;
    assert!(hub.store.compare_and_set("promo-next/ufa", "v2 1", None).await.expect("a store"));
    let failed = hub.sync.handle(vec![started(hub, 0, 10)]).await;
    let given = scene.given().await;
    assert!(given.iter().all(|(_, code)| code.is_none()), "{given:?}");
    assert_eq!(failed.len(), 1, "the queue hands it out again");
}

#[tokio::test]
async fn a_shops_own_codes_are_read_from_a_file_beside_the_config() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stagedoor.toml").display().to_string();
    let text = DEFAULT_CONFIG.replace("size = 300\nprefix = \"UFA\"", "codes_file = \"ufa.csv\"");
    let told = read_config(&file, &text, None).expect_err("no such file");
    assert!(told.contains("promo.ufa.codes_file") && told.contains("cannot be read"), "{told}");
    std::fs::write(folder.path().join("ufa.csv"), "\u{feff}# code;discount\r\n\"UFA-7\";10\r\n\r\nUFA-8;10\r\n")
        .expect("written");
    let config = read_config(&file, &text, None).expect("a config");
    assert_eq!(config.catalog.pools["ufa"].codes, ["UFA-7", "UFA-8"]);
    std::fs::write(folder.path().join("ufa.csv"), "UFA-7\nUFA 8\nufa-7\n").expect("written");
    let told = read_config(&file, &text, None).expect_err("mistakes");
    assert!(told.contains("code 2 is longer") && told.contains("a code is there twice"), "{told}");
}

#[tokio::test]
async fn an_empty_pool_leaves_people_without_a_code_and_a_shared_one_gives_all_the_same() {
    let scene = Scene::with(|text| text.replace("size = 300", "size = 2"));
    let hub = &scene.hub;
    hub.sync.handle((0..3).map(|n| issued(hub, n)).collect()).await;
    hub.sync.handle((0..3).map(|n| started(hub, n, 10)).collect()).await;
    let given: Vec<Option<String>> = scene.given().await.into_iter().map(|(_, code)| code).collect();
    assert_eq!((given.len(), given.iter().flatten().count()), (3, 2));

    let scene =
        Scene::with(|text| text.replace("size = 300\nprefix = \"UFA\"", "codes = [\"UFA-ALL\"]\nshared = true"));
    let hub = &scene.hub;
    hub.sync.handle((0..3).map(|n| issued(hub, n)).collect()).await;
    hub.sync.handle((0..3).map(|n| started(hub, n, 10)).collect()).await;
    let given: BTreeSet<Option<String>> = scene.given().await.into_iter().map(|(_, code)| code).collect();
    assert_eq!(given, BTreeSet::from([Some("UFA-ALL".to_owned())]));
}

#[tokio::test]
async fn no_code_is_given_after_the_pools_end() {
    let scene = Scene::with(|text| {
        text.replace("prefix = \"UFA\"\nexpires_at = \"2027", "prefix = \"UFA\"\nexpires_at = \"2025")
    });
    let hub = &scene.hub;
    hub.sync.handle(vec![issued(hub, 1)]).await;
    hub.sync.handle(vec![started(hub, 1, 10)]).await;
    assert_eq!(scene.given().await.first().map(|(_, code)| code.clone()), Some(None));
}

#[tokio::test]
async fn a_sale_is_the_campaigns_by_code_else_by_link_else_not_at_all() {
    let scene = Scene::with(|text| text);
    let hub = &scene.hub;
    hub.sync.handle((0..4).map(|n| issued(hub, n)).collect()).await;
    hub.sync.handle(vec![started(hub, 0, 10)]).await;
    let code = scene.given().await.remove(0).1.expect("a code");
    scene.fold_chats().await;
    let clicked = LinkClicked { token: token(hub, 1), campaign: "ufa".into(), purpose: Purpose::Chat, show: None };
    let id = EventId::derive(&source("links"), &["click"]);
    let click = Event::new(&source("links"), id, at(20), Body::LinkClicked(clicked));
    hub.sync
        .handle(vec![
            click,
            // With the code, written as people write it; by somebody else's code; by the link; before the click; by none.
            bought(0, &[&code.to_lowercase()], 100),
            bought(9, &[&code], 100),
            bought(1, &[], 100),
            bought(2, &[], 100),
            bought(3, &["SUMMER"], 100),
        ])
        .await;
    let figures = figures(hub, "ufa").await.expect("figures");
    // Whoever was never written to is not among the campaign's people: their sale is on their deal.
    assert_eq!(figures.purchases, BTreeMap::from([(By::Code, 1), (By::Link, 1)]));
    assert_eq!(figures.revenue, BTreeMap::from([("RUB".to_owned(), 2 * 620_000)]));
    assert_eq!((figures.codes, figures.opened), (1, 1));
}
