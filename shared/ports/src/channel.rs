use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use stagedoor_model::{MessageDecided, TextLimit};

/// The answer of a messenger or gateway to one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// The channel took the message and gave it this id.
    Sent(String),
    /// The channel takes nothing now. No message goes through it for this long.
    Throttled(Duration),
    /// The channel takes nothing for this person now. Other people are not affected.
    Busy(Duration),
    /// The person blocked us, is gone, or never allowed us to write. The text is the reason.
    RecipientOptedOut(String),
    /// The channel never takes this message as it is. The text is the reason.
    Refused(String),
    /// Our token is wrong, the account is blocked, or the money is out. No message goes until an operator acts.
    CredentialsRejected(String),
    /// The request did not reach the channel, so a retry is safe. The text is the reason.
    NotSent(String),
    /// The answer was lost. The channel may have sent the message.
    Lost,
}

/// What a channel knows of a message whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The message was sent, with this id.
    Sent(String),
    /// A retry makes no second message: it was not sent, or the channel knows it by the decision's id.
    Again,
    /// A webhook will report it. The caller asks again later.
    Later,
    /// The channel does not know it, but the lost message may still arrive. The caller asks again before it sends
    /// another.
    NotKnown,
    /// There is no way to find out.
    Unknown,
}

/// What a messenger says of its webhook to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Webhook {
    /// This channel has no way to ask.
    NotAsked,
    /// The messenger posts to the hub.
    Stands,
    /// The messenger did not post to the hub. The channel has subscribed again.
    MadeAgain,
    /// The messenger does not post to the hub, or it cannot be asked. The text is the reason.
    Missing(String),
}

/// A client that sends messages through one bot, community, page or gateway.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Sends one message. `decision` is the permanent id of the message, the same for every retry.
    async fn send(&self, decision: &str, message: &MessageDecided) -> Sending;

    /// Finds out whether a message was sent whose answer was lost ([`Sending::Lost`]). `decision` is as for `send`.
    async fn settle(&self, decision: &str, message: &MessageDecided) -> Settled {
        _ = (decision, message);
        Settled::Unknown
    }

    /// Asks the messenger whether it posts to `url`, and subscribes again where the messenger allows it.
    async fn check_webhook(&self, url: &str) -> Webhook {
        _ = url;
        Webhook::NotAsked
    }

    /// Messages a second in all.
    fn rate(&self) -> NonZeroU32;

    /// The shortest time between two messages to one person.
    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    /// The longest text of one message; a longer text goes out in parts. `None`: the channel has no limit that matters.
    fn limit(&self) -> Option<TextLimit> {
        None
    }

    /// How long after a person's last message the hub may write to them freely. `None`: there is no such limit.
    fn window(&self) -> Option<Duration> {
        None
    }
}
