//! Writes companies before their people. A company belongs to several people, so its CRM state has a stored value of
//! its own. A pending mark there lets the hub look the company up after a lost answer.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_engine::{CompanyDraft, Digest, Pending, PersonId, Rejected};
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{CrmError, CrmLookup, KeyValue, PortError, WriteOutcome, Writes};

use crate::{
    Sync,
    answers::hold,
    run::{PersonRun, SyncRun},
};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Known {
    id: Option<u64>,
    #[serde(rename = "pushed")]
    last_sent: Option<Digest>,
    /// Time of a creating call that got no answer yet.
    #[serde(rename = "intent")]
    pending: Option<Timestamp>,
    /// Until when that call may still take effect. Earlier builds wrote no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    late_until: Option<Timestamp>,
}

impl Known {
    fn pending(&self) -> Option<Pending> {
        Some(Pending { late_until: self.late_until, ..Pending::since(self.pending?) })
    }
}

struct DueCompany {
    draft: CompanyDraft,
    digest: Digest,
    known: Known,
    version: Option<u64>,
}

impl Sync {
    /// Finds or makes the companies of this run's rows, and gives their ids to the run.
    pub(crate) async fn companies(&self, sync_run: &SyncRun) -> Result<(), PortError> {
        let mut due = Vec::new();
        for (key, draft) in sync_run.companies_wanted() {
            let key_value = self.store.key_value(&self.company(&key)).await?;
            let (known, version) = read(key_value);
            let digest = Digest::of(&draft);
            match known.id {
                Some(id) if known.last_sent.as_ref() == Some(&digest) => sync_run.company_is(&key, Some(id)),
                _ if sync_run.is_company_parked(&key, &digest) => sync_run.company_is(&key, known.id),
                _ => due.push(DueCompany { draft, digest, known, version }),
            }
        }
        if let Err(error) = self.look_up_companies(sync_run, &mut due).await? {
            tracing::warn!(%error, "companies could not be looked up");
            sync_run.stop(error.to_string());
            return Ok(());
        }
        for chunk in due.chunks_mut(self.crm.info().batch.max(1)) {
            if sync_run.stopped() || !self.lease().await? {
                return Ok(());
            }
            self.put_companies(sync_run, chunk).await?;
        }
        self.keep(sync_run, sync_run.companies_found()).await
    }

