//! The cost of strangers: the work for a refused request, the memory of unfinished requests, and whether genuine
//! deliveries still pass.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use stagedoor_testkit::{
    SignedRequest, form_signed,
    samples::{self, Sample},
};
use stagedoor_tests::{provider_harness::ProviderHarness, tamper::signed};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use crate::{
    figure::{Figure, Goal},
    paid_order::order,
    stage,
};

/// The size in bytes of a delivery, genuine or refused: a large one.
const BODY: usize = 100_000;
/// The number of requests that never end.
const SILENT: usize = 1_000;
/// The bytes that they send of a head, of a small body, and of a large one.
const HALVES: [usize; 3] = [12_000, 2_000, 655_000];
const ROUNDS: usize = 25;
const FLOOD: Duration = Duration::from_secs(20);
const FLOODING: usize = 48;
const GENUINE: usize = 4;

pub async fn run() -> Result<Vec<Figure>, String> {
    let mut figures = vec![cpu().await?];
    figures.push(memory().await?);
    figures.extend(genuine().await?);
    Ok(figures)
}

/// The samples of each provider, without those of a handshake.
fn models() -> Result<BTreeMap<String, Vec<Sample>>, String> {
    let mut all: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    let samples = samples::all().map_err(|error| error.to_string())?;
    for sample in samples.into_iter().filter(|one| !one.case.contains("confirmation") || one.case.contains("error")) {
        all.entry(sample.provider.clone()).or_default().push(sample);
    }
    Ok(all)
}

/// The first sample that is accepted with a large body. Only the provider itself can sign some samples.
async fn taken(samples: &[Sample]) -> Option<(&Sample, ProviderHarness, SignedRequest)> {
    for sample in samples {
        let harness = ProviderHarness::of(sample);
        let signed_request = signed(sample, &harness.path, large(sample));
        if harness.take(&signed_request).await.status == 200 {
            return Some((sample, harness, signed_request));
        }
    }
    None
}

fn is_form(sample: &Sample) -> bool {
    sample.headers.iter().any(|(_, value)| value.contains("x-www-form"))
}

/// The sample's body, enlarged to a large delivery with rows that its provider may send and the hub does not know.
fn large(sample: &Sample) -> Vec<u8> {
    let text = String::from_utf8_lossy(&sample.body);
    if is_form(sample) {
        let fields: String = (0..900).map(|n| format!("&more{n}={}", "v".repeat(BODY / 900 - 10))).collect();
        return format!("{}{fields}", text.trim_end()).into_bytes();
    }
    let row = r#"{"id":1234567,"name":"Anna","price":"1500.00","tags":["a","b"]}"#;
    let rows = vec![row; BODY / (row.len() + 1)].join(",");
    match text.trim_start().strip_prefix('{') {
        Some(rest) => format!("{{\"more_rows\":[{rows}],{rest}").into_bytes(),
        None => text.trim_start().replacen('[', &format!("[{rows},"), 1).into_bytes(),
    }
}

/// A stranger's requests to this source, each about as long as the genuine delivery.
fn hostile(sample: &Sample, genuine: &SignedRequest, path: &str) -> Vec<(&'static str, SignedRequest)> {
    let mut all = Vec::new();
    let mut wrong = genuine.clone();
    wrong.body.extend_from_slice(b" ");
    wrong.path = format!("{path}/wrong-secret-in-the-path");
    for (name, value) in &mut wrong.headers {
        if !name.eq_ignore_ascii_case("content-type") && !value.chars().all(|c| c.is_ascii_digit()) {
            *value = value.replace('a', "b").replace('A', "B");
        }
    }
    for (at, (name, value)) in wrong.headers.iter().enumerate() {
        if name.eq_ignore_ascii_case("content-type") {
            continue;
        }
        let last = value.rsplit(',').next().unwrap_or(value);
        for (part, between) in [(value.as_str(), ","), (value.as_str(), " "), (last, ",")] {
            let mut many = wrong.clone();
            let more = 14_000_usize.saturating_sub(value.len()) / (part.len() + between.len());
            if let Some(header) = many.headers.get_mut(at) {
                header.1 = format!("{value}{}", format!("{between}{part}").repeat(more));
            }
            all.push(("many signatures", many));
        }
    }
    let body = |body: Vec<u8>| SignedRequest { body, ..wrong.clone() };
    let nodes = if is_form(sample) {
        [b"a[][][][][][][]&".repeat(BODY / 16), b"a&".repeat(BODY / 2)]
    } else {
        let maps = vec![r#"{"":0}"#; BODY / 7].join(",");
        [format!("{{\"a\":[{maps}]}}").into_bytes(), format!("[{maps}]").into_bytes()]
    };
    all.extend(nodes.map(|nodes| ("many nodes", body(nodes))));
    let mut bare = wrong.clone();
    bare.headers.retain(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    all.push(("no signature", bare));
    all.push(("wrong signature", wrong));
    all
}

/// The shortest time of several runs in seconds, and the status.
async fn seconds(harness: &ProviderHarness, signed_request: &SignedRequest) -> (f64, u16) {
    let (mut best, mut status) = (f64::MAX, 0);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        status = harness.take(signed_request).await.status.as_u16();
        best = best.min(began.elapsed().as_secs_f64());
    }
    (best, status)
}

async fn cpu() -> Result<Figure, String> {
    let (mut worst, mut whose) = (0.0_f64, String::new());
    let mut providers = 0;
    for (name, samples) in models()? {
        let (sample, harness, genuine) =
            taken(&samples).await.ok_or(format!("{name}: no genuine delivery is taken"))?;
        let (one, _) = seconds(&harness, &genuine).await;
        providers += 1;
        for (kind, signed_request) in hostile(sample, &genuine, &harness.path) {
            let (refused, status) = seconds(&harness, &signed_request).await;
            // A changed body passes if the proof does not cover the body.
            if status < 400 {
                continue;
            }
            if refused / one > worst {
                (worst, whose) = (refused / one, format!("{name}, {kind}"));
            }
        }
    }
    eprintln!("hostile.cpu: {providers} providers; the worst is {whose}");
    Ok(Figure {
        figure: "hostile.cpu",
        value: worst,
        unit: "times",
        limit: Some(1.0),
        ratio: Some(worst),
        baseline: None,
        goal: Goal::ValueAtMost(2.0),
    })
}

/// The resident memory of this process in bytes.
fn resident() -> Result<f64, String> {
    let text = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().map_err(|_| "VmRSS is no number")?;
    Ok(kib / 1024.0)
}

fn address(base: &str) -> &str {
    base.trim_start_matches("http://")
}

/// Opens a connection and sends nothing, half a head, half a small body, or half a large one. `filling` holds the
/// sent bytes. It is shared, so that its memory does not count as the hub's.
async fn open(base: &str, n: usize, filling: &[u8]) -> Result<TcpStream, std::io::Error> {
    let mut stream = TcpStream::connect(address(base)).await?;
    let head = "POST /website/site HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 700000\r\n";
    let (end, bytes) = match n % 4 {
        0 => return Ok(stream),
        1 => ("x-long: ", HALVES[0]),
        2 => ("\r\n", HALVES[1]),
        _ => ("\r\n", HALVES[2]),
    };
    // The server may close the connection in the middle of the write.
    _ = stream.write_all(format!("{head}{end}").as_bytes()).await;
    _ = stream.write_all(filling.get(..bytes).unwrap_or_default()).await;
    Ok(stream)
}

async fn memory() -> Result<Figure, String> {
    let stage = stage::receiving_only().await?;
    let filling: Arc<[u8]> = vec![b'a'; HALVES[2]].into();
    let before = resident()?;
    let mut opening = JoinSet::new();
    for n in 0..SILENT {
        let (base, filling) = (stage.base.clone(), Arc::clone(&filling));
        opening.spawn(async move { open(&base, n, &filling).await });
    }
    let (mut held, mut most) = (Vec::new(), 0.0_f64);
    while let Some(one) = opening.join_next().await {
        held.extend(one.map_err(|error| error.to_string())?.ok());
        most = most.max(resident()? - before);
    }
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(resident()? - before);
    }
    let sent = (SILENT / 4 * HALVES.iter().sum::<usize>()) as f64 / 1_048_576.0;
    Ok(Figure {
        figure: "hostile.memory",
        value: most,
        unit: "MiB",
        limit: None,
        ratio: None,
        baseline: Some(sent),
        goal: Goal::ValueAtMost(96.0),
    })
}

