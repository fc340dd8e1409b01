use std::net::SocketAddr;

use crate::schema_hub::HubSection;

/// Addresses of the command line. They override those of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listeners {
    pub hub: Option<SocketAddr>,
    pub console: Option<SocketAddr>,
}

impl Listeners {
    /// The addresses for webhooks and for the console.
    pub(crate) fn of(self, section: &HubSection) -> (SocketAddr, SocketAddr) {
        (self.hub.unwrap_or(section.listen), self.console.unwrap_or(section.console))
    }
}
