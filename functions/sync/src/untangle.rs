//! People who were taken for one and parted have their own rows in the CRM again.

use std::collections::BTreeSet;

use stagedoor_engine::{PersonId, rows_of, untangle};
use stagedoor_model::SECOND_CRM;
use stagedoor_ports::{Dirty, PortError, Row};

use crate::Sync;

impl Sync {
    /// Puts the rows of parted people in order, and answers whose links changed.
    pub(crate) async fn untangle(&self, dirty: &mut [Dirty]) -> Result<BTreeSet<PersonId>, PortError> {
        let (mut changed, mut again) = (BTreeSet::new(), BTreeSet::new());
        for one in dirty.iter_mut().filter(|one| one.person.parted != one.link.untangled) {
            let id = one.person.id;
            let mut rows = rows_of(&one.link, "");
            rows.extend(one.link.second.iter().flat_map(|second| rows_of(second, SECOND_CRM)));
            let owners = self.store.resolve(&rows).await?.owners;
            let hung = untangle(&mut one.link, &one.person, &owners, "");
            let mut done = hung.is_empty() || is_done(&self.crm.hang_deals(&hung).await);
            if let (Some(link), Some(second)) = (one.link.second.as_deref_mut(), &self.second) {
                let hung = untangle(link, &one.person, &owners, SECOND_CRM);
                done &= hung.is_empty() || is_done(&second.crm.hang_deals(&hung).await);
            }
            changed.insert(id);
            if done {
                one.link.untangled = one.person.parted.clone();
            } else {
                again.insert(id);
            }
        }
        if !again.is_empty() {
            self.store.mark_dirty(again).await?;
        }
        Ok(changed)
    }
}

/// A row that the CRM refuses, or that is gone, waits for nothing.
fn is_done(rows: &[Row]) -> bool {
    rows.iter().all(|row| matches!(row, Row::Done(_) | Row::Refused(_) | Row::Gone(_)))
}
