//! Decides answers to chats. A decision follows from the conversation alone, and its id is made of what it answers. A
//! repeated decision is the same decision, and is sent once.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{
    BotStep, CODE_VALID, Campaign, Intent, Localised, Offer, On, PASSED_ON_ONCE, Person, PersonId, Reply, turns,
};
use stagedoor_model::{
    Body, Button, ChatChanged, ChatRef, ContactShared, Conversation, Event, EventId, Identifier, Kind, LinkIssued,
    MessageContent, MessageDecided, PromoIssued, Proof, Purpose, SourceName, breakage,
};
use stagedoor_ports::{PortError, Result};

use crate::{
    Sync, Talking,
    codes::Tried,
    placeholders::{fill_fact, fill_name},
};

/// An answer that was not sent within a day is dropped.
const WORTH: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// True if an event in a chat may want an answer.
pub(crate) fn asks(event: &Event) -> bool {
    match &event.body {
        Body::ChatStarted(_) | Body::MessageReceived(_) | Body::ContactShared(_) | Body::ChatResumed(_) => true,
        Body::MessageReported(reported) => reported.decision.is_some(),
        _ => false,
    }
}

/// Identifier by which the chat of an event is found.
fn chat_of(event: &Event) -> Option<&Identifier> {
    match &event.body {
        Body::ChatStarted(started) => Some(&started.chat.id),
        Body::MessageReceived(heard) => Some(&heard.chat.id),
        Body::ContactShared(shared) => Some(&shared.chat.id),
        Body::ChatResumed(changed) => Some(&changed.chat.id),
        _ => None,
    }
}

/// Result of evaluating one conversation.
#[derive(Default)]
struct Decided {
    messages: Vec<Event>,
    facts: Vec<Event>,
    /// Events that become facts unless a code is answered before.
    unconfirmed: Vec<Event>,
}

impl Sync {
    /// Decides the answers to these events. Returns the positions of events whose decisions are not durable.
    pub(crate) async fn answer(&self, heard: Vec<(usize, Event)>) -> BTreeSet<usize> {
        let Some(conversation) = self.conversation.as_ref().filter(|_| !heard.is_empty()) else {
            return BTreeSet::new();
        };
        match self.decide(conversation, &heard).await {
            Ok(()) => BTreeSet::new(),
            Err(error) => {
                tracing::warn!(%error, events = heard.len(), "answers could not be decided; the events come again");
                heard.into_iter().map(|(index, _)| index).collect()
            }
        }
    }

    async fn decide(&self, conversation: &Talking, heard: &[(usize, Event)]) -> Result<()> {
        for (_, event) in heard {
            self.settle_report(event).await?;
        }
        let chats: BTreeSet<Identifier> = heard.iter().filter_map(|(_, event)| chat_of(event).cloned()).collect();
        let owners = self.store.resolve(&chats).await?.owners;
        let people: BTreeMap<PersonId, Person> = self
            .store
            .load(&owners.values().copied().collect())
            .await?
            .into_iter()
            .map(|person| (person.value.id, person.value))
            .collect();
        let causes: BTreeMap<&str, &Event> = heard.iter().map(|(_, event)| (event.id.as_str(), event)).collect();
        let mut decided = Decided::default();
        for person in people.values() {
            for (source, chat) in person.conversations().filter(|(_, chat)| chats.contains(&chat.chat)) {
                // Earlier messages are included, because some mean something only now. For example, the button that
                // lets us write came before the start to which it belongs. An earlier answer is decided under the
                // same id and not sent again.
                let first = heard.iter().filter(|(_, event)| chat_of(event) == Some(&chat.chat)).map(|(_, one)| one);
                let late = first.min_by_key(|event| event.time);
                let due = turns(&self.catalog.bot_script, chat, person).into_iter();
                let due = due.filter(|turn| {
                    causes.contains_key(turn.cause.as_str()) || late.is_some_and(|event| turn.at > event.time)
                });
                for turn in due {
                    let from = decided.messages.len();
                    self.turn(conversation, person, source, chat, turn.clone(), &mut decided).await?;
                    let cause = causes.get(turn.cause.as_str()).copied().or(late);
                    let trace = cause.and_then(|event| event.traceparent.clone());
                    let fresh = decided.messages.iter_mut().skip(from);
                    fresh.for_each(|event| event.traceparent.clone_from(&trace));
                }
            }
        }
        // Facts come first: a link must be known before it is opened.
        if !decided.facts.is_empty() {
            conversation.chats.send(decided.facts).await?;
        }
        if !decided.unconfirmed.is_empty() {
            let wait = std::time::Duration::try_from(CODE_VALID).unwrap_or_default();
            conversation.chats.send_later(decided.unconfirmed, wait).await?;
        }
        if !decided.messages.is_empty() {
            conversation.outbox.send(self.with_tombstones(decided.messages)).await?;
        }
        Ok(())
    }

