//! Mailing lists, outward: one file a provider. What each does with people who left stands in its file.

mod call;
mod listmonk;
mod mailchimp;
mod sendpulse;
mod unisender;

use std::{collections::BTreeMap, sync::Arc};

use stagedoor_config::{Config, MailerConfig, MailerProvider};
use stagedoor_ports::MailingList;

use crate::call::Caller;

/// Every account with lists, by its name in the config.
///
/// # Errors
/// A sentence that names the account and what is wrong.
pub fn mailers(config: &Config) -> Result<BTreeMap<String, Arc<dyn MailingList>>, String> {
    let built = config.mailers.iter().map(|(name, mailer)| {
        let list = mailer_of(mailer).map_err(|error| format!("mailer.{name}: {error}"))?;
        Ok((name.clone(), list))
    });
    built.collect()
}

/// # Errors
/// When no HTTP client can be made.
pub fn mailer_of(mailer: &MailerConfig) -> Result<Arc<dyn MailingList>, String> {
    let caller = Caller::new(mailer.rate, mailer.rest)?;
    Ok(match mailer.provider {
        MailerProvider::Unisender => Arc::new(unisender::Unisender::new(mailer, caller)),
        MailerProvider::Sendpulse => Arc::new(sendpulse::Sendpulse::new(mailer, caller)),
        MailerProvider::Mailchimp => Arc::new(mailchimp::Mailchimp::new(mailer, caller)),
        MailerProvider::Listmonk => Arc::new(listmonk::Listmonk::new(mailer, caller)),
    })
}
