//! The consent ledger: every statement of a person about being written to, sorted by time. Nothing is overwritten. The
//! standing at any instant follows from the entries up to then.
//!
//! 1. A consent holds for the addresses that came with it, and for no others.
//! 2. A withdrawal holds for the person: for every address, including those that become known later. It also reaches
//!    every person whose facts prove the address that it came with, even where a guard keeps them apart (`beside`). A
//!    withdrawal that is said to us (an unsubscription, a complaint, a stop word) holds for every channel. A "no" in
//!    one of several boxes of a form, or a blocked bot, holds for that channel.
//! 3. The later entry counts. Of two entries of the same instant, the withdrawal counts.
//! 4. A new statement about that channel ends a withdrawal. An opened chat is no such statement. Nor is an old list, or
//!    the link of a letter that asked before the withdrawal. A bot that was blocked and is let in again may write as
//!    before the block.
//! 5. A provider's "subscribed" is no statement of the person and makes no entry. Nor does a bounce: it suppresses the
//!    address, whatever the person consented to.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use stagedoor_model::{
    Channel, ChatWord, Decision, Fact, Header, Identifier, Kind, MARKETING, Purpose, Record, RecordKey, Timestamp,
    TrackedLink, breakage, is_no_date,
};

use crate::Person;

mod beside;
mod entry;
mod standing;

pub use beside::{
    Question, bearers_of, cell_of_question, cell_of_withdrawals, cells_of_address, proven_addresses, unreadable_word,
    withdrawals, withdrawn_beside,
};
pub use entry::Entry;
pub use standing::{doubted, standing, withdrawn_at};

/// The rules for consents, as the config has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsentPolicy {
    /// The channels on which only a confirmed consent counts.
    pub double_opt_in: BTreeSet<Channel>,
    /// The text on the CRM contact of a person who was never asked. If `None`, the contact shows nothing.
    pub ask: Option<String>,
    /// True if a person who opens a chat consents to messages there. The bot's greeting says so.
    pub chats: bool,
}

/// Whether a person consents to messages on one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The person was never asked, or never answered.
    Unknown,
    /// The person consented, but nothing proves that the address is theirs.
    Unconfirmed(Entry),
    /// The person consented by this entry.
    Given(Entry),
    /// The person withdrew by this entry.
    Withdrawn(Entry),
}

/// Methods of withdrawals that hold for every channel.
const FOR_ALL: [&str; 6] = ["unsubscribe", "one-click", "complaint", "stop-word", "crm", UNREADABLE];
/// The method that stands for stored withdrawals that this version cannot read. No later entry ends it.
const UNREADABLE: &str = "unreadable";
/// The method of consents that came with an old list. They never end a withdrawal.
const LIST: &str = "list";
/// The method of chats that a person opened. The config decides whether that is a consent.
const BEGUN: &str = "chat-begun";

/// The method of a withdrawal by blocking a bot.
const BLOCKED: &str = "blocked";

/// Returns every entry, the oldest first. It includes withdrawals by other people who share an address with this
/// person.
pub fn ledger(person: &Person) -> Vec<Entry> {
    let mut entries: Vec<Entry> = person.records.values().flat_map(|record| entries_of(record, person)).collect();
    beside::add(&mut entries, person);
    entries.sort();
    without_runs(entries)
}

/// Drops repeated withdrawals, which add nothing. Of equal withdrawals of one day in a row, the first and the last
/// stay.
fn without_runs(entries: Vec<Entry>) -> Vec<Entry> {
    let is_same = |one: &Entry, other: &Entry| {
        let nameless = |entry: &Entry| Entry { at: one.at, told_at: None, received_at: None, ..entry.clone() };
        one.decision == Decision::Withdrawn && day_of(one.at) == day_of(other.at) && nameless(one) == nameless(other)
    };
    let is_between = |n: usize| {
        let around = n.checked_sub(1).and_then(|before| Some((entries.get(before)?, entries.get(n + 1)?)));
        entries.get(n).zip(around).is_some_and(|(one, (before, after))| is_same(one, before) && is_same(one, after))
    };
    let between: Vec<bool> = (0..entries.len()).map(is_between).collect();
    entries.into_iter().zip(between).filter(|(_, is_between)| !is_between).map(|(entry, _)| entry).collect()
}

