//! Reports time zones from providers that no database has, once each.

use std::collections::BTreeSet;

use stagedoor_model::{Body, Event, ShowRef};
use stagedoor_ports::Result;

use crate::Sync;

/// Prefix of stored values that name a source and the zone that it gave.
pub const UNKNOWN_ZONES: &str = "unknown-zone/";
/// Most characters of a zone that are kept, because it is a stranger's text.
const MAX_LENGTH: usize = 40;

impl Sync {
    /// Reports an unknown zone of a show. The show's offset is used instead, or the hub's zone.
    pub(crate) async fn say_unknown_zones(&self, event: &Event) -> Result<()> {
        let unknown: BTreeSet<String> =
            shows(event).into_iter().filter_map(ShowRef::unknown_zone).map(readable).collect();
        for zone in unknown {
            let name = format!("{UNKNOWN_ZONES}{}/{zone}", event.source);
            if self.store.key_value(&name).await?.is_some() {
                continue;
            }
            let source = &event.source;
            tracing::warn!(%source, zone, "a show's zone is no IANA name; its offset is used, or the hub's zone");
            self.store.compare_and_set(&name, "", None).await?;
        }
        Ok(())
    }
}

fn readable(zone: &str) -> String {
    zone.chars().filter(|one| one.is_ascii_graphic() && *one != '/').take(MAX_LENGTH).collect()
}

fn shows(event: &Event) -> Vec<&ShowRef> {
    match &event.body {
        Body::ShowRescheduled(change) | Body::ShowCancelled(change) => vec![&change.show],
        Body::FormSubmitted(form) | Body::CartAbandoned(form) => form.show.iter().collect(),
        body => {
            let orders = body.order().into_iter();
            let tickets = orders.clone().flat_map(|body| body.tickets()).map(|ticket| &ticket.show);
            tickets.chain(orders.filter_map(|body| body.order.show.as_deref())).collect()
        }
    }
}
