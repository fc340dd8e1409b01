//! Campaign commands: invitations, promo codes for the shop, a poster's link, and the figures.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{Attributions, By, Looks, Person, channel_title, settlements};
use stagedoor_model::{Body, Identifier, Kind, Phone, Purpose, SendOutcome, Timestamp};
use stagedoor_sync::Invitee;
use stagedoor_texts::{Language, Text, commands as texts};

use crate::{hub::Hub, report};

/// Reads a list of invitees: one phone a line, optionally followed by `;name`. Reports every wrong line.
///
/// # Errors
/// The lines that hold no phone.
pub fn read_invitees(text: &str, region: stagedoor_model::Region) -> Result<Vec<Invitee>, String> {
    let (mut invitees, mut wrong, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (index, line) in text.lines().enumerate() {
        let (number, name) = line.split_once([';', ',', '\t']).unwrap_or((line, ""));
        let (number, name) = (number.trim(), name.trim());
        if number.is_empty() || number.starts_with('#') {
            continue;
        }
        match Phone::parse(number, region) {
            Ok(phone) if seen.insert(phone.clone()) => {
                invitees.push(Invitee { phone, name: Some(name.to_owned()).filter(|name| !name.is_empty()) });
            }
            Ok(_) => {}
            // The phone is personal and is left out; the line number finds it.
            Err(error) => wrong.push(format!("line {}: {error}", index + 1)),
        }
    }
    if wrong.is_empty() { Ok(invitees) } else { Err(format!("nobody was invited; {}", wrong.join("; "))) }
}

/// A link for posters and posts. Everybody shares it, so it joins no people.
///
/// # Errors
/// A sentence: no such campaign, or no key for links.
pub fn public_link(hub: &Hub, campaign: &str) -> Result<String, String> {
    let conversation = hub.sync.conversation.as_ref().ok_or("[hub] link_key and public_url are needed")?;
    let campaign =
        hub.config.catalog.campaigns.get(campaign).ok_or_else(|| format!("there is no campaign {campaign:?}"))?;
    let token = conversation.links.mint(campaign.number, Purpose::Public, "everybody", campaign.ends_at);
    Ok(format!("{}/l/{token}", conversation.public_url))
}

/// The results of a campaign, from the hub's own store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub sent: usize,
    pub not_sent: usize,
    pub opened: usize,
    /// People by the messenger of their first chat.
    pub chats: BTreeMap<&'static str, usize>,
    pub codes: usize,
    /// Orders attributed to the campaign, by the kind of evidence.
    pub purchases: BTreeMap<By, usize>,
    /// Minor units by currency, less refunds.
    pub revenue: BTreeMap<String, i64>,
    pub unsubscribed: usize,
    /// People who got a message.
    pub people: usize,
}

/// Adds up the figures of a campaign.
///
/// # Errors
/// A sentence when there is no such campaign or the store fails.
pub async fn figures(hub: &Hub, name: &str) -> Result<Figures, String> {
    let catalog = hub.sync.catalog().await.map_err(|error| error.to_string())?;
    if !catalog.campaigns.contains_key(name) {
        let known: Vec<&str> = catalog.campaigns.keys().map(String::as_str).collect();
        return Err(format!("there is no campaign {name:?}; known are {}", known.join(", ")));
    }
    let mut figures = Figures::default();
    let mut named = BTreeSet::new();
    let mut outcomes = BTreeMap::new();
    let mut from = Some(Timestamp::MIN);
    while let Some(at) = from {
        let page = hub.store.journal_between(at, Timestamp::MAX, 2_000).await.map_err(|error| error.to_string())?;
        for row in page.0 {
            match row.event.body {
                Body::LinkIssued(issued) if issued.campaign == name => {
                    named.extend(issued.identifiers.into_iter().filter(|one| one.kind() != Kind::Link));
                }
                Body::MessageSent(sent) if sent.campaign.as_deref() == Some(name) && sent.to.kind() == Kind::Phone => {
                    outcomes.insert(sent.decision, sent.outcome);
                }
                _ => {}
            }
        }
        from = page.1;
    }
    figures.sent = outcomes.values().filter(|outcome| matches!(outcome, SendOutcome::Sent(_))).count();
    figures.not_sent = outcomes.len() - figures.sent;
    for person in people(hub, &named).await? {
        count(&mut figures, name, &person, &catalog);
    }
    Ok(figures)
}

