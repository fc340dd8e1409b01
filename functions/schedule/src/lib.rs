//! Pulls sources, as a safety net for lost webhooks. The results enter the same queue as a delivery, so that all
//! later steps are the same.

use std::{collections::BTreeMap, sync::Arc};

use stagedoor_model::{Body, Event, EventId, SourceName, Timestamp, TraceParent};
use stagedoor_ports::{Clock, KeyValues, OrderApi, PortError, Queue, Result};

/// How far back the first pull of a source reaches.
const FIRST: jiff::SignedDuration = jiff::SignedDuration::from_hours(24 * 30);

/// The ports that pulling works with.
#[derive(Clone)]
pub struct Schedule {
    pub store: Arc<dyn KeyValues>,
    pub queue: Arc<dyn Queue>,
    pub clock: Arc<dyn Clock>,
    pub order_apis: BTreeMap<SourceName, Arc<dyn OrderApi>>,
}

/// Result of one pull of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulled {
    pub pages: u32,
    pub facts: usize,
}

impl Schedule {
    /// Pulls every source. A source that fails does not delay the others. Its next pull continues from the same
    /// place.
    pub async fn pull_all(&self) -> BTreeMap<SourceName, Result<Pulled>> {
        let mut pulled = BTreeMap::new();
        for (source, order_api) in &self.order_apis {
            let answer = self.pull(source, order_api.as_ref()).await;
            match &answer {
                Ok(Pulled { pages, facts }) => tracing::debug!(%source, pages, facts, "pulled"),
                Err(error) => tracing::warn!(%source, %error, "pull broke off; the same page is asked again"),
            }
            pulled.insert(source.clone(), answer);
        }
        pulled
    }

    /// Pulls one source. The cursor is the time at which the last complete pull began. It moves only after the last
    /// page is durable in the queue. The next pull continues from a page that failed.
    async fn pull(&self, source: &SourceName, order_api: &dyn OrderApi) -> Result<Pulled> {
        let (cursor_name, page_name) = (format!("pull/{source}/since"), format!("pull/{source}/page"));
        let cursor = self.store.key_value(&cursor_name).await?;
        let held = self.store.key_value(&page_name).await?;
        let mut held_version = held.as_ref().map(|key_value| key_value.version);
        // The stored value holds the time at which the interrupted pull began, and its page.
        let resumed = held.as_ref().and_then(|key_value| {
            let (began, page) = key_value.value.split_once('|')?;
            Some((began.parse::<Timestamp>().ok()?, page.to_owned()))
        });
        let began = resumed.as_ref().map_or_else(|| self.clock.now(), |(began, _)| *began);
        let mut page = resumed.map(|(_, page)| page);
        let since = cursor.as_ref().and_then(|key_value| key_value.value.parse::<Timestamp>().ok());
        let since = since.map_or(began - FIRST, |since| since - order_api.overlap());
        let mut done = Pulled::default();
        let trace = TraceParent::derived(&[b"pull", source.as_str().as_bytes(), &began.as_nanosecond().to_be_bytes()]);
        loop {
            let asked_at = self.clock.now();
            let answer = order_api.pull(since, page).await?;
            let events: Vec<Event> = answer
                .bodies
                .into_iter()
                .map(|(fact, at, body)| {
                    let digest = body.digest();
                    let (parts, at) = match &body {
                        // A webhook that leads to the same row gets the same id.
                        Body::Unrecognized(_) => (vec!["unrecognized", &digest], asked_at),
                        // The shop's name of a fact may be coarser than the fact.
                        _ => (vec!["pull", &fact, &digest], at),
                    };
                    let id = EventId::derive(source, &parts);
                    let body = if order_api.tells_changes() { body } else { body.known_at(asked_at) };
                    let mut event = Event::new(source, id, at, body).received_by(self.clock.now());
                    event.traceparent = Some(trace.clone());
                    event
                })
                .collect();
            done.pages += 1;
            done.facts += events.len();
            self.queue.send(events).await?;
            let Some(next) = answer.next else { break };
            self.put(&page_name, &format!("{began}|{next}"), &mut held_version).await?;
            page = Some(next);
        }
        let mut version = cursor.map(|key_value| key_value.version);
        self.put(&cursor_name, &began.to_string(), &mut version).await?;
        if held_version.is_some() {
            self.put(&page_name, "", &mut held_version).await?;
        }
        Ok(done)
    }

    async fn put(&self, name: &str, value: &str, version: &mut Option<u64>) -> Result<()> {
        if !self.store.compare_and_set(name, value, *version).await? {
            return Err(PortError::Retry("another process pulls this source".into()));
        }
        *version = Some(version.unwrap_or(0) + 1);
        Ok(())
    }
}
