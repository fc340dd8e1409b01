//! What a single record proves, claims or confirms.

use stagedoor_model::{Decision, Fact, Identifier, Record};

/// The method of a consent that was confirmed through the link of a letter.
const CONFIRMED: &str = "double-opt-in";

/// True if a record is more than claims, or a CRM row that was made for them.
pub(crate) fn proves(record: &Record) -> bool {
    !is_claimed(record) && !matches!(record.fact, Fact::CrmContact { .. } | Fact::CrmLead { .. })
}

/// True if a record is a form without any proven strong identifier.
pub(crate) fn is_claimed(record: &Record) -> bool {
    let is_strong = |one: &Identifier| one.kind().is_strong();
    matches!(record.fact, Fact::Submission(_)) && !record.claims.is_empty() && !record.identifiers.iter().any(is_strong)
}

/// True if a record confirms an address through the link of a letter.
pub(crate) fn is_confirmation(record: &Record) -> bool {
    matches!(&record.fact, Fact::Consent(said) if said.decision == Decision::Confirmed && said.method == CONFIRMED)
}
