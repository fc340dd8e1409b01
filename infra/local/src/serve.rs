//! The loops of the one process: webhooks in, events folded, people reconciled, sources pulled.

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use stagedoor_config::{Config, Credentials, CrmConfig, CrmKind};
use stagedoor_model::{SECOND_CRM, SourceName};
use stagedoor_ports::{Queue, Received};
use stagedoor_sandbox::{Messengers, PipelineSeed, Post, Sandbox, Seed, VtigerSandbox, VtigerSeed, VtigerUser};
use stagedoor_sync::{Pace, Reconciled, Sync};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
};

use crate::{
    console::ConsoleToken,
    hub::Hub,
    listener::{self, Limits},
};

/// Events folded in one batch.
const BATCH: usize = 500;
/// Events of chats folded in one batch: few, so that the first in it need not wait for the last.
const CHATS: usize = 50;
/// Batches under way at once whose sources are asked.
const ASKING: usize = 32;
/// Batches of the outbox under way at once.
const SENDING: usize = 8;
/// How long the queue sleeps when it is empty.
const IDLE: Duration = Duration::from_millis(25);
/// How long a batch that is not full waits for company.
const LINGER: Duration = Duration::from_millis(400);
/// The longest that anybody waits for a full batch while others are served.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between tries while the CRM cannot be used.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Everything that runs; dropping it ends it.
pub struct Running {
    /// Where webhooks are taken.
    pub address: SocketAddr,
    /// Where the console is.
    pub console: SocketAddr,
    /// What opens it.
    pub console_token: ConsoleToken,
    pub sandbox: Option<Sandbox>,
    pub vtiger: Option<VtigerSandbox>,
    pub messengers: Option<Messengers>,
    pub post: Option<Post>,
    tasks: JoinSet<()>,
    _lock: File,
}

impl Running {
    /// Waits until a task ends, which none does by itself.
    pub async fn wait(&mut self) {
        self.tasks.join_next().await;
    }
}

/// Starts the hub on `listener`, its console beside it and, where the config has one, the sandbox.
///
/// # Errors
/// A sentence that says which address is taken or which source is wrong.
pub async fn start(hub: &Arc<Hub>, listener: TcpListener) -> Result<Running, String> {
    let lock = lock(&hub.folder)?;
    if hub.sync.talk.is_none() && !hub.config.catalog.mailings.is_empty() {
        tracing::warn!("nobody is written to: [hub] public_url or link_key is missing");
    }
    hub.store.read_again().await.map_err(|error| error.to_string())?;
    let mut tasks = JoinSet::new();
    let (mut sandbox, mut vtiger) = (None, None);
    let second = hub.config.second_crm.as_ref();
    let places = [(hub.config.sandbox, Some(&hub.config.crm)), (hub.config.second_sandbox, second)];
    for (address, crm) in places.into_iter().filter_map(|(address, crm)| Some((address?, crm?))) {
        let listener = bind(address).await?;
        match crm.kind {
            CrmKind::Amocrm => {
                let serving = sandbox.insert(Sandbox::new(seed(&hub.config, crm))).clone();
                tasks.spawn(async move { report(serving.serve(listener).await, "the sandbox") });
            }
            CrmKind::Vtiger => {
                let serving = vtiger.insert(VtigerSandbox::new(vtiger_seed(&hub.config, crm))).clone();
                tasks.spawn(async move { report(serving.serve(listener).await, "the sandbox") });
            }
        }
    }
    let messengers = match hub.config.messengers {
        Some(address) => {
            let all = Messengers::default();
            let listener = bind(address).await?;
            let serving = all.clone();
            tasks.spawn(async move { report(serving.serve(listener).await, "the stand-ins for messengers") });
            Some(all)
        }
        None => None,
    };
    let post = match hub.config.post {
        Some(address) => {
            let post = Post::default();
            let listener = bind(address).await?;
            let serving = post.clone();
            tasks.spawn(async move { report(serving.serve(listener).await, "the SMTP relay") });
            Some(post)
        }
        None => None,
    };
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let proxies = hub.config.trusted_proxies.clone();
    let serving = listener::serve(listener, hub.router()?, Limits::default(), proxies.clone());
    tasks.spawn(async move { report(serving.await, "the hub") });
    let listener = bind(hub.config.console).await?;
    let console = listener.local_addr().map_err(|error| error.to_string())?;
    let console_token = ConsoleToken::of(hub)?;
    let serving = listener::serve(listener, hub.console(console_token.clone()), Limits::default(), proxies);
    tasks.spawn(async move { report(serving.await, "the console") });
    tasks.spawn(crate::retention::every_night(Arc::clone(hub)));
    tasks.spawn(consume(Arc::clone(hub), Arc::clone(&hub.queues.events), BATCH));
    tasks.spawn(consume(Arc::clone(hub), Arc::clone(&hub.queues.chats), CHATS));
    tasks.spawn(send(Arc::clone(hub)));
    tasks.spawn(reconcile(Arc::clone(hub)));
    tasks.spawn(wake(Arc::clone(hub)));
    tasks.spawn(pull(Arc::clone(hub)));
    Ok(Running { address, console, console_token, sandbox, vtiger, messengers, post, tasks, _lock: lock })
}

