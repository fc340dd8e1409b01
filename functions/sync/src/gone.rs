//! Handles rows that are no longer in the CRM without a webhook about it. A contact or a deal becomes the event that
//! a webhook would have been. A company is forgotten, and the next run looks for it or makes it again.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{
    Body, ContactChanged, Event, EventId, Identifier, Kind, LeadChanged, SECOND_CRM, SourceName, Timestamp, breakage,
};
use stagedoor_ports::{Gone, PortError};

use crate::{Sync, claims::forget_row, restored::number, run::SyncRun};

/// If the calls of one run find more gone rows than this, and more than a fifth of its rows, the rows are checked
/// again.
const MANY: usize = 10;
/// Rows that are checked again in one run. The others wait for the next run.
const LOOKED_AT: usize = 50;

impl Sync {
    /// Takes over the rows that calls of this run found to be gone.
    pub(crate) async fn hear_of_gone(&self, sync_run: &SyncRun) -> Result<(), PortError> {
        let gone = std::mem::take(&mut *sync_run.gone.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for one in &gone {
            if let Gone::Company(id) = one {
                self.forget_company(sync_run, *id).await?;
            }
        }
        let mut rows: Vec<Gone> = gone.into_iter().filter(|one| !matches!(one, Gone::Company(_))).collect();
        if rows.is_empty() {
            return Ok(());
        }
        if rows.len() > MANY && rows.len() * 5 > rows.len() + sync_run.report().rows {
            rows = self.gone_for_sure(sync_run, rows).await?;
        }
        let source = SourceName::new(if self.scope.is_empty() { "crm" } else { SECOND_CRM });
        let Ok(source) = source else { return Ok(()) };
        let now = self.clock.now();
        let mut events = self.merges(&source, &rows, now).await?;
        events.extend(rows.iter().filter_map(|one| event(&source, one, now)));
        if events.is_empty() {
            return Ok(());
        }
        self.note_gone(rows.clone()).await?;
        tracing::warn!(rows = rows.len(), "rows are not in the CRM any more; no webhook told of it");
        if !Box::pin(self.handle(events)).await.is_empty() {
            return Err(PortError::Retry("what is gone from the CRM was not saved whole".into()));
        }
        self.forget_gone_of_others(sync_run, &rows).await
    }

    /// Forgets gone rows that belong to other people. After people are separated, a row may belong to another person,
    /// and the deletion is a fact of that person.
    async fn forget_gone_of_others(&self, sync_run: &SyncRun, rows: &[Gone]) -> Result<(), PortError> {
        let named = rows.iter().filter_map(|row| {
            let (kind, id) = match row {
                Gone::Contact(id) => (Kind::CrmContact, *id),
                Gone::Deal(id) => (Kind::CrmLead, *id),
                Gone::Company(_) => return None,
            };
            Some((Identifier::opaque(kind, self.scope, &id.to_string())?, (kind, id)))
        });
        let named: BTreeMap<Identifier, (Kind, u64)> = named.collect();
        let owners = self.store.resolve(&named.keys().cloned().collect()).await?.owners;
        let mut changed = BTreeSet::new();
        for (person, person_run) in
            sync_run.person_runs().iter_mut().filter(|_| !breakage::is_on("gone-double-of-others"))
        {
            let before = person_run.link.clone();
            for (name, (kind, id)) in &named {
                let owner =
                    owners.get(name).filter(|owner| *owner != person && !person_run.person.merged_ids.contains(*owner));
                if owner.is_some() {
                    forget_row(&mut person_run.link, *kind, *id);
                }
            }
            changed.extend((person_run.link != before).then_some(*person));
        }
        self.keep(sync_run, changed).await
    }

    /// The rows that are really gone, and not only hidden from the hub's user. Each row is checked by itself.
    async fn gone_for_sure(&self, sync_run: &SyncRun, mut rows: Vec<Gone>) -> Result<Vec<Gone>, PortError> {
        if breakage::is_on("many-gone-unbelieved") {
            return Ok(vec![]);
        }
        rows.truncate(LOOKED_AT);
        let of = |wanted: fn(&&Gone) -> bool| rows.iter().filter(wanted).copied().map(number).collect();
        let (contacts, deals) = (of(|row| matches!(row, Gone::Contact(_))), of(|row| matches!(row, Gone::Deal(_))));
        match self.crm.deleted(&contacts, &deals).await {
            Ok(missing) => {
                if missing.hidden > 0 {
                    self.note_hidden(true).await?;
                }
                rows.retain(|row| match row {
                    Gone::Contact(id) => missing.contacts.contains(id),
                    Gone::Deal(id) => missing.deals.contains(id),
                    Gone::Company(_) => false,
                });
                Ok(rows)
            }
            // The next calls find it out again. Until then the report says why they wait.
            Err(error) => {
                sync_run.stop(error.to_string());
                Ok(vec![])
            }
        }
    }
}

pub(crate) fn event(source: &SourceName, gone: &Gone, now: Timestamp) -> Option<Event> {
    let told = |kind: &str, id: u64, body: Body| {
        let id = EventId::derive(source, &["gone", kind, &id.to_string(), &now.to_string()]);
        Some(Event::new(source, id, now, body))
    };
    match gone {
        Gone::Contact(contact) => {
            let change = ContactChanged {
                contact: *contact,
                deleted: true,
                name: None,
                identifiers: BTreeSet::new(),
                phones: vec![],
                emails: vec![],
                created_at: now,
                hub_id: None,
                changed_at: None,
            };
            told("contact", *contact, Body::ContactChanged(change))
        }
        Gone::Deal(lead) => {
            let change = LeadChanged {
                lead: *lead,
                deleted: true,
                pipeline: None,
                status: None,
                moved_by: None,
                hub_id: None,
                changed_at: None,
            };
            told("deal", *lead, Body::LeadChanged(change))
        }
        Gone::Company(_) => None,
    }
}
