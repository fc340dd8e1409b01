//! Through which channel somebody is written to next.

use stagedoor_model::{Channel, Fact, Identifier, Kind, Talk, Timestamp, breakage};

use super::{Desk, Mailing, Way, WrittenStep};
use crate::{Person, addresses, consent};

pub(super) enum Next {
    Nothing,
    Later(Timestamp),
    Write(Way),
}

/// After a message that was not taken, or went to an address that is not theirs, the next way follows at once. After one
/// that nobody read, the next channel follows once the first had its time; after one that was read, nothing.
pub(super) fn next(
    mailing: &Mailing,
    address: Option<&Identifier>,
    steps: &[WrittenStep],
    desk: &Desk<'_, '_>,
) -> Next {
    let ways = ways(mailing, address, desk);
    let fresh = |way: &Way| !steps.iter().any(|step| step.to == way.to && step.through == way.through);
    let Some(last) = steps.last() else {
        return ways.into_iter().next().map_or(Next::Nothing, Next::Write);
    };
    // The buyer corrected a typo since, for example. Then somebody else reads the message at the old address.
    let is_theirs = desk.person.records.values().any(|record| record.identifiers.contains(&last.to));
    let is_strange = !is_theirs && !breakage::is_on("strange-address-counts");
    if !is_strange && was_read(desk.person, last) {
        return Next::Nothing;
    }
    // A second message about a show that is called off is better than none; of advertising it is not.
    let may_be_lost = mailing.is_service && was_unanswered(desk.person, last);
    // Until an address was seen to be a cashier's, one message went there for all its people.
    let of_crowd = mailing.is_service && desk.shared.contains(&last.to) && !breakage::is_on("crowds-notice-is-enough");
    if is_strange || may_be_lost || of_crowd || was_refused(desk.person, last) {
        return ways.into_iter().find(fresh).map_or(Next::Nothing, Next::Write);
    }
    let tried = |channel: Channel| steps.iter().any(|step| step.channel == channel);
    let next = ways.into_iter().find(|way| fresh(way) && !tried(way.channel));
    let (Some(wait), Some(way)) = (mailing.wait, next) else { return Next::Nothing };
    match Timestamp::from_second(last.at.as_second().saturating_add(wait)) {
        Ok(at) if at > desk.now => Next::Later(at),
        _ => Next::Write(way),
    }
}

/// Ways that are alive, in the order in which they are tried.
fn ways(mailing: &Mailing, address: Option<&Identifier>, desk: &Desk<'_, '_>) -> Vec<Way> {
    let mut ways = Vec::new();
    for channel in &mailing.through {
        let own: Vec<Way> = match channel {
            Channel::Messenger => chats(mailing, desk),
            Channel::Email => post(mailing, *channel, address, "email", desk),
            Channel::Sms => post(mailing, *channel, address, "sms", desk),
            Channel::Call => vec![],
        };
        ways.extend(own);
    }
    ways.retain(|way| desk.catalog.senders.contains(&way.through));
    // Their own first, through whatever channel.
    ways.sort_by_key(|way| desk.shared.contains(&way.to));
    ways
}

/// The chat in which they were last heard comes first.
fn chats(mailing: &Mailing, desk: &Desk<'_, '_>) -> Vec<Way> {
    let may = |chat: &Identifier| {
        let policy = &desk.catalog.consent;
        mailing.is_service || consent::may_advertise(desk.person, Channel::Messenger, chat, policy, None)
    };
    let open = desk.person.talks().filter(|(_, talk)| talk.chat.kind().is_chat() && talk.is_open() && may(&talk.chat));
    let mut open: Vec<_> = open.collect();
    open.sort_by_key(|(source, talk)| (std::cmp::Reverse(talk.heard_at), *source));
    let way = |(source, talk): (&stagedoor_model::SourceName, &Talk)| Way {
        channel: Channel::Messenger,
        through: source.as_str().to_owned(),
        to: talk.chat.clone(),
    };
    open.into_iter().map(way).collect()
}

/// One address: nobody gets a letter twice because they have two.
fn post(
    mailing: &Mailing,
    channel: Channel,
    address: Option<&Identifier>,
    through: &str,
    desk: &Desk<'_, '_>,
) -> Vec<Way> {
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
    first.into_iter().map(|to| Way { channel, through: through.to_owned(), to }).collect()
}

/// A number that the gateway said takes none.
pub fn takes_no_sms(person: &Person, address: &Identifier) -> bool {
    let own = |talk: &Talk| talk.chat == *address && talk.may_write.is_some_and(|(_, may)| !may);
    address.kind() == Kind::Phone && person.talks().any(|(_, talk)| own(talk))
}

