//! The outbox's consumer: sends what was decided, at least once, and never twice for one decision where the channel lets us
//! know. A decision's id names a cell of the store: it says whether sending was begun, and how it ended.

mod delivery_log;
mod parts;
mod rate;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use delivery_log::Entry;
use futures_util::{StreamExt, stream};
pub use rate::RateLimit;
use stagedoor_engine::{Advertised, Attempt, Obstacle, SendingPolicy};
use stagedoor_model::{
    Body, Event, EventId, Identifier, MessageDecided, MessageSent, SendOutcome, SourceName, Timestamp, breakage,
};
use stagedoor_ports::{Channel, Clock, PortError, Queue, Result, Sending, Settled, Store, read_withdrawals};

/// People written to at once.
const CONCURRENCY: usize = 16;
/// How long a message waits whose channel wants somebody to act: a wrong token, no money.
const DENIED: Duration = Duration::from_secs(300);
/// How long a message waits that a webhook will report.
const REPORTED: Duration = Duration::from_secs(30);
/// And how often; after that nobody knows.
const REPORTS: u32 = 10;
/// How often a channel is asked at least for a message that it does not know, and for how long: then nothing of it can arrive
/// any more. After a crash two copies of a message may be about, and both ask.
const UNKNOWN: u32 = 4;
const UNKNOWN_FOR: jiff::SignedDuration = jiff::SignedDuration::from_secs(120);
/// The longest that a queue holds a message back.
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);

/// How long advertising waits at a time while it is held.
const HELD: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// How often a channel was asked about a message of a restored outbox: the hub of before may have sent it long ago, when no
/// channel knows an id any more by which it would send nothing twice.
const RESTORED: u32 = u32::MAX;

/// Why a message to somebody ends who was erased.
const ERASED: &str = "erased";

/// How often advertising is counted again where others are counted at the same time.
const COUNTS: usize = 5;

/// What the consumer works with. The same on AWS and on a laptop.
#[derive(Clone)]
pub struct Outreach {
    pub store: Arc<dyn Store>,
    pub outbox: Arc<dyn Queue>,
    /// What became of a message goes where chats' events go.
    pub chats: Arc<dyn Queue>,
    pub clock: Arc<dyn Clock>,
    pub channels: BTreeMap<SourceName, Arc<dyn Channel>>,
    /// What every message is held against right before its channel is called.
    pub policy: SendingPolicy,
    pub pace: Arc<RateLimit>,
}

/// What is to be done about one message.
enum Verdict {
    Ended(SendOutcome),
    /// It goes back into the outbox for so long.
    Later(Duration),
    /// It comes again by itself, and wears out if it does so too often.
    Failed(String),
}

impl Verdict {
    fn of(obstacle: Obstacle, now: Timestamp) -> Self {
        match obstacle {
            Obstacle::Later(at) => {
                Self::Later(Duration::try_from(at.duration_since(now)).unwrap_or_default().min(MAX_DELAY))
            }
            Obstacle::Refused(reason) => Self::Ended(SendOutcome::Refused(reason.into())),
            Obstacle::Dropped(reason) => Self::Ended(SendOutcome::Dropped(reason.into())),
        }
    }
}

impl Outreach {
    /// Sends a batch. The answer names the events that failed and should come again, by their place in `events`.
    pub async fn handle(&self, events: Vec<Event>) -> BTreeSet<usize> {
        self.handle_while(events, &|| true).await
    }

    /// The same, but no message is begun once `may_begin` says no: those count as failed.
    pub async fn handle_while(
        &self,
        events: Vec<Event>,
        may_begin: &(impl Fn() -> bool + std::marker::Sync),
    ) -> BTreeSet<usize> {
        // One person's messages go out in their order.
        let mut by_person = BTreeMap::<(SourceName, Identifier), Vec<(usize, Event)>>::new();
        for (index, event) in events.into_iter().enumerate() {
            if let Body::MessageDecided(message) = &event.body {
                by_person.entry((message.through.clone(), message.to.clone())).or_default().push((index, event));
            }
        }
        let failed = stream::iter(by_person.into_values())
            .map(|own| async move {
                let mut failed = BTreeSet::new();
                for (index, event) in own {
                    let may_begin = may_begin() || breakage::is_on("stopping-hub-begins-messages");
                    if !may_begin || !self.take(&event).await {
                        failed.insert(index);
                    }
                }
                failed
            })
            .buffer_unordered(CONCURRENCY);
        failed.fold(BTreeSet::new(), |all, one| async { all.into_iter().chain(one).collect() }).await
    }

