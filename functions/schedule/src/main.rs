//! `schedule` as AWS runs it: each tick pulls sources in case a webhook was lost, and checks which sources are
//! silent.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use stagedoor_aws::{Consumer, Error, FunctionContext, Reading, consume, emit, setting};
use stagedoor_model::{Event, SourceName};
use stagedoor_ports::{SilenceRule, silent_sources};
use stagedoor_schedule::Schedule;

#[tokio::main]
async fn main() -> Result<(), Error> {
    consume(build).await
}

async fn build() -> Result<Arc<dyn Consumer>, Error> {
    let FunctionContext { config, store, queue, clock, .. } = setting(Reading::Schedule, &|_, _| Ok(())).await?;
    let order_apis = stagedoor_source_clients::order_apis(config.sources.iter().map(|one| &one.source))?;
    let zone = config.catalog.zone.clone().unwrap_or(jiff::tz::TimeZone::UTC);
    let rule = SilenceRule::new(config.alarms.silent, zone);
    let schedule = Schedule { store: Arc::new(store), queue: Arc::new(queue), clock, order_apis };
    Ok(Arc::new(Pulling { schedule, sources: config.alarms.heard, rule }))
}

struct Pulling {
    schedule: Schedule,
    /// Sources that are reported if they are silent.
    sources: BTreeSet<SourceName>,
    rule: SilenceRule,
}

#[async_trait]
impl Consumer for Pulling {
    async fn handle(&self, _: Vec<Event>, _: Duration) -> BTreeSet<usize> {
        self.schedule.pull_all().await;
        self.tell_silent().await;
        BTreeSet::new()
    }
}

impl Pulling {
    /// Reports silent sources. The log names them, and the figure counts them for an alarm of the template.
    async fn tell_silent(&self) {
        let (store, now) = (&*self.schedule.store, self.schedule.clock.now());
        match silent_sources(store, &self.sources, now, &self.rule).await {
            Ok(silent) => {
                for (source, silence) in &silent {
                    tracing::warn!(%source, ?silence, "nothing came from this source for longer than usual");
                }
                emit("schedule", &[("SilentSources", silent.len() as f64, "Count")], true);
            }
            Err(error) => tracing::warn!(%error, "which sources are silent cannot be told"),
        }
    }
}
