//! One person's messages, orders and reports, collected once. Each line of the report looks up its own.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{
    Attributions, Catalog, CrmState, Looks, MailingState, MailingStep, Person, Reports, Settlements, is_suppressed,
    settlements,
};
use stagedoor_model::{Channel, Fact, Identifier, Kind, MailMessage, Order, Purpose, Timestamp, TrackedLink};

/// The time in seconds within which a gateway reports on an SMS.
const SMS_WITHIN: i64 = 3 * 86_400;

/// A message of the hub that a report may be about.
#[derive(Clone, Copy)]
struct Sent<'p> {
    at: Timestamp,
    campaign: &'p str,
    step: Option<&'p MailingStep>,
}

pub(super) struct ReportText<'p> {
    pub person: &'p Person,
    pub looks: Looks<'p>,
    pub reports: Reports<'p>,
    pub attributions: Attributions<'p>,
    /// Paid orders, as the shop or the payment provider reports them.
    pub paid: Settlements<'p>,
    /// Reports on letters and SMS that are not the hub's own messages.
    pub others: Vec<&'p MailMessage>,
    /// Reports on a message, by the id of its decision.
    of_message: BTreeMap<&'p str, Vec<&'p MailMessage>>,
    /// SMS invitations that arrived, by time of sending and campaign.
    arrived: BTreeSet<(Timestamp, &'p str)>,
    /// The last visit of a link, by address and campaign.
    followed: BTreeMap<(&'p Identifier, &'p str), Timestamp>,
    /// The last time that a phone did not accept an SMS.
    refused: BTreeMap<&'p Identifier, Timestamp>,
    /// Addresses that accept no letters.
    dead: BTreeSet<&'p Identifier>,
    /// Messages of a mailing, the earliest first.
    of_mailing: BTreeMap<&'p str, Vec<(&'p MailingState, &'p MailingStep)>>,
    /// The first letter of a campaign.
    letter_of: BTreeMap<&'p str, &'p MailMessage>,
}

/// Messages by the address that they went to.
#[derive(Default)]
struct Ways<'p> {
    /// The last of a mailing.
    last: BTreeMap<(&'p Identifier, &'p str), Sent<'p>>,
    /// All messages, the earliest first.
    all: BTreeMap<&'p Identifier, Vec<Sent<'p>>>,
}

impl<'p> Ways<'p> {
    fn of(person: &'p Person, link: &'p CrmState) -> Self {
        let mut ways = Self::default();
        for (one, step) in link.written.values().flat_map(|one| one.steps.iter().map(move |step| (one, step))) {
            let sent = Sent { at: step.at, campaign: &one.mailing, step: Some(step) };
            let last = ways.last.entry((&step.to, one.mailing.as_str())).or_insert(sent);
            if last.at <= sent.at {
                *last = sent;
            }
            ways.all.entry(&step.to).or_default().push(sent);
        }
        for record in person.records.values() {
            if let Fact::Link(link) = &record.fact
                && link.purpose == Purpose::Chat
            {
                let sent = Sent { at: record.at, campaign: &link.campaign, step: None };
                record.identifiers.iter().for_each(|to| ways.all.entry(to).or_default().push(sent));
            }
        }
        ways.all.values_mut().for_each(|all| all.sort_by_key(|sent| sent.at));
        ways
    }

    /// The message of the hub that this is a report on. A letter's report names the mailing. A gateway names only its
    /// own number, so an SMS is the last one sent to that phone.
    fn sent_of(&self, letter: &'p MailMessage) -> Option<Sent<'p>> {
        if let Some(campaign) = &letter.campaign {
            return self.last.get(&(&letter.to, campaign.as_str())).copied();
        }
        if letter.channel() != Channel::Sms {
            return None;
        }
        let told =
            [letter.sent_at, letter.delivered_at, letter.hard_bounced_at, letter.soft_bounced_at, letter.rejected_at];
        let second = told.into_iter().flatten().min()?.as_second();
        let all = self.all.get(&letter.to)?;
        let after = all.partition_point(|sent| sent.at.as_second() <= second);
        let last = all.get(after.checked_sub(1)?)?;
        (second - last.at.as_second() <= SMS_WITHIN).then_some(*last)
    }
}

fn letters(person: &Person) -> impl Iterator<Item = &MailMessage> {
    person.records.values().filter_map(|record| match &record.fact {
        Fact::MailMessage(letter) => Some(letter),
        _ => None,
    })
}

fn paid(person: &Person) -> Settlements<'_> {
    let mut all = settlements(person.records.values());
    all.orders.retain(|_, (order, settlement)| order.paid_at.is_some() || settlement.paid_at.is_some());
    all
}

