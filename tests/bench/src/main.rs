//! `cargo run --release -p stagedoor-bench -- <name> [--json]`

mod baseline;
mod breakages;
mod burst;
mod coldstart;
mod enrol;
mod figure;
mod firstrun;
mod hostile;
mod identity;
mod ingest;
mod paid_order;
mod reply;
mod scale;
mod scale_people;
mod segments;
mod simulation;
mod stage;
mod vtiger;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tracing_subscriber::filter::LevelFilter;

#[derive(Parser)]
struct Cli {
    #[arg(value_enum)]
    name: Name,
    /// One JSON object a figure instead of a table.
    #[arg(long)]
    json: bool,
    /// Of `simulation`: how many worlds.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// Of `simulation`: the seed of the first world.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Of `simulation`: switches that are off otherwise, by their names in `switches.rs`; `everything` for all.
    #[arg(long, value_delimiter = ',')]
    with: Vec<String>,
    /// Of `simulation`: runs the deliberate breakages of tests/breakages.toml. By default where more than one world runs.
    #[arg(long)]
    breakages: Option<bool>,
    /// Of `scale`: orders of the person who has many.
    #[arg(long, default_value_t = 10_000)]
    orders: usize,
    /// Of `scale`: people in the hub.
    #[arg(long, default_value_t = 1_000_000)]
    people: usize,
    /// Of `simulation`: stories of broken worlds tell every call of the CRM.
    #[arg(long)]
    calls: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Ten thousand paid orders of an on-sale night into a CRM that takes seven calls a second.
    Burst,
    /// Webhooks a second, durable before they are acknowledged.
    Ingest,
    /// From exec to the first answer of the website function, beside an empty one.
    Coldstart,
    /// What the first build of a stranger costs, downloads excluded.
    Firstrun,
    /// Who is who on a tour of 20,000 people with every accident that a personal link meets.
    Identity,
    /// From a message in a chat to the bot's answer, while an on-sale burst is folded.
    Reply,
    /// What events, rounds, messages and new rules cost with a million people, and one more order of a person with 10,000.
    Scale,
    /// Who is in which of forty segments while 50,000 people change.
    Segments,
    /// Calls that it takes to enrol 50,000 people into ten lists.
    Enrol,
    /// A theatre's season into a Vtiger that takes 65 ms a write.
    Vtiger,
    /// A simulated month of withdrawals and faults: is anybody on a list without a consent?
    Consent,
    /// What strangers cost: the work of a refused request, memory of requests that never end, genuine deliveries in a flood.
    Hostile,
    /// The whole hub in virtual time, in a world that is not kind.
    Simulation,
}

async fn scaled(people: usize, orders: usize) -> Result<Vec<figure::Figure>, String> {
    // The people run first, because the peak memory of the process is measured.
    let mut figures = scale_people::run(people).await?;
    figures.extend(scale::run(orders).await?);
    Ok(figures)
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Simulated worlds cause errors on purpose.
    let level = if matches!(cli.name, Name::Simulation) { LevelFilter::OFF } else { LevelFilter::ERROR };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    let figures = match cli.name {
        Name::Burst => burst::run().await,
        Name::Ingest => ingest::run().await,
        Name::Coldstart => coldstart::run().await,
        Name::Firstrun => firstrun::run(),
        Name::Identity => identity::run().await,
        Name::Reply => reply::run().await,
        Name::Scale => scaled(cli.people, cli.orders).await,
        Name::Segments => segments::run().await,
        Name::Enrol => enrol::run().await,
        Name::Vtiger => vtiger::run().await,
        Name::Consent => enrol::month().await,
        Name::Hostile => hostile::run().await,
        Name::Simulation => simulation::run(
            cli.from,
            cli.seeds,
            &cli.with,
            cli.breakages.unwrap_or(cli.seeds > 1 && cli.with.is_empty()),
            cli.calls,
        ),
    };
    match figures {
        Ok(figures) => {
            figure::print(&figures, cli.json);
            if figures.iter().all(figure::Figure::is_met) { ExitCode::SUCCESS } else { ExitCode::from(2) }
        }
        Err(sentence) => {
            eprintln!("stagedoor-bench: {sentence}");
            ExitCode::FAILURE
        }
    }
}
