//! `stagedoor`: the hub as one process, and its commands.

/// Prints through `terminal`: what others wrote moves no cursor, and a closed pipe is no panic.
macro_rules! println {
    ($($text:tt)*) => { stagedoor::terminal::block(format!($($text)*) + "\n") };
}

mod check_config;
mod plays;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, Subcommand};
use stagedoor::{
    DEFAULT_CONFIG, Hub, aws_backend,
    backup::{self, FolderState},
    commands, decisions, export,
    import::{self, Origin},
    read_config_for, report, segment_commands, terminal,
};
use stagedoor_config::{Config, Listeners};
use stagedoor_model::{EventId, Timestamp};
use stagedoor_texts::commands as texts;

use crate::plays::{Play, demo, season, serve};

/// Where the hub's files are if no folder is named.
const DEFAULT_DATA: &str = "data";

#[derive(Parser)]
#[command(
    version,
    about = "Stagedoor, the integration hub for people who sell seats.\nWithout a command: starts the hub with the amoCRM sandbox and plays the sample tour."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args, Clone)]
struct Place {
    /// The folder with the hub's files.
    #[arg(long, global = true, default_value = DEFAULT_DATA)]
    data: PathBuf,
    /// Another config than the built-in infra/local/stagedoor.toml.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// Work on a deployment instead: the name of its stack. Account and region are those of the environment; needs a build
    /// with `--features aws`.
    #[arg(long, global = true)]
    aws: Option<String>,
    /// Where the hub takes webhooks, instead of what the config says.
    #[arg(long, global = true)]
    listen: Option<std::net::SocketAddr>,
    /// Where the console listens, instead of what the config says.
    #[arg(long, global = true)]
    console: Option<std::net::SocketAddr>,
}

impl Place {
    fn listeners(&self) -> Listeners {
        Listeners { hub: self.listen, console: self.console }
    }
}

/// Whose decisions those of the command line are: the account of the operating system.
fn operator() -> String {
    let named = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| stagedoor_config::variable(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned())
}

#[derive(Subcommand)]
enum CrowdAction {
    /// This value belongs to one person again.
    Lift { identifier: String },
}

#[derive(Subcommand)]
enum AdvertisingAction {
    /// Send it.
    Resume,
    /// Drop it.
    Drop,
}