/// Connections that may wait to be accepted while all are taken, or in the first second of an on-sale night.
const BACKLOG: u32 = 1_024;

/// # Errors
/// A sentence that names the address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A hub that starts again takes its address back at once.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error: std::io::Error| format!("cannot listen on {address}: {error}"))
}

/// The file in the data folder that a serving hub locks.
pub const LOCK_FILE: &str = "serving.lock";

/// One hub a folder: two would both be the reconciler. The lock ends with the process, however it ends.
///
/// # Errors
/// A sentence: another hub serves from the folder, or the file cannot be made.
pub fn lock(folder: &Path) -> Result<File, String> {
    let path = folder.join(LOCK_FILE);
    let file =
        stagedoor_sqlite::private_file(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(format!("another hub serves from {}; give this one another --data", folder.display())),
    }
}

fn report(ended: std::io::Result<()>, what: &str) {
    if let Err(error) = ended {
        tracing::error!(%error, "{what} stopped listening");
    }
}

/// An account for the sandbox, with the pipelines that the config speaks of.
pub fn seed(config: &Config, crm: &CrmConfig) -> Seed {
    let closing = ["Успешно реализовано", "Закрыто и не реализовано"];
    let pipelines = config.catalog.pipelines.iter().map(|pipeline| PipelineSeed {
        name: pipeline.name.clone(),
        stages: pipeline.stages.values().filter(|stage| !closing.contains(&stage.as_str())).cloned().collect(),
    });
    Seed { pipelines: pipelines.collect(), rate: crm.rate.get() as usize, ..Seed::default() }
}

/// An installation for the sandbox: the config's user, and the fields that docs/crm.md asks an administrator for.
pub fn vtiger_seed(config: &Config, crm: &CrmConfig) -> VtigerSeed {
    let field = |(module, name, label): &(&str, &str, &str)| ((*module).into(), (*name).into(), (*label).into());
    let fields = stagedoor_crm::vtiger::FIELDS.iter().map(field).collect();
    let stages = config.catalog.pipelines.iter().flat_map(|one| one.stages.values().cloned()).collect();
    let mut seed = VtigerSeed { fields, stages, makes_invoices: true, ..VtigerSeed::default() };
    if let Credentials::AccessKey { user, key, .. } = &crm.credentials
        && !seed.users.iter().any(|known| known.name == *user)
    {
        let user = VtigerUser { name: user.clone(), number: 7, access_key: key.reveal(), admin: true, active: true };
        seed.users.push(user);
    }
    seed
}

