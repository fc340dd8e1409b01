//! Webhooks a second that are durable before their acknowledgement, beside bare grouped commits of the same bytes.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use stagedoor_testkit::{SignedRequest, form_signed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
};

use crate::{
    figure::{Figure, Goal},
    paid_order::order,
    stage,
};

const DELIVERIES: usize = 20_000;
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

pub async fn run() -> Result<Vec<Figure>, String> {
    // Only the way from the wire to the disk is measured. The fold happens elsewhere, on AWS on other machines.
    let stage = stage::receiving_only().await?;
    let now = stage.hub.sync.clock.now();
    let parcels: Vec<SignedRequest> = (0..DELIVERIES)
        .map(|n| form_signed("/ticketing/theatre", &order(n), "theatre-shop-secret", &format!("msg_{n}"), now))
        .collect();
    // The peer writes the same bytes as the hub does for one delivery.
    _ = hub(parcels.get(..1).unwrap_or_default(), &stage.base).await?;
    let first = stage.hub.queue.receive(1).await.map_err(|error| error.to_string())?.pop();
    let first = first.ok_or("the first delivery was not kept")?;
    let bytes = serde_json::to_vec(&first.event).map_err(|error| error.to_string())?;
    stage.hub.queue.done(vec![first.receipt]).await.map_err(|error| error.to_string())?;
    let bodies = vec![bytes; DELIVERIES];
    let (mut rates, mut bares, mut behind_http, mut waits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The machine's speed varies: the three are measured in turns, and the median counts.
    for _ in 0..ROUNDS {
        let (rate, these) = hub(&parcels, &stage.base).await?;
        rates.push(rate);
        waits.extend(these);
        bares.push(bare(&bodies).await?);
        behind_http.push(bare_behind_http(&parcels, bodies.first().cloned().unwrap_or_default()).await?);
    }
    let kept = stage.hub.queue.depth().await.map_err(|error| error.to_string())?;
    if kept != (DELIVERIES * ROUNDS) as u64 {
        return Err(format!("{kept} of {} acknowledged deliveries are kept", DELIVERIES * ROUNDS));
    }
    drop(stage);
    let whole = stage::open().await?;
    let (while_folding, _) = hub(&parcels, &whole.base).await?;
    drop(whole);
    let (rate, bare, behind_http) = (middle(rates), middle(bares), middle(behind_http));
    waits.sort_unstable();
    let p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or_default();
    Ok(vec![
        Figure {
            figure: "ingest.rate",
            value: rate,
            unit: "/s",
            limit: Some(bare),
            ratio: Some(rate / bare),
            baseline: None,
            goal: Goal::RatioAtLeast(0.4),
        },
        // The limit of any hub: the same server and requests before bare commits.
        Figure {
            figure: "ingest.http",
            value: behind_http,
            unit: "/s",
            limit: Some(bare),
            ratio: Some(behind_http / bare),
            baseline: None,
            goal: Goal::None,
        },
        Figure {
            figure: "ingest.share",
            value: rate,
            unit: "/s",
            limit: Some(behind_http),
            ratio: Some(rate / behind_http),
            baseline: None,
            goal: Goal::None,
        },
        Figure {
            figure: "ingest.folding",
            value: while_folding,
            unit: "/s",
            limit: Some(bare),
            ratio: Some(while_folding / bare),
            baseline: None,
            goal: Goal::None,
        },
        Figure {
            figure: "ingest.p99",
            value: p99.as_secs_f64() * 1000.0,
            unit: "ms",
            limit: None,
            ratio: None,
            baseline: None,
            goal: Goal::None,
        },
    ])
}

/// The deliveries as bytes on the wire, so that the client is not what is measured.
fn wire(signed_request: &SignedRequest, host: &str) -> Vec<u8> {
    let mut text = format!(
        "POST {} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n",
        signed_request.path,
        signed_request.body.len()
    );
    for (name, value) in &signed_request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&signed_request.body);
    bytes
}

async fn hub(parcels: &[SignedRequest], base: &str) -> Result<(f64, Vec<Duration>), String> {
    let host = base.trim_start_matches("http://").to_owned();
    let requests: Vec<Vec<u8>> = parcels.iter().map(|signed_request| wire(signed_request, &host)).collect();
    let requests = std::sync::Arc::new(requests);
    let mut hands = JoinSet::new();
    let began = Instant::now();
    for hand in 0..CONNECTIONS {
        let (requests, host) = (requests.clone(), host.clone());
        hands.spawn(async move { post_all(&host, requests.iter().skip(hand).step_by(CONNECTIONS)).await });
    }
    let mut waits = Vec::new();
    while let Some(done) = hands.join_next().await {
        waits.extend(done.map_err(|error| error.to_string())??);
    }
    Ok((requests.len() as f64 / began.elapsed().as_secs_f64(), waits))
}

