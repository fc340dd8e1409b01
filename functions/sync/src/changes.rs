//! What managers changed in a CRM that tells nothing by itself: asked for by the time of change, and, slowly, whether what the
//! hub knows is still there. What is found becomes the same events that another CRM's webhooks are.
//!
//! Nobody writes meanwhile: it runs where rounds run, under the same lease. So a deal that stands elsewhere than the hub put it
//! last was moved by somebody else, whoever wrote to it since.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use stagedoor_engine::{Catalog, DealLink, Link, Person, PersonId};
use stagedoor_model::{
    Body, ContactChanged, Event, EventId, Fact, Identifier, Kind, LeadChanged, SourceName, Timestamp,
};
use stagedoor_ports::{CrmError, PortError, SeenDeal};

use crate::{Sync, reconcile::ELSEWHERE};

const SINCE: &str = "crm/changes";
const COMPARED: &str = "crm/compared";
/// How far back the first question reaches.
const FIRST: SignedDuration = SignedDuration::from_hours(1);
/// A change is written a little after the time that it bears.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);
/// Changes that are folded under one look at the lease.
const AT_ONCE: usize = 500;
/// People of whom one look asks whether their rows are still there.
const PEOPLE: usize = 100;
/// More rows than this that vanished at once, and more than a fifth of those asked for, are rights that were lost.
pub(crate) const VANISHED: usize = 10;

/// What one look brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    pub contacts: usize,
    pub moves: usize,
    pub deleted: usize,
}

impl Sync {
    /// Hears what changed in the CRM since the last time. `source` is the one under which its contacts are mirrored.
    ///
    /// # Errors
    /// `Retry` when the CRM cannot be used now; the next call goes on from the same place.
    pub async fn hear_crm(&self, source: &SourceName) -> Result<Heard, PortError> {
        if self.crm.tells() || !self.lease().await? {
            return Ok(Heard::default());
        }
        let heard = self.hear_leased(source).await;
        self.release().await?;
        heard
    }

    async fn hear_leased(&self, source: &SourceName) -> Result<Heard, PortError> {
        let now = self.clock.now();
        let cell = self.store.cell(&self.cell_of(SINCE)).await?;
        let known = cell.as_ref().and_then(|cell| cell.value.parse::<Timestamp>().ok());
        let since = known.map_or(now - FIRST, |known| known - OVERLAP);
        let changes = self.crm.changes(since).await.map_err(|error| PortError::Retry(error.to_string()))?;
        let mut events = Vec::new();
        for (at, body) in changes.contacts {
            let about = format!("{}:{at}", body.subject().unwrap_or_default());
            events.push(Event::new(source, EventId::derive(source, &["mirror", &about]), at, body));
        }
        let mut heard = Heard { contacts: events.len(), ..Heard::default() };
        // Many pages may have taken long: nobody else may write while deals are compared with where they were put.
        self.still_leased().await?;
        let bearing = changes.deals.iter().filter_map(|deal| Some((deal.id, deal.hub_id.clone()?))).collect();
        events.extend(self.unknown_deals(source, bearing).await?);
        let moves = self.moves(source, changes.deals).await?;
        heard.moves = moves.len();
        events.extend(moves);
        let gone = self.vanished(source, now).await?;
        heard.deleted = gone.len();
        events.extend(gone);
        while !events.is_empty() {
            self.still_leased().await?;
            let rest = events.split_off(events.len().min(AT_ONCE));
            if !self.handle(std::mem::replace(&mut events, rest)).await.is_empty() {
                return Err(PortError::Retry("what changed in the CRM was not saved whole".into()));
            }
        }
        let until = changes.until.unwrap_or(since).max(since + OVERLAP);
        // Another process that heard the same does no harm.
        self.store.put_cell(&self.cell_of(SINCE), &until.to_string(), cell.map(|cell| cell.version)).await?;
        Ok(heard)
    }

    async fn still_leased(&self) -> Result<(), PortError> {
        if self.lease().await? { Ok(()) } else { Err(PortError::Retry(ELSEWHERE.into())) }
    }

