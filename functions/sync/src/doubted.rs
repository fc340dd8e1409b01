//! Checks deals that count as deleted and have new facts. The webhook about a restored deal may be lost, or come
//! before the webhook about the deletion. So the hub asks the CRM before it leaves such a deal alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use stagedoor_engine::PersonId;
use stagedoor_model::{Body, Event, EventId, LeadChanged, SECOND_CRM, SourceName, Timestamp, breakage};
use stagedoor_ports::PortError;

use crate::{Sync, run::PersonRun};

impl Sync {
    /// Asks for deals that count as deleted. A deal that exists becomes the event of the lost webhook. Returns the
    /// people whose CRM states changed.
    pub(crate) async fn look_for_restored(
        &self,
        person_runs: &mut BTreeMap<PersonId, PersonRun>,
    ) -> Result<BTreeSet<PersonId>, PortError> {
        let all = person_runs.values().flat_map(|person_run| &person_run.plan.doubted);
        let died: BTreeMap<u64, Timestamp> = all.map(|one| (one.deal, one.deleted_at)).collect();
        let doubted: BTreeSet<u64> = died.keys().copied().collect();
        if doubted.is_empty() || breakage::is_on("deletion-believed") {
            return Ok(BTreeSet::new());
        }
        let missing = match self.crm.deleted(&BTreeSet::new(), &doubted).await {
            // Nobody knows if a row that is hidden from the hub exists.
            Ok(missing) if missing.hidden > 0 => return Ok(BTreeSet::new()),
            Ok(missing) => missing.deals,
            Err(error) => {
                tracing::warn!(%error, "deals that may have been restored could not be looked for");
                for person_run in person_runs.values_mut().filter(|person_run| !person_run.plan.doubted.is_empty()) {
                    (person_run.open, person_run.failed) = (person_run.open + 1, true);
                }
                return Ok(BTreeSet::new());
            }
        };
        let mut changed = BTreeSet::new();
        for (id, person_run) in person_runs.iter_mut() {
            for one in person_run.plan.doubted.iter().filter(|one| missing.contains(&one.deal)) {
                if let Some(known) = person_run.link.deals.get_mut(&one.show).filter(|known| known.id == Some(one.deal))
                {
                    known.absent = Some(one.digest.clone());
                    changed.insert(*id);
                }
            }
        }
        let source = SourceName::new(if self.scope.is_empty() { "crm" } else { SECOND_CRM });
        let Ok(source) = source else { return Ok(changed) };
        let now = self.clock.now();
        let restored = died.into_iter().filter(|(deal, _)| !missing.contains(deal)).map(|(deal, deleted_at)| {
            // The clock that timed the deletion may be ahead.
            let at = now.max(deleted_at + SignedDuration::from_secs(1));
            let id = EventId::derive(&source, &["restored", &deal.to_string(), &now.to_string()]);
            let change = LeadChanged {
                lead: deal,
                deleted: false,
                pipeline: None,
                status: None,
                moved_by: Some(0),
                hub_id: None,
                changed_at: Some(deleted_at),
            };
            Event::new(&source, id, at, Body::LeadChanged(change))
        });
        let restored: Vec<Event> = restored.collect();
        if !restored.is_empty() && !Box::pin(self.handle(restored)).await.is_empty() {
            return Err(PortError::Retry("deals that were restored were not saved whole".into()));
        }
        Ok(changed)
    }
}
