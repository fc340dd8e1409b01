//! Form fields without a special meaning: comments, answers, campaign marks. A visitor wrote them, so texts are kept
//! whole while there is room, and omitted ones are named.

use std::collections::BTreeMap;

use serde_json::Value;
use stagedoor_model::breakage;

/// Maximum number of fields in one form. The others are named.
const MOST: usize = 100;
/// Maximum length of one field in characters.
const TEXT: usize = 10_000;
/// Maximum length of a field's name in characters.
const NAME: usize = 200;
/// Depth of nested objects whose fields count as fields of the form. Deeper ones are kept as text.
const DEEPEST: usize = 4;
/// Maximum length of a field's name in a reason, in characters.
const SAID: usize = 40;

/// Collects the labels of one form.
#[derive(Debug)]
pub struct Labels {
    fields: Vec<(String, String)>,
    lost: Vec<String>,
    /// Maximum size of all names and texts in bytes.
    room: usize,
}

impl Labels {
    /// For a source that proves its identity.
    pub fn signed() -> Self {
        Self { fields: vec![], lost: vec![], room: 60_000 }
    }

    /// For a page's form. Anybody can send one, and fifty forms of one person are kept.
    pub fn anonymous() -> Self {
        let room = if breakage::is_on("anonymous-labels-unbounded") { usize::MAX } else { 3_000 };
        Self { room, ..Self::signed() }
    }

    /// Adds a field. The fields of an object get names such as `address.city`. The texts of a list are joined.
    pub fn add(&mut self, name: &str, value: &Value) {
        if breakage::is_on("longer-words-vanish") {
            let text = crate::plain::plain(value).filter(|text| !value.is_array() && text.len() <= 500);
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

    /// The labels, and the names of omitted fields. If there is too little room, long texts are cut and short ones
    /// stay.
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

/// The mark at the end of a text that was cut.
const MORE: &str = "…";

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(MORE.chars()).collect(),
    }
}

/// Cuts a text to at most this number of bytes. The result is empty if not even one letter fits.
fn cut_bytes(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most.saturating_sub(MORE.len()));
    if end == 0 { String::new() } else { text.get(..end).unwrap_or_default().to_owned() + MORE }
}

/// A field's name for a reason. Anybody may have sent the form, so a name may hold an e-mail address or a number, which
/// must not be logged.
fn said(name: &str) -> String {
    let is_number = name.chars().filter(char::is_ascii_digit).count() > 4;
    if is_number || name.contains('@') {
        return "a field".to_owned();
    }
    cut(&name.chars().filter(|letter| !letter.is_control()).collect::<String>(), SAID)
}

/// True for an object whose keys are numbers, because `topics[0]=a` arrives as an object.
fn is_list(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| fields.keys().all(|key| key.parse::<usize>().is_ok()))
}

/// The whole content of a value in a readable form.
fn words(value: &Value) -> Option<String> {
    let together = |all: Vec<String>| Some(all.join(", ")).filter(|text| !text.is_empty());
    match value {
        Value::Null => None,
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Array(items) => together(items.iter().filter_map(words).collect()),
        Value::Object(fields) if is_list(value) => {
            // The keys are places, so `10` comes after `9`.
            let mut items: Vec<_> = fields.iter().collect();
            items.sort_by_key(|(place, _)| (place.len(), *place));
            together(items.into_iter().filter_map(|(_, item)| words(item)).collect())
        }
        Value::Object(fields) => {
            together(fields.iter().filter_map(|(key, item)| Some(format!("{key}: {}", words(item)?))).collect())
        }
    }
}
