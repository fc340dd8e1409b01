//! What providers, messengers and opened links report about messages to a person. It is collected once, so that each
//! message can look up its own reports.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Channel, Conversation, Fact, Identifier, Timestamp, breakage};

use super::MailingStep;
use crate::{Looks, Person};

/// The reports about the messages to one person.
pub struct Reports<'p> {
    /// Every identifier of the person's records, without claims.
    own: BTreeSet<&'p Identifier>,
    conversations: BTreeMap<&'p Identifier, Vec<&'p Conversation>>,
    /// When an e-mail to this address was last opened or clicked, or a personal link of the address was followed.
    read: BTreeMap<&'p Identifier, Timestamp>,
    /// When an e-mail to this address was last rejected or bounced for good.
    refused: BTreeMap<&'p Identifier, Timestamp>,
    /// Addresses with ids of e-mails or SMS that failed and did not arrive.
    failed: BTreeSet<(&'p Identifier, &'p str)>,
    /// The same with the id of the whole text, where a long text has parts.
    failed_parts: BTreeSet<(&'p Identifier, &'p str)>,
    /// Ids of e-mails whose send call got no answer, and that did not arrive.
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

    /// Returns true if the message's address is still the person's.
    pub(super) fn is_theirs(&self, step: &MailingStep) -> bool {
        self.own.contains(&step.to)
    }

    /// Returns true if the person saw the message, answered, opened the e-mail, or followed a link since.
    pub fn was_read(&self, step: &MailingStep) -> bool {
        let since = Some(step.at);
        let in_chat = |conversation: &Conversation| {
            conversation.seen_at.max(conversation.heard_at) > since || was_seen(conversation, step)
        };
        self.read.get(&step.to).copied() > since || self.talks_at(step).any(in_chat)
    }

    /// Returns true if the message was refused, or the chat is closed.
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

    /// Returns true if the answer to the send call was lost, and no later report says that the message arrived.
    pub(super) fn was_unanswered(&self, step: &MailingStep) -> bool {
        let in_chat = |conversation: &Conversation| {
            let is_told = || conversation.messages.values().any(|sent| sent.decision.as_ref() == Some(&step.decision));
            conversation.unanswered_at >= Some(step.at) && !is_told()
        };
        !breakage::is_on("unanswered-notice-is-enough")
            && (self.unanswered.contains(step.decision.as_str()) || self.talks_at(step).any(in_chat))
    }

    /// Returns true if the gateway reports that an SMS failed after it took it: expired, not delivered, unreachable.
    /// The gateway does not try again. The report has the gateway's id or ours.
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

/// Returns true if the messenger reports that this message was seen, or a later one.
fn was_seen(conversation: &Conversation, step: &MailingStep) -> bool {
    let mut seen = conversation.messages.values().filter(|message| message.seen_at.is_some());
    let own = conversation.messages.values().find(|message| message.decision.as_ref() == Some(&step.decision));
    match own.filter(|_| !breakage::is_on("another-message-seen")) {
        Some(own) => seen.any(|message| message.seen_at == own.seen_at || message.sent_at > own.sent_at),
        // An earlier build sent the message, or it was sent long ago.
        None => seen.any(|message| message.seen_at > Some(step.at)),
    }
}
