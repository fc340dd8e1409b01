//! Stand-ins for the sending APIs of messengers and an SMS gateway, with the originals' errors and limits. Fans are
//! at the other end. Each file names its sources.

mod max;
mod meta;
mod sms;
mod telegram;
mod viber;
mod vk;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{Lists, Payments};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    Telegram,
    Viber,
    Vk,
    Messenger,
    Whatsapp,
    Max,
    Sms,
}

/// The fault of the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// Flood control, for this many seconds.
    Flood(u64),
    /// The call takes effect, and the connection breaks.
    AnswerLost,
    /// The call has no effect, and the answer is 500.
    Broken,
}

/// A fan's side of a chat.
#[derive(Debug, Clone, Default)]
pub struct Fan {
    /// The fan opened the chat and may get messages.
    pub open: bool,
    pub blocked: bool,
    /// Unix seconds of the fan's last action.
    pub heard_at: u64,
}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arrived {
    pub platform: Platform,
    pub to: String,
    pub text: String,
    /// The URL of the message's button.
    pub button: Option<String>,
    /// The sender's own key: a random id, a callback's data, or an id.
    pub key: Option<String>,
    pub id: String,
    #[serde(skip)]
    pub at: Instant,
}

pub(crate) struct MessageLog {
    pub tokens: BTreeMap<Platform, String>,
    pub fans: BTreeMap<(Platform, String), Fan>,
    pub arrived: Vec<Arrived>,
    breaks: Vec<(Platform, Break, u32)>,
    calls: BTreeMap<Platform, VecDeque<Instant>>,
    to_one: BTreeMap<(Platform, String), VecDeque<Instant>>,
    pub refused: BTreeMap<Platform, u32>,
    next: u64,
    /// MAX's subscriptions by URL, with their update types and secret.
    pub subscriptions: BTreeMap<String, (Value, Option<String>)>,
    /// Presses of MAX's buttons that were answered.
    pub answered: BTreeSet<String>,
}

/// The stand-ins of all messengers.
#[derive(Clone)]
pub struct Messengers(Arc<Mutex<MessageLog>>, Lists, Payments);

/// The tokens that the stand-ins accept.
pub const TOKENS: [(Platform, &str); 7] = [
    (Platform::Telegram, "7172552019:dev-telegram-token"),
    (Platform::Viber, "dev-viber-token"),
    (Platform::Vk, "dev-vk-token"),
    (Platform::Messenger, "dev-page-token"),
    (Platform::Whatsapp, "dev-whatsapp-token"),
    (Platform::Max, "dev-max-token"),
    (Platform::Sms, "dev-sms-password"),
];

impl Default for Messengers {
    fn default() -> Self {
        Self(
            Arc::new(Mutex::new(MessageLog {
                tokens: TOKENS.into_iter().map(|(platform, token)| (platform, token.to_owned())).collect(),
                fans: BTreeMap::new(),
                arrived: Vec::new(),
                breaks: Vec::new(),
                calls: BTreeMap::new(),
                to_one: BTreeMap::new(),
                refused: BTreeMap::new(),
                next: 700_000,
                subscriptions: BTreeMap::new(),
                answered: BTreeSet::new(),
            })),
            Lists::default(),
            Payments::default(),
        )
    }
}

impl MessageLog {
    pub(crate) fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn fan(&self, platform: Platform, id: &str) -> Fan {
        self.fans.get(&(platform, id.to_owned())).cloned().unwrap_or_default()
    }

    pub(crate) fn is_token(&self, platform: Platform, given: Option<&str>) -> bool {
        given.is_some() && self.tokens.get(&platform).map(String::as_str) == given
    }

    /// True if more than `most` calls came within `span`.
    pub(crate) fn over(&mut self, platform: Platform, most: usize, span: Duration) -> bool {
        over(self.calls.entry(platform).or_default(), most, span)
    }

    pub(crate) fn over_to(&mut self, platform: Platform, to: &str, most: usize, span: Duration) -> bool {
        over(self.to_one.entry((platform, to.to_owned())).or_default(), most, span)
    }

    pub(crate) fn refuse(&mut self, platform: Platform) {
        *self.refused.entry(platform).or_default() += 1;
    }

    fn breaks(&mut self, platform: Platform) -> Option<Break> {
        let broken = self.breaks.iter_mut().find(|(of, _, times)| *of == platform && *times > 0)?;
        broken.2 -= 1;
        Some(broken.1)
    }
}

fn over(calls: &mut VecDeque<Instant>, most: usize, span: Duration) -> bool {
    let now = Instant::now();
    while calls.front().is_some_and(|at| now.duration_since(*at) >= span) {
        calls.pop_front();
    }
    if calls.len() >= most {
        return true;
    }
    calls.push_back(now);
    false
}

/// One message as its API received it.
pub(crate) struct LoggedMessage {
    pub to: String,
    pub text: String,
    pub button: Option<String>,
    pub key: Option<String>,
}

