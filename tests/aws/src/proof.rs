//! Plays the sample tour on the local hub and on the deployment, compares them and counts the calls.

use std::collections::BTreeSet;

use stagedoor::{commands, tour::send};
use stagedoor_testkit::tour;
use stagedoor_tests::hub::TestHub;

use crate::{
    chats::Stage,
    hub::{AwsHub, Options, artifacts},
    meter::Counts,
    picture::{differences, picture},
    stack::FUNCTIONS,
};

pub struct Proof {
    pub aws: AwsHub,
    pub counts: Counts,
    /// Differences between both CRMs; empty if they are equal.
    pub differences: Vec<String>,
    /// The number of fans who got news of the moved show, on each hub, and the fans who got it on only one.
    pub letters: (usize, usize, BTreeSet<usize>),
    pub contacts: usize,
    pub deals: usize,
    /// CRM calls of the backfill, which is an operator's command.
    pub backfill_calls: u64,
    pub cost: Cost,
}

/// The counted cost for a webhook or an event.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    pub deliveries: u64,
    pub events: u64,
    pub sends_per_delivery: f64,
    pub sqs_receive_and_delete_per_event: f64,
    pub journal_per_event: f64,
    pub people_per_event: f64,
    pub names_per_event: f64,
    pub links_per_event: f64,
    pub pages_per_event: f64,
    /// Write units of the pages by the kind of row.
    pub pages: Vec<(String, u64)>,
    /// Write units of everything, including the CRM's own webhooks and the reconciler.
    pub units_per_delivery: f64,
    pub read_units_per_delivery: f64,
    pub scans: u64,
    /// SQS requests of every kind, by functions and by their mapping.
    pub sqs_requests: u64,
    /// Deliveries of the CRM's own webhooks.
    pub crm_hooks: u64,
    pub log_bytes: u64,
    /// For each function: name, invocations, milliseconds in all, memory in MB.
    pub invocations: Vec<(String, u64, u64, u64)>,
}

/// Plays the tour on a local hub and on the deployment.
///
/// # Panics
/// When a part does not start or a delivery is refused.
pub async fn prove(say: impl Fn(String)) -> Proof {
    // Deliveries are signed with the present time, and a build may take longer than a signature is valid.
    artifacts();
    let existing = tour::existing_contacts();
    let parcels = tour::deliveries(stagedoor_ports::Clock::now(&stagedoor_ports::SystemClock));
    let deliveries = parcels.len() as u64;
    say(format!("{deliveries} webhooks of {} people, through the local hub …", tour::PEOPLE));
    let local = TestHub::start().await;
    local.sandbox.add_contacts(&existing);
    commands::backfill(&local.hub).await.expect("mirrored");
    send(parcels.clone(), &local.base).await.expect("taken");
    local.settled().await;
    let stage = Stage { hub: &local.hub, base: &local.base, messengers: &local.messengers };
    stage.play(async || _ = local.settled().await).await;
    let ours = picture(&local.sandbox);
    let written = fans(local.post.arrived());

    say("… and through the template on the stand-in, the functions under the Runtime API …".into());
    // The window of a batch is that of the template: what a batch costs by itself is spread over its events.
    let mut options = Options::default();
    if let Some(parameters) = options.parameters.as_object_mut() {
        parameters.remove("BatchWindowSeconds");
    }
    let aws = AwsHub::start(options).await;
    aws.sandbox.add_contacts(&existing);
    commands::backfill(&aws.operator).await.expect("mirrored");
    let backfill_calls = aws.sandbox.calls().values().sum();
    aws.take(parcels).await;
    aws.settled().await;
    aws.tick("sync").await;
    // The tour's cost is counted before any chat.
    let idle = aws.idle_looks();
    let counted = aws.meter.counts();
    let events = aws.operator.status().await.expect("a status").events;
    let cost = cost(&aws, (&counted, idle), deliveries, events);
    let stage = Stage { hub: &aws.operator, base: &aws.base, messengers: &aws.messengers };
    stage.play(async || aws.settled().await).await;
    let theirs = picture(&aws.sandbox);
    let counts = aws.meter.counts();
    let there = fans(aws.post.arrived());
    let only_one = written.symmetric_difference(&there).copied().collect();
    Proof {
        letters: (written.len(), there.len(), only_one),
        differences: differences(&ours, &theirs),
        contacts: aws.sandbox.count("contacts"),
        deals: aws.sandbox.count("leads"),
        aws,
        counts,
        backfill_calls,
        cost,
    }
}

