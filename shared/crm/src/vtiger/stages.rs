//! Stages: where the config's stages are in the CRM, where deals stand, and whether the hub may move them. A value of
//! the picklist "Sales Stage" has no id and no pipeline. Only its place in the picklist counts.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stagedoor_engine::DealDraft;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{CrmError, WriteOutcome};

use crate::vtiger::{
    client::Vtiger,
    create::Maker,
    normalise::plain,
    query::{self, PAGE},
    schema::{self, Module, STAGE, Schema},
    wire::{self, Fields},
};

/// The picklist's values at the last reading, and the config stages that have another name by now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    values: Vec<String>,
    renamed: BTreeMap<String, String>,
    /// Intermediate names of config stages. A call without an answer may still create a deal there.
    #[serde(default)]
    former: BTreeMap<String, String>,
}

impl Remembered {
    /// The possible new name of the stage that was called `name`. The value in its place must be new, and the number of
    /// values unchanged.
    fn renamed(&self, name: &str, now: &[String]) -> Option<String> {
        let index = self.values.iter().position(|value| value == name)?;
        let same = self.values.len() == now.len();
        now.get(index).filter(|value| same && !self.values.contains(value)).cloned()
    }

    /// True if the place alone proves that a stage was renamed. An administrator who deletes a value and adds another
    /// one gets the new value at the end. If several values are missing, all others must stand where they stood.
    fn is_certain(&self, now: &[String]) -> bool {
        let is_missing = |value: &&String| !now.contains(value);
        let missing = self.values.iter().filter(is_missing).count();
        let others_stand = self.values.iter().zip(now).all(|(was, is)| was == is || is_missing(&was));
        let several = others_stand && !breakage::is_on("one-stage-renamed-at-a-time");
        let last_is_there = self.values.last().is_some_and(|last| now.contains(last));
        last_is_there && (missing == 1 || several) || breakage::is_on("stage-by-place-alone")
    }
}

impl Vtiger {
    /// Finds renamed stages by their places in the picklist, and remembers the places of all.
    pub(super) async fn recall_stages(&self, deals: &mut Module) -> Result<(), CrmError> {
        let (before, version): (Remembered, _) = self.memory.recall().await?;
        let mut after = Remembered { values: deals.stages().to_vec(), ..before.clone() };
        for stage in &self.settings.stages {
            let is_there = |name: &String| after.values.contains(name);
            let last = before.renamed.get(stage).unwrap_or(stage);
            let now = if is_there(last) {
                Some(last.clone())
            } else {
                self.renamed(&before, last, &after.values, deals).await?
            };
            let now = now.filter(|_| !is_there(stage) && !breakage::is_on("stages-by-name"));
            match now {
                Some(now) => {
                    tracing::warn!(stage, now, "a stage has another name in the CRM; it is known by its place");
                    if last != stage && *last != now && !breakage::is_on("former-stage-is-a-managers") {
                        after.former.insert(last.clone(), stage.clone());
                    }
                    after.renamed.insert(stage.clone(), now);
                }
                None => {
                    if !is_there(stage) {
                        tracing::warn!(stage, "the CRM has no such stage; deals that need it wait");
                    }
                    after.renamed.remove(stage);
                }
            }
        }
        if after != before {
            self.memory.keep(&after, version).await;
        }
        (deals.renamed, deals.former) = (after.renamed, after.former);
        Ok(())
    }

    /// The new name of the stage that was called `name`. A deleted stage and an added one look the same, so the stage's
    /// deals decide. A rename changes the deals in the stage, but not the user who changed them last.
    async fn renamed(
        &self,
        before: &Remembered,
        name: &str,
        values: &[String],
        deals: &Module,
    ) -> Result<Option<String>, CrmError> {
        let Some(now) = before.renamed(name, values).filter(|now| !self.settings.stages.contains(now)) else {
            return Ok(None);
        };
        if before.is_certain(values) {
            return Ok(Some(now));
        }
        let (own, key) = (self.transport.user().await?, deals.key()?);
        let query = format!(
            "select id,modifiedby,{key} from Potentials where {STAGE}={} limit 0,{PAGE};",
            query::literal(&now)
        );
        let rows = query::page(&self.transport, &query).await?;
        // The hub never put a deal there, so the value was renamed under the deal.
        let is_of_hub = |row: &Value| row.get("modifiedby").and_then(Value::as_str) == Some(&own);
        let is_renamed = rows.iter().any(|row| is_of_hub(row) && deals.hub_id(row).is_some());
        if !is_renamed {
            tracing::warn!(
                name,
                now,
                "a stage may have been renamed or deleted; no deal tells which, so it counts as deleted"
            );
        }
        Ok(Some(now).filter(|_| is_renamed))
    }

