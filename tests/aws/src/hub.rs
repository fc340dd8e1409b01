//! The deployed hub: the stand-in, the functions, the gateway, the poller, and the CRM sandbox behind them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use serde_json::{Value, json};
use stagedoor::{Hub, tour::send};
use stagedoor_aws::{DynamoStore, SqsQueue};
use stagedoor_ports::{Queue, Store};
use stagedoor_sandbox::{Messengers, Post, Sandbox};
use stagedoor_testkit::SignedRequest;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    gateway,
    mapping::{self, Polling, Source},
    meter::Meter,
    runtime::{Function, Spec},
    stack::{self, Deployed, FUNCTIONS, Moto, REGION, STACK, root},
};

/// What a test may change about the deployment.
pub struct Options {
    /// Parameters of the template.
    pub parameters: Value,
    /// True if every message is delivered twice.
    pub twice: bool,
    pub config: Box<dyn FnOnce(String) -> String + Send>,
}

impl Default for Options {
    fn default() -> Self {
        // The timeouts suffice on a slow machine too: an invocation that is cut off gives no figures.
        let parameters = json!({
            "DeletionProtection": "false", "SyncSeconds": 120, "VisibilitySeconds": 120, "Attempts": 3, "BatchWindowSeconds": 1,
        });
        Self { parameters, twice: false, config: Box::new(|text| text) }
    }
}

pub struct AwsHub {
    pub meter: Meter,
    pub deployed: Deployed,
    pub sandbox: Sandbox,
    pub messengers: Messengers,
    pub post: Post,
    pub functions: BTreeMap<String, Function>,
    /// The URL that takes webhooks.
    pub base: String,
    /// An operator's own access. Its calls are not counted.
    pub operator: Hub,
    /// The polled queues, each with its function.
    sources: Vec<(Source, &'static str)>,
    polling: Vec<Polling>,
    serving: Vec<JoinHandle<()>>,
    pub folder: tempfile::TempDir,
    pub moto: Moto,
}

impl Drop for AwsHub {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

/// The folder of the binaries, built once a process.
pub fn artifacts() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = root().join("target/lambda-proof");
        stack::build(&folder);
        folder
    })
}

/// The deployment's own config, directed to the sandbox, with its secrets: those of the sample tour.
fn configured(crm: &str, messengers: &str, relay: u16) -> (String, BTreeMap<String, String>) {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect("a config");
    let (ours, local) = (read("infra/aws/config/stagedoor.toml"), read("infra/local/stagedoor.toml"));
    // A line may hold several secrets.
    let quoted = |text: &str, scheme: &str| -> Vec<String> {
        let start = format!("\"{scheme}:");
        let rest = |at: usize| text.get(at + start.len()..).and_then(|rest| rest.split_once('"'));
        text.match_indices(&start).filter_map(|(at, _)| Some(rest(at)?.0.to_owned())).collect()
    };
    let (names, values) = (quoted(&ours, "ssm"), quoted(&local, "dev"));
    assert_eq!(names.len(), values.len(), "both configs have the same sources");
    let mut text =
        ours.replace("https://example.amocrm.ru", crm).replace("kind = \"amocrm\"", "kind = \"amocrm\"\nrate = 200");
    // The hub runs by the real clock, at any time of the day.
    text = text.replace("quiet = \"21:00-09:00\"\n", "");
    // The messengers' stand-ins replace their hosts.
    for (line, version) in [
        ("login = \"stagedoor\"", ""),
        ("bot = \"stagedoor_tour_bot\"", ""),
        ("uri = \"stagedoor\"", ""),
        ("name = \"stagedoor\"", ""),
        ("name = \"stagedoor.tour\"", "/v25.0"),
        ("number = \"79990000000\"", "/v25.0"),
        ("[mailer.main]", ""),
    ] {
        assert!(text.contains(line), "{line}");
        text = text.replace(line, &format!("{line}\napi = \"{messengers}{version}\""));
    }
    let shop = "shop_id = \"100500\"";
    assert!(text.contains(shop), "{shop}");
    text = text.replace(shop, &format!("{shop}\nbase_url = \"{messengers}/yookassa\""));
    // The relay's stand-in replaces its host.
    let host = "host = \"smtp.go2.unisender.ru\"\nencryption = \"tls\"";
    assert!(text.contains(host), "{host}");
    text = text.replace(host, &format!("host = \"127.0.0.1\"\nport = {relay}\nencryption = \"none\""));
    (text, names.into_iter().zip(values).collect())
}

