//! Companies before their people: a company is nobody's own, so what is known of it in the CRM stands in a cell of its own, and
//! an intent there is what a lost answer is looked up by.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_engine::{CompanyDraft, Digest, Intent, Parked, PersonId};
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{Cell, CrmError, PortError, Row};

use crate::{
    Sync,
    answers::hold,
    round::{Case, Round},
};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Known {
    id: Option<u64>,
    pushed: Option<Digest>,
    /// When it was asked for without an answer yet.
    intent: Option<Timestamp>,
    /// Until when that call may still take effect. Earlier builds wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    late_until: Option<Timestamp>,
}

impl Known {
    fn intent(&self) -> Option<Intent> {
        Some(Intent { at: self.intent?, late_until: self.late_until, values: BTreeSet::new() })
    }
}

struct Due {
    draft: CompanyDraft,
    digest: Digest,
    known: Known,
    version: Option<u64>,
}

impl Sync {
    /// Finds or makes the companies that this round's rows point at, and tells the round their ids.
    pub(crate) async fn companies(&self, round: &Round) -> Result<(), PortError> {
        let mut due = Vec::new();
        for (key, draft) in round.companies_wanted() {
            let cell = self.store.cell(&self.company(&key)).await?;
            let (known, version) = read(cell);
            let digest = Digest::of(&draft);
            match known.id {
                Some(id) if known.pushed.as_ref() == Some(&digest) => round.company_is(&key, Some(id)),
                _ if round.is_company_parked(&key, &digest) => round.company_is(&key, known.id),
                _ => due.push(Due { draft, digest, known, version }),
            }
        }
        if let Err(error) = self.look_up_companies(round, &mut due).await? {
            tracing::warn!(%error, "companies could not be looked up");
            round.stop(error.to_string());
            return Ok(());
        }
        for chunk in due.chunks_mut(self.crm.batch().max(1)) {
            if round.stopped() || !self.lease().await? {
                return Ok(());
            }
            self.put_companies(round, chunk).await?;
        }
        self.keep(round, round.companies_found()).await
    }

    /// Looks up those that were asked for without an answer. Those that may still be made are left out of `due`.
    async fn look_up_companies(
        &self,
        round: &Round,
        due: &mut Vec<Due>,
    ) -> Result<std::result::Result<(), CrmError>, PortError> {
        let open = |one: &&Due| one.known.id.is_none() && one.known.intent.is_some();
        let keys: BTreeSet<String> = due.iter().filter(open).map(|one| one.draft.key.clone()).collect();
        let Some(since) = due.iter().filter(open).filter_map(|one| one.known.intent).min() else { return Ok(Ok(())) };
        let found = match self.crm.find_companies(&keys, since).await {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let (now, late_for) = (self.clock.now(), self.crm.late_for());
        due.retain_mut(|one| {
            let Some(intent) = one.known.intent().filter(|_| one.known.id.is_none()) else { return true };
            one.known.id = found.get(&one.draft.key).and_then(|ids| ids.first().copied());
            let is_awaited = one.known.id.is_none() && !intent.is_over(now, late_for);
            if is_awaited {
                round.is_looking_for(&one.draft.key);
            }
            !is_awaited
        });
        Ok(Ok(()))
    }

    async fn put_companies(&self, round: &Round, due: &mut [Due]) -> Result<(), PortError> {
        let since = due.iter().filter_map(|one| one.known.intent).min();
        let late_for = self.crm.late_for();
        for one in due.iter_mut().filter(|one| one.known.id.is_none()) {
            let now = self.clock.now();
            (one.known.intent, one.known.late_until) = (Some(now), Some(now + late_for));
            self.keep_company(one).await?;
        }
        let rows: Vec<(Option<u64>, CompanyDraft)> = due.iter().map(|one| (one.known.id, one.draft.clone())).collect();
        let answers = self.crm.put_companies(&rows, since).await;
        let (mut refused, mut unsent) = (BTreeSet::new(), 0);
        for (one, row) in due.iter_mut().zip(answers) {
            match row {
                Row::Done(id) => {
                    one.known = Known { id: Some(id), pushed: Some(one.digest.clone()), ..Known::default() };
                    round.company_is(&one.draft.key, Some(id));
                }
                Row::Refused(reason) => {
                    tracing::warn!(reason, "the CRM refused a company");
                    round.report().parked += 1;
                    one.known.intent = None;
                    let parked = Parked { digest: one.digest.clone(), reason, at: round.at };
                    refused.extend(round.park_company(&one.draft.key, &parked));
                    // Its people and deals are written all the same.
                    round.company_is(&one.draft.key, one.known.id);
                }
                Row::Held(reason) => {
                    tracing::warn!(reason, "a company waits for a manager");
                    one.known.intent = None;
                    let held = Parked { digest: one.digest.clone(), reason, at: round.at };
                    refused.extend(round.hold_for_company(&one.draft.key, &held));
                }
                // Looked for or made again by the next run.
                Row::Gone(_) | Row::Misidentified(_) => one.known = Known::default(),
                Row::NotSent => {
                    one.known.intent = None;
                    unsent += 1;
                }
                Row::Unknown => {
                    tracing::warn!("the CRM's answer about a company was lost; it will be looked up");
                    one.known.late_until = Some(self.clock.now() + late_for);
                }
            }
            self.keep_company(one).await?;
        }
        round.unsent(unsent, due.len());
        self.keep(round, refused).await
    }

    /// A company that is not in the CRM any more is looked for or made again by the next run.
    pub(crate) async fn forget_company(&self, round: &Round, id: u64) -> Result<(), PortError> {
        let keys: Vec<String> = {
            let mut companies = round.companies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let keys = companies.iter().filter(|(_, known)| **known == Some(id)).map(|(key, _)| key.clone()).collect();
            companies.retain(|_, known| *known != Some(id));
            keys
        };
        for key in keys {
            let (known, version) = read(self.store.cell(&self.company(&key)).await?);
            if known.id == Some(id) {
                tracing::warn!(company = id, "a company is not in the CRM any more; it is looked for again");
                let value = serde_json::to_string(&Known::default()).unwrap_or_default();
                // Another process that wrote it meanwhile knows more.
                self.store.put_cell(&self.company(&key), &value, version).await?;
            }
        }
        Ok(())
    }

    fn company(&self, key: &str) -> String {
        self.cell_of(&format!("company/{key}"))
    }

    /// The cell of this CRM.
    pub(crate) fn cell_of(&self, name: &str) -> String {
        if self.scope.is_empty() { name.to_owned() } else { format!("{}/{name}", self.scope) }
    }

    async fn keep_company(&self, one: &mut Due) -> Result<(), PortError> {
        let value = serde_json::to_string(&one.known).unwrap_or_default();
        if !self.store.put_cell(&self.company(&one.draft.key), &value, one.version).await? {
            return Err(PortError::Retry("another process writes the same company".into()));
        }
        one.version = Some(one.version.unwrap_or(0) + 1);
        Ok(())
    }
}

impl Round {
    /// Companies that something to be written points at.
    fn companies_wanted(&self) -> BTreeMap<String, CompanyDraft> {
        let cases = self.cases();
        let open = cases.values().filter(|case| !case.plan.steps.is_empty());
        merged(open.flat_map(|case| case.plan.companies.iter().cloned()))
    }

