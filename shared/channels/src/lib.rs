//! Messengers, SMS and letters, outward: one file each. What each allows when an answer is lost stands in its file and in
//! docs/outreach.md.

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

/// Through which SMS go.
pub const SMS: &str = "sms";
/// Through which letters go.
pub const EMAIL: &str = "email";

type Build = fn(&Source, Caller) -> Result<Option<Arc<dyn Channel>>, String>;

/// Every messenger, one line each.
const CHANNELS: &[(&str, Build)] = &[
    ("telegram", telegram::build),
    ("viber", viber::build),
    ("vk", vk::build),
    ("messenger", messenger::build),
    ("instagram", messenger::build),
    ("whatsapp", whatsapp::build),
];

/// What messages can go through, by source. A source without a token only listens.
///
/// # Errors
/// A sentence that names the source and what is wrong.
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

/// A rate that is written down in a constant.
fn rate(per_second: u32) -> NonZeroU32 {
    NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN)
}

/// A label of a button: one that is too long is shown with a mark. `check-config` refuses such labels.
fn label(text: &str, most: usize) -> String {
    TextLimit::utf16(most).shortened(text)
}

/// The text with an address behind it. `outreach` has left room for it.
fn with_address(text: &str, between: char, url: &str) -> String {
    format!("{text}{between}{url}")
}