pub fn keys(who: &str, endpoint: &str) -> impl Future<Output = SdkConfig> + use<> {
    let keys = aws_sdk_sqs::config::Credentials::new(who, "secret", None, None, "proof");
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(keys)
        .load()
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, base)
}

impl AwsHub {
    pub async fn start(options: Options) -> Self {
        let (crm_listener, crm) = listener().await;
        let (gate_listener, base) = listener().await;
        let (chat_listener, chat) = listener().await;
        let (post_listener, _) = listener().await;
        let moto = Moto::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let (text, secrets) = configured(&crm, &chat, post_listener.local_addr().expect("an address").port());
        let layer = folder.path().join("opt");
        std::fs::create_dir_all(&layer).expect("a folder");
        std::fs::write(layer.join("stagedoor.toml"), (options.config)(text)).expect("a config");
        moto.put_secrets(&secrets).await;
        let deployed = stack::deploy(&moto, artifacts(), &layer, &options.parameters).expect("deployed");
        assert_eq!(deployed.status, "CREATE_COMPLETE");
        let meter = Meter::start(&moto.url, &deployed).await;
        let functions: BTreeMap<String, Function> = FUNCTIONS
            .iter()
            .map(|name| ((*name).to_owned(), Function::new(spec(name, &deployed, &layer, &meter.url, &base))))
            .collect();
        let operator = operator(&meter.url, &deployed, &layer, &base).await;
        let (messengers, post) = (Messengers::default(), Post::default());
        let sandbox = Sandbox::new(stagedoor::serve::seed(&operator.config, &operator.config.crm));
        let serving = vec![
            tokio::spawn({
                let sandbox = sandbox.clone();
                async move { _ = sandbox.serve(crm_listener).await }
            }),
            tokio::spawn({
                let messengers = messengers.clone();
                async move { _ = messengers.serve(chat_listener).await }
            }),
            tokio::spawn({
                let post = post.clone();
                async move { _ = post.serve(post_listener).await }
            }),
            gateway::serve(gate_listener, functions.clone()),
        ];
        let sources = sources(&deployed, &meter.url, options.twice).await;
        let polling = vec![];
        let mut hub = Self {
            meter,
            deployed,
            sandbox,
            messengers,
            post,
            functions,
            base,
            operator,
            sources,
            polling,
            serving,
            folder,
            moto,
        };
        hub.resume();
        hub
    }

    pub fn function(&self, name: &str) -> &Function {
        self.functions.get(name).expect("a function")
    }

    /// How often the queue of events was polled while it was empty.
    pub fn idle_looks(&self) -> u64 {
        let of_events = self.sources.iter().filter(|(source, _)| source.url.ends_with("-events"));
        of_events.map(|(source, _)| source.idle.load(Ordering::Relaxed)).sum()
    }

    /// Stops deliveries to `sync` until `resume`.
    pub fn pause(&mut self) {
        self.polling.clear();
    }

