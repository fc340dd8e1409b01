//! The config, checked and with its secrets.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, time::Duration};

use stagedoor_engine::{Audience, Catalog, Guards};
use stagedoor_model::{Region, SECOND_CRM, SourceName, breakage};
use stagedoor_texts::Language;
use stagedoor_webhook::{Secret, Source};

use crate::{AlarmConfig, Configured, CrmKind, Encryption, MailerProvider, Retention, SmsProvider, sms_length};

/// The hub's config, checked and with its secrets.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address that receives webhooks.
    pub listen: SocketAddr,
    /// Address of the console.
    pub console: SocketAddr,
    /// Networks whose X-Forwarded-For header is trusted.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Region of phones that have no country code.
    pub region: Region,
    /// Language of texts for managers, if the config names one. `catalog.language` has the default.
    pub language: Option<Language>,
    /// URL under which the CRM reaches this hub, without a slash at the end.
    pub public_url: Option<String>,
    pub console_token: Option<Secret>,
    pub erasure_key: Option<Secret>,
    pub link_key: Option<Secret>,
    pub sms: Option<SmsConfig>,
    pub smtp: Option<SmtpConfig>,
    /// Accounts with mailing lists, by name.
    pub mailers: BTreeMap<String, MailerConfig>,
    pub crm: CrmConfig,
    /// A second CRM that gets the same people.
    pub second_crm: Option<CrmConfig>,
    pub guards: Guards,
    pub catalog: Catalog,
    pub sources: Vec<Configured>,
    /// Time between two polls of the shops.
    pub pull_every: Duration,
    pub retention: Retention,
    pub alarms: AlarmConfig,
    pub sandbox: Option<SocketAddr>,
    pub second_sandbox: Option<SocketAddr>,
    pub messengers: Option<SocketAddr>,
    pub post: Option<SocketAddr>,
}

/// The CRM's connection, checked and with its credentials.
#[derive(Debug, Clone)]
pub struct CrmConfig {
    pub kind: CrmKind,
    pub base_url: String,
    pub credentials: Credentials,
    pub rate: NonZeroU32,
    pub timeout: Duration,
    /// How long a call without an answer may still take effect in the CRM.
    pub late_for: jiff::SignedDuration,
    /// Currency of the account's prices, as ISO 4217 code.
    pub currency: String,
    pub tags: bool,
    /// Time between two polls of managers' changes, for a CRM without webhooks.
    pub poll: Duration,
    /// The service of invoice lines.
    pub service: String,
    pub invoicing: Option<stagedoor_engine::Invoicing>,
    /// The user or group that owns new records, if the config names one.
    pub owner: Option<String>,
}

/// The gateway that sends SMS.
#[derive(Debug, Clone)]
pub struct SmsConfig {
    pub provider: SmsProvider,
    pub api: String,
    pub login: String,
    pub secret: Secret,
    pub sender: Option<String>,
    pub rate: NonZeroU32,
}

/// The relay that sends e-mails.
#[derive(Debug, Clone)]
pub struct SmtpConfig {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    pub login: Option<String>,
    pub secret: Secret,
    /// Sender, with or without a name: `Вишнёвый сад <tour@example.ru>`.
    pub from: String,
    pub reply_to: Option<String>,
    /// Name and value of a header that identifies the mailing in the relay's reports. The value holds `{mailing}`.
    pub tag: Option<(String, String)>,
    pub rate: NonZeroU32,
}

/// An account with mailing lists.
#[derive(Debug, Clone)]
pub struct MailerConfig {
    pub provider: MailerProvider,
    pub secret: Secret,
    pub login: Option<String>,
    pub api: Option<String>,
    pub rate: NonZeroU32,
    /// Pause of the account after a failure.
    pub rest: Duration,
}

/// Credentials of a CRM.
#[derive(Debug, Clone)]
pub enum Credentials {
    LongLived(Secret),
    OAuth {
        client_id: String,
        client_secret: Secret,
        redirect_uri: String,
    },
    /// Access key of a Vtiger user, and the number of its sessions.
    AccessKey {
        user: String,
        key: Secret,
        sessions: NonZeroU32,
    },
}

impl Config {
    /// The sources of one receiving function.
    pub fn sources_of(&self, function: &str) -> Vec<Source> {
        self.sources.iter().filter(|one| one.function == function).map(|one| one.source.clone()).collect()
    }

    /// The source under which changes of the first CRM are kept.
    ///
    /// # Errors
    /// Never in practice: only if the default name is not valid.
    pub fn first_crm_source(&self) -> Result<SourceName, &'static str> {
        let is_first = |one: &&Configured| {
            let is_second = one.source.name.as_str() == SECOND_CRM && self.second_crm.is_some();
            one.function == "crm" && (!is_second || breakage::is_on("second-crms-source-is-the-firsts"))
        };
        let named = self.sources.iter().find(is_first).map(|one| one.source.name.clone());
        named.map_or_else(|| SourceName::new("crm"), Ok)
    }

    /// What has expired at `now`. Each sentence has a place and a remedy.
    pub fn over(&self, now: stagedoor_model::Timestamp) -> Vec<String> {
        let pools = self.catalog.pools.values().filter_map(|pool| Some((&pool.name, pool.expires_at?)));
        let over = pools.filter(|(_, end)| *end <= now && !breakage::is_on("useless-values-pass"));
        over.map(|(name, end)| {
            format!("promo.{name}: expires_at {end} is over, so no code is given; move it or remove it")
        })
        .collect()
    }

    /// Settings that work but may not be meant. Each sentence has a place and a remedy.
    pub fn notices(&self) -> Vec<String> {
        let asks = |audience: Audience| self.catalog.mailings.iter().any(|one| one.to == audience);
        let (confirms, asks_back) = (asks(Audience::Unconfirmed), asks(Audience::Doubted));
        let is_public = |source: &Source| source.options.get("auth").and_then(|auth| auth.as_str()) == Some("browser");
        let forms = self.sources.iter().filter(|one| one.function == "website" && is_public(&one.source));
        let notices = forms.flat_map(|one| {
            let place = format!("source.{}", one.source.name);
            let first = (!confirms).then(|| {
                format!(
                    "{place}: anybody can send this form, so its consents count once they are confirmed, and nothing asks \
                     for it; add [mailing.confirm-address] with purpose = \"confirm\" (docs/consent.md)"
                )
            });
            let second = (!asks_back).then(|| {
                format!(
                    "{place}: anybody can send this form, so its withdrawals are asked back, and nothing asks; add \
                     [mailing.confirm-withdrawal] with purpose = \"confirm_withdrawal\" (docs/consent.md)"
                )
            });
            first.into_iter().chain(second).filter(|_| !breakage::is_on("unconfirmable-form-unsaid"))
        });
        let hears_sms = |one: &Configured| ["smsc", "twilio"].contains(&one.source.provider.as_str());
        let hears_sms = self.catalog.senders.contains("sms") && self.sources.iter().any(hears_sms);
        notices.chain(sms_length::notices(&self.catalog, hears_sms)).collect()
    }
}
