//! Decides and queues mailings. Due messages follow from the person, from earlier messages and from the time. A
//! decision's id names the occasion and its step, so that a decision made again after a crash sends nothing twice. A
//! message is durable in the outbox first, and remembered after that.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use stagedoor_engine::{
    Campaign, Catalog, CrmState, DueMessage, DueMessages, MailingState, MailingStep, MessageDraft, Person, PersonId,
    Route, Show, ShowKey, Traits, deals, due_messages,
};
use stagedoor_model::{
    Body, Button, Channel, Conversation, Event, EventId, Identifier, Kind, LinkIssued, MailingBegun, MessageDecided,
    Notice, PromoIssued, Purpose, SourceName, Timestamp, Token, breakage, time_zone,
};
use stagedoor_ports::{Dirty, PortError, Result};

use crate::{
    Sync, Talking,
    placeholders::{fill_fact, fill_name},
    segment::own_source,
};

/// A message that could not be sent within a day is dropped.
const WORTH: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
/// Delay before a person for whom there was no promo code is looked at again.
const LATER: jiff::SignedDuration = jiff::SignedDuration::from_mins(30);
/// Delay before people whose messages the queues did not take are looked at again.
const QUEUES: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);
/// Unsubscribe links in letters are valid until the end of the year after the next. RFC 8058 requires that they work
/// for as long as a letter is kept.
const YEARS: i16 = 2;

/// Result of looking at people.
#[derive(Default)]
struct Decided {
    facts: Vec<Event>,
    messages: Vec<Event>,
    begun: Vec<(PersonId, Event)>,
    again: BTreeMap<PersonId, Timestamp>,
}

/// Route and time of one message.
struct MailingDraft<'l> {
    conversation: &'l Talking,
    person: &'l Person,
    due: &'l DueMessage<'l>,
    message: &'l MessageDraft<'l>,
    through: SourceName,
    campaign: Option<&'l Campaign>,
    now: Timestamp,
    /// The person under whose id the message was first decided.
    decided_for: PersonId,
}

/// The texts of a message while their placeholders are filled.
struct Words {
    text: String,
    /// Empty if the message is no letter.
    subject: String,
}

impl Sync {
    /// Decides the messages to these people. Returns the people whose CRM states must be saved.
    pub(crate) async fn write(&self, dirty: &mut [Dirty], catalog: &Catalog) -> Result<BTreeSet<PersonId>> {
        let Some(conversation) = self.conversation.as_ref().filter(|_| !catalog.mailings.is_empty()) else {
            return Ok(BTreeSet::new());
        };
        let now = self.clock.now();
        let (mut decided, mut links) = (Decided::default(), BTreeMap::new());
        for one in dirty.iter() {
            let link = self.write_to(conversation, one, catalog, now, &mut decided).await?;
            if link != one.link {
                links.insert(one.person.id, link);
            }
        }
        let (facts, messages) = (std::mem::take(&mut decided.facts), std::mem::take(&mut decided.messages));
        if let Err(error) = hand_over(conversation, facts, self.with_tombstones(messages)).await {
            if breakage::is_on("outbox-stops-crm") {
                return Err(error);
            }
            // Messages must not delay the CRM: the people concerned are decided again.
            tracing::warn!(%error, people = links.len(), "the queues take no messages; they are decided again");
            let again = links.keys().map(|person| (*person, now + QUEUES)).collect();
            self.store.schedule_rechecks(&again).await?;
            return Ok(BTreeSet::new());
        }
        let rows: Vec<(PersonId, &Event)> = decided.begun.iter().map(|(id, event)| (*id, event)).collect();
        self.journal_found(&rows, now).await?;
        if !decided.again.is_empty() {
            self.store.schedule_rechecks(&decided.again).await?;
        }
        let changed = links.keys().copied().collect();
        for one in dirty.iter_mut() {
            if let Some(link) = links.remove(&one.person.id) {
                one.link = link;
            }
        }
        Ok(changed)
    }

