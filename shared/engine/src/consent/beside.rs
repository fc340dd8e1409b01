//! Withdrawals by address. A guard may keep two people apart who share an address: a crowd's value, a blocked one, people whom
//! a manager parted. Who withdraws through that address withdraws for all whose facts prove it. So each withdrawal is also
//! kept by its addresses, and is read beside each person who has one of them.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use stagedoor_model::{Channel, Decision, Identifier, Kind, MARKETING, RecordKey, Timestamp, breakage};

use super::{BLOCKED, EARLIEST, Entry, UNREADABLE, entries_of};
use crate::Person;

fn is_address(one: &Identifier) -> bool {
    matches!(one.kind(), Kind::Phone | Kind::Email)
}

/// What these records of somebody tell of withdrawals, by the phones and e-mails that they were told with. A bot that was
/// blocked is that chat's alone, and a stranger withdraws for nobody.
pub fn withdrawals(person: &Person, records: &BTreeSet<RecordKey>) -> BTreeMap<Identifier, BTreeSet<Entry>> {
    let mut words = BTreeMap::<Identifier, BTreeSet<Entry>>::new();
    for record in records.iter().filter_map(|key| person.records.get(key)) {
        for entry in entries_of(record, person) {
            if entry.decision != Decision::Withdrawn || entry.is_anonymous || entry.method == BLOCKED {
                continue;
            }
            // A stop word in a messenger is said by the owner of the phone that the messenger proves.
            let proven = record.identifiers.iter().filter(|_| entry.is_for_all());
            let told = entry.identifiers.iter().filter(|one| !record.claims.contains(*one));
            for address in proven.chain(told).filter(|one| is_address(one)) {
                words.entry(address.clone()).or_default().insert(bare(&entry, address));
            }
        }
    }
    words
}

/// The name of the cell in which the words about an address are kept. It shows no address.
pub fn cell_of_withdrawals(address: &Identifier) -> String {
    format!("withdrawn/{}", hex::encode(Sha256::digest(address.to_string())))
}

/// What a letter asks an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether a consent is theirs.
    Consent,
    /// Whether a withdrawal is theirs.
    Withdrawal,
}

/// The name of the cell that says when an address was asked by which letter. It shows no address.
pub fn cell_of_question(question: Question, address: &Identifier) -> String {
    let asks = match question {
        Question::Consent => "consent",
        Question::Withdrawal => "withdrawal",
    };
    format!("asked/{asks}/{}", hex::encode(Sha256::digest(address.to_string())))
}

/// The names of all cells about an address. They go with its owner.
pub fn cells_of_address(address: &Identifier) -> [String; 3] {
    let question = |one| cell_of_question(one, address);
    [cell_of_withdrawals(address), question(Question::Consent), question(Question::Withdrawal)]
}

/// The name of the audience in which those stand whose facts prove an address that does not lead to them.
pub fn bearers_of(address: &Identifier) -> String {
    format!("bearers/{}", hex::encode(Sha256::digest(address.to_string())))
}

/// Phones and e-mails that their facts prove.
pub fn proven_addresses(person: &Person) -> BTreeSet<Identifier> {
    person.identifiers().into_iter().filter(|one| is_address(one)).cloned().collect()
}

/// The word without what only its own person is shown.
fn bare(entry: &Entry, address: &Identifier) -> Entry {
    Entry {
        wording: None,
        lists: BTreeSet::new(),
        evidence: BTreeMap::new(),
        identifiers: BTreeSet::from([address.clone()]),
        ..entry.clone()
    }
}

/// Of the words about one address those that are kept: the latest of each kind.
pub fn withdrawn_beside(words: impl IntoIterator<Item = Entry>) -> BTreeSet<Entry> {
    let mut latest = BTreeMap::<_, Entry>::new();
    for word in words {
        let kind = (word.purpose.clone(), word.channel, word.method.clone());
        match latest.get(&kind) {
            Some(known) if *known >= word => {}
            _ => _ = latest.insert(kind, word),
        }
    }
    latest.into_values().collect()
}

/// The word that stands for withdrawals through an address that this version cannot read: nothing is advertised there until
/// they can be read.
pub fn unreadable_word() -> Entry {
    Entry {
        at: Timestamp::from_second(EARLIEST).unwrap_or_default(),
        decision: Decision::Withdrawn,
        purpose: MARKETING.to_owned(),
        channel: Channel::Email,
        source: "stagedoor".to_owned(),
        method: UNREADABLE.to_owned(),
        wording: None,
        identifiers: BTreeSet::new(),
        lists: BTreeSet::new(),
        evidence: BTreeMap::new(),
        received_at: None,
        told_at: None,
        is_anonymous: false,
        asked_at: None,
    }
}

/// Adds what was withdrawn beside a person and does not stand in their own facts.
pub(super) fn add(entries: &mut Vec<Entry>, person: &Person) {
    if person.withdrawn_beside.is_empty() || breakage::is_on("withdrawal-stays-with-person") {
        return;
    }
    let same = |own: &Entry, word: &Entry| {
        own.decision == word.decision
            && (own.at, own.channel, &own.purpose, &own.method) == (word.at, word.channel, &word.purpose, &word.method)
    };
    let strange: Vec<Entry> =
        person.withdrawn_beside.iter().filter(|word| !entries.iter().any(|own| same(own, word))).cloned().collect();
    entries.extend(strange);
}
