//! A code by SMS or e-mail makes a typed address an identifier: to whom it may be sent, what is said, and how an answer looks.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use stagedoor_model::{Identifier, Kind, Timestamp};

use crate::Localised;

/// How long a code counts.
pub const CODE_VALID: SignedDuration = SignedDuration::from_mins(15);
/// How long six digits are still taken for a code that counts no more.
const UNDERSTOOD: SignedDuration = SignedDuration::from_hours(1);
const DIGITS: usize = 6;
/// Letters that may stand beside a code: "мой код …".
const BESIDE: usize = 12;

/// `[claims]` of the config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodePolicy {
    /// Kinds of addresses that a configured way leads to.
    pub kinds: BTreeSet<Kind>,
    /// Codes are sent to phones that begin with one of these.
    pub prefixes: Vec<String>,
    /// Codes a day in all.
    pub most: u32,
    /// With `{code}`.
    pub sms: Localised,
    pub subject: Localised,
    /// With `{code}`.
    pub letter: Localised,
    /// Said in the chat when a code was sent.
    pub sent: Localised,
    pub wrong: Localised,
    /// Said when a code is over, or was tried too often.
    pub ended: Localised,
}

impl CodePolicy {
    /// True if a code may be sent to the address.
    pub fn takes(&self, given: &Identifier) -> bool {
        let is_near = || self.prefixes.iter().any(|prefix| given.value().starts_with(prefix.as_str()));
        self.kinds.contains(&given.kind()) && (given.kind() != Kind::Phone || is_near())
    }
}

/// An address that was typed, and to which a code may have been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub given: Identifier,
    /// The line that it stands in.
    pub cause: String,
    pub at: Timestamp,
}

impl Offer {
    /// When the address becomes a claim, unless it was confirmed.
    pub fn ends_at(&self) -> Timestamp {
        self.at + CODE_VALID
    }

    /// True if six digits of this time are an answer, be it a late one.
    pub(crate) fn is_answered_at(&self, at: Timestamp) -> bool {
        at >= self.at && at <= self.at + UNDERSTOOD
    }
}

/// The six digits of a text that is a code and nothing else.
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
