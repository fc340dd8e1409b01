//! What a contact shows a manager about e-mails, consents and segments.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use stagedoor_model::{Channel, Fact, Identifier, MARKETING, MailMessage, Timestamp};
use stagedoor_texts::{Text, crm};

use crate::{Catalog, CrmState, Person, Standing, consent, is_suppressed, ledger};

/// The latest state and totals, not a line for each event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marketing {
    /// For example `e-mail: yes, 12.11.2026 (site); SMS: withdrawn, 14.11.2026 (unsubscribe)`.
    pub consent: String,
    /// For example `5 letters, 3 opened, 1 clicked, last opened 12.11.2026`.
    pub letters: String,
    /// For example `ufa-undecided, friends`.
    pub segments: String,
}

impl Marketing {
    /// Returns true if there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.consent.is_empty() && self.letters.is_empty() && self.segments.is_empty()
    }
}

/// Returns what to show. `None` if there is nothing.
pub(crate) fn marketing(person: &Person, segments: &BTreeSet<&String>, catalog: &Catalog) -> Option<Marketing> {
    let segments = segments.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let shown = Marketing { consent: consents(person, catalog), letters: letters(person, catalog), segments };
    (!shown.is_empty()).then_some(shown)
}

/// Returns consents and segments as tags, for filters and robots of the CRM: tags to set, and tags of the hub to
/// remove.
pub(crate) fn tags(person: &Person, link: &CrmState, catalog: &Catalog) -> (Vec<String>, Vec<String>) {
    let entries = ledger(person);
    let consents = Channel::ALL.map(|channel| {
        let standing = consent::standing(&entries, MARKETING, channel, None, &catalog.consent, None);
        (format!("consent {}", channel.name()), matches!(standing, Standing::Given(_)))
    });
    let segments = catalog.segments.iter().map(|one| (one.name.clone(), link.segments.contains_key(&one.name)));
    let (on, off): (Vec<_>, Vec<_>) = segments.chain(consents).partition(|(_, is_on)| *is_on);
    let names = |all: Vec<(String, bool)>| all.into_iter().map(|(name, _)| name).collect();
    (names(on), names(off))
}

fn day(at: Timestamp, catalog: &Catalog) -> String {
    at.to_zoned_datetime(catalog.zone.clone().unwrap_or(TimeZone::UTC)).strftime("%d.%m.%Y").to_string()
}

fn title(channel: Channel) -> Text {
    match channel {
        Channel::Email => crm::email(),
        Channel::Sms => crm::sms(),
        Channel::Call => crm::calls(),
        Channel::Messenger => crm::messengers(),
    }
}

fn consents(person: &Person, catalog: &Catalog) -> String {
    let entries = ledger(person);
    let mut said: Vec<Text> = Vec::new();
    for channel in Channel::ALL {
        let day = |entry: &crate::Entry| day(entry.at, catalog);
        match consent::standing(&entries, MARKETING, channel, None, &catalog.consent, None) {
            Standing::Unknown => {}
            Standing::Unconfirmed(entry) => {
                said.push(crm::consent_unconfirmed(title(channel), day(&entry), &entry.source));
            }
            Standing::Given(entry) => said.push(crm::consent_given(title(channel), day(&entry), &entry.source)),
            // A withdrawal for another channel is shown there.
            Standing::Withdrawn(entry) if entry.channel != channel => {}
            Standing::Withdrawn(entry) => {
                said.push(crm::consent_withdrawn(title(channel), day(&entry), &entry.method));
            }
        }
    }
    if said.is_empty() {
        // The box office can ask a person whom nobody has asked so far.
        return catalog.consent.ask.clone().unwrap_or_default();
    }
    said.iter().map(|text| text.to(catalog.language)).collect::<Vec<_>>().join("; ")
}

fn letters(person: &Person, catalog: &Catalog) -> String {
    let all: Vec<&MailMessage> = person
        .records
        .values()
        .filter_map(|record| match &record.fact {
            Fact::MailMessage(letter) if letter.channel() == Channel::Email => Some(letter),
            _ => None,
        })
        .collect();
    if all.is_empty() {
        return String::new();
    }
    let opened = all.iter().filter(|letter| letter.seen_at().is_some()).count();
    let clicked = all.iter().filter(|letter| letter.clicked_at().is_some()).count();
    let mut text = crm::letters(all.len(), opened, clicked);
    if let Some(at) = all.iter().filter_map(|letter| letter.last_opened_at.max(letter.seen_at())).max() {
        text = crm::letters_opened(text, day(at, catalog));
    }
    let to: BTreeSet<&Identifier> = all.iter().map(|letter| &letter.to).collect();
    let dead: BTreeSet<&str> = to.into_iter().filter(|one| is_suppressed(person, one)).map(Identifier::value).collect();
    if !dead.is_empty() {
        text = crm::letters_unreached(text, dead.into_iter().collect::<Vec<_>>().join(", "));
    }
    text.to(catalog.language)
}
