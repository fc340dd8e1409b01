//! Polls a CRM without webhooks for changes by managers. It asks by the time of change, and slowly checks that known
//! rows still exist. What it finds becomes the same events as the webhooks of another CRM.
//!
//! It runs where sync runs happen, under the same lease, so the hub writes nothing meanwhile. If a deal stands
//! elsewhere than the hub last put it, somebody else moved it. This holds even if another user wrote to the deal
//! since.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use stagedoor_engine::{Catalog, CrmState, DealState, Person, PersonId, Stage};
use stagedoor_model::{Body, Event, EventId, Fact, Identifier, Kind, LeadChanged, SourceName, Timestamp, breakage};
use stagedoor_ports::{CrmError, Deleted, Gone, HubDeal, PortError, SeenDeal};

use crate::{
    Sync, gone,
    lease::ELSEWHERE,
    restored::{self, gone_rows, read_at},
};

const SINCE: &str = "crm/changes";
const COMPARED: &str = "crm/compared";
/// How far back the first poll reaches.
const FIRST: SignedDuration = SignedDuration::from_hours(1);
/// Overlap of two polls. The CRM writes a change a little later than the time on it.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);
/// Changes that are folded before the lease is checked again.
const AT_ONCE: usize = 500;
/// People whose rows one poll checks.
const PEOPLE: usize = 100;
/// Prefix of the saved position of a walk that met rows hidden from the hub.
const HIDDEN: char = '!';

/// Result of one poll.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    pub contacts: usize,
    pub moves: usize,
    pub deleted: usize,
    /// Rows that were deleted and exist again.
    pub restored: usize,
}

/// Rows of some people that no longer exist, and rows that exist again.
#[derive(Default)]
struct Compared {
    gone: Vec<Event>,
    restored: Vec<Event>,
}

/// A contact as it stood in the CRM at `now`. CRMs give whole seconds. Of two states within one second, the state
/// that was read later wins.
pub(crate) fn mirrored(source: &SourceName, (at, body): (Timestamp, Body), now: Timestamp) -> Event {
    let about = format!("{}:{at}", body.subject().unwrap_or_default());
    if breakage::is_on("contact-of-one-second-unread") {
        return Event::new(source, EventId::derive(source, &["mirror", &about]), at, body).received_by(now);
    }
    let state = serde_json::to_string(&body).unwrap_or_default();
    let id = EventId::derive(source, &["mirror", &about, &state]);
    Event::new(source, id, read_at(at, now), body).received_by(now)
}

impl Sync {
    /// Reads what changed in the CRM since the last poll. The CRM's contacts are mirrored under `source`.
    ///
    /// # Errors
    /// `Retry` when the CRM cannot be used now; the next call goes on from the same place.
    pub async fn hear_crm(&self, source: &SourceName) -> Result<Heard, PortError> {
        if self.crm.info().has_webhooks || self.is_wanted().await? || !self.lease().await? {
            return Ok(Heard::default());
        }
        let heard = self.hear_leased(source).await;
        self.release().await?;
        heard
    }

    async fn hear_leased(&self, source: &SourceName) -> Result<Heard, PortError> {
        let now = self.clock.now();
        let key_value = self.store.key_value(&self.cell_of(SINCE)).await?;
        let known = key_value.as_ref().and_then(|key_value| key_value.value.parse::<Timestamp>().ok());
        let known = known.map(|known| not_after(known, now));
        let since = known.map_or(now - FIRST, |known| known - OVERLAP);
        let changes = self.crm.changes(since).await.map_err(|error| PortError::Retry(error.to_string()))?;
        let mut events = Vec::new();
        for (at, body) in changes.contacts {
            events.push(mirrored(source, (at, body), now));
        }
        let mut heard = Heard { contacts: events.len(), ..Heard::default() };
        // Reading many pages takes long. No other process may write while deals are compared with where they were
        // put.
        self.still_leased().await?;
        let of_the_hub =
            |deal: &SeenDeal| Some(HubDeal { id: deal.id, hub_id: deal.hub_id.clone()?, contact: deal.contact });
        let bearing = changes.deals.iter().filter_map(of_the_hub).collect();
        events.extend(self.unknown_deals(source, bearing).await?);
        let moves = self.moves(source, changes.deals, now).await?;
        heard.moves = moves.len();
        events.extend(moves);
        let Compared { gone, mut restored } = self.compared(source, now).await?;
        let rows: Vec<Gone> = gone.iter().filter_map(restored::row_of).collect();
        events.extend(self.merges(source, &rows, now).await?);
        restored.extend(self.restored_lately(source, now).await?);
        restored.sort_by(|one, other| one.id.cmp(&other.id));
        restored.dedup_by(|one, other| one.id == other.id);
        (heard.deleted, heard.restored) = (gone.len(), restored.len());
        events.extend(gone);
        events.extend(restored);
        while !events.is_empty() {
            self.still_leased().await?;
            let rest = events.split_off(events.len().min(AT_ONCE));
            if !self.handle(std::mem::replace(&mut events, rest)).await.is_empty() {
                return Err(PortError::Retry("what changed in the CRM was not saved whole".into()));
            }
        }
        let until = not_after(changes.until.unwrap_or(since).max(since + OVERLAP), now);
        // Another process that read the same does no harm.
        self.store
            .compare_and_set(&self.cell_of(SINCE), &until.to_string(), key_value.map(|key_value| key_value.version))
            .await?;
        Ok(heard)
    }