fn day_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(86_400)
}

/// How many equal withdrawals are kept beside the first and the last of each day. Each may follow a consent of its own.
const KEPT: usize = 40;

/// Of equal withdrawals, keeps the first and the last of each day, and the latest [`KEPT`]. So a link that is pressed
/// without end adds two a day. The result does not depend on other entries or on the order of folding.
pub(crate) fn without_repeats(records: &mut BTreeMap<RecordKey, Record>) {
    let mut equal: BTreeMap<_, Vec<(Timestamp, RecordKey)>> = BTreeMap::new();
    for record in records.values() {
        let Fact::Consent(said) = &record.fact else { continue };
        let is_bare = said.wording.is_none() && !breakage::is_on("each-repeat-kept");
        if said.decision == Decision::Withdrawn && is_bare {
            let what = (&record.source, &said.identifiers, &said.purpose, said.channel, &said.method, &said.lists);
            equal.entry((what, &said.evidence)).or_default().push((record.at, record.key.clone()));
        }
    }
    let latest = if breakage::is_on("words-between-consents-lost") { 1 } else { KEPT };
    let mut dropped = Vec::new();
    for mut said in equal.into_values() {
        said.sort();
        let older = said.len().saturating_sub(latest);
        let day = |n: usize| said.get(n).map(|(at, _)| day_of(*at));
        let is_between = |n: &usize| *n > 0 && day(n - 1) == day(*n) && day(n + 1) == day(*n);
        dropped.extend((0..older).filter(is_between).filter_map(|n| said.get(n)).map(|(_, key)| key.clone()));
    }
    for key in dropped {
        records.remove(&key);
    }
}

/// Returns the addresses that came with a record: its own, and those that a link in it was sent to.
fn told_of(record: &Record, person: &Person, channel: Channel) -> BTreeSet<Identifier> {
    let links = record.identifiers.iter().filter(|one| one.kind() == Kind::Link);
    let through_links = links.flat_map(|link| person.addressees(link.value()));
    let all = record.identifiers.iter().chain(&record.claims).chain(through_links);
    all.filter(|one| channel.reaches(one.kind())).cloned().collect()
}

/// The largest error of a provider's clock or time zone. A withdrawal with an older date is a report of the past.
const WRONG_CLOCK: SignedDuration = SignedDuration::from_hours(24);

/// Returns the instant from which a withdrawal counts: its receipt. Otherwise a clock that is some hours behind would
/// date it before the consent that it ends.
fn withdrawn_since(record: &Record) -> Timestamp {
    let received_at = record.received_at.filter(|_| !breakage::is_on("slow-clock-withdraws-before"));
    let is_near = |received: &Timestamp| received.duration_since(record.at) < WRONG_CLOCK;
    // Records of earlier builds carry the earliest date if no date was given.
    let received_at = received_at.filter(|received| is_near(received) || is_no_date(record.at));
    received_at.map_or(record.at, |received| received.max(record.at))
}

/// Returns the instant from which an imported consent counts. A consent without a date gets the earliest date, so that
/// it never ends a withdrawal.
fn imported_at(record: &Record) -> Timestamp {
    let is_dated = !record.told_at.is_some_and(is_no_date);
    if is_dated { record.at } else { Timestamp::from_second(EARLIEST).unwrap_or(record.at) }
}

/// The earliest instant that an entry can have, in Unix seconds: 2000-01-01T00:00:00Z.
const EARLIEST: i64 = 946_684_800;

/// True if a link belongs to a letter that asks for a confirmation.
fn is_question(link: &TrackedLink) -> bool {
    let asks = |header: Header| header.campaign == Purpose::CONFIRMS;
    link.purpose == Purpose::Consent && link.token.header().is_some_and(asks)
}

