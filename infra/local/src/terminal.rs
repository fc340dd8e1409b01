//! The output of commands. Names that people chose cannot move the cursor, and a closed pipe causes no panic.

use std::{fmt::Write as _, io::Write as _};

use serde::Serialize;
use stagedoor_model::breakage;

/// The text with control characters, line breaks and changes of direction written out, such as `\u{1b}`.
pub fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(c) && !breakage::is_on("terminal-raw") {
            true => _ = write!(plain, "\\u{{{:x}}}", u32::from(c)),
            false => plain.push(c),
        }
    }
    plain
}

/// True for controls, and for characters that change the direction of a text or end its line.
fn is_hidden(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// JSON with the same characters as JSON escapes: `\u200e`.
pub fn escaped_json(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(c) && c != '\n' {
            true => _ = write!(plain, "\\u{:04x}", u32::from(c)),
            false => plain.push(c),
        }
    }
    plain
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) {
    raw(&(escaped_json(&serde_json::to_string_pretty(value).unwrap_or_default()) + "\n"));
}

/// Prints one line. The text cannot begin another line.
pub fn line(text: impl AsRef<str>) {
    raw(&(escaped(text.as_ref()) + "\n"));
}

/// As [`escaped`], for a text of several lines, which stay lines.
pub fn escaped_lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

/// Prints a text of several lines.
pub fn block(text: impl AsRef<str>) {
    raw(&escaped_lines(text.as_ref()));
}

/// Prints the hub's own text as it is. A closed pipe is no error.
pub fn raw(text: &str) {
    let mut out = std::io::stdout().lock();
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Ends the process silently when `println!` meets a closed pipe, as sample tours use it.
pub fn end_on_closed_pipe() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|text| text.starts_with("failed printing to stdout")) {
            std::process::exit(0);
        }
        before(panic);
    }));
}