    pub fn resume(&mut self) {
        let poll = |(source, name): &(Source, &'static str)| mapping::poll(source.clone(), self.function(name).clone());
        self.polling = self.sources.iter().map(poll).collect();
    }

    /// Runs a command of `stagedoor` on this deployment. Returns its output.
    ///
    /// # Panics
    /// When the command fails.
    pub async fn command(&self, args: &[&str]) -> String {
        let (endpoint, config) = (self.meter.url.clone(), self.folder.path().join("opt/stagedoor.toml"));
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let run = move || stack::command(&endpoint, &config, &args.iter().map(String::as_str).collect::<Vec<_>>());
        let (done, printed) = tokio::task::spawn_blocking(run).await.expect("it runs");
        assert!(done, "{printed}");
        printed
    }

    /// Sends one tick of the schedule.
    pub async fn tick(&self, function: &str) {
        // docs.aws.amazon.com/eventbridge/latest/ref/event-scheduled-event.html
        let event = std::fs::read_to_string(root().join("events/lambda/tick.json")).expect("the sample");
        _ = self.function(function).invoke(event.into()).await;
    }

    /// Posts many requests, not much faster than the hub acknowledges them. The stand-in looks through the whole queue
    /// at every call, and batches about the same people that run side by side fold some events twice.
    pub async fn take(&self, parcels: Vec<SignedRequest>) {
        for some in parcels.chunks(64) {
            send(some.to_vec(), &self.base).await.expect("taken");
            // `settled` reports a queue that does not drain.
            for _ in 0..150 {
                if self.operator.queues.events.depth().await.expect("a depth") <= 128 {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Waits until nothing is queued, no function works and nobody waits. The schedule ticks meanwhile.
    pub async fn settled(&self) {
        let mut calm = 0;
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            // Every look costs the stand-in as much as an event, so it is looked in only where the rest is calm.
            let is_calm = !self.functions.values().any(Function::is_busy) && self.queued().await == 0;
            let waiting = if is_calm { self.operator.store.totals().await.expect("totals").waiting } else { 0 };
            calm = if is_calm && waiting == 0 { calm + 1 } else { 0 };
            if calm >= 4 {
                return;
            }
            if waiting > 0 {
                self.tick("sync").await;
            }
        }
        panic!("not settled: {:?}", self.operator.status().await);
    }

    async fn queued(&self) -> u64 {
        let mut depth = 0;
        for queue in [&self.operator.queues.events, &self.operator.queues.chats, &self.operator.queues.outbox] {
            depth += queue.depth().await.expect("a depth");
        }
        depth
    }
}

fn spec(name: &str, deployed: &Deployed, layer: &Path, meter: &str, base: &str) -> Spec {
    let function = deployed.function(name);
    let mut environment: BTreeMap<String, String> = function
        .environment
        .iter()
        // The layer is unpacked in that folder.
        .map(|(name, value)| (name.clone(), value.replace("/opt/", &format!("{}/", layer.display()))))
        .collect();
    environment.insert("AWS_REGION".into(), REGION.into());
    environment.insert("AWS_ACCESS_KEY_ID".into(), name.into());
    environment.insert("AWS_SECRET_ACCESS_KEY".into(), "secret".into());
    environment.insert("AWS_ENDPOINT_URL".into(), meter.into());
    if environment.contains_key("STAGEDOOR_PUBLIC_URL") {
        environment.insert("STAGEDOOR_PUBLIC_URL".into(), base.into());
    }
    Spec {
        name: format!("{STACK}-{name}"),
        binary: artifacts().join(name).join("bootstrap"),
        environment,
        timeout: Duration::from_secs(function.timeout),
        concurrency: 16,
    }
}

/// Every event source mapping of the template.
async fn sources(deployed: &Deployed, meter: &str, twice: bool) -> Vec<(Source, &'static str)> {
    let mut sources = Vec::new();
    for mapping in &deployed.mappings {
        let name = FUNCTIONS.iter().copied().find(|name| mapping.function_arn.ends_with(&format!(":{STACK}-{name}")));
        let name = name.expect("a function of the template");
        let queue = mapping.event_source_arn.rsplit(':').next().expect("a queue");
        let output = match queue.trim_start_matches(STACK) {
            "-events" => "EventsQueueUrl",
            "-chats" => "ChatsQueueUrl",
            "-outbox" => "OutboxQueueUrl",
            other => panic!("{other} is polled"),
        };
        let concurrency = mapping.scaling_config.as_ref().and_then(|one| one.get("MaximumConcurrency")?.as_u64());
        let source = Source {
            // Lambda polls with the permissions of the function's role.
            client: aws_sdk_sqs::Client::new(&keys(name, meter).await),
            url: deployed.queue(output).to_owned(),
            arn: mapping.event_source_arn.clone(),
            batch: mapping.batch_size,
            window: Duration::from_secs(mapping.maximum_batching_window_in_seconds),
            concurrency: concurrency.unwrap_or(2) as usize,
            partial: mapping.function_response_types.iter().any(|one| one == "ReportBatchItemFailures"),
            twice,
            idle: Arc::default(),
        };
        sources.push((source, name));
    }
    assert_eq!(sources.len(), 3, "events and chats to sync, the outbox to outreach");
    sources
}

async fn operator(endpoint: &str, deployed: &Deployed, layer: &Path, base: &str) -> Hub {
    let aws = keys("operator", endpoint).await;
    let file = layer.join("stagedoor.toml");
    let text = std::fs::read_to_string(&file).expect("a config");
    let config =
        stagedoor_aws::read_config(&aws, stagedoor_aws::Reading::Everything, "stagedoor.toml", &text, &|_, _| Ok(()));
    let mut config = config.await.expect("a config");
    config.public_url = Some(base.to_owned());
    let store: Arc<dyn Store> = Arc::new(DynamoStore::new(&aws, STACK));
    let queue = |name: &str| -> Arc<dyn Queue> {
        let dead = deployed.queue(&format!("{name}DeadLettersUrl"));
        Arc::new(SqsQueue::new(&aws, deployed.queue(&format!("{name}QueueUrl")), Some(dead)))
    };
    let queues = stagedoor::Queues { events: queue("Events"), chats: queue("Chats"), outbox: queue("Outbox") };
    Hub::with(Arc::new(stagedoor_ports::SystemClock), config, store, queues, layer, "operator").expect("a hub")
}
