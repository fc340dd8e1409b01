//! Finds the items of the menu that a message names.

use std::collections::BTreeSet;

use stagedoor_model::breakage;

use super::{On, SHOWN, State, folded};

impl State<'_, '_> {
    /// Returns the menu item whose own line was pressed: "2. Как доехать".
    pub(super) fn titled(&self, said: &str) -> Option<Vec<u8>> {
        let items = self.bot_script.replies.iter().filter_map(|reply| match &reply.on {
            On::Menu(number, title) => Some((*number, title)),
            _ => None,
        });
        // Some messengers show the beginning of a long line on its button, and send only that.
        let begins = |line: &str| {
            let shown = said.strip_suffix('…').unwrap_or(said).trim_end();
            shown.chars().count() >= SHOWN && line.starts_with(shown) && !breakage::is_on("cut-label-unknown")
        };
        let is_said = |number: u8, title: &str| {
            let title = folded(title);
            let line = format!("{number}. {title}");
            said == title || said == line || begins(&line) || begins(&title)
        };
        let pressed: BTreeSet<u8> = items
            .filter(|(number, title)| title.0.values().any(|title| is_said(*number, title)))
            .map(|(number, _)| number)
            .collect();
        (pressed.len() == 1).then(|| pressed.into_iter().collect())
    }

    /// Returns the items that "1 3", "13", "1,3" or "один" name, if all of them are in the menu.
    pub(super) fn menu(&self, said: &str) -> Option<Vec<u8>> {
        let mut items = Vec::new();
        for word in said.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            match WORDS.iter().find(|(known, _)| *known == word) {
                Some((_, number)) => items.push(*number),
                None if word.bytes().all(|b| b.is_ascii_digit()) => items.extend(word.bytes().map(|b| b - b'0')),
                None => return None,
            }
        }
        let known = |item: &u8| self.find(|on| matches!(on, On::Menu(n, _) if n == item)).is_some();
        let mut seen = BTreeSet::new();
        items.retain(|item| seen.insert(*item));
        (!items.is_empty() && items.len() <= 9 && items.iter().all(known)).then_some(items)
    }
}

const WORDS: [(&str, u8); 27] = [
    ("один", 1),
    ("два", 2),
    ("три", 3),
    ("четыре", 4),
    ("пять", 5),
    ("шесть", 6),
    ("семь", 7),
    ("восемь", 8),
    ("девять", 9),
    ("первый", 1),
    ("второй", 2),
    ("третий", 3),
    ("четвертый", 4),
    ("четвёртый", 4),
    ("пятый", 5),
    ("одна", 1),
    ("две", 2),
    ("раз", 1),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
];
