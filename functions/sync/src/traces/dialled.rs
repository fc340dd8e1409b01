//! Finds a phone in a text by its digits, whatever separates them, with and without what is dialled before it.

use stagedoor_model::Region;

/// Most characters that stand between two digits of one number.
const GAP: usize = 8;
/// Number of last digits of a phone whose country code is unknown.
const END: usize = 10;
/// Number of last digits that are the same in every spelling.
const TAIL: usize = 6;
/// Most digits between a plus and the number within the country.
const LONGEST_CODE: usize = 4;
/// What is dialled before a number within its country.
const TRUNKS: [&str; 6] = ["", "0", "8", "80", "01", "06"];
/// What is dialled before a country code.
const ABROAD: [&str; 7] = ["", "00", "001", "010", "011", "0011", "810"];

/// A digit of a text.
pub(super) struct Digit {
    value: char,
    /// Something separates it from the digit before.
    is_apart: bool,
    /// A plus stands before it, so a country code begins here.
    has_plus: bool,
}

/// The digits of a phone.
pub(super) struct Dialled {
    /// The country code, without a plus.
    code: String,
    national: String,
}

impl Dialled {
    /// A phone in the form E.164, and the regions that share its country code. There it may be dialled without it.
    pub fn new(phone: &str) -> (Self, Vec<Region>) {
        let regions = regions_of(phone);
        let prefix = regions.first().and_then(|region| region.prefix());
        let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
        let code = prefix.map(|prefix| prefix.trim_start_matches('+').to_owned()).unwrap_or_default();
        let national = match digits.strip_prefix(code.as_str()).filter(|_| !code.is_empty()) {
            Some(national) => national.to_owned(),
            None => digits.get(digits.len().saturating_sub(END)..).unwrap_or_default().to_owned(),
        };
        (Self { code, national }, regions)
    }

    /// True if these digits of a text may hold the phone: its last digits are among them, one after the other.
    pub fn may_be_in(&self, digits: &str) -> bool {
        let tail = self.national.get(self.national.len().saturating_sub(TAIL)..).unwrap_or_default();
        !tail.is_empty() && digits.contains(tail)
    }

    /// True if the phone is a part of the run that begins and ends by itself.
    pub fn is_in(&self, run: &[Digit]) -> bool {
        let length = self.national.len();
        if length == 0 {
            return false;
        }
        run.windows(length).enumerate().any(|(at, part)| {
            let ends = run.get(at + length).is_none_or(|next| next.is_apart);
            let is_it = ends && part.iter().map(|digit| digit.value).eq(self.national.chars());
            is_it && run.get(..=at).is_some_and(|head| self.begins(head))
        })
    }

    /// True if the last of these digits begins the number: nothing but a code of its own country stands before it.
    fn begins(&self, head: &[Digit]) -> bool {
        let behind_plus = head.iter().rposition(|digit| digit.has_plus).map(|at| before_last(head, at));
        if let Some(code) = behind_plus.filter(|code| code.len() <= LONGEST_CODE && !self.code.is_empty()) {
            // People also write a plus before the 8 or the 0 of a call within the country.
            let is_own = TRUNKS.iter().any(|trunk| code.strip_suffix(*trunk) == Some(self.code.as_str()));
            return is_own || code == "8" || code == "0";
        }
        let start = head.iter().rposition(|digit| digit.is_apart).unwrap_or(0);
        let before = before_last(head, start);
        let is_code = |text: &str| {
            let abroad = text.strip_suffix(self.code.as_str()).filter(|_| !self.code.is_empty());
            text.is_empty() || abroad.is_some_and(|abroad| ABROAD.contains(&abroad))
        };
        TRUNKS.iter().any(|trunk| before.strip_suffix(*trunk).is_some_and(is_code))
    }
}

/// The digits from `start` on, without the last one.
fn before_last(head: &[Digit], start: usize) -> String {
    head.get(start..head.len().saturating_sub(1)).unwrap_or_default().iter().map(|digit| digit.value).collect()
}

/// The regions whose numbers begin like this phone.
fn regions_of(phone: &str) -> Vec<Region> {
    let codes = ('A'..='Z').flat_map(|first| ('A'..='Z').map(move |second| format!("{first}{second}")));
    let regions = codes.filter_map(|code| Region::new(&code).ok());
    regions.filter(|region| region.prefix().is_some_and(|prefix| phone.starts_with(&prefix))).collect()
}

/// A digit in the spelling of E.164, also of an Arabic one.
fn digit(letter: char) -> Option<char> {
    let value = |zero: u32| u32::from(letter).checked_sub(zero).filter(|value| *value < 10);
    [u32::from('0'), 0x660, 0x6f0].into_iter().find_map(value).and_then(|value| char::from_digit(value, 10))
}

/// All digits of a text.
pub(super) fn digits(text: &str) -> String {
    text.chars().filter_map(digit).collect()
}

/// The digits that may be one number, run by run.
pub(super) fn runs(text: &str) -> Vec<Vec<Digit>> {
    let (mut runs, mut run) = (Vec::new(), Vec::<Digit>::new());
    // The characters since the last digit, and the last of them.
    let (mut gap, mut last) = (0, None);
    for letter in text.chars() {
        match digit(letter) {
            Some(value) => {
                // In a form a plus is a blank. Before a country code nothing else touches it.
                let has_plus = last == Some('+') && (run.is_empty() || gap > 1);
                run.push(Digit { value, is_apart: gap > 0, has_plus });
                gap = 0;
            }
            None if gap < GAP && separates(letter) => gap += 1,
            None => {
                runs.push(std::mem::take(&mut run));
                gap = 0;
            }
        }
        last = Some(letter);
    }
    runs.push(run);
    runs.retain(|run| !run.is_empty());
    runs
}

/// True for what people put between the digits of one number. Other marks stand between two values.
fn separates(letter: char) -> bool {
    !letter.is_alphanumeric() && !",;:&=|@<>{}\"'\\".contains(letter)
}