    /// Looks up companies whose creating calls got no answer. Removes those that may still be made from `due`.
    async fn look_up_companies(
        &self,
        sync_run: &SyncRun,
        due: &mut Vec<DueCompany>,
    ) -> Result<std::result::Result<(), CrmError>, PortError> {
        let open = |one: &&DueCompany| one.known.id.is_none() && one.known.pending.is_some();
        let keys: BTreeSet<String> = due.iter().filter(open).map(|one| one.draft.key.clone()).collect();
        let Some(since) = due.iter().filter(open).filter_map(|one| one.known.pending).min() else { return Ok(Ok(())) };
        let found = match self.crm.find(CrmLookup::Companies { keys: &keys, since }).await.map(|found| found.companies)
        {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let (now, late_for) = (self.clock.now(), self.crm.info().late_for);
        due.retain_mut(|one| {
            let Some(pending) = one.known.pending().filter(|_| one.known.id.is_none()) else { return true };
            one.known.id = found.get(&one.draft.key).and_then(|ids| ids.first().copied());
            let is_awaited = one.known.id.is_none() && !pending.is_over(now, late_for);
            if is_awaited {
                sync_run.is_looking_for(&one.draft.key);
            }
            !is_awaited
        });
        Ok(Ok(()))
    }

    async fn put_companies(&self, sync_run: &SyncRun, due: &mut [DueCompany]) -> Result<(), PortError> {
        let since = due.iter().filter_map(|one| one.known.pending).min();
        let late_for = self.crm.info().late_for;
        for one in due.iter_mut().filter(|one| one.known.id.is_none()) {
            let now = self.clock.now();
            (one.known.pending, one.known.late_until) = (Some(now), Some(now + late_for));
            self.keep_company(one).await?;
        }
        let rows: Vec<(Option<u64>, CompanyDraft)> = due.iter().map(|one| (one.known.id, one.draft.clone())).collect();
        let answers = self.crm.apply(Writes::PutCompanies(&rows, since)).await;
        let (mut refused, mut unsent) = (BTreeSet::new(), 0);
        for (one, row) in due.iter_mut().zip(answers) {
            match row {
                WriteOutcome::Done(id) => {
                    one.known = Known { id: Some(id), last_sent: Some(one.digest.clone()), ..Known::default() };
                    sync_run.company_is(&one.draft.key, Some(id));
                }
                WriteOutcome::Refused(reason) => {
                    tracing::warn!(reason, "the CRM refused a company");
                    sync_run.report().rejected += 1;
                    one.known.pending = None;
                    let rejected = Rejected { digest: one.digest.clone(), reason, at: sync_run.at };
                    refused.extend(sync_run.park_company(&one.draft.key, &rejected));
                    // The people and deals of the company are still written.
                    sync_run.company_is(&one.draft.key, one.known.id);
                }
                WriteOutcome::Held(reason) => {
                    tracing::warn!(reason, "a company waits for a manager");
                    one.known.pending = None;
                    let held = Rejected { digest: one.digest.clone(), reason, at: sync_run.at };
                    refused.extend(sync_run.hold_for_company(&one.draft.key, &held));
                }
                // The next run looks for the company or makes it again.
                WriteOutcome::Gone(_) | WriteOutcome::Misidentified(_) => one.known = Known::default(),
                WriteOutcome::NotSent => {
                    one.known.pending = None;
                    unsent += 1;
                }
                WriteOutcome::Unknown => {
                    tracing::warn!("the CRM's answer about a company was lost; it will be looked up");
                    one.known.late_until = Some(self.clock.now() + late_for);
                }
            }
            self.keep_company(one).await?;
        }
        sync_run.unsent(unsent, due.len());
        self.keep(sync_run, refused).await
    }

    /// Forgets a company that is no longer in the CRM. The next run looks for it or makes it again.
    pub(crate) async fn forget_company(&self, sync_run: &SyncRun, id: u64) -> Result<(), PortError> {
        let keys: Vec<String> = {
            let mut companies = sync_run.companies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let keys = companies.iter().filter(|(_, known)| **known == Some(id)).map(|(key, _)| key.clone()).collect();
            companies.retain(|_, known| *known != Some(id));
            keys
        };
        self.keep(sync_run, sync_run.company_is_gone(&keys)).await?;
        for key in keys {
            let (known, version) = read(self.store.key_value(&self.company(&key)).await?);
            if known.id == Some(id) {
                tracing::warn!(company = id, "a company is not in the CRM any more; it is looked for again");
                let value = serde_json::to_string(&Known::default()).unwrap_or_default();
                // Another process that wrote the value meanwhile knows more.
                self.store.compare_and_set(&self.company(&key), &value, version).await?;
            }
        }
        Ok(())
    }

    fn company(&self, key: &str) -> String {
        self.cell_of(&format!("company/{key}"))
    }

    /// Name of a stored value of this CRM.
    pub(crate) fn cell_of(&self, name: &str) -> String {
        if self.scope.is_empty() { name.to_owned() } else { format!("{}/{name}", self.scope) }
    }

    async fn keep_company(&self, one: &mut DueCompany) -> Result<(), PortError> {
        let value = serde_json::to_string(&one.known).unwrap_or_default();
        if !self.store.compare_and_set(&self.company(&one.draft.key), &value, one.version).await? {
            return Err(PortError::Retry("another process writes the same company".into()));
        }
        one.version = Some(one.version.unwrap_or(0) + 1);
        Ok(())
    }
}

impl SyncRun {
    /// Companies that rows to be written refer to.
    fn companies_wanted(&self) -> BTreeMap<String, CompanyDraft> {
        let person_runs = self.person_runs();
        let open = person_runs.values().filter(|person_run| !person_run.plan.steps.is_empty());
        merged(open.flat_map(|person_run| person_run.plan.companies.iter().cloned()))
    }

    /// True if every person who needs a company knows that the CRM refuses it as it is.
    fn is_company_parked(&self, key: &str, digest: &Digest) -> bool {
        let rejected = |person_run: &PersonRun| {
            person_run.link.companies.get(key).is_some_and(|rejected| rejected.digest == *digest)
        };
        self.person_runs().values().filter(|person_run| person_run.wants(key)).all(rejected)
    }

