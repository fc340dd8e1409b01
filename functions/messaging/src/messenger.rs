//! Facebook Messenger. Sources: developers.facebook.com/docs/messenger-platform/reference/webhook-events (messages,
//! messaging_postbacks, messaging_referrals, messaging_optins, message_deliveries, message_reads) and …/discovery/m-me-links:
//! `m.me/<page>?ref=<token>` comes back as `postback.referral.ref` of a new chat and `referral.ref` of an old one. There is no
//! event for a block: it shows as a failing send.

use serde::Deserialize;
use stagedoor_model::{Event, Kind};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery,
};

use crate::meta::{self, Thread};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "outreach and the page of links read them")]
struct Options {
    /// The text that was typed as "Verify token" in the app's dashboard. It guards the handshake only.
    verify_token: String,
    /// The page's name, as in m.me/<name>.
    name: String,
    /// The page's id; without it updates of any page of the app are taken.
    page: Option<String>,
    /// The page's access token; a secret reference.
    token: Option<String>,
    /// Another server than graph.facebook.com.
    api: Option<String>,
}

struct Messenger {
    source: Source,
    options: Options,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    if options.verify_token.is_empty() || options.name.is_empty() {
        return Err("options.verify_token and options.name (as in m.me/<name>) are needed".into());
    }
    Ok(Box::new(Messenger { source: source.clone(), options }))
}

impl Provider for Messenger {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        meta::handshake(delivery, &self.options.verify_token)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        meta::verify(delivery, &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let thread = Thread { source: &self.source, kind: Kind::Messenger, own: self.options.page.as_deref() };
        thread.parse(delivery, "page")
    }
}