    async fn still_leased(&self) -> Result<(), PortError> {
        if self.lease().await? { Ok(()) } else { Err(PortError::Retry(ELSEWHERE.into())) }
    }

    /// The part of a person's CRM state that belongs to this CRM.
    pub(crate) fn own<'l>(&self, link: &'l CrmState) -> Option<&'l CrmState> {
        if self.scope.is_empty() { Some(link) } else { link.second.as_deref() }
    }

    fn own_of<'l>(&self, links: &'l BTreeMap<PersonId, CrmState>, id: PersonId) -> Option<&'l CrmState> {
        self.own(links.get(&id)?)
    }

    /// Deals that stand elsewhere than the hub last put them.
    pub(crate) async fn moves(
        &self,
        source: &SourceName,
        deals: Vec<SeenDeal>,
        now: Timestamp,
    ) -> Result<Vec<Event>, PortError> {
        let name = |id: u64| Identifier::opaque(Kind::CrmLead, self.scope, &id.to_string());
        let wanted: BTreeSet<Identifier> = deals.iter().filter_map(|deal| name(deal.id)).collect();
        if wanted.is_empty() {
            return Ok(vec![]);
        }
        let owners = self.store.resolve(&wanted).await?.owners;
        let people: BTreeSet<PersonId> = owners.values().copied().collect();
        let loaded = self.store.load(&people).await?;
        let loaded: Vec<Person> = loaded.iter().map(|one| one.value.seen_by(self.scope)).collect();
        let names = |person: &Person| [person.id].into_iter().chain(person.merged_ids.clone()).collect::<Vec<_>>();
        let persons: BTreeMap<PersonId, &Person> =
            loaded.iter().flat_map(|person| names(person).into_iter().map(move |id| (id, person))).collect();
        let parted = loaded.iter().flat_map(|one| one.parted.iter().copied());
        let ids = people.iter().copied().chain(loaded.iter().map(|one| one.id)).chain(parted).collect();
        let links = self.store.crm_states(&ids).await?;
        let moved = |seen: SeenDeal| {
            let owner = owners.get(&name(seen.id)?)?;
            let person =
                persons.get(owner).filter(|one| one.id == *owner || !breakage::is_on("absorbed-link-believed"));
            if person.is_some_and(|person| gone_rows(person).contains(&Gone::Deal(seen.id))) {
                return restored::deal(source, seen, now);
            }
            // After a join, the person who remains has the last sent stage. Before that person's first run, the other
            // state has it.
            let mut ids = person.map(|person| person.id).into_iter().chain([*owner]);
            let link: &DealState =
                ids.find_map(|id| self.own_of(&links, id)?.deals.values().find(|deal| deal.id == Some(seen.id)))?;
            let status = LeadChanged::number_of_stage(&seen.stage);
            let put_there = is_where_put(link, &seen.stage, &self.catalog)
                || person.is_some_and(|person| {
                    let own = self.own_of(&links, person.id);
                    own.is_some_and(|link| is_closed_double(link, &seen, &self.catalog))
                        || own.is_none_or(|link| person.parted != link.untangled)
                            && self.put_while_one(&links, person, &seen)
                });
            let known = person.is_some_and(|person| is_known(person, seen.id, status));
            (!put_there && !known).then(|| {
                let change = LeadChanged {
                    lead: seen.id,
                    deleted: false,
                    pipeline: None,
                    status: Some(status),
                    moved_by: seen.by,
                    hub_id: seen.hub_id,
                    changed_at: None,
                };
                let about = format!("{}:{}:{status}", seen.id, seen.changed_at);
                let id = EventId::derive(source, &["moved", &about]);
                Event::new(source, id, seen.changed_at, Body::LeadChanged(change)).received_by(now)
            })
        };
        Ok(deals.into_iter().filter_map(moved).collect())
    }

    /// True if this state says that the hub put the deal there, or closed it as a double.
    pub(crate) fn put(&self, link: &CrmState, seen: &SeenDeal) -> bool {
        let mut deals = link.deals.values().filter(|deal| deal.id == Some(seen.id));
        deals.any(|deal| is_where_put(deal, &seen.stage, &self.catalog)) || is_closed_double(link, seen, &self.catalog)
    }

    /// True if the hub put a deal there while its person was one with others. The person's own state says so only
    /// after the rows are put in order.
    fn put_while_one(&self, links: &BTreeMap<PersonId, CrmState>, person: &Person, seen: &SeenDeal) -> bool {
        let others = person.parted.iter().filter_map(|id| self.own_of(links, *id));
        let is_theirs = |link: &CrmState| self.put(link, seen);
        others.into_iter().any(is_theirs) && !breakage::is_on("move-while-one-is-managers")
    }

    /// Compares the rows of the next few people with the rows in the CRM.
    async fn compared(&self, source: &SourceName, now: Timestamp) -> Result<Compared, PortError> {
        let key_value = self.store.key_value(&self.cell_of(COMPARED)).await?;
        let place = key_value.as_ref().map(|key_value| key_value.value.as_str()).unwrap_or_default();
        let (has_hidden, after) = place.strip_prefix(HIDDEN).map_or((false, place), |after| (true, after));
        let after = Some(after.to_owned()).filter(|after| !after.is_empty());
        let (people, next) = self.store.scan_people(after, PEOPLE).await?;
        let links = self.store.crm_states(&people).await?;
        let loaded = self.store.load(&people).await?;
        let gone: BTreeSet<Gone> = loaded.iter().flat_map(|one| gone_rows(&one.value.seen_by(self.scope))).collect();
        let restored = match self.restored(source, &gone, now).await {
            Ok(restored) => restored,
            Err(CrmError::CredentialsRejected(reason)) => {
                return self.note_denied(&reason).await.map(|()| Compared::default());
            }
            Err(error) => return Err(PortError::Retry(error.to_string())),
        };
        let known = |rows: fn(&CrmState) -> Vec<Gone>| -> BTreeSet<u64> {
            let rows = links.values().filter_map(|link| self.own(link)).flat_map(rows);
            rows.filter(|row| !gone.contains(row)).map(restored::number).collect()
        };
        let contacts = known(|link| {
            let marked = link.marked.iter().filter(|_| !breakage::is_on("merged-duplicate-unheard"));
            let all: BTreeSet<u64> = link.contact.id.iter().chain(&link.doubles).chain(marked).copied().collect();
            all.into_iter().map(Gone::Contact).collect()
        });
        let deals = known(|link| link.deals.values().filter_map(|deal| deal.id).map(Gone::Deal).collect());
        let missing = match contacts.len() + deals.len() {
            0 => Deleted::default(),
            _ => match self.crm.deleted(&contacts, &deals).await {
                Ok(missing) if breakage::is_on("clean-up-stops-deletions") && missing.contacts.len() > 10 => {
                    return Ok(Compared::default());
                }
                Ok(missing) => missing,
                // Somebody must give the hub's user its rights back. Changes are still read meanwhile.
                Err(CrmError::CredentialsRejected(reason)) => {
                    return self.note_denied(&reason).await.map(|()| Compared::default());
                }
                Err(error) => return Err(PortError::Retry(error.to_string())),
            },
        };
        let has_hidden = has_hidden || missing.hidden > 0;
        if missing.hidden > 0 || next.is_none() {
            self.note_hidden(has_hidden).await?;
        }
        let rows = missing.contacts.into_iter().map(Gone::Contact).chain(missing.deals.into_iter().map(Gone::Deal));
        let rows: Vec<Gone> = rows.collect();
        let events = rows.iter().filter_map(|row| gone::event(source, row, now)).collect();
        self.note_gone(rows).await?;
        let place = match next {
            Some(next) if has_hidden => format!("{HIDDEN}{next}"),
            next => next.unwrap_or_default(),
        };
        self.store
            .compare_and_set(&self.cell_of(COMPARED), &place, key_value.map(|key_value| key_value.version))
            .await?;
        Ok(Compared { gone: events, restored })
    }
}

