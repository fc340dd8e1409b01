//! Step 0: what a webhook only pointed to is fetched. Many webhooks of one order in a batch cost one read.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use stagedoor_model::{Body, Event, OrderNoticed, PaymentNoticed, ShowRef, SourceName, Timestamp};
use stagedoor_ports::{Found, PortError};

use crate::Sync;

/// Reads under way at once: shops are small servers.
const READS: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Pointer {
    Order { order: String, scope: Option<String> },
    Show(ShowRef),
    Payment { payment: String, refund: bool },
}

/// With the time of the fact, where the shop tells one.
type Fetched = Result<Option<(Body, Option<Timestamp>)>, PortError>;

impl Sync {
    pub(crate) async fn hydrate(&self, events: Vec<(usize, Event)>) -> (Vec<(usize, Event)>, BTreeSet<usize>) {
        let wanted: BTreeSet<(SourceName, Pointer)> = events.iter().filter_map(|(_, event)| pointer(event)).collect();
        if wanted.is_empty() {
            return (events, BTreeSet::new());
        }
        let fetched: BTreeMap<(SourceName, Pointer), Fetched> = stream::iter(wanted)
            .map(|key| async move {
                let answer = self.fetch(&key.0, &key.1).await;
                (key, answer)
            })
            .buffer_unordered(READS)
            .collect()
            .await;
        for ((source, _), error) in fetched.iter().filter_map(|(key, answer)| Some((key, answer.as_ref().err()?))) {
            tracing::warn!(%source, %error, "the shop could not be asked back");
        }
        let (mut ready, mut failed) = (Vec::new(), BTreeSet::new());
        for (index, mut event) in events {
            match pointer(&event).and_then(|key| fetched.get(&key)) {
                Some(Err(_)) => {
                    tracing::warn!(trace = event.trace_id(), event = %event.id, "the event waits for its shop");
                    failed.insert(index);
                }
                Some(Ok(Some((body, time)))) => {
                    (event.body, event.time) = (body.clone(), time.unwrap_or(event.time));
                    ready.push((index, event.received_by(self.clock.now())));
                }
                Some(Ok(None)) | None => ready.push((index, event)),
            }
        }
        (ready, failed)
    }

    async fn fetch(&self, source: &SourceName, pointer: &Pointer) -> Fetched {
        let Some(desk) = self.desks.get(source) else { return Ok(None) };
        match pointer {
            Pointer::Order { order, scope } => {
                let noticed = OrderNoticed { order: order.clone(), scope: scope.clone() };
                match desk.order(&noticed).await? {
                    Found::Order(body, time) => Ok(Some((*body, Some(time)))),
                    Found::Nothing(reason) => {
                        tracing::info!(%source, reason, "an order that is not folded");
                        Ok(None)
                    }
                }
            }
            Pointer::Payment { payment, refund } => {
                let noticed = PaymentNoticed { payment: payment.clone(), refund: *refund };
                Ok(desk.payment(&noticed).await?.map(|(body, at)| (body, Some(at))))
            }
            Pointer::Show(show) => Ok(desk.show(show).await?.map(|body| (body, None))),
        }
    }
}

fn pointer(event: &Event) -> Option<(SourceName, Pointer)> {
    let pointer = match &event.body {
        Body::OrderNoticed(noticed) => Pointer::Order { order: noticed.order.clone(), scope: noticed.scope.clone() },
        Body::PaymentNoticed(noticed) => Pointer::Payment { payment: noticed.payment.clone(), refund: noticed.refund },
        Body::ShowNoticed(noticed) => Pointer::Show(noticed.show.clone()),
        _ => return None,
    };
    Some((event.source.clone(), pointer))
}
