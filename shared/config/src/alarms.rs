//! `[alarms]`: which events raise an alarm, and who receives it.

use std::collections::BTreeSet;

use jiff::SignedDuration;
#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::Deserialize;
use stagedoor_model::{Email, Identifier, SourceName, breakage};
use stagedoor_texts::Language;
use stagedoor_webhook::{Secret, is_standard_key};
use toml::de::DeTable;

use crate::{
    Configured,
    reader::{Reader, Value, spot},
    secrets::SECRET,
};

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AlarmsSection {
    /// A secret reference: the address that alarms are posted to as JSON (docs/machine.md).
    pub webhook: Option<String>,
    /// A secret reference: the key that those posts are signed with (Standard Webhooks).
    pub webhook_secret: Option<String>,
    /// Addresses that letters about alarms go to, through [smtp].
    pub email: Vec<String>,
    /// A chat of your team that a bot of the config writes to.
    pub telegram: Option<AlarmChatSection>,
    /// The language of the text; else that of [hub], and both where neither is named.
    pub language: Option<Language>,
    /// Minutes that somebody may wait for the CRM.
    pub waiting_minutes: u32,
    /// Deliveries of one source with a rejected signature, in ten minutes.
    pub rejected: u32,
    /// Hours of one kind (weekdays, weekends, nights) that every source may be silent. Longer ones are compared with what is
    /// usual for the source.
    pub silent_hours: u32,
    /// Names of sources that may be silent for ever.
    pub silent_except: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AlarmChatSection {
    /// The name of a source with provider = "telegram" and a token.
    pub source: String,
    /// The chat's number, such as "-1001234567890" of a group.
    pub chat: String,
}

impl Default for AlarmsSection {
    fn default() -> Self {
        Self {
            webhook: None,
            webhook_secret: None,
            email: vec![],
            telegram: None,
            language: None,
            waiting_minutes: 15,
            rejected: 10,
            silent_hours: 6,
            silent_except: vec![],
        }
    }
}

/// When an alarm starts, and who receives it.
#[derive(Debug, Clone)]
pub struct AlarmConfig {
    /// True if the file has the section.
    pub is_configured: bool,
    /// The address that receives alarms as JSON.
    pub webhook: Option<AlarmWebhook>,
    /// E-mail addresses that receive alarms.
    pub email: Vec<Identifier>,
    /// The bot and the chat that receive alarms.
    pub telegram: Option<(SourceName, Identifier)>,
    /// Language of the text. `None` means both languages.
    pub language: Option<Language>,
    /// How long a person may wait for the CRM.
    pub waiting: SignedDuration,
    /// Number of rejected deliveries of one source in ten minutes.
    pub rejected: u64,
    /// How long a source may be silent.
    pub silent: SignedDuration,
    /// Sources that raise an alarm if they are silent for longer than usual.
    pub heard: BTreeSet<SourceName>,
}

/// The address that receives alarms.
#[derive(Debug, Clone)]
pub struct AlarmWebhook {
    /// The address is a secret, because it is enough to write there.
    pub url: Secret,
    /// Signs the posts.
    pub secret: Option<Secret>,
}

impl Reader<'_> {
    pub(crate) fn alarms(
        &mut self,
        root: &DeTable<'_>,
        sources: &[Configured],
        names: &BTreeSet<String>,
        has_smtp: bool,
    ) -> AlarmConfig {
        let section = self.optional::<AlarmsSection>(root, "alarms").unwrap_or_default();
        let mut config = AlarmConfig {
            is_configured: root.get("alarms").is_some(),
            webhook: None,
            email: vec![],
            telegram: None,
            language: section.language,
            waiting: SignedDuration::from_mins(i64::from(section.waiting_minutes.max(1))),
            rejected: u64::from(section.rejected.max(1)),
            silent: SignedDuration::from_hours(i64::from(section.silent_hours.max(1))),
            heard: sources.iter().map(|one| one.source.name.clone()).collect(),
        };
        let Some(value) = root.get("alarms") else { return config };
        for (key, number) in [
            ("waiting_minutes", section.waiting_minutes),
            ("rejected", section.rejected),
            ("silent_hours", section.silent_hours),
        ] {
            if number == 0 {
                self.alarm_mistake(value, key, "is 0, at least 1 is needed; leave it out to use the default");
            }
        }
        for name in &section.silent_except {
            let known = config.heard.len();
            config.heard.retain(|source| source.as_str() != name);
            if config.heard.len() == known && !names.contains(name) {
                self.alarm_mistake(value, "silent_except", &format!("there is no source {name:?}"));
            }
        }
        // Only the hub on one machine sends alarms itself. On AWS the topic of the template sends them.
        if self.reading.has_console() {
            config.webhook = self.alarm_webhook(&section, value);
            config.email = self.alarm_addresses(&section, value, has_smtp);
            config.telegram = section.telegram.and_then(|chat| self.alarm_chat(&chat, value, sources));
        }
        config
    }

    fn alarm_mistake(&mut self, value: &Value<'_>, key: &str, what: &str) {
        if !breakage::is_on("wrong-alarms-pass") {
            self.errors.note(spot(value, key), format!("alarms.{key}"), what);
        }
    }

    fn alarm_webhook(&mut self, section: &AlarmsSection, value: &Value<'_>) -> Option<AlarmWebhook> {
        let secret = section.webhook_secret.as_ref().and_then(|reference| {
            self.secret_of(reference, spot(value, "webhook_secret"), "alarms.webhook_secret", SECRET)
        });
        if secret.as_ref().is_some_and(|secret| !is_standard_key(&secret.reveal())) {
            let what = "begins with whsec_, and what follows is no base64: copy the whole secret again";
            self.alarm_mistake(value, "webhook_secret", what);
        }
        let Some(reference) = &section.webhook else {
            if section.webhook_secret.is_some() {
                let what = "signs nothing: webhook is missing; write webhook = \"env:STAGEDOOR_ALARM_URL\"";
                self.alarm_mistake(value, "webhook_secret", what);
            }
            return None;
        };
        let url = self.secret(reference, spot(value, "webhook"), "alarms.webhook")?;
        let is_url = |text: &str| {
            text.parse::<url::Url>().is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        };
        if !is_url(&url.reveal()) {
            // The message does not quote the address, which is a secret.
            self.alarm_mistake(value, "webhook", "is no address, expected one such as https://chat.example.ru/hooks/…");
            return None;
        }
        Some(AlarmWebhook { url, secret })
    }

    fn alarm_addresses(&mut self, section: &AlarmsSection, value: &Value<'_>, has_smtp: bool) -> Vec<Identifier> {
        if !section.email.is_empty() && !has_smtp {
            self.alarm_mistake(value, "email", "letters need a relay: add the section [smtp]");
        }
        let mut addresses = Vec::new();
        for text in &section.email {
            match Email::parse(text) {
                Ok(email) => addresses.push(Identifier::email(email)),
                Err(_) => self.alarm_mistake(value, "email", "has a text that is no address, expected duty@example.ru"),
            }
        }
        addresses
    }

    fn alarm_chat(
        &mut self,
        section: &AlarmChatSection,
        value: &Value<'_>,
        sources: &[Configured],
    ) -> Option<(SourceName, Identifier)> {
        let has_token = |one: &Configured| one.source.options.get("token").is_some_and(serde_json::Value::is_string);
        let bot = sources.iter().find(|one| {
            one.source.name.as_str() == section.source && one.source.provider == "telegram" && has_token(one)
        });
        if bot.is_none() {
            let name = &section.source;
            let what = format!(
                "there is no source {name:?} with provider = \"telegram\" and options.token; \
                 docs/providers/telegram.md says how to make one"
            );
            self.alarm_mistake(value, "telegram", &what);
        }
        // A group has a negative number, which names no person.
        let number = section.chat.trim().parse::<i64>().ok().filter(|number| *number != 0);
        let chat = number.and_then(|number| format!("telegram:{number}").parse::<Identifier>().ok());
        if chat.is_none() {
            self.alarm_mistake(value, "telegram", "chat is no number, expected one such as \"-1001234567890\"");
        }
        Some((bot?.source.name.clone(), chat?))
    }
}
