//! Plays the sample tour through the running hub over HTTP and prints what happened.

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use stagedoor_sandbox::Sandbox;
use stagedoor_testkit::{SignedRequest, tour};
use tokio::task::JoinSet;

use crate::{commands, hub::Hub, status::Status};

/// The number of deliveries on their way at once.
const CONCURRENCY: usize = 8;

/// Plays the tour.
///
/// # Errors
/// A sentence when a delivery is refused or the hub cannot be asked.
pub async fn play(hub: &Arc<Hub>, base: &str, sandbox: &Sandbox) -> Result<(), String> {
    let existing = tour::existing_contacts();
    sandbox.add_contacts(&existing);
    println!("The CRM has {} contacts already; the hub mirrors them.", existing.len());
    commands::backfill(hub).await?;
    let parcels = tour::deliveries(hub.sync.clock.now());
    let count = parcels.len();
    println!("{count} webhooks of {} people in three cities come in, some twice, in no order:", tour::PEOPLE);
    let began = Instant::now();
    send(parcels, base).await?;
    let status = settle(hub).await?;
    summary(hub, sandbox, count, &status, began.elapsed()).await;
    Ok(())
}

/// Posts all signed requests, a few at a time.
///
/// # Errors
/// When a request is refused.
pub async fn send(parcels: Vec<SignedRequest>, base: &str) -> Result<(), String> {
    let http = stagedoor_http::builder().timeout(Duration::from_secs(30)).build().map_err(|error| error.to_string())?;
    let parcels = Arc::new(parcels);
    let mut hands = JoinSet::new();
    for hand in 0..CONCURRENCY {
        let (parcels, http, base) = (Arc::clone(&parcels), http.clone(), base.to_owned());
        hands.spawn(async move {
            for signed_request in parcels.iter().skip(hand).step_by(CONCURRENCY) {
                let (status, answer) = signed_request.post(&http, &base).await.map_err(|error| error.to_string())?;
                if !(200..300).contains(&status) {
                    return Err(format!("{} answered {status}: {answer}", signed_request.path));
                }
            }
            Ok(())
        });
    }
    while let Some(done) = hands.join_next().await {
        done.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// Waits until nothing is queued and nobody waits, and prints the progress.
async fn settle(hub: &Hub) -> Result<Status, String> {
    let mut calm = 0;
    loop {
        let status = hub.status().await.map_err(|error| error.to_string())?;
        print!(
            "\r  folded {:>4} events · {:>3} people · {:>3} deals in the CRM · {:>3} people waiting   ",
            status.events, status.people, status.deals, status.waiting
        );
        _ = std::io::stdout().flush();
        calm = if status.queue_depth == 0 && status.waiting == 0 { calm + 1 } else { 0 };
        if calm >= 8 {
            println!();
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

async fn summary(hub: &Hub, sandbox: &Sandbox, deliveries: usize, status: &Status, took: Duration) {
    let calls: u64 = sandbox.calls().values().sum();
    let contacts = sandbox.contacts().len();
    println!("\nDone in {:.1} s.", took.as_secs_f32());
    println!("  deliveries        {deliveries}");
    println!("  events            {}", status.events);
    println!("  people            {}   (contacts in the CRM: {contacts})", status.people);
    println!("  deals             {}", status.deals);
    for ((pipeline, stage), count) in sandbox.leads_by_stage() {
        println!("    {pipeline:<16} {stage:<22} {count}");
    }
    println!("  CRM calls         {calls}   (find, contact, find, deal for each delivery would be {})", deliveries * 4);
    println!(
        "  duplicates        {} avoided: one contact a delivery would be {deliveries}",
        deliveries.saturating_sub(contacts)
    );
    println!("  parked            {}", status.rejected);
    println!("  unrecognized      {}", status.unrecognized);
    println!(
        "\nChats, links and promo codes have a sample tour of their own: cargo run -- replay ufa; letters: cargo run -- replay month"
    );
    println!("Look at it: the console, as printed above.   The CRM: {}/api/v4/contacts", hub.config.crm.base_url);
}
