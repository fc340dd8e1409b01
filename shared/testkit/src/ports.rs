//! Ports for servers that a test starts.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// Where the system takes ports for outgoing connections and for "any" from, by default: from 32768 on (Linux,
/// `ip_local_port_range`) or from 49152 on (RFC 6335, section 6).
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that nobody listens at and that this process names once.
///
/// Asking the system for port 0 and letting go of it again is no promise: before the server under test listens there,
/// the system may have given it to somebody's outgoing connection. These it gives to nobody by itself.
///
/// # Panics
/// When all twelve thousand are taken.
pub fn free_port() -> u16 {
    let count = LAST - FIRST;
    // Processes side by side begin at different places.
    let begin = (std::process::id().wrapping_mul(97) % u32::from(count)) as u16;
    let mut all = (0..count).map(|_| FIRST + (NEXT.fetch_add(1, Ordering::Relaxed) % count + begin) % count);
    all.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}
