//! Moves deals to a new contact, after a manager deleted the old contact and the person bought again.

use std::collections::BTreeSet;

use stagedoor_engine::{CrmState, Digest, Parting, Person, Rejected, outdated};
use stagedoor_model::{Fact, breakage};
use stagedoor_ports::{Gone, PortError, WriteOutcome, Writes};

use crate::{
    Sync,
    run::{PersonRun, SyncRun},
};

impl Sync {
    pub(crate) async fn hang_deals(&self, sync_run: &SyncRun) -> Result<(), PortError> {
        let unhung: Vec<_> = sync_run
            .person_runs()
            .iter()
            .filter_map(|(id, person_run)| Some((*id, to_hang(&person_run.person, &person_run.link)?)))
            .collect();
        if unhung.is_empty() || sync_run.stopped() || sync_run.is_over() || breakage::is_on("deals-left-unhung") {
            return Ok(());
        }
        let (people, partings): (Vec<_>, Vec<_>) = unhung.into_iter().unzip();
        let rows = self.crm.apply(Writes::PartContacts(&partings)).await;
        let mut changed = BTreeSet::new();
        for ((id, parting), row) in people.into_iter().zip(&partings).zip(rows) {
            let mut person_runs = sync_run.person_runs();
            let Some(person_run) = person_runs.get_mut(&id) else { continue };
            if breakage::is_on("hang-given-up") {
                person_run.link.unhung.clear();
            }
            match row {
                WriteOutcome::Done(_) => {
                    (person_run.link.unhung, person_run.link.unhung_reason) = (BTreeSet::new(), None);
                    person_run.link.unhung_from.clear();
                }
                // A manager sees the refusal. Other deals, another contact or `retry-rejected` start a new try.
                WriteOutcome::Refused(reason) => {
                    tracing::warn!(person = %id, reason, "the CRM refused to hang deals on the contact made anew");
                    sync_run.report().rejected += 1;
                    let reason = format!("deals were not moved to contact {}: {reason}", parting.contact);
                    person_run.link.unhung_reason =
                        Some(Rejected { digest: Digest::of(&key(parting)), reason, at: sync_run.at });
                }
                WriteOutcome::Gone(gone) => {
                    if let Gone::Deal(deal) = gone {
                        person_run.link.unhung.remove(&deal);
                    }
                    sync_run.is_gone(gone);
                    person_run.failed = true;
                }
                WriteOutcome::Unknown
                | WriteOutcome::NotSent
                | WriteOutcome::Held(_)
                | WriteOutcome::Misidentified(_) => person_run.failed = true,
            }
            changed.insert(id);
        }
        self.keep(sync_run, changed).await
    }
}

/// True if there is nothing to do for a person.
pub(crate) fn is_idle(person_run: &PersonRun) -> bool {
    person_run.open == 0 && to_hang(&person_run.person, &person_run.link).is_none()
}

/// Counts more open steps at the end of a run. Deals that must still move to a contact count as one. So do written
/// values that are corrected by now.
pub(crate) fn count_unhung(sync_run: &SyncRun) {
    let mut person_runs = sync_run.person_runs();
    for person_run in person_runs.values_mut() {
        person_run.open += usize::from(to_hang(&person_run.person, &person_run.link).is_some());
        person_run.open += usize::from(!outdated(&person_run.link, &person_run.person).is_empty());
    }
}

/// Contact and deals that identify a refusal.
fn key(parting: &Parting) -> (u64, &[u64]) {
    (parting.contact, &parting.deals)
}

/// Deals that must move to the person's contact, if there are any. They wait while no contact exists, and after a
/// refusal until something changes.
fn to_hang(person: &Person, link: &CrmState) -> Option<Parting> {
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
