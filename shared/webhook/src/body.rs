use std::io::Read;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use http::{HeaderMap, header};

use crate::Reject;

/// A delivery larger than this is refused: SQS takes a message of 1 MiB, and a kept body grows by a third in base64.
pub const MAX_BODY: usize = 700 * 1024;

/// Why a listener ends a body before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefused {
    #[error("the body did not come in time")]
    Slow,
    #[error("too many bodies are under way")]
    Busy,
}

fn reason(error: &axum::Error) -> Reject {
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        match one.downcast_ref::<BodyRefused>() {
            Some(BodyRefused::Slow) => return Reject::TooSlow,
            Some(BodyRefused::Busy) => return Reject::Busy,
            None if one.to_string().contains("length limit") => return Reject::TooLarge,
            None => cause = one.source(),
        }
    }
    Reject::UnreadableBody
}

/// Receives a body, never holding more than the cap.
pub async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Reject> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    if declared.is_some_and(|length: usize| length > MAX_BODY) {
        return Err(Reject::TooLarge);
    }
    to_bytes(body, MAX_BODY).await.map_err(|error| reason(&error))
}

/// The body as its sender wrote it, never more than the cap.
pub fn inflated(headers: &HeaderMap, raw: Bytes) -> Result<Bytes, Reject> {
    let coding = headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    match coding.as_deref() {
        None | Some("" | "identity") => Ok(raw),
        Some("gzip" | "x-gzip") => inflate(GzDecoder::new(raw.as_ref())),
        Some("deflate") => inflate(ZlibDecoder::new(raw.as_ref())),
        Some(_) => Err(Reject::WrongContentType),
    }
}

fn inflate(decoder: impl Read) -> Result<Bytes, Reject> {
    let mut plain = Vec::new();
    decoder.take(MAX_BODY as u64 + 1).read_to_end(&mut plain).map_err(|_| Reject::UnreadableBody)?;
    if plain.len() > MAX_BODY { Err(Reject::TooLarge) } else { Ok(plain.into()) }
}
