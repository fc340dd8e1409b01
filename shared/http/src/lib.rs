//! How the hub calls out: one HTTP client over one TLS. Clients are built here alone, for reqwest panics where a process has
//! no cryptography, and it brings none of its own.

use rustls::crypto::{CryptoProvider, ring};

/// The builder of a client. Its TLS is rustls with ring, and it trusts what this machine trusts.
pub fn builder() -> reqwest::ClientBuilder {
    if CryptoProvider::get_default().is_none() {
        // Another thread may have been first: then its provider is taken, which is the same one.
        _ = ring::default_provider().install_default();
    }
    #[expect(clippy::disallowed_methods, reason = "this is the place that may")]
    reqwest::Client::builder()
}
