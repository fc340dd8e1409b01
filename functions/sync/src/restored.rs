//! Rows that a manager restored from the recycle bin. A CRM without webhooks does not report it, and some versions do
//! not even change the time of change. So the hub asks again for rows that are known to be gone. Each poll covers
//! rows deleted lately, and all others in turns. Before a run makes rows in their place, it asks for the rows of that
//! person.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use stagedoor_engine::{Catalog, Person, PersonId, is_forgotten};
use stagedoor_model::{Body, Event, EventId, Fact, LeadChanged, SECOND_CRM, SourceName, Timestamp, breakage};
use stagedoor_ports::{Changes, CrmError, Dirty, Gone, PortError, SeenDeal};

use crate::Sync;

/// Result of asking for rows that are known to be gone.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// True if some rows exist again. Then the data read about their people is out of date.
    pub is_stale: bool,
    /// People whose rows would be made again, and could not be asked for.
    pub waiting: BTreeSet<PersonId>,
    /// People whose deleted contacts were asked for, because another contact of theirs exists.
    pub doubted: BTreeSet<PersonId>,
    /// Reason why the CRM could not be asked.
    pub trouble: Option<String>,
}

const LATELY: &str = "crm/lately-gone";
/// Most lately deleted rows that one poll asks for: two calls.
const KEPT: usize = 80;
/// Time for which an answer about a deleted contact is valid.
const BELIEVED: SignedDuration = SignedDuration::from_mins(10);

/// The contacts and deals of a person that are known to be gone.
pub(crate) fn gone_rows(person: &Person) -> BTreeSet<Gone> {
    died(person).into_keys().collect()
}

/// The same rows with the time at which each was deleted.
fn died(person: &Person) -> BTreeMap<Gone, Timestamp> {
    let known = person.records.values().filter(|record| !is_forgotten(record));
    let gone = known.filter_map(|record| match record.fact {
        Fact::CrmContact { contact, deleted: true, changed_at, .. } => Some((Gone::Contact(contact), changed_at)),
        Fact::CrmLead { lead, deleted: true, changed_at, .. } => Some((Gone::Deal(lead), changed_at)),
        _ => None,
    });
    gone.collect()
}

pub(crate) fn number(row: Gone) -> u64 {
    match row {
        Gone::Contact(id) | Gone::Deal(id) | Gone::Company(id) => id,
    }
}

/// Event of a deal that exists again. Its stage is no move by a manager: the hub reads where a deal stands before it
/// sends a stage.
pub(crate) fn deal(source: &SourceName, seen: SeenDeal, now: Timestamp) -> Option<Event> {
    let status = Some(seen.stage).filter(|stage| !stage.is_empty()).map(|stage| LeadChanged::number_of_stage(&stage));
    let change = LeadChanged {
        lead: seen.id,
        deleted: false,
        pipeline: None,
        status,
        moved_by: Some(0),
        hub_id: seen.hub_id,
        changed_at: Some(seen.changed_at),
    };
    let event = Event::new(source, id(source, Gone::Deal(seen.id), now), now, Body::LeadChanged(change));
    (!breakage::is_on("restored-unheard")).then_some(event)
}

/// Id of the event. A row may be deleted and restored several times, and each time is a fact of its own.
fn id(source: &SourceName, row: Gone, now: Timestamp) -> EventId {
    let kind = if matches!(row, Gone::Deal(_)) { "deal" } else { "contact" };
    EventId::derive(source, &["restored", kind, &number(row).to_string(), &now.to_string()])
}

/// Time of a change that was read at `now`: the latest possible time within its second.
pub(crate) fn read_at(at: Timestamp, now: Timestamp) -> Timestamp {
    let read_after = now.duration_since(at).clamp(SignedDuration::ZERO, SignedDuration::from_millis(999));
    at.checked_add(read_after).unwrap_or(at)
}

