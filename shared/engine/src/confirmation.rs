//! A code by SMS or e-mail turns a typed address into an identifier. This module decides who may get one and what an
//! answer is.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use stagedoor_model::{Identifier, Kind, Timestamp};

use crate::Localised;

/// How long a code is valid.
pub const CODE_VALID: SignedDuration = SignedDuration::from_mins(15);
/// How long six digits are still understood as a code that is no longer valid.
const UNDERSTOOD: SignedDuration = SignedDuration::from_hours(1);
const DIGITS: usize = 6;
/// The most letters beside a code: "мой код …".
const BESIDE: usize = 12;

/// The `[claims]` section of the config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodePolicy {
    /// The kinds of addresses that codes can be sent to.
    pub kinds: BTreeSet<Kind>,
    /// The prefixes of phones that may get a code.
    pub prefixes: Vec<String>,
    /// The most codes a day, over all people.
    pub most: u32,
    /// The text of the SMS, with `{code}`.
    pub sms: Localised,
    /// The subject of the e-mail with the code.
    pub subject: Localised,
    /// The text of the e-mail, with `{code}`.
    pub letter: Localised,
    /// The message in the chat after a code was sent.
    pub sent: Localised,
    /// The message in the chat after a wrong code.
    pub wrong: Localised,
    /// The message in the chat if a code has expired or was tried too often.
    pub ended: Localised,
}

impl CodePolicy {
    /// True if a code may be sent to this address.
    pub fn takes(&self, given: &Identifier) -> bool {
        let is_near = || self.prefixes.iter().any(|prefix| given.value().starts_with(prefix.as_str()));
        self.kinds.contains(&given.kind()) && (given.kind() != Kind::Phone || is_near())
    }
}

/// A typed address that a code may have been sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The typed address.
    pub given: Identifier,
    /// The id of the message that it stands in.
    pub cause: String,
    /// The time of that message.
    pub at: Timestamp,
}

impl Offer {
    /// Returns the time when the address becomes a claim, unless it was confirmed.
    pub fn ends_at(&self) -> Timestamp {
        self.at + CODE_VALID
    }

    /// True if six digits at this time are an answer, even a late one.
    pub(crate) fn is_answered_at(&self, at: Timestamp) -> bool {
        at >= self.at && at <= self.at + UNDERSTOOD
    }
}

/// Returns the six digits of a text that is a code and nothing else.
pub(crate) fn code_in(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let letters = text.chars().filter(|one| one.is_alphabetic()).count();
    (digits.len() == DIGITS && letters <= BESIDE && !text.contains('?')).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_six_digits_with_few_words_beside_them() {
        for text in ["123456", " 123 456 ", "123-456.", "Мой код: 123456"] {
            assert_eq!(code_in(text).as_deref(), Some("123456"), "{text}");
        }
        for text in ["12345", "1234567", "места 12, 34 и 56 ещё свободны", "123456?", "1 3"] {
            assert_eq!(code_in(text), None, "{text}");
        }
    }
}
