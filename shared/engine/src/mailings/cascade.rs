//! Chooses the channel of the next message about an occasion.

use std::cell::OnceCell;

use jiff::SignedDuration;
use stagedoor_model::{Channel, Conversation, Identifier, Kind, Timestamp, breakage};

use super::{Mailing, MailingRun, MailingStep, Route};
use crate::{Person, addresses, consent};

/// How long after the first try a notice may be sent the same way once more.
const NEWS: SignedDuration = SignedDuration::from_hours(48);

/// What to do about an occasion.
pub(super) enum Next {
    Nothing,
    Later(Timestamp),
    Write(Route),
}

/// Chooses the next route. If the last message was refused or its address is not the person's, the next route follows
/// at once. If it was not read, the next channel follows after the mailing's wait. If it was read, nothing follows.
/// `of_all` caches the routes for all occasions that are not about one address.
pub(super) fn next(
    mailing: &Mailing,
    address: Option<&Identifier>,
    steps: &[MailingStep],
    desk: &MailingRun<'_, '_>,
    of_all: &OnceCell<Vec<Route>>,
) -> Next {
    let ways = match address {
        Some(_) => ways(mailing, address, desk),
        None => of_all.get_or_init(|| ways(mailing, None, desk)).clone(),
    };
    let fresh = |route: &Route| !steps.iter().any(|step| step.to == route.to && step.through == route.through);
    let Some(last) = steps.last() else {
        return ways.into_iter().next().map_or(Next::Nothing, Next::Write);
    };
    // For example, the buyer corrected a typing mistake since: another person reads the old address.
    let is_strange = !desk.reports.is_theirs(last) && !breakage::is_on("strange-address-counts");
    if !is_strange && desk.reports.was_read(last) {
        return Next::Nothing;
    }
    // A second message about a cancelled show is better than none. For advertising it is not.
    let may_be_lost = mailing.is_service && desk.reports.was_unanswered(last);
    // Until an address was known to be shared, it got one message for all its people.
    let of_crowd = mailing.is_service && desk.shared.contains(&last.to) && !breakage::is_on("crowds-notice-is-enough");
    // There is no other route, so the same one is tried once more: the hub may have died before its call.
    let is_last = |route: &Route| {
        let is_fresh = desk.now.duration_since(last.at) < NEWS;
        let is_only = steps.len() == 1 && last.to == route.to && last.through == route.through;
        is_only && is_fresh && !breakage::is_on("only-way-tried-once")
    };
    if is_strange || may_be_lost || of_crowd || desk.reports.was_refused(last) {
        let next =
            ways.iter().find(|route| fresh(route)).or_else(|| ways.iter().find(|route| may_be_lost && is_last(route)));
        return next.cloned().map_or(Next::Nothing, Next::Write);
    }
    let tried = |channel: Channel| steps.iter().any(|step| step.channel == channel);
    let next = ways.into_iter().find(|route| fresh(route) && !tried(route.channel));
    let (Some(wait), Some(route)) = (mailing.wait, next) else { return Next::Nothing };
    match Timestamp::from_second(last.at.as_second().saturating_add(wait)) {
        Ok(at) if at > desk.now => Next::Later(at),
        _ => Next::Write(route),
    }
}

/// Returns the routes that work, in the order in which they are tried.
fn ways(mailing: &Mailing, address: Option<&Identifier>, desk: &MailingRun<'_, '_>) -> Vec<Route> {
    let mut ways = Vec::new();
    for channel in &mailing.through {
        let own: Vec<Route> = match channel {
            Channel::Messenger => chats(mailing, desk),
            Channel::Email => post(mailing, *channel, address, "email", desk),
            Channel::Sms => post(mailing, *channel, address, "sms", desk),
            Channel::Call => vec![],
        };
        ways.extend(own);
    }
    ways.retain(|route| desk.catalog.senders.contains(&route.through));
    // Addresses of the person alone come before shared ones, in any channel.
    ways.sort_by_key(|route| desk.shared.contains(&route.to));
    ways
}

/// Returns the open chats. The chat in which the person wrote last comes first.
fn chats(mailing: &Mailing, desk: &MailingRun<'_, '_>) -> Vec<Route> {
    let may = |chat: &Identifier| {
        let policy = &desk.catalog.consent;
        mailing.is_service || consent::may_advertise(desk.person, Channel::Messenger, chat, policy, None)
    };
    let open = desk.person.conversations().filter(|(_, conversation)| {
        conversation.chat.kind().is_chat() && conversation.is_open() && may(&conversation.chat)
    });
    let mut open: Vec<_> = open.collect();
    open.sort_by_key(|(source, conversation)| (std::cmp::Reverse(conversation.heard_at), *source));
    let route = |(source, conversation): (&stagedoor_model::SourceName, &Conversation)| Route {
        channel: Channel::Messenger,
        through: source.as_str().to_owned(),
        to: conversation.chat.clone(),
    };
    open.into_iter().map(route).collect()
}

/// Returns at most one address, so that a person with two addresses gets one message.
fn post(
    mailing: &Mailing,
    channel: Channel,
    address: Option<&Identifier>,
    through: &str,
    desk: &MailingRun<'_, '_>,
) -> Vec<Route> {
    let person = desk.person;
    let known = match (address, mailing.is_service) {
        (Some(address), _) => vec![address.clone()],
        (None, false) => addresses(person, channel, &desk.catalog.consent),
        (None, true) if channel == Channel::Email => person.emails().into_iter().map(Identifier::email).collect(),
        (None, true) => person.phones().into_iter().map(Identifier::phone).collect(),
    };
    let takes = |one: &Identifier| {
        channel.reaches(one.kind()) && !consent::is_suppressed(person, one) && !takes_no_sms(person, one)
    };
    let known: Vec<Identifier> = known.into_iter().filter(takes).collect();
    let own = known.iter().find(|one| !desk.shared.contains(*one));
    let first = own.or_else(|| known.first().filter(|_| mailing.is_service)).cloned();
    first.into_iter().map(|to| Route { channel, through: through.to_owned(), to }).collect()
}

/// Returns true if the gateway reported that this phone takes no SMS.
pub fn takes_no_sms(person: &Person, address: &Identifier) -> bool {
    let own = |conversation: &Conversation| {
        conversation.chat == *address && conversation.may_write.is_some_and(|(_, may)| !may)
    };
    address.kind() == Kind::Phone && person.conversations().any(|(_, conversation)| own(conversation))
}
