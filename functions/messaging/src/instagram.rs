//! Instagram messaging. Source: developers.facebook.com/docs/messenger-platform/instagram: the envelope of Instagram with
//! `object: "instagram"`; `ig.me/m/<username>?ref=<token>` comes back as `referral.ref`; reads name the message and have no
//! watermark; an unsent message comes as `is_deleted`.

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
    /// The account's username, as in ig.me/m/<name>.
    name: String,
    /// The account's id; without it updates of any account of the app are taken.
    page: Option<String>,
    /// The access token; a secret reference.
    token: Option<String>,
    /// Another server than graph.facebook.com.
    api: Option<String>,
}

struct Instagram {
    source: Source,
    options: Options,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    if options.verify_token.is_empty() || options.name.is_empty() {
        return Err("options.verify_token and options.name (as in ig.me/m/<name>) are needed".into());
    }
    Ok(Box::new(Instagram { source: source.clone(), options }))
}

impl Provider for Instagram {
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
        let thread = Thread { source: &self.source, kind: Kind::Instagram, own: self.options.page.as_deref() };
        thread.parse(delivery, "instagram")
    }
}
