//! Finds shared identifiers: the phone of a box office, the e-mail of a cashier, the one account of a cash desk, a
//! published link.
//!
//! A value that is shared only in forms and chats is marked as typed. It no longer joins forms and chats, but reports
//! of other servers still join by it. Claims do not count: otherwise a stranger could make any address a shared one.
//! Counts only grow with new facts, and start anew when a manager lifts the mark.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Kind, Record, Timestamp, Verdict, breakage, record::words};

use crate::Guards;

/// The greatest length of a mark, in bytes.
const MAX_LENGTH: usize = 256;

/// Returns true if the record is only the word of an unknown visitor.
pub(crate) fn is_typed(record: &Record) -> bool {
    match &record.fact {
        Fact::Submission(submission) => !submission.quiet,
        Fact::Conversation(_) => true,
        _ => false,
    }
}

/// What one value appeared with.
#[derive(Default)]
struct Seen<'r> {
    /// Phones and e-mails in the same records, except of the value's own kind.
    others: BTreeMap<Kind, BTreeSet<&'r Identifier>>,
    /// Ids of which a person has only one, by kind and scope.
    exclusive: BTreeMap<(Kind, &'r str), BTreeSet<&'r str>>,
    chats: BTreeSet<&'r Identifier>,
    /// Names in records without another phone or e-mail.
    names: BTreeSet<BTreeSet<String>>,
}

impl<'r> Seen<'r> {
    fn see(&mut self, value: &Identifier, record: &'r Record) {
        let is_address = |one: &Identifier| matches!(one.kind(), Kind::Phone | Kind::Email);
        let mut alone = true;
        let claims = record.claims.iter().filter(|_| breakage::is_on("claims-make-crowds"));
        for other in record.identifiers.iter().chain(claims).filter(|other| *other != value) {
            alone &= !is_address(other);
            if is_address(other) && other.kind() != value.kind() {
                self.others.entry(other.kind()).or_default().insert(other);
            }
            if other.kind().is_exclusive() {
                self.exclusive.entry((other.kind(), other.scope())).or_default().insert(other.value());
            }
            if other.kind().is_chat() {
                self.chats.insert(other);
            }
        }
        if let Some((_, name)) = record.name.as_ref().filter(|_| alone) {
            self.names.insert(words(name));
        }
    }

    fn is_crowd(&self, guards: &Guards) -> bool {
        let most = |count: usize| count > guards.crowd;
        self.others.values().any(|values| most(values.len()))
            || self.exclusive.values().any(|values| most(values.len()))
            || most(self.chats.len())
            || self.names.len() > guards.names
    }
}

/// Returns when a manager last said that a value belongs to one person.
pub(crate) fn lifts<'r>(records: impl IntoIterator<Item = &'r Record>) -> BTreeMap<&'r Identifier, Timestamp> {
    let mut lifts = BTreeMap::new();
    for record in records {
        if let Fact::Decided { at, verdict: Verdict::NotShared(identifier) } = &record.fact {
            let known = lifts.entry(identifier).or_insert(*at);
            *known = (*at).max(*known);
        }
    }
    lifts
}

/// Returns marks of values that are shared and not in `known_shared` yet.
pub(crate) fn crowds(
    records: &[&Record],
    known_shared: &BTreeSet<Identifier>,
    guards: &Guards,
) -> BTreeSet<Identifier> {
    let lifts = lifts(records.iter().copied());
    let (mut signed, mut typed) = (BTreeMap::<&Identifier, Seen<'_>>::new(), BTreeMap::<&Identifier, Seen<'_>>::new());
    let mut chats = BTreeMap::<&Identifier, usize>::new();
    for record in records {
        let counts = |value: &Identifier| lifts.get(value).is_none_or(|lifted| record.at > *lifted);
        for value in record.identifiers.iter().filter(|value| counts(value)) {
            match value.kind() {
                Kind::Link if matches!(record.fact, Fact::Conversation(_)) => *chats.entry(value).or_default() += 1,
                Kind::Phone | Kind::Email if is_typed(record) => typed.entry(value).or_default().see(value, record),
                Kind::Phone | Kind::Email => signed.entry(value).or_default().see(value, record),
                // The one account of a box office is the customer of all who buy there.
                kind if (kind.is_exclusive() || kind.is_chat()) && !breakage::is_on("customer-of-all-joins") => {
                    signed.entry(value).or_default().see(value, record);
                }
                _ => {}
            }
        }
        for value in record.claims.iter().filter(|value| counts(value) && breakage::is_on("claims-make-crowds")) {
            typed.entry(value).or_default().see(value, record);
        }
    }
    let of = |seen: BTreeMap<&Identifier, Seen<'_>>| -> Vec<Identifier> {
        seen.into_iter().filter(|(_, seen)| seen.is_crowd(guards)).map(|(value, _)| value.clone()).collect()
    };
    let typed = of(typed).into_iter().map(|value| value.typed()).filter(|mark| mark.value().len() <= MAX_LENGTH);
    let published = chats.into_iter().filter(|(_, count)| *count > guards.published).map(|(link, _)| link);
    // The mark affects only chats: the link still names its owner.
    let loses_owner = breakage::is_on("published-link-loses-owner");
    let published = published.map(|link| if loses_owner { link.clone() } else { link.typed() });
    let all = of(signed).into_iter().chain(typed).chain(published);
    all.filter(|mark| !known_shared.contains(mark)).collect()
}