    /// Notes of messages that another hub may have sent, as after a restore: what is not known of them counts as begun, so
    /// their channels are asked before anything is sent.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn count_as_asked(&self, events: &[Event]) -> Result<()> {
        for event in events {
            let Body::MessageDecided(message) = &event.body else { continue };
            let channel = self.channels.get(&message.through).map(AsRef::as_ref);
            let parts = channel.map_or(1, |channel| parts::parts(channel, message).len());
            for n in 0..parts {
                let decision = parts::name(event.id.as_str(), n);
                let (entry, version) = self.entry(&decision).await?;
                if entry == Entry::Fresh || matches!(entry, Entry::Begun { .. }) {
                    let at = Some(self.clock.now());
                    self.put(&decision, &Entry::Begun { asked: RESTORED, at }, version).await?;
                }
            }
        }
        Ok(())
    }

    async fn take(&self, event: &Event) -> bool {
        let Body::MessageDecided(message) = &event.body else { return true };
        match self.deal_with(event, message).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(trace = event.trace_id(), decision = %event.id, %error, "a message waits");
                false
            }
        }
    }

    async fn deal_with(&self, event: &Event, message: &MessageDecided) -> Result<()> {
        let channel = self.channels.get(&message.through).map(AsRef::as_ref);
        let parts = channel.map_or_else(|| vec![message.clone()], |channel| parts::parts(channel, message));
        for (n, part) in parts.iter().enumerate() {
            // What follows is sent once this is.
            if !self.deal_with_part(event, part, n, channel).await? {
                break;
            }
        }
        Ok(())
    }

    /// Whether this part went out, as far as the channel lets us know.
    async fn deal_with_part(
        &self,
        event: &Event,
        message: &MessageDecided,
        n: usize,
        channel: Option<&dyn Channel>,
    ) -> Result<bool> {
        let name = parts::name(event.id.as_str(), n);
        let decision = name.as_str();
        let (mut entry, version) = self.entry(decision).await?;
        if let Entry::Ended(outcome) = &entry {
            // Sent before; perhaps nobody heard of it.
            return self.tell(event, message, n, outcome.clone()).await;
        }
        let verdict = match channel {
            None => Verdict::Ended(SendOutcome::Refused("this channel has no token in the config".into())),
            Some(channel) => match self.obstacle(channel, event.id.as_str(), message).await? {
                Some(verdict) => verdict,
                None => self.send(event, (decision, message), channel, &mut entry, version).await?,
            },
        };
        match verdict {
            Verdict::Ended(outcome) => {
                let is_unheard = matches!(outcome, SendOutcome::Refused(_) | SendOutcome::Withdrawn(_));
                if message.marketing && is_unheard && n == 0 && self.policy.cap.is_some() {
                    self.uncount(decision, message).await?;
                }
                self.close(decision, &outcome).await?;
                self.tell(event, message, n, outcome).await
            }
            Verdict::Later(delay) => self.outbox.send_later(vec![event.clone()], delay).await.map(|()| false),
            Verdict::Failed(reason) => Err(PortError::Retry(reason)),
        }
    }

    /// Why it is not sent now, or not any more.
    async fn obstacle(
        &self,
        channel: &dyn Channel,
        decision: &str,
        message: &MessageDecided,
    ) -> Result<Option<Verdict>> {
        let now = self.clock.now();
        let attempt = Attempt { decision, message, window: channel.window(), now };
        let obstacle = match self.policy.obstacle(&attempt) {
            None if message.marketing && self.pace.holds_advertising() && !breakage::is_on("held-advertising-sent") => {
                Some(Obstacle::Later(now + HELD))
            }
            None if message.marketing => self.advertise(&attempt).await?,
            obstacle => obstacle,
        };
        if let Some(obstacle) = obstacle {
            return Ok(Some(Verdict::of(obstacle, now)));
        }
        // Held up behind a later one it would undo what they were told since.
        if let Some(notice) = &message.notice
            && !breakage::is_on("overtaken-notice-sent")
            && !self.is_latest(notice).await?
        {
            let reason = "a later notice was sent before".to_owned();
            return Ok(Some(Verdict::Ended(SendOutcome::Dropped(reason))));
        }
        Ok(None)
    }

    /// Holds advertising against what is known of the person at this moment. Where it may go, it counts from now on.
    async fn advertise(&self, attempt: &Attempt<'_>) -> Result<Option<Obstacle>> {
        let to = &attempt.message.to;
        let owners = self.store.resolve(&BTreeSet::from([to.clone()])).await?.owners;
        let mut people = self.store.load(&owners.values().copied().collect()).await?;
        let asked = people.iter_mut().map(|one| &mut one.value);
        read_withdrawals(self.store.as_ref(), &mut asked.collect::<Vec<_>>()).await?;
        let person = people.first().map(|one| &one.value);
        let Some((person, (_, seconds))) = person.zip(self.policy.cap) else {
            return Ok(self.policy.against_advertising(attempt, person, &Advertised::default()));
        };
        for _ in 0..COUNTS {
            let (known, version) = self.advertised(person).await?;
            if let Some(obstacle) = self.policy.against_advertising(attempt, Some(person), &known) {
                return Ok(Some(obstacle));
            }
            let mut counted = known.since(seconds, attempt.now);
            counted.0.insert(attempt.decision.to_owned(), attempt.now);
            if self.put_advertised(person, &counted, version).await? {
                return Ok(None);
            }
        }
        Err(PortError::Retry("somebody else sends advertising to the same person".into()))
    }

    /// What nobody got counts no longer: the next channel may follow.
    async fn uncount(&self, decision: &str, message: &MessageDecided) -> Result<()> {
        let owners = self.store.resolve(&BTreeSet::from([message.to.clone()])).await?.owners;
        for person in self.store.load(&owners.values().copied().collect()).await? {
            let (mut known, version) = self.advertised(&person.value).await?;
            if known.0.remove(decision).is_some() {
                // Who counts something else meanwhile counts this too: one message less goes out.
                self.put_advertised(&person.value, &known, version).await?;
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        event: &Event,
        (decision, message): (&str, &MessageDecided),
        channel: &dyn Channel,
        entry: &mut Entry,
        version: Option<u64>,
    ) -> Result<Verdict> {
        let erased = || Ok(Verdict::Ended(SendOutcome::Dropped(ERASED.into())));
        if let Entry::Begun { asked, at } = entry {
            // Asking about it would name them, too.
            if self.is_erased(message).await? {
                return erased();
            }
            let is_over = at.is_none_or(|at| self.clock.now().duration_since(at) >= UNKNOWN_FOR)
                || breakage::is_on("late-sms-asked-twice");
            let reported = self.store.key_value(&format!("reported/{decision}")).await?;
            let settled = match reported {
                Some(key_value) => Settled::Sent(key_value.value),
                None => channel.settle(decision, message).await,
            };
            match settled {
                Settled::Sent(id) => return Ok(Verdict::Ended(SendOutcome::Sent(id))),
                Settled::Unknown => return Ok(Verdict::Ended(SendOutcome::Unknown)),
                Settled::Again if *asked == RESTORED => return Ok(Verdict::Ended(SendOutcome::Unknown)),
                Settled::Later if *asked >= REPORTS => return Ok(Verdict::Ended(SendOutcome::Unknown)),
                Settled::NotKnown if *asked >= UNKNOWN && is_over || breakage::is_on("late-sms-sent-again") => {}
                Settled::Later | Settled::NotKnown => {
                    self.put(decision, &Entry::Begun { asked: asked.saturating_add(1), at: *at }, version).await?;
                    return Ok(Verdict::Later(REPORTED));
                }
                Settled::Again => {}
            }
        }
        if let Some(wait) = self.pace.admit(&message.through, &message.to, channel, self.clock.now()).await {
            return Ok(Verdict::Later(wait));
        }
        if self.is_erased(message).await? {
            return erased();
        }
        let at = Some(self.clock.now());
        self.put(decision, &Entry::Begun { asked: 0, at }, version).await?;
        let sending = channel.send(decision, message).await;
        let (through, trace) = (&message.through, event.trace_id());
        Ok(match sending {
            Sending::Sent(id) => {
                tracing::info!(trace, decision, %through, "message sent");
                Verdict::Ended(SendOutcome::Sent(id))
            }
            Sending::RecipientOptedOut(reason) => {
                tracing::info!(trace, decision, %through, reason, "the channel is withdrawn");
                Verdict::Ended(SendOutcome::Withdrawn(reason))
            }
            Sending::Refused(reason) => {
                tracing::error!(trace, decision, %through, reason, "message refused");
                Verdict::Ended(SendOutcome::Refused(reason))
            }
            Sending::Throttled(wait) => {
                tracing::warn!(%through, seconds = wait.as_secs(), "the channel is throttled");
                self.pace.hold(through, wait, self.clock.now());
                self.forget(decision).await?;
                Verdict::Later(wait)
            }
            Sending::Busy(wait) => {
                self.forget(decision).await?;
                Verdict::Later(wait)
            }
            Sending::CredentialsRejected(reason) => {
                tracing::error!(%through, reason, "the channel refuses us: its messages wait until somebody acts");
                self.pace.hold(through, DENIED, self.clock.now());
                self.forget(decision).await?;
                Verdict::Later(DENIED)
            }
            Sending::NotSent(reason) => {
                self.forget(decision).await?;
                Verdict::Failed(reason)
            }
            // The next attempt settles it.
            Sending::Lost => Verdict::Later(Duration::from_secs(5)),
        })
    }

    /// Whether the recipient was erased since the message was decided. Queues cannot be searched everywhere.
    async fn is_erased(&self, message: &MessageDecided) -> Result<bool> {
        let Some(tombstone) = message.tombstone.clone().filter(|_| !breakage::is_on("erased-written-to")) else {
            return Ok(false);
        };
        Ok(!self.store.erased(&BTreeSet::from([tombstone])).await?.is_empty())
    }

    /// The sources of these events are those of the chats, so the conversation holds our words too. Answers whether the part
    /// went out.
    async fn tell(&self, event: &Event, message: &MessageDecided, n: usize, outcome: SendOutcome) -> Result<bool> {
        if message.is_confidential && !breakage::is_on("codes-told") {
            return Ok(matches!(outcome, SendOutcome::Sent(_) | SendOutcome::Unknown));
        }
        let is_sent = matches!(outcome, SendOutcome::Sent(_) | SendOutcome::Unknown);
        // What it would tell is what was erased.
        if self.is_erased(message).await? {
            return Ok(is_sent);
        }
        let sent = MessageSent {
            decision: event.id.to_string(),
            through: message.through.clone(),
            to: message.to.clone(),
            text: message.text.clone(),
            outcome,
            campaign: message.campaign.clone(),
        };
        let id = EventId::derive(&message.through, &["sent", &parts::name(event.id.as_str(), n)]);
        // After what it answers, also where the messenger's clock is ahead of ours.
        let after = message.heard_at.and_then(|at| at.checked_add(jiff::SignedDuration::from_millis(1)).ok());
        let at = after.map_or(self.clock.now(), |after| after.max(self.clock.now()));
        let body = Body::MessageSent(Box::new(sent));
        let mut told = Event::new(&message.through, id, at, body).ordered(n as u64);
        told.traceparent.clone_from(&event.traceparent);
        let mut events = vec![told];
        if is_sent {
            events.extend(parts::links(event, message, at));
        }
        self.chats.send(events).await?;
        Ok(is_sent)
    }
}
