//! Plays a theatre's season over HTTP into a Vtiger: the sandbox's, or the one that the config names. At its end the
//! CRM's sums must equal the journal's, to the kopeck.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use stagedoor_engine::{Settlement, words};
use stagedoor_model::{Body, Money, Order, OrderState, Payment};
use stagedoor_testkit::{SignedRequest, season::Season};

use crate::hub::Hub;

/// The number of deliveries on their way at once.
const CONCURRENCY: usize = 16;
/// The limit of journal rows that are read for the sums.
const JOURNAL: usize = 1_000_000;

/// The sums of the journal or of the CRM, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// The sum of the deals' amounts.
    pub deals: i64,
    /// The sum of the invoices' amounts.
    pub invoiced: i64,
    /// The money received for them, less refunds.
    pub received: i64,
}

/// Plays the season and compares the sums.
///
/// # Errors
/// A sentence when a request is refused, a result does not arrive, or the sums differ.
pub async fn play(hub: &Arc<Hub>, base: &str, season: Season) -> Result<(), String> {
    let began = Instant::now();
    let http = stagedoor_http::builder().build().map_err(|error| error.to_string())?;
    let deliveries = season.deliveries(hub.sync.clock.now());
    let count = deliveries.len();
    let post = |signed_request: SignedRequest| {
        let http = http.clone();
        async move {
            let (status, answer) = signed_request.post(&http, base).await.map_err(|error| error.to_string())?;
            if status == 200 { Ok(()) } else { Err(format!("{} answered {status}: {answer}", signed_request.path)) }
        }
    };
    let taken: Vec<Result<(), String>> =
        stream::iter(deliveries.into_iter().map(post)).buffered(CONCURRENCY).collect().await;
    taken.into_iter().collect::<Result<Vec<()>, String>>()?;
    println!(
        "{count} deliveries of the site, the VK group, the shop and the payment provider, taken in {:.1} s.",
        began.elapsed().as_secs_f32()
    );
    settle(hub).await?;
    let status = hub.status().await.map_err(|error| error.to_string())?;
    let spent = began.elapsed().as_secs_f32();
    println!(
        "{} people and {} deals are in the CRM after {spent:.1} s and {} calls; {} parked.",
        status.people,
        status.deals,
        hub.sync.crm.health().calls,
        status.rejected
    );
    compare(hub).await
}

/// Compares the CRM's sums with the journal's.
///
/// # Errors
/// When they differ, or one of them cannot be read.
pub async fn compare(hub: &Hub) -> Result<(), String> {
    let journal = of_the_journal(hub).await?;
    let crm = of_the_crm(hub).await?;
    let money = |minor: i64| words(&Money { minor, currency: "RUB".into() });
    println!("                     journal               CRM");
    for (what, theirs, ours) in [
        ("deals", journal.deals, crm.deals),
        ("invoiced", journal.invoiced, crm.invoiced),
        ("received", journal.received, crm.received),
    ] {
        println!(
            "{what:<12} {:>18} {:>18}{}",
            money(theirs),
            money(ours),
            if theirs == ours { "" } else { "   differs" }
        );
    }
    if journal == crm { Ok(()) } else { Err("the CRM's sums are not the journal's".into()) }
}

async fn settle(hub: &Hub) -> Result<(), String> {
    let mut calm = 0;
    // Ten minutes, because a real server takes its time.
    for _ in 0..6_000 {
        let status = hub.status().await.map_err(|error| error.to_string())?;
        calm = if status.queue_depth + status.waiting == 0 { calm + 1 } else { 0 };
        if calm >= 10 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("people still wait for the CRM after ten minutes".into())
}

/// The journal's sums, from the events alone: the last state of each order, and every payment once.
async fn of_the_journal(hub: &Hub) -> Result<Sums, String> {
    let rows = hub.store.journal(JOURNAL).await.map_err(|error| error.to_string())?;
    let mut orders = BTreeMap::<(String, String), Order>::new();
    let mut payments = BTreeMap::<(String, String), BTreeMap<String, Payment>>::new();
    for row in rows {
        let source = row.event.source.to_string();
        match row.event.body {
            Body::PaymentReported(reported) => {
                let shop = reported.shop.map_or(source, |shop| shop.to_string());
                let order = reported.order.unwrap_or_default();
                payments.entry((shop, order)).or_default().insert(reported.payment, reported.detail);
            }
            body => {
                if let Some(told) = body.order() {
                    let key = (source, told.order.id.clone());
                    let order = match orders.remove(&key) {
                        Some(known) => known.join(told.order.clone()),
                        None => told.order.clone(),
                    };
                    orders.insert(key, order);
                }
            }
        }
    }
    let none = BTreeMap::new();
    let mut sums = Sums::default();
    for (key, order) in &orders {
        let settlement = Settlement::of(order, payments.get(key).unwrap_or(&none).iter());
        let kept = settlement.received - settlement.returned;
        let settled = order.state == OrderState::Paid || settlement.paid_at.is_some();
        // A refund reduces what an unsettled order still owes.
        sums.deals += if settled { kept } else { order.total.minor - settlement.returned };
        if order.company.is_some() || settlement.received > 0 {
            sums.invoiced += order.total.minor;
            sums.received += kept;
        }
    }
    Ok(sums)
}

async fn of_the_crm(hub: &Hub) -> Result<Sums, String> {
    let (mut deals, mut invoices, mut after) = (BTreeSet::new(), BTreeSet::new(), None);
    loop {
        let (people, next) = hub.store.scan_people(after, 1_000).await.map_err(|error| error.to_string())?;
        let links = hub.store.crm_states(&people).await.map_err(|error| error.to_string())?;
        for link in links.values() {
            deals.extend(link.deals.values().filter_map(|deal| deal.id));
            invoices.extend(link.invoices.values().filter_map(|invoice| invoice.id));
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    let held = hub.sync.crm.totals(&deals, &invoices).await.map_err(|error| error.to_string())?;
    Ok(Sums { deals: held.deals, invoiced: held.invoiced, received: held.received })
}
