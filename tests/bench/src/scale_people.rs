//! A million people on one machine: the cost of an event, a sync run, a message and new rules, divided by the cost
//! with a hundredth of the people. The store is that of a single machine, the CRM a sandbox in the same process.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use stagedoor_engine::{Segment, SendingPolicy, segments};
use stagedoor_model::{Body, Event, EventId, FormSubmitted, MessageDecided, ShowRef, SourceName, Timestamp};
use stagedoor_outreach::{Outreach, RateLimit as SendingPace};
use stagedoor_ports::{Channel, Store, SystemClock, memory::MemoryQueue};
use stagedoor_sqlite::SqliteStore;
use stagedoor_sync::{FlushMode, Sync, rules_progress};
use stagedoor_tests::{
    account::{Account, Which},
    box_office::Taking,
};
use tokio::task::JoinSet;

use crate::{
    figure::{Figure, Goal},
    scale::cpu,
};

/// The small figures are measured with this fraction of the people.
const SHARE: usize = 100;
const BATCH: usize = 500;
const MESSAGES: usize = 2_000;
/// The number of parallel writers of key-values: the store commits waiting writes together.
const CONCURRENCY: usize = 64;

pub async fn run(people: usize) -> Result<Vec<Figure>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("hub.db");
    let account = Account::of(Which::Amo).await;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&file).map_err(|error| error.to_string())?);
    let mut sync = Sync { store: Arc::clone(&store), ..account.sync.clone() };
    let few = people / SHARE;
    let begins = fold(&sync, 0..few).await?;
    let round_of_few = round(&sync).await?;
    let sent_of_few = send(&store, "few").await?;
    fold(&sync, few..people - few).await?;
    let ends = fold(&sync, people - few..people).await?;
    let memory = high_water()?;
    fill_sent(&store, people).await?;
    let round_of_many = round(&sync).await?;
    let sent_of_many = send(&store, "many").await?;
    let rate = rules(&mut sync, people).await?;
    let bytes = size(&file) as f64 / people as f64;
    Ok(vec![
        ratio("scale.fold", (ends, begins), "events/s", Goal::RatioAtLeast(0.8)),
        ratio("scale.round", (round_of_many, round_of_few), "ms CPU", Goal::RatioAtMost(1.5)),
        ratio("scale.send", (sent_of_many, sent_of_few), "ms CPU", Goal::RatioAtMost(1.5)),
        alone("scale.memory", memory, "MB", Goal::ValueAtMost(600.0)),
        alone("scale.rules", rate, "people/s", Goal::ValueAtLeast(20_000.0)),
        alone("scale.file", bytes, "bytes", Goal::None),
    ])
}

fn ratio(figure: &'static str, (many, few): (f64, f64), unit: &'static str, goal: Goal) -> Figure {
    Figure { figure, value: many, unit, limit: Some(few), ratio: Some(many / few), baseline: None, goal }
}

fn alone(figure: &'static str, value: f64, unit: &'static str, goal: Goal) -> Figure {
    Figure { figure, value, unit, limit: None, ratio: None, baseline: None, goal }
}

