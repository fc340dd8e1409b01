//! After a join, leaves reasons and unplaced money only with the person who remains.

use std::collections::BTreeSet;

use stagedoor_engine::{CrmState, PersonId};
use stagedoor_model::breakage;
use stagedoor_ports::{Dirty, PortError};

use crate::Sync;

impl Sync {
    /// Removes rejected rows, unplaced money and unanswered notes from the CRM states of people who were joined
    /// since. Their CRM states stay, because they hold the rows of the CRM. Returns the people whose CRM states
    /// changed.
    pub(crate) async fn quiet_joined(&self, dirty: &mut [Dirty]) -> Result<BTreeSet<PersonId>, PortError> {
        let mut changed = BTreeSet::new();
        let mut fresh = BTreeSet::new();
        for one in dirty.iter_mut() {
            // Rows of people who were separated since may be here until they are put in order.
            let left = &(&one.link.joined & &one.person.parted) - &one.link.untangled;
            let joined = &one.person.merged_ids | &left;
            if joined != one.link.joined {
                fresh.extend(one.person.merged_ids.difference(&one.link.joined).copied());
                one.link.joined = joined;
                changed.insert(one.person.id);
            }
        }
        if fresh.is_empty() || breakage::is_on("joined-still-parked") {
            return Ok(changed);
        }
        let mut links = self.store.crm_states(&fresh).await?;
        let is_asked_for = |link: &CrmState| link.has_remarks() && !breakage::is_on("joined-note-looked-for");
        links.retain(|_, link| !link.rejected().is_empty() || is_asked_for(link));
        links.values_mut().for_each(|link| {
            link.forget_reasons();
            if is_asked_for(link) {
                link.forget_remarks();
            }
        });
        if !links.is_empty() {
            self.store.save_crm_states(links.into_iter().collect()).await?;
        }
        Ok(changed)
    }
}
