//! The cost of one more order of a person with many orders, such as a box office's account. It is measured from the
//! event to the row in the CRM.
//!
//! `scale.person`: CPU of one more order of a person with many orders, divided by that of a person with ten. The
//! store is that of a single machine, the CRM a sandbox in the same process. For every ten orders there are also
//! letters, links and clicks.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use stagedoor_model::{Body, Event, LinkClicked, LinkIssued, LinkKey, Purpose, Timestamp};
use stagedoor_ports::Store;
use stagedoor_sqlite::SqliteStore;
use stagedoor_sync::{FlushMode, Sync};
use stagedoor_tests::{
    account::{Account, Which},
    box_office::{event, opened, order},
};

use crate::figure::{Figure, Goal};

const FEW: usize = 10;
/// The number of further orders of a person with few orders. The kernel counts CPU in hundredths of a second.
const TIMES: usize = 50;
const BATCH: usize = 500;

pub async fn run(orders: usize) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    let few = person(FEW, TIMES).await?;
    for (figure, share) in [("scale.person.20th", 20), ("scale.person.5th", 5), ("scale.person.half", 2)] {
        let count = (orders / share).max(FEW);
        let cost = person(count, 5).await?;
        eprintln!("{figure}: {count} orders, {cost:.1} ms");
        figures.push(at(figure, cost, few, Goal::None));
    }
    figures.push(at("scale.person", person(orders, 5).await?, few, Goal::RatioAtMost(5.0)));
    Ok(figures)
}

fn at(figure: &'static str, cost: f64, few: f64, goal: Goal) -> Figure {
    Figure { figure, value: cost, unit: "ms CPU", limit: Some(few), ratio: Some(cost / few), baseline: None, goal }
}

/// The CPU of one more order of a person with this many orders, in milliseconds.
async fn person(orders: usize, times: usize) -> Result<f64, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let account = Account::of(Which::Amo).await;
    let store = SqliteStore::open(&folder.path().join("hub.db")).map_err(|error| error.to_string())?;
    let store: Arc<dyn Store> = Arc::new(store);
    let sync = Sync { store: Arc::clone(&store), ..account.sync.clone() };
    let began = Instant::now();
    let events = (0..orders).map(known).collect::<Result<Vec<_>, String>>()?;
    for chunk in events.concat().chunks(BATCH) {
        folded(&sync, chunk.to_vec()).await?;
    }
    until_calm(&sync, store.as_ref()).await?;
    let seeded = began.elapsed().as_secs_f64();
    let before = cpu()?;
    for more in 0..times {
        folded(&sync, vec![order(orders + more)]).await?;
        until_calm(&sync, store.as_ref()).await?;
    }
    let cost = (cpu()? - before) / times as f64;
    let people = store.totals().await.map_err(|error| error.to_string())?.people;
    if people != 1 {
        return Err(format!("{people} people instead of one"));
    }
    eprintln!("scale.person: {orders} orders came in {seeded:.1} s; one more costs {cost:.1} ms of CPU");
    Ok(cost)
}

async fn folded(sync: &Sync, events: Vec<Event>) -> Result<(), String> {
    let failed = sync.handle(events).await;
    if failed.is_empty() { Ok(()) } else { Err(format!("{} events were not folded", failed.len())) }
}

async fn until_calm(sync: &Sync, store: &dyn Store) -> Result<(), String> {
    for _ in 0..60 {
        sync.reconcile(FlushMode::Everything).await.map_err(|error| error.to_string())?;
        if store.totals().await.map_err(|error| error.to_string())?.waiting == 0 {
            return Ok(());
        }
    }
    Err("the person still waits after sixty rounds".to_owned())
}

/// The CPU that this process used, in milliseconds.
pub fn cpu() -> Result<f64, String> {
    let text = std::fs::read_to_string("/proc/self/stat").map_err(|error| error.to_string())?;
    // The process name, in parentheses, may contain blanks.
    let (_, rest) = text.rsplit_once(") ").ok_or("no fields")?;
    let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<f64>).collect::<Result<Vec<_>, _>>();
    Ok(ticks.map_err(|error| error.to_string())?.iter().sum::<f64>() * 10.0)
}

/// An order; with every tenth also an opened letter and a followed link.
fn known(n: usize) -> Result<Vec<Event>, String> {
    let mut all = vec![order(n)];
    if !n.is_multiple_of(10) {
        return Ok(all);
    }
    let to: stagedoor_model::Identifier = "email:kassa@example.com".parse().map_err(|_| "an identifier")?;
    let (second, campaign) = (1_000 * n as i64, "season".to_owned());
    all.push(opened(n, second + 10, campaign.clone()));
    let expires_at = Timestamp::from_second(1_900_000_000).map_err(|error| error.to_string())?;
    let token = LinkKey::new("scale").mint(1, Purpose::Shop, &n.to_string(), expires_at);
    let issued = LinkIssued {
        identifiers: BTreeSet::from([to]),
        token: token.clone(),
        campaign: campaign.clone(),
        purpose: Purpose::Shop,
        expires_at,
        is_sent: true,
    };
    all.push(event("links", &format!("issued {n}"), second + 20, Body::LinkIssued(issued)));
    let clicked = LinkClicked { token, campaign, purpose: Purpose::Shop, show: None };
    all.push(event("links", &format!("clicked {n}"), second + 500, Body::LinkClicked(clicked)));
    Ok(all)
}