/// Returns when the letter was written whose link made this record.
fn asked_at(record: &Record, person: &Person) -> Option<Timestamp> {
    let links = record.identifiers.iter().filter(|one| one.kind() == Kind::Link).map(Identifier::value);
    let letters = links.filter_map(|token| person.records.get(&RecordKey(format!("link:{token}"))));
    letters.filter(|letter| matches!(letter.fact, Fact::Link(_))).map(|letter| letter.at).min()
}

fn entries_of(record: &Record, person: &Person) -> Vec<Entry> {
    let entry = |at: Timestamp, channel: Channel, decision: Decision, method: &str| Entry {
        at,
        decision,
        purpose: MARKETING.to_owned(),
        channel,
        source: record.source.to_string(),
        method: method.to_owned(),
        wording: None,
        identifiers: told_of(record, person, channel),
        lists: BTreeSet::new(),
        evidence: BTreeMap::new(),
        received_at: record.received_at,
        asked_at: None,
        is_anonymous: record.is_anonymous(),
        told_at: record.told_at.or(Some(record.at)).filter(|told| *told != at && record.received_at.is_some()),
    };
    match &record.fact {
        Fact::Submission(submission) => {
            // Only an import has evidence in its labels. The fields of a form are whatever a visitor sends, and prove
            // nothing.
            let told = |key: &&String| submission.quiet && key.starts_with("consent_");
            let method =
                submission.labels.get("consent_method").filter(|_| submission.quiet).map_or("form", String::as_str);
            let claims = submission.consents.iter();
            let claims = claims.map(|claim| {
                let decision = if claim.given { Decision::Given } else { Decision::Withdrawn };
                let at = if claim.given || submission.quiet { record.at } else { withdrawn_since(record) };
                let at = if claim.given && submission.quiet { imported_at(record) } else { at };
                let entry = entry(at, claim.channel, decision, method);
                let evidence = submission.form.iter().map(|form| ("form".to_owned(), form.clone()));
                let row = submission.labels.iter().filter(|(key, _)| told(key));
                let row = row.map(|(key, value)| (key.trim_start_matches("consent_").to_owned(), value.clone()));
                Entry {
                    purpose: claim.purpose.clone(),
                    wording: claim.wording.clone(),
                    evidence: evidence.chain(row).filter(|(key, _)| key != "method").collect(),
                    ..entry
                }
            });
            claims.collect()
        }
        Fact::Consent(recorded) => {
            let is_withdrawal = recorded.decision == Decision::Withdrawn;
            let at = if is_withdrawal { withdrawn_since(record) } else { record.at };
            let entry = entry(at, recorded.channel, recorded.decision, &recorded.method);
            let is_answer = recorded.decision == Decision::Confirmed;
            vec![Entry {
                asked_at: is_answer.then(|| asked_at(record, person)).flatten(),
                purpose: recorded.purpose.clone(),
                wording: recorded.wording.clone(),
                lists: recorded.lists.clone(),
                evidence: recorded.evidence.clone(),
                ..entry
            }]
        }
        Fact::Conversation(conversation) => {
            let channel = if conversation.chat.kind().is_chat() { Channel::Messenger } else { Channel::Sms };
            let is_messenger = channel == Channel::Messenger;
            let opened = conversation.open_since.map(|at| (at, ChatWord::Opened));
            let words: BTreeSet<_> = conversation.all_words().into_iter().chain(opened).collect();
            // A number that takes no SMS is no statement of its owner. A messenger reports a block by its user.
            let words = words
                .into_iter()
                .filter(|(_, word)| is_messenger || matches!(word, ChatWord::Stopped | ChatWord::Resumed));
            let entries = words.map(|(at, word)| match word {
                ChatWord::Opened => entry(at, channel, Decision::Given, BEGUN),
                ChatWord::Resumed => entry(at, channel, Decision::Given, "chat"),
                ChatWord::Blocked => entry(at, channel, Decision::Withdrawn, BLOCKED),
                ChatWord::Stopped => entry(at, channel, Decision::Withdrawn, "stop-word"),
            });
            entries.collect()
        }
        Fact::Link(link) if is_question(link) => vec![entry(record.at, Channel::Email, Decision::Asked, "letter")],
        _ => vec![],
    }
}

