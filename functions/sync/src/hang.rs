//! A manager deleted a contact, and its person bought again. Their deals hang on the new contact.

use std::collections::BTreeSet;

use stagedoor_engine::{Digest, Link, Parked, Parting, Person, outdated};
use stagedoor_model::{Fact, breakage};
use stagedoor_ports::{Gone, PortError, Row};

use crate::{
    Sync,
    round::{Case, Round},
};

impl Sync {
    pub(crate) async fn hang_deals(&self, round: &Round) -> Result<(), PortError> {
        let unhung: Vec<_> =
            round.cases().iter().filter_map(|(id, case)| Some((*id, to_hang(&case.person, &case.link)?))).collect();
        if unhung.is_empty() || round.stopped() || round.is_over() || breakage::is_on("deals-left-unhung") {
            return Ok(());
        }
        let (people, partings): (Vec<_>, Vec<_>) = unhung.into_iter().unzip();
        let rows = self.crm.part_contacts(&partings).await;
        let mut changed = BTreeSet::new();
        for ((id, parting), row) in people.into_iter().zip(&partings).zip(rows) {
            let mut cases = round.cases();
            let Some(case) = cases.get_mut(&id) else { continue };
            if breakage::is_on("hang-given-up") {
                case.link.unhung.clear();
            }
            match row {
                Row::Done(_) => {
                    (case.link.unhung, case.link.unhung_reason) = (BTreeSet::new(), None);
                    case.link.unhung_from.clear();
                }
                // Said to a manager, and tried again with other deals, another contact, or by `retry-parked`.
                Row::Refused(reason) => {
                    tracing::warn!(person = %id, reason, "the CRM refused to hang deals on the contact made anew");
                    round.report().parked += 1;
                    let reason = format!("deals were not moved to contact {}: {reason}", parting.contact);
                    case.link.unhung_reason = Some(Parked { digest: Digest::of(&key(parting)), reason, at: round.at });
                }
                Row::Gone(gone) => {
                    if let Gone::Deal(deal) = gone {
                        case.link.unhung.remove(&deal);
                    }
                    round.is_gone(gone);
                    case.failed = true;
                }
                Row::Unknown | Row::NotSent | Row::Held(_) | Row::Misidentified(_) => case.failed = true,
            }
            changed.insert(id);
        }
        self.keep(round, changed).await
    }
}

/// Whether there is nothing to do for a person.
pub(crate) fn is_idle(case: &Case) -> bool {
    case.open == 0 && to_hang(&case.person, &case.link).is_none()
}

/// At the end of a round: deals that are still to be hung, and corrected values that a call of this round wrote, are one more
/// open step each.
pub(crate) fn count_unhung(round: &Round) {
    let mut cases = round.cases();
    for case in cases.values_mut() {
        case.open += usize::from(to_hang(&case.person, &case.link).is_some());
        case.open += usize::from(!outdated(&case.link, &case.person).is_empty());
    }
}

/// What a refusal is about.
fn key(parting: &Parting) -> (u64, &[u64]) {
    (parting.contact, &parting.deals)
}

/// Deals that are to hang on a person's contact, if there are any. They wait while there is no living contact, and after a
/// refusal until something changes.
fn to_hang(person: &Person, link: &Link) -> Option<Parting> {
    let contact = link.contact.id.filter(|_| !link.unhung.is_empty())?;
    let is_dead = |fact: &Fact| matches!(fact, Fact::CrmContact { contact: one, deleted: true, .. } if *one == contact);
    if person.records.values().any(|record| is_dead(&record.fact)) {
        return None;
    }
    let deals = link.unhung.iter().copied().collect();
    let stay = breakage::is_on("hung-deal-keeps-stranger");
    let strangers = link.unhung_from.iter().copied().filter(|one| *one != contact && !stay).collect();
    let parting = Parting { deals, strangers, ..Parting::of(person.id, contact) };
    let refused = link.unhung_reason.as_ref().map(|reason| &reason.digest);
    (refused != Some(&Digest::of(&key(&parting)))).then_some(parting)
}
