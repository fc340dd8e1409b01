//! What people are written of the hub's own accord. What is due follows from the person, from what they were written before and from
//! the time; a decision's id names the occasion and its step, so that whoever decides it again after a crash sends nothing twice.
//! First the message is durable in the outbox, then it is remembered.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::{TimeZone, TimeZoneDatabase};
use stagedoor_engine::{
    Campaign, Catalog, Due, Link, Message, Person, PersonId, Show, ShowKey, Traits, Written, WrittenStep, deals, dues,
};
use stagedoor_model::{
    Body, Button, Channel, Event, EventId, Identifier, Kind, LinkIssued, MailingBegun, MessageDecided, PromoIssued,
    Purpose, SourceName, Timestamp, Token,
};
use stagedoor_ports::{Dirty, PortError, Result};

use crate::{Sync, Talking, invite::fill_name, segment::own_source};

/// What could not be sent within a day is not worth sending.
const WORTH: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
/// When somebody is looked at again for whom there was no promo code.
const LATER: jiff::SignedDuration = jiff::SignedDuration::from_mins(30);
/// Links under which letters are unsubscribed from are good until the end of the year after the next: RFC 8058 wants them to
/// work for as long as a letter is kept.
const YEARS: i16 = 2;

/// What one person's look came to.
#[derive(Default)]
struct Decided {
    facts: Vec<Event>,
    messages: Vec<Event>,
    begun: Vec<Event>,
}

/// Where and when one message goes.
struct Letter<'l> {
    talk: &'l Talking,
    person: &'l Person,
    due: &'l Due<'l>,
    message: &'l Message<'l>,
    through: SourceName,
    campaign: Option<&'l Campaign>,
    now: Timestamp,
}

impl Sync {
    /// Decides what these people are written now, and answers whose links are to be saved.
    pub(crate) async fn write(&self, dirty: &mut [Dirty], catalog: &Catalog) -> Result<BTreeSet<PersonId>> {
        let Some(talk) = self.talk.as_ref().filter(|_| !catalog.mailings.is_empty()) else {
            return Ok(BTreeSet::new());
        };
        let now = self.clock.now();
        let (mut all, mut links) = (Decided::default(), BTreeMap::new());
        let (mut again, mut begun) = (BTreeMap::new(), Vec::new());
        for one in dirty.iter() {
            let traits = Traits::of(&one.person, &one.link.leads(), catalog);
            let found = dues(&one.person, &one.link, &traits, catalog, now);
            let (mut link, mut again_at) = (one.link.clone(), found.again_at);
            for due in &found.now {
                let mut decided = Decided::default();
                match self.decide_letter(talk, &one.person, due, catalog, now, &mut decided).await? {
                    Some(step) => remember(&mut link, due, step, now),
                    None => again_at = Some(again_at.map_or(now + LATER, |at| at.min(now + LATER))),
                }
                all.facts.extend(decided.facts);
                all.messages.extend(decided.messages);
                begun.extend(decided.begun.into_iter().map(|event| (one.person.id, event)));
            }
            if link.written != one.link.written {
                // Nobody may have read it by then.
                let next = dues(&one.person, &link, &traits, catalog, now).again_at;
                again_at = [again_at, next].into_iter().flatten().min();
            }
            if again_at != link.write_again_at {
                again.extend(again_at.map(|at| (one.person.id, at)));
                link.write_again_at = again_at;
            }
            if link != one.link {
                links.insert(one.person.id, link);
            }
        }
        // First what is found out: a link must be known before anybody presses it.
        if !all.facts.is_empty() {
            talk.chats.send(all.facts).await?;
        }
        if !all.messages.is_empty() {
            talk.outbox.send(all.messages).await?;
        }
        let rows: Vec<(PersonId, &Event)> = begun.iter().map(|(id, event)| (*id, event)).collect();
        self.journal_found(&rows, now).await?;
        if !again.is_empty() {
            self.store.look_again(&again).await?;
        }
        let changed = links.keys().copied().collect();
        for one in dirty.iter_mut() {
            if let Some(link) = links.remove(&one.person.id) {
                one.link = link;
            }
        }
        Ok(changed)
    }

