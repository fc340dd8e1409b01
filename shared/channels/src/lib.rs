//! Senders for messengers, SMS and e-mail, one file each. Each file and docs/outreach.md state what the sender may do
//! after a lost answer.

mod alarm_hook;
mod button;
mod call;
mod max;
mod messenger;
mod signed;
mod sms_http;
mod smsc;
mod smtp;
mod telegram;
mod viber;
mod vk;
mod whatsapp;

use std::{collections::BTreeMap, sync::Arc};

use stagedoor_config::{Config, SmsProvider};
use stagedoor_model::{Messenger, SourceName};
use stagedoor_ports::Channel;
use stagedoor_webhook::Source;

pub use crate::alarm_hook::AlarmHook;
use crate::call::{Caller, option};

/// Name of the source that sends SMS.
pub const SMS: &str = "sms";
/// Name of the source that sends e-mails.
pub const EMAIL: &str = "email";

type Build = fn(&Source, Caller) -> Result<Option<Arc<dyn Channel>>, String>;

/// The constructor of a messenger's channel.
fn build_of(messenger: Messenger) -> Build {
    match messenger {
        Messenger::Telegram => telegram::build,
        Messenger::Viber => viber::build,
        Messenger::Vk => vk::build,
        Messenger::Messenger | Messenger::Instagram => messenger::build,
        Messenger::Whatsapp => whatsapp::build,
        Messenger::Max => max::build,
    }
}

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
        let Some(messenger) = Messenger::named(&source.provider) else { continue };
        // Some hosts have a certificate of an authority that no ordinary machine trusts. Only this source trusts it.
        let own = option(&source, "ca_file").map_or_else(|| Ok(caller.clone()), |file| Caller::trusting(&file));
        let built = own
            .and_then(|caller| build_of(messenger)(&source, caller))
            .map_err(|error| format!("{}: {error}", source.name))?;
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
