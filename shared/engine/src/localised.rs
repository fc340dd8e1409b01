use std::collections::BTreeMap;

use stagedoor_texts::Text;

/// A text by language (BCP 47 primary subtag).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Localised(pub BTreeMap<String, String>);

impl Localised {
    /// Returns the text in this language, else in Russian, else the first text that exists.
    pub fn pick(&self, language: Option<&str>) -> &str {
        let primary = language.map(|tag| tag.split(['-', '_']).next().unwrap_or(tag).to_ascii_lowercase());
        let own = primary.and_then(|tag| self.0.get(&tag));
        own.or_else(|| self.0.get("ru")).or_else(|| self.0.values().next()).map_or("", String::as_str)
    }

    /// True if it has no text in any language.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&Text> for Localised {
    fn from(text: &Text) -> Self {
        Self(text.to_all().map(|(language, text)| (language.tag().to_owned(), text)).into())
    }
}
