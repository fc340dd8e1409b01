//! Turns events about chats, links and promo codes into records of people.

use std::collections::BTreeSet;

use stagedoor_model::{
    Body, ChatRef, ChatWord, Content, Conversation, Delivered, Event, Fact, Identifier, Kind, Message, MessageContent,
    MessageReported, Promo, Purpose, Record, RecordKey, SendOutcome, SentMessage, SourceName, Token, TrackedLink,
    breakage,
};

/// Returns the key of the record that holds everything of one chat with one source.
pub fn talk_key(source: &SourceName, chat: &Identifier) -> RecordKey {
    RecordKey(format!("chat:{source}:{chat}"))
}

/// Returns the record that such an event makes, or `None` if the event concerns no person.
pub(crate) fn record_of(event: &Event, body: &Body) -> Option<Record> {
    let line = |said: MessageContent| line_of(event, said);
    match body {
        Body::ChatStarted(started) => {
            let said = MessageContent::Started { token: started.token.clone(), only_opened: started.only_opened };
            let mut conversation = talk_of(event, &started.chat).with(line(said));
            if started.may_write {
                conversation = conversation.saying(event.time, ChatWord::Opened);
            }
            Some(about_chat(event, &started.chat, conversation, started.token.iter().filter_map(link)))
        }
        Body::MessageReceived(heard) => {
            let (said, files) = match heard.content.clone() {
                Content::Text(text) => (MessageContent::Text(text), vec![]),
                Content::Button(payload) => (MessageContent::Button(payload), vec![]),
                Content::Pressed { payload, label } => (MessageContent::Pressed { payload, label }, vec![]),
                Content::Other { kind, caption, files } => (MessageContent::Other(kind, caption), files),
            };
            let line = Message { files, ..line(said) };
            Some(about_chat(event, &heard.chat, spoken(event, &heard.chat, line), None))
        }
        Body::ContactShared(shared) => {
            let conversation = spoken(event, &shared.chat, line(MessageContent::Contact(shared.given.clone())));
            if shared.proof.joins() || breakage::is_on("claims-join") {
                return Some(about_chat(event, &shared.chat, conversation, [shared.given.clone()]));
            }
            let record = about_chat(event, &shared.chat, conversation, None);
            // A person may type the number that WhatsApp proves. Then it is no claim.
            let claims = Some(shared.given.clone()).filter(|given| !record.identifiers.contains(given));
            Some(Record { claims: claims.into_iter().collect(), ..record })
        }
        Body::ChatStopped(changed) => {
            let word = if changed.marketing_only { ChatWord::Stopped } else { ChatWord::Blocked };
            let conversation = talk_of(event, &changed.chat).saying(event.time, word);
            Some(about_chat(event, &changed.chat, conversation, None))
        }
        Body::ChatResumed(changed) => {
            let conversation = talk_of(event, &changed.chat);
            let conversation = match changed.marketing_only {
                true => conversation.saying(event.time, ChatWord::Resumed),
                false => conversation.with(line(MessageContent::Allowed)).saying(event.time, ChatWord::Opened),
            };
            Some(about_chat(event, &changed.chat, conversation, None))
        }
        Body::ChatRenamed(changed) => {
            let conversation = talk_of(event, &changed.chat);
            Some(about_chat(event, &changed.chat, conversation, None))
        }
        Body::MessageReported(told) => reported(event, told),
        Body::MessageSent(sent) if sent.to.kind() != Kind::Email => {
            let mut conversation = Conversation::of(sent.to.clone());
            match &sent.outcome {
                SendOutcome::Sent(id) => {
                    let (decision, sent_at) = (Some(sent.decision.clone()), Some(event.time));
                    conversation
                        .messages
                        .insert(id.clone(), SentMessage { decision, sent_at, ..SentMessage::default() });
                    conversation = conversation.with(line(MessageContent::Hub(sent.text.clone())));
                }
                SendOutcome::Unknown => {
                    conversation = conversation.with(line(MessageContent::Hub(sent.text.clone())));
                    conversation.unanswered_at = Some(event.time);
                }
                SendOutcome::Withdrawn(_) => {
                    conversation = Conversation {
                        refused_at: Some(event.time),
                        ..conversation.saying(event.time, ChatWord::Blocked)
                    };
                }
                SendOutcome::Dropped(_) => {}
                SendOutcome::Refused(_) => conversation.refused_at = Some(event.time),
            }
            Some(about_chat(event, &ChatRef::of(sent.to.clone()), conversation, None))
        }
        Body::LinkIssued(issued) => {
            let fact = TrackedLink {
                token: bare(&issued.token),
                campaign: issued.campaign.clone(),
                purpose: issued.purpose,
                expires_at: Some(issued.expires_at),
                first_opened: None,
                last_opened: None,
                sent_at: issued.is_sent.then_some(event.time),
            };
            Some(about_link(event, fact, issued.identifiers.clone()))
        }
        Body::LinkClicked(clicked) if clicked.purpose != Purpose::Public => {
            let fact = TrackedLink {
                token: bare(&clicked.token),
                campaign: clicked.campaign.clone(),
                purpose: clicked.purpose,
                expires_at: None,
                first_opened: Some(event.time),
                last_opened: Some(event.time),
                sent_at: None,
            };
            Some(about_link(event, fact, BTreeSet::new()))
        }
        Body::PromoIssued(issued) => {
            let whose = issued.identifiers.first()?;
            let key = RecordKey(format!("promo:{}:{whose}", issued.campaign));
            let (campaign, code) = (issued.campaign.clone(), issued.code.clone());
            let fact = Fact::Promo(Promo { campaign, code, issued_at: event.time });
            Some(record(event, key, issued.identifiers.clone(), fact))
        }
        _ => None,
    }
}

