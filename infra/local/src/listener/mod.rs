//! The listener of the one process: bounds for connections, heads, bodies and time, so that who sends nothing holds nothing.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body as HttpBody, extract::ConnectInfo};
use bytes::{Buf, Bytes};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use stagedoor_model::breakage;
use stagedoor_webhook::{BodyRefused, ClientAddress};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};
use tower::Service;

/// Bounds of a listener. Those of bytes and connections hold for all clients together unless they say otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    pub connections: usize,
    /// Connections of one address. Not for trusted proxies, which speak for many.
    pub per_address: usize,
    /// Whether loopback is one address like others. As a rule it is not: a proxy on this machine comes from there.
    pub loopback_is_one: bool,
    /// Bytes of a request's line and headers.
    pub head: usize,
    /// For the whole head; also how long a connection may be idle.
    pub head_time: Duration,
    /// For the whole body.
    pub body_time: Duration,
    /// Bytes that each body may have without regard to others.
    pub small_body: usize,
    /// Bytes beyond that, of all bodies that are under way.
    pub large_bodies: usize,
    /// After this time a connection takes no further request.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            per_address: 128,
            loopback_is_one: false,
            head: 16 * 1024,
            head_time: Duration::from_secs(15),
            body_time: Duration::from_secs(15),
            small_body: 64 * 1024,
            large_bodies: 32 * 1024 * 1024,
            age: Duration::from_secs(600),
        }
    }
}

/// Bytes that are read of a connection at once: hyper's own bound would be 400 kB for each.
const BUFFER: usize = 32 * 1024;

/// Serves `app` until the process ends.
///
/// # Errors
/// Never by itself; the type is that of other servers.
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, proxies: Vec<IpNet>) -> io::Result<()> {
    let open = Arc::new(Semaphore::new(limits.connections.min(descriptors())));
    let shared = Arc::new(Shared { app, limits, proxies, by_address: Mutex::default(), large: Arc::default() });
    loop {
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(one) = shared.admit(peer.ip()) else {
                    tracing::debug!(address = %peer.ip(), "too many connections of one address");
                    continue;
                };
                tokio::spawn(Arc::clone(&shared).connection(stream, peer, one, permit));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Descriptors that are left for connections, after the process was given as many as it may have.
fn descriptors() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // Files, the CRM's connections and the console need some too.
    usize::try_from(now.saturating_sub(256)).unwrap_or(usize::MAX).max(64)
}

struct Shared {
    app: Router,
    limits: Limits,
    proxies: Vec<IpNet>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    large: Arc<AtomicUsize>,
}

/// One open connection of an address.
struct OfAddress(Arc<Shared>, IpAddr);

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut all = self.0.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.1);
            }
        }
    }
}

impl Shared {
    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|net| net.contains(&address.to_canonical()))
    }

    /// `None` if the address has as many connections as it may.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<OfAddress> {
        let loopback = address.to_canonical().is_loopback() && !self.limits.loopback_is_one;
        let of_many = loopback || self.is_proxy(address);
        let key = ClientAddress(address).network();
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(key).or_default();
        if *count >= self.limits.per_address && !of_many {
            return None;
        }
        *count += 1;
        Some(OfAddress(Arc::clone(self), key))
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        _one: OfAddress,
        _permit: OwnedSemaphorePermit,
    ) {
        _ = stream.set_nodelay(true);
        let shared = Arc::clone(&self);
        let service = service_fn(move |request: Request<Incoming>| {
            let request = shared.prepared(request, peer);
            let mut app = shared.app.clone();
            async move { app.call(request).await }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).max_buf_size(BUFFER);
        if !breakage::is_on("silent-connections-stay") {
            builder.header_read_timeout(self.limits.head_time).max_header_size(self.limits.head);
        } else {
            builder.header_read_timeout(None);
        }
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        if timeout(self.limits.age, connection.as_mut()).await.is_err() {
            connection.as_mut().graceful_shutdown();
            // Who reads no answer keeps no connection.
            _ = timeout(self.limits.body_time + self.limits.head_time, connection).await;
        }
    }

    fn prepared(&self, request: Request<Incoming>, peer: SocketAddr) -> Request<HttpBody> {
        let client = self.client(peer.ip(), request.headers());
        let mut request = request.map(|body| HttpBody::new(Bounded::new(body, self)));
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(ClientAddress(client));
        request
    }

    /// The address of the client: the peer's, or what trusted proxies say of it. What stands left of the first untrusted
    /// address of `X-Forwarded-For` was written by the client.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        // A line with other letters than those of addresses is not skipped: a proxy wrote its right end.
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let lines = lines.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let hops = lines.flat_map(|line| line.rsplit(',').map(address_in).collect::<Vec<_>>());
        for hop in hops {
            let believed = self.is_proxy(client) || breakage::is_on("forwarded-for-believed");
            let Some(address) = hop.filter(|_| believed) else { break };
            client = address;
        }
        client
    }
}

/// Some proxies write the port, too.
fn address_in(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// A body that ends with an error when it takes too long, or more room than is left for large ones.
struct Bounded {
    inner: Incoming,
    deadline: Pin<Box<Sleep>>,
    small: usize,
    seen: usize,
    /// What this body holds of the room for large ones.
    held: usize,
    large: Arc<AtomicUsize>,
    most: usize,
}

impl Bounded {
    fn new(inner: Incoming, shared: &Shared) -> Self {
        let Limits { body_time, small_body: small, large_bodies: most, .. } = shared.limits;
        let large = Arc::clone(&shared.large);
        Self { inner, deadline: Box::pin(sleep(body_time)), small, seen: 0, held: 0, large, most }
    }

    fn take(&mut self, bytes: usize) -> bool {
        self.seen += bytes;
        let more = self.seen.saturating_sub(self.small).saturating_sub(self.held);
        self.held += more;
        self.large.fetch_add(more, Ordering::Relaxed) + more <= self.most
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        self.large.fetch_sub(self.held, Ordering::Relaxed);
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