/// Folds a lead of each of these people. Returns events a second.
async fn fold(sync: &Sync, people: std::ops::Range<usize>) -> Result<f64, String> {
    let (began, count) = (Instant::now(), people.len());
    let people: Vec<usize> = people.collect();
    for batch in people.chunks(BATCH) {
        let events = batch.iter().map(|n| lead(*n)).collect::<Result<Vec<_>, String>>()?;
        let failed = sync.handle(events).await;
        if !failed.is_empty() {
            return Err(format!("{} events were not folded", failed.len()));
        }
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    eprintln!("scale: {count} more people, {rate:.0} events/s");
    Ok(rate)
}

fn lead(n: usize) -> Result<Event, String> {
    let source = SourceName::new("site")?;
    let names = [format!("phone:+79{n:09}"), format!("email:fan{n}@example.com")];
    let names: Result<BTreeSet<_>, _> = names.iter().map(|text| text.parse()).collect();
    let form = FormSubmitted {
        identifiers: names.map_err(|_| "an identifier")?,
        proof: Default::default(),
        name: Some(format!("Fan {n}")),
        form: Some("tour".into()),
        show: Some(ShowRef::id(format!("evening-{}", n % 12))),
        amount: None,
        consents: vec![],
        labels: [("utm_source".to_owned(), format!("source-{}", n % 1_000))].into(),
        company: None,
    };
    let at = Timestamp::from_second(1_700_000_000 + n as i64).map_err(|error| error.to_string())?;
    Ok(Event::new(&source, EventId::derive(&source, &["lead", &n.to_string()]), at, Body::FormSubmitted(form)))
}

/// The CPU of one sync run, in milliseconds a person.
async fn round(sync: &Sync) -> Result<f64, String> {
    let before = cpu()?;
    let round = sync.reconcile(FlushMode::Everything).await.map_err(|error| error.to_string())?;
    if round.settled == 0 {
        return Err("a round settled nobody".into());
    }
    let cost = (cpu()? - before) / round.settled as f64;
    eprintln!("scale: a round of {} people, {cost:.2} ms of CPU each", round.settled);
    Ok(cost)
}

/// Fills the store with the key-values that as many sent messages as people leave.
async fn fill_sent(store: &Arc<dyn Store>, count: usize) -> Result<(), String> {
    let mut hands = JoinSet::new();
    for hand in 0..CONCURRENCY {
        let store = Arc::clone(store);
        hands.spawn(async move {
            for n in (hand..count).step_by(CONCURRENCY) {
                store.compare_and_set(&format!("sent/earlier-{n}"), r#"ended {"sent":"m"}"#, None).await?;
            }
            Ok::<(), stagedoor_ports::PortError>(())
        });
    }
    while let Some(hand) = hands.join_next().await {
        hand.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The CPU of one message, from the outbox to the note of its result, in milliseconds.
async fn send(store: &Arc<dyn Store>, label: &str) -> Result<f64, String> {
    let bot = SourceName::new("bot")?;
    let channel: Arc<dyn Channel> = Arc::new(Taking);
    let outreach = Outreach {
        store: Arc::clone(store),
        outbox: Arc::new(MemoryQueue::default()),
        chats: Arc::new(MemoryQueue::default()),
        clock: Arc::new(SystemClock),
        channels: [(bot.clone(), channel)].into(),
        policy: SendingPolicy::default(),
        pace: Arc::new(SendingPace::default()),
    };
    let message = |n: usize| {
        let to = format!("telegram:{}", 1_000_000 + n).parse().map_err(|_| "a chat")?;
        let message = MessageDecided::new(bot.clone(), to, "Ждём вас".into(), Timestamp::MAX);
        let id = EventId::derive(&bot, &[label, &n.to_string()]);
        Ok(Event::new(&bot, id, Timestamp::UNIX_EPOCH, Body::MessageDecided(Box::new(message))))
    };
    let messages = (0..MESSAGES).map(message).collect::<Result<Vec<_>, &str>>()?;
    let before = cpu()?;
    for batch in messages.chunks(BATCH) {
        if !outreach.handle(batch.to_vec()).await.is_empty() {
            return Err("a message was not sent".into());
        }
    }
    Ok((cpu()? - before) / MESSAGES as f64)
}

/// The number of people a second that are checked against new rules.
async fn rules(sync: &mut Sync, people: usize) -> Result<f64, String> {
    let text = "label(utm_source) = source-7 and not bought";
    let rule = segments::parse(text).map_err(|error| error.to_string())?;
    sync.catalog.segments = vec![Segment { name: "seven".into(), title: String::new(), text: text.into(), rule }];
    let began = Instant::now();
    loop {
        sync.wake().await.map_err(|error| error.to_string())?;
        if rules_progress(&*sync.store).await.map_err(|error| error.to_string())?.is_none() {
            return Ok(people as f64 / began.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::ZERO).await;
    }
}

/// The peak memory of this process, in megabytes.
fn high_water() -> Result<f64, String> {
    let text = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes = line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).ok_or("no number")?;
    Ok(kilobytes / 1024.0)
}

/// The size of an SQLite file in bytes, with its write-ahead log.
fn size(file: &Path) -> u64 {
    let log = file.with_extension("db-wal");
    [file, &log].into_iter().filter_map(|file| std::fs::metadata(file).ok()).map(|known| known.len()).sum()
}
