//! Withdrawals by address. A guard may keep two people apart who share an address: the address is a shared identifier
//! or blocked, or a manager parted the people. A withdrawal through that address holds for every person whose facts
//! prove it. So each withdrawal is also stored under its addresses, and is read together with each person who has one
//! of them.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use stagedoor_model::{Channel, Decision, Identifier, Kind, MARKETING, RecordKey, Timestamp, breakage};

use super::{BLOCKED, EARLIEST, Entry, UNREADABLE, entries_of};
use crate::Person;

fn is_address(one: &Identifier) -> bool {
    matches!(one.kind(), Kind::Phone | Kind::Email)
}

/// Returns the withdrawals in these records of a person, by the phones and e-mails that came with them. A blocked bot
/// concerns only that chat. A stranger cannot withdraw for anybody.
pub fn withdrawals(person: &Person, records: &BTreeSet<RecordKey>) -> BTreeMap<Identifier, BTreeSet<Entry>> {
    let mut words = BTreeMap::<Identifier, BTreeSet<Entry>>::new();
    for record in records.iter().filter_map(|key| person.records.get(key)) {
        for entry in entries_of(record, person) {
            if entry.decision != Decision::Withdrawn || entry.is_anonymous || entry.method == BLOCKED {
                continue;
            }
            // The owner of the phone that the messenger proves says a stop word in it.
            let proven = record.identifiers.iter().filter(|_| entry.is_for_all());
            let told = entry.identifiers.iter().filter(|one| !record.claims.contains(*one));
            for address in proven.chain(told).filter(|one| is_address(one)) {
                words.entry(address.clone()).or_default().insert(bare(&entry, address));
            }
        }
    }
    words
}

/// Returns the name of the stored value with the withdrawals of an address. It does not reveal the address.
pub fn cell_of_withdrawals(address: &Identifier) -> String {
    format!("withdrawn/{}", hex::encode(Sha256::digest(address.to_string())))
}

/// The question of a letter to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Does a consent come from the owner of the address?
    Consent,
    /// Does a withdrawal come from the owner of the address?
    Withdrawal,
}

/// Returns the name of the stored value that holds when an address was asked this question. It does not reveal the
/// address.
pub fn cell_of_question(question: Question, address: &Identifier) -> String {
    let asks = match question {
        Question::Consent => "consent",
        Question::Withdrawal => "withdrawal",
    };
    format!("asked/{asks}/{}", hex::encode(Sha256::digest(address.to_string())))
}

/// Returns the names of all stored values about an address. They are deleted with its owner.
pub fn cells_of_address(address: &Identifier) -> [String; 3] {
    let question = |one| cell_of_question(one, address);
    [cell_of_withdrawals(address), question(Question::Consent), question(Question::Withdrawal)]
}

/// Returns the name of the audience of people whose facts prove an address that does not lead to them. It does not
/// reveal the address.
pub fn bearers_of(address: &Identifier) -> String {
    format!("bearers/{}", hex::encode(Sha256::digest(address.to_string())))
}

/// Returns the phones and e-mails that the person's facts prove.
pub fn proven_addresses(person: &Person) -> BTreeSet<Identifier> {
    person.identifiers().into_iter().filter(|one| is_address(one)).cloned().collect()
}

/// Returns the entry without the parts that only its own person may see.
fn bare(entry: &Entry, address: &Identifier) -> Entry {
    Entry {
        wording: None,
        lists: BTreeSet::new(),
        evidence: BTreeMap::new(),
        identifiers: BTreeSet::from([address.clone()]),
        ..entry.clone()
    }
}

/// Selects the withdrawals of one address that are kept: the latest one for each purpose, channel and method.
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

/// Returns an entry that stands for withdrawals which this version cannot read. No advertising goes to the address
/// until they can be read.
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

/// Adds withdrawals by other people with the same address that do not stand in the person's own facts.
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
