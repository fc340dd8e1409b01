//! Mirrors the contacts that the account has already into the identity index, so that finding a person costs no call.

use stagedoor_model::{Event, EventId, SourceName};
use stagedoor_ports::PortError;

use crate::Sync;

const CURSOR: &str = "backfill/page";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backfilled {
    pub pages: u32,
    pub contacts: usize,
}

impl Sync {
    /// Walks the account's contacts from where an earlier walk broke off. Doing it again changes nothing.
    ///
    /// # Errors
    /// `Retry` when the CRM cannot be used now; the next call goes on from the page that failed.
    pub async fn backfill(&self, source: &SourceName) -> Result<Backfilled, PortError> {
        let done = self.walk(source).await;
        self.release().await?;
        done
    }

    async fn walk(&self, source: &SourceName) -> Result<Backfilled, PortError> {
        let mut done = Backfilled::default();
        loop {
            if !self.lease().await? {
                return Err(PortError::Retry("another process uses the CRM".into()));
            }
            let cell = self.store.cell(&self.cell_of(CURSOR)).await?;
            let page = cell.as_ref().and_then(|cell| cell.value.parse().ok()).unwrap_or(1);
            let answer = self.crm.contacts(page).await.map_err(|error| PortError::Retry(error.to_string()))?;
            let events: Vec<Event> = answer
                .bodies
                .into_iter()
                .map(|(at, body)| {
                    let about = format!("{}:{at}", body.subject().unwrap_or_default());
                    Event::new(source, EventId::derive(source, &["mirror", &about]), at, body)
                })
                .collect();
            done.contacts += events.len();
            done.pages += 1;
            if !self.handle(events).await.is_empty() {
                return Err(PortError::Retry(format!("page {page} was not saved whole")));
            }
            let next = answer.next.unwrap_or(1);
            self.store.put_cell(&self.cell_of(CURSOR), &next.to_string(), cell.map(|cell| cell.version)).await?;
            if answer.next.is_none() {
                return Ok(done);
            }
        }
    }
}
