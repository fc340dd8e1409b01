//! What people call themselves: anybody may type anything into a form.

/// Characters of a name that a message may hold.
const IN_MESSAGES: usize = 60;
/// Digits that make a phone, a card or an account of a name.
const DIGITS: usize = 7;
/// Characters of a name that a CRM gets.
const IN_CRM: usize = 120;

/// A name for a row of the CRM: in one line, without what is no text and without links. `None` if no letter or digit is left.
pub fn clean_name(told: &str) -> Option<String> {
    let visible: String = told.chars().filter_map(visible).collect();
    let words: Vec<&str> = visible.split_whitespace().filter(|word| !is_link(word)).collect();
    let name: String = words.join(" ").chars().take(IN_CRM).collect();
    name.chars().any(char::is_alphanumeric).then(|| name.trim_end().to_owned())
}

/// A name for a letter or a text. `None` for one that is too long for a name, or holds a link, a number such as a
/// phone's, a line break, or characters that nobody sees: a stranger's words would otherwise be sent in the organiser's name.
pub fn name_for_messages(told: &str) -> Option<&str> {
    let told = told.trim();
    if crate::breakage::is_on("names-unchecked") {
        return Some(told).filter(|name| !name.is_empty());
    }
    let is_plain = told.chars().all(|c| visible(c) == Some(c)) && !told.contains(is_break);
    let old = crate::breakage::is_on("short-links-in-names");
    let holds_link = told.split_whitespace().any(|word| is_link(word) || (is_short_link(word) && !old));
    let is_number = told.chars().filter(|c| c.is_numeric()).count() >= DIGITS && !old;
    let fits = told.chars().count() <= IN_MESSAGES && told.chars().any(char::is_alphanumeric);
    (is_plain && fits && !holds_link && !is_number).then_some(told)
}

/// A character as it may stand in a name: breaks become spaces, and what is no text is left out.
fn visible(c: char) -> Option<char> {
    match c {
        c if is_break(c) => Some(' '),
        c if c.is_control() => None,
        // Directions, joiners and other marks of format, and letters without a shape.
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => None,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => None,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => None,
        c => Some(c),
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What a mail program or a messenger makes a link of.
fn is_link(word: &str) -> bool {
    let word = with_dots(&word.to_lowercase());
    let marks = ["://", "www.", "@", "＠", "﹫", "mailto:", "tel:"];
    marks.iter().any(|mark| word.contains(mark)) || hosts(&word).any(is_domain)
}

/// Dots of other scripts and widths, which browsers read as dots.
fn with_dots(word: &str) -> String {
    word.replace(['\u{3002}', '\u{ff61}', '\u{ff0e}', '\u{2024}', '\u{fe52}'], ".")
}

/// The parts of a word that may be the name of a host.
fn hosts(word: &str) -> impl Iterator<Item = &str> {
    word.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '.')).map(|part| part.trim_matches(['.', '-']))
}

/// A link whose name has one letter: `t.me/x`, `x.com`, `я.рф`. Initials look like it ("А.П.Чехов", "J.Smith").
fn is_short_link(word: &str) -> bool {
    let word = with_dots(word);
    hosts(&word).any(|host| {
        let Some((name, end)) = host.rsplit_once('.') else { return false };
        let label = name.rsplit('.').next().unwrap_or_default();
        if label.chars().count() != 1 || end.chars().count() < 2 || !end.chars().all(char::is_alphabetic) {
            return false;
        }
        if !end.is_ascii() {
            return ENDS.contains(&end.to_lowercase().as_str()) || word.contains('/');
        }
        let is_surname = label.chars().all(char::is_uppercase)
            && end.chars().next().is_some_and(char::is_uppercase)
            && end.chars().skip(1).all(char::is_lowercase)
            && end.len() >= 4;
        !is_surname || word.contains('/')
    })
}

/// Top-level domains in Cyrillic letters.
const ENDS: [&str; 15] =
    ["рф", "рус", "москва", "дети", "сайт", "онлайн", "орг", "ком", "бел", "укр", "срб", "мкд", "қаз", "бг", "ею"];

/// Letters, a dot and at least two small letters: `evil.example/x`, or an address in the network. Initials ("А.П.") are none.
fn is_domain(host: &str) -> bool {
    if host.parse::<std::net::Ipv4Addr>().is_ok() {
        return true;
    }
    let Some((name, end)) = host.rsplit_once('.') else { return false };
    let is_label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-');
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_end = end.starts_with("xn--") || (end.chars().count() >= 2 && end.chars().all(char::is_alphabetic));
    is_end && is_label(last) && last.chars().count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_name_is_left_out_of_messages() {
        for name in [
            "Анна",
            "Анна-Мария О'Нил",
            "А. П. Чехов",
            "А.П. Чехов",
            "李小龍",
            "Dr. Who",
            "Иванова М.Ю.",
            "А.П.Чехов",
            "J.Smith",
            "Иванова М.Ю., 5 А",
            "Елизавета 2",
        ] {
            assert_eq!(name_for_messages(name), Some(name), "{name}");
        }
        for name in [
            "Ваша карта заблокирована, подтвердите: https://evil.example/x",
            "зайдите на evil.example/x",
            "www.evil",
            "Бонус t.me/evilbot",
            "Бонус T.me",
            "x.com",
            "(t.me)",
            "я.рф",
            "evil.xn--p1ai/x",
            "xn--e1afmkfd.com",
            "Билет отменён 1.1.1.1/x",
            "evil。example",
            "evil․example/x",
            "evil．example",
            "Анна,evil.example:80/x",
            "@evilbot",
            "＠evilbot",
            "Звоните 8 495 123-45-67 возврат",
            "карта 4276 0000",
            "anna@example.com",
            "Анна\nBcc: x",
            "Анна\u{2028}Внимание",
            "Анна\u{202e}ретов",
            "Ан\u{200b}на",
            "\u{3164}",
            "\u{2800}\u{2800}",
            ".",
            "",
            "Внимание внимание внимание внимание внимание внимание внимание",
        ] {
            assert_eq!(name_for_messages(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_is_cleaned_for_the_crm() {
        for (told, name) in [
            ("  Анна\n  Петрова ", Some("Анна Петрова")),
            ("Анна https://evil.example/x", Some("Анна")),
            ("\u{202e}Анна\u{200b}", Some("Анна")),
            ("https://evil.example", None),
            ("\u{3164}\u{2060}", None),
            ("ООО Ромашка", Some("ООО Ромашка")),
        ] {
            assert_eq!(clean_name(told).as_deref(), name, "{told}");
        }
        assert_eq!(clean_name(&"а".repeat(500)).map(|name| name.chars().count()), Some(120));
    }
}
