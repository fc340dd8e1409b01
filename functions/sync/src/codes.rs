//! Codes that confirm addresses typed in a chat. A code follows from the hub's key, the chat, the address and the
//! message that it answers, so it is stored nowhere. Stored values count codes and tries, under keyed hashes.

use std::collections::BTreeSet;

use stagedoor_engine::{BotStep, CODE_VALID, CodePolicy, Offer, Person, PersonId};
use stagedoor_model::{
    Body, Conversation, Event, EventId, Identifier, Kind, LinkKey, MessageDecided, SourceName, breakage,
};
use stagedoor_ports::{PortError, Result};

use crate::{Sync, Talking};

/// Codes a day to one address, and for one chat.
const CODES: usize = 3;
/// Tries of one code.
const TRIES: usize = 3;
/// Number of attempts when other processes change the same value.
const ATTEMPTS: usize = 5;

/// Result of typing a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    Right,
    Wrong,
    /// The code has expired, or was tried too often.
    Ended,
}

impl Sync {
    /// The message with a code to an address that was typed. `None` if no code may be sent.
    pub(crate) async fn offer_code(
        &self,
        conversation: &Talking,
        person: &Person,
        (source, chat): (&SourceName, &Conversation),
        turn: &BotStep<'_>,
        given: &Identifier,
    ) -> Result<Option<Event>> {
        let Some(policy) = self.catalog.bot_script.codes.as_ref().filter(|policy| policy.takes(given)) else {
            return Ok(None);
        };
        if person.identifiers().contains(given) || self.guards.blocked.contains(given) || self.is_erased(given).await? {
            return Ok(None);
        }
        let marks = BTreeSet::from([given.clone(), given.typed()]);
        if !self.store.resolve(&marks).await?.shared.is_empty() {
            return Ok(None);
        }
        let day = self.clock.now().to_string().chars().take(10).collect::<String>();
        let of_chat = key_value(&conversation.links, "chat", &[source.as_str(), chat.chat.value()]);
        let of_address = key_value(&conversation.links, "address", &[&given.to_string()]);
        if !self.admits(&of_chat, &day, &turn.cause, CODES).await?
            || !self.admits(&of_address, &day, &turn.cause, CODES).await?
            || !self.counts(&day, policy.most, &turn.cause).await?
        {
            tracing::warn!(%source, "no code was sent: too many were asked for today");
            return Ok(None);
        }
        // This precedes the code: until the code expires, nothing else says who typed the address.
        self.note_typed(conversation, person.id, given).await?;
        let offer = Offer { given: given.clone(), cause: turn.cause.clone(), at: turn.at };
        let code = code_of(&conversation.links, source, chat, &offer);
        let message = letter(policy, chat, &offer, &code)?;
        let id = EventId::derive(source, &["code", &turn.cause]);
        Ok(Some(Event::new(source, id, turn.at, Body::MessageDecided(Box::new(message)))))
    }

    /// Checks these digits as an answer to a code.
    pub(crate) async fn try_code(
        &self,
        conversation: &Talking,
        (source, chat): (&SourceName, &Conversation),
        turn: &BotStep<'_>,
        offer: &Offer,
        digits: &str,
    ) -> Result<Tried> {
        if turn.at > offer.ends_at() && !breakage::is_on("old-code-confirms") {
            return Ok(Tried::Ended);
        }
        let parts = [source.as_str(), chat.chat.value(), &offer.given.to_string(), &offer.cause];
        let tries = key_value(&conversation.links, "tries", &parts);
        if !breakage::is_on("code-tried-without-end") && !self.admits(&tries, "", &turn.cause, TRIES).await? {
            return Ok(Tried::Ended);
        }
        let is_right = is_same(&code_of(&conversation.links, source, chat, offer), digits);
        Ok(if is_right { Tried::Right } else { Tried::Wrong })
    }

    /// Notes who typed an address and was sent a code. Until the code expires, the address is no claim yet. Erasing
    /// the owner must still find the facts of the person who typed it.
    async fn note_typed(&self, conversation: &Talking, person: PersonId, given: &Identifier) -> Result<()> {
        if breakage::is_on("erased-under-a-pending-code") {
            return Ok(());
        }
        let key_value = typed(&conversation.links, given);
        for _ in 0..ATTEMPTS {
            let known = self.store.key_value(&key_value).await?;
            let value = known.as_ref().map(|one| one.value.clone()).unwrap_or_default();
            let own = person.to_string();
            let others = value.lines().filter(|one| *one != own);
            let mut all: Vec<&str> = others.chain([own.as_str()]).collect();
            let value = all.split_off(all.len().saturating_sub(TYPED)).join("\n");
            if self.store.compare_and_set(&key_value, &value, known.map(|one| one.version)).await? {
                return Ok(());
            }
        }
        Err(PortError::Retry("other processes send codes, too".into()))
    }