#[derive(Subcommand)]
enum Command {
    /// Start the hub (and the sandbox, where the config has one) and play nothing.
    Serve,
    /// Read kept deliveries again: all that were not understood, one event by its id, or all of a time. `replay ufa` and `replay
    /// month` play the Ufa case and a month of a tour into the sandbox, `replay season` a theatre's season into a Vtiger.
    Replay {
        /// The event's id, as the console shows it; or the name of a sample tour: ufa, month, season.
        #[arg(conflicts_with_all = ["from", "until"])]
        id: Option<String>,
        /// Every event folded from this time on, such as 2026-11-24T18:00:00Z.
        #[arg(long)]
        from: Option<Timestamp>,
        /// And before this one; now, where it is left out.
        #[arg(long, requires = "from")]
        until: Option<Timestamp>,
    },
    /// Send a campaign's SMS with a personal link to each phone of a file, one a line. Doing it again sends nothing twice.
    Invite { campaign: String, file: PathBuf },
    /// A campaign's figures: sent, opened, chats, codes, purchases, revenue.
    Campaign { name: String },
    /// What letters, SMS and messages came to: sent, delivered, opened, clicked, bought, by campaign, channel, city and variant.
    Report {
        /// What mailings did, against those who were held out.
        #[arg(long)]
        effect: bool,
        #[arg(long)]
        csv: bool,
    },
    /// Who is in a segment of the config; with --of, why one person is or is not.
    Segment {
        name: String,
        /// A phone, an e-mail, or kind:value.
        #[arg(long)]
        of: Option<String>,
    },
    /// Every word of somebody's about being written to, with what proves it, as JSON. Takes a phone, an e-mail, or kind:value.
    Consent { identifier: String },
    /// Everything that is kept of one person: in the hub, in the CRM, on mailing lists, as JSON. Takes a phone, an e-mail, or
    /// kind:value.
    Export { identifier: String },
    /// Import questionnaires or an old list from CSV (docs/consent.md names the columns).
    Import {
        file: PathBuf,
        /// Where the consents come from, for whoever asks for the proof.
        #[arg(long)]
        source: String,
        /// `paper` for signed questionnaires, `list` for an old list, whose word never stands against a withdrawal.
        #[arg(long, value_parser = ["paper", "list"])]
        method: String,
        /// The version of the wording that the people saw, where the file has no such column.
        #[arg(long)]
        wording: Option<String>,
        /// The charset of the file, such as `windows-1251`. A file with a byte order mark says its own.
        #[arg(long)]
        charset: Option<String>,
        /// Show what would happen, row by row, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the codes of a pool, for the ticket shop.
    Promo { pool: String },
    /// A campaign's link for posters and posts: everybody's.
    Poster { campaign: String },
    /// Mirror the CRM's existing contacts into the identity index.
    Backfill,
    /// Why is this one person? Takes a phone, an e-mail, or kind:value.
    Explain { identifier: String },
    /// These two are one person, whatever a guard says. Takes identifiers as `explain` does.
    Join { one: String, other: String },
    /// These two are two people, whatever connects them. The CRM follows.
    Part { one: String, other: String },
    /// Letters may go to this address again, where earlier ones came back.
    Reopen { address: String },
    /// List the values that belong to crowds, or `crowd lift <identifier>`.
    Crowd {
        #[command(subcommand)]
        action: Option<CrowdAction>,
    },
    /// Queue depth, waiting, parked, people, deals.
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Events that were given up: list them, or show one by its id. Personal data is left out.
    DeadLetters { id: Option<String> },
    /// Put every dead letter back into the queue, after the cause is gone.
    Redrive,
    /// Remove every trace of a person, and keep them removed. Takes a phone, an e-mail, or kind:value.
    Erase {
        identifier: String,
        /// Also where several people have it.
        #[arg(long)]
        everyone: bool,
    },
    /// What waits for a manager: rows that the CRM refused, and money without an order.
    Parked,
    /// Try rows again that the CRM refused, after the cause is mended.
    RetryParked,
    /// Pack the hub's files into one file, also while it serves.
    Backup { file: PathBuf },
    /// Unpack a backup into the --data folder, which must be empty. Holds advertising, and asks channels about messages.
    Restore { file: PathBuf },
    /// List advertising that a restore holds, `advertising resume`, or `advertising drop`.
    Advertising {
        #[command(subcommand)]
        action: Option<AdvertisingAction>,
    },
    /// Exchange an authorisation code of the CRM for tokens (it lives 20 minutes and works once).
    Authorize { code: String },
    /// Read the config and say everything that is wrong with it. With the --data of a hub that runs or is stopped, also say what
    /// the config would change for the people in it; of a deployment with --aws and --changes.
    CheckConfig {
        /// With --aws: read the deployment's people, and say what the config would change for them.
        #[arg(long)]
        changes: bool,
        /// Asks the messengers whether they post to the hub. MAX is subscribed again if it does not.
        #[arg(long)]
        online: bool,
    },
    /// Print the JSON Schema of the config, or of the events.
    Schema {
        #[arg(value_parser = ["config", "events"])]
        of: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::end_on_closed_pipe();
    stagedoor::start_logs();
    let cli = Cli::parse();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("stagedoor: {}", terminal::escaped_lines(&sentence));
            // A thread that copies a file for a backup that was stopped is not waited for.
            std::process::exit(1)
        }
    }
}

async fn run(cli: Cli) -> Result<(), String> {
    let place = cli.place;
    match cli.command {
        None => demo(place, Play::Tour).await,
        Some(Command::Replay { id: Some(id), .. }) if id == "ufa" => demo(place, Play::Ufa).await,
        Some(Command::Replay { id: Some(id), .. }) if id == "month" => demo(place, Play::Month).await,
        Some(Command::Replay { id: Some(id), .. }) if id == "season" => season(place).await,
        Some(Command::Serve) if place.aws.is_some() => {
            Err("a deployment serves by itself; --aws is for the other commands".into())
        }
        Some(Command::Serve) => serve(&place).await,
        Some(Command::Backup { .. } | Command::Restore { .. }) if place.aws.is_some() => {
            Err("a deployment's tables have backups of their own (docs/operations.md)".into())
        }
        Some(Command::Backup { file }) => {
            let stopped = stagedoor::serve::signals()?;
            backup::backup_until(&place.data, &file, stopped).await?.iter().for_each(terminal::line);
            Ok(())
        }
        Some(Command::Restore { file }) => {
            backup::restore(config(&place)?, &place.data, &file).await?.iter().for_each(terminal::line);
            Ok(())
        }
        Some(Command::CheckConfig { changes, online }) => check_config::check_config(&place, changes, online).await,
        Some(Command::Schema { of }) => {
            terminal::raw(if of == "config" { stagedoor::CONFIG_SCHEMA } else { stagedoor::EVENT_SCHEMA });
            Ok(())
        }
        Some(command) => {
            let owner = format!("command-{}", std::process::id());
            let hub = match &place.aws {
                Some(stack) => aws_backend::deployed(stack, &place.config, &owner).await?,
                // The first thing that an account of amoCRM asks for.
                None if matches!(command, Command::Authorize { .. }) => open(&place, &owner)?,
                None => open_existing(&place, &owner)?,
            };
            on_hub(command, &hub).await
        }
    }
}

