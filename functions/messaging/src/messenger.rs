//! Facebook Messenger. Sources: developers.facebook.com/docs/messenger-platform/reference/webhook-events (messages,
//! messaging_postbacks, messaging_referrals, messaging_optins, message_deliveries, message_reads) and
//! …/discovery/m-me-links. `m.me/<page>?ref=<token>` comes back as `postback.referral.ref` in a new chat and as
//! `referral.ref` in an old one. There is no event for a block. It shows only as a failed send.

use stagedoor_model::Messenger;
use stagedoor_webhook::{Provider, Source};

use crate::meta;

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    meta::page(source, Messenger::Messenger, "page")
}