    /// The schema, with fresh stages if one of these deals gets a stage. The CRM would accept a value that is gone from
    /// the picklist, and no funnel would show the deal.
    pub(super) async fn ready_for(&self, rows: &[(u64, DealDraft)]) -> Option<Arc<Schema>> {
        if rows.iter().all(|(_, draft)| draft.stage.is_none()) {
            return self.ready().await;
        }
        self.read_stages().await.inspect_err(|error| tracing::warn!(%error, "the CRM's stages could not be read")).ok()
    }

    /// Makes a deal equal to its draft. Workflows and managers move deals, so the stage is sent only if the hub may
    /// move the deal from its current stage.
    pub(super) async fn update_deal(
        &self,
        maker: &Maker<'_>,
        schema: &Schema,
        (number, draft): (u64, &DealDraft),
        now: Timestamp,
    ) -> WriteOutcome {
        let fields = match wire::deal(draft, None, schema, &self.settings.zone, now) {
            Ok(fields) => fields,
            Err(reason) => return WriteOutcome::Held(reason),
        };
        self.revise_deal(maker, schema, (number, draft), fields).await
    }

    /// Makes a deal equal to fields that are built already.
    pub(super) async fn revise_deal(
        &self,
        maker: &Maker<'_>,
        schema: &Schema,
        (number, draft): (u64, &DealDraft),
        mut fields: Fields,
    ) -> WriteOutcome {
        let id = schema.deals.of(number);
        let held = match self.transport.get("retrieve", &[("id", &id)]).await {
            Ok(held) => held,
            Err(failure) => return maker.refused_or_later(number, failure).await,
        };
        if let Some(other) = schema.deals.foreign(&held, draft.person, &draft.other_ids) {
            return other;
        }
        if draft.stage.is_some() && draft.guard.is_some() && !breakage::is_on("stages-sent-unread") {
            match self.may_move(schema, draft, &held).await {
                Ok(true) => {}
                Ok(false) => _ = fields.remove(STAGE),
                Err(_) => return WriteOutcome::NotSent,
            }
        }
        maker.revise(number, fields, &held).await
    }

    async fn may_move(&self, schema: &Schema, draft: &DealDraft, held: &Value) -> Result<bool, CrmError> {
        let (Some((stage, name)), Some(guard)) = (&draft.stage, &draft.guard) else { return Ok(false) };
        let stands = held.get(STAGE).map(plain).unwrap_or_default();
        let mut fresh = None;
        if schema.deals.stage(&stands).is_none() {
            // An administrator may have created the stage since the picklist was read.
            fresh = Some(self.read_stages().await?);
        }
        let deals = &fresh.as_deref().unwrap_or(schema).deals;
        let place = |_: &str, name: &str| deals.stage(name);
        let places = deals.stage(&stands).zip(deals.stage(name));
        Ok(places.is_some_and(|(from, to)| guard.allows((*stage, &draft.pipeline), &from, &to, &place)))
    }

    /// Reads the picklist again. The rest of the schema stays as it was read.
    pub(super) async fn read_stages(&self) -> Result<Arc<Schema>, CrmError> {
        let mut deals = schema::describe(&self.transport, "Potentials").await?;
        self.recall_stages(&mut deals).await?;
        let schema = Arc::new(Schema { deals, ..(*self.schema().await?).clone() });
        *self.schema.write().await = Some(Arc::clone(&schema));
        Ok(schema)
    }
}