    /// Whether everybody who wants a company knows that the CRM refuses it as it is.
    fn is_company_parked(&self, key: &str, digest: &Digest) -> bool {
        let parked = |case: &Case| case.link.companies.get(key).is_some_and(|parked| parked.digest == *digest);
        self.cases().values().filter(|case| case.wants(key)).all(parked)
    }

    /// Notes with those who want a company that the CRM refuses it, and why.
    fn park_company(&self, key: &str, parked: &Parked) -> BTreeSet<PersonId> {
        let mut cases = self.cases();
        let wanting = cases.iter_mut().filter(|(_, case)| case.wants(key));
        let note = |(id, case): (&PersonId, &mut Case)| {
            case.link.companies.insert(key.to_owned(), parked.clone());
            *id
        };
        wanting.map(note).collect()
    }

    /// Contacts wait for their company.
    fn hold_for_company(&self, key: &str, reason: &Parked) -> BTreeSet<PersonId> {
        let mut cases = self.cases();
        let wanting = cases.iter_mut().filter(|(_, case)| case.wants(key));
        let note = |(id, case): (&PersonId, &mut Case)| {
            hold(&mut case.link.contact.held, Some(reason.clone()));
            case.failed = true;
            *id
        };
        wanting.map(note).collect()
    }

    /// Companies that were refused before and are in the CRM now: whoever was written without them is written again.
    fn companies_found(&self) -> BTreeSet<PersonId> {
        let companies = self.companies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let (mut cases, mut changed) = (self.cases(), BTreeSet::new());
        for (id, case) in cases.iter_mut() {
            let before = case.link.companies.len();
            case.link.companies.retain(|key, _| !companies.get(key).is_some_and(Option::is_some));
            if case.link.companies.len() < before {
                case.link.write_rows_again();
                // This round's plan knows nothing of it: the next one's does.
                case.open += 1;
                changed.insert(*id);
            }
        }
        changed
    }

    fn is_looking_for(&self, key: &str) {
        self.looking.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(key.to_owned());
    }

    fn company_is(&self, key: &str, id: Option<u64>) {
        let mut companies = self.companies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        companies.insert(key.to_owned(), id);
    }
}

/// What a later version wrote and this one cannot read may be of a company that is in the CRM: it is looked up before it is
/// made.
fn read(cell: Option<Cell>) -> (Known, Option<u64>) {
    let version = cell.as_ref().map(|cell| cell.version);
    let since = (!breakage::is_on("unreadable-company-remade")).then_some(Timestamp::UNIX_EPOCH);
    let unreadable = |_| Known { intent: since, ..Known::default() };
    (cell.map(|cell| serde_json::from_str(&cell.value).unwrap_or_else(unreadable)).unwrap_or_default(), version)
}

/// What several people of a company told of it, as one.
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
        let cell = Cell { value: "sealed 9".into(), version: 3 };
        let (known, version) = read(Some(cell));
        assert_eq!((known.id, known.intent, version), (None, Some(Timestamp::UNIX_EPOCH), Some(3)));
        assert!(read(None).0.intent.is_none());
    }
}