async fn genuine() -> Result<[Figure; 2], String> {
    let stage = stage::open().await?;
    let over = Arc::new(AtomicBool::new(false));
    let (refused, mut flood) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    let mut silent = Vec::new();
    for _ in 0..SILENT / 4 {
        silent.push(TcpStream::connect(address(&stage.base)).await.map_err(|error| error.to_string())?);
    }
    let many = format!("t=1,{}", "v1=ab,".repeat(2_000));
    for n in 0..FLOODING {
        let (base, over, refused) = (stage.base.clone(), Arc::clone(&over), Arc::clone(&refused));
        let junk = match n % 4 {
            0 => SignedRequest::new("/website/site", "application/json", b"{}".to_vec()),
            1 => SignedRequest::new("/ticketing/theatre", "application/json", vec![b' '; 20_000]),
            2 => SignedRequest::new(
                "/website/tilda",
                "application/x-www-form-urlencoded",
                b"a[][][][][][][]&".repeat(2_000),
            ),
            _ => SignedRequest::new("/ticketing/stripe", "application/json", vec![b' '; 20_000])
                .header("stripe-signature", &many),
        };
        flood.spawn(async move {
            let Ok(http) = stagedoor_http::builder().build() else { return };
            while !over.load(Ordering::Relaxed) {
                if junk.post(&http, &base).await.is_ok_and(|(status, _)| status >= 400) {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let mut senders = JoinSet::new();
    for sender in 0..GENUINE {
        let (base, clock) = (stage.base.clone(), Arc::clone(&stage.hub.sync.clock));
        senders.spawn(async move {
            let Ok(http) = stagedoor_http::builder().build() else { return (0, 1) };
            let (began, mut taken, mut all) = (Instant::now(), 0_u32, 0_u32);
            while began.elapsed() < FLOOD {
                let id = format!("genuine-{sender}-{all}");
                let n = sender * 1_000_000 + all as usize;
                let signed_request =
                    form_signed("/ticketing/theatre", &order(n), "theatre-shop-secret", &id, clock.now());
                all += 1;
                taken += u32::from(signed_request.post(&http, &base).await.is_ok_and(|(status, _)| status == 200));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (taken, all)
        });
    }
    let (mut taken, mut all) = (0, 0);
    while let Some(one) = senders.join_next().await {
        let (more, of) = one.map_err(|error| error.to_string())?;
        (taken, all) = (taken + more, all + of);
    }
    over.store(true, Ordering::Relaxed);
    eprintln!("hostile.genuine: {taken} of {all} orders");
    flood.shutdown().await;
    let refused = refused.load(Ordering::Relaxed) as f64 / FLOOD.as_secs_f64();
    let figure =
        |figure, value, unit, goal| Figure { figure, value, unit, limit: None, ratio: None, baseline: None, goal };
    Ok([
        figure("hostile.genuine", f64::from(taken) / f64::from(all.max(1)), "share", Goal::ValueAtLeast(0.999)),
        figure("hostile.refused", refused, "/s", Goal::None),
    ])
}
