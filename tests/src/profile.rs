//! What the tests know of a provider: `events/<provider>/source.toml`. Every table of the tests is derived from it.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde::Deserialize;
use stagedoor_testkit::samples::{self, Sample};

/// A provider's description of itself, for the tests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The sample that tests change in all ways. It is accepted as it is.
    pub model: String,
    /// The status of a GET without parameters. 405 unless the provider checks the address by GET.
    #[serde(default = "method_not_allowed")]
    pub get: u16,
    /// Two states of one thing may come within one second and have no number: the content is a part of the event's id.
    #[serde(default)]
    pub is_fine_grained: bool,
    /// A secret of the right shape that signed no sample, where any text would not do.
    #[serde(default)]
    pub other_secret: Option<String>,
    /// Places without which a delivery says something else. With one of them odd, the delivery is kept.
    #[serde(default)]
    pub essential: Vec<String>,
    /// Places of fields that the parser does not know.
    #[serde(default)]
    pub unread: Vec<String>,
    /// Places that say whose a delivery is. With another value there it is rightly nobody's.
    #[serde(default)]
    pub silent: Vec<String>,
    /// Places without which a delivery is rightly nobody's.
    #[serde(default)]
    pub silent_if_empty: Vec<String>,
    pub proof: Proof,
    /// The options of a source whose deliveries the samples are.
    #[serde(default)]
    pub options: serde_json::Map<String, serde_json::Value>,
    /// A change that makes the model's type one that nobody knows. Absent for a provider without types.
    #[serde(default)]
    pub unknown: Option<Unknown>,
    /// Where the model holds a list of independent rows.
    #[serde(default)]
    pub batch: Option<Batch>,
}

/// What proves a delivery.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    pub scheme: Scheme,
    /// `path`, `header <name>`, `json <pointer>` or `form <field>`.
    pub place: String,
    /// Of an HMAC.
    #[serde(default)]
    pub digest: Digest,
    /// Of an HMAC.
    #[serde(default)]
    pub encoding: Encoding,
    /// The text before an HMAC.
    #[serde(default)]
    pub prefix: String,
    /// True if the proof may stand elsewhere too, so that the head alone refuses nothing.
    #[serde(default)]
    pub elsewhere: bool,
    /// Places of the body that a wrong value of is a wrong proof.
    #[serde(default)]
    pub fields: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// The secret itself is shown.
    Shown,
    /// An HMAC over the body.
    Hmac,
    /// Standard Webhooks.
    StandardWebhooks,
    /// `t=<unix>,v1=<hex HMAC-SHA256 over t.body>`.
    Timed,
    /// Twilio's HMAC-SHA1 over the URL and the sorted fields.
    UrlAndFields,
    /// An HMAC over fields of the body, which the tests do not make again.
    Fields,
    /// ECDSA over a timestamp and the body.
    Ecdsa,
    /// MD5 of the body with the secret in its place.
    Md5,
    /// The signature of an SNS message.
    Sns,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    Sha1,
    #[default]
    Sha256,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// Either a text of the body becomes another, or a header gets another value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unknown {
    #[serde(default)]
    pub header: Option<String>,
    #[serde(default)]
    pub from: Option<String>,
    pub to: String,
}

/// A row is made strange by another name of one of its fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// A JSON pointer to the list.
    pub list: String,
    pub field: String,
    pub becomes: String,
}

fn method_not_allowed() -> u16 {
    405
}

impl Proof {
    /// The header that holds the proof.
    pub fn header(&self) -> Option<&str> {
        self.place.strip_prefix("header ")
    }

    /// True if the proof stands in the body: a body that cannot be read shows none.
    pub fn is_in_body(&self) -> bool {
        self.place.starts_with("json ") || self.place.starts_with("form ")
    }

    /// True if another byte in the body makes the proof wrong.
    pub fn binds_bytes(&self) -> bool {
        !matches!(self.scheme, Scheme::Shown | Scheme::Fields | Scheme::Sns)
    }

    /// True if the proof is of a time, and is refused later.
    pub fn expires(&self) -> bool {
        matches!(self.scheme, Scheme::StandardWebhooks | Scheme::Timed)
    }
}

/// The names of all providers of webhooks, in order.
pub fn names() -> Vec<&'static str> {
    let mut all: Vec<&str> = stagedoor::functions::providers().map(|(name, _)| name).collect();
    all.sort_unstable();
    all
}

/// The function that receives a provider's deliveries.
pub fn function_of(provider: &str) -> &'static str {
    let found = stagedoor::functions::providers().find(|(name, _)| *name == provider);
    found.map(|(_, function)| function).unwrap_or_else(|| panic!("no function has the provider {provider}"))
}

/// The description of a provider.
pub fn of(provider: &str) -> Arc<Profile> {
    static ALL: LazyLock<BTreeMap<&str, Arc<Profile>>> =
        LazyLock::new(|| names().into_iter().map(|name| (name, Arc::new(read(name)))).collect());
    ALL.get(provider).cloned().unwrap_or_else(|| panic!("no function has the provider {provider}"))
}

fn read(provider: &str) -> Profile {
    let path = samples::folder().join(provider).join("source.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The model of each provider.
pub fn models() -> Vec<Sample> {
    let all = samples::all().expect("events/ can be read");
    let find = |name: &str| {
        let model = of(name).model.clone();
        let found = all.iter().find(|one| one.provider == name && one.case == model);
        found.cloned().unwrap_or_else(|| panic!("events/{name} has no sample {model}"))
    };
    names().into_iter().map(find).collect()
}

/// A JSON pointer without the numbers of rows: `entry/*/id`.
pub fn general(pointer: &str) -> String {
    let part =
        |part: &str| if part.bytes().all(|byte| byte.is_ascii_digit()) { "*".to_owned() } else { part.to_owned() };
    pointer.split('/').skip(1).map(part).collect::<Vec<_>>().join("/")
}

/// True if one of the patterns covers the place. `**` stands for any number of parts, `*` for the number of a row.
pub fn covers(patterns: &[String], place: &str) -> bool {
    fn fits(pattern: &[&str], place: &[&str]) -> bool {
        match (pattern.split_first(), place.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) if fits(rest, place) => true,
            (Some((&"**", _)), Some((_, deeper))) => fits(pattern, deeper),
            (Some((one, rest)), Some((part, deeper))) => one == part && fits(rest, deeper),
            _ => false,
        }
    }
    let place: Vec<&str> = place.split('/').collect();
    patterns.iter().any(|pattern| fits(&pattern.split('/').collect::<Vec<_>>(), &place))
}
