//! Buttons in the form of a messenger.

use stagedoor_model::{MessengerInfo, TextLimit};

/// A button's label, shortened with a mark if it exceeds the messenger's limit. `check-config` refuses such labels.
pub fn label(text: &str, messenger: &MessengerInfo) -> String {
    messenger.label.map_or_else(|| text.to_owned(), |most| TextLimit::utf16(most).shortened(text))
}

/// The text followed by an address. `outreach` has left room for it.
pub fn with_address(text: &str, between: char, url: &str) -> String {
    format!("{text}{between}{url}")
}
