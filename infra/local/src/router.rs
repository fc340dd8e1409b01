//! The addresses of the hub: the functions and the console.

use std::sync::Arc;

use axum::{Router, routing::get};
use stagedoor_links::LinkResolver;
use stagedoor_model::breakage;
use stagedoor_ports::Queue;
use stagedoor_webhook::Receiver;

use crate::{console, functions, hub::Hub, metrics, ready};

impl Hub {
    /// The router of everything that strangers can reach: every function, `/healthz` (the process runs) and `/readyz`
    /// (it can take deliveries). No route answers with personal data.
    ///
    /// # Errors
    /// The provider's error about its source.
    pub fn router(self: &Arc<Self>) -> Result<Router, String> {
        let receiver = |queue: &Arc<dyn Queue>| Receiver {
            queue: Arc::clone(queue),
            clock: Arc::clone(&self.sync.clock),
            counters: self.counters.clone(),
        };
        let (events, chats) = (receiver(&self.queues.events), receiver(&self.queues.chats));
        let mut functions = functions::router(&self.config, &events, &chats)?;
        if let Some(conversation) = &self.sync.conversation {
            let messengers = self.config.sources_of("messaging");
            let order_api = LinkResolver::new(
                conversation.links.clone(),
                &conversation.public_url,
                &self.config.catalog,
                messengers,
            );
            functions = functions.merge(stagedoor_links::router(chats, order_api)?);
        }
        if breakage::is_on("console-on-public-address") {
            functions = functions.merge(console::router(Arc::clone(self), console::ConsoleToken::of(self)?));
        }
        if breakage::is_on("metrics-on-public-address") {
            functions =
                functions.merge(Router::new().route("/metrics", get(metrics::answer)).with_state(Arc::clone(self)));
        }
        let ready = ready::router(Arc::new(ready::Readiness::new(Arc::clone(self))));
        Ok(functions.route("/healthz", get(async || "ok")).merge(ready))
    }

    /// The console, for a listener of its own.
    pub fn console(self: &Arc<Self>, token: console::ConsoleToken) -> Router {
        console::router(Arc::clone(self), token)
    }
}