    /// Notes that a message went out, if the messenger gives back the decision's id. `outreach` may have lost the
    /// answer.
    async fn settle_report(&self, event: &Event) -> Result<()> {
        let Body::MessageReported(reported) = &event.body else { return Ok(()) };
        let (Some(decision), Some(message)) = (&reported.decision, &reported.message) else { return Ok(()) };
        self.store.compare_and_set(&format!("reported/{decision}"), message, None).await.map(drop)
    }

    async fn turn(
        &self,
        conversation: &Talking,
        person: &Person,
        source: &SourceName,
        chat: &Conversation,
        turn: BotStep<'_>,
        decided: &mut Decided,
    ) -> Result<()> {
        let id = |what: &str| EventId::derive(source, &[what, &turn.cause]);
        let behind = turn.order.saturating_add(1);
        let mut learn = |what, body| decided.facts.push(Event::new(source, id(what), turn.at, body).ordered(behind));
        let chat_ref = || ChatRef::of(chat.chat.clone());
        if let Some(given) = turn.beside.clone() {
            let proof = Proof::Claimed;
            learn("given", Body::ContactShared(ContactShared { chat: chat_ref(), given, proof }));
        }
        match &turn.heard {
            // A typed contact becomes an event of its own, which is answered in its turn.
            Intent::Given(given) if !is_shared(chat, &turn.cause) => {
                if self.confirm_by_code(conversation, person, (source, chat), &turn, given, decided).await? {
                    return Ok(());
                }
                let mut learn = |what, body| decided.facts.push(Event::new(source, id(what), turn.at, body));
                let shared = ContactShared { chat: chat_ref(), given: given.clone(), proof: Proof::Claimed };
                learn("given", Body::ContactShared(shared));
                return Ok(());
            }
            Intent::Code(digits, offer) => {
                return self.hear_code(conversation, (source, chat), &turn, (offer, digits), decided).await;
            }
            Intent::Stop => {
                learn("stop", Body::ChatStopped(ChatChanged { chat: chat_ref(), marketing_only: true }));
            }
            Intent::Start if chat.marketing.is_some_and(|(at, may)| !may && at < turn.at) => {
                learn("resume", Body::ChatResumed(ChatChanged { chat: chat_ref(), marketing_only: true }));
            }
            _ => {}
        }
        let way_out = self.way_out(source, chat)?.filter(|_| !turn.replies.is_empty() && chat.is_open());
        let Some(through) = way_out else { return Ok(()) };
        let message = self.compose(conversation, person, source, chat, &turn, decided).await?;
        let message = MessageDecided { through, ..message };
        let event =
            Event::new(source, self.answer_id(source, chat, &turn), turn.at, Body::MessageDecided(Box::new(message)));
        decided.messages.push(event);
        Ok(())
    }

    /// Id of an answer. Several messages of one moment may arrive at several processes. They get one "a manager will
    /// answer", namely the answer that is decided first.
    fn answer_id(&self, source: &SourceName, chat: &Conversation, turn: &BotStep<'_>) -> EventId {
        // A greeting stands beside it if these are the first words.
        let is_passed_on = matches!(turn.heard, Intent::Other | Intent::Doubt) && turn.replies.len() <= 1;
        let is_passed_on = is_passed_on && !breakage::is_on("answers-without-end");
        match is_passed_on {
            true => {
                let moment = turn.at.as_second().div_euclid(PASSED_ON_ONCE).to_string();
                EventId::derive(source, &["passed-on", &chat.chat.to_string(), &moment])
            }
            false => EventId::derive(source, &["reply", &turn.cause]),
        }
    }