/// Fans by number, because the first known one of a fan's two addresses depends on the order of events.
fn fans(letters: Vec<stagedoor_sandbox::Delivered>) -> BTreeSet<usize> {
    let number = |to: &str| to.split('@').next()?.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok();
    letters.iter().filter_map(|letter| number(&letter.to)).collect()
}

fn cost(aws: &AwsHub, (counts, idle_looks): (&Counts, u64), deliveries: u64, events: u64) -> Cost {
    let sync = |table: &str| {
        let units = counts.writes.iter().filter(|((who, name), _)| who == "sync" && name.ends_with(table));
        units.map(|(_, units)| *units).sum::<u64>() as f64
    };
    let (n, e) = (deliveries as f64, events as f64);
    let sends = counts.calls_of("website", "sqs:SendMessage") + counts.calls_of("ticketing", "sqs:SendMessage");
    let events_queue = |action| counts.calls_on("sync", action, "-events");
    // Polls of an empty queue depend on the clock: SQS uses long polling, the stand-in cannot.
    let looks = events_queue("sqs:ReceiveMessage").saturating_sub(idle_looks);
    let taken = looks + events_queue("sqs:DeleteMessage");
    // Nobody chats yet. The stand-in gets ten empty polls a second; SQS gets three a minute, which docs/cost.md
    // counts by the month.
    let idle = counts.calls_on("sync", "sqs:ReceiveMessage", "-chats")
        + counts.calls_on("outreach", "sqs:ReceiveMessage", "-outbox");
    let tables = ["journal", "people", "names", "links", "misc", "sent"];
    let reads = counts.reads.iter().filter(|((who, _), _)| who == "sync").map(|(_, units)| *units).sum::<u64>();
    Cost {
        deliveries,
        events,
        sends_per_delivery: sends as f64 / n,
        sqs_receive_and_delete_per_event: taken as f64 / e,
        journal_per_event: sync("-journal") / e,
        people_per_event: sync("-people") / e,
        names_per_event: sync("-names") / e,
        links_per_event: sync("-links") / e,
        pages_per_event: sync("-misc") / e,
        pages: {
            let own = counts.misc_writes.iter().filter(|((who, _), _)| who == "sync");
            own.map(|((_, kind), units)| (kind.clone(), *units)).collect()
        },
        units_per_delivery: tables.iter().map(|table| sync(&format!("-{table}"))).sum::<f64>() / n,
        read_units_per_delivery: reads as f64 / 2.0 / n,
        scans: counts.calls.iter().filter(|((_, what), _)| what.ends_with(":Scan")).map(|(_, count)| *count).sum(),
        sqs_requests: counts
            .calls
            .iter()
            .filter(|((who, what), _)| FUNCTIONS.contains(&who.as_str()) && what.starts_with("sqs:"))
            .map(|(_, count)| *count)
            .sum::<u64>()
            .saturating_sub(idle),
        crm_hooks: aws.function("crm").invocations().count,
        log_bytes: aws.functions.values().flat_map(|one| one.log()).map(|line| line.len() as u64 + 1).sum(),
        invocations: FUNCTIONS
            .iter()
            .map(|name| {
                let counted = aws.function(name).invocations();
                let memory = aws.deployed.function(name).memory;
                ((*name).to_owned(), counted.count, counted.duration.as_millis() as u64, memory)
            })
            .collect(),
    }
}

impl Cost {
    /// The result in lines for a terminal.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("webhooks {}, events folded {} (the CRM's own webhooks included)", self.deliveries, self.events),
            format!(
                "SQS: {:.2} sends a webhook, {:.2} receives and deletes an event",
                self.sends_per_delivery, self.sqs_receive_and_delete_per_event
            ),
            format!(
                "DynamoDB write units an event: journal {:.2}, people {:.2}, names {:.2}, links {:.2}, pages {:.2}",
                self.journal_per_event,
                self.people_per_event,
                self.names_per_event,
                self.links_per_event,
                self.pages_per_event
            ),
            format!(
                "DynamoDB in all: {:.1} write and {:.1} read units a webhook, {} scans",
                self.units_per_delivery, self.read_units_per_delivery, self.scans
            ),
        ];
        lines.extend(self.invocations.iter().map(|(name, count, ms, memory)| {
            let count = *count;
            format!("Lambda {name}: {count} invocations, {} ms each on average, {memory} MB", ms / count.max(1))
        }));
        lines
    }
}
