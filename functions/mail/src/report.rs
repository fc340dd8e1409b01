//! Helpers that the reports of several mail providers share.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, Channel, ChatRef, ConsentRecorded, Content, Email, Identifier, LetterReported, MailMessageState,
    MembershipReported, MessageHeard, Phone, Region, Timestamp,
};
use stagedoor_webhook::read::text;

/// Options of a provider without options. A misspelt option is an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// The first e-mail in a text.
pub fn email(address: &str) -> Option<Identifier> {
    // The address may have the form `Анна <anna@example.com>`, as in the header of an e-mail.
    Email::parse_all(address).into_iter().next().map(Identifier::email)
}

/// A phone in a gateway's report.
pub fn phone(number: &str, region: Region) -> Option<Identifier> {
    let number = number.trim();
    // Gateways give full numbers, with or without the plus.
    let full = if number.starts_with('+') { number.to_owned() } else { format!("+{number}") };
    Phone::parse(&full, region).ok().map(Identifier::phone)
}

/// A report of a state, without details.
pub fn letter(to: Identifier, state: MailMessageState) -> LetterReported {
    LetterReported { to, state, by_machine: false, letter: None, campaign: None, link: None, code: None }
}

/// The state for a failure that the provider calls permanent. `words` holds all that it says besides the code.
pub fn permanent(code: Option<&str>, words: &[Option<String>]) -> MailMessageState {
    let words: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
    let closes = stagedoor_model::closes_address(code, &words.join(" "));
    if closes { MailMessageState::HardBounced } else { MailMessageState::SoftBounced }
}

/// A link without its query, fragment and user, because these may identify a person.
pub fn bare_link(link: &str) -> Option<String> {
    let mut url = url::Url::parse(link).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.set_query(None);
    url.set_fragment(None);
    _ = url.set_username("");
    _ = url.set_password(None);
    Some(url.into())
}

/// True if a program fetched the picture or link. Apple's Mail Privacy Protection fetches every picture under this bare
/// name (litmus.com and postmarkapp.com describe it). Link scanners name themselves. Google's and Yahoo's picture
/// proxies do not count, because they fetch when a person looks.
pub fn is_machine(agent: Option<&str>) -> bool {
    let Some(agent) = agent.map(str::trim).filter(|agent| !agent.is_empty()) else { return false };
    let proxies = ["GoogleImageProxy", "YahooMailProxy"];
    agent == "Mozilla/5.0"
        || (!proxies.iter().any(|proxy| agent.contains(proxy)) && stagedoor_webhook::robots::is_robots(agent))
}

/// The campaign under our own name, or else under the provider's.
pub fn campaign(value: &Value, pointers: &[&str]) -> Option<String> {
    pointers.iter().find_map(|pointer| text(value, pointer).or_else(|| stagedoor_webhook::read::id(value, pointer)))
}

/// The withdrawal of e-mail advertising by an unsubscribe link, with the lists that it names.
pub fn unsubscribed(who: Identifier, lists: impl IntoIterator<Item = String>) -> Body {
    let lists = lists.into_iter().collect();
    Body::ConsentRecorded(ConsentRecorded { lists, ..ConsentRecorded::withdrawn(who, Channel::Email, "unsubscribe") })
}

pub fn complained(who: Identifier) -> Body {
    Body::ConsentRecorded(ConsentRecorded::withdrawn(who, Channel::Email, "complaint"))
}

/// A report that a person is on these lists, or no longer on them.
pub fn membership(who: Identifier, lists: BTreeSet<String>, member: bool) -> Body {
    Body::MembershipReported(MembershipReported { who, lists, member })
}

/// What an incoming SMS says. The first body has the id of the SMS alone.
pub fn sms(from: Identifier, id: &str, content: Content) -> Vec<Body> {
    let words = match &content {
        Content::Text(words) | Content::Other { caption: Some(words), .. } => words.as_str(),
        _ => "",
    };
    match stagedoor_model::is_stop_word(words) {
        true => stopped(from, id, content),
        false => vec![heard(from, id, content)],
    }
}

/// An SMS that ends the channel. Its words stand in the conversation, too.
pub fn stopped(from: Identifier, id: &str, content: Content) -> Vec<Body> {
    let stop = ConsentRecorded::withdrawn(from.clone(), Channel::Sms, "stop-word");
    vec![Body::ConsentRecorded(stop), unanswered(from, id, content)]
}

/// An SMS that the hub must not answer. The bot says nothing to a quote, and hears no second stop in it.
pub fn unanswered(from: Identifier, id: &str, content: Content) -> Body {
    let (caption, files) = match content {
        Content::Text(words) => (Some(words), vec![]),
        Content::Other { kind, caption, files } => (caption.or(Some(kind)), files),
        content => return heard(from, id, content),
    };
    heard(from, id, Content::Other { kind: Content::QUOTE.to_owned(), caption, files })
}

fn heard(from: Identifier, id: &str, content: Content) -> Body {
    Body::MessageReceived(MessageHeard { chat: ChatRef::of(from), message: id.to_owned(), content })
}

/// A time without a zone, in the source's zone: `2026-11-20 18:03:11` or `20.11.2026 21:03:11`.
pub fn zoned(told: &str, zone: &jiff::tz::TimeZone) -> Option<Timestamp> {
    let told = told.trim();
    let time = ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S"]
        .iter()
        .find_map(|format| jiff::civil::DateTime::strptime(format, told).ok())?;
    zone.to_timestamp(time).ok()
}

/// The zone of such times, from a source's option.
///
/// # Errors
/// A message for `check-config`.
pub fn zone(name: Option<&str>, otherwise: &str) -> Result<jiff::tz::TimeZone, String> {
    let name = name.unwrap_or(otherwise);
    jiff::tz::TimeZone::get(name).map_err(|_| format!("options.zone: {name:?} is no IANA time zone"))
}
