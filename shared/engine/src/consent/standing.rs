//! Computes from the ledger whether a person consents on a channel. Entries are applied in their order.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Channel, Decision, Identifier, MARKETING, Timestamp, breakage};

use super::{BEGUN, BLOCKED, ConsentPolicy, Entry, LIST, Standing, UNREADABLE};

/// Returns the standing at `at`, or now if `at` is `None`. With `address`, only consents for this address count;
/// otherwise consents for any address count.
pub fn standing(
    entries: &[Entry],
    purpose: &str,
    channel: Channel,
    address: Option<&Identifier>,
    policy: &ConsentPolicy,
    at: Option<Timestamp>,
) -> Standing {
    if let Some(entry) = entries.iter().find(|entry| entry.method == UNREADABLE) {
        return Standing::Withdrawn(entry.clone());
    }
    let known = entries
        .iter()
        .filter(|entry| entry.purpose == purpose && at.is_none_or(|at| entry.at <= at))
        .filter(|entry| entry.channel == channel || entry.is_for_all());
    let mut stand = Stand { standing: Standing::Unknown, left_at: None, before_block: None };
    for entry in known {
        let covers = address.is_none_or(|address| entry.identifiers.contains(address));
        stand.hear(entry, channel, covers, policy);
    }
    stand.standing
}

/// The standing while the entries of the ledger are applied in their order.
struct Stand {
    standing: Standing,
    /// The time of the withdrawal, until a new statement counts. A consent that waits for its confirmation ends no
    /// withdrawal.
    left_at: Option<Timestamp>,
    /// The standing before the person blocked the bot, and the time of a withdrawal before that.
    before_block: Option<Box<(Standing, Option<Timestamp>)>>,
}

impl Stand {
    fn hear(&mut self, entry: &Entry, channel: Channel, covers: bool, policy: &ConsentPolicy) {
        let method = entry.method.as_str();
        if method == BEGUN {
            self.unblock(entry);
        }
        match entry.decision {
            Decision::Asked => {}
            // A stranger cannot withdraw for the owner of an address. A letter asks the owner.
            Decision::Withdrawn if entry.is_anonymous => {}
            Decision::Withdrawn => self.leave(entry),
            // An old list is no new statement of the person. Nor is a chat that was merely opened.
            _ if [LIST, BEGUN].contains(&method) && self.left_at.is_some() => {}
            _ if !covers || (method == BEGUN && !policy.chats) => {}
            Decision::Confirmed => self.confirm(entry),
            Decision::Given if entry.is_anonymous && self.is_given() => {}
            Decision::Given if entry.is_anonymous => self.standing = Standing::Unconfirmed(entry.clone()),
            Decision::Given if self.is_given() || !policy.double_opt_in.contains(&channel) => self.give(entry),
            Decision::Given => self.standing = Standing::Unconfirmed(entry.clone()),
        }
    }

    fn is_given(&self) -> bool {
        matches!(self.standing, Standing::Given(_))
    }

    fn give(&mut self, entry: &Entry) {
        (self.standing, self.left_at, self.before_block) = (Standing::Given(entry.clone()), None, None);
    }

    fn leave(&mut self, entry: &Entry) {
        let now = (Standing::Withdrawn(entry.clone()), Some(entry.at));
        let before = (std::mem::replace(&mut self.standing, now.0), std::mem::replace(&mut self.left_at, now.1));
        if entry.method != BLOCKED {
            self.before_block = None;
        } else if self.before_block.is_none() {
            self.before_block = Some(Box::new(before));
        }
    }

    /// Restores the standing before the block. A bot that is let in again may write as before, and no more.
    fn unblock(&mut self, entry: &Entry) {
        let Standing::Withdrawn(block) = &self.standing else { return };
        if block.method == BLOCKED
            && !block.identifiers.is_disjoint(&entry.identifiers)
            && let Some(before) = self.before_block.take()
        {
            (self.standing, self.left_at) = *before;
        }
    }

    /// Applies a confirmation, if its letter asked after the last withdrawal. The link of an older letter is no new
    /// statement.
    fn confirm(&mut self, entry: &Entry) {
        let is_new = self.left_at.is_none_or(|left| entry.asked_at.is_some_and(|asked| asked > left));
        let counts = match self.standing {
            Standing::Withdrawn(_) => breakage::is_on("old-link-consents"),
            _ => is_new || breakage::is_on("old-question-answered"),
        };
        if counts {
            self.give(entry);
        }
    }
}

/// Returns addresses with a valid consent that a stranger may have withdrawn since, each with the time of the consent.
/// `contested` holds addresses of the person that somebody else proves. That person's standing is not known here.
pub fn doubted(
    entries: &[Entry],
    channel: Channel,
    policy: &ConsentPolicy,
    contested: &BTreeSet<Identifier>,
) -> BTreeMap<Identifier, Timestamp> {
    let said = |entry: &&Entry| entry.is_anonymous && entry.decision == Decision::Withdrawn && entry.channel == channel;
    // The first and the last such withdrawal of each address.
    let mut words = BTreeMap::<&Identifier, (Timestamp, Timestamp)>::new();
    for entry in entries.iter().filter(said) {
        for address in &entry.identifiers {
            let (first, last) = words.entry(address).or_insert((entry.at, entry.at));
            (*first, *last) = ((*first).min(entry.at), (*last).max(entry.at));
        }
    }
    let of = |(address, (first, last)): (&Identifier, (Timestamp, Timestamp))| match standing(
        entries,
        MARKETING,
        channel,
        Some(address),
        policy,
        None,
    ) {
        Standing::Given(given) if given.at <= last => Some((address.clone(), given.at)),
        _ => contested.contains(address).then(|| (address.clone(), first)),
    };
    words.into_iter().filter_map(of).collect()
}

/// Returns when the person last withdrew from a channel. Questions that were asked before are not asked again.
pub fn withdrawn_at(entries: &[Entry], channel: Channel) -> Option<Timestamp> {
    let of_channel = |entry: &&Entry| entry.channel == channel || entry.is_for_all();
    let left = entries.iter().filter(of_channel).filter(|entry| entry.decision == Decision::Withdrawn);
    left.filter(|entry| !entry.is_anonymous).map(|entry| entry.at).max()
}