/// Events whose source has to be asked first are handled beside the others, which never wait for a shop.
async fn consume(hub: Arc<Hub>, queue: Arc<dyn Queue>, most: usize) {
    let mut asking = JoinSet::new();
    loop {
        while asking.try_join_next().is_some() {}
        if asking.len() >= ASKING {
            asking.join_next().await;
        }
        match queue.receive(most).await {
            Ok(batch) if batch.is_empty() => tokio::time::sleep(IDLE).await,
            Ok(batch) => {
                let (pointing, ready): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|one| Sync::needs_source(&one.event));
                if !pointing.is_empty() {
                    let (hub, queue) = (Arc::clone(&hub), Arc::clone(&queue));
                    asking.spawn(async move { fold(&hub, queue.as_ref(), pointing).await });
                }
                if !ready.is_empty() {
                    fold(&hub, queue.as_ref(), ready).await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// The outbox's own loop. Several batches are under way at once: a messenger that takes its time holds up no other.
async fn send(hub: Arc<Hub>) {
    let outbox = Arc::clone(&hub.queues.outbox);
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= SENDING {
            under_way.join_next().await;
        }
        match outbox.receive(CHATS).await {
            Ok(batch) if batch.is_empty() => tokio::time::sleep(IDLE).await,
            Ok(batch) => _ = under_way.spawn(send_batch(Arc::clone(&hub), batch)),
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be read");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn send_batch(hub: Arc<Hub>, batch: Vec<Received>) {
    let (events, receipts): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.event, one.receipt)).unzip();
    let failed = hub.outreach.handle(events).await;
    let done = receipts.into_iter().enumerate().filter(|(index, _)| !failed.contains(index));
    if let Err(error) = hub.queues.outbox.done(done.map(|(_, one)| one).collect()).await {
        tracing::error!(%error, "sent messages come again; the store knows them");
    }
}

async fn fold(hub: &Hub, queue: &dyn Queue, batch: Vec<Received>) {
    let (events, receipts): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.event, one.receipt)).unzip();
    let failed = hub.sync.handle(events).await;
    // What failed comes again by itself after the visibility timeout.
    let done = receipts.into_iter().enumerate().filter(|(index, _)| !failed.contains(index)).map(|(_, one)| one);
    if let Err(error) = queue.done(done.collect()).await {
        tracing::error!(%error, "folded events come again; the journal knows them");
    }
}

async fn reconcile(hub: Arc<Hub>) {
    let (mut last_news, mut last_flush) = (Instant::now(), Instant::now());
    let mut pause = Duration::from_millis(500);
    let mut left_before = 0;
    let (mut heard_at, mut second_heard_at) = (None, None);
    let is_due = |at: &mut Option<Instant>, poll: Duration| {
        let is_due = at.is_none_or(|at| at.elapsed() >= poll);
        if is_due {
            *at = Some(Instant::now());
        }
        is_due
    };
    loop {
        if is_due(&mut heard_at, hub.config.crm.poll)
            && let Err(error) = hub.sync.hear_crm(&hub.mirror).await
        {
            tracing::warn!(%error, "what managers changed could not be heard");
        }
        if let (Some(second), Some(config)) = (hub.sync.second(), &hub.config.second_crm)
            && is_due(&mut second_heard_at, config.poll)
            && let Ok(source) = SourceName::new(SECOND_CRM)
            && let Err(error) = second.hear_crm(&source).await
        {
            tracing::warn!(%error, "what managers changed in the second CRM could not be heard");
        }
        let quiet = last_news.elapsed() >= LINGER && hub.waiting().await == 0;
        let pace = if quiet || last_flush.elapsed() >= PATIENCE { Pace::Everything } else { Pace::FullBatches };
        let round = hub.sync.reconcile(pace).await;
        if pace == Pace::Everything {
            last_flush = Instant::now();
        }
        match round {
            Ok(Reconciled { unavailable: Some(reason), .. }) => {
                tracing::warn!(reason, seconds = pause.as_secs_f32(), "people wait for the CRM");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Ok(round) => {
                pause = Duration::from_millis(500);
                if round.left > left_before || round.settled > 0 {
                    last_news = Instant::now();
                }
                left_before = round.left;
                if round.settled == 0 {
                    tokio::time::sleep(IDLE * 4).await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "reconciling failed");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Those whose segments time alone may change.
async fn wake(hub: Arc<Hub>) {
    loop {
        if let Err(error) = hub.sync.wake().await {
            tracing::warn!(%error, "who is to be looked at again could not be read");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn pull(hub: Arc<Hub>) {
    loop {
        hub.schedule.pull_all().await;
        if let Err(error) = hub.sync.ask_lists().await {
            tracing::warn!(%error, "who left the mailing lists could not be heard");
        }
        tokio::time::sleep(hub.config.pull_every).await;
    }
}
