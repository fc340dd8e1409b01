//! Decides whether the token of a personal link joins a chat to the person whom the link was sent to. People forward
//! links, so a token alone proves little. The rules depend on the set of facts, never on the order in which they
//! arrive:
//!
//! 1. Purpose: only a link that was made to begin a chat joins. A link to the shop or on a poster joins nobody.
//! 2. Age: a use after the link's expiry joins nobody.
//! 3. First use: the first chat that came through the token belongs to the link's owner. A later chat joins only if it
//!    began in the same browser as the first (the page puts the browser's tag behind the token). This is one person
//!    with two messengers.
//! 4. A stronger identifier: the chat gave a phone, e-mail, customer id or site user id, and the owner has only others
//!    of that kind. Then the chat belongs to another person. If that was the first use, the token is spent: it was
//!    forwarded before its owner came, and joins nobody any more.
//! 5. Published: a link that more than `Guards::published` chats came through joins nobody. Nor are the people who
//!    pressed it noted in each other's `blocked_with`.
//!
//! One limit remains. A friend who first uses a forwarded link and tells nothing of themselves counts as the owner.
//! Once they tell something, the two are parted again.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Kind, LinkUse, Purpose, Record, RecordKey, Timestamp};

use crate::{
    BlockedJoin, GuardReason,
    cluster::{Grown, UnionFind},
};

/// True if an identifier of a record joins like any other. The token in a chat does not: it is weighed last.
pub(crate) fn joins_at_once(record: &Record, identifier: &Identifier) -> bool {
    identifier.kind() != Kind::Link || !matches!(record.fact, Fact::Conversation(_))
}

/// Kinds of which one person may have several values, while two people have different ones.
const TELLING: [Kind; 4] = [Kind::Phone, Kind::Email, Kind::Customer, Kind::SiteUser];

/// The record of a link's owner, and the end of the link's validity.
struct Owned<'r> {
    record: &'r RecordKey,
    expires_at: Timestamp,
}

/// Joins chats to the owners of the personal links that they came through, by the rules of this module.
pub(crate) fn join_chats(forest: &mut UnionFind<'_>, records: &[&Record], is_everybodys: impl Fn(&Identifier) -> bool) {
    let mut owners = BTreeMap::<&str, Owned<'_>>::new();
    let mut uses = BTreeMap::<&str, Vec<(&LinkUse, &RecordKey)>>::new();
    for record in records {
        match &record.fact {
            Fact::Link(link) if link.purpose == Purpose::Chat => {
                if let Some(expires_at) = link.expires_at {
                    owners.insert(link.token.as_str(), Owned { record: &record.key, expires_at });
                }
            }
            Fact::Conversation(conversation) => {
                conversation
                    .uses
                    .iter()
                    .for_each(|(token, used)| uses.entry(token).or_default().push((used, &record.key)));
            }
            _ => {}
        }
    }
    let mut tokens: Vec<(&str, Vec<(&LinkUse, &RecordKey)>)> =
        uses.into_iter().filter(|(token, _)| owners.contains_key(token)).collect();
    tokens.iter_mut().for_each(|(_, uses)| uses.sort_by_key(|(used, key)| (used.at, *key)));
    tokens.sort_by_key(|(token, uses)| (uses.first().map(|(used, _)| used.at), *token));
    for (token, uses) in tokens {
        let link = Identifier::opaque(Kind::Link, "", token).filter(|link| !is_everybodys(link));
        if let (Some(owned), Some(link)) = (owners.get(token), link) {
            join_uses(forest, &link, owned, &uses);
        }
    }
}

fn join_uses(forest: &mut UnionFind<'_>, identifier: &Identifier, owned: &Owned<'_>, uses: &[(&LinkUse, &RecordKey)]) {
    // The browser of the first use, once that use has joined.
    let mut first: Option<Option<&LinkUse>> = None;
    for (used, chat) in uses {
        let (Some(home), Some(other)) = (forest.of_record(owned.record), forest.of_record(chat)) else { continue };
        if home == other {
            first.get_or_insert(Some(used));
            continue;
        }
        let same_browser = match first {
            None => true,
            Some(None) => false,
            Some(Some(joined)) => joined.tag.is_some() && joined.tag == used.tag,
        };
        let refused = if used.at >= owned.expires_at {
            Some(GuardReason::LinkExpired)
        } else if !same_browser {
            Some(GuardReason::LinkUsedBefore)
        } else if forest.are_apart(home, other, None) {
            Some(GuardReason::Decided)
        } else {
            contradiction(forest, home, other).map(GuardReason::LinkOfAnother)
        };
        let is_first = first.is_none();
        match refused {
            Some(why) => {
                // An expired use says nothing about the other uses, which came before it.
                if is_first && why != GuardReason::LinkExpired {
                    first = Some(None);
                }
                forest.blocked_joins.push(BlockedJoin { record: (*chat).clone(), identifier: identifier.clone(), why });
            }
            None => {
                forest.merge(home, other);
                first.get_or_insert(Some(used));
            }
        }
    }
}

/// The kind of identifier that shows two clusters to be two people.
fn contradiction(forest: &UnionFind<'_>, one: usize, other: usize) -> Option<Kind> {
    // A value that was only typed joins nobody, but it still tells two people apart.
    let (one, other) = (forest.clusters.get(&one)?, forest.clusters.get(&other)?);
    TELLING.into_iter().find(|kind| {
        let (mine, theirs) = (values(one, *kind), values(other, *kind));
        // Customer ids of different shops say nothing about each other.
        let same_scope = mine.iter().any(|a| theirs.iter().any(|b| a.scope() == b.scope()));
        same_scope && mine.is_disjoint(&theirs)
    })
}

fn values(grown: &Grown, kind: Kind) -> BTreeSet<&Identifier> {
    grown.cluster.identifiers.iter().chain(&grown.claims).filter(|identifier| identifier.kind() == kind).collect()
}
