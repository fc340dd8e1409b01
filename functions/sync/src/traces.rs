//! Where somebody is named outside of what is stored under them: in deliveries that were not understood, and in messages that
//! wait in the queues or were given up.

use std::{borrow::Cow, collections::BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use stagedoor_model::{Body, Event, Identifier, Kind, breakage};
use stagedoor_ports::Result;

use crate::Sync;

/// The end of a phone number that is the same with and without the code of its country.
const END: usize = 10;
/// A shorter value would be found by chance.
const LEAST: usize = 6;

/// Somebody's addresses, to be found in a text however they are written.
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
        let text = text.to_lowercase();
        // As a form, and as JSON that escapes more than it has to.
        let decoded: String = url::form_urlencoded::parse(text.as_bytes())
            .flat_map(|(name, value)| [name, Cow::Borrowed("\n"), value, "\n".into()])
            .collect();
        let plain = text.replace("\\u0040", "@").replace("\\u002b", "+").replace("\\/", "/");
        [&text, &decoded, &plain].into_iter().any(|text| {
            let runs = runs(text);
            self.words.iter().any(|word| text.contains(word.as_str()))
                || self.digits.iter().any(|one| runs.contains(one))
        })
    }

    /// An event as it stands in a queue.
    fn are_told(&self, body: &str) -> bool {
        let event = serde_json::from_str::<Event>(body).ok();
        self.are_in(body) || event.is_some_and(|event| self.are_kept(&event))
    }

    /// In the body of a delivery that was not understood.
    fn are_kept(&self, event: &Event) -> bool {
        let Body::Unrecognized(kept) = &event.body else { return false };
        STANDARD.decode(&kept.body).is_ok_and(|bytes| self.are_in(&String::from_utf8_lossy(&bytes)))
    }
}

/// The digits of a text, those of one number together: people part them by blanks, brackets and dashes.
fn runs(text: &str) -> String {
    let (mut runs, mut gap) = (String::new(), 0);
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            runs.push(letter);
            gap = 0;
        } else if gap < 3 && matches!(letter, ' ' | '(' | ')' | '-' | '.' | '\u{a0}') {
            gap += 1;
        } else {
            runs.push('\n');
            gap = 0;
        }
    }
    runs
}

impl Sync {
    /// Removes deliveries and messages that tell of these addresses; the number of them.
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
        let talk = self.talk.iter().flat_map(|talk| [&talk.outbox, &talk.chats]);
        for queue in self.events.iter().chain(talk) {
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
        ] {
            assert!(addresses.are_in(text), "{text}");
        }
        for text in ["Phone=8+%28916%29+123-45-68", "{\"id\":17}", "email=joanna@example.org", "916 123, 45 67"] {
            assert!(!addresses.are_in(text), "{text}");
        }
    }
}
