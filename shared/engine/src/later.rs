//! Data that a later version stored and this version does not know. The data are kept beside the document and written
//! back with it.

use serde_json::{Map, Value};
use stagedoor_model::RecordKey;

/// The field of a person that holds their records.
const RECORDS: &str = "records";

/// One step of the path to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// A field of an object, by name.
    Field(String),
    /// An item of a list, as it was stored. It is not an index, because the item may move when the list is written
    /// again.
    Item(Value),
}

/// Unknown values, each with its path in a stored document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Later(pub(crate) Vec<(Vec<PathStep>, Value)>);

impl Later {
    /// True if nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the value at one path.
    pub fn keep(&mut self, path: Vec<PathStep>, value: Value) {
        self.0.push((path, value));
    }

    /// Joins the values kept from two documents that become one.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        let fresh: Vec<_> = other.0.into_iter().filter(|one| !self.0.contains(one)).collect();
        self.0.extend(fresh);
        self
    }

    /// Writes all values back. A value of a fact that is gone is dropped. No value that this version wrote is replaced.
    pub fn put_into(&self, document: &mut Value) {
        for (path, value) in &self.0 {
            let Some((PathStep::Field(last), way)) = path.split_last() else { continue };
            let place = way.iter().try_fold(&mut *document, follow).and_then(Value::as_object_mut);
            if let Some(place) = place {
                place.entry(last.clone()).or_insert_with(|| value.clone());
            }
        }
    }

    /// Returns a value that a reader passed over, with its path. `names` are names of fields and indexes of list items.
    pub fn found(document: &Value, names: &[String]) -> Option<(Vec<PathStep>, Value)> {
        let Some((name, rest)) = names.split_first() else { return Some((Vec::new(), document.clone())) };
        let by = |step: PathStep, (way, value): (Vec<PathStep>, Value)| {
            (std::iter::once(step).chain(way).collect::<Vec<_>>(), value)
        };
        match document {
            Value::Array(items) => {
                let item = items.get(name.parse::<usize>().ok()?)?;
                Some(by(PathStep::Item(item.clone()), Self::found(item, rest)?))
            }
            Value::Object(fields) => {
                let named = fields.get(name).and_then(|next| Self::found(next, rest));
                if let Some(found) = named {
                    return Some(by(PathStep::Field(name.clone()), found));
                }
                // A kind is stored as the only field of an object. Readers do not report its name.
                let (kind, inner) = only(fields)?;
                Some(by(PathStep::Field(kind.clone()), Self::found(inner, names)?))
            }
            _ => None,
        }
    }
}

/// Returns the key of the record that a path leads into.
pub(crate) fn fact_of(path: &[PathStep]) -> Option<RecordKey> {
    match path {
        [PathStep::Field(first), PathStep::Field(key), ..] if first == RECORDS => Some(RecordKey(key.clone())),
        _ => None,
    }
}

fn only(fields: &Map<String, Value>) -> Option<(&String, &Value)> {
    fields.iter().next().filter(|_| fields.len() == 1)
}

fn follow<'v>(place: &'v mut Value, step: &PathStep) -> Option<&'v mut Value> {
    match step {
        PathStep::Field(name) => place.get_mut(name),
        PathStep::Item(was) => place.as_array_mut()?.iter_mut().find(|item| is_part(item, was)),
    }
}

/// True if this is the stored value without the parts that this version does not know.
fn is_part(known: &Value, stored: &Value) -> bool {
    match (known, stored) {
        (Value::Object(known), Value::Object(stored)) => {
            known.iter().all(|(name, value)| stored.get(name).is_some_and(|other| is_part(value, other)))
        }
        (Value::Array(known), Value::Array(stored)) => {
            known.len() == stored.len() && known.iter().zip(stored).all(|(one, other)| is_part(one, other))
        }
        _ => known == stored,
    }
}