async fn on_hub(command: Command, hub: &Hub) -> Result<(), String> {
    match command {
        Command::Replay { from: Some(from), until, .. } => {
            let until = until.unwrap_or_else(|| hub.sync.clock.now());
            let events = commands::replay_between(hub, from, until).await?;
            terminal::line(hub.say(texts::replayed_between(events)));
        }
        Command::Replay { id: Some(id), .. } => {
            let events = commands::replay_one(hub, &EventId::from(id)).await?;
            terminal::line(hub.say(texts::replayed(events)));
        }
        Command::Replay { id: None, .. } => {
            let replayed = commands::replay_unrecognized(hub).await.map_err(|error| error.to_string())?;
            terminal::line(hub.say(texts::understood(replayed.understood)));
            for sentence in replayed.still {
                terminal::line(hub.say(texts::not_understood(sentence)));
            }
        }
        Command::Invite { campaign, file } => {
            let text =
                std::fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            let invitees = stagedoor::campaign::read_invitees(&text, hub.config.region)?;
            let invited = hub.sync.invite(&campaign, &invitees).await.map_err(|error| error.to_string())?;
            terminal::line(hub.say(texts::invited(invited.messages)));
            if invited.without_consent > 0 {
                terminal::line(hub.say(texts::without_consent(invited.without_consent)));
            }
            if invited.too_often > 0 {
                terminal::line(hub.say(texts::too_often(invited.too_often)));
            }
        }
        Command::Campaign { name } => {
            stagedoor::campaign::figures(hub, &name).await?.lines(hub.language()).iter().for_each(terminal::line);
        }
        Command::Report { effect, csv } => {
            let report = report::report(hub).await?;
            let table = if effect { report.effect_lines() } else { report.lines() };
            match (csv, effect) {
                (true, false) => terminal::raw(&report.csv()?),
                (true, true) => terminal::raw(&report.effect_csv()?),
                (false, _) => table.iter().for_each(terminal::line),
            }
        }
        Command::Segment { name, of: None } => {
            let members = segment_commands::members(hub, &name).await?;
            members.iter().for_each(terminal::line);
            terminal::line(hub.say(texts::in_segment(members.len(), name)));
        }
        Command::Segment { name, of: Some(identifier) } => {
            let identifier = commands::read_identifier(identifier.trim(), hub.config.region)?;
            segment_commands::why(hub, &name, &identifier).await?.iter().for_each(terminal::line);
        }
        Command::Consent { identifier } => {
            let identifier = commands::read_identifier(identifier.trim(), hub.config.region)?;
            let evidence = segment_commands::evidence(hub, &identifier).await?;
            terminal::json(&evidence);
        }
        Command::Export { identifier } => {
            let identifier = commands::read_identifier(identifier.trim(), hub.config.region)?;
            let all = export::export(hub, &identifier).await?;
            terminal::json(&all);
        }
        Command::Import { file, source, method, wording, charset, dry_run } => {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let origin = Origin { source, method, wording, file: name };
            import_file(hub, (&file, charset.as_deref()), &origin, dry_run).await?;
        }
        Command::Promo { pool } => {
            let pools = &hub.config.catalog.pools;
            let known = || pools.keys().cloned().collect::<Vec<_>>().join(", ");
            let pool = pools.get(&pool).ok_or_else(|| format!("there is no [promo.{pool}]; known are {}", known()))?;
            pool.codes.iter().for_each(|code| println!("{code}"));
        }
        Command::Poster { campaign } => println!("{}", stagedoor::campaign::public_link(hub, &campaign)?),
        Command::Backfill => {
            let done = commands::backfill(hub).await?;
            terminal::line(hub.say(texts::mirrored(done.contacts, done.pages)));
        }
        Command::Explain { identifier } => {
            let identifier = commands::read_identifier(identifier.trim(), hub.config.region)?;
            terminal::block(commands::explanation(hub, &identifier).await?);
        }
        Command::Join { one, other } => {
            let [one, other] = [one, other].map(|text| commands::read_identifier(text.trim(), hub.config.region));
            decisions::join(hub, &one?, &other?, &operator()).await?.iter().for_each(terminal::line);
        }
        Command::Part { one, other } => {
            let [one, other] = [one, other].map(|text| commands::read_identifier(text.trim(), hub.config.region));
            decisions::part(hub, &one?, &other?, &operator()).await?.iter().for_each(terminal::line);
        }
        Command::Reopen { address } => {
            let address = commands::read_identifier(address.trim(), hub.config.region)?;
            decisions::reopen(hub, &address).await?.iter().for_each(terminal::line);
        }
        Command::Crowd { action: None } => {
            decisions::crowds(hub).await?.iter().for_each(terminal::line);
        }
        Command::Crowd { action: Some(CrowdAction::Lift { identifier }) } => {
            let identifier = commands::read_identifier(identifier.trim(), hub.config.region)?;
            decisions::lift(hub, &identifier, &operator()).await?.iter().for_each(terminal::line);
        }
        Command::Status { json } => {
            let status = hub.status_with_reasons().await.map_err(|error| error.to_string())?;
            if json {
                println!("{}", serde_json::to_string(&status).unwrap_or_default());
            } else {
                status.lines(hub.language()).iter().for_each(terminal::line);
            }
        }
        Command::DeadLetters { id } => {
            for line in commands::dead_letters(hub, id.as_deref()).await? {
                terminal::line(line);
            }
        }
        Command::Erase { identifier, everyone } => {
            let identifier = commands::read_identifier(identifier.trim(), hub.config.region)?;
            let told = match everyone {
                true => commands::erase_everyone(hub, &identifier).await?,
                false => commands::erase(hub, &identifier).await?,
            };
            told.iter().for_each(terminal::line);
        }
        Command::Redrive => {
            let count = commands::redrive(hub).await.map_err(|error| error.to_string())?;
            terminal::line(hub.say(texts::redriven(count)));
        }
        Command::Parked => {
            let lines = commands::rejected(hub).await.map_err(|error| error.to_string())?;
            lines.iter().for_each(terminal::line);
        }
        Command::RetryParked => {
            let count = commands::retry_parked(hub).await.map_err(|error| error.to_string())?;
            terminal::line(hub.say(texts::retried(count)));
        }
        Command::Authorize { code } => {
            let http = Arc::new(stagedoor_crm::SocketClient::new(hub.config.crm.timeout)?);
            let (config, sync) = (&hub.config, &hub.sync);
            let client = stagedoor_crm::amocrm::from_config(http, config, &hub.store, &sync.clock, &sync.owner)?;
            let done = sync.alone_in_crm(client.authorize(&code)).await.map_err(|error| error.to_string())?;
            done.map_err(|error| error.to_string())?;
            terminal::line(hub.say(texts::authorised()));
        }
        Command::Advertising { action } => {
            let what = match action {
                None => FolderState::List,
                Some(AdvertisingAction::Resume) => FolderState::Resume,
                Some(AdvertisingAction::Drop) => FolderState::Drop,
            };
            backup::advertising(hub, what).await?.iter().for_each(terminal::line);
        }
        Command::Serve
        | Command::CheckConfig { .. }
        | Command::Schema { .. }
        | Command::Backup { .. }
        | Command::Restore { .. } => {}
    }
    Ok(())
}

