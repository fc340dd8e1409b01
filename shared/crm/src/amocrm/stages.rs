//! Stages: where the config's stages are in the account, where deals stand, and whether the hub may move them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stagedoor_engine::{DealDraft, StagePlace};
use stagedoor_model::breakage;
use stagedoor_ports::CrmError;

use crate::amocrm::{
    client::AmoCrm,
    schema::{Schema, number},
};

/// Names of a pipeline and a stage of the config, with their ids.
type Remembered = ((String, String), (u64, u64));

impl AmoCrm {
    /// Finds renamed stages by their earlier ids, and remembers the ids of all others.
    pub(super) async fn recall_stages(&self, schema: &mut Schema) -> Result<(), CrmError> {
        let Some(memory) = &self.memory else { return Ok(()) };
        let (kept, version): (Vec<Remembered>, _) = memory.recall().await?;
        let mut known: BTreeMap<_, _> = kept.iter().cloned().collect();
        for key in &self.settings.stages {
            let (pipeline, stage) = key;
            match (schema.stages.get(key), known.get(key).filter(|ids| schema.places.contains_key(ids))) {
                (Some(ids), _) => _ = known.insert(key.clone(), *ids),
                (None, Some(ids)) if !breakage::is_on("stages-by-name") => {
                    tracing::warn!(pipeline, stage, "a stage has another name in the CRM; it is known by its id");
                    schema.stages.insert(key.clone(), *ids);
                }
                _ => tracing::warn!(pipeline, stage, "the CRM has no such stage; deals that need it wait"),
            }
        }
        let known: Vec<Remembered> = known.into_iter().collect();
        if known != kept {
            memory.keep(&known, version).await;
        }
        Ok(())
    }

    /// Reads the stages again if a deal needs a missing one, because somebody may have created it.
    pub(super) async fn look_for_stages(&self, rows: &[(u64, DealDraft)]) -> Result<(), CrmError> {
        let schema = self.schema().await?;
        let needed = rows.iter().filter_map(|(_, draft)| Some((draft.pipeline.clone(), draft.stage.clone()?.1)));
        let mut needed = needed.filter(|key| !schema.stages.contains_key(key));
        if needed.next().is_some() { self.read_stages().await } else { Ok(()) }
    }

    /// The current rows of deals that get a stage, by their ids. Robots and managers move deals, and not every webhook
    /// arrives.
    pub(super) async fn deals_to_move(&self, rows: &[(u64, DealDraft)]) -> Result<BTreeMap<u64, Value>, CrmError> {
        self.look_for_stages(rows).await?;
        let moving = rows.iter().filter(|(_, draft)| draft.stage.is_some() && draft.guard.is_some());
        let ids: BTreeSet<u64> = moving.map(|(id, _)| *id).collect();
        if ids.is_empty() || breakage::is_on("stages-sent-unread") {
            return Ok(BTreeMap::new());
        }
        let found = self.rows("leads", &ids).await?;
        let held: BTreeMap<u64, Value> = found.into_iter().filter_map(|row| Some((number(&row, "id")?, row))).collect();
        // A manager may have created a stage since the account was read.
        let schema = self.schema().await?;
        if held.values().filter_map(ids_of).any(|ids| !schema.places.contains_key(&ids)) {
            self.read_stages().await?;
        }
        Ok(held)
    }
}

/// Ids of the pipeline and the stage of a deal.
fn ids_of(deal: &Value) -> Option<(u64, u64)> {
    number(deal, "pipeline_id").zip(number(deal, "status_id"))
}

/// The stage that the deal moves to, or `None` if the deal stays where it is.
///
/// # Errors
/// If the CRM does not have the stage.
pub(super) fn moved_to(draft: &DealDraft, schema: &Schema, held: Option<&Value>) -> Result<Option<StagePlace>, String> {
    let Some((stage, name)) = &draft.stage else { return Ok(None) };
    let place = |pipeline: &str, name: &str| {
        let ids = schema.stages.get(&(pipeline.to_owned(), name.to_owned()))?;
        schema.places.get(ids).copied()
    };
    let to = place(&draft.pipeline, name).ok_or_else(|| {
        format!("the CRM has no stage {name:?} in pipeline {:?}; make it there or change the config", draft.pipeline)
    })?;
    let (Some(guard), Some(held)) = (&draft.guard, held) else { return Ok(Some(to)) };
    // A deal in a pipeline that the hub does not see stays where it is.
    let from = ids_of(held).and_then(|ids| schema.places.get(&ids));
    let is_allowed = from.is_some_and(|from| guard.allows((*stage, &draft.pipeline), from, &to, &place));
    Ok(is_allowed.then_some(to))
}
