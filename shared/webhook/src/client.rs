//! Who sends: for limits by address, never for trust.

use std::net::IpAddr;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;

/// The address of the client, as the listener knows it. Where a request bears none (a function behind a gateway), nothing is
/// limited by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// What is counted as one client: an IPv4 address, or the /64 that one household of IPv6 has.
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
            ip @ IpAddr::V4(_) => ip,
        }
    }
}

/// Refusals that one client gets to read in a burst. Afterwards it is told to wait.
const BURST: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// Refusals a minute that come on top.
const A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// Clients that are remembered at once.
const MOST: usize = 10_000;

/// Refused deliveries by client, in a bucket of their own: they take nothing of the rate of a source.
pub struct Refusals(DefaultKeyedRateLimiter<IpAddr>);

impl Default for Refusals {
    fn default() -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(A_MINUTE).allow_burst(BURST)))
    }
}

impl Refusals {
    /// Counts one more. False if this client was refused too often lately.
    pub fn count(&self, client: ClientAddress) -> bool {
        if self.0.len() > MOST {
            self.0.retain_recent();
        }
        self.0.check_key(&client.network()).is_ok()
    }
}
