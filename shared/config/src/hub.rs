//! `[hub]`: addresses and keys, and what an address that strangers can reach requires.

use crate::Listeners;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use stagedoor_model::{Region, breakage};
use stagedoor_webhook::Secret;
use toml::de::DeTable;

use crate::{
    Configured,
    reader::{Reader, Reading, spot},
    schema_hub::HubSection,
    secrets::{KEY, SECRET},
};

pub(crate) struct HubRead {
    pub section: HubSection,
    pub listeners: Listeners,
    pub trusted_proxies: Vec<IpNet>,
    pub region: Region,
    pub currency: String,
    pub token: Option<Secret>,
    pub erasure_key: Option<Secret>,
    pub link_key: Option<Secret>,
}

/// True if only this machine can reach the hub of this file. Such a hub is for development and accepts `dev:` secrets.
pub fn is_development(text: &str, listeners: Listeners) -> bool {
    let (root, _) = DeTable::parse_recoverable(text);
    let hub = root.get_ref().get("hub");
    let told = |key: &str| hub.and_then(|hub| hub.get_ref().get(key)?.get_ref().as_str());
    // An unreadable address has an error of its own.
    let written = |key: &str| told(key).and_then(|text| text.parse::<SocketAddr>().ok());
    // A proxy that forwards requests has other machines in front of it.
    let is_behind = hub.and_then(|hub| hub.get_ref().get("trusted_proxies")?.get_ref().as_array());
    if is_behind.is_some_and(|all| !all.is_empty()) && told("public_url").is_none() {
        return breakage::is_on("proxy-is-development");
    }
    let addresses = [listeners.hub.or_else(|| written("listen")), listeners.console.or_else(|| written("console"))];
    addresses.into_iter().flatten().all(|address| address.ip().is_loopback())
        && told("public_url").is_none_or(|url| breakage::is_on("dev-secrets-behind-proxy") || is_private(url))
}

/// True for a network that nobody owns alone: wider than 10.0.0.0/8, or than the private addresses of IPv6 (fc00::/7).
fn is_too_wide(net: &IpNet) -> bool {
    net.prefix_len() < if matches!(net, IpNet::V4(_)) { 8 } else { 7 }
}

/// True for a URL that only this machine can reach.
fn is_private(url: &str) -> bool {
    let Ok(url) = url.parse::<url::Url>() else { return true };
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        // RFC 2606 and RFC 6761: these names lead to this machine or nowhere.
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
        let mut section: HubSection = self.read(value, "hub")?;
        let region = self.region(&section.region, spot(value, "region"), "hub.region");
        let currency = self.currency(&section.currency, spot(value, "currency"), "hub.currency");
        if let Some(url) = &section.public_url {
            self.public_url(url, spot(value, "public_url"), "hub.public_url");
        }
        if let Reading::OneMachine(Listeners { hub: Some(listen), .. }) = self.reading {
            let url = section.public_url.take();
            section.public_url = url.map(|url| moved(&url, section.listen, listen).unwrap_or(url));
        }
        let reference = section.console_token.clone().filter(|_| self.reading.has_console());
        let token =
            reference.and_then(|text| self.secret_of(&text, spot(value, "console_token"), "hub.console_token", SECRET));
        let reference = section.erasure_key.clone().filter(|_| self.reading.crm());
        let erasure_key =
            reference.and_then(|text| self.secret_of(&text, spot(value, "erasure_key"), "hub.erasure_key", KEY));
        let reference = section.link_key.clone().filter(|_| self.reading.links());
        let link_key = reference.and_then(|text| self.secret_of(&text, spot(value, "link_key"), "hub.link_key", KEY));
        let mut trusted_proxies = Vec::new();
        for text in &section.trusted_proxies {
            match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(net) if is_too_wide(&net) && !breakage::is_on("everybody-is-a-proxy") => {
                    let what = format!(
                        "{text:?} are addresses of strangers, too: each of them could say that it is somebody else; name \
                         the proxies alone, such as 127.0.0.1 or 10.0.0.0/8"
                    );
                    self.errors.note(spot(value, "trusted_proxies"), "hub.trusted_proxies", what);
                }
                Ok(net) => trusted_proxies.push(net),
                Err(_) => {
                    let what = format!("{text:?} is no address and no network, such as 127.0.0.1 or 10.0.0.0/8");
                    self.errors.note(spot(value, "trusted_proxies"), "hub.trusted_proxies", what);
                }
            }
        }
        if self.reading.has_console()
            && !trusted_proxies.is_empty()
            && section.public_url.is_none()
            && !breakage::is_on("proxy-is-development")
        {
            let what = "stands there without public_url: write public_url = \"https://...\", under which the proxy is \
                        reached; it decides which secrets are taken and whether the console needs a token";
            self.errors.note(spot(value, "trusted_proxies"), "hub.trusted_proxies", what.to_owned());
        }
        let listeners = match self.reading {
            Reading::OneMachine(listeners) => listeners,
            _ => Listeners::default(),
        };
        let (listen, console) = listeners.of(&section);
        if self.reading.has_console() && listen == console && console.port() != 0 {
            let what = format!(
                "{console} is where webhooks are taken; the console needs another address, such as 127.0.0.1:8090"
            );
            self.errors.note(spot(value, "console"), "hub.console", what);
        }
        if self.reading.has_console()
            && section.console_token.is_none()
            && let Some(why) = needs_token(&section, listeners)
        {
            let what = format!(
                "is missing: {why}. Make one with `openssl rand -hex 32`, put it into the environment, and write \
                 console_token = \"env:STAGEDOOR_CONSOLE_TOKEN\""
            );
            self.errors.note(value.span(), "hub.console_token", what);
        }
        Some(HubRead {
            section,
            listeners,
            trusted_proxies,
            region: region?,
            currency: currency?,
            token,
            erasure_key,
            link_key,
        })
    }
}

