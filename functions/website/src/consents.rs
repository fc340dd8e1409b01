//! The consents of a form, in the shapes in which scripts, servers and plain HTML forms send them.

use serde_json::{Map, Value};
use stagedoor_model::{Channel, ConsentClaim, MARKETING, breakage};
use stagedoor_webhook::read::yes_or_no;

use crate::plain::plain;

/// The consents of one form.
#[derive(Debug, Default)]
pub struct Read {
    /// Consents and withdrawals that could be read.
    pub claims: Vec<ConsentClaim>,
    /// Places that could not be read, such as `consents.0.given`.
    pub lost: Vec<String>,
}

/// Maximum number of claims in one form: four channels, for a few purposes.
const MOST: usize = 16;
/// Maximum length of a purpose's name in characters.
const PURPOSE: usize = 64;
/// Maximum length of the wording that the person saw, or of its version, in characters.
const WORDING: usize = 1_000;

/// Reads a list of claims, a single claim, a table of channels (`{"email": "yes"}`), or JSON of these as text. An
/// unreadable part loses only itself. A readable "no" withdraws, regardless of what stands beside it. Of equal claims
/// the last counts.
pub fn read(value: &Value) -> Read {
    let mut read = Read::default();
    read.add(value, "consents", false);
    read
}

impl Read {
    fn add(&mut self, value: &Value, place: &str, was_text: bool) {
        match value {
            Value::Null => {}
            Value::String(text) if text.trim().is_empty() => {}
            Value::String(text) if !was_text => match serde_json::from_str(text) {
                Ok(inner) => self.add(&inner, place, true),
                Err(_) => self.lost.push(place.to_owned()),
            },
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(item, &format!("{place}.{index}"), was_text);
                }
            }
            Value::Object(fields) => self.add_object(fields, place, was_text),
            _ => self.lost.push(place.to_owned()),
        }
    }

    fn add_object(&mut self, fields: &Map<String, Value>, place: &str, was_text: bool) {
        let is_claim = ["purpose", "channel", "given"].iter().any(|name| field(fields, name).is_some());
        if is_claim {
            return self.add_claim(fields, place);
        }
        for (key, value) in fields {
            match (channel(key), key.parse::<usize>()) {
                (Some(channel), _) => self.add_word(value, channel, place),
                // `consents[0][given]` in a form.
                (None, Ok(index)) => self.add(value, &format!("{place}.{index}"), was_text),
                (None, Err(_)) => self.lost.push(place.to_owned()),
            }
        }
    }

    /// Adds a channel with a yes or no.
    fn add_word(&mut self, value: &Value, channel: Channel, place: &str) {
        match (given(value), value) {
            (Some(given), _) => self.keep(ConsentClaim { purpose: MARKETING.into(), channel, given, wording: None }),
            (None, Value::Null) => {}
            (None, Value::String(text)) if text.trim().is_empty() => {}
            (None, _) => self.lost.push(format!("{place}.{}", channel.name())),
        }
    }

    fn add_claim(&mut self, fields: &Map<String, Value>, place: &str) {
        let mut lose = |name: &str| self.lost.push(format!("{place}.{name}"));
        let Some(given) = field(fields, "given").and_then(given) else { return lose("given") };
        let purpose = match field(fields, "purpose").filter(|value| !is_nothing(value)) {
            None => Some(MARKETING.to_owned()),
            Some(value) => plain(value).map(|purpose| purpose.to_lowercase()),
        };
        let purpose = purpose.filter(|purpose| purpose.chars().count() <= PURPOSE);
        if purpose.is_none() {
            lose("purpose");
        }
        // A consent without a readable purpose does not count. A withdrawal without one concerns advertising.
        let Some(purpose) = purpose.or((!given).then(|| MARKETING.to_owned())) else { return };
        let told = field(fields, "channel").filter(|value| !is_nothing(value));
        let channels = match told.map(|value| plain(value).as_deref().and_then(channel)) {
            Some(Some(channel)) => vec![channel],
            // A "no" without a channel concerns all channels.
            None if !given => Channel::ALL.to_vec(),
            None | Some(None) => vec![],
        };
        if told.is_none() || channels.is_empty() {
            lose("channel");
        }
        let wording = field(fields, "wording").filter(|value| !is_nothing(value));
        let text = wording.and_then(scalar);
        let shown: Option<String> = text.as_ref().map(|text| text.chars().take(WORDING).collect());
        if wording.is_some() && (text.is_none() || shown != text) {
            lose("wording");
        }
        for channel in channels {
            let wording = shown.clone();
            self.keep(ConsentClaim { purpose: purpose.clone(), channel, given, wording });
        }
    }

    /// Keeps one claim for each purpose and channel. A thousand equal claims would make a thousand entries in the
    /// ledger.
    fn keep(&mut self, claim: ConsentClaim) {
        if breakage::is_on("claims-without-end") {
            return self.claims.push(claim);
        }
        let is_same = |known: &&mut ConsentClaim| known.purpose == claim.purpose && known.channel == claim.channel;
        let has_room = self.claims.len() < MOST || !claim.given && claim.purpose == MARKETING;
        match self.claims.iter_mut().find(is_same) {
            // A withdrawal outweighs a consent in the same form.
            Some(known) if known.given || !claim.given => *known = claim,
            Some(_) => {}
            None if has_room => self.claims.push(claim),
            None => self.lost.push(format!("consents (more than {MOST})")),
        }
    }
}

/// A field by its name, in any case.
fn field<'v>(fields: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    fields.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

fn scalar(value: &Value) -> Option<String> {
    plain(value).or_else(|| value.as_bool().map(|value| value.to_string()))
}

/// Yes or no. `None` for anything else, because consent is never guessed.
pub fn given(value: &Value) -> Option<bool> {
    if breakage::is_on("consents-of-one-shape") {
        return value.as_bool();
    }
    yes_or_no(&Value::String(scalar(value)?))
}

fn channel(name: &str) -> Option<Channel> {
    Some(match name.trim().to_lowercase().as_str() {
        "email" | "e-mail" | "mail" | "почта" => Channel::Email,
        "sms" | "смс" => Channel::Sms,
        "call" | "calls" | "звонок" | "звонки" => Channel::Call,
        "messenger" | "messengers" | "мессенджер" => Channel::Messenger,
        _ => return None,
    })
}