impl Messengers {
    pub(crate) fn board(&self) -> MutexGuard<'_, MessageLog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/{bot}/sendMessage", post(telegram::send))
            .route("/pa/send_message", post(viber::send))
            .route("/method/messages.send", post(vk::send))
            .route("/{version}/me/messages", post(meta::messenger))
            .route("/{version}/{number}/messages", post(meta::whatsapp))
            .route("/messages", post(max::send))
            .route("/answers", post(max::answer))
            .route("/me", get(max::me))
            .route("/subscriptions", post(max::subscribe).get(max::subscriptions).delete(max::unsubscribe))
            .route("/sys/send.php", post(sms::send))
            .route("/sys/status.php", post(sms::status))
            .route("/_sandbox/fans", post(fans))
            .route("/_sandbox/sent", get(sent))
            .route("/_sandbox/breaks", post(breaks))
            .with_state(self.clone())
            .merge(self.1.router())
            .merge(self.2.router())
    }

    /// The payment provider's stand-in at the same address.
    pub fn payments(&self) -> &Payments {
        &self.2
    }

    /// The list providers' stand-ins at the same address.
    pub fn lists(&self) -> &Lists {
        &self.1
    }

    /// Serves until the task is dropped.
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        axum::serve(listener, self.router()).await
    }

    /// A fan opens a chat, or acts in it again.
    pub fn open(&self, platform: Platform, id: &str) {
        let mut board = self.board();
        let fan = board.fans.entry((platform, id.to_owned())).or_default();
        (fan.open, fan.blocked, fan.heard_at) = (true, false, crate::clock::now());
    }

    pub fn block(&self, platform: Platform, id: &str) {
        self.board().fans.entry((platform, id.to_owned())).or_default().blocked = true;
    }

    /// The addresses to which MAX posts, with the secret that it shows.
    pub fn subscriptions(&self) -> BTreeMap<String, Option<String>> {
        self.board().subscriptions.iter().map(|(url, (_, secret))| (url.clone(), secret.clone())).collect()
    }

    /// Ends MAX's subscriptions, as it does after eight hours without an answer.
    pub fn end_subscriptions(&self) {
        self.board().subscriptions.clear();
    }

    /// Sets the fan's last action this many seconds back.
    pub fn silent_for(&self, platform: Platform, id: &str, seconds: u64) {
        let mut board = self.board();
        let fan = board.fans.entry((platform, id.to_owned())).or_default();
        fan.heard_at = crate::clock::now().saturating_sub(seconds);
    }

    pub fn break_next(&self, platform: Platform, how: Break, times: u32) {
        self.board().breaks.push((platform, how, times));
    }

    /// Changes the accepted token, so that the sender's becomes wrong.
    pub fn change_token(&self, platform: Platform, token: &str) {
        self.board().tokens.insert(platform, token.to_owned());
    }

    /// All messages that arrived, in order.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.board().arrived.clone()
    }

    /// Calls that were refused because of their rate.
    pub fn over_the_rate(&self, platform: Platform) -> u32 {
        self.board().refused.get(&platform).copied().unwrap_or(0)
    }

    /// Takes a message that passed every check, unless a fault is set.
    pub(crate) fn take(
        &self,
        platform: Platform,
        told: LoggedMessage,
        answer: impl FnOnce(u64) -> Response,
        flood: impl FnOnce(u64) -> Response,
    ) -> Response {
        let mut board = self.board();
        let broken = board.breaks(platform);
        match broken {
            Some(Break::Flood(seconds)) => {
                board.refuse(platform);
                return flood(seconds);
            }
            Some(Break::Broken) => return (http::StatusCode::INTERNAL_SERVER_ERROR, "oops").into_response(),
            Some(Break::AnswerLost) | None => {}
        }
        let id = board.id();
        let LoggedMessage { to, text, button, key } = told;
        board.arrived.push(Arrived { platform, to, text, button, key, id: id.to_string(), at: Instant::now() });
        match broken {
            Some(_) => crate::responses::cut(),
            None => answer(id),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    platform: Platform,
    id: String,
    #[serde(default)]
    blocked: bool,
}

async fn fans(State(all): State<Messengers>, Json(signs): Json<Vec<Sign>>) -> Response {
    for sign in signs {
        match sign.blocked {
            true => all.block(sign.platform, &sign.id),
            false => all.open(sign.platform, &sign.id),
        }
    }
    Json(json!({ "ok": true })).into_response()
}

async fn sent(State(all): State<Messengers>) -> Response {
    Json(all.arrived()).into_response()
}

async fn breaks(State(all): State<Messengers>, Json((platform, how, times)): Json<(Platform, Break, u32)>) -> Response {
    all.break_next(platform, how, times);
    Json(json!({ "ok": true })).into_response()
}

pub(crate) fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

/// `Authorization: Bearer …`.
pub(crate) fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")
}
