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

/// Why a text is no phone.
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

    /// What its numbers begin with in E.164, such as `+7`.
    pub fn prefix(self) -> Option<String> {
        PHONE_NUMBER_UTIL.get_country_code_for_region(self.0).map(|code| format!("+{code}"))
    }
}

/// Characters of a text in which numbers are looked for: a long message of a messenger.
const LOOKED_AT: usize = 4_096;
/// Numbers that one text names. A list of more is no way to reach somebody.
const MOST: usize = 16;
/// Digits of a number, with what is dialled before it from abroad.
const DIGITS: std::ops::RangeInclusive<usize> = 5..=24;
/// Words that one number is written in.
const WORDS: usize = 24;
/// Readings that are tried of one text, where words of digits may be one number or several.
const TRIES: usize = 500;

impl Phone {
    /// Reads what a person typed. Extensions (`доб. 12`, `ext 12`) are dropped: they belong to a switchboard, not a person.
    ///
    /// # Errors
    /// `Unparsable` for text that is no number, `Invalid` for one that its country cannot have assigned.
    pub fn parse(text: &str, region: Region) -> Result<Self, PhoneError> {
        let text = visible(text);
        let text = text.trim();
        match Self::parse_once(text, Some(region.0)) {
            // `375291234567` without its plus reads as a Russian local number; with it, as the Belarusian one it is.
            Err(first) if text.starts_with(|c: char| c.is_ascii_digit()) => {
                Self::parse_once(&format!("+{text}"), None).map_err(|_| first)
            }
            other => other,
        }
    }