/// How many letters may come back for a passing reason before the address is suppressed.
const SOFT_BOUNCES: usize = 5;

/// True if an address takes no letters, whatever its owner consented to: it does not exist, or it rejects every letter.
/// A letter that arrives ends this. So does an operator, or a later consent of the owner.
pub fn is_suppressed(person: &Person, address: &Identifier) -> bool {
    let letters = || {
        person.records.values().filter_map(|record| match &record.fact {
            Fact::MailMessage(letter) if letter.to == *address => Some(letter),
            _ => None,
        })
    };
    let open = letters().flat_map(|letter| [letter.delivered_at, letter.reopened_at]).max().flatten();
    let is_held = |open: Option<Timestamp>| {
        let since = |at: Option<Timestamp>| at.is_some() && at > open;
        letters().any(|letter| since(letter.hard_bounced_at))
            || letters().filter(|letter| since(letter.soft_bounced_at)).count() >= SOFT_BOUNCES
    };
    let again = || open.max(consented_at(person, address).filter(|_| !breakage::is_on("suppressed-for-ever")));
    is_held(open) && is_held(again())
}

/// Returns when the owner of an address last consented with it.
fn consented_at(person: &Person, address: &Identifier) -> Option<Timestamp> {
    let entries = ledger(person);
    let said = |entry: &&Entry| {
        matches!(entry.decision, Decision::Given | Decision::Confirmed)
            && ![LIST, BEGUN].contains(&entry.method.as_str())
    };
    entries
        .iter()
        .filter(said)
        .filter(|entry| !entry.is_anonymous && entry.identifiers.contains(address))
        .map(|entry| entry.at)
        .max()
}

/// True if advertising may be sent to this address at `at`. If `at` is `None`, the whole ledger counts.
pub fn may_advertise(
    person: &Person,
    channel: Channel,
    address: &Identifier,
    policy: &ConsentPolicy,
    at: Option<Timestamp>,
) -> bool {
    let standing = standing(&ledger(person), MARKETING, channel, Some(address), policy, at);
    matches!(standing, Standing::Given(_)) && !is_suppressed(person, address)
}

