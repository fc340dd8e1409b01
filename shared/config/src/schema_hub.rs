//! The shape of `[hub]`.

use std::net::SocketAddr;

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::Deserialize;
use stagedoor_texts::Language;

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HubSection {
    /// Where the hub on one machine takes webhooks. Nothing personal answers here.
    #[serde(default = "listen")]
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub listen: SocketAddr,
    /// Where the console of the hub on one machine listens. It shows personal data.
    #[serde(default = "console")]
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub console: SocketAddr,
    /// Addresses or networks of reverse proxies in front of the hub, such as 127.0.0.1 or 10.0.0.0/8. Their X-Forwarded-For names
    /// the client; nobody else's does.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// ISO 3166-1 alpha-2: where a phone without a country code is dialled.
    pub region: String,
    /// ISO 4217, for sources that name none.
    pub currency: String,
    /// The house's IANA time zone, such as Europe/Moscow, in which managers read the times of a conversation; else UTC.
    pub zone: Option<String>,
    /// The language of all that managers read: CRM, console, commands. Else English, and the console in the browser's.
    pub language: Option<Language>,
    /// The address under which the CRM reaches this hub, such as https://hub.example.ru.
    pub public_url: Option<String>,
    /// A secret reference: the console's token. Needed when `public_url` or `console` is another address than loopback.
    pub console_token: Option<String>,
    /// A secret reference: the key under which identifiers of erased people are hashed. Never change it: who was erased
    /// under another key comes back.
    pub erasure_key: Option<String>,
    /// A secret reference: the key that tracked links and promo codes are drawn with. With another key, links that are out
    /// lead nowhere.
    pub link_key: Option<String>,
    /// Further words by which people say in chats that they want no more advertising, beside those that the hub knows.
    #[serde(default)]
    pub stop_words: Vec<String>,
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn console() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8090))
}
