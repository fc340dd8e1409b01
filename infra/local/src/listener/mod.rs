//! The listener of the one process: bounds for connections, heads, bodies and time, so that who sends nothing holds nothing.

mod body;
mod flight;
mod room;
mod stream;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body as HttpBody, extract::ConnectInfo};
use http::{HeaderMap, Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use stagedoor_model::breakage;
use stagedoor_webhook::{ClientAddress, OneClient};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

pub use flight::{InFlight, Place, patience};
pub use room::{Room, Seat};
use {
    body::{Bodies, Bounded},
    stream::Watched,
};

/// Bounds of a listener. Those of bytes and connections hold for all clients together unless they say otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    pub connections: usize,
    /// Connections of one address. Not for trusted proxies, which speak for many.
    pub per_address: usize,
    /// Connections of one /48 of IPv6, which one customer of a provider has.
    pub per_site: usize,
    /// Whether loopback is one address like others. As a rule it is not: a proxy on this machine comes from there.
    pub loopback_is_one: bool,
    /// Bytes of a request's line and headers.
    pub head: usize,
    /// For the whole head; also how long a connection may be idle.
    pub head_time: Duration,
    /// For the whole body.
    pub body_time: Duration,
    /// How long a body may take to begin. Packets that are lost come again after a second or two.
    pub body_grace: Duration,
    /// Bytes a second that a body has to come with, after that.
    pub body_rate: usize,
    /// Bodies of one client of which more has to come, and half of those of one /48 of IPv6. Not for trusted proxies.
    pub bodies_of_client: usize,
    /// Bytes that each body may have without regard to others.
    pub small_body: usize,
    /// Bytes beyond that, of all bodies that are under way.
    pub large_bodies: usize,
    /// The part of those that one client may have. Not for trusted proxies.
    pub large_of_client: usize,
    /// How long a write may wait for a client that reads nothing.
    pub write_time: Duration,
    /// After this time a connection takes no further request.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            per_address: 128,
            per_site: 256,
            loopback_is_one: false,
            head: 16 * 1024,
            head_time: Duration::from_secs(15),
            body_time: Duration::from_secs(15),
            body_grace: Duration::from_secs(3),
            body_rate: 1_024,
            bodies_of_client: 64,
            small_body: 64 * 1024,
            large_bodies: 32 * 1024 * 1024,
            large_of_client: 4 * 1024 * 1024,
            write_time: Duration::from_secs(15),
            age: Duration::from_secs(600),
        }
    }
}

/// Bytes that are read of a connection at once: hyper's own bound would be 400 kB for each.
const BUFFER: usize = 32 * 1024;

/// What a connection that makes room for others has to write out an answer.
const LAST_WORD: Duration = Duration::from_millis(200);

/// Serves `app` until the process ends.
///
/// # Errors
/// Never by itself; the type is that of other servers.
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, proxies: Vec<IpNet>) -> io::Result<()> {
    serve_until(&CancellationToken::new(), listener, app, limits, proxies).await
}

/// The same until `stopping` is cancelled. Then no connection is accepted, idle ones are closed, and requests that are
/// under way are answered.
///
/// # Errors
/// Never by itself; the type is that of other servers.
pub fn serve_until(
    stopping: &CancellationToken,
    listener: TcpListener,
    app: Router,
    limits: Limits,
    proxies: Vec<IpNet>,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    accept(stopping.clone(), listener, app, limits, proxies)
}

async fn accept(
    stopping: CancellationToken,
    listener: TcpListener,
    app: Router,
    limits: Limits,
    proxies: Vec<IpNet>,
) -> io::Result<()> {
    let under_way = TaskTracker::new();
    let connections = limits.connections.min(descriptors());
    let open = Arc::new(Semaphore::new(connections));
    let room = Arc::new(Room::new(connections, &limits));
    let shared = Arc::new(Shared { app, limits, proxies, bodies: Arc::default(), stopping });
    loop {
        let next = async {
            let permit = Arc::clone(&open).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = shared.stopping.cancelled() => break,
        };
        let Ok(permit) = permit else { break };
        match accepted {
            Ok((stream, peer)) => {
                let Some(seat) = room.admit(peer.ip(), shared.is_of_many(peer.ip())) else {
                    tracing::debug!(address = %peer.ip(), "too many connections of one address");
                    continue;
                };
                under_way.spawn(Arc::clone(&shared).connection(stream, peer, Arc::new(seat), permit));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
    // Who comes now is refused by the system, and comes again.
    drop(listener);
    under_way.close();
    under_way.wait().await;
    Ok(())
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
    bodies: Arc<Bodies>,
    stopping: CancellationToken,
}

impl Shared {
    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|net| net.contains(&address.to_canonical()))
    }

    /// An address that speaks for many: a proxy's.
    fn is_of_many(&self, address: IpAddr) -> bool {
        let loopback = address.to_canonical().is_loopback() && !self.limits.loopback_is_one;
        loopback || self.is_proxy(address)
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        seat: Arc<Seat>,
        _permit: OwnedSemaphorePermit,
    ) {
        _ = stream.set_nodelay(true);
        let (shared, of_this) = (Arc::clone(&self), Arc::clone(&seat));
        let service = service_fn(move |request: Request<Incoming>| {
            of_this.works();
            let request = shared.prepared(request, peer);
            let (mut app, seat) = (shared.app.clone(), Arc::clone(&of_this));
            async move {
                let answer = app.call(request).await;
                seat.waits();
                answer
            }
        });
        let mut builder = http1::Builder::new();
        // A client that says no more still reads its answer.
        builder.timer(TokioTimer::new()).max_buf_size(BUFFER).half_close(!breakage::is_on("half-closed-is-closed"));
        if !breakage::is_on("silent-connections-stay") {
            builder.header_read_timeout(self.limits.head_time).max_header_size(self.limits.head);
        } else {
            builder.header_read_timeout(None);
        }
        let stream = TokioIo::new(Watched::new(stream, self.limits.write_time));
        let mut connection = pin!(builder.serve_connection(stream, service));
        // A request that is under way is answered.
        let under_way = self.limits.body_time + self.limits.head_time;
        let left = tokio::select! {
            _ = connection.as_mut() => return,
            () = seat.leaves() => if seat.is_waiting() { LAST_WORD } else { under_way },
            () = self.stopping.cancelled() => if seat.is_waiting() { LAST_WORD } else { under_way },
            () = sleep(self.limits.age) => under_way,
        };
        connection.as_mut().graceful_shutdown();
        _ = timeout(left, connection).await;
    }

    fn prepared(&self, request: Request<Incoming>, peer: SocketAddr) -> Request<HttpBody> {
        let client = self.client(peer.ip(), request.headers());
        let one = Some(ClientAddress(client)).filter(|_| !self.is_of_many(client));
        let mut request = request.map(|body| HttpBody::new(Bounded::new(body, &self.limits, &self.bodies, one)));
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(ClientAddress(client));
        if !self.is_of_many(client) {
            request.extensions_mut().insert(OneClient(client));
        }
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