/// A time from the CRM, at most `now`. The CRM's clock may be wrong, and later changes must not be missed.
fn not_after(told: Timestamp, now: Timestamp) -> Timestamp {
    if breakage::is_on("future-cursor-believed") { told } else { told.min(now) }
}

fn is_where_put(link: &DealState, stage: &str, catalog: &Catalog) -> bool {
    // A call without an answer may have put the deal there, too.
    let sent = link.sent_stages.iter().copied().filter(|_| !breakage::is_on("unanswered-stage-is-a-move"));
    // If the hub put the deal nowhere, nobody can have moved it away.
    link.stage.is_none_or(|put| std::iter::once(put).chain(sent).any(|put| is_called(put, stage, catalog)))
}

/// True if the hub closed a deal, or is about to, because its person has another deal of the same show.
fn is_closed_double(link: &CrmState, seen: &SeenDeal, catalog: &Catalog) -> bool {
    let is_double = |deal: &DealState| deal.doubles.contains(&seen.id) || deal.closed.contains(&seen.id);
    link.deals.values().any(is_double) && is_called(Stage::Lost, &seen.stage, catalog)
}

fn is_called(stage: Stage, name: &str, catalog: &Catalog) -> bool {
    catalog.pipelines.iter().any(|pipeline| pipeline.stages.get(stage).is_some_and(|one| one == name))
}

fn is_known(person: &Person, id: u64, status: u64) -> bool {
    let same = |fact: &Fact| matches!(fact, Fact::CrmLead { lead, status: Some(known), .. } if *lead == id && *known == status);
    person.records.values().any(|record| same(&record.fact))
}
