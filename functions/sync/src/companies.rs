//! Companies before their people: a company is nobody's own, so what is known of it in the CRM stands in a cell of its own, and
//! an intent there is what a lost answer is looked up by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stagedoor_engine::{CompanyDraft, Digest};
use stagedoor_model::Timestamp;
use stagedoor_ports::{Cell, PortError, Row};

use crate::{Sync, round::Round};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Known {
    id: Option<u64>,
    pushed: Option<Digest>,
    /// When it was asked for without an answer yet.
    intent: Option<Timestamp>,
    /// What the CRM refused, and why.
    parked: Option<(Digest, String)>,
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
            let refused = known.parked.as_ref().is_some_and(|(parked, _)| *parked == digest);
            match known.id {
                Some(id) if known.pushed.as_ref() == Some(&digest) => round.company_is(&key, Some(id)),
                _ if refused => round.company_is(&key, known.id),
                _ => due.push(Due { draft, digest, known, version }),
            }
        }
        for chunk in due.chunks_mut(self.crm.batch().max(1)) {
            if round.stopped() || !self.lease().await? {
                return Ok(());
            }
            self.put_companies(round, chunk).await?;
        }
        Ok(())
    }

    async fn put_companies(&self, round: &Round, due: &mut [Due]) -> Result<(), PortError> {
        let since = due.iter().filter_map(|one| one.known.intent).min();
        for one in due.iter_mut().filter(|one| one.known.id.is_none() && one.known.intent.is_none()) {
            one.known.intent = Some(round.at);
            self.keep_company(one).await?;
        }
        let rows: Vec<(Option<u64>, CompanyDraft)> = due.iter().map(|one| (one.known.id, one.draft.clone())).collect();
        let answers = self.crm.put_companies(&rows, since).await;
        for (one, row) in due.iter_mut().zip(answers) {
            match row {
                Row::Done(id) => {
                    one.known = Known { id: Some(id), pushed: Some(one.digest.clone()), ..Known::default() };
                    round.company_is(&one.draft.key, Some(id));
                }
                Row::Refused(reason) => {
                    tracing::warn!(reason, "the CRM refused a company");
                    round.report().parked += 1;
                    (one.known.intent, one.known.parked) = (None, Some((one.digest.clone(), reason)));
                    // Its people and deals are written all the same.
                    round.company_is(&one.draft.key, one.known.id);
                }
                Row::NotSent => {
                    one.known.intent = None;
                    round.stop("the CRM cannot be used now".into());
                }
                Row::Unknown => tracing::warn!("the CRM's answer about a company was lost; it will be looked up"),
            }
            self.keep_company(one).await?;
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

fn read(cell: Option<Cell>) -> (Known, Option<u64>) {
    let version = cell.as_ref().map(|cell| cell.version);
    (cell.and_then(|cell| serde_json::from_str(&cell.value).ok()).unwrap_or_default(), version)
}

/// What several people of a company told of it, as one.
pub(crate) fn merged(all: impl Iterator<Item = CompanyDraft>) -> BTreeMap<String, CompanyDraft> {
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