impl Sync {
    /// Events of the rows among these that exist again.
    pub(crate) async fn restored(
        &self,
        source: &SourceName,
        gone: &BTreeSet<Gone>,
        now: Timestamp,
    ) -> Result<Vec<Event>, CrmError> {
        let of = |wanted: fn(&&Gone) -> bool| gone.iter().filter(wanted).copied().map(number).collect();
        let contacts: BTreeSet<u64> = of(|row| matches!(row, Gone::Contact(_)));
        let deals: BTreeSet<u64> = of(|row| matches!(row, Gone::Deal(_)));
        if contacts.is_empty() && deals.is_empty() || breakage::is_on("restored-unheard") {
            return Ok(vec![]);
        }
        let Changes { contacts, deals, .. } = self.crm.fetch(&contacts, &deals).await?;
        let contacts = contacts.into_iter().filter_map(|(at, body)| match body {
            Body::ContactChanged(mut change) => {
                change.changed_at = Some(if self.crm.info().has_webhooks { at } else { read_at(at, now) });
                let id = id(source, Gone::Contact(change.contact), now);
                Some(Event::new(source, id, now, Body::ContactChanged(change)).received_by(now))
            }
            _ => None,
        });
        Ok(contacts.chain(deals.into_iter().filter_map(|seen| deal(source, seen, now))).collect())
    }

    /// Events of lately deleted rows that exist again.
    pub(crate) async fn restored_lately(&self, source: &SourceName, now: Timestamp) -> Result<Vec<Event>, PortError> {
        let (lately, _) = self.lately_gone().await?;
        let rows = lately.iter().copied().collect();
        match self.restored(source, &rows, now).await {
            Ok(restored) => {
                let back: BTreeSet<Gone> = restored.iter().filter_map(row_of).collect();
                self.keep_lately_gone(|gone| gone.retain(|row| !back.contains(row))).await?;
                Ok(restored)
            }
            Err(CrmError::CredentialsRejected(_)) => Ok(vec![]),
            Err(error) => Err(PortError::Retry(error.to_string())),
        }
    }

