//! Documents as DynamoDB stores them: deflated JSON, because a write unit is one kilobyte.

use std::io::{Read, Write};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use stagedoor_ports::{Document, PortError, Result, from_stored, to_stored};

use crate::dynamo::Item;

/// A document as an attribute.
pub(crate) fn packed<T: Document>(value: &T) -> Result<AttributeValue> {
    packed_bytes(value).map(|bytes| AttributeValue::B(Blob::new(bytes)))
}

pub(super) fn packed_bytes<T: Document>(value: &T) -> Result<Vec<u8>> {
    let json = to_stored(value).map_err(|error| PortError::Fail(error.to_string()))?;
    deflated(json.as_bytes())
}

/// The largest document in bytes of JSON, the same as for a database file. Each event reads and writes all of it.
const PLAIN: usize = 16 << 20;
/// The largest document in deflated bytes. A write takes one unit a kilobyte, and one key allows 1,000 units a second.
/// So this size takes eight seconds.
const DEFLATED: usize = 8 << 20;

fn deflated(json: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(json).and_then(|()| encoder.finish());
    packed.map_err(|error| PortError::Fail(error.to_string()))
}

pub(crate) fn unpacked<T: Document>(item: &Item, name: &str) -> Result<T> {
    let broken = |reason: String| PortError::Fail(format!("a stored {name} cannot be read: {reason}"));
    let bytes = item.get(name).and_then(|value| value.as_b().ok()).map(|blob| blob.as_ref()).unwrap_or_default();
    let mut json = String::new();
    DeflateDecoder::new(bytes).read_to_string(&mut json).map_err(|error| broken(error.to_string()))?;
    from_stored(&json).map_err(broken)
}

/// True if a document with this JSON may be stored. Its parts are separate items (`parts`).
pub(super) fn has_room(json: &[u8]) -> bool {
    json.len() <= DEFLATED || json.len() <= PLAIN && deflated(json).is_ok_and(|packed| packed.len() <= DEFLATED)
}
