use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use stagedoor_model::{MessageDecided, TextLimit};

/// What a messenger or a gateway said to one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// With its id of the message.
    Sent(String),
    /// Not taken now: nothing goes through this channel for so long.
    Throttled(Duration),
    /// Not taken now by this person alone.
    Busy(Duration),
    /// They blocked us, are gone, or never let us write.
    RecipientOptedOut(String),
    /// Never taken as it is.
    Refused(String),
    /// Our token is wrong, the account is blocked, the money is out: nothing goes until somebody has acted.
    CredentialsRejected(String),
    /// Nothing reached it: to be tried again.
    NotSent(String),
    /// The answer was lost: it may have been sent.
    Lost,
}

/// What is known of a message whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    Sent(String),
    /// Sending it again makes no second one: it was not sent, or the channel knows it by the decision's id.
    Again,
    /// It will be told by a webhook: ask later.
    Later,
    /// The channel does not know it. What was lost may still arrive, so it is asked again before another is sent.
    NotKnown,
    /// There is no way to know.
    Unknown,
}

/// One bot, community, page or gateway, outward.
#[async_trait]
pub trait Channel: Send + Sync {
    /// `decision` names the message for ever.
    async fn send(&self, decision: &str, message: &MessageDecided) -> Sending;

    async fn settle(&self, decision: &str, message: &MessageDecided) -> Settled {
        _ = (decision, message);
        Settled::Unknown
    }

    /// Messages a second in all.
    fn rate(&self) -> NonZeroU32;

    /// The least time between two messages to one person.
    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    /// The longest text of one message; a longer one goes out in parts. `None`: there is no limit that anybody reaches.
    fn limit(&self) -> Option<TextLimit> {
        None
    }

    /// How long after somebody's last sign they may be written to freely.
    fn window(&self) -> Option<Duration> {
        None
    }
}