    /// Notes for every person who needs a company that the CRM refuses it, and why.
    fn park_company(&self, key: &str, rejected: &Rejected) -> BTreeSet<PersonId> {
        let mut person_runs = self.person_runs();
        let wanting = person_runs.iter_mut().filter(|(_, person_run)| person_run.wants(key));
        let note = |(id, person_run): (&PersonId, &mut PersonRun)| {
            person_run.link.companies.insert(key.to_owned(), rejected.clone());
            *id
        };
        wanting.map(note).collect()
    }

    /// Makes contacts wait for their company.
    fn hold_for_company(&self, key: &str, reason: &Rejected) -> BTreeSet<PersonId> {
        let mut person_runs = self.person_runs();
        let wanting = person_runs.iter_mut().filter(|(_, person_run)| person_run.wants(key));
        let note = |(id, person_run): (&PersonId, &mut PersonRun)| {
            hold(&mut person_run.link.contact.held, Some(reason.clone()));
            person_run.failed = true;
            *id
        };
        wanting.map(note).collect()
    }

    /// Companies that were refused before and are in the CRM now. People who were written without them are written
    /// again.
    fn companies_found(&self) -> BTreeSet<PersonId> {
        let companies = self.companies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let (mut person_runs, mut changed) = (self.person_runs(), BTreeSet::new());
        for (id, person_run) in person_runs.iter_mut() {
            let before = person_run.link.companies.len();
            person_run.link.companies.retain(|key, _| !companies.get(key).is_some_and(Option::is_some));
            if person_run.link.companies.len() < before {
                person_run.link.write_rows_again();
                // This run's plan does not know the company; the next run's plan does.
                person_run.open += 1;
                changed.insert(*id);
            }
        }
        changed
    }

    /// Makes the rows of a gone company's people be written again, with the company that takes its place.
    fn company_is_gone(&self, keys: &[String]) -> BTreeSet<PersonId> {
        let mut person_runs = self.person_runs();
        let of_company = person_runs.iter_mut().filter(|(_, person_run)| keys.iter().any(|key| person_run.wants(key)));
        let again = |(id, person_run): (&PersonId, &mut PersonRun)| {
            person_run.link.write_rows_again();
            person_run.link.invoices.values_mut().for_each(|invoice| invoice.last_sent = None);
            // This run's plan does not know the new company; the next run's plan does.
            person_run.open += 1;
            *id
        };
        of_company.filter(|_| !breakage::is_on("company-made-again-has-nobody")).map(again).collect()
    }

    fn is_looking_for(&self, key: &str) {
        self.looking.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(key.to_owned());
    }

    fn company_is(&self, key: &str, id: Option<u64>) {
        let mut companies = self.companies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        companies.insert(key.to_owned(), id);
    }
}

/// Reads a stored company. If a later version wrote it, the company may be in the CRM: it is looked up before it is
/// made.
fn read(key_value: Option<KeyValue>) -> (Known, Option<u64>) {
    let version = key_value.as_ref().map(|key_value| key_value.version);
    let since = (!breakage::is_on("unreadable-company-remade")).then_some(Timestamp::UNIX_EPOCH);
    let unreadable = |_| Known { pending: since, ..Known::default() };
    (
        key_value
            .map(|key_value| serde_json::from_str(&key_value.value).unwrap_or_else(unreadable))
            .unwrap_or_default(),
        version,
    )
}

/// Merges what several people say about the same company.
fn merged(all: impl Iterator<Item = CompanyDraft>) -> BTreeMap<String, CompanyDraft> {
    let mut companies = BTreeMap::<String, CompanyDraft>::new();
    for draft in all {
        match companies.get_mut(&draft.key) {
            Some(known) => {
                known.domains.extend(draft.domains);
                known.kpp = known.kpp.take().or(draft.kpp);
                known.unchecked = known.unchecked.take().or(draft.unchecked);
            }
            None => _ = companies.insert(draft.key.clone(), draft),
        }
    }
    companies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_of_which_a_later_version_wrote_was_asked_for_at_any_time() {
        let key_value = KeyValue { value: "sealed 9".into(), version: 3 };
        let (known, version) = read(Some(key_value));
        assert_eq!((known.id, known.pending, version), (None, Some(Timestamp::UNIX_EPOCH), Some(3)));
        assert!(read(None).0.pending.is_none());
    }
}