/// Keeps the later of two instants.
fn note<K: Ord>(times: &mut BTreeMap<K, Timestamp>, of: K, at: Timestamp) {
    let known = times.entry(of).or_insert(at);
    *known = at.max(*known);
}

impl<'p> ReportText<'p> {
    pub fn of(person: &'p Person, link: &'p CrmState, catalog: &'p Catalog) -> Self {
        let (looks, ways) = (Looks::of(person), Ways::of(person, link));
        let bounced: BTreeSet<&Identifier> =
            letters(person).filter(|letter| letter.hard_bounced_at.is_some()).map(|letter| &letter.to).collect();
        let mut told = Self {
            person,
            looks,
            reports: Reports::of(person),
            attributions: Attributions::of(person, catalog),
            paid: paid(person),
            others: Vec::new(),
            of_message: BTreeMap::new(),
            arrived: BTreeSet::new(),
            followed: BTreeMap::new(),
            refused: BTreeMap::new(),
            dead: bounced.into_iter().filter(|address| is_suppressed(person, address)).collect(),
            of_mailing: BTreeMap::new(),
            letter_of: BTreeMap::new(),
        };
        for letter in letters(person) {
            told.letter(letter, ways.sent_of(letter));
        }
        for record in person.records.values() {
            match &record.fact {
                Fact::Link(link) => {
                    let last = told.looks.at(link).map(|(_, last)| last);
                    let (whose, followed) = (record.identifiers.iter(), &mut told.followed);
                    whose.zip(std::iter::repeat(last)).for_each(|(to, last)| {
                        last.into_iter().for_each(|last| note(followed, (to, link.campaign.as_str()), last));
                    });
                }
                Fact::Conversation(conversation) if conversation.chat.kind() == Kind::Phone => {
                    conversation.refused_at.into_iter().for_each(|at| note(&mut told.refused, &conversation.chat, at));
                }
                _ => {}
            }
        }
        for one in link.written.values() {
            let own = told.of_mailing.entry(&one.mailing).or_default();
            own.extend(one.steps.iter().map(|step| (one, step)));
        }
        told.of_mailing.values_mut().for_each(|own| own.sort_by_key(|(_, step)| step.at));
        told
    }

    fn letter(&mut self, letter: &'p MailMessage, sent: Option<Sent<'p>>) {
        if let Some(campaign) = &letter.campaign {
            self.letter_of.entry(campaign).or_insert(letter);
        }
        match sent {
            None => self.others.push(letter),
            Some(Sent { step: Some(step), .. }) => self.of_message.entry(&step.decision).or_default().push(letter),
            Some(sent) if letter.delivered_at.is_some() => _ = self.arrived.insert((sent.at, sent.campaign)),
            Some(_) => {}
        }
    }

    /// Reports on one message.
    pub fn reports_of(&self, step: &MailingStep) -> &[&'p MailMessage] {
        self.of_message.get(step.decision.as_str()).map_or(&[], Vec::as_slice)
    }

    /// True if a gateway reported that the SMS with this link arrived.
    pub fn has_arrived(&self, at: Timestamp, link: &TrackedLink) -> bool {
        self.arrived.contains(&(at, link.campaign.as_str()))
    }

    /// True if a link of a mailing was followed after this message of it.
    pub fn was_followed(&self, mailing: &str, step: &MailingStep) -> bool {
        self.followed.get(&(&step.to, mailing)).is_some_and(|last| *last > step.at)
    }

    /// True if one of these phones did not accept an SMS since then.
    pub fn was_refused(&self, phones: &BTreeSet<Identifier>, since: Timestamp) -> bool {
        phones.iter().filter_map(|phone| self.refused.get(phone)).any(|at| *at >= since)
    }

    pub fn is_dead(&self, address: &Identifier) -> bool {
        self.dead.contains(address)
    }

    /// The last message of a mailing before an order.
    pub fn last_before(&self, mailing: &str, order: &Order) -> Option<(&'p MailingState, &'p MailingStep)> {
        let own = self.of_mailing.get(mailing)?;
        let after = own.partition_point(|(_, step)| step.at <= order.placed_at);
        own.get(after.checked_sub(1)?).copied()
    }

    pub fn letter_of(&self, campaign: &str) -> Option<&'p MailMessage> {
        self.letter_of.get(campaign).copied()
    }
}
