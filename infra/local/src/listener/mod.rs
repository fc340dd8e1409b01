//! The listener of the one process. It limits connections, heads, bodies and time, so that a silent client holds
//! nothing for long.

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

/// The limits of a listener. Limits of bytes and connections hold for all clients together unless they say otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    pub connections: usize,
    /// Connections of one address. Does not apply to trusted proxies, which forward many clients.
    pub per_address: usize,
    /// Connections of one /48 of IPv6, the block that a provider gives to one customer.
    pub per_site: usize,
    /// True if loopback counts as one address like others. By default it does not, because a proxy on this machine
    /// uses it.
    pub loopback_is_one: bool,
    /// Bytes of the request line and the headers.
    pub head: usize,
    /// The time for the whole head, and the longest idle time of a connection.
    pub head_time: Duration,
    /// The time for the whole body.
    pub body_time: Duration,
    /// The time until a body has to begin. Lost packets come again after a second or two.
    pub body_grace: Duration,
    /// The least rate of a body after that, in bytes a second.
    pub body_rate: usize,
    /// Incomplete bodies of one client. A /48 of IPv6 may have twice as many. Does not apply to trusted proxies.
    pub bodies_of_client: usize,
    /// Bytes that each body may have regardless of other bodies.
    pub small_body: usize,
    /// Bytes beyond that, for all bodies on their way together.
    pub large_bodies: usize,
    /// The part of `large_bodies` that one client may have. Does not apply to trusted proxies.
    pub large_of_client: usize,
    /// How long a write may wait for a client that does not read.
    pub write_time: Duration,
    /// The age after which a connection takes no further request.
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

/// The read buffer of a connection, in bytes. hyper's default limit is 400 kB for each.
const BUFFER: usize = 32 * 1024;

/// The time for the answer to a connection that is closed to make room.
const LAST_WORD: Duration = Duration::from_millis(200);

/// Serves `app` until the process ends.
///
/// # Errors
/// Never. The result has the type of other servers.
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, proxies: Vec<IpNet>) -> io::Result<()> {
    serve_until(&CancellationToken::new(), listener, app, limits, proxies).await
}

/// As [`serve`], until `stopping` is cancelled. Then no connection is accepted, idle ones are closed, and requests on
/// their way are answered.
///
/// # Errors
/// Never. The result has the type of other servers.
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
    // The system refuses new connections; their clients try again.
    drop(listener);
    under_way.close();
    under_way.wait().await;
    Ok(())
}

/// The number of file descriptors left for connections, after the process raised its limit as far as it may.
fn descriptors() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // Files, the CRM's connections and the console need descriptors too.
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

    /// True for an address that forwards many clients: a proxy.
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
        // A client that closed its sending side still reads its answer.
        builder.timer(TokioTimer::new()).max_buf_size(BUFFER).half_close(!breakage::is_on("half-closed-is-closed"));
        if !breakage::is_on("silent-connections-stay") {
            builder.header_read_timeout(self.limits.head_time).max_header_size(self.limits.head);
        } else {
            builder.header_read_timeout(None);
        }
        let stream = TokioIo::new(Watched::new(stream, self.limits.write_time));
        let mut connection = pin!(builder.serve_connection(stream, service));
        // A request on its way is answered.
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

    /// The address of the client: the peer's, or the one that trusted proxies report. The client itself wrote what
    /// stands left of the first untrusted address in `X-Forwarded-For`.
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

/// Parses one hop. Some proxies also write the port.
fn address_in(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
