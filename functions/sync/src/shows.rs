//! A show that moved or was called off changes the deals of everybody who is interested in it.

use stagedoor_engine::{Catalog, ShowState};
use stagedoor_model::{Body, Event};
use stagedoor_ports::Result;

use crate::Sync;

const PREFIX: &str = "show/";

impl Sync {
    /// Remembers the change and marks the show's audience. Doing it twice changes nothing.
    pub(crate) async fn learn_show(&self, event: &Event) -> Result<()> {
        let (change, cancelled) = match &event.body {
            Body::ShowRescheduled(change) => (change, false),
            Body::ShowCancelled(change) => (change, true),
            _ => return Ok(()),
        };
        let name = format!("{PREFIX}{}/{}", event.source, change.show.id);
        let state = ShowState { changed_at: event.time, show: change.show.clone(), cancelled };
        loop {
            let cell = self.store.cell(&name).await?;
            let known = cell.as_ref().and_then(|cell| serde_json::from_str::<ShowState>(&cell.value).ok());
            if known.is_some_and(|known| known.changed_at > state.changed_at) {
                return Ok(());
            }
            let value = serde_json::to_string(&state).unwrap_or_default();
            if self.store.put_cell(&name, &value, cell.map(|cell| cell.version)).await? {
                break;
            }
        }
        let audience = self.store.audience(&format!("{}/{}", event.source, change.show.id)).await?;
        self.store.mark_dirty(audience).await
    }

    /// The config's shows with what providers said of them since.
    pub async fn catalog(&self) -> Result<Catalog> {
        let mut catalog = self.catalog.clone();
        for (name, cell) in self.store.cells(PREFIX).await? {
            let source = name.strip_prefix(PREFIX).and_then(|rest| rest.split('/').next());
            if let (Some(source), Ok(state)) = (source, serde_json::from_str::<ShowState>(&cell.value)) {
                catalog.learn(source, state);
            }
        }
        Ok(catalog)
    }
}
