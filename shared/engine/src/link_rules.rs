//! When does a link's token join a chat to the person whose letter or SMS it was in? People forward letters, so a token
//! alone proves little. The rules, which depend on the set of facts and never on the order in which they came:
//!
//! 1. Purpose: only a link that was made to begin a chat joins. One to the shop, or one on a poster, joins nobody.
//! 2. Age: a use after the link's expiry joins nobody.
//! 3. First use: the first chat that came through the token is its owner's. A later one joins only if it was begun in the
//!    same browser as the first (the page puts the browser's tag behind the token): one person with two messengers.
//! 4. A stronger identifier: if the chat gave a phone, an e-mail, a customer's id or a site's user id, and the owner has
//!    others of that kind and not this one, the chat is somebody else's. If that was the first use, the token is spent: it
//!    was forwarded before its owner came, and joins nobody any more.
//! 5. Published: a link that more than `Policy::published` chats came through is everybody's, and joins nobody; nor does it
//!    make neighbours of all who pressed it.
//!
//! What a join by token cannot know: a friend who is the first to use a forwarded link, and never tells anything of
//! themselves, is taken for the owner until they do. Then the two are parted again.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, Identifier, Kind, LinkUse, Purpose, Record, RecordKey, Timestamp};

use crate::{
    BlockedJoin, GuardReason,
    cluster::{Grown, UnionFind},
};

/// Whether an identifier of a record joins like any other. A token in a chat does not: it is weighed last.
pub(crate) fn joins_at_once(record: &Record, identifier: &Identifier) -> bool {
    identifier.kind() != Kind::Link || !matches!(record.fact, Fact::Conversation(_))
}

/// Kinds of which one person may have several, but of which two people have different ones.
const TELLING: [Kind; 4] = [Kind::Phone, Kind::Email, Kind::Customer, Kind::SiteUser];

struct Owned<'r> {
    record: &'r RecordKey,
    expires_at: Timestamp,
}

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
    // The first use's browser, once it has joined.
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
                // An expired use says nothing of the others, which came before it.
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

/// The kind by which two clusters are certainly two people.
fn contradiction(forest: &UnionFind<'_>, one: usize, other: usize) -> Option<Kind> {
    // What was only typed joins nobody, and still tells two people apart.
    let (one, other) = (forest.clusters.get(&one)?, forest.clusters.get(&other)?);
    TELLING.into_iter().find(|kind| {
        let (mine, theirs) = (values(one, *kind), values(other, *kind));
        // A customer's id of another shop says nothing.
        let same_scope = mine.iter().any(|a| theirs.iter().any(|b| a.scope() == b.scope()));
        same_scope && mine.is_disjoint(&theirs)
    })
}

fn values(grown: &Grown, kind: Kind) -> BTreeSet<&Identifier> {
    grown.cluster.identifiers.iter().chain(&grown.claims).filter(|identifier| identifier.kind() == kind).collect()
}