fn line_of(event: &Event, said: MessageContent) -> Message {
    let order = if breakage::is_on("lines-of-a-second-shuffled") { 0 } else { event.order };
    Message { at: event.time, order, id: event.id.to_string(), said, files: vec![] }
}

fn record(event: &Event, key: RecordKey, identifiers: BTreeSet<Identifier>, fact: Fact) -> Record {
    Record { identifiers, ..Record::new(key, event.source.clone(), event.time, fact) }
}

fn talk_of(event: &Event, chat: &ChatRef) -> Conversation {
    let profile = (!chat.profile.is_empty()).then(|| (event.time, chat.profile.clone()));
    Conversation { profile, ..Conversation::of(chat.id.clone()) }
}

/// Returns the record of a later report about a message that the messenger accepted.
fn reported(event: &Event, told: &MessageReported) -> Option<Record> {
    let mut conversation = talk_of(event, &told.chat);
    // A long message is sent in parts. Each part has the id of the decision, with its number behind it.
    let whole = |part: &String| part.split_once('/').map_or(part.as_str(), |(whole, _)| whole).to_owned();
    let mut message = SentMessage { decision: told.decision.as_ref().map(whole), ..SentMessage::default() };
    match told.state {
        Delivered::Seen => message.seen_at = Some(event.time),
        Delivered::Failed if breakage::is_on("late-failure-unheard") => return None,
        Delivered::Failed => message.failed_at = Some(event.time),
        Delivered::Sent | Delivered::Delivered => return None,
    }
    match (&told.message, told.state) {
        (Some(id), _) => _ = conversation.messages.insert(id.clone(), message),
        (None, Delivered::Seen) => conversation.seen_at = Some(event.time),
        (None, _) => conversation.refused_at = Some(event.time),
    }
    if told.state == Delivered::Failed {
        let said = MessageContent::Undelivered(told.code.clone());
        conversation = conversation.with(line_of(event, said));
    }
    Some(about_chat(event, &told.chat, conversation, None))
}

/// Returns a conversation with one more message of the person. A person who writes may get messages.
fn spoken(event: &Event, chat: &ChatRef, line: Message) -> Conversation {
    let conversation = talk_of(event, chat).with(line);
    Conversation { open_since: Some(event.time), may_write: Some((event.time, true)), ..conversation }
}

fn about_chat(
    event: &Event,
    chat: &ChatRef,
    conversation: Conversation,
    more: impl IntoIterator<Item = Identifier>,
) -> Record {
    let mut identifiers = chat.also.clone();
    identifiers.insert(chat.id.clone());
    identifiers.extend(more);
    record(event, talk_key(&event.source, &chat.id), identifiers, Fact::Conversation(Box::new(conversation)))
}

fn about_link(event: &Event, fact: TrackedLink, mut identifiers: BTreeSet<Identifier>) -> Record {
    identifiers.extend(link(&fact.token));
    record(event, RecordKey(format!("link:{}", fact.token.as_str())), identifiers, Fact::Link(fact))
}

fn link(token: &Token) -> Option<Identifier> {
    Identifier::opaque(Kind::Link, "", token.as_str())
}

/// Returns the token without the browser's tag, which belongs to one use and not to the link.
fn bare(token: &Token) -> Token {
    Token::parse(token.as_str()).unwrap_or_else(|| token.clone())
}
