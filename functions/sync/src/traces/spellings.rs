//! What a body or a text says once its charset, its escapes and its percent signs are decoded.

use std::collections::BTreeSet;

use serde_json::Value;
use stagedoor_model::breakage;

/// How often a text is decoded, and how deep JSON may stand within the values of JSON.
const DEPTH: usize = 2;

/// A body as text, in UTF-8, in windows-1251 and in both byte orders of UTF-16. E-mails and phones have the same bytes
/// in every eight-bit charset as in UTF-8, but a domain may have Russian letters.
pub(super) fn readings(body: &[u8]) -> Vec<String> {
    let mut all = vec![String::from_utf8_lossy(body).into_owned()];
    if breakage::is_on("erased-by-plain-text") {
        return all;
    }
    if std::str::from_utf8(body).is_err() {
        all.push(body.iter().map(|byte| letter(*byte)).collect());
    }
    if body.contains(&0) {
        let pairs = |start: usize, of: fn([u8; 2]) -> u16| -> String {
            let (pairs, _) = body.get(start..).unwrap_or_default().as_chunks();
            String::from_utf16_lossy(&pairs.iter().map(|pair| of(*pair)).collect::<Vec<_>>())
        };
        all.extend(
            [0, 1].into_iter().flat_map(|start| [pairs(start, u16::from_le_bytes), pairs(start, u16::from_be_bytes)]),
        );
    }
    all
}

/// The character of windows-1251, as far as addresses need it.
fn letter(byte: u8) -> char {
    match byte {
        0..0x80 => char::from(byte),
        0xc0.. => char::from_u32(0x350 + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER),
        0xa8 => '\u{401}',
        0xb8 => '\u{451}',
        0x96 | 0x97 => '-',
        0xa0 => ' ',
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// The text, and what it reads as once its percent signs and escapes are decoded. A plus stays a plus, because it is a
/// part of `anna+tour@example.com`.
pub(super) fn decoded(text: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::from([text.to_owned()]);
    let mut latest = vec![text.to_owned()];
    for _ in 0..DEPTH {
        let both = latest.iter().flat_map(|text| [unescaped(text), without_percents(text)]).flatten();
        latest = both.filter(|text| all.insert(text.clone())).collect();
    }
    all
}

/// The text with the characters that its percent signs stand for. `None` if it has none.
fn without_percents(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let text = text.replace('+', "%2B");
    let parts = url::form_urlencoded::parse(text.as_bytes());
    Some(parts.flat_map(|(name, value)| [name, "\n".into(), value, "\n".into()]).collect())
}

/// The text with the characters that its JSON escapes stand for. `None` if it has none.
fn unescaped(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return None;
    }
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('u') => {
                let digits: String = letters.clone().take(4).collect();
                match u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4).and_then(char::from_u32) {
                    Some(letter) => {
                        plain.push(letter);
                        _ = letters.nth(3);
                    }
                    None => plain.push_str("\\u"),
                }
            }
            Some('n' | 'r' | 't' | 'b' | 'f') => plain.push(' '),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    Some(plain)
}

/// One value of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// The names that lead to the value. Empty for a name itself.
    pub path: Vec<String>,
    pub text: String,
    /// False for a number of JSON.
    pub is_text: bool,
}

/// The values and the names of a body that is JSON or a form. Empty for a body that is neither.
pub(super) fn leaves(body: &str) -> Vec<Leaf> {
    let body = body.trim_start_matches('\u{feff}');
    let mut all = Vec::new();
    match serde_json::from_str::<Value>(body) {
        Ok(value) => leaves_of(&value, &mut Vec::new(), DEPTH, &mut all),
        Err(_) if body.trim_start().starts_with(['{', '[', '"', '<']) => {}
        Err(_) => {
            for (name, value) in url::form_urlencoded::parse(body.as_bytes()) {
                let mut path: Vec<String> =
                    name.split(['[', ']']).filter(|part| !part.is_empty()).map(str::to_owned).collect();
                all.push(Leaf { path: vec![], text: name.into_owned(), is_text: true });
                text_leaves(&value, &mut path, DEPTH, &mut all);
            }
        }
    }
    all
}

/// The values and the names within a value of JSON.
pub(super) fn leaves_of(value: &Value, path: &mut Vec<String>, depth: usize, all: &mut Vec<Leaf>) {
    match value {
        Value::String(text) => text_leaves(text, path, depth, all),
        Value::Number(number) => all.push(Leaf { path: path.clone(), text: number.to_string(), is_text: false }),
        Value::Array(items) => items.iter().for_each(|item| leaves_of(item, path, depth, all)),
        Value::Object(fields) => {
            for (name, value) in fields {
                all.push(Leaf { path: vec![], text: name.clone(), is_text: true });
                path.push(name.clone());
                leaves_of(value, path, depth, all);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// A text, and what it holds where it is JSON itself.
fn text_leaves(text: &str, path: &mut Vec<String>, depth: usize, all: &mut Vec<Leaf>) {
    all.push(Leaf { path: path.clone(), text: text.to_owned(), is_text: true });
    if depth > 0
        && text.trim_start().starts_with(['{', '['])
        && let Ok(inner) = serde_json::from_str::<Value>(text)
    {
        leaves_of(&inner, path, depth - 1, all);
    }
}
