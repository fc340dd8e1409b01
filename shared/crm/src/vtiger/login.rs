//! Sessions, shared by all processes of the hub.
//!
//! A challenge cancels the user's earlier one. Two parallel logins of one user therefore break each other, and the
//! failure reads exactly like a wrong key (recorded: login_with_superseded_token; 32 of 40 in timings). So one process
//! logs in at a time, behind a lease, and the store keeps the session names for all processes. A challenge may be
//! answered several times until it is superseded (login_same_token_again).

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use stagedoor_ports::{Clock, PortError, Store};
use stagedoor_webhook::Secret;
use tokio::sync::{Mutex, OnceCell, Semaphore, SemaphorePermit};

use crate::vtiger::call::{Call, Failure, Method};

const LEASE: &str = "vtiger/login";
const CELL: &str = "vtiger/sessions";
const LEASE_TIME: SignedDuration = SignedDuration::from_secs(60);
/// Number of attempts before the credentials count as wrong. Another program may log in as the same user.
const TRIES: u32 = 5;
/// Maximum number of waits for another process that logs in.
const TURNS: u32 = 40;

pub(super) struct Login {
    pub user: String,
    pub key: Secret,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    /// Name of this process among those that share the store.
    pub owner: String,
    free: Semaphore,
    seats: std::sync::Mutex<Vec<(usize, Option<String>)>>,
    count: usize,
    turn: Mutex<()>,
    id: OnceCell<String>,
}

/// One session in use.
pub(super) struct Seat<'l> {
    login: &'l Login,
    number: usize,
    session: Option<String>,
    _permit: SemaphorePermit<'l>,
}

impl Seat<'_> {
    pub fn session(&self) -> String {
        self.session.clone().unwrap_or_default()
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut seats = self.login.seats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seats.push((self.number, self.session.take()));
    }
}

impl Login {
    pub fn new(
        (user, key): (String, Secret),
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        owner: String,
        sessions: usize,
    ) -> Self {
        let count = sessions.max(1);
        let seats = std::sync::Mutex::new((0..count).rev().map(|number| (number, None)).collect());
        let (free, turn, id) = (Semaphore::new(count), Mutex::default(), OnceCell::new());
        Self { user, key, store, clock, owner, free, seats, count, turn, id }
    }

    pub fn sessions(&self) -> usize {
        self.count
    }

