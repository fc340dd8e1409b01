//! A theatre's season into a Vtiger that takes 65 ms a write and 14 ms a read, in four sessions, as recorded
//! (timings).
//!
//! `vtiger.calls`: calls for a new buyer with deal and invoice; three are necessary. `vtiger.rate`: writes a second
//! of the whole season of 2,000 orders, from its first delivery to the last row. It is compared with bare creates
//! through as many sessions in the same run. `vtiger.doubles`: duplicate rows of a season fed to four processes at
//! once, with calls that are cut, fail, and lose their answers.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use md5::{Digest, Md5};
use serde_json::{Value, json};
use stagedoor_sandbox::{Fault, FaultKind, VtigerSandbox, VtigerSeed};
use stagedoor_sync::FlushMode;
use stagedoor_testkit::season::Season;
use stagedoor_tests::{
    account::{Account, Which},
    hub::TheatreHub,
    theatre::orders,
};
use tokio::{net::TcpListener, task::JoinSet};

use crate::figure::{Figure, Goal};

const ORDERS: usize = 2_000;
const SESSIONS: usize = 4;
const WRITE: Duration = Duration::from_millis(65);
const READ: Duration = Duration::from_millis(14);
/// The number of bare creates whose rate is the limit.
const BARE: usize = 400;
const BUYERS: usize = 400;

pub async fn run() -> Result<Vec<Figure>, String> {
    let limit = bare().await?;
    let (rate, rows, seconds) = season().await?;
    let calls = buyers().await?;
    let doubles = doubles().await?;
    let figure =
        |figure, value, unit, goal| Figure { figure, value, unit, limit: None, ratio: None, baseline: None, goal };
    Ok(vec![
        Figure { limit: Some(3.0), ratio: Some(calls / 3.0), ..figure("vtiger.calls", calls, "calls", Goal::None) },
        Figure {
            limit: Some(limit),
            ratio: Some(rate / limit),
            ..figure("vtiger.rate", rate, "writes/s", Goal::RatioAtLeast(0.8))
        },
        figure("vtiger.rows", rows as f64, "", Goal::None),
        figure("vtiger.time", seconds, "s", Goal::None),
        figure("vtiger.doubles", doubles as f64, "", Goal::ValueAtMost(0.0)),
    ])
}

fn written(sandbox: &VtigerSandbox) -> u64 {
    let calls = sandbox.calls();
    calls.iter().filter(|(call, _)| call.starts_with("create") || call.starts_with("revise")).map(|(_, n)| n).sum()
}

fn rows(sandbox: &VtigerSandbox) -> usize {
    ["Contacts", "Potentials", "Invoice", "Accounts", "Calendar", "ModComments"]
        .iter()
        .map(|m| sandbox.records(m).len())
        .sum()
}

