//! Campaigns and their pools of promo codes.

use serde::{Deserialize, Serialize};
use stagedoor_model::Timestamp;

use crate::{Localised, ShowKey};

/// A configured promotion with personal links and promo codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
    pub name: String,
    /// The number that tokens carry. It is below 1024.
    pub number: u16,
    /// The show that it is about.
    pub show: Option<ShowKey>,
    /// The sources of messengers, in the order of the buttons on the page.
    pub channels: Vec<String>,
    /// The page of the ticket shop. Links of this campaign lead to no other page.
    pub shop: Option<String>,
    /// The pool of its promo codes.
    pub pool: Option<String>,
    /// The time when the validity of its links ends.
    pub ends_at: Timestamp,
    /// The text of its SMS. It holds `{link}`, and may hold `{name}`.
    pub sms: Option<Localised>,
    /// The title of its page.
    pub title: Localised,
    /// The text of its page.
    pub words: Localised,
}

/// Promo codes that the shop knows in advance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub name: String,
    /// The codes, in the order in which they are given out.
    pub codes: Vec<String>,
    /// True if everybody gets the first code.
    pub shared: bool,
    /// The time when the codes expire, if they do.
    pub expires_at: Option<Timestamp>,
}

/// The evidence that attributes a sale to a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A promo code on the order.
    Code,
    /// A visit to a tracked link before the order.
    Link,
    /// A recent click in a letter.
    Click,
    /// A recent opening of a letter.
    View,
}

/// The windows of attribution, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// How long a click in a letter counts for a later order.
    pub click: i64,
    /// How long the opening of a letter counts for a later order.
    pub view: i64,
    /// How long after the start of a mailing purchases count as its effect. They are compared with those of the
    /// hold-out.
    pub effect: i64,
}

impl Default for Windows {
    fn default() -> Self {
        Self { click: 7 * 86_400, view: 86_400, effect: 7 * 86_400 }
    }
}
