//! OAuth 2.0 with rotating refresh tokens (amocrm.ru/developers/content/oauth/step-by-step), or a long-lived token.
//!
//! A refresh token works once. A lease lets only one process refresh at a time. That process reads the store before it
//! refreshes. It refreshes hours before the access token expires, so a lost answer leaves time for another attempt. An
//! installation may hold several token pairs, one for each authorisation. A spare pair takes over when a lost answer
//! has spent the current one.

use std::sync::Arc;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use stagedoor_model::Timestamp;
use stagedoor_ports::{Clock, CrmError, Store};
use tokio::sync::Mutex;

use crate::http::{self, HttpClient};

/// A pair is refreshed when less than this is left of its 24 hours.
const AHEAD: SignedDuration = SignedDuration::from_hours(12);
const CELL: &str = "amocrm/tokens";
const LEASE: &str = "amocrm/refresh";

/// Access and refresh token of one authorisation.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct TokenPair {
    pub access: String,
    pub refresh: String,
    pub expires_at: Timestamp,
    /// True if the token endpoint rejected the refresh token.
    #[serde(default)]
    pub spent: bool,
}

/// The way in which the hub proves who it is to amoCRM.
pub enum Authorization {
    /// A token that only an administrator can withdraw. It is never refreshed.
    LongLived(String),
    OAuth(Box<OAuth>),
}

/// An OAuth integration whose token pairs are kept in the store.
pub struct OAuth {
    pub client_id: String,
    pub client_secret: String,
    pub redirect_uri: String,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    /// Name of this process among those that share the store.
    pub owner: String,
    pub turn: Mutex<()>,
}

impl OAuth {
    /// Creates an integration from its client id, client secret and redirect URI. `owner` names this process among
    /// those that share `store`.
    pub fn new(
        (client_id, client_secret, redirect_uri): (String, String, String),
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        owner: String,
    ) -> Self {
        Self { client_id, client_secret, redirect_uri, store, clock, owner, turn: Mutex::new(()) }
    }
}

#[derive(Deserialize)]
struct Granted {
    expires_in: i64,
    access_token: String,
    refresh_token: String,
}

enum Refused {
    /// Any 4xx: the refresh token is spent or withdrawn.
    Final,
    /// No answer, or an answer that says nothing about the token. The token may be spent.
    Unknown,
}

impl Authorization {
    pub(super) async fn token(&self, http: &dyn HttpClient, base: &str, rejected: bool) -> Result<String, CrmError> {
        match self {
            Self::LongLived(token) if !rejected => Ok(token.clone()),
            Self::LongLived(_) => {
                Err(CrmError::CredentialsRejected("the long-lived token is not accepted; issue a new one".into()))
            }
            Self::OAuth(oauth) => oauth.token(http, base, rejected).await,
        }
    }
}

impl OAuth {
    async fn token(&self, http: &dyn HttpClient, base: &str, rejected: bool) -> Result<String, CrmError> {
        let _turn = self.turn.lock().await;
        let now = self.clock.now();
        let (pairs, _) = self.pairs().await?;
        let usable = pairs.iter().filter(|pair| pair.expires_at > now).max_by_key(|pair| pair.expires_at);
        if let Some(pair) = usable
            && (pair.expires_at > now + AHEAD || pair.spent)
            && !rejected
        {
            return Ok(pair.access.clone());
        }
        match self.refresh(http, base).await {
            Ok(access) => Ok(access),
            // The token is due for a refresh but still valid, so it stays in use.
            Err(error) => match usable.filter(|_| !rejected) {
                Some(pair) => {
                    tracing::warn!(%error, "refresh failed; the present access token is used on");
                    Ok(pair.access.clone())
                }
                None => Err(error),
            },
        }
    }

    async fn refresh(&self, http: &dyn HttpClient, base: &str) -> Result<String, CrmError> {
        let now = self.clock.now();
        let until = now + SignedDuration::from_secs(60);
        if !self.store.lease(LEASE, &self.owner, now, until).await.map_err(unavailable)? {
            return Err(CrmError::Unavailable("another process is refreshing the token".into()));
        }
        let refreshed = self.refresh_leased(http, base, now).await;
        self.store.release(LEASE, &self.owner).await.map_err(unavailable)?;
        refreshed
    }

