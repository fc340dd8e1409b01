//! The language of a page, and the words that a link fills in.

use http::{HeaderMap, header};
use stagedoor_model::token::{FILLED_IN_ENGLISH, FILLED_IN_RUSSIAN};
use stagedoor_texts::Language;

/// The language that the page's own parameter asks for, or else the browser's preferred one. Else Russian.
pub fn of_request(asked: Option<&str>, headers: &HeaderMap) -> Language {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let known = |tag: &str| Language::ALL.into_iter().find(|language| language.tag() == tag);
    let preferred = accept_language::intersection(accepted, &["ru", "en"]);
    let base = || accepted.split(',').find_map(|tag| known(tag.trim().get(..2)?));
    asked
        .and_then(known)
        .or_else(|| preferred.iter().find_map(|tag| known(tag)))
        .or_else(base)
        .unwrap_or(Language::Russian)
}

/// The words that a link fills in as the person's first message.
pub fn filled_in(language: Language) -> &'static str {
    match language {
        Language::Russian => FILLED_IN_RUSSIAN,
        Language::English => FILLED_IN_ENGLISH,
    }
}
