//! Clients of mailing lists, one file for each provider. Each file states how it treats people who left.

mod call;
mod listmonk;
mod mailchimp;
mod sendpulse;
mod unisender;

use std::{collections::BTreeMap, sync::Arc};

use stagedoor_config::{Config, MailerConfig, MailerProvider};
use stagedoor_ports::MailingList;

use crate::call::Caller;

/// Creates the clients of all mailing accounts, by their name in the config.
///
/// # Errors
/// A message that names the account and its fault.
pub fn mailers(config: &Config) -> Result<BTreeMap<String, Arc<dyn MailingList>>, String> {
    let built = config.mailers.iter().map(|(name, mailer)| {
        let list = mailer_of(mailer).map_err(|error| format!("mailer.{name}: {error}"))?;
        Ok((name.clone(), list))
    });
    built.collect()
}

/// Creates the client of one mailing account.
///
/// # Errors
/// If no HTTP client can be built.
pub fn mailer_of(mailer: &MailerConfig) -> Result<Arc<dyn MailingList>, String> {
    let caller = Caller::new(mailer.rate, mailer.rest)?;
    Ok(match mailer.provider {
        MailerProvider::Unisender => Arc::new(unisender::Unisender::new(mailer, caller)),
        MailerProvider::Sendpulse => Arc::new(sendpulse::Sendpulse::new(mailer, caller)),
        MailerProvider::Mailchimp => Arc::new(mailchimp::Mailchimp::new(mailer, caller)),
        MailerProvider::Listmonk => Arc::new(listmonk::Listmonk::new(mailer, caller)),
    })
}