    async fn refresh_leased(&self, http: &dyn HttpClient, base: &str, now: Timestamp) -> Result<String, CrmError> {
        let (mut pairs, mut version) = self.pairs().await?;
        // Another process may have refreshed the token while this one waited for the lease.
        if let Some(fresh) = pairs.iter().find(|pair| pair.expires_at > now + AHEAD && !pair.spent) {
            return Ok(fresh.access.clone());
        }
        let mut unknown = false;
        for index in 0..pairs.len() {
            let Some(pair) = pairs.get(index).filter(|pair| !pair.spent).cloned() else { continue };
            let grant = serde_json::json!({ "grant_type": "refresh_token", "refresh_token": pair.refresh });
            match self.exchange(http, base, grant, now).await {
                Ok(fresh) => {
                    pairs.retain(|known| !known.spent && known.refresh != pair.refresh);
                    pairs.push(fresh.clone());
                    // The old pair is dead already, so the new one is saved before it is used.
                    self.save(&pairs, version).await?;
                    return Ok(fresh.access);
                }
                Err(Refused::Final) => {
                    pairs.iter_mut().filter(|known| known.refresh == pair.refresh).for_each(|known| known.spent = true);
                    self.save(&pairs, version).await?;
                    version = Some(version.unwrap_or(0) + 1);
                }
                Err(Refused::Unknown) => unknown = true,
            }
        }
        match unknown {
            true => Err(CrmError::Unavailable("the token endpoint does not answer".into())),
            false => Err(CrmError::CredentialsRejected(
                "every refresh token is spent; authorise again: stagedoor authorize <code>".into(),
            )),
        }
    }

    /// Exchanges an authorisation code for a token pair and adds the pair. Older pairs stay as spares.
    ///
    /// # Errors
    /// `CredentialsRejected` if the code is not accepted, `Unavailable` if the token endpoint or the store does not
    /// answer.
    pub async fn authorize(&self, http: &dyn HttpClient, base: &str, code: &str) -> Result<(), CrmError> {
        let grant = serde_json::json!({ "grant_type": "authorization_code", "code": code });
        let pair = self.exchange(http, base, grant, self.clock.now()).await.map_err(|refused| match refused {
            Refused::Final => {
                CrmError::CredentialsRejected("the code is not accepted: it lives 20 minutes and works once".into())
            }
            Refused::Unknown => CrmError::Unavailable("the token endpoint does not answer".into()),
        })?;
        let (mut pairs, version) = self.pairs().await?;
        pairs.retain(|known| !known.spent);
        pairs.push(pair);
        self.save(&pairs, version).await
    }

    async fn exchange(
        &self,
        http: &dyn HttpClient,
        base: &str,
        mut grant: serde_json::Value,
        now: Timestamp,
    ) -> Result<TokenPair, Refused> {
        for (key, value) in [
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret),
            ("redirect_uri", &self.redirect_uri),
        ] {
            if let Some(grant) = grant.as_object_mut() {
                grant.insert(key.to_owned(), value.clone().into());
            }
        }
        let url = format!("{}/oauth2/access_token", base.trim_end_matches('/'));
        let request = http::json(::http::Method::POST, &url, None, Some(&grant)).map_err(|_| Refused::Unknown)?;
        let response = http.send(request).await.map_err(|_| Refused::Unknown)?;
        let status = response.status();
        // nginx answers 403 and 429 because of the request rate. They say nothing about the token.
        if status.is_client_error() && !matches!(status.as_u16(), 403 | 429) {
            return Err(Refused::Final);
        }
        if !status.is_success() {
            return Err(Refused::Unknown);
        }
        let granted: Granted = serde_json::from_slice(response.body()).map_err(|_| Refused::Unknown)?;
        let expires_at = now + SignedDuration::from_secs(granted.expires_in.clamp(60, 86_400));
        Ok(TokenPair { access: granted.access_token, refresh: granted.refresh_token, expires_at, spent: false })
    }

    async fn pairs(&self) -> Result<(Vec<TokenPair>, Option<u64>), CrmError> {
        let Some(key_value) = self.store.key_value(CELL).await.map_err(unavailable)? else { return Ok((vec![], None)) };
        let pairs = serde_json::from_str(&key_value.value)
            .map_err(|_| CrmError::CredentialsRejected("the stored tokens are damaged".into()))?;
        Ok((pairs, Some(key_value.version)))
    }

    async fn save(&self, pairs: &[TokenPair], version: Option<u64>) -> Result<(), CrmError> {
        let value = serde_json::to_string(pairs).unwrap_or_default();
        match self.store.compare_and_set(CELL, &value, version).await.map_err(unavailable)? {
            true => Ok(()),
            false => Err(CrmError::Unavailable("another process changed the tokens".into())),
        }
    }
}

fn unavailable(error: stagedoor_ports::PortError) -> CrmError {
    CrmError::Unavailable(error.to_string())
}
