//! The Lambda Runtime API around the binaries (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). An execution
//! environment is one process with one invocation at a time. It is killed when an invocation exceeds its timeout.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::{Semaphore, mpsc, oneshot},
};

/// The settings of a function.
#[derive(Debug, Clone)]
pub struct Spec {
    pub name: String,
    pub binary: PathBuf,
    pub environment: BTreeMap<String, String>,
    pub timeout: Duration,
    /// The most execution environments.
    pub concurrency: usize,
}

/// The counts of a function.
#[derive(Debug, Clone, Copy, Default)]
pub struct Invocations {
    pub count: u64,
    pub cold: u64,
    pub failed: u64,
    pub duration: Duration,
    /// The longest.
    pub longest: Duration,
}

type Reply = oneshot::Sender<Result<Bytes, String>>;

struct Job {
    payload: Bytes,
    deadline: SystemTime,
    reply: Reply,
}

/// An execution environment.
struct Environment {
    jobs: mpsc::UnboundedSender<Job>,
    child: Child,
    _serving: tokio::task::JoinHandle<()>,
}

impl Drop for Environment {
    fn drop(&mut self) {
        _ = self.child.start_kill();
    }
}

#[derive(Default)]
struct Pool {
    idle: Vec<Environment>,
    busy: BTreeMap<u64, u32>,
    next: u64,
    invocations: Invocations,
    /// The error of every invocation that failed or was cut off.
    failures: Vec<String>,
}

#[derive(Clone)]
pub struct Function {
    spec: Arc<Spec>,
    pool: Arc<Mutex<Pool>>,
    places: Arc<Semaphore>,
    /// Every log line of the function's processes.
    log: Arc<Mutex<Vec<String>>>,
}

impl Function {
    pub fn new(spec: Spec) -> Self {
        let places = Arc::new(Semaphore::new(spec.concurrency));
        Self { spec: Arc::new(spec), pool: Arc::default(), places, log: Arc::default() }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn invocations(&self) -> Invocations {
        self.pool().invocations
    }

    /// The error of every invocation that failed or was cut off.
    pub fn failures(&self) -> Vec<String> {
        self.pool().failures.clone()
    }

    pub fn is_busy(&self) -> bool {
        !self.pool().busy.is_empty()
    }

    /// Kills every working process, as a crash would.
    pub fn kill(&self) {
        let mut pool = self.pool();
        for pid in std::mem::take(&mut pool.busy).into_values() {
            _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }

    /// Invokes the function and returns its answer.
    ///
    /// # Errors
    /// Lambda's error: the function failed, ended, or took too long.
    pub async fn invoke(&self, payload: Bytes) -> Result<Bytes, String> {
        // A client that hangs up ends no invocation, and the function does not stay busy for ever.
        let function = self.clone();
        let invocation = tokio::spawn(async move { function.run_once(payload).await });
        invocation.await.map_err(|error| error.to_string())?
    }

    async fn run_once(&self, payload: Bytes) -> Result<Bytes, String> {
        let _place = self.places.acquire().await.map_err(|error| error.to_string())?;
        let began = Instant::now();
        let warm = self.pool().idle.pop();
        let cold = warm.is_none();
        let environment = match warm {
            Some(environment) => environment,
            None => start(&self.spec, &self.log).await?,
        };
        let number = {
            let mut pool = self.pool();
            pool.next += 1;
            let number = pool.next;
            pool.busy.insert(number, environment.child.id().unwrap_or(0));
            number
        };
        let outcome = run(environment, payload, self.spec.timeout).await;
        let mut pool = self.pool();
        pool.busy.remove(&number);
        pool.invocations.count += 1;
        pool.invocations.cold += u64::from(cold);
        pool.invocations.duration += began.elapsed();
        pool.invocations.longest = pool.invocations.longest.max(began.elapsed());
        if let (_, Err(error)) = &outcome {
            pool.failures.push(error.clone());
        }
        match outcome {
            (Some(environment), answer) => {
                pool.invocations.failed += u64::from(answer.is_err());
                pool.idle.push(environment);
                answer
            }
            (None, answer) => {
                pool.invocations.failed += 1;
                answer
            }
        }
    }
}

/// Runs one invocation. Returns the environment unless it is broken.
async fn run(
    mut environment: Environment,
    payload: Bytes,
    timeout: Duration,
) -> (Option<Environment>, Result<Bytes, String>) {
    let (reply, answered) = oneshot::channel();
    let deadline = SystemTime::now() + timeout;
    if environment.jobs.send(Job { payload, deadline, reply }).is_err() {
        return (None, Err("the runtime is gone".into()));
    }
    tokio::select! {
        answer = answered => match answer {
            Ok(answer) => (Some(environment), answer),
            Err(_) => (None, Err("the runtime is gone".into())),
        },
        _ = environment.child.wait() => (None, Err("Runtime exited".into())),
        () = tokio::time::sleep(timeout) => (None, Err(format!("Task timed out after {} s", timeout.as_secs()))),
    }
}

#[derive(Clone)]
struct Api {
    jobs: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Job>>>,
    replies: Arc<Mutex<BTreeMap<String, Reply>>>,
}

/// The next invocation id. Ids are unique over all functions.
static INVOCATION: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

async fn start(spec: &Spec, log: &Arc<Mutex<Vec<String>>>) -> Result<Environment, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let (jobs, receiver) = mpsc::unbounded_channel();
    let api = Api { jobs: Arc::new(tokio::sync::Mutex::new(receiver)), replies: Arc::default() };
    let app = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(api);
    let serving = tokio::spawn(async move { _ = axum::serve(listener, app).await });
    let mut child = Command::new(&spec.binary)
        .env_clear()
        .envs(&spec.environment)
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", &spec.name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", spec.name))
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "proof")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", spec.binary.display()))?;
    if let Some(output) = child.stdout.take() {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
    }
    Ok(Environment { jobs, child, _serving: serving })
}

async fn next(State(api): State<Api>) -> Response {
    let job = api.jobs.lock().await.recv().await;
    let Some(job) = job else { return std::future::pending().await };
    let number = INVOCATION.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let id = format!("8476a536-e9f4-11e8-9739-{number:012x}");
    let deadline = job.deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string();
    let headers = [
        ("lambda-runtime-aws-request-id", id.clone()),
        ("lambda-runtime-deadline-ms", deadline),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:123456789012:function:proof".into()),
        (
            "lambda-runtime-trace-id",
            format!("Root=1-5759e988-bd862e3fe1be{number:012x};Parent=53995c3f42cd8ad8;Sampled=1"),
        ),
        ("content-type", "application/json".into()),
    ];
    api.replies.lock().unwrap_or_else(PoisonError::into_inner).insert(id, job.reply);
    (headers, job.payload).into_response()
}

fn answer(api: &Api, id: &str, answer: Result<Bytes, String>) -> StatusCode {
    if let Some(reply) = api.replies.lock().unwrap_or_else(PoisonError::into_inner).remove(id) {
        _ = reply.send(answer);
    }
    StatusCode::ACCEPTED
}

async fn response(State(api): State<Api>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    answer(&api, &id, Ok(body))
}

async fn error(State(api): State<Api>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    answer(&api, &id, Err(String::from_utf8_lossy(&body).into_owned()))
}
