//! `[hub]`: addresses, keys, and what an address that strangers can reach asks for.

use std::net::{IpAddr, SocketAddr};

use stagedoor_model::{Region, breakage};
use stagedoor_webhook::Secret;
use toml::de::DeTable;

use crate::{
    file_hub::HubSection,
    read::{Reader, Reading, spot},
};

/// Addresses of the command line, which stand above those of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listeners {
    pub hub: Option<SocketAddr>,
    pub console: Option<SocketAddr>,
}

pub(crate) struct HubRead {
    pub section: HubSection,
    pub listeners: Listeners,
    pub region: Region,
    pub currency: String,
    pub token: Option<Secret>,
    pub erasure_key: Option<Secret>,
    pub link_key: Option<Secret>,
}

/// True if only this machine can reach the hub of this file: a hub for development, which takes `dev:` secrets.
pub fn is_development(text: &str, listeners: Listeners) -> bool {
    let (root, _) = DeTable::parse_recoverable(text);
    let hub = root.get_ref().get("hub");
    let told = |key: &str| hub.and_then(|hub| hub.get_ref().get(key)?.get_ref().as_str());
    // What cannot be read is a mistake of its own.
    let written = |key: &str| told(key).and_then(|text| text.parse::<SocketAddr>().ok());
    let addresses = [listeners.hub.or_else(|| written("listen")), listeners.console.or_else(|| written("console"))];
    addresses.into_iter().flatten().all(|address| address.ip().is_loopback())
        && told("public_url").is_none_or(|url| breakage::is_on("dev-secrets-behind-proxy") || is_private(url))
}

/// True for a URL that only this machine can reach.
fn is_private(url: &str) -> bool {
    let Ok(url) = url.parse::<url::Url>() else { return true };
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        // RFC 2606 and RFC 6761: these names lead to this machine, or nowhere.
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost") || name.ends_with(".invalid")
        }
        None => true,
    }
}

impl Reader<'_> {
    pub(crate) fn hub(&mut self, root: &DeTable<'_>) -> Option<HubRead> {
        let value = self.required(root, "hub")?;
        let section: HubSection = self.read(value, "hub")?;
        let region = self.region(&section.region, spot(value, "region"), "hub.region");
        let currency = self.currency(&section.currency, spot(value, "currency"), "hub.currency");
        if let Some(url) = &section.public_url {
            self.url(url, spot(value, "public_url"), "hub.public_url");
        }
        let reference = section.console_token.clone().filter(|_| self.reading.has_console());
        let token = reference.and_then(|text| self.secret(&text, spot(value, "console_token"), "hub.console_token"));
        let reference = section.erasure_key.clone().filter(|_| self.reading.crm());
        let erasure_key = reference.and_then(|text| self.secret(&text, spot(value, "erasure_key"), "hub.erasure_key"));
        let reference = section.link_key.clone().filter(|_| self.reading.links());
        let link_key = reference.and_then(|text| self.secret(&text, spot(value, "link_key"), "hub.link_key"));
        let listeners = match self.reading {
            Reading::OneMachine(listeners) => listeners,
            _ => Listeners::default(),
        };
        if self.reading.has_console()
            && section.console_token.is_none()
            && let Some(why) = needs_token(&section, listeners)
        {
            let what = format!(
                "is missing: {why}. Make one with `openssl rand -hex 32`, put it into the environment, and write \
                 console_token = \"env:STAGEDOOR_CONSOLE_TOKEN\""
            );
            self.ledger.note(value.span(), "hub.console_token", what);
        }
        Some(HubRead { section, listeners, region: region?, currency: currency?, token, erasure_key, link_key })
    }
}

/// Why a console of these addresses may not answer without a token.
fn needs_token(section: &HubSection, listeners: Listeners) -> Option<&'static str> {
    let console = listeners.console.unwrap_or(section.console);
    if !console.ip().is_loopback() {
        return Some("the console listens on another address than loopback");
    }
    // A proxy on this machine, which a public address needs, reaches whatever listens on loopback.
    let public = section.public_url.as_deref().is_some_and(|url| !is_private(url));
    (public && !breakage::is_on("console-without-token")).then_some("public_url is an address that strangers can reach")
}