/// Sends requests over one connection, each after the answer to the one before.
async fn post_all<'r>(host: &str, requests: impl Iterator<Item = &'r Vec<u8>>) -> Result<Vec<Duration>, String> {
    let mut stream = TcpStream::connect(host).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (mut waits, mut buffer) = (Vec::new(), vec![0; 4096]);
    for request in requests {
        let sent = Instant::now();
        stream.write_all(request).await.map_err(|error| error.to_string())?;
        let mut length = 0;
        // Every answer to an accepted delivery ends with this body.
        while !buffer.get(..length).unwrap_or_default().ends_with(b"{\"ok\":true}") {
            let rest = buffer.get_mut(length..).unwrap_or_default();
            match stream.read(rest).await {
                Ok(0) | Err(_) => return Err("the hub hung up".into()),
                Ok(more) => length += more,
            }
            if length >= 12 && !buffer.starts_with(b"HTTP/1.1 200") {
                return Err("the hub did not answer 200".into());
            }
        }
        waits.push(sent.elapsed());
    }
    Ok(waits)
}

type Job = (Vec<u8>, oneshot::Sender<()>);

/// One table with grouped commits, nothing else.
struct Committer {
    jobs: mpsc::Sender<Job>,
    writer: std::thread::JoinHandle<rusqlite::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Committer {
    fn open() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let connection = Connection::open(folder.path().join("bare.db")).map_err(|error| error.to_string())?;
        let made =
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB)";
        connection.execute_batch(made).map_err(|error| error.to_string())?;
        let (jobs, inbox) = mpsc::channel::<Job>();
        let writer = std::thread::spawn(move || write(&connection, &inbox));
        Ok(Self { jobs, writer, _folder: folder })
    }

    fn close(self) -> Result<(), String> {
        drop(self.jobs);
        self.writer.join().map_err(|_| "the bare writer failed".to_owned())?.map_err(|error| error.to_string())
    }
}

/// The rate with the same requests and server, but without verification or parsing, and with commits of the same
/// bytes.
async fn bare_behind_http(parcels: &[SignedRequest], body: Vec<u8>) -> Result<f64, String> {
    let committer = Committer::open()?;
    let jobs = committer.jobs.clone();
    let take = move |_: axum::body::Bytes| {
        let (answer, answered) = oneshot::channel();
        let is_sent = jobs.send((body.clone(), answer)).is_ok();
        async move {
            match is_sent && answered.await.is_ok() {
                true => (axum::http::StatusCode::OK, "{\"ok\":true}"),
                false => (axum::http::StatusCode::SERVICE_UNAVAILABLE, ""),
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
    let base = format!("http://{}", listener.local_addr().map_err(|error| error.to_string())?);
    let serving = tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(take)).await });
    let (rate, _) = hub(parcels, &base).await?;
    serving.abort();
    _ = serving.await;
    committer.close()?;
    Ok(rate)
}

/// The rate of grouped commits alone: the same bytes by the same number of writers into one table.
async fn bare(bodies: &[Vec<u8>]) -> Result<f64, String> {
    let committer = Committer::open()?;
    let jobs = &committer.jobs;
    let bodies = std::sync::Arc::new(bodies.to_vec());
    let mut hands = JoinSet::new();
    let began = Instant::now();
    for hand in 0..CONNECTIONS {
        let (bodies, jobs) = (bodies.clone(), jobs.clone());
        hands.spawn(async move {
            for body in bodies.iter().skip(hand).step_by(CONNECTIONS) {
                let (answer, answered) = oneshot::channel();
                if jobs.send((body.clone(), answer)).is_err() || answered.await.is_err() {
                    return Err("the bare writer stopped".to_owned());
                }
            }
            Ok(())
        });
    }
    while let Some(done) = hands.join_next().await {
        done.map_err(|error| error.to_string())??;
    }
    let rate = bodies.len() as f64 / began.elapsed().as_secs_f64();
    committer.close()?;
    Ok(rate)
}

fn write(connection: &Connection, inbox: &mpsc::Receiver<Job>) -> rusqlite::Result<()> {
    while let Ok(first) = inbox.recv() {
        let jobs: Vec<Job> = std::iter::once(first).chain(inbox.try_iter().take(CONNECTIONS)).collect();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut insert = connection.prepare_cached("INSERT INTO bodies (body) VALUES (?1)")?;
        for (body, _) in &jobs {
            insert.execute([body])?;
        }
        connection.execute_batch("COMMIT")?;
        for (_, answer) in jobs {
            _ = answer.send(());
        }
    }
    Ok(())
}