    /// `None`: it cannot be written just now.
    async fn decide_letter(
        &self,
        talk: &Talking,
        person: &Person,
        due: &Due<'_>,
        catalog: &Catalog,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<Option<Option<WrittenStep>>> {
        let own = own_source()?;
        let id = EventId::derive(&own, &["mailing", &due.key, &person.id.to_string()]);
        if due.begins {
            let body = MailingBegun {
                mailing: due.mailing.name.clone(),
                show: due.show.as_ref().map(|show| show.0.clone()),
                variant: due.message.as_ref().map(|message| message.variant.name.clone()),
            };
            decided.begun.push(Event::new(&own, id, now, Body::MailingBegun(body)));
        }
        let Some(message) = &due.message else { return Ok(Some(None)) };
        let through = SourceName::new(&message.way.through).map_err(|error| PortError::Fail(error.into()))?;
        let campaign = due.mailing.campaign.as_ref().and_then(|name| catalog.campaigns.get(name));
        let letter = Letter { talk, person, due, message, through, campaign, now };
        let Some(event) = self.compose_letter(&letter, catalog, decided).await? else { return Ok(None) };
        let step = WrittenStep {
            at: now,
            channel: message.way.channel,
            through: message.way.through.clone(),
            to: message.way.to.clone(),
            decision: event.id.to_string(),
        };
        decided.messages.push(event);
        Ok(Some(Some(step)))
    }

    async fn compose_letter(
        &self,
        letter: &Letter<'_>,
        catalog: &Catalog,
        decided: &mut Decided,
    ) -> Result<Option<Event>> {
        let Letter { person, due, message, through, campaign, now, .. } = letter;
        let (way, variant) = (&message.way, message.variant);
        let talk = person.talks().map(|(_, talk)| talk).find(|talk| talk.chat == way.to);
        // That of the chat; in a letter that of any chat of theirs.
        let told = |talk: &'_ stagedoor_model::Talk| {
            talk.profile.as_ref().and_then(|(at, profile)| Some((*at, profile.language.clone()?)))
        };
        let language = talk.and_then(told).or_else(|| person.talks().filter_map(|(_, talk)| told(talk)).max());
        let language = language.as_ref().map(|(_, language)| language.as_str());
        let is_sms = way.channel == Channel::Sms && !variant.sms.is_empty();
        let mut text = if is_sms { &variant.sms } else { &variant.text }.pick(language).to_owned();
        let mut subject = variant.subject.pick(language).to_owned();
        let mut put = |place: &str, value: &str| {
            [&mut text, &mut subject].into_iter().for_each(|one| *one = one.replace(place, value));
        };
        let names = |place: &str| {
            let by_post = way.channel == Channel::Email;
            let told = if is_sms { &variant.sms } else { &variant.text };
            told.pick(language).contains(place) || (by_post && variant.subject.pick(language).contains(place))
        };
        if names("{promo}") {
            let code = match campaign {
                Some(campaign) => self.promo_of(campaign, person).await?.map(|code| (*campaign, code)),
                None => None,
            };
            // The pool is empty, which its own error in the log says: nobody is written to about a code that there is not.
            let Some((campaign, code)) = code else { return Ok(None) };
            decided.facts.push(letter.issued_code(campaign, &code));
            put("{promo}", &code);
        }
        if names("{link}")
            && let Some(url) = letter.shop_link(decided)
        {
            put("{link}", &url);
        }
        if names("{confirm}") {
            put("{confirm}", &letter.consent_link("confirm", "c", decided));
        }
        let show = show_of(person, due.show.as_ref(), *campaign, catalog);
        let filled = |text: &str| -> String {
            let text = text.replace("{show}", &show.title).replace("{city}", show.city.as_deref().unwrap_or(""));
            let text = text.replace("{when}", &when(&show, catalog));
            // Last: what people call themselves is text, whatever stands in it.
            fill_name(&text, person.name().filter(|name| !person.is_stand_in(name)))
        };
        let mut decision = MessageDecided::new(through.clone(), way.to.clone(), filled(&text), *now + WORTH);
        if !variant.button.is_empty() {
            let label = variant.button.pick(language).to_owned();
            decision.button = letter.shop_link(decided).map(|url| Button { label, url });
        }
        if way.channel == Channel::Email {
            decision.subject = Some(filled(&subject));
            if !due.mailing.is_service {
                decision.unsubscribe = Some(letter.consent_link("unsubscribe", "u", decided));
            }
        }
        decision.heard_at = talk.and_then(|talk| talk.heard_at);
        decision.campaign = Some(due.mailing.name.clone());
        decision.marketing = !due.mailing.is_service;
        decision.quiet.clone_from(&message.quiet);
        let parts = ["mailing", &due.key, &person.id.to_string(), &message.step.to_string()];
        let id = EventId::derive(through, &parts);
        Ok(Some(Event::new(through, id, *now, Body::MessageDecided(Box::new(decision)))))
    }
}

