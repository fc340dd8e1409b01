//! What is stored as a document. People and what is known of the CRM are written again and again, also by an earlier version
//! than the one that wrote them last: fields that it does not know are kept. Somebody with a fact of a kind that it does not
//! know is not read at all: without the fact they would be another person.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Result, Value};
use stagedoor_engine::{CrmState, Later, Person};
use stagedoor_model::{Event, EventId, breakage};

use crate::JournalRow;

/// A kind of document.
pub trait Document: Sized {
    /// Reads its JSON.
    ///
    /// # Errors
    /// As JSON has them, and where a value is none that this version knows.
    fn parse(text: &str) -> Result<Self>;

    /// Its JSON.
    ///
    /// # Errors
    /// When the value has no JSON.
    fn text(&self) -> Result<String>;
}

/// Documents that are written once, and wholes that only this version writes.
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

/// Reads a document with the fields that this version does not know.
fn with_later<T: DeserializeOwned>(text: &str, later: fn(&mut T) -> &mut Later) -> Result<T> {
    let mut unknown = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut value: T = serde_ignored::deserialize(&mut reader, |path| unknown.push(names(&path)))?;
    reader.end()?;
    // The number of the format is written anew.
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