    /// Every number in a text, in its order: between words, in brackets, two in a row. Of a longer text the first 4,096
    /// characters are read, and of more numbers the first 16.
    pub fn parse_all(text: &str, region: Region) -> Vec<Self> {
        let most = if crate::breakage::is_on("numbers-without-end") { usize::MAX } else { LOOKED_AT };
        let text = visible(&text.chars().take(most).collect::<String>());
        let mut found: Vec<Self> = Vec::new();
        let mut tries = if most == LOOKED_AT { TRIES } else { usize::MAX };
        for part in text.split([',', ';', '\n']) {
            match Self::parse(part, region) {
                // Letters may stand for digits there, as on a keypad: nobody means that.
                Ok(phone) if !part.contains('/') && !has_latin(part) => found.push(phone),
                _ => runs(part).for_each(|run| found.extend(Self::in_run(&run, region, &mut tries))),
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        found.retain(|phone| seen.insert(phone.clone()));
        found.truncate(MOST);
        found
    }

    /// Numbers in digits and what stands between digits: one, or several one after the other.
    fn in_run(run: &str, region: Region, tries: &mut usize) -> Vec<Self> {
        if let Ok(phone) = Self::parse(run, region) {
            return vec![phone];
        }
        let (mut words, mut found): (Vec<&str>, Vec<Self>) = (run.split_whitespace().collect(), Vec::new());
        while !words.is_empty() && *tries > 0 {
            // Each beginning is tried, so it must not be long: a text of nothing but digits would be read for hours.
            let is_bounded = !crate::breakage::is_on("numbers-without-end");
            let most = if is_bounded { words.len().min(WORDS) } else { words.len() };
            let longest = (1..=most).rev().find_map(|count| {
                let head = words.get(..count)?.join(" ");
                let digits = head.bytes().filter(u8::is_ascii_digit).count();
                let is_tried = *tries > 0 && DIGITS.contains(&digits) || !is_bounded;
                *tries -= usize::from(is_tried && is_bounded);
                Some((count, is_tried.then(|| Self::parse(&head, region).ok())??))
            });
            let taken = longest.as_ref().map_or(1, |(count, _)| *count);
            found.extend(longest.map(|(_, phone)| phone));
            words.drain(..taken);
        }
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

    /// The number in the form E.164, such as `+79161234567`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// In NFKC, without characters that nobody sees: zero-width ones, marks of direction, soft hyphens.
pub fn visible(text: &str) -> String {
    // It is its own NFKC, and most that is sent is of this kind.
    if text.is_ascii() {
        return text.to_owned();
    }
    let is_hidden = |c: &char| {
        matches!(*c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(*c, '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
    };
    text.nfkc().filter(|c| !is_hidden(c)).map(|c| if c == '\u{a0}' { ' ' } else { c }).collect()
}

fn has_latin(text: &str) -> bool {
    text.chars().any(|c| c.is_ascii_alphabetic())
}

/// Runs of digits with what people put between them. A plus begins a run, and what has too few digits for a phone is none. A
/// run that touches a letter or an `@` is a part of a word.
fn runs(text: &str) -> impl Iterator<Item = String> {
    let is_part = |c: char| c.is_ascii_digit() || " \t-.()‐‑‒–—−".contains(c);
    let (mut runs, mut run) = (Vec::new(), String::new());
    for c in text.chars() {
        // An e-mail may begin with a number.
        if c == '@' {
            run.clear();
        }
        if c == '+' || !is_part(c) {
            runs.push(std::mem::take(&mut run));
        }
        match c {
            '+' => run.push(c),
            '‐' | '‑' | '‒' | '–' | '—' | '−' => run.push('-'),
            c if is_part(c) => run.push(c),
            _ => {}
        }
    }
    runs.push(run);
    let trimmed = |run: String| run.trim_matches(|c: char| !c.is_ascii_digit() && c != '+' && c != '(').to_owned();
    let is_phone = |run: &String| run.bytes().filter(u8::is_ascii_digit).count() >= 7;
    runs.into_iter().map(trimmed).filter(is_phone)
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
    fn numbers_are_found_between_words() {
        let region = Region::new("RU").expect("RU is a region");
        for (text, expected) in [
            ("+7 917 123-45-01 Анна", vec!["+79171234501"]),
            ("тел 8 917 123 45 09 звоните после 18:00", vec!["+79171234509"]),
            ("8 917 223 45 02 (Viber)", vec!["+79172234502"]),
            ("89172234503 WhatsApp, 18-20", vec!["+79172234503"]),
            ("Call 8 917 223 45 04 anytime", vec!["+79172234504"]),
            ("8\u{a0}917\u{200b} 223‑45–05\u{202c}.", vec!["+79172234505"]),
            ("8 917 223-45-06 8 917 223-45-07", vec!["+79172234506", "+79172234507"]),
            ("(8-917)223.45.08/+79172234509", vec!["+79172234508", "+79172234509"]),
            ("моб. +7(917)2234510; дом. 8 (495) 123-45-67", vec!["+79172234510", "+74951234567"]),
            ("89172234511 доб. 12", vec!["+79172234511"]),
            ("+79172234512, +7 917 223 45 12", vec!["+79172234512"]),
            ("89172234513@example.com", vec![]),
            ("Заказ 1234567 оплачен, а билет не пришёл!", vec![]),
            ("На 28.05.2027 есть билеты по 1500?", vec![]),
            ("25 000 руб., код 98765", vec![]),
            ("нет", vec![]),
        ] {
            let found: Vec<String> = Phone::parse_all(text, region).into_iter().map(String::from).collect();
            assert_eq!(found, expected, "{text}");
        }
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

    #[test]
    fn a_text_of_nothing_but_digits_is_read_in_no_time() {
        let region = Region::new("RU").expect("a region");
        let began = std::time::Instant::now();
        for text in ["1 ".repeat(30_000), "1-1 ".repeat(15_000), "7 9 ".repeat(15_000), "+".repeat(60_000)] {
            Phone::parse_all(&text, region);
        }
        // It took hours.
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
        let list: String = (0..400).map(|n| format!("+7916123{n:04}, ")).collect();
        assert_eq!(Phone::parse_all(&list, region).len(), MOST);
        assert_eq!(Phone::parse_all("8 9 1 6 1 2 3 4 5 6 7", region).len(), 1);
    }
}
