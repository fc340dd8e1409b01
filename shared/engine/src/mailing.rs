//! The mailings of the config, and what the hub knows of a person's messages.

use crate::ShowNotice;
use jiff::civil::Time;
use serde::{Deserialize, Serialize};
use stagedoor_model::{Channel, Identifier, Timestamp};

use crate::{Localised, ShowKey, segments::Rule};

/// A configured message for an occasion.
#[derive(Debug, Clone, PartialEq)]
pub struct Mailing {
    pub name: String,
    pub to: Audience,
    /// Limits the audience to people for whom this rule is true.
    pub only: Option<Rule>,
    /// True for a service message (a moved show), which needs no consent. Advertising needs one.
    pub is_service: bool,
    /// Channels in the order in which they are tried.
    pub through: Vec<Channel>,
    /// Seconds after which an unread message is followed by one through the next channel. `None`: none follows.
    pub wait: Option<i64>,
    /// Percentage of people who get no message, so that the effect can be measured.
    pub hold_out: u8,
    /// True if the message also goes out in quiet hours.
    pub is_urgent: bool,
    /// The campaign whose links, promo codes and figures the texts use.
    pub campaign: Option<String>,
    /// Texts to compare. At least one.
    pub variants: Vec<Variant>,
}

/// Who gets a mailing.
#[derive(Debug, Clone, PartialEq)]
pub enum Audience {
    /// Each deal for which the rule is true, once. If the rule is about changes of a show: once for each change that
    /// is news.
    Deals(Rule),
    /// Each person in the segment, once.
    Segment(String),
    /// Each address whose consent waits to be confirmed, once.
    Unconfirmed,
    /// Each address for which a stranger may have withdrawn a consent. The message asks its owner.
    Doubted,
}

/// One of several texts of a mailing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variant {
    pub name: String,
    pub subject: Localised,
    /// May hold `{name}`, `{show}`, `{city}`, `{when}`, `{promo}`, `{link}` and `{confirm}`.
    pub text: Localised,
    /// A shorter text for SMS.
    pub sms: Localised,
    /// The label of a button that opens the campaign's shop.
    pub button: Localised,
}

/// How often and when mailings go out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailingLimits {
    /// Hours in which nothing goes out, in the time zone of the show's place.
    pub quiet: Option<(Time, Time)>,
    /// The most advertising messages to one person, and the seconds in which they count.
    pub cap: Option<(usize, i64)>,
}

/// What the mailings sent to a person about one occasion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailingState {
    pub mailing: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<ShowKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    pub began_at: Timestamp,
    /// The chosen variant. `None`: the person is held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marketing: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<MailingStep>,
    /// The change of a show that the messages told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<ShowNotice>,
}

/// One message of a mailing to a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MailingStep {
    pub at: Timestamp,
    pub channel: Channel,
    /// The name of a messenger source, or `email`, or `sms`.
    pub through: String,
    pub to: Identifier,
    /// Id of the decision to send it.
    pub decision: String,
}

impl MailingState {
    /// Joins what two joined people were sent. The earlier start counts, and all messages are kept.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let (mut first, second) = if self.began_at <= other.began_at { (self, other) } else { (other, self) };
        first.variant = first.variant.or(second.variant);
        first.told = first.told.max(second.told);
        first.steps.extend(second.steps);
        first.steps.sort();
        first.steps.dedup();
        first
    }
}
