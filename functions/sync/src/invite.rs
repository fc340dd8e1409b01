//! Invitations of a campaign: a personal link for each phone, and the SMS with it. A repeated call sends nothing
//! twice, because link and decision follow from campaign and phone.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{capped, may_advertise, takes_no_sms};
use stagedoor_model::{
    Body, Channel, Event, EventId, Identifier, Kind, LinkIssued, MessageDecided, Phone, Purpose, SourceName, Timestamp,
    breakage,
};
use stagedoor_ports::{PortError, Result, read_withdrawals};

use crate::{Sync, placeholders::fill_name};

/// SMS in one call to the queues.
const CHUNK: usize = 200;
/// An invitation that could not be sent within two days is dropped.
const WORTH: jiff::SignedDuration = jiff::SignedDuration::from_hours(48);

/// A person to invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitee {
    pub phone: Phone,
    pub name: Option<String>,
}

/// Result of deciding the invitations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Invited {
    pub messages: usize,
    /// People who never consented to SMS, who withdrew, or whose number takes no SMS.
    pub without_consent: usize,
    /// People who reached the cap on messages.
    pub too_often: usize,
}

impl Sync {
    /// Decides an SMS for each invitee.
    ///
    /// # Errors
    /// `Fail` with a sentence when the config has no such campaign, or it has no SMS; `Retry` when a queue fails.
    pub async fn invite(&self, campaign: &str, invitees: &[Invitee]) -> Result<Invited> {
        let fail = |what: String| PortError::Fail(what);
        let conversation =
            self.conversation.as_ref().ok_or_else(|| fail("[hub] link_key and public_url are needed".into()))?;
        let campaign = self.catalog.campaigns.get(campaign).ok_or_else(|| {
            let known: Vec<&str> = self.catalog.campaigns.keys().map(String::as_str).collect();
            fail(format!("there is no campaign {campaign:?}; known are {}", known.join(", ")))
        })?;
        let sms = campaign.sms.as_ref().ok_or_else(|| fail(format!("campaign {:?} has no sms", campaign.name)))?;
        let through = SourceName::new("sms").map_err(|error| fail(error.into()))?;
        let now = self.clock.now();
        let place = self.catalog.catalog_show(campaign.show.as_ref());
        let quiet = self.catalog.quiet_hours(place.zone.as_deref());
        let mut invited = Invited::default();
        for chunk in invitees.chunks(CHUNK) {
            let (mut issued, mut decided) = (Vec::new(), Vec::new());
            let may = self.may_invite(&campaign.name, chunk).await?;
            for invitee in chunk {
                let phone = Identifier::phone(invitee.phone.clone());
                // A decision that was made before gets the same id, and is not sent again.
                match may.get(&phone) {
                    None => {
                        invited.without_consent += 1;
                        continue;
                    }
                    Some(Some(_)) => {
                        invited.too_often += 1;
                        continue;
                    }
                    Some(None) => {}
                }
                let whose = phone.to_string();
                let token = conversation.links.mint(campaign.number, Purpose::Chat, &whose, campaign.ends_at);
                let expires_at = token.header().map_or(campaign.ends_at, |header| header.expires_at);
                let link = format!("{}/l/{token}", conversation.public_url);
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
                    is_sent: false,
                };
                issued.push(Event::new(&through, id, now, Body::LinkIssued(body)));
                let until = now.checked_add(WORTH).unwrap_or(now);
                let message = MessageDecided {
                    campaign: Some(campaign.name.clone()),
                    marketing: true,
                    quiet: quiet.clone().filter(|_| !breakage::is_on("invited-at-night")),
                    ..MessageDecided::new(through.clone(), phone, text, until)
                };
                let id = EventId::derive(&through, &["invite", &campaign.name, &whose]);
                decided.push(Event::new(&through, id, now, Body::MessageDecided(Box::new(message))));
            }
            invited.messages += decided.len();
            // The links become known first, because an SMS is read within seconds.
            conversation.chats.send(issued).await?;
            conversation.outbox.send(self.with_tombstones(decided)).await?;
        }
        Ok(invited)
    }
}

impl Sync {
    /// Phones of people who consent to SMS. If the cap forbids a message now, the value is the time at which it
    /// allows one.
    async fn may_invite(
        &self,
        campaign: &str,
        invitees: &[Invitee],
    ) -> Result<BTreeMap<Identifier, Option<Timestamp>>> {
        let phones: BTreeSet<Identifier> = invitees.iter().map(|one| Identifier::phone(one.phone.clone())).collect();
        let owners = self.store.resolve(&phones).await?.owners;
        let mut people = self.store.load(&owners.values().copied().collect()).await?;
        let asked = people.iter_mut().map(|one| &mut one.value);
        read_withdrawals(&*self.store, &mut asked.collect::<Vec<_>>()).await?;
        let ids = people.iter().map(|person| person.value.id).collect();
        let links = self.store.crm_states(&ids).await?;
        let (mut may, now) = (BTreeMap::new(), self.clock.now());
        for person in people.iter().map(|person| &person.value) {
            let own = person.identifiers().into_iter().filter(|one| phones.contains(*one));
            let takes = |phone: &Identifier| {
                !takes_no_sms(person, phone) && may_advertise(person, Channel::Sms, phone, &self.catalog.consent, None)
            };
            let link = links.get(&person.id).cloned().unwrap_or_default();
            let capped = capped(person, &link, &self.catalog, campaign, now);
            may.extend(own.filter(|phone| takes(phone)).map(|phone| (phone.clone(), capped)));
        }
        Ok(may)
    }
}
