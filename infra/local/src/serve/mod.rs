//! Runs the one process: takes webhooks, folds events, reconciles people, pulls sources.

mod drain;
mod loops;

use std::{fs::File, net::SocketAddr, sync::Arc};

use stagedoor_config::{Config, Credentials, CrmConfig, CrmKind};
use stagedoor_model::breakage;
use stagedoor_sandbox::{Messengers, PipelineSeed, Post, Sandbox, Seed, VtigerSandbox, VtigerSeed, VtigerUser};
use stagedoor_texts::Text;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
};

pub(crate) use self::drain::settle_logs;
pub use self::drain::{DRAIN_TIME, signals, until_stopped};
use self::loops::{BATCH, CHATS, check_webhooks, consume, pull, reconcile, send, wake};
use crate::{
    console::ConsoleToken,
    hub::Hub,
    listener::{self, Limits},
    lock::lock,
};

/// A running hub. Dropping it ends it.
pub struct Running {
    /// The address that takes webhooks.
    pub address: SocketAddr,
    /// The address of the console.
    pub console: SocketAddr,
    /// The token that opens the console.
    pub console_token: ConsoleToken,
    pub sandbox: Option<Sandbox>,
    pub vtiger: Option<VtigerSandbox>,
    pub messengers: Option<Messengers>,
    pub post: Option<Post>,
    /// Loops and listeners of the hub. They end once the hub has to stop.
    work: JoinSet<()>,
    /// Stand-ins, and tasks that may be cut off at any moment.
    others: JoinSet<()>,
    _lock: File,
}

impl Running {
    /// Waits until a task ends. No task ends before the hub has to stop.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.work.join_next() => {}
            Some(_) = self.others.join_next() => {}
        }
    }
}

/// Starts the hub on `listener`, its console beside it and, if the config has one, the sandbox.
///
/// # Errors
/// A sentence that says which address is taken or which source is wrong.
pub async fn start(hub: &Arc<Hub>, listener: TcpListener) -> Result<Running, String> {
    let lock = lock(&hub.folder)?;
    if hub.sync.conversation.is_none() && !hub.config.catalog.mailings.is_empty() {
        tracing::warn!("nobody is written to: [hub] public_url or link_key is missing");
    }
    // A hub that does not know whether advertising is held sends none.
    let heeded = crate::backup::heed_hold(hub).await;
    if !breakage::is_on("unread-hold-starts") {
        heeded.map_err(|error| format!("whether advertising is held cannot be read: {error}"))?;
    }
    hub.store.read_again().await.map_err(|error| error.to_string())?;
    let (mut work, mut others) = (JoinSet::new(), JoinSet::new());
    let (mut sandbox, mut vtiger) = (None, None);
    let second = hub.config.second_crm.as_ref();
    let places = [(hub.config.sandbox, Some(&hub.config.crm)), (hub.config.second_sandbox, second)];
    for (address, crm) in places.into_iter().filter_map(|(address, crm)| Some((address?, crm?))) {
        let listener = bind(address).await?;
        match crm.kind {
            CrmKind::Amocrm => {
                let serving = sandbox.insert(Sandbox::new(seed(&hub.config, crm))).clone();
                others.spawn(async move { report(serving.serve(listener).await, "the sandbox") });
            }
            CrmKind::Vtiger => {
                let serving = vtiger.insert(VtigerSandbox::new(vtiger_seed(&hub.config, crm))).clone();
                others.spawn(async move { report(serving.serve(listener).await, "the sandbox") });
            }
        }
    }
    let messengers = match hub.config.messengers {
        Some(address) => {
            let all = Messengers::default();
            let listener = bind(address).await?;
            let serving = all.clone();
            others.spawn(async move { report(serving.serve(listener).await, "the stand-ins for messengers") });
            Some(all)
        }
        None => None,
    };
    let post = match hub.config.post {
        Some(address) => {
            let post = Post::default();
            let listener = bind(address).await?;
            let serving = post.clone();
            others.spawn(async move { report(serving.serve(listener).await, "the SMTP relay") });
            Some(post)
        }
        None => None,
    };
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let proxies = hub.config.trusted_proxies.clone();
    let serving = listener::serve_until(&hub.stopping, listener, hub.router()?, Limits::default(), proxies.clone());
    work.spawn(async move { report(serving.await, "the hub") });
    let listener = bind(hub.config.console).await?;
    let console = listener.local_addr().map_err(|error| error.to_string())?;
    let console_token = ConsoleToken::of(hub)?;
    let serving =
        listener::serve_until(&hub.stopping, listener, hub.console(console_token.clone()), Limits::default(), proxies);
    work.spawn(async move { report(serving.await, "the console") });
    others.spawn(crate::retention::every_night(Arc::clone(hub)));
    others.spawn(crate::alarms::watch(Arc::clone(hub)));
    others.spawn(check_webhooks(Arc::clone(hub)));
    work.spawn(consume(Arc::clone(hub), Arc::clone(&hub.queues.events), BATCH));
    work.spawn(consume(Arc::clone(hub), Arc::clone(&hub.queues.chats), CHATS));
    work.spawn(send(Arc::clone(hub)));
    work.spawn(reconcile(Arc::clone(hub)));
    work.spawn(wake(Arc::clone(hub)));
    work.spawn(pull(Arc::clone(hub)));
    Ok(Running { address, console, console_token, sandbox, vtiger, messengers, post, work, others, _lock: lock })
}

/// Connections that may wait for `accept` while all are taken, or in the first second of an on-sale night.
const BACKLOG: u32 = 1_024;

/// Binds an address for listening.
///
/// # Errors
/// A sentence that names the address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restarted hub takes its address back at once.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error: std::io::Error| format!("cannot listen on {address}: {error}"))
}

fn report(ended: std::io::Result<()>, what: &str) {
    if let Err(error) = ended {
        tracing::error!(%error, "{what} stopped listening");
    }
}

/// An account for the sandbox, with the pipelines that the config names.
pub fn seed(config: &Config, crm: &CrmConfig) -> Seed {
    let closing = ["Успешно реализовано", "Закрыто и не реализовано"];
    let pipelines = config.catalog.pipelines.iter().map(|pipeline| PipelineSeed {
        name: pipeline.name.clone(),
        stages: pipeline.stages.values().filter(|stage| !closing.contains(&stage.as_str())).cloned().collect(),
    });
    Seed { pipelines: pipelines.collect(), rate: crm.rate.get() as usize, ..Seed::default() }
}

/// A Vtiger installation for the sandbox: the config's user, and the fields that docs/crm.md asks an administrator
/// for.
pub fn vtiger_seed(config: &Config, crm: &CrmConfig) -> VtigerSeed {
    let field = |(module, name, label): &(&str, &str, fn() -> Text)| {
        ((*module).into(), (*name).into(), label().to(config.catalog.language))
    };
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
