//! What becomes of letters and SMS, and of somebody's place on a mailing list.

use std::collections::BTreeSet;

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Channel, Identifier, Timestamp};

/// The latest state of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MailMessageState {
    /// The provider took it.
    Sent,
    /// It will be tried again.
    Deferred,
    Delivered,
    Opened,
    Clicked,
    /// Not now: a full mailbox, a server that is down, a filter.
    SoftBounced,
    /// The address does not exist.
    HardBounced,
    /// The provider did not send it: it holds the address back for an earlier reason.
    Rejected,
    /// No report: an operator lets letters go to the address again.
    Reopened,
    /// No report: the relay's answer was lost, and nobody can know whether it took the letter.
    Unanswered,
}

/// What a provider says of one letter or SMS to one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct LetterReported {
    /// An e-mail, or a phone.
    pub to: Identifier,
    pub state: MailMessageState,
    /// Not the person but a privacy proxy, a link scanner or a robot did it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_machine: bool,
    /// The provider's id of the letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<String>,
    /// The provider's id of the campaign, or the tag that we gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// What was clicked, without its query: that may hold anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The provider's code of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Somebody is on a provider's list, or no longer. It says nothing of consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct MembershipReported {
    pub who: Identifier,
    pub lists: BTreeSet<String>,
    pub member: bool,
}

/// Somebody has another address now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct AddressChanged {
    pub old: Identifier,
    pub new: Identifier,
}

/// Clicks of one letter that are remembered.
const CLICKS: usize = 8;
/// A click so soon after the delivery is a scanner's that follows every link before it lets the letter through.
const SCANNER_SECONDS: i64 = 2;

/// What is known of one letter to one address: what its reports join into, in any order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MailMessage {
    pub to: Identifier,
    pub campaign: Option<String>,
    /// The provider's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// The first time that a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_opened_at: Option<Timestamp>,
    /// The first time that a privacy proxy did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_opened_at: Option<Timestamp>,
    /// The earliest clicks; a scanner's may be among them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub clicks: BTreeSet<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_bounced_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_bounced_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_at: Option<Timestamp>,
    /// When an operator let letters go to the address again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened_at: Option<Timestamp>,
    /// When the relay's answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered_at: Option<Timestamp>,
}

impl MailMessage {
    /// What one report tells of a letter.
    pub fn of(reported: &LetterReported, at: Timestamp) -> Self {
        let mut letter = Self {
            to: reported.to.clone(),
            campaign: reported.campaign.clone(),
            id: reported.letter.clone(),
            sent_at: None,
            delivered_at: None,
            opened_at: None,
            last_opened_at: None,
            machine_opened_at: None,
            clicks: BTreeSet::new(),
            soft_bounced_at: None,
            hard_bounced_at: None,
            rejected_at: None,
            reopened_at: None,
            unanswered_at: None,
        };
        match (reported.state, reported.by_machine) {
            (MailMessageState::Sent | MailMessageState::Deferred, _) => letter.sent_at = Some(at),
            (MailMessageState::Delivered, _) => letter.delivered_at = Some(at),
            (MailMessageState::Opened, false) => (letter.opened_at, letter.last_opened_at) = (Some(at), Some(at)),
            (MailMessageState::Opened | MailMessageState::Clicked, true) => letter.machine_opened_at = Some(at),
            (MailMessageState::Clicked, false) => _ = letter.clicks.insert(at),
            (MailMessageState::SoftBounced, _) => letter.soft_bounced_at = Some(at),
            (MailMessageState::HardBounced, _) => letter.hard_bounced_at = Some(at),
            (MailMessageState::Rejected, _) => letter.rejected_at = Some(at),
            (MailMessageState::Reopened, _) => letter.reopened_at = Some(at),
            (MailMessageState::Unanswered, _) => letter.unanswered_at = Some(at),
        }
        letter
    }

    /// Associative, commutative, idempotent.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        let earliest = |a: Option<Timestamp>, b: Option<Timestamp>| [a, b].into_iter().flatten().min();
        self.to = self.to.min(other.to);
        self.campaign = self.campaign.max(other.campaign);
        self.id = self.id.max(other.id);
        self.sent_at = earliest(self.sent_at, other.sent_at);
        self.delivered_at = earliest(self.delivered_at, other.delivered_at);
        self.opened_at = earliest(self.opened_at, other.opened_at);
        self.last_opened_at = self.last_opened_at.max(other.last_opened_at);
        self.machine_opened_at = earliest(self.machine_opened_at, other.machine_opened_at);
        self.clicks.extend(other.clicks);
        while self.clicks.len() > CLICKS {
            self.clicks.pop_last();
        }
        self.soft_bounced_at = self.soft_bounced_at.max(other.soft_bounced_at);
        self.hard_bounced_at = self.hard_bounced_at.max(other.hard_bounced_at);
        self.rejected_at = self.rejected_at.max(other.rejected_at);
        self.reopened_at = self.reopened_at.max(other.reopened_at);
        self.unanswered_at = self.unanswered_at.max(other.unanswered_at);
        self
    }

    /// The first click of a person: those at the moment of the delivery are a scanner's.
    pub fn clicked_at(&self) -> Option<Timestamp> {
        let scanned = |at: &&Timestamp| {
            self.delivered_at.is_some_and(|delivered| {
                (0..=SCANNER_SECONDS).contains(&at.as_second().saturating_sub(delivered.as_second()))
            })
        };
        self.clicks.iter().find(|at| !scanned(at)).copied()
    }

    /// Whoever clicks has opened it, whether or not the picture in it was fetched.
    pub fn seen_at(&self) -> Option<Timestamp> {
        [self.opened_at, self.clicked_at()].into_iter().flatten().min()
    }

    /// The channel that it went through: e-mail or SMS.
    pub fn channel(&self) -> Channel {
        if self.to.kind() == crate::Kind::Phone { Channel::Sms } else { Channel::Email }
    }
}
