//! Request bodies on their way: limits of time, and of the memory that large ones take together.

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
use stagedoor_webhook::{BodyRefused, ClientAddress};
use tokio::time::{Instant, Sleep, sleep};

use super::{
    Limits,
    flight::{InFlight, Place, patience},
};

/// The bytes that bodies hold beyond the small size that each may have.
#[derive(Default)]
pub struct Large(Mutex<HeldBytes>);

#[derive(Default)]
struct HeldBytes {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

impl Large {
    /// Reserves bytes. False if that exceeds the limit of all clients together, or of this client.
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

/// The state that all bodies of a listener share.
#[derive(Default)]
pub struct Bodies {
    large: Large,
    in_flight: Arc<InFlight>,
}

/// A body that ends with an error when it takes too long, or exceeds the memory that is left for large bodies.
pub struct Bounded {
    inner: Incoming,
    began: Instant,
    deadline: Pin<Box<Sleep>>,
    limits: Limits,
    seen: usize,
    /// The bytes that this body holds of the memory for large bodies.
    held: usize,
    all: Arc<Bodies>,
    /// The sender, if the limit of one client applies.
    client: Option<ClientAddress>,
    /// Held while more of the body has to come.
    place: Option<Place>,
}

impl Bounded {
    pub fn new(inner: Incoming, limits: &Limits, all: &Arc<Bodies>, client: Option<ClientAddress>) -> Self {
        let (began, deadline) = (Instant::now(), Box::pin(sleep(patience(0, limits))));
        let (limits, all) = (limits.clone(), Arc::clone(all));
        Self { inner, began, deadline, limits, seen: 0, held: 0, all, client, place: None }
    }

    fn network(&self) -> Option<IpAddr> {
        self.client.map(ClientAddress::network)
    }

    fn take(&mut self, bytes: usize) -> bool {
        self.seen += bytes;
        self.deadline.as_mut().reset(self.began + patience(self.seen, &self.limits));
        let more = self.seen.saturating_sub(self.limits.small_body).saturating_sub(self.held);
        if more == 0 {
            return true;
        }
        self.held += more;
        self.all.large.take(self.network(), more, &self.limits)
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        if self.held > 0 {
            self.all.large.give_back(self.network(), self.held);
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
                Some(frame) => Some(frame.map_err(Into::into)),
                None => {
                    this.place = None;
                    None
                }
            });
        }
        // A body that arrives with its head is never on its way.
        if let (None, Some(client)) = (&this.place, this.client) {
            this.place = this.all.in_flight.admit(client, &this.limits);
            if this.place.is_none() {
                return Poll::Ready(Some(Err(BodyRefused::Busy.into())));
            }
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
