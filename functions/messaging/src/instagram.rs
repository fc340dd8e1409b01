//! Instagram messaging. Source: developers.facebook.com/docs/messenger-platform/instagram. The envelope has `object:
//! "instagram"`. `ig.me/m/<username>?ref=<token>` comes back as `referral.ref`. Reads name the message and have no
//! watermark. An unsent message arrives as `is_deleted`.

use stagedoor_model::Messenger;
use stagedoor_webhook::{Provider, Source};

use crate::meta;

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    meta::page(source, Messenger::Instagram, "instagram")
}
