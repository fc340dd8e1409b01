//! Values that are stored as JSON documents. People and CRM states are written many times, also by an earlier version
//! than the last writer. That version keeps fields that it does not know. It does not read a person with a fact of an
//! unknown kind: without the fact they would be another person.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Result, Value};
use stagedoor_engine::{CrmState, Later, Person};
use stagedoor_model::{Event, EventId, breakage};

use crate::JournalRow;

/// A value that is stored as a JSON document.
pub trait Document: Sized {
    /// Reads the JSON.
    ///
    /// # Errors
    /// When the text is no valid JSON, or a value is unknown to this version.
    fn parse(text: &str) -> Result<Self>;

    /// Writes the JSON.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    fn text(&self) -> Result<String>;
}

/// Documents that are written once, and values that only this version writes as a whole.
macro_rules! written_once {
    ($($kind:ty),*) => {$(
        impl Document for $kind {
            fn parse(text: &str) -> Result<Self> {
                serde_json::from_str(text)
            }

            fn text(&self) -> Result<String> {
                serde_json::to_string(self)
            }
        }
    )*};
}

written_once!(Event, JournalRow, Vec<EventId>);

impl Document for Person {
    fn parse(text: &str) -> Result<Self> {
        with_later(text, |person: &mut Self| &mut person.later)
    }

    fn text(&self) -> Result<String> {
        text_of(self, &self.later)
    }
}

impl Document for CrmState {
    fn parse(text: &str) -> Result<Self> {
        with_later(text, |link: &mut Self| &mut link.later)
    }

    fn text(&self) -> Result<String> {
        text_of(self, &self.later)
    }
}

fn text_of<T: Serialize>(value: &T, later: &Later) -> Result<String> {
    if later.is_empty() || breakage::is_on("later-fields-lost") {
        return serde_json::to_string(value);
    }
    let mut document = serde_json::to_value(value)?;
    later.put_into(&mut document);
    serde_json::to_string(&document)
}

/// Reads a document and keeps the fields that this version does not know.
fn with_later<T: DeserializeOwned>(text: &str, later: fn(&mut T) -> &mut Later) -> Result<T> {
    let mut unknown = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut value: T = serde_ignored::deserialize(&mut reader, |path| unknown.push(names(&path)))?;
    reader.end()?;
    // Each write adds the number of the format again.
    unknown.retain(|names| names.first().is_some_and(|name| names.len() > 1 || name != "format"));
    if !unknown.is_empty() {
        let document: Value = serde_json::from_str(text)?;
        let later = later(&mut value);
        for (path, value) in unknown.iter().filter_map(|names| Later::found(&document, names)) {
            later.keep(path, value);
        }
    }
    Ok(value)
}

fn names(path: &serde_ignored::Path<'_>) -> Vec<String> {
    use serde_ignored::Path;
    let (parent, name) = match path {
        Path::Root => return Vec::new(),
        Path::Seq { parent, index } => (*parent, Some(index.to_string())),
        Path::Map { parent, key } => (*parent, Some(key.clone())),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => (*parent, None),
    };
    let mut names = names(parent);
    names.extend(name);
    names
}
