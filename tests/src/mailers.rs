//! Every provider of mailing lists against its stand-in.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use stagedoor_config::{MailerConfig, MailerProvider};
use stagedoor_ports::MailingList;
use stagedoor_sandbox::{Lists, lists::KEY};
use stagedoor_webhook::Secret;
use tokio::{net::TcpListener, task::JoinHandle};

pub const PROVIDERS: [MailerProvider; 4] =
    [MailerProvider::Unisender, MailerProvider::Sendpulse, MailerProvider::Mailchimp, MailerProvider::Listmonk];

/// A provider's stand-in and the hub's client for it.
pub struct Mailer {
    pub lists: Lists,
    pub ours: Arc<dyn MailingList>,
    serving: JoinHandle<()>,
}

impl Drop for Mailer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Mailer {
    pub async fn start(provider: MailerProvider) -> Self {
        Self::with_key(provider, KEY, Duration::ZERO).await
    }

    /// A mailer whose client stays below the provider's rate.
    pub async fn paced(provider: MailerProvider) -> Self {
        let rate = match provider {
            // 300 a minute.
            MailerProvider::Unisender => 5,
            MailerProvider::Sendpulse => 9,
            _ => 2_000,
        };
        Self::with(provider, KEY, Duration::ZERO, rate).await
    }

    pub async fn with_key(provider: MailerProvider, key: &str, rest: Duration) -> Self {
        let rate = if provider == MailerProvider::Sendpulse { 9 } else { 2_000 };
        Self::with(provider, key, rest, rate).await
    }

    async fn with(provider: MailerProvider, key: &str, rest: Duration, rate: u32) -> Self {
        let lists = Lists::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let api = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn({
            let lists = lists.clone();
            async move { _ = lists.serve(listener).await }
        });
        let rate = NonZeroU32::new(rate).expect("a rate");
        let config = MailerConfig {
            provider,
            secret: Secret::new(key),
            login: Some("stagedoor".into()),
            api: Some(api),
            rate,
            rest,
        };
        Self { lists, ours: stagedoor_lists::mailer_of(&config).expect("a client"), serving }
    }
}
