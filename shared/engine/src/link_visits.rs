//! Tells visits to personal links by people from those by scanners.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Identifier, Kind, Purpose, RecordKey, Timestamp, TrackedLink, breakage};

use crate::Person;

/// No person follows two links of a letter within this time, in seconds.
const SWEEP_SECONDS: i64 = 2;

/// All visits to the personal links of one person. They are collected once, and each link is compared only with visits
/// close in time.
pub struct Looks<'p> {
    person: &'p Person,
    /// The visits by e-mail address of the letter: the time in Unix seconds, and the token.
    by_email: BTreeMap<&'p Identifier, Vec<(i64, &'p str)>>,
}

impl<'p> Looks<'p> {
    /// Collects the visits to all links of a person.
    pub fn of(person: &'p Person) -> Self {
        let mut by_email = BTreeMap::<&Identifier, Vec<(i64, &str)>>::new();
        for link in person.links() {
            let token = link.token.as_str();
            let seen: Vec<i64> =
                [link.first_opened, link.last_opened].into_iter().flatten().map(|at| at.as_second()).collect();
            if seen.is_empty() {
                continue;
            }
            for email in person.addressees(token).into_iter().filter(|one| one.kind() == Kind::Email) {
                by_email.entry(email).or_default().extend(seen.iter().map(|second| (*second, token)));
            }
        }
        by_email.values_mut().for_each(|seen| seen.sort_unstable());
        Self { person, by_email }
    }

    /// Returns the first and the last visit to a personal link by a person. A scanner follows all links of a letter at
    /// once.
    pub fn at(&self, link: &TrackedLink) -> Option<(Timestamp, Timestamp)> {
        if link.purpose == Purpose::Consent {
            return None;
        }
        let is_swept = |at: &Timestamp| self.is_swept(link, *at);
        let last = link.last_look().filter(|at| !is_swept(at));
        let first = link.first_look().filter(|at| !is_swept(at)).or(last)?;
        Some((first, last.unwrap_or(first)))
    }

    /// True if another link sent to the same address was visited within the same seconds.
    fn is_swept(&self, link: &TrackedLink, at: Timestamp) -> bool {
        let (token, second) = (link.token.as_str(), at.as_second());
        let swept = |seen: &Vec<(i64, &str)>| {
            let from = seen.partition_point(|(seen, _)| *seen < second - SWEEP_SECONDS);
            let near = seen.iter().skip(from).take_while(|(seen, _)| *seen <= second + SWEEP_SECONDS);
            near.into_iter().any(|(_, other)| *other != token)
        };
        let whose = self.person.addressees(token);
        whose.into_iter().filter_map(|address| self.by_email.get(address)).any(swept)
            && !breakage::is_on("swept-links-count")
    }
}

impl Person {
    /// Returns the first and the last visit to one personal link by a person. For several links, [`Looks`] collects the
    /// visits once.
    pub fn looks(&self, link: &TrackedLink) -> Option<(Timestamp, Timestamp)> {
        Looks::of(self).at(link)
    }

    /// Returns the addresses of the letter, SMS or chat that held a token.
    pub fn addressees(&self, token: &str) -> BTreeSet<&Identifier> {
        let record = self.records.get(&RecordKey(format!("link:{token}")));
        record.into_iter().flat_map(|record| &record.identifiers).filter(|one| one.kind() != Kind::Link).collect()
    }
}
