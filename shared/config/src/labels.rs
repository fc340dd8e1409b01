//! Lengths of button labels. A label that a messenger would cut is an error in the config.

use stagedoor_engine::Localised;
use stagedoor_model::{Messenger, TextLimit, breakage};
use toml::de::DeTable;

use crate::reader::table;

/// Maximum length of a menu line in characters.
pub(crate) const MENU_LINE: usize = 100;

/// The messenger of this config with the shortest labels, and its maximum in characters.
pub(crate) struct Shortest {
    source: String,
    most: usize,
}

impl Shortest {
    /// Reads sources as they are written. A missing secret is reported elsewhere.
    pub(crate) fn of(root: &DeTable<'_>) -> Option<Self> {
        let sources = table(root, "source").into_iter().filter_map(|(source, value)| {
            let text = |key: &str| Some(value.get_ref().get(key)?.get_ref().as_str()?.to_owned());
            let provider = text("provider").filter(|_| text("function").as_deref() == Some("messaging"))?;
            let most = Messenger::named(&provider)?.info().label?;
            Some(Self { source, most })
        });
        sources.min_by_key(|one| one.most)
    }

    /// The error of a label, if it is too long.
    pub(crate) fn config_error(&self, label: &Localised) -> Option<String> {
        let length = |text: &String| TextLimit::utf16(self.most).length(text);
        let long =
            label.0.values().find(|text| length(text) > self.most && !breakage::is_on("long-labels-are-fine"))?;
        let Self { source, most } = self;
        Some(format!("{long:?} has {} characters; a button of [source.{source}] shows {most}", length(long)))
    }
}

/// The error of a menu title, if it is too long.
pub(crate) fn menu_mistake(title: &Localised) -> Option<String> {
    let length = |text: &String| TextLimit::utf16(MENU_LINE).length(text);
    let long = title.0.values().find(|text| length(text) > MENU_LINE)?;
    Some(format!("{long:?} has {} characters; a line of the menu has at most {MENU_LINE}", length(long)))
}
