//! Records that no longer exist. Vtiger empties a reference to such a record and answers success. So a row that came
//! back with another reference is examined.

use std::collections::BTreeSet;

use stagedoor_engine::CompanyRef;
use stagedoor_model::breakage;
use stagedoor_ports::{Gone, WriteOutcome};

use crate::vtiger::{client::Vtiger, create::OTHERWISE, missing, schema::Schema, transport::Failure};

impl Vtiger {
    /// Marks rows that failed because a record that they point at is gone. `points_at` returns the records that a row
    /// points at.
    pub(super) async fn gone(
        &self,
        schema: &Schema,
        mut rows: Vec<WriteOutcome>,
        points_at: impl Fn(usize) -> Vec<Gone>,
    ) -> Vec<WriteOutcome> {
        let suspect = |row: &WriteOutcome| match row {
            WriteOutcome::Refused(reason) => reason.contains(OTHERWISE),
            // For a comment on a deleted record the CRM answers with a sentence that gives no reason.
            row => *row == WriteOutcome::Unknown,
        };
        let suspects: Vec<(usize, Vec<Gone>)> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| suspect(row))
            .map(|(index, _)| (index, points_at(index)))
            .filter(|(_, points_at)| !points_at.is_empty())
            .collect();
        if suspects.is_empty() {
            return rows;
        }
        let all: Vec<Gone> = suspects.iter().flat_map(|(_, points_at)| points_at.iter().copied()).collect();
        let gone = match self.missing_of(schema, &all).await {
            Ok(gone) => gone,
            Err(failure) => {
                tracing::warn!(?failure, "what rows point at could not be looked up");
                // Until the lookup succeeds, it is unknown whether the CRM refuses these rows.
                for (index, _) in suspects {
                    if let Some(row) = rows.get_mut(index)
                        && !breakage::is_on("unsure-row-is-refused")
                    {
                        *row = WriteOutcome::Unknown;
                    }
                }
                return rows;
            }
        };
        for (index, points_at) in suspects {
            if let (Some(place), Some(gone)) =
                (rows.get_mut(index), points_at.into_iter().find(|one| gone.contains(one)))
            {
                *place = WriteOutcome::Gone(gone);
            }
        }
        rows
    }

    /// The records among these that do not exist.
    pub(super) async fn missing_of(&self, schema: &Schema, all: &[Gone]) -> Result<Vec<Gone>, Failure> {
        let of = |number: &dyn Fn(&Gone) -> Option<u64>| -> BTreeSet<u64> { all.iter().filter_map(number).collect() };
        let contacts = of(&|one| if let Gone::Contact(id) = one { Some(*id) } else { None });
        let companies = of(&|one| if let Gone::Company(id) = one { Some(*id) } else { None });
        let deals = of(&|one| if let Gone::Deal(id) = one { Some(*id) } else { None });
        let mut gone: Vec<Gone> = Vec::new();
        gone.extend(
            missing::gone(&self.transport, &schema.contacts, &contacts).await?.0.into_iter().map(Gone::Contact),
        );
        gone.extend(
            missing::gone(&self.transport, &schema.accounts, &companies).await?.0.into_iter().map(Gone::Company),
        );
        gone.extend(missing::gone(&self.transport, &schema.deals, &deals).await?.0.into_iter().map(Gone::Deal));
        Ok(gone)
    }
}

/// The company that a row points at.
pub(super) fn companies_of(company: Option<&CompanyRef>) -> Vec<Gone> {
    company.and_then(|company| company.id).map(Gone::Company).into_iter().collect()
}
