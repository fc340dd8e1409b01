//! Consumer of the outbox. It sends each decision at least once, and never twice if the channel lets us know. A
//! stored value, named by the decision's id, says if sending began and how it ended.

mod delivery_log;
mod entry;
mod parts;
mod rate;
mod webhooks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use entry::Entry;
use futures_util::{StreamExt, stream};
pub use rate::RateLimit;
use stagedoor_engine::{Advertised, Attempt, Obstacle, SendingPolicy};
use stagedoor_model::{
    Body, Event, EventId, Identifier, MessageDecided, MessageSent, SendOutcome, SourceName, Timestamp, breakage,
};
use stagedoor_ports::{Channel, Clock, PortError, Queue, Result, Sending, Settled, Store, read_withdrawals};
pub use webhooks::{WebhookCheck, webhooks};

/// People to whom messages are sent at the same time.
const CONCURRENCY: usize = 16;
/// Delay of a message while its channel needs help from an operator: a wrong token, no money.
const DENIED: Duration = Duration::from_secs(300);
/// Delay of a message that a webhook will report.
const REPORTED: Duration = Duration::from_secs(30);
/// Number of such delays. After them the outcome counts as unknown.
const REPORTS: u32 = 10;
/// Least number of questions about a message that its channel does not know, and least time before it is sent again.
/// After that, the first call can no longer deliver it. After a crash two copies of a message may exist, and both
/// ask.
const UNKNOWN: u32 = 4;
const UNKNOWN_FOR: jiff::SignedDuration = jiff::SignedDuration::from_secs(120);
/// Longest time that a queue holds a message back.
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);

/// Delay of advertising while it is held. It is repeated.
const HELD: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// Count of questions that marks a message of a restored outbox. The hub before the restore may have sent it long
/// ago. By now no channel knows the id that prevents a second sending.
const RESTORED: u32 = u32::MAX;

/// Reason for which a message to an erased person ends.
const ERASED: &str = "erased";

/// Number of tries to count advertising when other processes count at the same time.
const COUNTS: usize = 5;

/// The ports and settings that the consumer works with. AWS and a laptop use the same.
#[derive(Clone)]
pub struct Outreach {
    pub store: Arc<dyn Store>,
    pub outbox: Arc<dyn Queue>,
    /// Queue of chat events. The outcome of each message goes there.
    pub chats: Arc<dyn Queue>,
    pub clock: Arc<dyn Clock>,
    pub channels: BTreeMap<SourceName, Arc<dyn Channel>>,
    /// Rules that each message must pass right before its channel is called.
    pub policy: SendingPolicy,
    pub pace: Arc<RateLimit>,
}

/// What happens next to one message.
enum Verdict {
    Ended(SendOutcome),
    /// The message goes back into the outbox for this time.
    Later(Duration),
    /// The message comes again as failed. It becomes a dead letter if that happens too often.
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
    /// Sends a batch. Returns the positions in `events` of the events that failed and should come again.
    pub async fn handle(&self, events: Vec<Event>) -> BTreeSet<usize> {
        self.handle_while(events, &|| true).await
    }

    /// Does the same, but begins no message once `may_begin` returns false. Such messages count as failed.
    pub async fn handle_while(
        &self,
        events: Vec<Event>,
        may_begin: &(impl Fn() -> bool + std::marker::Sync),
    ) -> BTreeSet<usize> {
        // Messages to one person go out in their order.
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

    /// Marks messages that another hub may have sent, for example after a restore. A message without a known outcome
    /// counts as begun, so that its channel is asked before anything is sent.
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
            // The following parts are sent after this one.
            if !self.deal_with_part(event, part, n, channel).await? {
                break;
            }
        }
        Ok(())
    }

    /// Returns true if this part went out, as far as the channel lets us know.
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
            // The part was sent before, and perhaps its outcome was not passed on.
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

    /// The reason why the message is not sent now, or never.
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
        // If the notice is sent after a later notice, it would contradict that one.
        if let Some(notice) = &message.notice
            && !breakage::is_on("overtaken-notice-sent")
            && !self.is_latest(notice).await?
        {
            let reason = "a later notice was sent before".to_owned();
            return Ok(Some(Verdict::Ended(SendOutcome::Dropped(reason))));
        }
        Ok(None)
    }

    /// Checks advertising against what is known of the person now. Advertising that may go out counts from now on.
    async fn advertise(&self, attempt: &Attempt<'_>) -> Result<Option<Obstacle>> {
        let to = &attempt.message.to;
        let owners = self.store.resolve(&BTreeSet::from([to.clone()])).await?.owners;
        let mut people = self.store.load(&owners.values().copied().collect()).await?;
        let asked = people.iter_mut().map(|one| &mut one.value);
        read_withdrawals(&*self.store, &mut asked.collect::<Vec<_>>()).await?;
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

    /// Removes a message that was not delivered from the count, so that the next channel may follow.
    async fn uncount(&self, decision: &str, message: &MessageDecided) -> Result<()> {
        let owners = self.store.resolve(&BTreeSet::from([message.to.clone()])).await?.owners;
        for person in self.store.load(&owners.values().copied().collect()).await? {
            let (mut known, version) = self.advertised(&person.value).await?;
            if known.0.remove(decision).is_some() {
                // If another process counts meanwhile, this message stays counted, and one message less goes out.
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
            // Asking the channel would also name the person.
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
            // The next attempt asks the channel.
            Sending::Lost => Verdict::Later(Duration::from_secs(5)),
        })
    }

    /// True if the recipient was erased since the message was decided. Not all queues can be searched.
    async fn is_erased(&self, message: &MessageDecided) -> Result<bool> {
        let Some(tombstone) = message.tombstone.clone().filter(|_| !breakage::is_on("erased-written-to")) else {
            return Ok(false);
        };
        Ok(!self.store.erased(&BTreeSet::from([tombstone])).await?.is_empty())
    }

    /// Passes the outcome on as an event. Its source is the source of the chat, so that the conversation holds our
    /// messages too. Returns true if the part went out.
    async fn tell(&self, event: &Event, message: &MessageDecided, n: usize, outcome: SendOutcome) -> Result<bool> {
        if message.is_confidential && !breakage::is_on("codes-told") {
            return Ok(matches!(outcome, SendOutcome::Sent(_) | SendOutcome::Unknown));
        }
        let is_sent = matches!(outcome, SendOutcome::Sent(_) | SendOutcome::Unknown);
        // The event would contain what was erased.
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
        // The event comes after the message that it answers, even if the messenger's clock is ahead of ours.
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
