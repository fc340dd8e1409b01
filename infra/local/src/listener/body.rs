//! Bodies that are under way: bounds of time, and of the room that large ones take together.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use stagedoor_model::breakage;
use stagedoor_webhook::BodyRefused;
use tokio::time::{Sleep, sleep};

use super::Limits;

/// What bodies hold beyond the small one that each may have, in bytes.
#[derive(Default)]
pub struct Large(Mutex<Held>);

#[derive(Default)]
struct Held {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

impl Large {
    /// False if that is more than all may have together, or than this client may have.
    fn take(&self, client: Option<IpAddr>, bytes: usize, limits: &Limits) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.all += bytes;
        let own = client.map_or(0, |client| {
            let own = held.of.entry(client).or_default();
            *own += bytes;
            *own
        });
        let is_within = own <= limits.large_of_client || breakage::is_on("one-client-takes-the-room");
        held.all <= limits.large_bodies && is_within
    }

    fn give_back(&self, client: Option<IpAddr>, bytes: usize) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.all -= bytes;
        if let Some((client, own)) = client.and_then(|client| Some((client, held.of.get_mut(&client)?))) {
            *own -= bytes;
            if *own == 0 {
                held.of.remove(&client);
            }
        }
    }
}

/// A body that ends with an error when it takes too long, or more room than is left for large ones.
pub struct Bounded {
    inner: Incoming,
    deadline: Pin<Box<Sleep>>,
    limits: Limits,
    seen: usize,
    /// What this body holds of the room for large ones.
    held: usize,
    large: Arc<Large>,
    /// Who sends it, where the share of one client counts.
    client: Option<IpAddr>,
}

impl Bounded {
    pub fn new(inner: Incoming, limits: &Limits, large: &Arc<Large>, client: Option<IpAddr>) -> Self {
        let deadline = Box::pin(sleep(limits.body_time));
        Self { inner, deadline, limits: limits.clone(), seen: 0, held: 0, large: Arc::clone(large), client }
    }

    fn take(&mut self, bytes: usize) -> bool {
        self.seen += bytes;
        let more = self.seen.saturating_sub(self.limits.small_body).saturating_sub(self.held);
        if more == 0 {
            return true;
        }
        self.held += more;
        self.large.take(self.client, more, &self.limits)
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        if self.held > 0 {
            self.large.give_back(self.client, self.held);
        }
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            let bytes = |frame: &Frame<Bytes>| frame.data_ref().map_or(0, Buf::remaining);
            return Poll::Ready(match frame {
                Some(Ok(frame)) if !this.take(bytes(&frame)) => Some(Err(BodyRefused::Busy.into())),
                frame => frame.map(|frame| frame.map_err(Into::into)),
            });
        }
        ready!(this.deadline.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyRefused::Slow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