    /// Takes a session that no other call of this process uses.
    pub async fn seat<'l>(&'l self, transport: &dyn Call) -> Result<Seat<'l>, Failure> {
        let closed = |_| Failure::Unavailable("the client is closed".to_owned());
        let permit = self.free.acquire().await.map_err(closed)?;
        let taken = self.seats.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let (number, session) = taken.unwrap_or_default();
        let mut seat = Seat { login: self, number, session, _permit: permit };
        if seat.session.is_none() {
            seat.session = self.known(number).await?;
        }
        if seat.session.is_none() {
            self.again(transport, &mut seat).await?;
        }
        Ok(seat)
    }

    /// Replaces the dead session of a seat. Takes a newer session that another process stored, or else logs in.
    pub async fn again(&self, transport: &dyn Call, seat: &mut Seat<'_>) -> Result<String, Failure> {
        let dead = seat.session.take();
        let _turn = self.turn.lock().await;
        for _ in 0..TURNS {
            if let Some(fresh) = self.known(seat.number).await?.filter(|known| Some(known) != dead.as_ref()) {
                seat.session = Some(fresh.clone());
                return Ok(fresh);
            }
            let now = self.clock.now();
            if self.store.lease(LEASE, &self.owner, now, now + LEASE_TIME).await.map_err(unavailable)? {
                let begun = self.begin(transport, seat.number).await;
                self.store.release(LEASE, &self.owner).await.map_err(unavailable)?;
                let session = begun?;
                seat.session = Some(session.clone());
                return Ok(session);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Err(Failure::Unavailable("another process is logging in".to_owned()))
    }

    /// The id of the hub's own user.
    pub async fn user(&self, transport: &dyn Call) -> Result<String, Failure> {
        if let Some(id) = self.id.get() {
            return Ok(id.clone());
        }
        // Every login returns the user's id, and so does every existing session.
        let answer = transport.post("extendsession", &[]).await?;
        let id = answer.get("userId").and_then(Value::as_str).unwrap_or_default().to_owned();
        if id.is_empty() {
            return Err(Failure::Unavailable("the session names no user".to_owned()));
        }
        Ok(self.id.get_or_init(async || id).await.clone())
    }

    async fn known(&self, number: usize) -> Result<Option<String>, Failure> {
        let key_value = self.store.key_value(CELL).await.map_err(unavailable)?;
        let all: Value =
            key_value.and_then(|key_value| serde_json::from_str(&key_value.value).ok()).unwrap_or_default();
        Ok(all.get(number.to_string()).and_then(Value::as_str).map(str::to_owned))
    }

    async fn begin(&self, transport: &dyn Call, number: usize) -> Result<String, Failure> {
        let mut refused = Failure::Lost;
        for attempt in 0..TRIES {
            match self.challenge(transport).await {
                Ok(session) => {
                    self.keep(number, &session).await?;
                    return Ok(session);
                }
                // The challenge was superseded by another login of the same user, or the key is wrong. Both read the
                // same.
                Err(failure @ Failure::Refused { .. }) => refused = failure,
                Err(failure @ (Failure::Lost | Failure::Broken(_) | Failure::ServerError)) => refused = failure,
                Err(other) => return Err(other),
            }
            tokio::time::sleep(Duration::from_millis(u64::from(attempt + 1) * self.jitter())).await;
        }
        Err(match refused {
            Failure::Refused { code, .. } => Failure::Denied(format!(
                "it does not let {:?} in ({code}); is the access key that of My Preferences, and is the user active?",
                self.user
            )),
            _ => Failure::Unavailable("it does not answer to a login".to_owned()),
        })
    }

    async fn challenge(&self, transport: &dyn Call) -> Result<String, Failure> {
        let asked = [("operation", "getchallenge"), ("username", self.user.as_str())];
        let answer = transport.send(Method::Get, &asked).await?;
        let token = answer.get("token").and_then(Value::as_str).unwrap_or_default();
        // Lower-case hex of MD5 over token and access key (recorded: the first two pairs of 01_auth).
        let proof = hex::encode(Md5::digest(format!("{token}{}", self.key.reveal())));
        let form = [("operation", "login"), ("username", self.user.as_str()), ("accessKey", proof.as_str())];
        let answer = transport.send(Method::Post, &form).await?;
        let session = answer.get("sessionName").and_then(Value::as_str);
        session.map(str::to_owned).ok_or(Failure::Broken("a login without a session"))
    }

    async fn keep(&self, number: usize, session: &str) -> Result<(), Failure> {
        let key_value = self.store.key_value(CELL).await.map_err(unavailable)?;
        let version = key_value.as_ref().map(|key_value| key_value.version);
        let mut all: Value =
            key_value.and_then(|key_value| serde_json::from_str(&key_value.value).ok()).unwrap_or_else(|| json!({}));
        if let Some(all) = all.as_object_mut() {
            all.insert(number.to_string(), session.into());
        }
        // A process that loses the race still has a valid session.
        self.store.compare_and_set(CELL, &all.to_string(), version).await.map_err(unavailable).map(drop)
    }

    /// Milliseconds that differ from process to process.
    fn jitter(&self) -> u64 {
        let sum: u64 = self.owner.bytes().map(u64::from).sum();
        100 + sum.wrapping_mul(37) % 150
    }
}

fn unavailable(error: PortError) -> Failure {
    Failure::Unavailable(error.to_string())
}
