//! Through which channel somebody is written to next.

use std::cell::OnceCell;

use jiff::SignedDuration;
use stagedoor_model::{Channel, Conversation, Identifier, Kind, Timestamp, breakage};

use super::{Mailing, MailingRun, MailingStep, Route};
use crate::{Person, addresses, consent};

/// How long a notice is worth a second try.
const NEWS: SignedDuration = SignedDuration::from_hours(48);

pub(super) enum Next {
    Nothing,
    Later(Timestamp),
    Write(Route),
}

/// After a message that was not taken, or went to an address that is not theirs, the next way follows at once. After one
/// that nobody read, the next channel follows once the first had its time; after one that was read, nothing. `of_all` keeps the
/// ways of a mailing that is not about one address: all its occasions go through them.
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
    // The buyer corrected a typo since, for example. Then somebody else reads the message at the old address.
    let is_strange = !desk.reports.is_theirs(last) && !breakage::is_on("strange-address-counts");
    if !is_strange && desk.reports.was_read(last) {
        return Next::Nothing;
    }
    // A second message about a show that is called off is better than none; of advertising it is not.
    let may_be_lost = mailing.is_service && desk.reports.was_unanswered(last);
    // Until an address was seen to be a cashier's, one message went there for all its people.
    let of_crowd = mailing.is_service && desk.shared.contains(&last.to) && !breakage::is_on("crowds-notice-is-enough");
    // There is no other way to them: the same once more. A hub that died before its call told them nothing.
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

/// Ways that are alive, in the order in which they are tried.
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
    // Their own first, through whatever channel.
    ways.sort_by_key(|route| desk.shared.contains(&route.to));
    ways
}

/// The chat in which they were last heard comes first.
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

/// One address: nobody gets a letter twice because they have two.
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

/// A number that the gateway said takes none.
pub fn takes_no_sms(person: &Person, address: &Identifier) -> bool {
    let own = |conversation: &Conversation| {
        conversation.chat == *address && conversation.may_write.is_some_and(|(_, may)| !may)
    };
    address.kind() == Kind::Phone && person.conversations().any(|(_, conversation)| own(conversation))
}