    /// People who typed one of these addresses and were sent a code for it.
    pub(crate) async fn typed_by(&self, names: &BTreeSet<Identifier>) -> Result<BTreeSet<PersonId>> {
        let mut people = BTreeSet::new();
        let Some(conversation) = &self.conversation else { return Ok(people) };
        for name in names.iter().filter(|name| matches!(name.kind(), Kind::Phone | Kind::Email)) {
            let known = self.store.key_value(&typed(&conversation.links, name)).await?;
            people.extend(known.iter().flat_map(|one| one.value.lines()).filter_map(|id| PersonId::parse(id).ok()));
        }
        Ok(people)
    }

    /// Takes one of the `most` places of a day for `what`. A repeated `what` keeps its place.
    async fn admits(&self, key_value: &str, day: &str, what: &str, most: usize) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            let known = self.store.key_value(key_value).await?;
            let (of, taken) = known.as_ref().and_then(|one| one.value.split_once('\n')).unwrap_or((day, ""));
            let taken = if of == day { taken } else { "" };
            if taken.lines().any(|one| one == what) {
                return Ok(true);
            }
            if taken.lines().count() >= most && !breakage::is_on("codes-without-end") {
                return Ok(false);
            }
            let value = format!("{day}\n{taken}{what}\n");
            if self.store.compare_and_set(key_value, &value, known.map(|one| one.version)).await? {
                return Ok(true);
            }
        }
        Err(PortError::Retry("other processes count codes, too".into()))
    }

    /// Counts one more code in the total of a day. The count may be one too high for a decision that is made again.
    async fn counts(&self, day: &str, most: u32, cause: &str) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            let known = self.store.key_value(ALL).await?;
            let parts = known.as_ref().map(|one| one.value.split('\n').collect::<Vec<_>>()).unwrap_or_default();
            let of_day = parts.first() == Some(&day);
            if of_day && parts.get(2) == Some(&cause) {
                return Ok(true);
            }
            let count = parts.get(1).filter(|_| of_day).and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
            if count >= most {
                return Ok(false);
            }
            let value = format!("{day}\n{}\n{cause}", count + 1);
            if self.store.compare_and_set(ALL, &value, known.map(|one| one.version)).await? {
                return Ok(true);
            }
        }
        Err(PortError::Retry("other processes count codes, too".into()))
    }
}

/// Number of people kept for one address that they typed; the latest stay. One address gets far fewer codes a day.
const TYPED: usize = 20;

fn typed(key: &LinkKey, given: &Identifier) -> String {
    key_value(key, "typed", &[&given.to_string()])
}

/// Name of the stored value that counts the codes of a day.
const ALL: &str = "code/all";

fn key_value(key: &LinkKey, what: &str, parts: &[&str]) -> String {
    let parts: Vec<&[u8]> = ["code-cell", what].iter().chain(parts).map(|part| part.as_bytes()).collect();
    format!("code/{what}/{}", hex::encode(key.draw(&parts)))
}

/// Six digits that depend on the chat, the address and the message in which it was typed.
fn code_of(key: &LinkKey, source: &SourceName, chat: &Conversation, offer: &Offer) -> String {
    let chat = if breakage::is_on("code-of-any-chat") { String::new() } else { chat.chat.to_string() };
    let given = offer.given.to_string();
    let cause = if breakage::is_on("code-of-any-chat") { "" } else { offer.cause.as_str() };
    let parts = ["confirmation-code", source.as_str(), &chat, &given, cause].map(str::as_bytes);
    format!("{:06}", u128::from_be_bytes(key.draw(&parts)) % 1_000_000)
}

/// Compares in a time that does not depend on where the texts differ.
fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

fn letter(policy: &CodePolicy, chat: &Conversation, offer: &Offer, code: &str) -> Result<MessageDecided> {
    let language = chat.profile.as_ref().and_then(|(_, profile)| profile.language.as_deref());
    let is_sms = offer.given.kind() == Kind::Phone;
    let (through, text) = if is_sms { ("sms", &policy.sms) } else { ("email", &policy.letter) };
    let through = SourceName::new(through).map_err(|error| PortError::Fail(error.into()))?;
    let text = text.pick(language).replace("{code}", code);
    let subject = (!is_sms).then(|| policy.subject.pick(language).to_owned());
    let message = MessageDecided::new(through, offer.given.clone(), text, offer.at + CODE_VALID);
    Ok(MessageDecided { subject, is_confidential: true, ..message })
}