async fn season() -> Result<(f64, usize, f64), String> {
    let hub = TheatreHub::start().await;
    hub.vtiger.set_pace(WRITE, READ);
    let began = Instant::now();
    let deliveries = Season { orders: ORDERS }.deliveries(hub.hub.sync.clock.now());
    let http = stagedoor_http::builder().build().map_err(|error| error.to_string())?;
    for chunk in deliveries.chunks(32) {
        let mut hands = JoinSet::new();
        for signed_request in chunk {
            let (http, base, signed_request) = (http.clone(), hub.base.clone(), signed_request.clone());
            hands.spawn(async move { signed_request.post(&http, &base).await.map(|(status, _)| status) });
        }
        while let Some(done) = hands.join_next().await {
            let status = done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            if status != 200 {
                return Err(format!("a delivery was answered {status}"));
            }
        }
    }
    for _ in 0..60_000 {
        let status = hub.hub.status().await.map_err(|error| error.to_string())?;
        if status.queue_depth + status.waiting == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    hub.vtiger.set_pace(Duration::ZERO, Duration::ZERO);
    stagedoor::season::compare(&hub.hub).await?;
    Ok((written(&hub.vtiger) as f64 / seconds, rows(&hub.vtiger), seconds))
}

/// Counts the calls for new buyers, each with one order and all different.
async fn buyers() -> Result<f64, String> {
    let account = Account::of(Which::Vtiger).await;
    account.crm.set_up().await.map_err(|error| error.to_string())?;
    let failed = account.sync.handle(orders(BUYERS)).await;
    let before: u64 = account.vtiger().calls().values().sum();
    account.reconcile().await;
    let after: u64 = account.vtiger().calls().values().sum();
    let made = account.vtiger().records("Invoice").len();
    if !failed.is_empty() || made != BUYERS {
        return Err(format!("{made} invoices of {BUYERS}"));
    }
    Ok((after - before) as f64 / BUYERS as f64)
}

async fn doubles() -> Result<usize, String> {
    let account = Account::of(Which::Vtiger).await;
    for (n, kind) in
        [FaultKind::AnswerLost, FaultKind::Broken, FaultKind::Cut, FaultKind::AnswerLost].into_iter().enumerate()
    {
        for call in ["create Contacts", "create Potentials", "create Invoice"] {
            account.fault(Fault { kind, calls: call.into(), after: 5 + 11 * n as u32, times: 3, milliseconds: 0 });
        }
    }
    let events = orders(BUYERS);
    let mut hands = JoinSet::new();
    for (n, share) in events.chunks(BUYERS / 4).enumerate() {
        let (sync, share) = (account.another(&format!("process-{n}")), share.to_vec());
        hands.spawn(async move {
            sync.handle(share).await;
            for round in 0..40 {
                let working = sync.reconcile(FlushMode::Everything);
                // One of the processes is cut off in the middle of its work, again and again.
                let patience = if n == 0 { Duration::from_millis(40 + 7 * round) } else { Duration::from_secs(60) };
                _ = tokio::time::timeout(patience, working).await;
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        });
    }
    while hands.join_next().await.is_some() {}
    // The lease of a cut-off process expires.
    let settled = Instant::now();
    while account.store.totals().await.map_err(|error| error.to_string())?.waiting > 0 {
        if settled.elapsed() > Duration::from_secs(200) {
            return Err("people still wait after a lease has run out".into());
        }
        _ = account.sync.reconcile(FlushMode::Everything).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let sandbox = account.vtiger();
    let mut doubles = 0;
    for module in ["Contacts", "Potentials", "Invoice"] {
        let records = sandbox.records(module);
        let keys: BTreeSet<&str> =
            records.iter().filter_map(|row| row.get("cf_stagedoor_id").and_then(Value::as_str)).collect();
        doubles += records.len() - keys.len().min(records.len()) + records.len().saturating_sub(BUYERS);
    }
    Ok(doubles)
}

/// Contact creates a second through as many sessions, with nothing around them.
async fn bare() -> Result<f64, String> {
    let sandbox = VtigerSandbox::new(VtigerSeed { write: WRITE, read: READ, ..VtigerSeed::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
    let base = format!("http://{}/webservice.php", listener.local_addr().map_err(|error| error.to_string())?);
    let _serving = tokio::spawn(sandbox.clone().serve(listener));
    let http = Arc::new(stagedoor_http::builder().build().map_err(|error| error.to_string())?);
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(login(&http, &base).await?);
    }
    let began = Instant::now();
    let mut hands = JoinSet::new();
    for (hand, session) in sessions.into_iter().enumerate() {
        let (http, base) = (Arc::clone(&http), base.clone());
        hands.spawn(async move {
            for n in 0..BARE / SESSIONS {
                let element = json!({ "lastname": format!("Bare {hand} {n}"), "assigned_user_id": "19x1" }).to_string();
                let form = [
                    ("operation", "create"),
                    ("sessionName", &session),
                    ("elementType", "Contacts"),
                    ("element", &element),
                ];
                http.post(&base).form(&form).send().await?.error_for_status()?;
            }
            Ok::<(), reqwest::Error>(())
        });
    }
    while let Some(done) = hands.join_next().await {
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    }
    Ok(BARE as f64 / began.elapsed().as_secs_f64())
}

async fn login(http: &reqwest::Client, base: &str) -> Result<String, String> {
    let call = async |request: reqwest::RequestBuilder| -> Result<Value, String> {
        let answer = request.send().await.map_err(|error| error.to_string())?;
        answer.json().await.map_err(|error| error.to_string())
    };
    let challenge = call(http.get(base).query(&[("operation", "getchallenge"), ("username", "admin")])).await?;
    let token = challenge.pointer("/result/token").and_then(Value::as_str).unwrap_or_default();
    let proof = hex::encode(Md5::digest(format!("{token}StagedoorKey0001")));
    let form = [("operation", "login"), ("username", "admin"), ("accessKey", &proof)];
    let answer = call(http.post(base).form(&form)).await?;
    let session = answer.pointer("/result/sessionName").and_then(Value::as_str);
    session.map(str::to_owned).ok_or_else(|| "no session".to_owned())
}
