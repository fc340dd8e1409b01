//! Measures the bot's answers while a burst of 10,000 orders is received and folded. The time runs from the first
//! byte of the webhook to the arrival at the stand-in, for 400 messages spread over the burst.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use stagedoor_sandbox::Platform;
use stagedoor_testkit::{
    SignedRequest,
    fans::{Account, ChatFan},
    form_signed,
};
use tokio::task::JoinSet;

use crate::{
    burst,
    figure::{Figure, Goal},
    paid_order::order,
    stage,
};

const ORDERS: usize = 10_000;
const FANS: usize = 400;
/// The pause between two fans. One bot may send thirty messages a second, and that limit is not measured here.
const PAUSE: Duration = Duration::from_millis(40);
/// The time limit of an answer in seconds.
const LIMIT: f64 = 2.0;

pub async fn run() -> Result<Vec<Figure>, String> {
    let calm = measured(0).await?;
    let night = measured(ORDERS).await?;
    let figure = |figure, value: f64, baseline: Option<f64>, goal| Figure {
        figure,
        value,
        unit: "s",
        limit: Some(LIMIT),
        ratio: Some(value / LIMIT),
        baseline,
        goal,
    };
    Ok(vec![
        figure("reply.p50", at(&night, 0.50), Some(at(&calm, 0.50)), Goal::None),
        figure("reply.p99", at(&night, 0.99), Some(at(&calm, 0.99)), Goal::ValueAtMost(LIMIT)),
        figure("reply.worst", at(&night, 1.0), Some(at(&calm, 1.0)), Goal::None),
    ])
}

fn at(sorted: &[f64], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// The time of each answer in seconds, the shortest first.
async fn measured(orders: usize) -> Result<Vec<f64>, String> {
    let stage = stage::open().await?;
    let messengers =
        stage.running.as_ref().and_then(|running| running.messengers.clone()).ok_or("the config has no stand-ins")?;
    let now = stage.hub.sync.clock.now();
    let parcels: Vec<SignedRequest> = (0..orders)
        .map(|n| form_signed("/ticketing/theatre", &order(n), "theatre-shop-secret", &format!("msg_{n}"), now))
        .collect();
    let burst = tokio::spawn(burst::send(parcels, stage.base.clone()));
    let http = stagedoor_http::builder().build().map_err(|error| error.to_string())?;
    let (mut asked, mut hands) = (BTreeMap::new(), JoinSet::new());
    for n in 0..FANS {
        // Two bots in turn, so that neither comes near its own rate.
        let account = match n % 2 {
            0 => Account::Telegram(5_000_000_000 + n as u64),
            _ => Account::Messenger(1_000_000_000 + n as u64),
        };
        let platform = if n % 2 == 0 { Platform::Telegram } else { Platform::Messenger };
        let fan = ChatFan::new(account, "кот");
        messengers.open(platform, &fan.id());
        let signed_request = fan.say("сколько стоит?", 700_000 + n as u64, now.as_second());
        asked.insert(fan.id(), Instant::now());
        let (http, base) = (http.clone(), stage.base.clone());
        hands.spawn(async move { signed_request.post(&http, &base).await.map(|(status, _)| status) });
        tokio::time::sleep(PAUSE).await;
    }
    while let Some(done) = hands.join_next().await {
        let status = done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        if status != 200 {
            return Err(format!("a message was answered {status}"));
        }
    }
    burst.await.map_err(|error| error.to_string())??;
    for _ in 0..600 {
        if messengers.arrived().len() >= FANS {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let arrived = messengers.arrived();
    let took = |one: &stagedoor_sandbox::Arrived| Some(one.at.duration_since(*asked.get(&one.to)?).as_secs_f64());
    let mut seconds: Vec<f64> = arrived.iter().filter_map(took).collect();
    if seconds.len() < FANS {
        return Err(format!("{} of {FANS} messages were answered", seconds.len()));
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds)
}
