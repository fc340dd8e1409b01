//! A campaign's invitations: a personal link for each phone, and the SMS that holds it. Doing it twice sends nothing twice:
//! link and decision follow from campaign and phone.

use std::collections::BTreeSet;

use stagedoor_model::{Body, Event, EventId, Identifier, Kind, LinkIssued, MessageDecided, Phone, Purpose, SourceName};
use stagedoor_ports::{PortError, Result};

use crate::Sync;

/// SMS of one call to the queues.
const CHUNK: usize = 200;
/// An invitation that could not be sent within two days is not sent any more.
const WORTH: jiff::SignedDuration = jiff::SignedDuration::from_hours(48);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitee {
    pub phone: Phone,
    pub name: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Invited {
    pub messages: usize,
    /// People who said that they want no more letters, or whose number does not take any.
    pub left_alone: usize,
}

impl Sync {
    /// Decides an SMS for each of them.
    ///
    /// # Errors
    /// `Fail` with a sentence when the config has no such campaign, or it has no SMS; `Retry` when a queue fails.
    pub async fn invite(&self, campaign: &str, invitees: &[Invitee]) -> Result<Invited> {
        let fail = |what: String| PortError::Fail(what);
        let talk = self.talk.as_ref().ok_or_else(|| fail("[hub] link_key and public_url are needed".into()))?;
        let campaign = self.catalog.campaigns.get(campaign).ok_or_else(|| {
            let known: Vec<&str> = self.catalog.campaigns.keys().map(String::as_str).collect();
            fail(format!("there is no campaign {campaign:?}; known are {}", known.join(", ")))
        })?;
        let sms = campaign.sms.as_ref().ok_or_else(|| fail(format!("campaign {:?} has no sms", campaign.name)))?;
        let through = SourceName::new("sms").map_err(|error| fail(error.into()))?;
        let now = self.clock.now();
        let mut invited = Invited::default();
        for chunk in invitees.chunks(CHUNK) {
            let (mut issued, mut decided) = (Vec::new(), Vec::new());
            let withdrawn = self.withdrawn(chunk).await?;
            for invitee in chunk {
                let phone = Identifier::phone(invitee.phone.clone());
                if withdrawn.contains(&phone) {
                    invited.left_alone += 1;
                    continue;
                }
                let whose = phone.to_string();
                let token = talk.links.mint(campaign.number, Purpose::Chat, &whose, campaign.ends_at);
                let expires_at = token.header().map_or(campaign.ends_at, |header| header.expires_at);
                let link = format!("{}/l/{token}", talk.public_url);
                let text = fill_name(&sms.pick(Some("ru")).replace("{link}", &link), invitee.name.as_deref());
                let mut identifiers = BTreeSet::from([phone.clone()]);
                identifiers.extend(Identifier::opaque(Kind::Link, "", token.as_str()));
                let id = EventId::derive(&through, &["link", &campaign.name, &whose]);
                let body = LinkIssued {
                    identifiers,
                    token,
                    campaign: campaign.name.clone(),
                    purpose: Purpose::Chat,
                    expires_at,
                };
                issued.push(Event::new(&through, id, now, Body::LinkIssued(body)));
                let message = MessageDecided {
                    through: through.clone(),
                    to: phone,
                    text,
                    button: None,
                    choices: vec![],
                    ask_phone: false,
                    heard_at: None,
                    until: now.checked_add(WORTH).unwrap_or(now),
                    campaign: Some(campaign.name.clone()),
                };
                let id = EventId::derive(&through, &["invite", &campaign.name, &whose]);
                decided.push(Event::new(&through, id, now, Body::MessageDecided(Box::new(message))));
            }
            invited.messages += decided.len();
            // First whose the links are: an SMS is read within seconds.
            talk.chats.send(issued).await?;
            talk.outbox.send(decided).await?;
        }
        Ok(invited)
    }
}

impl Sync {
    /// Phones of people who are not to be written to.
    async fn withdrawn(&self, invitees: &[Invitee]) -> Result<BTreeSet<Identifier>> {
        let phones: BTreeSet<Identifier> = invitees.iter().map(|one| Identifier::phone(one.phone.clone())).collect();
        let owners = self.store.resolve(&phones).await?.owners;
        let people = self.store.load(&owners.values().copied().collect()).await?;
        let mut withdrawn = BTreeSet::new();
        for person in &people {
            let said_no = person.value.talks().any(|(_, talk)| {
                let sms = talk.chat.kind() == Kind::Phone;
                talk.marketing.is_some_and(|(_, may)| !may) || (sms && talk.may_write.is_some_and(|(_, may)| !may))
            });
            if said_no {
                withdrawn.extend(person.value.identifiers().into_iter().filter(|one| phones.contains(*one)).cloned());
            }
        }
        Ok(withdrawn)
    }
}

/// Puts the name in, or takes its place out with the comma before it.
pub(crate) fn fill_name(text: &str, name: Option<&str>) -> String {
    match name.map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => text.replace("{name}", name),
        None => text.replace(", {name}", "").replace("{name}, ", "").replace("{name}", ""),
    }
}