    /// Asks which gone rows of these people exist again. A CRM that sends webhooks is asked in two cases: before a
    /// row is made again, and if a person has another contact. The webhook about the restored row may be lost, or
    /// come before the webhook about the deletion.
    pub(crate) async fn hear_restored(&self, people: &[Dirty], catalog: &Catalog) -> Result<Asked, PortError> {
        let now = self.clock.now();
        let is_asked = |one: &&Dirty| match self.crm.info().has_webhooks {
            true => {
                self.renews(one, catalog) && !breakage::is_on("deletion-believed-by-purchase") || self.doubts(one, now)
            }
            false => true,
        };
        let people: Vec<&Dirty> = people.iter().filter(is_asked).collect();
        let gone: BTreeSet<Gone> = people.iter().flat_map(|one| gone_rows(&one.person.seen_by(self.scope))).collect();
        let source = SourceName::new(if self.scope.is_empty() { "crm" } else { SECOND_CRM });
        let (Ok(source), false) = (source, gone.is_empty()) else { return Ok(Asked::default()) };
        let mut events = match self.restored(&source, &gone, now).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(%error, "rows that may have been restored could not be looked for");
                let waiting = people.iter().filter(|one| self.renews(one, catalog)).map(|one| one.person.id).collect();
                return Ok(Asked { waiting, trouble: Some(error.to_string()), ..Asked::default() });
            }
        };
        let doubted = people.iter().filter(|one| self.doubts(one, now)).map(|one| one.person.id).collect();
        if events.is_empty() {
            return Ok(Asked { doubted, ..Asked::default() });
        }
        // The clock that timed a deletion may be ahead.
        let died: BTreeMap<Gone, Timestamp> =
            people.iter().flat_map(|one| died(&one.person.seen_by(self.scope))).collect();
        for event in &mut events {
            let after = row_of(event).and_then(|row| died.get(&row)).map(|at| *at + SignedDuration::from_secs(1));
            event.time = event.time.max(after.unwrap_or(event.time));
        }
        tracing::info!(rows = events.len(), "rows that were deleted in the CRM are there again");
        if !Box::pin(self.handle(events)).await.is_empty() {
            return Err(PortError::Retry("what was restored in the CRM was not saved whole".into()));
        }
        Ok(Asked { is_stale: true, doubted, ..Asked::default() })
    }

    /// True if a contact that counts as deleted must be asked for, because the person has another contact. If both
    /// exist, one is the other's duplicate.
    fn doubts(&self, one: &Dirty, now: Timestamp) -> bool {
        let (person, link) = (one.person.seen_by(self.scope), self.own(&one.link));
        let Some(link) = link.filter(|_| self.crm.info().has_webhooks && !breakage::is_on("restored-contact-unasked"))
        else {
            return false;
        };
        let gone = gone_rows(&person);
        let is_gone = |id: &u64| gone.contains(&Gone::Contact(*id));
        let contacts: BTreeSet<u64> =
            link.contact.id.iter().chain(&link.doubles).chain(&person.contacts()).copied().collect();
        let is_due = link.gone_asked_at.is_none_or(|at| now.duration_since(at) >= BELIEVED);
        is_due && contacts.iter().any(is_gone) && !contacts.iter().all(is_gone)
    }

    /// Notes that these people's deleted contacts were asked for. Returns the people whose CRM states changed.
    pub(crate) fn remember_asked(&self, dirty: &mut [Dirty], doubted: &BTreeSet<PersonId>) -> BTreeSet<PersonId> {
        let (now, mut changed) = (self.clock.now(), BTreeSet::new());
        for one in dirty.iter_mut().filter(|one| doubted.contains(&one.person.id)) {
            let link = if self.scope.is_empty() { Some(&mut one.link) } else { one.link.second.as_deref_mut() };
            if let Some(link) = link {
                link.gone_asked_at = Some(now);
                changed.insert(one.person.id);
            }
        }
        changed
    }

    /// True if this run would make a row in the place of a deleted row.
    fn renews(&self, one: &Dirty, catalog: &Catalog) -> bool {
        let (person, link) = (one.person.seen_by(self.scope), self.own(&one.link));
        link.is_some_and(|link| link.clone().rekeyed(catalog).renew_deleted(&person, catalog))
    }

    /// Notes rows that were found to be gone.
    pub(crate) async fn note_gone(&self, rows: Vec<Gone>) -> Result<(), PortError> {
        if rows.is_empty() || self.crm.info().has_webhooks {
            return Ok(());
        }
        self.keep_lately_gone(|gone| {
            gone.retain(|row| !rows.contains(row));
            gone.extend(rows.iter().filter(|row| !matches!(row, Gone::Company(_))));
            gone.drain(..gone.len().saturating_sub(KEPT));
        })
        .await
    }

    async fn lately_gone(&self) -> Result<(Vec<Gone>, Option<u64>), PortError> {
        let key_value = self.store.key_value(&self.cell_of(LATELY)).await?;
        let held =
            key_value.as_ref().and_then(|key_value| serde_json::from_str::<Vec<(bool, u64)>>(&key_value.value).ok());
        let row = |(is_deal, id)| if is_deal { Gone::Deal(id) } else { Gone::Contact(id) };
        Ok((held.unwrap_or_default().into_iter().map(row).collect(), key_value.map(|key_value| key_value.version)))
    }

    async fn keep_lately_gone(&self, change: impl FnOnce(&mut Vec<Gone>)) -> Result<(), PortError> {
        let (before, version) = self.lately_gone().await?;
        let mut after = before.clone();
        change(&mut after);
        if after != before {
            let held: Vec<(bool, u64)> =
                after.into_iter().map(|row| (matches!(row, Gone::Deal(_)), number(row))).collect();
            let text = serde_json::to_string(&held).unwrap_or_default();
            // A row that another process noted meanwhile is asked for in turns.
            self.store.compare_and_set(&self.cell_of(LATELY), &text, version).await?;
        }
        Ok(())
    }
}

pub(crate) fn row_of(event: &Event) -> Option<Gone> {
    match &event.body {
        Body::ContactChanged(change) => Some(Gone::Contact(change.contact)),
        Body::LeadChanged(change) => Some(Gone::Deal(change.lead)),
        _ => None,
    }
}