    /// Decides the messages to one person. Returns the person's CRM state with what must be remembered.
    async fn write_to(
        &self,
        conversation: &Talking,
        one: &Dirty,
        catalog: &Catalog,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<CrmState> {
        let (person, mut link) = (&one.person, one.link.clone());
        let traits = Traits::of(person, &link.leads(), catalog);
        let mut found = due_messages(person, &link, &traits, catalog, &BTreeSet::new(), now);
        let shared = self.shared_addresses(person, &link, &found).await?;
        if !shared.is_empty() {
            found = due_messages(person, &link, &traits, catalog, &shared, now);
        }
        let mut again_at = found.again_at;
        for due in &found.now {
            let step = match &due.message {
                None => None,
                Some(message) => {
                    let decided_for = self.decided_for(person, due, message.step).await?;
                    if let Some(at) = self.rests_until(due, &message.route.to, decided_for, now).await? {
                        again_at = Some(again_at.map_or(at, |known| known.min(at)));
                        continue;
                    }
                    let step = self.decide_letter((conversation, person, due, message), catalog, now, decided).await?;
                    if step.is_none() {
                        again_at = Some(again_at.map_or(now + LATER, |at| at.min(now + LATER)));
                        continue;
                    }
                    step
                }
            };
            if due.begins {
                let first = self.decided_for(person, due, 0).await?;
                decided.begun.push((person.id, begun(first, due, now)?));
            }
            remember(&mut link, due, step, now);
        }
        if link.written != one.link.written {
            // The person may not have read the message by then.
            let next = due_messages(person, &link, &traits, catalog, &shared, now).again_at;
            again_at = [again_at, next].into_iter().flatten().min();
        }
        if again_at != link.write_again_at {
            decided.again.extend(again_at.map(|at| (person.id, at)));
            link.write_again_at = again_at;
        }
        Ok(link)
    }

    /// Shared phones and e-mails of a person, if a message may go to one of them or a notice of a show went there.
    async fn shared_addresses(
        &self,
        person: &Person,
        link: &CrmState,
        due_messages: &DueMessages<'_>,
    ) -> Result<BTreeSet<Identifier>> {
        let is_post = |one: &Identifier| matches!(one.kind(), Kind::Phone | Kind::Email);
        let goes =
            due_messages.now.iter().filter_map(|due| due.message.as_ref()).any(|message| is_post(&message.route.to));
        let notices = link.written.values().filter(|one| one.told.is_some() && !breakage::is_on("told-crowd-unseen"));
        let went = notices.flat_map(|one| &one.steps).any(|step| is_post(&step.to));
        if !(goes || went) || breakage::is_on("crowd-written-to") {
            return Ok(BTreeSet::new());
        }
        let named: BTreeSet<Identifier> =
            person.identifiers().into_iter().filter(|one| is_post(one)).cloned().collect();
        let known_shared = self.store.resolve(&named).await?.shared;
        let is_shared = |one: &Identifier| known_shared.contains(one) || self.guards.blocked.contains(one);
        Ok(named.into_iter().filter(is_shared).collect())
    }

    /// `None`: the letter cannot be decided now.
    async fn decide_letter(
        &self,
        (conversation, person, due, message): (&Talking, &Person, &DueMessage<'_>, &MessageDraft<'_>),
        catalog: &Catalog,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<Option<MailingStep>> {
        let decided_for = self.decided_for(person, due, message.step).await?;
        let route = self.first_way(person, decided_for, due, message).await?;
        let message = &MessageDraft { route, ..message.clone() };
        let through = SourceName::new(&message.route.through).map_err(|error| PortError::Fail(error.into()))?;
        let campaign = due.mailing.campaign.as_ref().and_then(|name| catalog.campaigns.get(name));
        let letter = MailingDraft { conversation, person, due, message, through, campaign, now, decided_for };
        let Some(event) = self.compose_letter(&letter, catalog, decided).await? else { return Ok(None) };
        let route = &message.route;
        let (through, to, decision) = (route.through.clone(), route.to.clone(), event.id.to_string());
        decided.messages.push(event);
        Ok(Some(MailingStep { at: now, channel: route.channel, through, to, decision }))
    }

    /// The person under whose id this message was first decided. A crash may come before the message was remembered,
    /// and a join after the crash. Under another id the same message would go twice.
    async fn decided_for(&self, person: &Person, due: &DueMessage<'_>, step: usize) -> Result<PersonId> {
        for merged_ids in person.merged_ids.iter().filter(|_| !breakage::is_on("joined-written-again")) {
            if self.store.key_value(&cell_of_way(&due.key, *merged_ids, step)?).await?.is_some() {
                return Ok(*merged_ids);
            }
        }
        Ok(person.id)
    }

    /// The route that was chosen when this message was first decided. A decision made again after a crash must not
    /// choose another route: the first message may be on its way.
    async fn first_way(
        &self,
        person: &Person,
        of: PersonId,
        due: &DueMessage<'_>,
        message: &MessageDraft<'_>,
    ) -> Result<Route> {
        if breakage::is_on("way-chosen-again") {
            return Ok(message.route.clone());
        }
        let own = own_source()?;
        // The store keeps no address beside the person.
        let sealed = |through: &str, to: &Identifier| EventId::derive(&own, &[through, &to.to_string()]).to_string();
        let (name, chosen) = (cell_of_way(&due.key, of, message.step)?, &message.route);
        if self.store.compare_and_set(&name, &sealed(&chosen.through, &chosen.to), None).await? {
            return Ok(chosen.clone());
        }
        let Some(first) = self.store.key_value(&name).await? else { return Ok(chosen.clone()) };
        let known = due.mailing.through.iter().flat_map(|channel| {
            let to = person.identifiers().into_iter().filter(|one| channel.reaches(one.kind()));
            to.map(|to| (*channel, to))
        });
        let mut ways = known.flat_map(|(channel, to)| {
            let through = person
                .conversations()
                .filter(move |(_, conversation)| conversation.chat == *to)
                .map(|(source, _)| source.as_str());
            let through = through.chain([channel.name()]).map(str::to_owned);
            through.map(move |through| Route { channel, through, to: to.clone() })
        });
        Ok(ways.find(|route| sealed(&route.through, &route.to) == first.value).unwrap_or_else(|| chosen.clone()))
    }

    async fn compose_letter(
        &self,
        letter: &MailingDraft<'_>,
        catalog: &Catalog,
        decided: &mut Decided,
    ) -> Result<Option<Event>> {
        let MailingDraft { person, due, message, through, campaign, now, decided_for, .. } = letter;
        let (route, variant) = (&message.route, message.variant);
        let conversation = person
            .conversations()
            .map(|(_, conversation)| conversation)
            .find(|conversation| conversation.chat == route.to);
        let language = language_of(person, conversation);
        let language = language.as_deref();
        let mut words = Words::of(message, language);
        if words.name("{promo}") {
            let code = match campaign {
                Some(campaign) => self.promo_of(campaign, person).await?.map(|code| (*campaign, code)),
                None => None,
            };
            // The pool is empty, and its own error in the log says so. No message goes out about a missing code.
            let Some((campaign, code)) = code else { return Ok(None) };
            decided.facts.push(letter.issued_code(campaign, &code));
            words.put("{promo}", &code);
        }
        if words.name("{link}")
            && let Some(url) = letter.shop_link(decided)
        {
            words.put("{link}", &url);
        }
        if words.name("{confirm}") {
            words.put("{confirm}", &letter.consent_link("confirm", "c", decided));
        }
        if words.name("{unsubscribe}") {
            words.put("{unsubscribe}", &letter.consent_link("unsubscribe", "u", decided));
        }
        let show = show_of(person, due.show.as_ref(), *campaign, catalog);
        words.put("{show}", &show.title);
        words.put_fact("{city}", show.city.as_deref());
        words.put_fact("{when}", when(&show, catalog).as_deref());
        let words = words.to(person);
        let mut decision = MessageDecided::new(through.clone(), route.to.clone(), words.text, *now + WORTH);
        if !variant.button.is_empty() {
            let label = variant.button.pick(language).to_owned();
            decision.button = letter.shop_link(decided).map(|url| Button { label, url });
        }
        if route.channel == Channel::Email {
            decision.subject = Some(words.subject);
            if !due.mailing.is_service {
                decision.unsubscribe = Some(letter.consent_link("unsubscribe", "u", decided));
            }
        }
        decision.heard_at = conversation.and_then(|conversation| conversation.heard_at);
        decision.campaign = Some(due.mailing.name.clone());
        decision.marketing = !due.mailing.is_service;
        decision.quiet.clone_from(&message.quiet);
        decision.notice = letter.notice()?;
        let parts = ["mailing", &due.key, &decided_for.to_string(), &message.step.to_string()];
        let id = EventId::derive(through, &parts);
        Ok(Some(Event::new(through, id, *now, Body::MessageDecided(Box::new(decision)))))
    }
}

impl Words {
    fn of(message: &MessageDraft<'_>, language: Option<&str>) -> Self {
        let (variant, channel) = (message.variant, message.route.channel);
        let is_short = channel == Channel::Sms && !variant.sms.is_empty();
        let text = if is_short { &variant.sms } else { &variant.text }.pick(language).to_owned();
        let subject = if channel == Channel::Email { variant.subject.pick(language) } else { "" };
        Self { text, subject: subject.to_owned() }
    }

    fn name(&self, place: &str) -> bool {
        self.text.contains(place) || self.subject.contains(place)
    }

    fn put(&mut self, place: &str, value: &str) {
        for one in [&mut self.text, &mut self.subject] {
            *one = one.replace(place, value);
        }
    }

    fn put_fact(&mut self, place: &str, fact: Option<&str>) {
        for one in [&mut self.text, &mut self.subject] {
            *one = fill_fact(one, place, fact);
        }
    }

    /// Fills in the name last: a name is plain text, even if it looks like a placeholder.
    fn to(self, person: &Person) -> Self {
        let name = person.name().filter(|name| !person.is_stand_in(name));
        Self { text: fill_name(&self.text, name), subject: fill_name(&self.subject, name) }
    }
}

/// Language of the chat. For a letter, the language of any chat of the person.
fn language_of(person: &Person, conversation: Option<&Conversation>) -> Option<String> {
    let told = |conversation: &Conversation| {
        let (at, profile) = conversation.profile.as_ref()?;
        Some((*at, profile.language.clone()?))
    };
    let told = conversation
        .and_then(told)
        .or_else(|| person.conversations().filter_map(|(_, conversation)| told(conversation)).max());
    told.map(|(_, language)| language)
}

/// Sends facts before messages: a link must be known before it is opened.
async fn hand_over(conversation: &Talking, facts: Vec<Event>, messages: Vec<Event>) -> Result<()> {
    if !facts.is_empty() {
        conversation.chats.send(facts).await?;
    }
    if !messages.is_empty() {
        conversation.outbox.send(messages).await?;
    }
    Ok(())
}

/// Name of the stored value that holds the route of one message.
fn cell_of_way(occasion: &str, person: PersonId, step: usize) -> Result<String> {
    let id = EventId::derive(&own_source()?, &["way", occasion, &person.to_string(), &step.to_string()]);
    Ok(format!("way/{id}"))
}

fn begun(person: PersonId, due: &DueMessage<'_>, now: Timestamp) -> Result<Event> {
    let own = own_source()?;
    let body = MailingBegun {
        mailing: due.mailing.name.clone(),
        show: due.show.as_ref().map(|show| show.0.clone()),
        variant: due.message.as_ref().map(|message| message.variant.name.clone()),
    };
    let id = EventId::derive(&own, &["mailing", &due.key, &person.to_string()]);
    Ok(Event::new(&own, id, now, Body::MailingBegun(body)))
}

fn remember(link: &mut CrmState, due: &DueMessage<'_>, step: Option<MailingStep>, now: Timestamp) {
    let variant = due.message.as_ref().map(|message| message.variant.name.clone());
    let written = link.written.entry(due.key.clone()).or_insert_with(|| MailingState {
        mailing: due.mailing.name.clone(),
        show: due.show.clone(),
        city: due.city.clone(),
        began_at: now,
        variant,
        marketing: !due.mailing.is_service,
        steps: vec![],
        told: due.told,
    });
    written.steps.extend(step);
}

fn show_of(person: &Person, show: Option<&ShowKey>, campaign: Option<&Campaign>, catalog: &Catalog) -> Show {
    let own = show.and_then(|key| deals(person, catalog).remove(key));
    own.map_or_else(|| catalog.catalog_show(campaign.and_then(|one| one.show.as_ref())), |deal| deal.show)
}

/// When the show begins, in the time zone of its place.
fn when(show: &Show, catalog: &Catalog) -> Option<String> {
    let zone = show.zone.as_deref().and_then(time_zone);
    let zone = zone.or_else(|| catalog.zone.clone()).unwrap_or(TimeZone::UTC);
    show.starts_at.map(|at| at.to_zoned_datetime(zone).strftime("%d.%m.%Y %H:%M").to_string())
}

impl MailingDraft<'_> {
    fn issue(&self, token: Token, campaign: &str, purpose: Purpose, expires_at: Timestamp) -> Event {
        let mut identifiers = BTreeSet::from([self.message.route.to.clone()]);
        identifiers.extend(Identifier::opaque(Kind::Link, "", token.as_str()));
        let id = EventId::derive(&self.through, &["letter-link", token.as_str()]);
        let expires_at = token.header().map_or(expires_at, |header| header.expires_at);
        let body =
            LinkIssued { identifiers, token, campaign: campaign.to_owned(), purpose, expires_at, is_sent: false };
        Event::new(&self.through, id, self.now, Body::LinkIssued(body))
    }

    /// The notice, if the message is about a change of a show.
    fn notice(&self) -> Result<Option<Notice>> {
        let Some((told, show)) = self.due.told.zip(self.due.show.as_ref()) else { return Ok(None) };
        let source = own_source()?;
        let about = |whom: &PersonId| EventId::derive(&source, &["notice", &show.0, &whom.to_string()]).to_string();
        let mut joined: BTreeSet<String> = self.person.merged_ids.iter().map(about).collect();
        if breakage::is_on("notice-forgets-the-joined") {
            joined.clear();
        }
        Ok(Some(Notice { about: about(&self.person.id), joined, changed_at: told.changed_at }))
    }

    /// The person's own link to the campaign's shop. Mailing and address distinguish such links.
    fn shop_link(&self, decided: &mut Decided) -> Option<String> {
        let campaign = self.campaign.filter(|campaign| campaign.shop.is_some())?;
        let whose = format!("{} {}", self.due.key, self.message.route.to);
        let token = self.conversation.links.mint(campaign.number, Purpose::Shop, &whose, campaign.ends_at);
        let url = format!("{}/l/{token}", self.conversation.public_url);
        decided.facts.push(self.issue(token, &self.due.mailing.name, Purpose::Shop, campaign.ends_at));
        Some(url)
    }

    /// A link for an address and year, which all letters share. A letter that asks for a confirmation has its own
    /// link, which answers no later question.
    fn consent_link(&self, what: &str, path: &str, decided: &mut Decided) -> String {
        let year = self.now.to_zoned_datetime(TimeZone::UTC).date().year() + YEARS;
        let end = format!("{year}-12-31T00:00:00Z").parse().unwrap_or(self.now);
        let (which, whose) = match what {
            "confirm" => (Purpose::CONFIRMS, format!("{what} {}", self.due.key)),
            _ => (0, format!("{what} {}", self.message.route.to)),
        };
        let token = self.conversation.links.mint(which, Purpose::Consent, &whose, end);
        let url = format!("{}/{path}/{token}", self.conversation.public_url);
        if !self.person.links().any(|known| known.token == token) {
            decided.facts.push(self.issue(token, "consent", Purpose::Consent, end));
        }
        url
    }

    fn issued_code(&self, campaign: &Campaign, code: &str) -> Event {
        let person = self.person.id.to_string();
        let id = EventId::derive(&self.through, &["promo", &campaign.name, &person, code]);
        let identifiers = BTreeSet::from([self.message.route.to.clone()]);
        let body = PromoIssued { identifiers, campaign: campaign.name.clone(), code: code.to_owned() };
        Event::new(&self.through, id, self.now, Body::PromoIssued(body))
    }
}
