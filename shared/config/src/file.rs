//! The shapes of stagedoor.toml. Unknown keys are mistakes.

use std::{collections::BTreeMap, net::SocketAddr};

use schemars::JsonSchema;
use serde::Deserialize;

/// The whole file, for its JSON Schema; it is read section by section, so that one mistake hides no other.
#[derive(Debug, JsonSchema)]
#[allow(dead_code, reason = "the schema is made of it")]
pub struct StagedoorToml {
    hub: HubSection,
    crm: CrmSection,
    identity: Option<IdentitySection>,
    schedule: Option<ScheduleSection>,
    sandbox: Option<SandboxSection>,
    pipeline: Vec<PipelineSection>,
    show: Option<Vec<ShowSection>>,
    source: BTreeMap<String, SourceSection>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HubSection {
    /// Where the local hub listens.
    #[serde(default = "listen")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// ISO 3166-1 alpha-2: where a phone without a country code is dialled.
    pub region: String,
    /// ISO 4217, for sources that name none.
    pub currency: String,
    /// The address under which the CRM reaches this hub, such as https://hub.example.ru.
    pub public_url: Option<String>,
    /// A secret reference. With it the console answers beyond loopback, to those who show it.
    pub console_token: Option<String>,
    /// A secret reference: the key under which identifiers of erased people are hashed. Never change it: who was erased
    /// under another key comes back.
    pub erasure_key: Option<String>,
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrmSection {
    pub kind: CrmKind,
    /// The account's own host, such as https://demo.amocrm.ru.
    pub base_url: String,
    /// A secret reference: a long-lived token. Either this or `oauth`.
    pub token: Option<String>,
    pub oauth: Option<OAuthSection>,
    /// Requests a second for this integration.
    #[serde(default = "seven")]
    pub rate: u32,
    /// Seconds to wait for an answer.
    #[serde(default = "twenty")]
    pub timeout_seconds: u32,
}

fn seven() -> u32 {
    7
}

fn twenty() -> u32 {
    20
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CrmKind {
    Amocrm,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuthSection {
    pub client_id: String,
    /// A secret reference.
    pub client_secret: String,
    pub redirect_uri: String,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentitySection {
    /// A person has at most this many phones.
    pub phones: Option<usize>,
    /// A person has at most this many e-mails.
    pub emails: Option<usize>,
    /// A phone seen with more e-mails than this (or the reverse) belongs to a crowd and joins nobody.
    pub crowd: Option<usize>,
    /// Identifiers that name nobody, such as phone:+74951234567 (the box office's own).
    pub blocked: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSection {
    /// How often sources that can be asked are asked for what no webhook told.
    pub pull_seconds: u32,
}

impl Default for ScheduleSection {
    fn default() -> Self {
        Self { pull_seconds: 300 }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxSection {
    /// Where the amoCRM sandbox listens.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineSection {
    /// Its name in the CRM.
    pub name: String,
    #[serde(default)]
    pub cities: Vec<String>,
    /// Keys of shows.
    #[serde(default)]
    pub shows: Vec<String>,
    /// Our stage to the name of the CRM's: interested, talked, promo_issued, cart, paid, attended, refunded, lost.
    /// A stage that is not named is not pushed.
    pub stages: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowSection {
    pub key: String,
    pub title: String,
    pub city: Option<String>,
    /// RFC 3339.
    pub starts_at: Option<String>,
    /// IANA name.
    pub zone: Option<String>,
    /// Source to the show's ids there.
    #[serde(default)]
    pub known_as: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSection {
    /// website, ticketing or crm: the first part of the webhook's path.
    pub function: String,
    pub provider: String,
    /// Secret references. Any of them opens; two while one is being rotated.
    pub secrets: Vec<String>,
    pub region: Option<String>,
    pub currency: Option<String>,
    /// The key of the show that this source is about, when its deliveries name none.
    pub show: Option<String>,
    /// Deliveries a second that are let in; above it, 429.
    #[serde(default = "rate")]
    pub rate: u32,
    /// What only this provider understands. A text that begins with env:, ssm: or dev: is a secret reference.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub options: Option<serde_json::Value>,
}

fn rate() -> u32 {
    200
}
