//! People who were taken for one and parted have their own rows in the CRM again.

use std::collections::BTreeSet;

use stagedoor_engine::{Parting, PersonId, rows_of, untangle};
use stagedoor_model::{Identifier, SECOND_CRM};
use stagedoor_ports::{Crm, Dirty, PortError, Row};

use crate::Sync;

impl Sync {
    /// Puts the rows of parted people in order, and answers whose links changed.
    pub(crate) async fn untangle(&self, dirty: &mut [Dirty]) -> Result<BTreeSet<PersonId>, PortError> {
        let (mut changed, mut again) = (BTreeSet::new(), BTreeSet::new());
        for one in dirty.iter_mut().filter(|one| one.person.parted != one.link.untangled) {
            let id = one.person.id;
            // One of them came back: there is nothing to take apart.
            if one.person.parted.is_subset(&one.link.untangled) {
                one.link.untangled = one.person.parted.clone();
                changed.insert(id);
                continue;
            }
            let mut links = self.store.links(&one.person.parted).await?;
            links.insert(id, one.link.clone());
            let rows: BTreeSet<Identifier> = links
                .values()
                .flat_map(|link| {
                    let second = link.second.iter().flat_map(|second| rows_of(second, SECOND_CRM));
                    rows_of(link, "").into_iter().chain(second)
                })
                .collect();
            let owners = self.store.resolve(&rows).await?.owners;
            let partings = untangle(&mut one.link, &one.person, &owners, "");
            let mut done = part(self.crm.as_ref(), &partings).await;
            if let (Some(link), Some(second)) = (one.link.second.as_deref_mut(), &self.second) {
                let partings = untangle(link, &one.person, &owners, SECOND_CRM);
                done &= part(second.crm.as_ref(), &partings).await;
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

/// Whether nothing of it has to be tried again: a row that the CRM refuses, or that is gone, waits for nothing.
async fn part(crm: &dyn Crm, partings: &[Parting]) -> bool {
    let rows = crm.part_contacts(partings).await;
    for (parting, row) in partings.iter().zip(&rows) {
        if let Row::Refused(reason) = row {
            tracing::warn!(contact = parting.contact, reason, "the CRM keeps rows of parted people together");
        }
    }
    rows.iter().all(|row| matches!(row, Row::Done(_) | Row::Refused(_) | Row::Gone(_)))
}