    /// Sends a code to an address that was typed. Returns true if the address waits for the code. Otherwise it is a
    /// claim at once.
    async fn confirm_by_code(
        &self,
        conversation: &Talking,
        person: &Person,
        (source, chat): (&SourceName, &Conversation),
        turn: &BotStep<'_>,
        given: &Identifier,
        decided: &mut Decided,
    ) -> Result<bool> {
        let Some(through) = self.way_out(source, chat)?.filter(|_| chat.is_open()) else { return Ok(false) };
        let Some(policy) = &self.catalog.bot_script.codes else { return Ok(false) };
        // The decision is made again after the address was confirmed.
        let is_told = chat.lines.iter().any(|line| matches!(&line.said, MessageContent::Contact(one) if one == given));
        if is_told && policy.takes(given) && person.identifiers().contains(given) {
            return Ok(true);
        }
        let Some(message) = self.offer_code(conversation, person, (source, chat), turn, given).await? else {
            return Ok(false);
        };
        let chat_ref = ChatRef::of(chat.chat.clone());
        let shared = ContactShared { chat: chat_ref, given: given.clone(), proof: Proof::Claimed };
        let (id, at) = (EventId::derive(source, &["given", &turn.cause]), turn.at + CODE_VALID);
        decided.unconfirmed.push(Event::new(source, id, at, Body::ContactShared(shared)));
        decided.messages.extend([message, said(source, through, chat, turn, &policy.sent)]);
        Ok(true)
    }

    async fn hear_code(
        &self,
        conversation: &Talking,
        (source, chat): (&SourceName, &Conversation),
        turn: &BotStep<'_>,
        (offer, digits): (&Offer, &str),
        decided: &mut Decided,
    ) -> Result<()> {
        let tried = self.try_code(conversation, (source, chat), turn, offer, digits).await?;
        let Some(policy) = &self.catalog.bot_script.codes else { return Ok(()) };
        let text = match tried {
            Tried::Right => {
                // The address counts as if the messenger had shared it. The event is answered in its turn.
                let chat_ref = ChatRef::of(chat.chat.clone());
                let shared = ContactShared { chat: chat_ref, given: offer.given.clone(), proof: Proof::Channel };
                let id = EventId::derive(source, &["confirmed", &turn.cause]);
                decided.facts.push(Event::new(source, id, turn.at, Body::ContactShared(shared)));
                return Ok(());
            }
            Tried::Wrong => &policy.wrong,
            Tried::Ended => &policy.ended,
        };
        let way_out = self.way_out(source, chat)?.filter(|_| chat.is_open());
        decided.messages.extend(way_out.map(|through| said(source, through, chat, turn, text)));
        Ok(())
    }

    /// The source through which a chat is answered. SMS come in through one source and go out through the gateway. A
    /// source that only listens answers no chat.
    fn way_out(&self, source: &SourceName, chat: &Conversation) -> Result<Option<SourceName>> {
        let senders = &self.catalog.senders;
        if senders.contains(source.as_str()) {
            return Ok(Some(source.clone()));
        }
        let by_sms = chat.chat.kind() == Kind::Phone && senders.contains("sms");
        by_sms.then(|| SourceName::new("sms").map_err(|error| PortError::Fail(error.into()))).transpose()
    }

    async fn compose(
        &self,
        conversation: &Talking,
        person: &Person,
        source: &SourceName,
        chat: &Conversation,
        turn: &BotStep<'_>,
        decided: &mut Decided,
    ) -> Result<MessageDecided> {
        let campaign = turn.campaign.as_ref().and_then(|name| self.catalog.campaigns.get(name));
        let language = chat.profile.as_ref().and_then(|(_, profile)| profile.language.as_deref());
        let raw: Vec<&str> = turn.replies.iter().map(|reply| reply.text.pick(language)).collect();
        let mut text = raw.join("\n\n");
        if text.contains("{promo}") {
            let code = match campaign {
                Some(campaign) => self.promo_of(campaign, person).await?.map(|code| (campaign, code)),
                None => None,
            };
            if let Some((campaign, code)) = &code {
                decided.facts.push(issued(source, person, chat, campaign, code, turn));
            }
            // Without a code a manager must look: the error is in the log, and the person must not get a brace.
            text = text.replace("{promo}", code.as_ref().map_or("…", |(_, code)| code));
        }
        let show = self.catalog.catalog_show(campaign.and_then(|campaign| campaign.show.as_ref()));
        text = fill_fact(&text.replace("{show}", &show.title), "{city}", show.city.as_deref());
        let menu = self.menu(campaign, language);
        let has_menu = text.contains("{menu}");
        text = text.replace("{menu}", &menu.join("\n"));
        // The name comes last: a name is plain text, even if it looks like a placeholder.
        text = fill_name(&text, person.name().filter(|name| !person.is_stand_in(name)));
        let label = turn.replies.iter().find_map(|reply| reply.button.as_ref());
        let button = match (label, campaign.filter(|campaign| campaign.shop.is_some())) {
            (Some(label), Some(campaign)) => {
                let url = self.shop_link(conversation, source, chat, campaign, turn, decided);
                Some(Button { label: label.pick(language).to_owned(), url })
            }
            _ => None,
        };
        let asks_phone = turn.replies.iter().any(|reply| reply.ask == Some(stagedoor_engine::Ask::Phone));
        let until = turn.at.checked_add(WORTH).unwrap_or(turn.at);
        Ok(MessageDecided {
            button,
            choices: if has_menu { menu } else { vec![] },
            ask_phone: asks_phone && person.phones().is_empty(),
            heard_at: chat.heard_at,
            campaign: turn.campaign.clone(),
            ..MessageDecided::new(source.clone(), chat.chat.clone(), text, until)
        })
    }

