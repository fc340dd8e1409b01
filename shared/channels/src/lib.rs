//! Senders for messengers, SMS and e-mail, one file each. Each file and docs/outreach.md state what the sender may do
//! after a lost answer.

mod alarm_hook;
mod call;
mod messenger;
mod signed;
mod sms_http;
mod smsc;
mod smtp;
mod telegram;
mod viber;
mod vk;
mod whatsapp;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use stagedoor_config::{Config, SmsProvider};
use stagedoor_model::{SourceName, TextLimit};
use stagedoor_ports::Channel;
use stagedoor_webhook::Source;

pub use crate::alarm_hook::AlarmHook;
use crate::call::Caller;

/// Name of the source that sends SMS.
pub const SMS: &str = "sms";
/// Name of the source that sends e-mails.
pub const EMAIL: &str = "email";

type Build = fn(&Source, Caller) -> Result<Option<Arc<dyn Channel>>, String>;

/// Constructors of all messengers, by provider.
const CHANNELS: &[(&str, Build)] = &[
    ("telegram", telegram::build),
    ("viber", viber::build),
    ("vk", vk::build),
    ("messenger", messenger::build),
    ("instagram", messenger::build),
    ("whatsapp", whatsapp::build),
];

/// Creates the channels that can send, by source. A source without a token only receives.
///
/// # Errors
/// A message that names the source and its fault.
pub fn channels(config: &Config) -> Result<BTreeMap<SourceName, Arc<dyn Channel>>, String> {
    let mut channels = BTreeMap::new();
    if let Some(smtp) = &config.smtp {
        channels.insert(SourceName::new(EMAIL)?, Arc::new(smtp::Smtp::new(smtp)?) as Arc<dyn Channel>);
    }
    if config.sms.is_none() && config.sources_of("messaging").is_empty() {
        return Ok(channels);
    }
    let caller = Caller::new()?;
    for source in config.sources_of("messaging") {
        let Some((_, build)) = CHANNELS.iter().find(|(provider, _)| *provider == source.provider) else { continue };
        let built = build(&source, caller.clone()).map_err(|error| format!("{}: {error}", source.name))?;
        channels.extend(built.map(|channel| (source.name.clone(), channel)));
    }
    if let Some(sms) = &config.sms {
        let channel: Arc<dyn Channel> = match sms.provider {
            SmsProvider::Smsc => Arc::new(smsc::Smsc::new(sms, caller)),
            SmsProvider::Http => Arc::new(sms_http::SmsHttp::new(sms, caller)),
        };
        channels.insert(SourceName::new(SMS)?, channel);
    }
    Ok(channels)
}

/// The rate of a constant, in messages a second.
fn rate(per_second: u32) -> NonZeroU32 {
    NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN)
}

/// A button's label, shortened with a mark if it exceeds `most` UTF-16 units. `check-config` refuses such labels.
fn label(text: &str, most: usize) -> String {
    TextLimit::utf16(most).shortened(text)
}

/// The text followed by an address. `outreach` has left room for it.
fn with_address(text: &str, between: char, url: &str) -> String {
    format!("{text}{between}{url}")
}