    /// What is known of somebody in this CRM.
    fn own<'l>(&self, link: &'l Link) -> Option<&'l Link> {
        if self.scope.is_empty() { Some(link) } else { link.second.as_deref() }
    }

    /// Deals that stand elsewhere than the hub put them last.
    async fn moves(&self, source: &SourceName, deals: Vec<SeenDeal>) -> Result<Vec<Event>, PortError> {
        let name = |id: u64| Identifier::opaque(Kind::CrmLead, self.scope, &id.to_string());
        let wanted: BTreeSet<Identifier> = deals.iter().filter_map(|deal| name(deal.id)).collect();
        if wanted.is_empty() {
            return Ok(vec![]);
        }
        let owners = self.store.resolve(&wanted).await?.owners;
        let people: BTreeSet<PersonId> = owners.values().copied().collect();
        let links = self.store.links(&people).await?;
        let loaded = self.store.load(&people).await?;
        let loaded: Vec<Person> = loaded.iter().map(|one| one.value.seen_by(self.scope)).collect();
        let persons: BTreeMap<PersonId, &Person> = loaded.iter().map(|one| (one.id, one)).collect();
        let moved = |seen: SeenDeal| {
            let owner = owners.get(&name(seen.id)?)?;
            let link: &DealLink = self.own(links.get(owner)?)?.deals.values().find(|deal| deal.id == Some(seen.id))?;
            let status = LeadChanged::number_of_stage(&seen.stage);
            let put_there = is_where_put(link, &seen.stage, &self.catalog);
            let known = persons.get(owner).is_some_and(|person| is_known(person, seen.id, status));
            (!put_there && !known).then(|| {
                let change = LeadChanged {
                    lead: seen.id,
                    deleted: false,
                    pipeline: None,
                    status: Some(status),
                    moved_by: seen.by,
                    hub_id: seen.hub_id,
                };
                let about = format!("{}:{}:{status}", seen.id, seen.changed_at);
                let id = EventId::derive(source, &["moved", &about]);
                Event::new(source, id, seen.changed_at, Body::LeadChanged(change))
            })
        };
        Ok(deals.into_iter().filter_map(moved).collect())
    }

    /// Rows of the next few people that are no longer there.
    async fn vanished(&self, source: &SourceName, now: Timestamp) -> Result<Vec<Event>, PortError> {
        let cell = self.store.cell(&self.cell_of(COMPARED)).await?;
        let after = cell.as_ref().map(|cell| cell.value.clone()).filter(|text| !text.is_empty());
        let (people, next) = self.store.everybody(after, PEOPLE).await?;
        let links = self.store.links(&people).await?;
        let loaded = self.store.load(&people).await?;
        // What is known to be gone is asked for no more.
        let seen: Vec<Person> = loaded.iter().map(|one| one.value.seen_by(self.scope)).collect();
        let gone: BTreeSet<(bool, u64)> = seen.iter().flat_map(known_gone).collect();
        let ids = |of: fn(&Link) -> Vec<u64>, deal: bool| -> BTreeSet<u64> {
            links
                .values()
                .filter_map(|link| self.own(link))
                .flat_map(of)
                .filter(|id| !gone.contains(&(deal, *id)))
                .collect()
        };
        let contacts = ids(|link| link.contact.id.into_iter().chain(link.doubles.iter().copied()).collect(), false);
        let deals = ids(|link| link.deals.values().filter_map(|deal| deal.id).collect(), true);
        let asked = contacts.len() + deals.len();
        let missing = match asked {
            0 => (BTreeSet::new(), BTreeSet::new()),
            _ => match self.crm.missing(&contacts, &deals).await {
                Ok(missing) => missing,
                // Somebody has to give the hub's user its rights back; what changed is heard meanwhile.
                Err(CrmError::Denied(reason)) => {
                    tracing::error!(reason, "rows that may be gone from the CRM could not be looked for");
                    return Ok(vec![]);
                }
                Err(error) => return Err(PortError::Retry(error.to_string())),
            },
        };
        let count = missing.0.len() + missing.1.len();
        if count > VANISHED && count * 5 > asked {
            tracing::error!(count, asked, "rows vanished from the CRM all at once: has the hub's user lost a right?");
            return Ok(vec![]);
        }
        let told = |kind: &str, id: u64, body: Body| {
            // A row may be deleted, restored and deleted again: each time is a fact of its own.
            Event::new(source, EventId::derive(source, &["gone", kind, &id.to_string(), &now.to_string()]), now, body)
        };
        let contacts = missing.0.into_iter().map(|contact| {
            let change = ContactChanged {
                contact,
                deleted: true,
                name: None,
                identifiers: BTreeSet::new(),
                phones: vec![],
                emails: vec![],
                created_at: now,
                hub_id: None,
            };
            told("contact", contact, Body::ContactChanged(change))
        });
        let deals = missing.1.into_iter().map(|lead| {
            let change =
                LeadChanged { lead, deleted: true, pipeline: None, status: None, moved_by: None, hub_id: None };
            told("deal", lead, Body::LeadChanged(change))
        });
        let events = contacts.chain(deals).collect();
        self.store.put_cell(&self.cell_of(COMPARED), &next.unwrap_or_default(), cell.map(|cell| cell.version)).await?;
        Ok(events)
    }
}

fn is_where_put(link: &DealLink, stage: &str, catalog: &Catalog) -> bool {
    // Where the hub put it nowhere, nobody can have moved it away.
    link.stage.is_none_or(|put| {
        catalog.pipelines.iter().any(|pipeline| pipeline.stages.get(put).is_some_and(|name| name == stage))
    })
}

fn is_known(person: &Person, id: u64, status: u64) -> bool {
    let same = |fact: &Fact| matches!(fact, Fact::CrmLead { lead, status: Some(known), .. } if *lead == id && *known == status);
    person.records.values().any(|record| same(&record.fact))
}

fn known_gone(person: &Person) -> impl Iterator<Item = (bool, u64)> + '_ {
    person.records.values().filter_map(|record| match record.fact {
        Fact::CrmContact { contact, deleted: true, .. } => Some((false, contact)),
        Fact::CrmLead { lead, deleted: true, .. } => Some((true, lead)),
        _ => None,
    })
}
