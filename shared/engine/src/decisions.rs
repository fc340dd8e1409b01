//! What managers decided about people who are one, or two.

use std::collections::BTreeSet;

use stagedoor_model::{Fact, Identifier, Record, RecordKey, Timestamp, Verdict, breakage};

/// The decisions of managers, the latest first. Of two decisions about one pair, only the later one counts.
pub(crate) fn decisions<'r>(records: &[&'r Record]) -> Vec<(Timestamp, &'r RecordKey, &'r Verdict)> {
    let decided = records.iter().filter_map(|record| match &record.fact {
        Fact::Decided { at, verdict } => Some((*at, &record.key, verdict)),
        _ => None,
    });
    let mut decisions: Vec<_> = decided.collect();
    decisions.sort_by(|a, b| b.cmp(a));
    let mut pairs = BTreeSet::new();
    decisions.retain(|(_, _, verdict)| pairs.insert(verdict.identifiers()));
    decisions
}

pub(crate) fn apart(records: &[&Record]) -> Vec<(Identifier, Identifier)> {
    let pair = |verdict: &Verdict| match verdict {
        Verdict::DifferentPeople(one, other) if one != other => Some((one.clone(), other.clone())),
        _ => None,
    };
    if breakage::is_on("part-ignored") {
        return vec![];
    }
    decisions(records).into_iter().filter_map(|(_, _, verdict)| pair(verdict)).collect()
}
