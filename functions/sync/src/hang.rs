//! A manager deleted a contact, and its person bought again. Their deals hang on the new contact.

use std::collections::BTreeSet;

use stagedoor_engine::Parting;
use stagedoor_model::breakage;
use stagedoor_ports::{PortError, Row};

use crate::{Sync, round::Round};

impl Sync {
    pub(crate) async fn hang_deals(&self, round: &Round) -> Result<(), PortError> {
        let unhung: Vec<_> = {
            let cases = round.cases();
            let wanted = cases.iter().filter(|(_, case)| !case.link.unhung.is_empty());
            let parting = |contact, deals: &BTreeSet<u64>| Parting {
                contact,
                deals: deals.iter().copied().collect(),
                strangers: BTreeSet::new(),
                values: BTreeSet::new(),
            };
            wanted.filter_map(|(id, case)| Some((*id, parting(case.link.contact.id?, &case.link.unhung)))).collect()
        };
        if unhung.is_empty() || round.stopped() || round.is_over() || breakage::is_on("deals-left-unhung") {
            return Ok(());
        }
        let (people, partings): (Vec<_>, Vec<_>) = unhung.into_iter().unzip();
        let rows = self.crm.part_contacts(&partings).await;
        let mut hung = BTreeSet::new();
        for (id, row) in people.into_iter().zip(rows) {
            let mut cases = round.cases();
            let Some(case) = cases.get_mut(&id) else { continue };
            match row {
                Row::Done(_) | Row::Refused(_) | Row::Gone(_) | Row::Misidentified(_) => {
                    case.link.unhung.clear();
                    hung.insert(id);
                }
                // Tried again by the next run.
                Row::Unknown | Row::NotSent | Row::Held(_) => (case.failed, case.open) = (true, case.open + 1),
            }
        }
        self.keep(round, hung).await
    }
}