/// Returns the person's addresses that advertising may go to through this channel. They are sorted by the time when
/// they became known.
pub fn addresses(person: &Person, channel: Channel, policy: &ConsentPolicy) -> Vec<Identifier> {
    let entries = ledger(person);
    let mut seen = BTreeMap::<&Identifier, Timestamp>::new();
    for record in person.records.values() {
        for one in record.identifiers.iter().filter(|one| channel.reaches(one.kind())) {
            let at = seen.entry(one).or_insert(record.at);
            *at = record.at.min(*at);
        }
    }
    let mut sorted: Vec<(Timestamp, &Identifier)> = seen.into_iter().map(|(one, at)| (at, one)).collect();
    sorted.sort();
    let open = |address: &&Identifier| {
        matches!(standing(&entries, MARKETING, channel, Some(address), policy, None), Standing::Given(_))
            && !is_suppressed(person, address)
    };
    sorted.into_iter().map(|(_, one)| one).filter(open).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(second: i64, decision: Decision, method: &str) -> Entry {
        Entry {
            at: Timestamp::from_second(1_800_000_000 + second).expect("a time"),
            decision,
            purpose: MARKETING.to_owned(),
            channel: Channel::Email,
            source: "site".to_owned(),
            method: method.to_owned(),
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

    #[test]
    fn a_link_that_is_pressed_again_after_each_new_consent_has_an_entry_for_each() {
        let words = [0, 2, 4, 5, 6, 8].map(|second| entry(second, Decision::Withdrawn, "one-click"));
        let consents = [1, 3, 7].map(|second| entry(second, Decision::Given, "form"));
        let mut all: Vec<Entry> = words.into_iter().chain(consents).collect();
        all.sort();
        let seconds: Vec<i64> = without_runs(all).iter().map(|entry| entry.at.as_second() - 1_800_000_000).collect();
        assert_eq!(seconds, [0, 1, 2, 3, 4, 6, 7, 8], "of a row the first and the last");
    }

    #[test]
    fn of_equal_withdrawals_the_latest_and_the_ends_of_each_day_stay_in_whatever_order_they_come() {
        let source = stagedoor_model::SourceName::new("links").expect("a name");
        let record = |minute: i64, decision: Decision| {
            let said = stagedoor_model::ConsentRecorded {
                decision,
                ..stagedoor_model::ConsentRecorded::withdrawn(
                    stagedoor_model::Identifier::opaque(stagedoor_model::Kind::Link, "", "token").expect("a link"),
                    Channel::Email,
                    "one-click",
                )
            };
            let at = Timestamp::from_second(1_800_000_000 + minute * 60).expect("a time");
            let key = RecordKey(format!("consent:{minute}"));
            Record::new(key, source.clone(), at, Fact::Consent(said))
        };
        let mut all: Vec<Record> = (0..80).map(|minute| record(minute, Decision::Withdrawn)).collect();
        all.extend([record(90, Decision::Given), record(95, Decision::Withdrawn), record(3_000, Decision::Withdrawn)]);
        let expected: BTreeSet<String> = (42..80).chain([0, 90, 95, 3_000]).map(|n| format!("consent:{n}")).collect();
        for backwards in [false, true] {
            if backwards {
                all.reverse();
            }
            let mut kept = BTreeMap::new();
            for one in &all {
                kept.insert(one.key.clone(), one.clone());
                without_repeats(&mut kept);
            }
            let keys: BTreeSet<String> = kept.into_keys().map(|key| key.0).collect();
            assert_eq!(keys, expected);
        }
    }

    #[test]
    fn a_consent_for_an_address_that_nothing_proves_counts_once_it_is_confirmed() {
        let mut all = vec![Entry { is_anonymous: true, ..entry(1, Decision::Given, "form") }];
        let now = |all: &[Entry]| standing(all, MARKETING, Channel::Email, None, &ConsentPolicy::default(), None);
        assert!(matches!(now(&all), Standing::Unconfirmed(_)));
        all.push(entry(2, Decision::Confirmed, "double-opt-in"));
        assert!(matches!(now(&all), Standing::Given(_)));
    }

    #[test]
    fn the_link_of_an_old_letter_brings_nobody_back_who_withdrew_since() {
        let policy = ConsentPolicy { double_opt_in: [Channel::Email].into(), ..ConsentPolicy::default() };
        let answer = |second: i64, asked: i64| Entry {
            asked_at: Timestamp::from_second(1_800_000_000 + asked).ok(),
            ..entry(second, Decision::Confirmed, "double-opt-in")
        };
        let mut all = vec![entry(1, Decision::Given, "form"), answer(2, 1), entry(3, Decision::Withdrawn, "one-click")];
        all.push(answer(4, 1));
        let now = |all: &[Entry]| standing(all, MARKETING, Channel::Email, None, &policy, None);
        assert!(matches!(now(&all), Standing::Withdrawn(_)));
        // A stranger may say in their name that they want letters again. The old link does not answer that.
        all.extend([entry(5, Decision::Given, "form"), entry(6, Decision::Asked, "letter"), answer(7, 1)]);
        assert!(matches!(now(&all), Standing::Unconfirmed(_)));
        // A statement that counts for less than a consent does not answer it either, as long as nothing was confirmed.
        all.push(entry(8, Decision::Given, "list"));
        assert!(matches!(now(&all), Standing::Unconfirmed(_)));
        // The person is asked again and confirms again.
        all.push(answer(9, 6));
        assert!(matches!(now(&all), Standing::Given(_)));
    }
}