fn remember(link: &mut Link, due: &Due<'_>, step: Option<WrittenStep>, now: Timestamp) {
    let variant = due.message.as_ref().map(|message| message.variant.name.clone());
    let written = link.written.entry(due.key.clone()).or_insert_with(|| Written {
        mailing: due.mailing.name.clone(),
        show: due.show.clone(),
        city: due.city.clone(),
        began_at: now,
        variant,
        marketing: !due.mailing.is_service,
        steps: vec![],
    });
    written.steps.extend(step);
}

fn show_of(person: &Person, show: Option<&ShowKey>, campaign: Option<&Campaign>, catalog: &Catalog) -> Show {
    let own = show.and_then(|key| deals(person, catalog).remove(key));
    own.map_or_else(|| catalog.house_show(campaign.and_then(|one| one.show.as_ref())), |deal| deal.show)
}

/// When it begins, on the clocks of its place.
fn when(show: &Show, catalog: &Catalog) -> String {
    let zone = show.zone.as_ref().and_then(|zone| TimeZoneDatabase::bundled().get(zone).ok());
    let zone = zone.or_else(|| catalog.zone.clone()).unwrap_or(TimeZone::UTC);
    show.starts_at.map_or(String::new(), |at| at.to_zoned_datetime(zone).strftime("%d.%m.%Y %H:%M").to_string())
}

impl Letter<'_> {
    fn issue(&self, token: Token, campaign: &str, purpose: Purpose, expires_at: Timestamp) -> Event {
        let mut identifiers = BTreeSet::from([self.message.way.to.clone()]);
        identifiers.extend(Identifier::opaque(Kind::Link, "", token.as_str()));
        let id = EventId::derive(&self.through, &["letter-link", token.as_str()]);
        let expires_at = token.header().map_or(expires_at, |header| header.expires_at);
        let body = LinkIssued { identifiers, token, campaign: campaign.to_owned(), purpose, expires_at };
        Event::new(&self.through, id, self.now, Body::LinkIssued(body))
    }

    /// One's own link to the campaign's shop, told apart by mailing and by where it was sent.
    fn shop_link(&self, decided: &mut Decided) -> Option<String> {
        let campaign = self.campaign.filter(|campaign| campaign.shop.is_some())?;
        let whose = format!("{} {}", self.due.key, self.message.way.to);
        let token = self.talk.links.mint(campaign.number, Purpose::Shop, &whose, campaign.ends_at);
        let url = format!("{}/l/{token}", self.talk.public_url);
        decided.facts.push(self.issue(token, &self.due.mailing.name, Purpose::Shop, campaign.ends_at));
        Some(url)
    }

    /// One link an address and year: whoever gets ten letters has one.
    fn consent_link(&self, what: &str, path: &str, decided: &mut Decided) -> String {
        let year = self.now.to_zoned_datetime(TimeZone::UTC).date().year() + YEARS;
        let end = format!("{year}-12-31T00:00:00Z").parse().unwrap_or(self.now);
        let token = self.talk.links.mint(0, Purpose::Consent, &format!("{what} {}", self.message.way.to), end);
        let url = format!("{}/{path}/{token}", self.talk.public_url);
        if !self.person.links().any(|known| known.token == token) {
            decided.facts.push(self.issue(token, "consent", Purpose::Consent, end));
        }
        url
    }

    fn issued_code(&self, campaign: &Campaign, code: &str) -> Event {
        let person = self.person.id.to_string();
        let id = EventId::derive(&self.through, &["promo", &campaign.name, &person, code]);
        let identifiers = BTreeSet::from([self.message.way.to.clone()]);
        let body = PromoIssued { identifiers, campaign: campaign.name.clone(), code: code.to_owned() };
        Event::new(&self.through, id, self.now, Body::PromoIssued(body))
    }
}