/// It was not taken, or the chat is closed.
pub fn was_refused(person: &Person, step: &WrittenStep) -> bool {
    let in_chat = |talk: &Talk| {
        talk.chat == step.to && (talk.refused_at >= Some(step.at) || (step.to.kind().is_chat() && !talk.is_open()))
    };
    let by_post = person.records.values().any(|record| match &record.fact {
        Fact::Letter(letter) => letter.to == step.to && letter.rejected_at.max(letter.hard_bounced_at) >= Some(step.at),
        _ => false,
    });
    let failed = |talk: &Talk| {
        let own = talk.messages.values().filter(|message| message.decision.as_ref() == Some(&step.decision));
        talk.chat == step.to && own.into_iter().any(|message| message.failed_at.is_some())
    };
    let by_gateway = step.channel == Channel::Sms && failed_at_the_gateway(person, step);
    by_post || by_gateway || person.talks().any(|(_, talk)| in_chat(talk) || failed(talk))
}

/// Whether the answer to this message was lost, and no later report says that it arrived.
fn was_unanswered(person: &Person, step: &WrittenStep) -> bool {
    let by_post = person.records.values().any(|record| match &record.fact {
        Fact::Letter(letter) => {
            letter.id.as_ref() == Some(&step.decision)
                && letter.unanswered_at.is_some()
                && letter.delivered_at.is_none()
        }
        _ => false,
    });
    let in_chat = |talk: &Talk| {
        let is_told = |decision: &String| talk.messages.values().any(|sent| sent.decision.as_ref() == Some(decision));
        talk.chat == step.to && talk.unanswered_at >= Some(step.at) && !is_told(&step.decision)
    };
    !breakage::is_on("unanswered-notice-is-enough") && (by_post || person.talks().any(|(_, talk)| in_chat(talk)))
}

/// A gateway reports an SMS that it took before: expired, not delivered, a number that cannot be reached. It has no later try.
fn failed_at_the_gateway(person: &Person, step: &WrittenStep) -> bool {
    let own = person.talks().filter(|(_, talk)| talk.chat == step.to).flat_map(|(_, talk)| &talk.messages);
    let ids: Vec<&String> =
        own.filter(|(_, sent)| sent.decision.as_ref() == Some(&step.decision)).map(|(id, _)| id).collect();
    let reported = person.records.values().filter_map(|record| match &record.fact {
        Fact::Letter(letter) if letter.to == step.to => Some(letter),
        _ => None,
    });
    // By the id that the gateway answered, or by ours: a part of a long text has a number behind it.
    let is_ours = |id: &String| id.split('/').next() == Some(step.decision.as_str());
    let is_ours = |id: &String| is_ours(id) && !breakage::is_on("report-by-our-id-unheard");
    let mut own = reported.filter(|letter| letter.id.as_ref().is_some_and(|id| ids.contains(&id) || is_ours(id)));
    !breakage::is_on("late-sms-failure-unheard")
        && own.any(|letter| letter.soft_bounced_at.is_some() && letter.delivered_at.is_none())
}

/// They saw it, answered, opened the letter, or followed a link that was in it.
pub fn was_read(person: &Person, step: &WrittenStep) -> bool {
    let since = Some(step.at);
    let in_chat = |talk: &Talk| talk.chat == step.to && talk.seen_at.max(talk.heard_at) > since;
    let opened = person.records.values().any(|record| match &record.fact {
        Fact::Letter(letter) => letter.to == step.to && letter.last_opened_at.max(letter.clicked_at()) > since,
        Fact::Link(link) => person.looks(link).map(|(_, last)| last) > since && record.identifiers.contains(&step.to),
        _ => false,
    });
    opened || person.talks().any(|(_, talk)| in_chat(talk) || talk.chat == step.to && was_seen(talk, step))
}

/// Whether the messenger told that this message was seen, or one that was sent after it.
fn was_seen(talk: &Talk, step: &WrittenStep) -> bool {
    let mut seen = talk.messages.values().filter(|message| message.seen_at.is_some());
    let own = talk.messages.values().find(|message| message.decision.as_ref() == Some(&step.decision));
    match own.filter(|_| !breakage::is_on("another-message-seen")) {
        Some(own) => seen.any(|message| message.seen_at == own.seen_at || message.sent_at > own.sent_at),
        // Sent by an earlier build, or long ago.
        None => seen.any(|message| message.seen_at > Some(step.at)),
    }
}