async fn import_file(
    hub: &Hub,
    (file, charset): (&Path, Option<&str>),
    origin: &Origin,
    dry_run: bool,
) -> Result<(), String> {
    let bytes = std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let text = import::text_of(&bytes, charset)?;
    let (rows, wrong) = import::read(&text, origin, hub);
    wrong.iter().for_each(terminal::line);
    if dry_run {
        import::dry_run(hub, &rows).await?.iter().for_each(terminal::line);
        terminal::line(hub.say(texts::import_dry(rows.len(), wrong.len())));
        return Ok(());
    }
    let count = import::run(hub, rows, |queued| terminal::line(hub.say(texts::import_queued(queued)))).await?;
    terminal::line(hub.say(texts::imported(count, wrong.len())));
    if wrong.is_empty() {
        Ok(())
    } else {
        Err("mend the rows named above and import the file again: what is there changes nothing".into())
    }
}

fn config(place: &Place) -> Result<Config, String> {
    match &place.config {
        Some(path) => {
            let file = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {file}: {error}"))?;
            read_config_for(place.listeners(), &file, &text)
        }
        None => read_config_for(place.listeners(), "infra/local/stagedoor.toml", DEFAULT_CONFIG),
    }
}

/// A mistyped folder makes no hub: it would answer that nobody is known.
fn open_existing(place: &Place, owner: &str) -> Result<Hub, String> {
    if !place.data.join("hub.db").exists() {
        let folder = place.data.display();
        return Err(format!(
            "there is no hub in {folder}: name its folder with --data, or begin with `stagedoor serve`"
        ));
    }
    open(place, owner)
}

fn open(place: &Place, owner: &str) -> Result<Hub, String> {
    Hub::open(config(place)?, &place.data, owner)
}
