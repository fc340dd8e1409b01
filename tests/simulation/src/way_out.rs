//! The channels to people: a mail relay, an SMS gateway and a bot. They record messages and have faults.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use stagedoor_model::{MessageDecided, Timestamp};
use stagedoor_ports::{Channel, Clock, Sending, Settled};

use crate::{clock::VirtualClock, rng::Rng};

/// The time after which a client of a channel hangs up.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A fault of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// There is no connection.
    NotSent,
    /// No answer, and the message is lost.
    LostBefore,
    /// No answer, but the message arrives.
    LostAfter,
    /// The message arrives long after its caller hung up.
    LateEffect,
    /// The message arrives at once, and the answer is late.
    LateAnswer,
    Throttled,
    Busy,
    /// The address refuses messages.
    Withdrawn,
    Refused,
    /// The account is blocked for minutes.
    Denied,
}

impl Mishap {
    pub const ALL: [Self; 10] = [
        Self::NotSent,
        Self::LostBefore,
        Self::LostAfter,
        Self::LateEffect,
        Self::LateAnswer,
        Self::Throttled,
        Self::Busy,
        Self::Withdrawn,
        Self::Refused,
        Self::Denied,
    ];
}

/// One try to send a message.
#[derive(Debug, Clone)]
pub struct Call {
    pub decision: String,
    /// The channel's name in the config.
    pub through: &'static str,
    pub to: String,
    /// The mailing; `None` for an answer in a chat.
    pub mailing: Option<String>,
    pub text: String,
    /// The unsubscribe link of the letter.
    pub unsubscribe: Option<String>,
    /// The time at which the hub began the call.
    pub at: Timestamp,
    /// True if the message reached its person.
    pub arrived: bool,
    /// True if the channel refused the message.
    pub rejected: bool,
}

impl Call {
    /// The line of the call in a story.
    pub fn line(&self, clock: VirtualClock) -> String {
        let Self { decision, through, to, text, arrived, rejected, .. } = self;
        let end = match (arrived, rejected) {
            (true, _) => "arrived",
            (_, true) => "rejected",
            _ => "never arrived",
        };
        format!("{}  > {through} to {to}: {text} ({decision}, {end})", clock.told_at(self.at))
    }
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    mishaps: Vec<(Mishap, Duration)>,
    /// The time until which the accounts are blocked.
    denied_until: Option<Timestamp>,
    under_way: u32,
}

pub struct WayOut {
    clock: VirtualClock,
    rng: Mutex<Rng>,
    state: Mutex<State>,
}

impl WayOut {
    pub fn new(clock: VirtualClock, rng: Rng) -> Arc<Self> {
        Arc::new(Self { clock, rng: Mutex::new(rng), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Sets the fault of the next message.
    pub fn set_mishap(&self, mishap: Mishap, late: Duration) {
        if mishap == Mishap::Denied {
            self.state().denied_until = Some(self.clock.now() + late * 20);
        } else {
            self.state().mishaps.push((mishap, late));
        }
    }

    pub fn calm(&self) {
        let mut state = self.state();
        state.mishaps.clear();
        state.denied_until = None;
    }

    /// Takes the fault of the next message.
    fn next_mishap(&self) -> Option<(Mishap, Duration)> {
        let (now, mut state) = (self.clock.now(), self.state());
        if state.denied_until.is_some_and(|until| now < until) {
            return Some((Mishap::Denied, Duration::ZERO));
        }
        (!state.mishaps.is_empty()).then(|| state.mishaps.remove(0))
    }

    /// True if no message is on its way.
    pub fn is_still(&self) -> bool {
        self.state().under_way == 0
    }

    fn begin(&self, through: &'static str, decision: &str, message: &MessageDecided) -> usize {
        let mut state = self.state();
        state.calls.push(Call {
            decision: decision.to_owned(),
            through,
            to: message.to.value().to_owned(),
            mailing: message.campaign.clone(),
            text: message.text.clone(),
            unsubscribe: message.unsubscribe.clone(),
            at: self.clock.now(),
            arrived: false,
            rejected: false,
        });
        state.calls.len() - 1
    }

    fn note(&self, number: usize, change: impl FnOnce(&mut Call)) {
        if let Some(call) = self.state().calls.get_mut(number) {
            change(call);
        }
    }

    /// Delivers the message later, regardless of its caller.
    fn arrive(self: &Arc<Self>, number: usize, late: Duration) {
        self.state().under_way += 1;
        let way_out = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            way_out.note(number, |call| call.arrived = true);
            way_out.state().under_way -= 1;
        });
    }
}

pub struct SimulatedChannel {
    pub way_out: Arc<WayOut>,
    pub through: &'static str,
    /// True if the channel can say whether it took a message.
    pub remembers: bool,
}

#[async_trait]
impl Channel for SimulatedChannel {
    async fn send(&self, decision: &str, message: &MessageDecided) -> Sending {
        let number = self.way_out.begin(self.through, decision, message);
        let mishap = self.way_out.next_mishap();
        let way = self.way_out.rng.lock().unwrap_or_else(PoisonError::into_inner).between(20, 400);
        let way = Duration::from_millis(way);
        let rejected = || self.way_out.note(number, |call| call.rejected = true);
        let (wait, arrives, answer) = match mishap {
            None => (way, Some(way), Sending::Sent(format!("m{number}"))),
            Some((Mishap::NotSent, _)) => (way, None, Sending::NotSent("no connection".into())),
            Some((Mishap::LostBefore, _)) => (TIMEOUT, None, Sending::Lost),
            Some((Mishap::LostAfter, _)) => (TIMEOUT, Some(way), Sending::Lost),
            Some((Mishap::LateEffect, late)) => (TIMEOUT, Some(TIMEOUT + late), Sending::Lost),
            Some((Mishap::LateAnswer, _)) => {
                (TIMEOUT - Duration::from_secs(1), Some(way), Sending::Sent(format!("m{number}")))
            }
            Some((Mishap::Throttled, late)) => (way, None, Sending::Throttled(late)),
            Some((Mishap::Busy, late)) => (way, None, Sending::Busy(late)),
            Some((Mishap::Withdrawn, _)) => (way, None, Sending::RecipientOptedOut("no such address".into())),
            Some((Mishap::Refused, _)) => (way, None, Sending::Refused("not as it is".into())),
            Some((Mishap::Denied, _)) => (way, None, Sending::CredentialsRejected("the account is blocked".into())),
        };
        if matches!(answer, Sending::RecipientOptedOut(_) | Sending::Refused(_)) {
            rejected();
        }
        if let Some(late) = arrives {
            self.way_out.arrive(number, late);
        }
        tokio::time::sleep(wait).await;
        answer
    }

    async fn settle(&self, decision: &str, _: &MessageDecided) -> Settled {
        if !self.remembers {
            return Settled::Unknown;
        }
        let known = self.way_out.state().calls.iter().any(|call| call.decision == decision && call.arrived);
        if known { Settled::Sent(decision.to_owned()) } else { Settled::NotKnown }
    }

    /// The real clock counts the rate, so it must delay nothing here.
    fn rate(&self) -> NonZeroU32 {
        NonZeroU32::new(1_000_000_000).unwrap_or(NonZeroU32::MAX)
    }
}
