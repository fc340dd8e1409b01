//! The part of a simulated process that sends messages.

use std::{sync::Arc, time::Duration};

use stagedoor_model::SourceName;
use stagedoor_outreach::{Outreach, RateLimit};
use stagedoor_ports::{Channel, Queue, Store};
use stagedoor_tests::crash::{Life, Mortal};
use tokio::task::JoinSet;

use crate::{
    hub::{IDLE, Shared},
    queue::SimulatedQueue,
    way_out::SimulatedChannel,
};

impl Shared {
    pub fn outreach(&self, life: &Life) -> Result<Outreach, String> {
        let channel = |(through, remembers): (&'static str, bool)| {
            let simulated = SimulatedChannel { way_out: Arc::clone(&self.way_out), through, remembers };
            let mortal = Mortal { inner: Arc::new(simulated) as Arc<dyn Channel>, life: life.clone() };
            Ok((SourceName::new(through)?, Arc::new(mortal) as Arc<dyn Channel>))
        };
        let channels: Result<_, &str> =
            [("email", false), ("sms", true), ("telegram", false)].into_iter().map(channel).collect();
        let store: Arc<dyn Store> = Arc::new(Mortal { inner: Arc::clone(&self.store), life: life.clone() });
        let pace = Arc::new(RateLimit::default());
        Ok(Outreach { store, channels: channels?, pace, ..self.hub.outreach.clone() })
    }
}

/// Sends from the outbox.
pub async fn write(outbox: Arc<SimulatedQueue>, outreach: Outreach, life: Life) {
    let mut under_way = JoinSet::new();
    let mut idle = Duration::from_millis(500);
    while !life.is_over() {
        while under_way.try_join_next().is_some() {}
        let batch = outbox.receive(50).await.unwrap_or_default();
        if batch.is_empty() {
            tokio::time::sleep(idle).await;
            idle = (idle * 2).min(IDLE);
            continue;
        }
        idle = Duration::from_millis(500);
        let (outbox, outreach, life) = (Arc::clone(&outbox), outreach.clone(), life.clone());
        under_way.spawn(async move {
            let (events, receipts): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.event, one.receipt)).unzip();
            let failed = outreach.handle(events).await;
            let done = receipts.into_iter().enumerate().filter(|(index, _)| !failed.contains(index));
            if !life.is_over() {
                _ = outbox.done(done.map(|(_, receipt)| receipt).collect()).await;
            }
        });
    }
}
