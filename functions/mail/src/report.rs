//! What the reports of mail providers have in common.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, Channel, ChatRef, ConsentRecorded, Content, Email, Identifier, LetterReported, MailMessageState,
    MembershipReported, MessageHeard, Phone, Region, Timestamp,
};
use stagedoor_webhook::read::text;

/// Of a provider that has none; a misspelt one is a mistake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

pub fn email(address: &str) -> Option<Identifier> {
    // Also `Анна <anna@example.com>`, as a letter's header names its recipient.
    Email::parse_all(address).into_iter().next().map(Identifier::email)
}

pub fn phone(number: &str, region: Region) -> Option<Identifier> {
    let number = number.trim();
    // Gateways tell numbers in full, with or without the plus.
    let full = if number.starts_with('+') { number.to_owned() } else { format!("+{number}") };
    Phone::parse(&full, region).ok().map(Identifier::phone)
}

pub fn letter(to: Identifier, state: MailMessageState) -> LetterReported {
    LetterReported { to, state, by_machine: false, letter: None, campaign: None, link: None, code: None }
}

/// What a failure is that the provider calls permanent: `words` is all that it says beside the code.
pub fn permanent(code: Option<&str>, words: &[Option<String>]) -> MailMessageState {
    let words: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
    let closes = stagedoor_model::closes_address(code, &words.join(" "));
    if closes { MailMessageState::HardBounced } else { MailMessageState::SoftBounced }
}

/// A link without what may tell of somebody: its query, its fragment, its user.
pub fn bare_link(link: &str) -> Option<String> {
    let mut url = url::Url::parse(link).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.set_query(None);
    url.set_fragment(None);
    _ = url.set_username("");
    _ = url.set_password(None);
    Some(url.into())
}

/// Apple's Mail Privacy Protection fetches every picture under this bare name (litmus.com and postmarkapp.com describe it);
/// scanners of links call themselves what they are. Google's and Yahoo's picture proxies fetch when a person looks.
pub fn is_machine(agent: Option<&str>) -> bool {
    let Some(agent) = agent.map(str::trim).filter(|agent| !agent.is_empty()) else { return false };
    let proxies = ["GoogleImageProxy", "YahooMailProxy"];
    agent == "Mozilla/5.0"
        || (!proxies.iter().any(|proxy| agent.contains(proxy)) && stagedoor_webhook::robots::is_robots(agent))
}

/// The campaign under whose name we sent it, else the provider's own.
pub fn campaign(value: &Value, pointers: &[&str]) -> Option<String> {
    pointers.iter().find_map(|pointer| text(value, pointer).or_else(|| stagedoor_webhook::read::id(value, pointer)))
}

pub fn unsubscribed(who: Identifier, lists: impl IntoIterator<Item = String>) -> Body {
    let lists = lists.into_iter().collect();
    Body::ConsentRecorded(ConsentRecorded { lists, ..ConsentRecorded::withdrawn(who, Channel::Email, "unsubscribe") })
}

pub fn complained(who: Identifier) -> Body {
    Body::ConsentRecorded(ConsentRecorded::withdrawn(who, Channel::Email, "complaint"))
}

pub fn membership(who: Identifier, lists: BTreeSet<String>, member: bool) -> Body {
    Body::MembershipReported(MembershipReported { who, lists, member })
}

/// An SMS from somebody: a stop word ends the channel, anything else is something that they said.
pub fn sms(from: Identifier, id: &str, words: String) -> Body {
    if stagedoor_model::is_stop_word(&words) {
        return Body::ConsentRecorded(ConsentRecorded::withdrawn(from, Channel::Sms, "stop-word"));
    }
    Body::MessageReceived(MessageHeard {
        chat: ChatRef::of(from),
        message: id.to_owned(),
        content: Content::Text(words),
    })
}

/// A time without a zone, in the source's: `2026-11-20 18:03:11` or `20.11.2026 21:03:11`.
pub fn zoned(told: &str, zone: &jiff::tz::TimeZone) -> Option<Timestamp> {
    let told = told.trim();
    let time = ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S"]
        .iter()
        .find_map(|format| jiff::civil::DateTime::strptime(format, told).ok())?;
    zone.to_timestamp(time).ok()
}

/// The zone of such times, as a source's option names it.
///
/// # Errors
/// A sentence for `check-config`.
pub fn zone(name: Option<&str>, otherwise: &str) -> Result<jiff::tz::TimeZone, String> {
    let name = name.unwrap_or(otherwise);
    jiff::tz::TimeZone::get(name).map_err(|_| format!("options.zone: {name:?} is no IANA time zone"))
}
