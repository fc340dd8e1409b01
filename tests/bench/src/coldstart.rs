//! Measures the time from exec of the binary to its first answer, beside an empty function of the same profile. A
//! stub serves the Lambda Runtime API (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::{net::TcpListener, sync::oneshot};

use crate::figure::{Figure, Goal};

const RUNS: usize = 31;
/// A form with an e-mail and a phone, and one with an e-mail alone.
const WITH_PHONE: &str = include_str!("../../../events/lambda/website.json");
const EMAIL_ONLY: &str = include_str!("../../../events/lambda/website_email_only.json");

pub async fn run() -> Result<Vec<Figure>, String> {
    build()?;
    let release = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release");
    let (mut ours, mut without, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        empty.push(start(&release.join("empty"), WITH_PHONE).await?);
        ours.push(start(&release.join("website"), WITH_PHONE).await?);
        without.push(start(&release.join("website"), EMAIL_ONLY).await?);
    }
    let (ours, without, empty) = (middle(ours), middle(without), middle(empty));
    let size = |name: &str| std::fs::metadata(release.join(name)).map(|file| file.len() as f64 / 1_048_576.0);
    let (own_size, empty_size) =
        (size("website").map_err(|e| e.to_string())?, size("empty").map_err(|e| e.to_string())?);
    Ok(vec![
        Figure {
            figure: "coldstart.website",
            value: ours,
            unit: "ms",
            limit: Some(empty),
            ratio: Some(ours / empty),
            baseline: None,
            goal: Goal::RatioAtMost(2.0),
        },
        Figure {
            figure: "coldstart.email_only",
            value: without,
            unit: "ms",
            limit: Some(empty),
            ratio: Some(without / empty),
            baseline: None,
            goal: Goal::None,
        },
        Figure {
            figure: "coldstart.size",
            value: own_size,
            unit: "MiB",
            limit: Some(empty_size),
            ratio: Some(own_size / empty_size),
            baseline: None,
            goal: Goal::None,
        },
    ])
}

fn build() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let packages = ["-p", "stagedoor-website", "-p", "stagedoor-empty-function"];
    let features = "stagedoor-website/lambda,stagedoor-empty-function/lambda";
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet"])
        .args(packages)
        .args(["--features", features])
        .current_dir(root)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err("the functions cannot be built".into()),
    }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Receives the time and the body of the answer.
type Answered = oneshot::Sender<(Instant, Bytes)>;

#[derive(Clone)]
struct Stub {
    event: &'static str,
    answered: Arc<Mutex<Option<Answered>>>,
}

/// Milliseconds from exec to the answer.
async fn start(binary: &Path, event: &'static str) -> Result<f64, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let (sender, receiver) = oneshot::channel();
    let stub = Stub { event, answered: Arc::new(Mutex::new(Some(sender))) };
    let app = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .fallback(sqs)
        .with_state(stub);
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/local/stagedoor.toml");
    let began = Instant::now();
    let mut child = Command::new(binary)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "website")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "log")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "log")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_ENDPOINT_URL", format!("http://{address}"))
        .env("STAGEDOOR_QUEUE_URL", format!("http://{address}/123456789012/events"))
        .env("STAGEDOOR_CONFIG", config)
        .env("STAGEDOOR_DEV_SECRETS", "yes")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    let answer = tokio::time::timeout(Duration::from_secs(10), receiver).await;
    _ = child.kill();
    _ = child.wait();
    serving.abort();
    match answer {
        Ok(Ok((at, body))) if String::from_utf8_lossy(&body).contains("\"statusCode\":200") => {
            Ok(at.duration_since(began).as_secs_f64() * 1000.0)
        }
        Ok(Ok((_, body))) => Err(format!("{} answered {}", binary.display(), String::from_utf8_lossy(&body))),
        _ => Err(format!("{} did not answer", binary.display())),
    }
}

// The first call gets the event; a second one waits for ever.
async fn next(State(stub): State<Stub>) -> Response {
    let waiting = stub.answered.lock().is_ok_and(|sender| sender.is_some());
    if !waiting {
        std::future::pending::<()>().await;
    }
    let headers = [
        ("lambda-runtime-aws-request-id", "first"),
        ("lambda-runtime-deadline-ms", "4102444800000"),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:123456789012:function:website"),
        ("content-type", "application/json"),
    ];
    (headers, stub.event).into_response()
}

async fn response(State(stub): State<Stub>, body: Bytes) -> Response {
    let sender = stub.answered.lock().ok().and_then(|mut sender| sender.take());
    if let Some(sender) = sender {
        _ = sender.send((Instant::now(), body));
    }
    axum::http::StatusCode::ACCEPTED.into_response()
}

/// The answer of `SendMessage` in SQS's JSON protocol.
async fn sqs() -> Response {
    let body = "{\"MD5OfMessageBody\":\"00000000000000000000000000000000\",\"MessageId\":\"one\"}";
    ([("content-type", "application/x-amz-json-1.0")], body).into_response()
}
