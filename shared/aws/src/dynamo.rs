//! A thin layer over DynamoDB: items as maps, and errors that say whether a retry may help.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    types::{AttributeValue, KeysAndAttributes},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use stagedoor_model::breakage;
use stagedoor_ports::{PortError, Result};

/// An item: attributes by name.
pub type Item = HashMap<String, AttributeValue>;

/// A text as an attribute.
pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number as an attribute.
pub fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The text in this attribute.
pub fn text_of<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// The number in this attribute; `None` also if it is negative or fractional.
pub fn number_of(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// An item with these attributes.
pub fn item<const N: usize>(pairs: [(&str, AttributeValue); N]) -> Item {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The error of a call. The place of the failure says whether a retry may help.
pub fn failed<E: std::error::Error + 'static>(call: &str, error: SdkError<E>) -> PortError {
    let (again, cause) = match &error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            let cause = context.err().to_string();
            let throttled = ["Throttling", "ProvisionedThroughput", "RequestLimit", "LimitExceeded"];
            (status >= 500 || throttled.iter().any(|name| cause.contains(name)), cause)
        }
        SdkError::ConstructionFailure(_) => (false, "the request cannot be built".to_owned()),
        _ => (true, "no answer".to_owned()),
    };
    let text = format!("DynamoDB {call}: {cause}");
    if again { PortError::Retry(text) } else { PortError::Fail(text) }
}

/// True if a conditional write was made. A condition that did not hold is an answer, not a failure.
pub fn held<T, E: std::error::Error + 'static>(
    call: &str,
    answer: std::result::Result<T, SdkError<E>>,
    is_refused: fn(&E) -> bool,
) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(is_refused) => Ok(false),
        Err(error) => Err(failed(call, error)),
    }
}

/// The number of calls under way at once.
pub const CONCURRENCY: usize = 16;

/// Runs the calls, at most [`CONCURRENCY`] at once. Results are in the order of the calls.
///
/// # Errors
/// The first error; calls under way are abandoned.
pub async fn in_parallel<T>(calls: impl IntoIterator<Item = impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    let hands = if breakage::is_on("chunks-in-turn") { 1 } else { CONCURRENCY };
    stream::iter(calls).buffered(hands).try_collect().await
}

/// Reads any number of keys with consistent BatchGetItem calls. Missing keys are left out. `only`: the attributes to
/// read; all without it.
pub async fn get_all(client: &Client, table: &str, keys: Vec<Item>, only: Option<&str>) -> Result<Vec<Item>> {
    let calls: Vec<_> = keys.chunks(100).map(|chunk| get_chunk(client, table, chunk.to_vec(), only)).collect();
    Ok(in_parallel(calls).await?.into_iter().flatten().collect())
}

async fn get_chunk(client: &Client, table: &str, mut wanted: Vec<Item>, only: Option<&str>) -> Result<Vec<Item>> {
    let mut found = Vec::new();
    for _ in 0..8 {
        let keys = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true);
        let keys = keys.set_projection_expression(only.map(str::to_owned)).build();
        let keys = keys.map_err(|error| PortError::Fail(error.to_string()))?;
        let answer = client.batch_get_item().request_items(table, keys).send().await;
        let answer = answer.map_err(|error| failed("BatchGetItem", error))?;
        found.extend(answer.responses.unwrap_or_default().into_values().flatten());
        let left = answer.unprocessed_keys.unwrap_or_default().remove(table);
        wanted = left.map(|keys| keys.keys).unwrap_or_default();
        if wanted.is_empty() {
            return Ok(found);
        }
    }
    Err(PortError::Retry("DynamoDB BatchGetItem: it did not answer for all keys".into()))
}
