//! Finds mentions of a person outside of their own data. They may stand in deliveries that were not understood, in
//! messages that wait in the queues, and in dead letters.

use std::{borrow::Cow, collections::BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use stagedoor_model::{Body, Event, Identifier, Kind, breakage, visible};
use stagedoor_ports::Result;

use crate::Sync;

/// Number of last digits of a phone that are the same with and without the country code.
const END: usize = 10;
/// Least length of a value. A shorter value would be found by chance.
const LEAST: usize = 6;

/// A person's addresses, for finding them in a text in any spelling.
pub(crate) struct Addresses {
    words: Vec<String>,
    digits: Vec<String>,
}

impl Addresses {
    pub fn of(names: &BTreeSet<Identifier>) -> Self {
        let (mut words, mut digits) = (Vec::new(), Vec::new());
        for name in names.iter().filter(|name| name.value().len() >= LEAST) {
            if name.kind() == Kind::Phone {
                let all: String = name.value().chars().filter(char::is_ascii_digit).collect();
                digits.extend(all.get(all.len().saturating_sub(END)..).map(str::to_owned));
            } else {
                words.push(name.value().to_lowercase());
            }
        }
        Self { words, digits }
    }

    pub fn are_in(&self, text: &str) -> bool {
        // The text is also read as a form, and as JSON with unneeded escapes.
        let decoded: String = url::form_urlencoded::parse(text.as_bytes())
            .flat_map(|(name, value)| [name, Cow::Borrowed("\n"), value, "\n".into()])
            .collect();
        [text.to_owned(), decoded, unescaped(text)].iter().any(|text| {
            let text = if breakage::is_on("erased-by-plain-text") { text.clone() } else { visible(text) };
            let text = text.to_lowercase();
            let runs = runs(&text);
            self.words.iter().any(|word| text.contains(word.as_str()))
                || self.digits.iter().any(|one| runs.contains(one))
        })
    }

    /// True if an event in a queue contains the addresses.
    fn are_told(&self, body: &str) -> bool {
        let event = serde_json::from_str::<Event>(body).ok();
        self.are_in(body) || event.is_some_and(|event| self.are_kept(&event))
    }

    /// True if the body of a delivery that was not understood contains the addresses.
    fn are_kept(&self, event: &Event) -> bool {
        let Body::Unrecognized(kept) = &event.body else { return false };
        STANDARD.decode(&kept.body).is_ok_and(|bytes| readings(&bytes).iter().any(|text| self.are_in(text)))
    }
}

/// A body as text, in UTF-8 and in both byte orders of UTF-16. E-mails and phones have the same bytes in every
/// eight-bit charset as in UTF-8.
fn readings(body: &[u8]) -> Vec<String> {
    let mut all = vec![String::from_utf8_lossy(body).into_owned()];
    if body.contains(&0) && !breakage::is_on("erased-by-plain-text") {
        let pairs = |start: usize, of: fn([u8; 2]) -> u16| -> String {
            let (pairs, _) = body.get(start..).unwrap_or_default().as_chunks();
            String::from_utf16_lossy(&pairs.iter().map(|pair| of(*pair)).collect::<Vec<_>>())
        };
        all.extend(
            [0, 1].into_iter().flat_map(|start| [pairs(start, u16::from_le_bytes), pairs(start, u16::from_be_bytes)]),
        );
    }
    all
}

/// Replaces JSON escapes by the characters that they stand for.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
        match code.zip(part.get(4..)) {
            Some((letter, rest)) => plain.extend([letter].into_iter().chain(rest.chars())),
            None => plain.push_str(part),
        }
    }
    plain.replace("\\/", "/")
}

fn is_dash(letter: char) -> bool {
    matches!(letter, '‐' | '‑' | '‒' | '–' | '—' | '−') && !breakage::is_on("erased-by-plain-text")
}

/// The digits of a text. The digits of one number stay together, because people separate them by blanks, brackets and
/// dashes.
fn runs(text: &str) -> String {
    let (mut runs, mut gap) = (String::new(), 0);
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            runs.push(letter);
            gap = 0;
        } else if gap < 3 && (matches!(letter, ' ' | '(' | ')' | '-' | '.' | '\u{a0}') || is_dash(letter)) {
            gap += 1;
        } else {
            runs.push('\n');
            gap = 0;
        }
    }
    runs
}

impl Sync {
    /// Removes deliveries and messages that contain these addresses. Returns their number.
    pub(crate) async fn drop_traces(&self, names: &BTreeSet<Identifier>) -> Result<u64> {
        if breakage::is_on("erased-stay-in-queues") {
            return Ok(0);
        }
        let addresses = Addresses::of(names);
        let mut dropped = 0;
        for row in self.store.unrecognized(usize::MAX).await? {
            if addresses.are_kept(&row.event) {
                self.store.forget(&row.event.id).await?;
                dropped += 1;
            }
        }
        let conversation =
            self.conversation.iter().flat_map(|conversation| [&conversation.outbox, &conversation.chats]);
        for queue in self.events.iter().chain(conversation) {
            dropped += queue.drop_those(&|body: &str| addresses.are_told(body)).await?;
        }
        Ok(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_however_they_are_written_and_no_others() {
        let names = ["phone:+79161234567", "email:anna@example.com", "customer/shop:17"];
        let names = names.iter().map(|name| name.parse().expect("an identifier")).collect();
        let addresses = Addresses::of(&names);
        for text in [
            "Phone=8+%28916%29+123-45-67",
            "{\"phone\":\"+7 (916) 123 45 67\"}",
            "{\"phone\":89161234567}",
            "email=Anna%40Example.com",
            "{\"email\":\"anna\\u0040example.com\"}",
            "{\"email\":\"\\u0061nn\\u0061@exampl\\u0065.com\"}",
            "8–916–123–45–67",
            "８９１６１２３４５６７",
            "8 916\u{200b} 123 45 67",
        ] {
            assert!(addresses.are_in(text), "{text}");
        }
        for text in ["Phone=8+%28916%29+123-45-68", "{\"id\":17}", "email=joanna@example.org", "916 123, 45 67"] {
            assert!(!addresses.are_in(text), "{text}");
        }
    }

    #[test]
    fn a_body_in_utf_16_is_read_as_such() {
        let names = ["email:anna@example.com".parse().expect("an identifier")].into();
        let text = "{\"email\":\"anna@example.com\"}";
        let (little, big): (Vec<u8>, Vec<u8>) = (
            text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        );
        for bytes in [little.clone(), big, [vec![0xff, 0xfe], little].concat()] {
            assert!(readings(&bytes).iter().any(|text| Addresses::of(&names).are_in(text)));
        }
    }
}