    /// The lines of the menu. Lines of the chat's campaign replace the general ones.
    fn menu(&self, campaign: Option<&Campaign>, language: Option<&str>) -> Vec<String> {
        let own = |reply: &&Reply| reply.campaign.is_none() || reply.campaign.as_ref() == campaign.map(|one| &one.name);
        let mut lines = BTreeMap::new();
        for reply in self.catalog.bot_script.replies.iter().filter(own) {
            if let On::Menu(number, title) = &reply.on
                && (reply.campaign.is_some() || !lines.contains_key(number))
            {
                lines.insert(*number, format!("{number}. {}", title.pick(language)));
            }
        }
        lines.into_values().collect()
    }

    /// The chat's own link to the shop. It is the same each time.
    fn shop_link(
        &self,
        conversation: &Talking,
        source: &SourceName,
        chat: &Conversation,
        campaign: &Campaign,
        turn: &BotStep<'_>,
        decided: &mut Decided,
    ) -> String {
        let whose = format!("{source} {}", chat.chat);
        let token = conversation.links.mint(campaign.number, Purpose::Shop, &whose, campaign.ends_at);
        let url = format!("{}/l/{token}", conversation.public_url);
        let expires_at = token.header().map_or(campaign.ends_at, |header| header.expires_at);
        let mut identifiers = BTreeSet::from([chat.chat.clone()]);
        identifiers.extend(Identifier::opaque(Kind::Link, "", token.as_str()));
        let id = EventId::derive(source, &["shop-link", token.as_str()]);
        let (name, purpose) = (campaign.name.clone(), Purpose::Shop);
        let body = LinkIssued { identifiers, token, campaign: name, purpose, expires_at, is_sent: false };
        decided.facts.push(Event::new(source, id, turn.at, Body::LinkIssued(body)));
        url
    }
}

/// A message with a text of the hub in a chat.
fn said(source: &SourceName, through: SourceName, chat: &Conversation, turn: &BotStep<'_>, text: &Localised) -> Event {
    let language = chat.profile.as_ref().and_then(|(_, profile)| profile.language.as_deref());
    let until = turn.at.checked_add(WORTH).unwrap_or(turn.at);
    let message = MessageDecided::new(through, chat.chat.clone(), text.pick(language).to_owned(), until);
    let message = MessageDecided { heard_at: chat.heard_at, ..message };
    let id = EventId::derive(source, &["reply", &turn.cause]);
    Event::new(source, id, turn.at, Body::MessageDecided(Box::new(message)))
}

/// True if the contact came from the messenger's own button, or was reported before.
fn is_shared(chat: &Conversation, cause: &str) -> bool {
    let line = chat.lines.iter().find(|line| line.id == cause);
    line.is_some_and(|line| matches!(line.said, stagedoor_model::MessageContent::Contact(_)))
}

fn issued(
    source: &SourceName,
    person: &Person,
    chat: &Conversation,
    campaign: &Campaign,
    code: &str,
    turn: &BotStep<'_>,
) -> Event {
    let id = EventId::derive(source, &["promo", &campaign.name, &person.id.to_string(), code]);
    let identifiers = BTreeSet::from([chat.chat.clone()]);
    let body = PromoIssued { identifiers, campaign: campaign.name.clone(), code: code.to_owned() };
    Event::new(source, id, turn.at, Body::PromoIssued(body))
}
