//! The fields of a form that have no meaning of their own here: comments, answers, campaign marks. They are what a visitor wrote,
//! so a text is kept whole as far as there is room, and what is left out is named.

use std::collections::BTreeMap;

use serde_json::Value;
use stagedoor_model::breakage;

/// Fields of one form. The rest is named.
const MOST: usize = 100;
/// Characters of one field.
const TEXT: usize = 10_000;
/// Characters of a field's name.
const NAME: usize = 200;
/// Objects within objects whose fields are fields of the form. What lies deeper is kept as text.
const DEEPEST: usize = 4;
/// Characters of a name that a reason says.
const SAID: usize = 40;

/// Gathers the labels of one form.
#[derive(Debug)]
pub struct Labels {
    fields: Vec<(String, String)>,
    lost: Vec<String>,
    /// Bytes of all names and texts.
    room: usize,
}

impl Labels {
    /// For a source that proves who it is.
    pub fn signed() -> Self {
        Self { fields: vec![], lost: vec![], room: 60_000 }
    }

    /// For a page's form: anybody can send one, and fifty of one person are kept.
    pub fn anonymous() -> Self {
        let room = if breakage::is_on("anonymous-labels-unbounded") { usize::MAX } else { 3_000 };
        Self { room, ..Self::signed() }
    }

    /// Adds a field. The fields of an object get names such as `address.city`; the texts of a list stand together.
    pub fn add(&mut self, name: &str, value: &Value) {
        if breakage::is_on("longer-words-vanish") {
            let text = crate::form::plain(value).filter(|text| !value.is_array() && text.len() <= 500);
            return self.fields.extend(text.map(|text| (name.to_owned(), text)));
        }
        self.add_at(name, value, 0);
    }

    fn add_at(&mut self, name: &str, value: &Value, depth: usize) {
        match value {
            Value::Object(fields) if depth < DEEPEST && !is_list(value) => {
                for (key, value) in fields {
                    self.add_at(&cut(&format!("{name}.{key}"), NAME), value, depth + 1);
                }
            }
            _ => {
                let Some(text) = words(value) else { return };
                if self.fields.len() == MOST {
                    return self.lose(name);
                }
                let (name, whole) = (cut(name, NAME), text.chars().nth(TEXT).is_none());
                if !whole {
                    self.lose(&name);
                }
                match self.fields.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) if *known == text => {}
                    Some((_, known)) => *known = cut(&format!("{known}, {text}"), TEXT),
                    None => self.fields.push((name, cut(&text, TEXT))),
                }
            }
        }
    }

    fn lose(&mut self, name: &str) {
        self.lost.push(format!("{} (too long or too many)", said(name)));
    }

    /// The labels, and what is left out. Where the room is too small, long texts give way and short ones stay.
    pub fn fit(mut self) -> (BTreeMap<String, String>, Vec<String>) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.sort_by_key(|(name, text)| name.len() + text.len());
        let (mut kept, count) = (BTreeMap::new(), fields.len());
        for (index, (name, text)) in fields.into_iter().enumerate() {
            let share = self.room / (count - index);
            let fits = name.len() + text.len() <= share;
            let text = if fits { text } else { cut_bytes(&text, share.saturating_sub(name.len())) };
            if !fits {
                self.lose(&name);
            }
            if !text.is_empty() {
                self.room -= name.len() + text.len();
                kept.insert(name, text);
            }
        }
        (kept, self.lost)
    }
}

/// What stands behind a text that goes on.
const MORE: &str = "…";

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(MORE.chars()).collect(),
    }
}

/// Cuts a longer text to so many bytes; to nothing if not even a letter fits.
fn cut_bytes(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most.saturating_sub(MORE.len()));
    if end == 0 { String::new() } else { text.get(..end).unwrap_or_default().to_owned() + MORE }
}

/// A field's name as a reason says it. The name is a visitor's where anybody can send the form: an address or a number in it is
/// nobody's to log.
fn said(name: &str) -> String {
    let is_number = name.chars().filter(char::is_ascii_digit).count() > 4;
    if is_number || name.contains('@') {
        return "a field".to_owned();
    }
    cut(&name.chars().filter(|letter| !letter.is_control()).collect::<String>(), SAID)
}

/// `topics[0]=a` comes as an object.
fn is_list(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| fields.keys().all(|key| key.parse::<usize>().is_ok()))
}

/// All that a value says, as a person reads it.
fn words(value: &Value) -> Option<String> {
    let together = |all: Vec<String>| Some(all.join(", ")).filter(|text| !text.is_empty());
    match value {
        Value::Null => None,
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Array(items) => together(items.iter().filter_map(words).collect()),
        Value::Object(fields) if is_list(value) => {
            // The keys are places: `10` comes after `9`.
            let mut items: Vec<_> = fields.iter().collect();
            items.sort_by_key(|(place, _)| (place.len(), *place));
            together(items.into_iter().filter_map(|(_, item)| words(item)).collect())
        }
        Value::Object(fields) => {
            together(fields.iter().filter_map(|(key, item)| Some(format!("{key}: {}", words(item)?))).collect())
        }
    }
}
