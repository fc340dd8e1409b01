//! The limits of identity: what may join two people, and why a join was refused.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use stagedoor_model::{Identifier, Kind, RecordKey};

/// The limits that decide whether an identifier may join two people.
#[derive(Debug, Clone)]
pub struct Guards {
    /// The highest number of phones of one person.
    pub phones: usize,
    /// The highest number of e-mails of one person.
    pub emails: usize,
    /// A phone with more e-mails than this is a shared identifier and joins nobody. So is an e-mail with more phones
    /// than this. The same limit holds for the customers of one shop and for chats.
    pub crowd: usize,
    /// A phone or an e-mail that came alone with more names than this is a shared identifier, too.
    pub names: usize,
    /// A personal link that more chats than this came through counts as published and joins nobody.
    pub published: usize,
    /// Values that name nobody: `+7 999 999-99-99`, `test@…`, the phone of the box office.
    pub blocked: BTreeSet<Identifier>,
}

impl Default for Guards {
    fn default() -> Self {
        Self { phones: 5, emails: 5, crowd: 8, names: 12, published: 50, blocked: BTreeSet::new() }
    }
}

/// The reason why a guard does not join two people who share an identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardReason {
    /// Together they have more phones than [`Guards::phones`].
    TooManyPhones,
    /// Together they have more e-mails than [`Guards::emails`].
    TooManyEmails,
    /// The two sides hold different values of a kind that a person has only one of. The fields are the kind and its
    /// scope.
    TwoOf(Kind, String),
    /// A chat came through a personal link that another chat had used before, from another browser.
    LinkUsedBefore,
    /// A chat came through a personal link after the link's expiry.
    LinkExpired,
    /// A chat came through a personal link, but gave another phone, e-mail or customer id than the link's owner has.
    LinkOfAnother(Kind),
    /// A manager decided that they are two people.
    Decided,
    /// One side only typed the identifier, and another person proves that it is theirs.
    Claimed,
}

/// Two people who share an identifier and are kept apart by a guard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockedJoin {
    /// The record whose identifier did not join.
    pub record: RecordKey,
    /// The shared identifier.
    pub identifier: Identifier,
    /// The reason of the guard.
    pub why: GuardReason,
}

/// The records of one person, and the identifiers that hold them together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// The keys of its records.
    pub records: BTreeSet<RecordKey>,
    /// The identifiers that lead to it.
    pub identifiers: BTreeSet<Identifier>,
}
