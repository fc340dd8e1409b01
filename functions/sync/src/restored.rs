//! Rows that a manager took out of the recycle bin. A CRM that sends no webhooks does not tell of it, and some versions leave
//! even the time of change alone. So rows that are known to be gone are asked for again: lately deleted ones at each look,
//! all others in turns, and those of a person before rows are made in their place.

use std::collections::BTreeSet;

use stagedoor_engine::Person;
use stagedoor_model::{Body, Event, EventId, Fact, LeadChanged, SECOND_CRM, SourceName, Timestamp, breakage};
use stagedoor_ports::{Changes, CrmError, Dirty, Gone, PortError, SeenDeal};

use crate::Sync;

const LATELY: &str = "crm/lately-gone";
/// Lately deleted rows that are asked for at each look, at most: two calls.
const KEPT: usize = 80;

/// The contacts and deals of a person that are known to be gone.
pub(crate) fn gone_rows(person: &Person) -> BTreeSet<Gone> {
    let gone = person.records.values().filter_map(|record| match record.fact {
        Fact::CrmContact { contact, deleted: true, .. } => Some(Gone::Contact(contact)),
        Fact::CrmLead { lead, deleted: true, .. } => Some(Gone::Deal(lead)),
        _ => None,
    });
    gone.collect()
}

pub(crate) fn number(row: Gone) -> u64 {
    match row {
        Gone::Contact(id) | Gone::Deal(id) | Gone::Company(id) => id,
    }
}

/// A deal that is there again. Its stage is no manager's move: the hub reads where a deal stands before it sends a stage.
pub(crate) fn deal(source: &SourceName, seen: SeenDeal, now: Timestamp) -> Option<Event> {
    let status = Some(LeadChanged::number_of_stage(&seen.stage));
    let change =
        LeadChanged { lead: seen.id, deleted: false, pipeline: None, status, moved_by: Some(0), hub_id: seen.hub_id };
    let event = Event::new(source, id(source, Gone::Deal(seen.id), now), now, Body::LeadChanged(change));
    (!breakage::is_on("restored-unheard")).then_some(event)
}

/// A row may be deleted and restored again and again: each time is a fact of its own.
fn id(source: &SourceName, row: Gone, now: Timestamp) -> EventId {
    let kind = if matches!(row, Gone::Deal(_)) { "deal" } else { "contact" };
    EventId::derive(source, &["restored", kind, &number(row).to_string(), &now.to_string()])
}

impl Sync {
    /// Events of those of these rows that are there again.
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
        let contacts = contacts.into_iter().filter_map(|(_, body)| match body {
            Body::ContactChanged(change) => {
                let id = id(source, Gone::Contact(change.contact), now);
                Some(Event::new(source, id, now, Body::ContactChanged(change)).received_by(now))
            }
            _ => None,
        });
        Ok(contacts.chain(deals.into_iter().filter_map(|seen| deal(source, seen, now))).collect())
    }

    /// The same for rows that were deleted lately.
    pub(crate) async fn restored_lately(&self, source: &SourceName, now: Timestamp) -> Result<Vec<Event>, PortError> {
        let (lately, _) = self.lately_gone().await?;
        let rows = lately.iter().copied().collect();
        match self.restored(source, &rows, now).await {
            Ok(restored) => {
                let back: BTreeSet<Gone> = restored.iter().filter_map(row_of).collect();
                self.keep_lately_gone(|gone| gone.retain(|row| !back.contains(row))).await?;
                Ok(restored)
            }
            Err(CrmError::Denied(_)) => Ok(vec![]),
            Err(error) => Err(PortError::Retry(error.to_string())),
        }
    }

    /// Hears which rows of these people, known to be gone, are there again. Returns whether there were any: what was read of
    /// these people is out of date then.
    pub(crate) async fn hear_restored(&self, people: &[Dirty]) -> Result<bool, PortError> {
        let gone: BTreeSet<Gone> = people.iter().flat_map(|one| gone_rows(&one.person.seen_by(self.scope))).collect();
        let source = SourceName::new(if self.scope.is_empty() { "crm" } else { SECOND_CRM });
        let (Ok(source), false) = (source, gone.is_empty()) else { return Ok(false) };
        let events = match self.restored(&source, &gone, self.clock.now()).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(%error, "rows that may have been restored could not be looked for");
                return Ok(false);
            }
        };
        if events.is_empty() {
            return Ok(false);
        }
        tracing::info!(rows = events.len(), "rows that were deleted in the CRM are there again");
        if !Box::pin(self.handle(events)).await.is_empty() {
            return Err(PortError::Retry("what was restored in the CRM was not saved whole".into()));
        }
        Ok(true)
    }

    /// Remembers rows that were found to be gone.
    pub(crate) async fn note_gone(&self, rows: Vec<Gone>) -> Result<(), PortError> {
        if rows.is_empty() || self.crm.tells() {
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
        let cell = self.store.cell(&self.cell_of(LATELY)).await?;
        let held = cell.as_ref().and_then(|cell| serde_json::from_str::<Vec<(bool, u64)>>(&cell.value).ok());
        let row = |(is_deal, id)| if is_deal { Gone::Deal(id) } else { Gone::Contact(id) };
        Ok((held.unwrap_or_default().into_iter().map(row).collect(), cell.map(|cell| cell.version)))
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
            self.store.put_cell(&self.cell_of(LATELY), &text, version).await?;
        }
        Ok(())
    }
}

fn row_of(event: &Event) -> Option<Gone> {
    match &event.body {
        Body::ContactChanged(change) => Some(Gone::Contact(change.contact)),
        Body::LeadChanged(change) => Some(Gone::Deal(change.lead)),
        _ => None,
    }
}
