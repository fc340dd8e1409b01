//! The hub as one process: SQLite, the CRM's client, every function.

use std::{
    collections::BTreeMap,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::tz::TimeZone;
use stagedoor_config::{Config, Listeners, LocalSecrets, Reading, is_development, load_for};
use stagedoor_model::{LinkKey, SourceName, Timestamp, breakage};
use stagedoor_outreach::{Outreach, RateLimit};
use stagedoor_ports::{Clock, Crm, HeardSources, Queue, SilenceRule, Store, SystemClock};
use stagedoor_schedule::Schedule;
use stagedoor_sqlite::{SqliteQueue, SqliteStore, private_folder};
use stagedoor_sync::{Breakers, CrmAccount, ErasureKey, Sync, Talking};
use stagedoor_texts::{Language, Text};
use stagedoor_webhook::{Counters, Source};
use tokio_util::sync::CancellationToken;

use crate::{functions, lock::lock};

/// The JSON Schema of the config.
pub const CONFIG_SCHEMA: &str = include_str!("../../../docs/stagedoor.schema.json");
/// The JSON Schema of an event.
pub const EVENT_SCHEMA: &str = include_str!("../../../events/schema.json");

/// The config that `cargo run` uses.
pub const DEFAULT_CONFIG: &str = include_str!("../stagedoor.toml");

/// The config of the sample theatre, with a Vtiger.
pub const THEATRE_CONFIG: &str = include_str!("../theatre.toml");

/// The hub's files in its folder.
pub const FILES: [&str; 4] = ["hub.db", "queue.db", "chats.db", "outbox.db"];

/// The file that marks a folder whose restore has not ended.
pub const UNFINISHED: &str = "restore.unfinished";

/// The hub's three queues.
#[derive(Clone)]
pub struct Queues {
    pub events: Arc<dyn Queue>,
    /// Chats and links have a queue of their own, so that they never wait behind the orders of an on-sale night.
    pub chats: Arc<dyn Queue>,
    pub outbox: Arc<dyn Queue>,
}

/// Clients of other servers: the CRM, and the shops that answer questions.
pub struct Clients {
    pub crm: Arc<dyn Crm>,
    pub order_apis: stagedoor_source_clients::Desks,
}

pub struct Hub {
    pub config: Config,
    pub store: Arc<dyn Store>,
    pub queue: Arc<dyn Queue>,
    pub queues: Queues,
    pub outreach: Outreach,
    pub sync: Sync,
    pub schedule: Schedule,
    pub counters: Counters,
    /// When each source last sent something.
    pub heard: HeardSources,
    /// The folder of the hub's files.
    pub folder: PathBuf,
    /// The source under which the CRM's contacts are mirrored.
    pub mirror: SourceName,
    /// Cancelled when the hub has to stop. It then takes no more deliveries and begins nothing.
    pub stopping: CancellationToken,
}

/// Reads a config for the hub on one machine. `listen` overrides the config's address.
///
/// # Errors
/// Every error, with its line.
pub fn read_config(file: &str, text: &str, listen: Option<SocketAddr>) -> Result<Config, String> {
    read_config_for(Listeners { hub: listen, console: None }, file, text)
}

/// As [`read_config`], with both addresses. `dev:` secrets are accepted only where no stranger can reach the hub.
///
/// # Errors
/// Every error, with its line.
pub fn read_config_for(listeners: Listeners, file: &str, text: &str) -> Result<Config, String> {
    let allow_dev = is_development(text, listeners);
    let checker = functions::Checker::new(allow_dev);
    let check = |function: &str, source: &Source| checker.check(function, source);
    let config = load_for(Reading::OneMachine(listeners), file, text, &LocalSecrets { allow_dev }, &check);
    config.map_err(|mistakes| mistakes.to_string())
}

impl Hub {
    /// The language of the output of commands.
    pub fn language(&self) -> Language {
        self.config.catalog.language
    }

    /// The text in the language of commands.
    pub fn say(&self, text: Text) -> String {
        text.to(self.language())
    }

    /// Opens or creates the hub's files in `folder`. `owner` names this process among those that use the files. A
    /// process that restarts under its old name need not wait for the leases that it held when it was killed.
    ///
    /// # Errors
    /// A sentence that says what cannot be opened or built.
    pub fn open(config: Config, folder: &Path, owner: &str) -> Result<Self, String> {
        Self::open_by(Arc::new(SystemClock), config, folder, owner)
    }

    /// As [`Hub::open`], with another clock, for plays that pass a month in a minute.
    ///
    /// # Errors
    /// A sentence that says what cannot be opened or built.
    pub fn open_by(clock: Arc<dyn Clock>, config: Config, folder: &Path, owner: &str) -> Result<Self, String> {
        if folder.join(UNFINISHED).exists() {
            return Err(format!("a restore into {} was cut off: empty the folder and restore again", folder.display()));
        }
        private_folder(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let _alone = alone_if_behind(folder)?;
        Self::open_files(clock, config, folder, owner)
    }

    /// Opens the hub while a restore is not finished. The caller holds the folder's lock.
    pub(crate) fn open_unfinished(config: Config, folder: &Path, owner: &str) -> Result<Self, String> {
        Self::open_files(Arc::new(SystemClock), config, folder, owner)
    }

    fn open_files(clock: Arc<dyn Clock>, config: Config, folder: &Path, owner: &str) -> Result<Self, String> {
        let store = Arc::new(SqliteStore::open(&folder.join("hub.db")).map_err(|error| error.to_string())?);
        let open = |name: &str| -> Result<Arc<dyn Queue>, String> {
            let queue = SqliteQueue::open(&folder.join(name), Arc::clone(&clock));
            Ok(Arc::new(queue.map_err(|error| error.to_string())?))
        };
        let queues = Queues { events: open("queue.db")?, chats: open("chats.db")?, outbox: open("outbox.db")? };
        Self::with(clock, config, store, queues, folder, owner)
    }

    /// Builds the hub over any store and queues, so that the commands also work on AWS.
    ///
    /// # Errors
    /// A sentence that says what cannot be built.
    pub fn with(
        clock: Arc<dyn Clock>,
        config: Config,
        store: Arc<dyn Store>,
        queues: Queues,
        folder: &Path,
        owner: &str,
    ) -> Result<Self, String> {
        let crm = stagedoor_crm::crm(&config, &store, &clock, owner)?;
        let order_apis = stagedoor_source_clients::order_apis(config.sources.iter().map(|one| &one.source))?;
        Self::over(Clients { crm, order_apis }, clock, config, store, queues, folder, owner)
    }

    /// As [`Hub::with`], with clients that exist already.
    ///
    /// # Errors
    /// A sentence that says what cannot be built.
    pub fn over(
        Clients { crm, order_apis }: Clients,
        clock: Arc<dyn Clock>,
        config: Config,
        store: Arc<dyn Store>,
        queues: Queues,
        folder: &Path,
        owner: &str,
    ) -> Result<Self, String> {
        let second = stagedoor_crm::second(&config, &store, &clock, owner)?;
        let currency = config.second_crm.as_ref().map(|second| second.currency.clone());
        let second = second.map(|(crm, invoicing)| CrmAccount { crm, invoicing, currency });
        let conversation = config.link_key.as_ref().zip(config.public_url.as_ref()).map(|(key, public_url)| Talking {
            outbox: Arc::clone(&queues.outbox),
            chats: Arc::clone(&queues.chats),
            links: LinkKey::new(&key.reveal()),
            public_url: public_url.clone(),
        });
        let outreach = Outreach {
            store: Arc::clone(&store),
            outbox: Arc::clone(&queues.outbox),
            chats: Arc::clone(&queues.chats),
            clock: Arc::clone(&clock),
            channels: stagedoor_channels::channels(&config)?,
            policy: config.catalog.sending_policy(),
            pace: Arc::new(RateLimit::default()),
        };
        let queue = Arc::clone(&queues.events);
        let sync = Sync {
            store: Arc::clone(&store),
            crm,
            clock: Arc::clone(&clock),
            order_apis: order_apis.clone(),
            topics: Some(Arc::new(stagedoor_source_clients::Sns::new(None))),
            catalog: config.catalog.clone(),
            guards: config.guards.clone(),
            conversation,
            lists: stagedoor_lists::mailers(&config)?,
            erasure: config.erasure_key.as_ref().map(|key| ErasureKey::new(&key.reveal())),
            owner: owner.to_owned(),
            outage: Arc::default(),
            breakers: Breakers::default(),
            events: Some(Arc::clone(&queues.events)),
            second,
            scope: "",
        };
        let schedule = Schedule { store: store.clone(), queue: queue.clone(), clock, order_apis };
        let mirror = config.first_crm_source().map_err(str::to_owned)?;
        Ok(Self {
            config,
            store,
            queue,
            queues,
            outreach,
            sync,
            schedule,
            counters: Counters::default(),
            heard: HeardSources::default(),
            folder: folder.to_owned(),
            mirror,
            stopping: CancellationToken::new(),
        })
    }

    /// True if every event is folded.
    pub async fn is_calm(&self) -> bool {
        let (events, chats) = tokio::join!(self.queues.events.is_empty(), self.queues.chats.is_empty());
        events.unwrap_or(true) && chats.unwrap_or(true)
    }

    /// Notes when these sources sent something. On an error the next delivery notes it.
    pub async fn hear(&self, sources: BTreeMap<SourceName, Timestamp>) {
        let now = self.sync.clock.now();
        if let Err(error) = self.heard.note(&*self.store, sources, &self.silence_rule(), now).await {
            tracing::warn!(%error, "when a source was heard could not be noted");
        }
    }

    /// The rule that tells when a source is silent for too long.
    pub(crate) fn silence_rule(&self) -> SilenceRule {
        SilenceRule::new(self.config.alarms.silent, self.zone())
    }

    /// The time zone of the hub's days and nights.
    pub(crate) fn zone(&self) -> TimeZone {
        self.config.catalog.zone.clone().unwrap_or(TimeZone::UTC)
    }

    pub(crate) fn seconds_since(&self, at: Option<Timestamp>) -> Option<u64> {
        let age = self.sync.clock.now().duration_since(at?).as_secs();
        Some(u64::try_from(age).unwrap_or(0))
    }
}

/// Locks the folder if its files have to be brought forward. A serving hub knows only the old format, so none may run
/// meanwhile. Returns the lock, or `None` if the files are up to date.
fn alone_if_behind(folder: &Path) -> Result<Option<File>, String> {
    let is_behind = FILES.iter().map(|name| match *name {
        "hub.db" => SqliteStore::is_behind(&folder.join(name)),
        name => SqliteQueue::is_behind(&folder.join(name)),
    });
    let is_behind: Vec<bool> = is_behind.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    if !is_behind.contains(&true) || breakage::is_on("brought-forward-beside-a-hub") {
        return Ok(None);
    }
    lock(folder).map(Some).map_err(|_| {
        let folder = folder.display();
        format!("the files in {folder} have to be brought forward, and a hub serves from them: restart the hub with this version")
    })
}
