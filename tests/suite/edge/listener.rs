//! Connections that send nothing, or slowly, or too much.

use std::{net::SocketAddr, time::Duration};

use axum::{Extension, body::Bytes, routing::any};
use stagedoor::listener::{InFlight, Limits, Room, patience, serve};
use stagedoor_model::Timestamp;
use stagedoor_tests::provider_harness::{Stopped, source};
use stagedoor_webhook::{ClientAddress, Counters, Receiver};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

const SOON: Duration = Duration::from_millis(400);

/// Bounds that a test can wait for.
fn quick() -> Limits {
    Limits { head_time: SOON, body_time: SOON, write_time: SOON, ..Limits::default() }
}

/// A listener with a source that takes forms, and a page that says who asks.
async fn listening(limits: Limits, proxies: &[&str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let queue = std::sync::Arc::new(stagedoor_ports::memory::MemoryQueue::default());
    let clock = std::sync::Arc::new(Stopped(Timestamp::now()));
    let source = source("tilda", "tilda-api-key");
    let provider = stagedoor::functions::provider("website", &source).expect("a provider");
    let receiver = Receiver { queue, clock, counters: Counters::default() };
    let by_path = stagedoor_tests::provider_harness::source("sendpulse", "a-secret-in-the-path");
    let its_provider = stagedoor::functions::provider("mail", &by_path).expect("a provider");
    let app = stagedoor_website::router(receiver.clone(), vec![(source, provider)])
        .merge(stagedoor_mail::router(receiver, vec![(by_path, its_provider)]))
        .route("/long", any(|| async { "a".repeat(1 << 20) }))
        .route("/late", any(|| async { tokio::time::sleep(SOON / 4).await }))
        .route("/who", any(|Extension(client): Extension<ClientAddress>| async move { client.0.to_string() }))
        .route("/echo", any(|body: Bytes| async move { body.len().to_string() }));
    let proxies = proxies.iter().map(|net| net.parse().expect("a network")).collect();
    tokio::spawn(serve(listener, app, limits, proxies));
    address
}

async fn open(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(bytes).await.expect("written");
    stream
}

/// What comes until the other side closes, which it has to do soon.
async fn ended(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let closed = timeout(SOON * 8, stream.read_to_end(&mut all)).await;
    assert!(closed.is_ok(), "still open; so far {}", String::from_utf8_lossy(&all));
    String::from_utf8_lossy(&all).into_owned()
}

const POST: &str =
    "POST /website/tilda-test HTTP/1.1\r\nhost: h\r\ncontent-type: application/x-www-form-urlencoded\r\n";

fn genuine() -> Vec<u8> {
    let body = "Phone=89161234567&tranid=1:1";
    format!("{POST}x-api-key: tilda-api-key\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        .into()
}

#[tokio::test]
async fn who_sends_nothing_or_half_is_closed_soon() {
    let address = listening(quick(), &[]).await;
    assert_eq!(ended(open(address, b"").await).await, "", "silent");
    assert_eq!(ended(open(address, b"GET /who HTTP/1.1\r\nhost: h\r\nx-half: ").await).await, "", "half a head");
    let half = ended(open(address, format!("{POST}content-length: 100\r\n\r\nPhone=").as_bytes()).await).await;
    assert!(half.starts_with("HTTP/1.1 408"), "half a body: {half}");
    let chunked =
        ended(open(address, format!("{POST}transfer-encoding: chunked\r\n\r\n5\r\nPhone\r\n").as_bytes()).await).await;
    assert!(chunked.starts_with("HTTP/1.1 408"), "half of the chunks: {chunked}");
    let idle = ended(open(address, b"GET /who HTTP/1.1\r\nhost: h\r\n\r\n").await).await;
    assert!(idle.starts_with("HTTP/1.1 200"), "kept alive and idle: {idle}");
    let slow = open(address, format!("{POST}content-length: 100000\r\n\r\n").as_bytes()).await;
    let (mut reading, mut writing) = slow.into_split();
    let began = Instant::now();
    let drip = tokio::spawn(async move {
        while writing.write_all(b"a").await.is_ok() {
            tokio::time::sleep(SOON / 8).await
        }
    });
    let mut answer = [0; 12];
    timeout(SOON * 8, reading.read_exact(&mut answer)).await.expect("soon").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408", "a byte now and then is no progress");
    assert!(began.elapsed() < SOON * 8);
    drip.abort();
}

#[tokio::test]
async fn a_client_that_asks_and_reads_nothing_is_closed_soon() {
    let address = listening(quick(), &[]).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let asks = async { while stream.write_all(b"GET /long HTTP/1.1\r\nhost: h\r\n\r\n").await.is_ok() {} };
    assert!(timeout(SOON * 12, asks).await.is_ok(), "it still asks");
    let slowly = async {
        let mut stream = open(address, b"GET /long HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
        let (mut part, mut read) = (vec![0; 64 * 1024], 0);
        while let Ok(bytes @ 1..) = stream.read(&mut part).await {
            read += bytes;
            tokio::time::sleep(SOON / 8).await;
        }
        read
    };
    assert!(slowly.await > 1 << 20, "one that reads slowly reads it all");
}

#[tokio::test]
async fn a_body_that_drips_ends_long_before_one_that_comes_at_a_fair_rate() {
    let patient = Duration::from_secs(600);
    let bounds = Limits { body_time: patient, body_grace: SOON, body_rate: 1_000, ..quick() };
    let address = listening(bounds, &[]).await;
    let head = format!("{POST}content-length: 3000\r\nconnection: close\r\nx-api-key: tilda-api-key\r\n\r\n");
    let drip = async |bytes: usize, pause: Duration| {
        let (mut reading, mut writing) = open(address, head.as_bytes()).await.into_split();
        tokio::spawn(async move {
            for _ in 0..3_000 / bytes {
                if writing.write_all(&vec![b'a'; bytes]).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        });
        let (began, mut answer) = (Instant::now(), [0; 12]);
        timeout(SOON * 20, reading.read_exact(&mut answer)).await.expect("soon").expect("an answer");
        (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
    };
    let (answer, time) = drip(1, SOON / 10).await;
    assert_eq!(answer, "HTTP/1.1 408");
    assert!(time < SOON * 3, "{time:?}");
    // Three times the grace, and fast enough.
    let (answer, time) = drip(300, SOON / 4).await;
    assert_eq!(answer, "HTTP/1.1 200", "after {time:?}");
    assert!(time > SOON * 2, "{time:?}");
}

#[test]
fn each_byte_earns_a_body_its_time_and_a_site_of_ipv6_has_the_bodies_of_two_clients() {
    let limits = Limits { bodies_of_client: 3, ..Limits::default() };
    assert_eq!(patience(0, &limits), limits.body_grace);
    assert_eq!(patience(2_048, &limits), limits.body_grace + Duration::from_secs(2));
    assert_eq!(patience(700 * 1024, &limits), limits.body_time);
    let all = std::sync::Arc::new(InFlight::default());
    let client = |text: &str| ClientAddress(text.parse().expect("an address"));
    let of_one: Vec<_> = (0..5).filter_map(|_| all.admit(client("2001:db8:1:1::1"), &limits)).collect();
    let more = (2..9).filter_map(|n| all.admit(client(&format!("2001:db8:1:{n}::1")), &limits));
    assert_eq!((of_one.len(), more.count()), (3, 7), "each of the others left at once");
    let others = (2..9).map(|n| all.admit(client(&format!("2001:db8:1:{n}::1")), &limits)).collect::<Vec<_>>();
    assert_eq!(others.iter().flatten().count(), 3);
    assert!(all.admit(client("192.0.2.1"), &limits).is_some());
}

#[tokio::test]
async fn one_address_has_so_many_bodies_under_way_and_no_more() {
    let bounds = Limits { bodies_of_client: 2, loopback_is_one: true, body_grace: SOON * 4, ..quick() };
    let bounds = Limits { body_time: SOON * 4, ..bounds };
    let address = listening(bounds, &[]).await;
    let half = format!("{POST}x-api-key: tilda-api-key\r\ncontent-length: 100\r\n\r\nPhone=");
    let _held = [open(address, half.as_bytes()).await, open(address, half.as_bytes()).await];
    tokio::time::sleep(SOON / 4).await;
    let third = ended(open(address, half.as_bytes()).await).await;
    assert!(third.starts_with("HTTP/1.1 503") && third.to_lowercase().contains("retry-after: "), "{third}");
    assert!(ended(open(address, &genuine()).await).await.starts_with("HTTP/1.1 200"), "a whole body is not under way");
    tokio::time::sleep(SOON * 5).await;
    let again = ended(open(address, half.as_bytes()).await).await;
    assert!(again.starts_with("HTTP/1.1 408"), "those ended, and the next may begin: {again}");
}

#[tokio::test]
async fn a_client_that_says_no_more_still_reads_its_answer() {
    let address = listening(quick(), &[]).await;
    for request in [b"GET /late HTTP/1.1\r\nhost: h\r\n\r\n".to_vec(), genuine()] {
        let mut stream = open(address, &request).await;
        stream.shutdown().await.expect("half closed");
        let answer = ended(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn what_the_head_refuses_is_refused_before_the_body_is_sent() {
    let address = listening(Limits { body_time: SOON * 40, ..quick() }, &[]).await;
    let post = |tail: &str| {
        format!("POST /mail/sendpulse-test/{tail} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n")
    };
    let refused = ended(open(address, format!("{}content-length: 600000\r\n\r\n", post("x")).as_bytes()).await).await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let small = format!("{}connection: close\r\ncontent-length: 2\r\n\r\n[]", post("x"));
    assert!(ended(open(address, small.as_bytes()).await).await.starts_with("HTTP/1.1 401"));
    let right = format!("{}connection: close\r\ncontent-length: 2\r\n\r\n[]", post("a-secret-in-the-path"));
    assert!(ended(open(address, right.as_bytes()).await).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_head_of_more_than_sixteen_kilobytes_is_refused() {
    let address = listening(quick(), &[]).await;
    for (bytes, expected) in [(15_000, "HTTP/1.1 200"), (17_000, "HTTP/1.1 431"), (400_000, "HTTP/1.1 431")] {
        let head = format!("GET /who HTTP/1.1\r\nhost: h\r\nx-long: {}\r\n\r\n", "a".repeat(bytes));
        let mut stream = TcpStream::connect(address).await.expect("connected");
        _ = stream.write_all(head.as_bytes()).await;
        let mut answer = [0; 12];
        timeout(SOON * 8, stream.read_exact(&mut answer)).await.expect("soon").expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), expected, "{bytes}");
    }
}

#[tokio::test]
async fn silent_connections_keep_nobody_out_for_long() {
    let address = listening(Limits { connections: 8, ..quick() }, &[]).await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(open(address, b"").await);
    }
    let answer = ended(open(address, &genuine()).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn when_most_places_are_taken_those_who_are_silent_the_longest_make_room_at_once() {
    let patient = Duration::from_secs(600);
    let bounds = Limits { connections: 16, head_time: patient, body_time: patient, ..Limits::default() };
    let address = listening(bounds, &[]).await;
    let body = "Phone=89161234567&tranid=1:1";
    let head = format!("{POST}x-api-key: tilda-api-key\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let mut working = open(address, head.as_bytes()).await;
    tokio::time::sleep(SOON / 4).await;
    let mut silent = Vec::new();
    for n in 0..40 {
        let half: &[u8] = if n % 2 == 0 { b"" } else { b"GET /who HTTP/1.1\r\nx-half: " };
        silent.push(open(address, half).await);
    }
    assert!(ended(open(address, &genuine()).await).await.starts_with("HTTP/1.1 200"));
    working.write_all(body.as_bytes()).await.expect("still open");
    assert!(ended(working).await.starts_with("HTTP/1.1 200"), "one that is at work is not closed");
    let first = silent.remove(0);
    assert_eq!(ended(first).await, "", "the oldest was closed");
}

#[test]
fn one_site_of_ipv6_has_no_more_places_than_a_few_addresses() {
    let room = std::sync::Arc::new(Room::new(10_000, &Limits::default()));
    let seats = |count: u16, prefix: &str| -> Vec<_> {
        let address = |n: u16| format!("{prefix}:{n:x}::1").parse().expect("an address");
        (0..count).filter_map(|n| room.admit(address(n), false)).collect()
    };
    let of_one = seats(1_000, "2001:db8:1");
    assert_eq!(of_one.len(), 256, "of a /48");
    assert_eq!(seats(10, "2001:db8:2").len(), 10, "of another");
    drop(of_one);
    assert_eq!(seats(10, "2001:db8:1").len(), 10, "they left, and others come");
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let bounds = Limits { per_address: 3, loopback_is_one: true, head_time: SOON * 6, ..Limits::default() };
    let address = listening(bounds, &[]).await;
    let _silent = [open(address, b"").await, open(address, b"").await, open(address, b"").await];
    tokio::time::sleep(SOON).await;
    let began = Instant::now();
    let mut refused = TcpStream::connect(address).await.expect("connected");
    _ = refused.write_all(&genuine()).await;
    let mut all = Vec::new();
    _ = timeout(SOON * 4, refused.read_to_end(&mut all)).await.expect("closed at once");
    assert!(all.is_empty() && began.elapsed() < SOON * 4, "{}", String::from_utf8_lossy(&all));
    tokio::time::sleep(SOON * 8).await;
    assert!(ended(open(address, &genuine()).await).await.starts_with("HTTP/1.1 200"), "they ended, and it may again");
    let trusted = listening(Limits { per_address: 3, loopback_is_one: true, ..quick() }, &["127.0.0.0/8"]).await;
    let _many =
        [open(trusted, b"").await, open(trusted, b"").await, open(trusted, b"").await, open(trusted, b"").await];
    assert!(ended(open(trusted, &genuine()).await).await.starts_with("HTTP/1.1 200"), "a proxy speaks for many");
}

#[tokio::test]
async fn large_bodies_that_never_end_take_a_bounded_room_and_no_small_delivery_waits_for_them() {
    let bounds = Limits { small_body: 1_000, large_bodies: 20_000, body_time: SOON * 15, ..quick() };
    let address = listening(bounds, &[]).await;
    let half = |bytes: usize| format!("{POST}content-length: 100000\r\n\r\n{}", "a".repeat(bytes)).into_bytes();
    let held = [open(address, &half(10_000)).await, open(address, &half(10_000)).await];
    tokio::time::sleep(SOON * 2).await;
    let third = ended(open(address, &half(10_000)).await).await;
    assert!(third.starts_with("HTTP/1.1 503") && third.to_lowercase().contains("retry-after: "), "{third}");
    assert!(ended(open(address, &genuine()).await).await.starts_with("HTTP/1.1 200"), "a small body goes through");
    drop(held);
    tokio::time::sleep(SOON).await;
    let whole = format!("{POST}content-length: 15000\r\nconnection: close\r\n\r\n{}", "a".repeat(15_000));
    assert!(ended(open(address, whole.as_bytes()).await).await.starts_with("HTTP/1.1 401"), "the room is free again");
}

#[tokio::test]
async fn large_bodies_of_one_client_leave_room_for_those_of_others() {
    let bounds = Limits { small_body: 1_000, large_of_client: 20_000, body_time: SOON * 15, ..quick() };
    let address = listening(bounds, &["127.0.0.1/32"]).await;
    let post = |client: &str| format!("{POST}x-forwarded-for: {client}\r\nx-api-key: tilda-api-key\r\n");
    let half = |client: &str| format!("{}content-length: 100000\r\n\r\n{}", post(client), "a".repeat(10_000));
    let _held = [open(address, half("192.0.2.1").as_bytes()).await, open(address, half("192.0.2.1").as_bytes()).await];
    tokio::time::sleep(SOON).await;
    let third = ended(open(address, half("192.0.2.1").as_bytes()).await).await;
    assert!(third.starts_with("HTTP/1.1 503"), "{third}");
    let body = format!("Phone=89161234567&tranid=1:1&a={}", "a".repeat(15_000));
    let whole = format!("{}content-length: {}\r\nconnection: close\r\n\r\n{body}", post("192.0.2.2"), body.len());
    assert!(ended(open(address, whole.as_bytes()).await).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn only_a_trusted_proxy_says_who_the_client_is() {
    let direct = listening(Limits::default(), &[]).await;
    let behind = listening(Limits::default(), &["127.0.0.1/32", "10.0.0.0/8"]).await;
    let asked = async |address: SocketAddr, headers: &[&str]| {
        let mut request = stagedoor_tests::http().get(format!("http://{address}/who"));
        for value in headers {
            let value = reqwest::header::HeaderValue::from_bytes(value.as_bytes()).expect("a header");
            request = request.header("x-forwarded-for", value);
        }
        request.send().await.expect("an answer").text().await.expect("text")
    };
    assert_eq!(asked(direct, &["192.0.2.7"]).await, "127.0.0.1", "a stranger writes what it likes");
    assert_eq!(asked(behind, &[]).await, "127.0.0.1");
    assert_eq!(asked(behind, &["192.0.2.7"]).await, "192.0.2.7");
    assert_eq!(
        asked(behind, &["203.0.113.9, 192.0.2.7"]).await,
        "192.0.2.7",
        "what stands left was written by the client"
    );
    assert_eq!(asked(behind, &["203.0.113.9, 192.0.2.7, 10.1.2.3"]).await, "192.0.2.7", "two proxies");
    assert_eq!(asked(behind, &["203.0.113.9", "192.0.2.7"]).await, "192.0.2.7", "two headers are one list");
    assert_eq!(asked(behind, &["192.0.2.7, nonsense"]).await, "127.0.0.1");
    assert_eq!(asked(behind, &["2001:db8::1"]).await, "2001:db8::1");
    assert_eq!(asked(behind, &["192.0.2.7:4444"]).await, "192.0.2.7", "some proxies write the port");
    assert_eq!(asked(behind, &["é, 192.0.2.7"]).await, "192.0.2.7", "what the client wrote hides nobody");
    assert_eq!(asked(behind, &["203.0.113.9", "é, 192.0.2.7"]).await, "192.0.2.7");
}
