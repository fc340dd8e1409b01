//! Alarms of the hub on one machine. A lasting condition is reported when it begins, once a day, and when it is over.

mod alarm;
mod book;
mod conditions;
mod ways;
mod words;

use std::{sync::Arc, time::Duration};

use stagedoor_model::breakage;
use stagedoor_ports::{KeyValues, PortError};

pub use self::alarm::{Alarm, AlarmKind};
use self::{
    book::Book,
    conditions::{Rejections, look},
    ways::Ways,
};
use crate::hub::Hub;

/// The key of the alarms in the store.
const CELL: &str = "alarms";
/// The pause between two looks.
const LOOK: Duration = Duration::from_secs(15);

/// The alarms that ring, as the serving hub last wrote them.
///
/// # Errors
/// When the store cannot be read.
pub async fn ringing(store: &dyn KeyValues) -> Result<Vec<Alarm>, PortError> {
    Ok(kept(store).await?.0.ringing().cloned().collect())
}

/// The book and its version. A book that this version cannot read counts as empty.
async fn kept(store: &dyn KeyValues) -> Result<(Book, Option<u64>), PortError> {
    let Some(key_value) = store.key_value(CELL).await? else { return Ok((Book::default(), None)) };
    let book = serde_json::from_str(&key_value.value).unwrap_or_else(|error| {
        tracing::warn!(%error, "what rang before cannot be read");
        Book::default()
    });
    Ok((book, Some(key_value.version)))
}

/// Watches the conditions and sends notices of them.
pub struct Watch {
    hub: Arc<Hub>,
    ways: Ways,
    rejections: Rejections,
    /// `None` until the book was read.
    book: Option<Book>,
    /// The book as it is in the store.
    stored: (Book, Option<u64>),
}

impl Watch {
    /// # Errors
    /// A sentence that names a route that cannot be made.
    pub fn new(hub: &Arc<Hub>) -> Result<Self, String> {
        let ways = Ways::of(hub)?;
        Ok(Self {
            hub: Arc::clone(hub),
            ways,
            rejections: Rejections::default(),
            book: None,
            stored: Default::default(),
        })
    }

    /// Looks once, and sends the notices that are due.
    ///
    /// # Errors
    /// When the store or a queue cannot be read or written; the next look goes on.
    pub async fn round(&mut self) -> Result<(), PortError> {
        let now = self.hub.sync.clock.now();
        let mut book = match self.book.take() {
            Some(book) => book,
            None if breakage::is_on("alarms-forget-at-a-restart") => Book::default(),
            None => {
                self.stored = kept(&*self.hub.store).await?;
                self.stored.0.clone()
            }
        };
        let found = look(&self.hub, &book, &mut self.rejections, now).await;
        if let Ok((found, unknown)) = &found {
            book.follow(found.clone(), unknown, now, &self.ways.names());
        }
        // The book is stored before any notice leaves: the next process then knows what began, under the same names.
        let mut kept = keep(&self.hub, &mut self.stored, &book).await;
        let (told, mut hear) = tokio::sync::mpsc::unbounded_channel::<(String, String)>();
        let notices = book.notices.clone();
        let note = async {
            // The book notes each route as it ends: a process that dies meanwhile repeats no other.
            while let Some((id, way)) = hear.recv().await {
                book.told(&id, &way);
                if !breakage::is_on("book-after-the-slowest-way") {
                    kept = std::mem::replace(&mut kept, Ok(())).and(keep(&self.hub, &mut self.stored, &book).await);
                }
            }
        };
        futures_util::future::join(self.ways.tell(&notices, now, told), note).await;
        let kept = kept.and(keep(&self.hub, &mut self.stored, &book).await);
        self.book = Some(book);
        found?;
        kept
    }
}

/// Writes the book. `stored` is the book as it is in the store.
async fn keep(hub: &Hub, stored: &mut (Book, Option<u64>), book: &Book) -> Result<(), PortError> {
    let (before, version) = &*stored;
    if before == book {
        return Ok(());
    }
    let value = serde_json::to_string(book).map_err(|error| PortError::Fail(error.to_string()))?;
    if !hub.store.compare_and_set(CELL, &value, *version).await? {
        // A restore or a command wrote it; the next look writes over that.
        *stored = kept(&*hub.store).await?;
        return Err(PortError::Retry("somebody else wrote what rings".into()));
    }
    *stored = (book.clone(), Some(version.unwrap_or(0) + 1));
    Ok(())
}

/// Looks until the process ends. A sandbox is watched only if its config has `[alarms]`.
pub(crate) async fn watch(hub: Arc<Hub>) {
    let is_sandbox = hub.config.sandbox.is_some() || hub.config.second_sandbox.is_some();
    let mut watch = match Watch::new(&hub) {
        Ok(_) if is_sandbox && !hub.config.alarms.is_configured => return std::future::pending().await,
        Ok(watch) => watch,
        Err(error) => {
            tracing::error!(error, "no alarm can be told");
            return std::future::pending().await;
        }
    };
    loop {
        if let Err(error) = watch.round().await {
            tracing::warn!(%error, "what rings could not be looked at");
        }
        tokio::time::sleep(LOOK).await;
    }
}
