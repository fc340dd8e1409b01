use std::{future::poll_fn, io::Read, pin::Pin};

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use flate2::read::{GzDecoder, ZlibDecoder};
use http::{HeaderMap, header};

use crate::Reject;

/// The largest body in bytes, before and after decompression. A larger one is refused: SQS takes a message of 1 MiB,
/// and base64 makes a kept body a third larger.
pub const MAX_BODY: usize = 700 * 1024;

/// Why a listener stops reading a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefused {
    /// The body did not come in time.
    #[error("the body did not come in time")]
    Slow,
    /// Too many other bodies are under way.
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

/// Receives a body and never holds more than [`MAX_BODY`].
///
/// # Errors
/// `TooLarge`, `TooSlow`, `Busy`, or `UnreadableBody`.
pub async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Reject> {
    if declared(headers).is_some_and(|length| length > MAX_BODY) {
        return Err(Reject::TooLarge);
    }
    whole(body).await
}

/// Bytes that are read of a refused delivery and thrown away, so that a usual sender finishes and reads the refusal.
const DISCARDED: usize = 64 * 1024;

/// Reads a small body and throws it away.
pub async fn discard(headers: &HeaderMap, mut body: Body) {
    // A sender that asks first with `Expect` need not send the body.
    if headers.contains_key(header::EXPECT) || declared(headers).is_some_and(|length| length > DISCARDED) {
        return;
    }
    let mut seen = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        seen += frame.data_ref().map_or(0, Bytes::len);
        if seen > DISCARDED {
            return;
        }
    }
}

fn declared(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok())
}

/// Receives a body in one piece. Small pieces are copied, because each would keep a buffer of the connection alive.
async fn whole(mut body: Body) -> Result<Bytes, Reject> {
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(part) = frame.map_err(|error| reason(&error))?.into_data() else { continue };
        if whole.len() + part.len() > MAX_BODY {
            return Err(Reject::TooLarge);
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

/// Decompresses the body, up to [`MAX_BODY`].
///
/// # Errors
/// `TooLarge`, `UnreadableBody`, or `WrongContentType` for an unknown encoding.
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

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Poll},
    };

    use http_body::Frame;

    use super::*;

    /// A buffer of the connection. Each piece of the body holds one byte of it.
    struct HeldBytes(Arc<AtomicUsize>);

    impl AsRef<[u8]> for HeldBytes {
        fn as_ref(&self) -> &[u8] {
            b"x"
        }
    }

    impl Drop for HeldBytes {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    struct Pieces {
        left: usize,
        held: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    }

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            let held = self.held.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(held, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(HeldBytes(Arc::clone(&self.held)))))))
        }
    }

    #[tokio::test]
    async fn a_body_in_tiny_pieces_holds_no_buffer_for_each_of_them() {
        let most = Arc::new(AtomicUsize::default());
        let pieces = |left| Body::new(Pieces { left, held: Arc::default(), most: Arc::clone(&most) });
        let read_whole = read(&HeaderMap::new(), pieces(5_000)).await.expect("a body");
        assert_eq!((read_whole.len(), most.load(Ordering::Relaxed)), (5_000, 1));
        assert!(matches!(read(&HeaderMap::new(), pieces(MAX_BODY + 1)).await, Err(Reject::TooLarge)));
    }
}
