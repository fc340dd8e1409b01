use std::fmt;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, enums::Region as LibRegion};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// A valid phone number in E.164 (`+79161234567`), without its extension.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Phone(String);

/// The ISO 3166-1 alpha-2 country in which a number without a country code is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region(LibRegion);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PhoneError {
    #[error("not a phone number")]
    Unparsable,
    #[error("no such number can exist in its country")]
    Invalid,
    #[error("unknown region, expected two letters of ISO 3166-1 such as RU")]
    UnknownRegion,
}

impl Region {
    /// # Errors
    /// `UnknownRegion` when `code` is not a two-letter country code.
    pub fn new(code: &str) -> Result<Self, PhoneError> {
        // The numbering plans are not asked: reading them takes milliseconds that a cold start would pay.
        code.parse().map(Self).map_err(|_| PhoneError::UnknownRegion)
    }
}

impl Phone {
    /// Reads what a person typed. Extensions (`доб. 12`, `ext 12`) are dropped: they belong to a switchboard, not a person.
    ///
    /// # Errors
    /// `Unparsable` for text that is no number, `Invalid` for one that its country cannot have assigned.
    pub fn parse(text: &str, region: Region) -> Result<Self, PhoneError> {
        let text: String = text.nfkc().collect();
        let text = text.trim();
        match Self::parse_once(text, Some(region.0)) {
            // `375291234567` without its plus reads as a Russian local number; with it, as the Belarusian one it is.
            Err(first) if text.starts_with(|c: char| c.is_ascii_digit()) => {
                Self::parse_once(&format!("+{text}"), None).map_err(|_| first)
            }
            other => other,
        }
    }

    /// Every number in a field into which people put two (`…, …`).
    pub fn parse_all(text: &str, region: Region) -> Vec<Self> {
        let mut found: Vec<Self> =
            text.split([',', ';', '/', '\n']).filter_map(|part| Self::parse(part, region).ok()).collect();
        found.dedup();
        found
    }

    fn parse_once(text: &str, region: Option<LibRegion>) -> Result<Self, PhoneError> {
        let number = PHONE_NUMBER_UTIL.parse(text, region).map_err(|_| PhoneError::Unparsable)?;
        if !number.is_valid() {
            return Err(PhoneError::Invalid);
        }
        let mut plain = number.clone();
        plain.extension = None;
        Ok(Self(plain.format_as(PhoneNumberFormat::E164).to_string()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Phone {
    type Error = PhoneError;
    fn try_from(text: String) -> Result<Self, PhoneError> {
        Self::parse_once(&text, None)
    }
}

impl From<Phone> for String {
    fn from(phone: Phone) -> Self {
        phone.0
    }
}

/// Masked, so that a phone never reaches a log by accident.
impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phone(…{})", self.0.get(self.0.len().saturating_sub(2)..).unwrap_or(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, PhoneError> {
        Phone::parse(text, Region::new("RU")?).map(String::from)
    }

    #[test]
    fn five_notations_of_one_number_are_one_number() {
        for text in ["8 (916) 123-45-67", "+7 916 123 45 67", "79161234567", "9161234567", "８９１６１２３４５６７"]
        {
            assert_eq!(read(text).as_deref(), Ok("+79161234567"), "{text}");
        }
    }

    #[test]
    fn a_free_call_number_keeps_its_eight_hundred() {
        assert_eq!(read("8 800 555-35-35").as_deref(), Ok("+78005553535"));
    }

    #[test]
    fn an_extension_is_dropped() {
        assert_eq!(read("89161234567 доб. 12").as_deref(), Ok("+79161234567"));
    }

    #[test]
    fn neighbours_are_not_taken_for_russians() {
        assert_eq!(read("+7 701 123 45 67").as_deref(), Ok("+77011234567"));
        assert_eq!(read("810375291234567").as_deref(), Ok("+375291234567"));
        assert_eq!(read("375291234567").as_deref(), Ok("+375291234567"));
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        assert_eq!(read("+70000000000"), Err(PhoneError::Invalid));
        assert_eq!(read("нет"), Err(PhoneError::Unparsable));
        assert_eq!(read(""), Err(PhoneError::Unparsable));
    }

    #[test]
    fn two_numbers_in_one_field_are_two() {
        let region = Region::new("RU").expect("RU is a region");
        assert_eq!(Phone::parse_all("8 916 123-45-67, +7 926 111 22 33", region).len(), 2);
    }

    #[test]
    fn debug_output_hides_the_number() {
        let phone = Phone::try_from("+79161234567".to_owned()).expect("valid");
        assert_eq!(format!("{phone:?}"), "Phone(…67)");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_reads_again(text in "\\PC{0,40}") {
            let region = Region::new("RU").expect("RU is a region");
            if let Ok(phone) = Phone::parse(&text, region) {
                proptest::prop_assert_eq!(Phone::parse(phone.as_str(), region), Ok(phone));
            }
        }
    }
}
