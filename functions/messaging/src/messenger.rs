//! Facebook Messenger. Sources: developers.facebook.com/docs/messenger-platform/reference/webhook-events (messages,
//! messaging_postbacks, messaging_referrals, messaging_optins, message_deliveries, message_reads) and …/discovery/m-me-links:
//! `m.me/<page>?ref=<token>` comes back as `postback.referral.ref` of a new chat and `referral.ref` of an old one. There is no
//! event for a block: it shows as a failing send.

use stagedoor_model::Kind;
use stagedoor_webhook::{Provider, Source};

use crate::meta;

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    meta::page(source, Kind::Messenger, "page")
}
