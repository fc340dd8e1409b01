//! Brings everybody to a second CRM that was added, or that is fed again after a pause. In between, people changed
//! without it.

use stagedoor_model::breakage;
use stagedoor_ports::Result;
use tokio::time::Instant;

use crate::{Sync, segment::SPELL};

/// Stored value with the person after whom the walk continues. It is empty before the first person and while no second
/// CRM is fed.
const FED: &str = "crm/second/fed";
const DONE: &str = "done";
/// People of one page.
const PAGE: usize = 500;
/// The most people who wait for the CRM while the walk marks more. New events of others do not wait behind the whole
/// hub.
const MOST_WAITING: u64 = 2_000;

impl Sync {
    /// Marks everybody for the second CRM, page by page, for `SPELL` or until too many wait. Any process continues
    /// where it stopped. Returns the number of people who were marked.
    pub(crate) async fn feed_second(&self) -> Result<usize> {
        let (began, mut marked) = (Instant::now(), 0);
        loop {
            let known = self.store.key_value(FED).await?;
            let place = known.as_ref().map_or("", |known| known.value.as_str()).to_owned();
            let version = known.map(|known| known.version);
            if self.second.is_none() || breakage::is_on("second-crm-trickles") {
                if !place.is_empty() {
                    self.store.compare_and_set(FED, "", version).await?;
                }
                return Ok(marked);
            }
            if place == DONE || began.elapsed() >= SPELL || self.store.totals().await?.waiting >= MOST_WAITING {
                return Ok(marked);
            }
            let after = Some(place).filter(|place| !place.is_empty());
            let (people, next) = self.store.scan_people(after, PAGE).await?;
            marked += people.len();
            self.store.mark_dirty(people).await?;
            let place = next.unwrap_or_else(|| DONE.to_owned());
            // Another process that does the same does no harm.
            self.store.compare_and_set(FED, &place, version).await?;
        }
    }
}