impl Reader<'_> {
    /// Checks that each key and token of the hub differs from the others and from every source's secret.
    pub(crate) fn keys_are_their_own(&mut self, root: &DeTable<'_>, hub: Option<&HubRead>, sources: &[Configured]) {
        let (Some(hub), Some(value)) = (hub, root.get("hub")) else { return };
        if !self.reading.checks_secrets() || breakage::is_on("secret-used-twice") {
            return;
        }
        let section = &hub.section;
        let keys = [
            ("console_token", &section.console_token, &hub.token),
            ("erasure_key", &section.erasure_key, &hub.erasure_key),
            ("link_key", &section.link_key, &hub.link_key),
        ];
        let real = |reference: &Option<String>| reference.as_deref().is_some_and(|text| !text.starts_with("dev:"));
        let known: Vec<(&str, &Secret)> = keys
            .iter()
            .filter(|(_, reference, _)| real(reference))
            .filter_map(|(name, _, secret)| Some((*name, secret.as_ref()?)))
            .collect();
        for (at, (name, secret)) in known.iter().enumerate() {
            let other = known.iter().take(at).find(|(_, one)| one == secret).map(|(name, _)| format!("hub.{name}"));
            let source = || sources.iter().find(|one| one.source.secrets.contains(secret));
            let twice = other.or_else(|| source().map(|one| format!("source.{}", one.source.name.as_str())));
            if let Some(place) = twice {
                let what = format!("is the secret of {place} too; make another with `openssl rand -hex 32`");
                self.errors.note(spot(value, name), format!("hub.{name}"), what);
            }
        }
    }
}

/// `public_url` with the address of `to`, if it names the address `from` of the file and the command line moves the hub
/// to `to`. `None` if it names another address, such as a proxy's, or if the system chooses the port.
fn moved(public_url: &str, from: SocketAddr, to: SocketAddr) -> Option<String> {
    let mut url = public_url.parse::<url::Url>().ok()?;
    let is_host = match url.host()? {
        url::Host::Ipv4(ip) => from.ip() == IpAddr::V4(ip),
        url::Host::Ipv6(ip) => from.ip() == IpAddr::V6(ip),
        url::Host::Domain(name) => name == "localhost" && from.ip().is_loopback(),
    };
    if !is_host
        || url.port_or_known_default() != Some(from.port())
        || to.port() == 0
        || breakage::is_on("listen-leaves-public-url")
    {
        return None;
    }
    // "All addresses" is no destination, so the host stays.
    if !to.ip().is_unspecified() && to.ip() != from.ip() {
        url.set_ip_host(to.ip()).ok()?;
    }
    url.set_port(Some(to.port())).ok()?;
    Some(url.to_string())
}

/// Reason why a console at these addresses must ask for a token.
fn needs_token(section: &HubSection, listeners: Listeners) -> Option<&'static str> {
    let (_, console) = listeners.of(section);
    if !console.ip().is_loopback() {
        return Some("the console listens on another address than loopback");
    }
    // A public address needs a proxy, and a proxy on this machine can reach all that listens on loopback.
    let public = section.public_url.as_deref().is_some_and(|url| !is_private(url));
    (public && !breakage::is_on("console-without-token")).then_some("public_url is an address that strangers can reach")
}
