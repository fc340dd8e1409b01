//! Rows that are not in the CRM any more, though no webhook told of it. A contact or a deal becomes the same event that a
//! webhook would have been; a company is forgotten, and looked for or made again by the next run.

use std::collections::BTreeSet;

use stagedoor_model::{Body, ContactChanged, Event, EventId, LeadChanged, SECOND_CRM, SourceName, Timestamp};
use stagedoor_ports::{Gone, PortError};

use crate::{Sync, changes::VANISHED, round::Round};

impl Sync {
    /// Takes over what the calls of this round found to be gone.
    pub(crate) async fn hear_of_gone(&self, round: &Round) -> Result<(), PortError> {
        let gone = std::mem::take(&mut *round.gone.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for one in &gone {
            if let Gone::Company(id) = one {
                self.forget_company(round, *id).await?;
            }
        }
        let rows: Vec<&Gone> = gone.iter().filter(|one| !matches!(one, Gone::Company(_))).collect();
        if rows.is_empty() {
            return Ok(());
        }
        if rows.len() > VANISHED && rows.len() * 5 > rows.len() + round.report().rows {
            let count = rows.len();
            tracing::error!(count, "rows vanished from the CRM all at once: has the hub's user lost a right?");
            return Ok(());
        }
        let source = SourceName::new(if self.scope.is_empty() { "crm" } else { SECOND_CRM });
        let Ok(source) = source else { return Ok(()) };
        let now = self.clock.now();
        let events: Vec<Event> = rows.into_iter().filter_map(|one| event(&source, one, now)).collect();
        tracing::warn!(rows = events.len(), "rows are not in the CRM any more; no webhook told of it");
        if !Box::pin(self.handle(events)).await.is_empty() {
            return Err(PortError::Retry("what is gone from the CRM was not saved whole".into()));
        }
        Ok(())
    }
}

fn event(source: &SourceName, gone: &Gone, now: Timestamp) -> Option<Event> {
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
            };
            told("contact", *contact, Body::ContactChanged(change))
        }
        Gone::Deal(lead) => {
            let change =
                LeadChanged { lead: *lead, deleted: true, pipeline: None, status: None, moved_by: None, hub_id: None };
            told("deal", *lead, Body::LeadChanged(change))
        }
        Gone::Company(_) => None,
    }
}
