//! How long a message of a channel may be, and how a longer one is split.

use crate::breakage;

/// The most that one message of a channel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLimit {
    pub most: usize,
    pub unit: TextUnit,
}

/// In what a channel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextUnit {
    /// UTF-16 units, as most messengers count.
    Utf16,
    /// Bytes of UTF-8.
    Bytes,
}

impl TextLimit {
    /// At most so many units of UTF-16.
    pub const fn utf16(most: usize) -> Self {
        Self { most, unit: TextUnit::Utf16 }
    }

    /// At most so many bytes of UTF-8.
    pub const fn bytes(most: usize) -> Self {
        Self { most, unit: TextUnit::Bytes }
    }

    /// The length of a text in the unit of the limit.
    pub fn length(self, text: &str) -> usize {
        text.chars().map(|c| self.of(c)).sum()
    }

    fn of(self, c: char) -> usize {
        match self.unit {
            TextUnit::Utf16 => c.len_utf16(),
            TextUnit::Bytes => c.len_utf8(),
        }
    }

    /// The longest beginning of a text that fits, and the rest.
    fn beginning(self, text: &str) -> (&str, &str) {
        let (mut taken, mut end) = (0, text.len());
        for (index, c) in text.char_indices() {
            taken += self.of(c);
            if taken > self.most {
                end = index;
                break;
            }
        }
        text.split_at_checked(end).unwrap_or((text, ""))
    }

    /// Parts that fit, each with room for `reserved` units more. A text is split at the end of a line, else of a sentence,
    /// else between words. No word is lost.
    pub fn split(self, text: &str, reserved: usize) -> Vec<String> {
        let room = Self { most: self.most.saturating_sub(reserved).max(4), ..self };
        let (mut parts, mut rest) = (Vec::new(), text);
        while room.length(rest) > room.most {
            let (fits, _) = room.beginning(rest);
            if breakage::is_on("long-texts-are-cut") {
                return vec![fits.to_owned()];
            }
            let (part, left) = rest.split_at_checked(place(fits)).unwrap_or((fits, ""));
            parts.push(part.trim_end().to_owned());
            rest = left.trim_start();
        }
        parts.push(rest.to_owned());
        parts.retain(|part| !part.is_empty() || text.is_empty());
        parts
    }

    /// The text, or its beginning with a mark that something is missing.
    pub fn shortened(self, text: &str) -> String {
        if self.length(text) <= self.most {
            return text.to_owned();
        }
        let mark = self.of('…');
        let (fits, _) = Self { most: self.most.saturating_sub(mark), ..self }.beginning(text);
        format!("{}…", fits.trim_end())
    }
}

/// Where a text that is too long is split: not in its first quarter, unless nothing else is left.
fn place(fits: &str) -> usize {
    let least = fits.len() / 4;
    let after = |marks: &[&str]| {
        let ends = marks.iter().filter_map(|mark| Some(fits.rfind(mark)? + mark.len()));
        ends.filter(|end| *end > least).max()
    };
    let words = || fits.char_indices().rev().find(|(_, c)| c.is_whitespace()).map(|(index, c)| index + c.len_utf8());
    after(&["\n"])
        .or_else(|| after(&[". ", "! ", "? ", "… "]))
        .or_else(words)
        .filter(|end| *end > 0)
        .unwrap_or(fits.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    #[test]
    fn a_long_text_is_split_at_ends_of_lines_and_sentences_and_loses_no_word() {
        let limit = TextLimit::utf16(40);
        let text = "Первая строка.\nВторая строка, она длиннее первой.\nТретья. Четвёртая и последняя строка ответа";
        let parts = limit.split(text, 0);
        assert_eq!(parts.first().map(String::as_str), Some("Первая строка."));
        assert!(parts.iter().all(|part| limit.length(part) <= 40), "{parts:?}");
        assert_eq!(words(&parts.join(" ")), words(text));
        assert_eq!(limit.split("коротко", 0), ["коротко"]);
        let unbroken = "я".repeat(100);
        assert_eq!(TextLimit::bytes(60).split(&unbroken, 0).concat(), unbroken);
        assert!(TextLimit::utf16(40).split(text, 20).iter().all(|part| limit.length(part) <= 20));
        assert_eq!(TextLimit::utf16(5).split("да😀😀", 0).concat(), "да😀😀");
    }

    #[test]
    fn a_label_that_is_too_long_says_so() {
        let limit = TextLimit::utf16(20);
        assert_eq!(limit.shortened("Купить билет"), "Купить билет");
        assert_eq!(limit.shortened("2. Как добраться до театра"), "2. Как добраться до…");
    }
}
