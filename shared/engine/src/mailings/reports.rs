//! What providers, messengers and looks at links say of messages that somebody was sent, found once: each message looks up
//! its own.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Channel, Conversation, Fact, Identifier, Timestamp, breakage};

use super::MailingStep;
use crate::{Looks, Person};

/// What is known of the messages to one person.
pub struct Reports<'p> {
    /// Every identifier that their records bear, without what is only claimed.
    own: BTreeSet<&'p Identifier>,
    conversations: BTreeMap<&'p Identifier, Vec<&'p Conversation>>,
    /// When a letter to this address was last opened or clicked in, or a link in one followed.
    read: BTreeMap<&'p Identifier, Timestamp>,
    /// When a letter to this address was last rejected or came back for good.
    refused: BTreeMap<&'p Identifier, Timestamp>,
    /// Addresses with the ids of letters or SMS to them that failed and did not arrive. Parts of a long text also stand
    /// under the id of the whole.
    failed: BTreeSet<(&'p Identifier, &'p str)>,
    failed_parts: BTreeSet<(&'p Identifier, &'p str)>,
    /// Ids of letters whose answer was lost and that did not arrive.
    unanswered: BTreeSet<&'p str>,
}

/// Keeps the later of two instants.
fn note<'p>(times: &mut BTreeMap<&'p Identifier, Timestamp>, of: &'p Identifier, at: Option<Timestamp>) {
    if let Some(at) = at {
        let known = times.entry(of).or_insert(at);
        *known = at.max(*known);
    }
}

impl<'p> Reports<'p> {
    /// Collects the reports of a person's messages.
    pub fn of(person: &'p Person) -> Self {
        let looks = Looks::of(person);
        let mut all = Self {
            own: BTreeSet::new(),
            conversations: BTreeMap::new(),
            read: BTreeMap::new(),
            refused: BTreeMap::new(),
            failed: BTreeSet::new(),
            failed_parts: BTreeSet::new(),
            unanswered: BTreeSet::new(),
        };
        for record in person.records.values() {
            all.own.extend(&record.identifiers);
            match &record.fact {
                Fact::MailMessage(letter) => {
                    note(&mut all.read, &letter.to, letter.last_opened_at.max(letter.clicked_at()));
                    note(&mut all.refused, &letter.to, letter.rejected_at.max(letter.hard_bounced_at));
                    let Some(id) = letter.id.as_deref().filter(|_| letter.delivered_at.is_none()) else { continue };
                    if letter.soft_bounced_at.is_some() {
                        all.failed.insert((&letter.to, id));
                        all.failed_parts.extend(id.split('/').next().map(|whole| (&letter.to, whole)));
                    }
                    if letter.unanswered_at.is_some() {
                        all.unanswered.insert(id);
                    }
                }
                Fact::Link(link) => {
                    let last = looks.at(link).map(|(_, last)| last);
                    record.identifiers.iter().for_each(|one| note(&mut all.read, one, last));
                }
                Fact::Conversation(conversation) => {
                    all.conversations.entry(&conversation.chat).or_default().push(conversation)
                }
                _ => {}
            }
        }
        all
    }

    fn talks_at(&self, step: &MailingStep) -> impl Iterator<Item = &'p Conversation> {
        self.conversations.get(&step.to).into_iter().flatten().copied()
    }

    /// True if the address of a message is still one of theirs.
    pub(super) fn is_theirs(&self, step: &MailingStep) -> bool {
        self.own.contains(&step.to)
    }

    /// True if they saw the message, answered, opened the letter, or followed a link that was in it.
    pub fn was_read(&self, step: &MailingStep) -> bool {
        let since = Some(step.at);
        let in_chat = |conversation: &Conversation| {
            conversation.seen_at.max(conversation.heard_at) > since || was_seen(conversation, step)
        };
        self.read.get(&step.to).copied() > since || self.talks_at(step).any(in_chat)
    }

    /// True if the message was not taken, or the chat is closed.
    pub fn was_refused(&self, step: &MailingStep) -> bool {
        let in_chat = |conversation: &Conversation| {
            let mut own = conversation.messages.values().filter(|sent| sent.decision.as_ref() == Some(&step.decision));
            conversation.refused_at >= Some(step.at)
                || step.to.kind().is_chat() && !conversation.is_open()
                || own.any(|sent| sent.failed_at.is_some())
        };
        self.refused.get(&step.to).copied() >= Some(step.at)
            || step.channel == Channel::Sms && self.failed_at_the_gateway(step)
            || self.talks_at(step).any(in_chat)
    }

    /// True if the answer to this message was lost, and no later report says that it arrived.
    pub(super) fn was_unanswered(&self, step: &MailingStep) -> bool {
        let in_chat = |conversation: &Conversation| {
            let is_told = || conversation.messages.values().any(|sent| sent.decision.as_ref() == Some(&step.decision));
            conversation.unanswered_at >= Some(step.at) && !is_told()
        };
        !breakage::is_on("unanswered-notice-is-enough")
            && (self.unanswered.contains(step.decision.as_str()) || self.talks_at(step).any(in_chat))
    }

    /// A gateway reports an SMS that it took before: expired, not delivered, a number that cannot be reached. It has no later
    /// try. The report names it by the id that the gateway answered, or by ours.
    fn failed_at_the_gateway(&self, step: &MailingStep) -> bool {
        let has_failed = |(id, sent): (&String, &stagedoor_model::SentMessage)| {
            sent.decision.as_ref() == Some(&step.decision) && self.failed.contains(&(&step.to, id.as_str()))
        };
        let by_gateway = || self.talks_at(step).flat_map(|conversation| &conversation.messages).any(has_failed);
        let by_us = || {
            self.failed_parts.contains(&(&step.to, step.decision.as_str()))
                && !breakage::is_on("report-by-our-id-unheard")
        };
        !breakage::is_on("late-sms-failure-unheard") && (by_us() || by_gateway())
    }
}

/// Whether the messenger told that this message was seen, or one that was sent after it.
fn was_seen(conversation: &Conversation, step: &MailingStep) -> bool {
    let mut seen = conversation.messages.values().filter(|message| message.seen_at.is_some());
    let own = conversation.messages.values().find(|message| message.decision.as_ref() == Some(&step.decision));
    match own.filter(|_| !breakage::is_on("another-message-seen")) {
        Some(own) => seen.any(|message| message.seen_at == own.seen_at || message.sent_at > own.sent_at),
        // Sent by an earlier build, or long ago.
        None => seen.any(|message| message.seen_at > Some(step.at)),
    }
}