async fn people(hub: &Hub, named: &BTreeSet<Identifier>) -> Result<Vec<Person>, String> {
    let claims = hub.store.resolve(named).await.map_err(|error| error.to_string())?;
    let ids = claims.owners.values().copied().collect();
    let people = hub.store.load(&ids).await.map_err(|error| error.to_string())?;
    Ok(people.into_iter().map(|person| person.value).collect())
}

fn count(figures: &mut Figures, name: &str, person: &Person, catalog: &stagedoor_engine::Catalog) {
    let own: Vec<_> = person.links().filter(|link| link.campaign == name).collect();
    let written_to = own.iter().any(|link| link.purpose == Purpose::Chat);
    figures.people += usize::from(written_to);
    let looks = Looks::of(person);
    let opened = own.iter().any(|link| link.purpose == Purpose::Chat && looks.at(link).is_some());
    figures.opened += usize::from(opened);
    // A chat belongs to the campaign if it came through one of its links.
    let tokens: BTreeSet<&str> = own.iter().map(|link| link.token.as_str()).collect();
    let came = |conversation: &&stagedoor_model::Conversation| {
        conversation.uses.keys().any(|token| tokens.contains(token.as_str()))
    };
    let first = |conversation: &stagedoor_model::Conversation| conversation.uses.values().map(|used| used.at).min();
    let conversations = person.conversations().map(|(_, conversation)| conversation).filter(came);
    if let Some(conversation) = conversations.min_by_key(|conversation| first(conversation)) {
        *figures.chats.entry(channel_title(conversation.chat.kind())).or_default() += 1;
        let gone = person.conversations().any(|(_, conversation)| {
            conversation.may_write.is_some_and(|(_, may)| !may) || conversation.marketing.is_some_and(|(_, may)| !may)
        });
        figures.unsubscribed += usize::from(gone);
    }
    // A person with two chats got the same code twice; it counts once.
    let codes: BTreeSet<&String> = person.promos().filter(|one| one.campaign == name).map(|one| &one.code).collect();
    figures.codes += codes.len();
    let attributions = Attributions::of(person, catalog);
    for (order, settlement) in settlements(person.records.values()).orders.values() {
        let Some(owed) = attributions.of_order(order).filter(|owed| owed.campaign == name) else {
            continue;
        };
        if order.paid_at.is_some() || settlement.paid_at.is_some() {
            *figures.purchases.entry(owed.by).or_default() += 1;
            report::add(&mut figures.revenue, order, settlement);
        }
    }
}

fn how(by: By) -> Text {
    match by {
        By::Code => texts::by_code(),
        By::Link => texts::by_link(),
        By::Click => texts::by_click(),
        By::View => texts::by_view(),
    }
}

impl Figures {
    /// The figures in lines for a terminal.
    pub fn lines(&self, language: Language) -> Vec<String> {
        let share = |part: usize, of: usize| match of {
            0 => String::new(),
            _ => format!("  {:>5.1} %", part as f64 * 100.0 / of as f64),
        };
        let say = |text: Text| text.to(language);
        let column = |count: usize| format!("{count:>5}");
        let chats: usize = self.chats.values().sum();
        let mut lines = vec![
            say(texts::sent(column(self.sent), self.not_sent)),
            say(texts::opened(column(self.opened), share(self.opened, self.sent))),
            say(texts::chats(column(chats), share(chats, self.sent))),
        ];
        let mut channels: Vec<_> = self.chats.iter().collect();
        channels.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
        lines.extend(
            channels.into_iter().map(|(name, count)| format!("  {name:<12}{count:>4}{}", share(*count, chats))),
        );
        let bought: usize = self.purchases.values().sum();
        lines.push(say(texts::codes(column(self.codes))));
        lines.push(say(texts::purchases(column(bought), share(bought, chats))));
        for (by, count) in &self.purchases {
            lines.push(format!("  {:<12}{count:>4}", say(how(*by))));
        }
        for (currency, minor) in &self.revenue {
            lines.push(say(texts::revenue(format!("{:>8}.{:02} {currency}", minor / 100, minor % 100))));
        }
        lines.push(say(texts::unsubscribed(column(self.unsubscribed))));
        lines
    }
}
