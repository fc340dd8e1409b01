//! Where deals stand, and whether the hub may move them from there. A value of the picklist "Sales Stage" has no id and no
//! pipeline; what counts is its place in the picklist.

use std::sync::Arc;

use serde_json::Value;
use stagedoor_engine::DealDraft;
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{CrmError, Row};

use crate::vtiger::{
    client::Vtiger,
    create::Maker,
    fit::plain,
    schema::{self, STAGE, Schema},
    wire,
};

impl Vtiger {
    /// Makes a deal equal to its draft. Workflows and managers move deals, so its stage is sent only where it may be moved from
    /// where it stands.
    pub(super) async fn update_deal(
        &self,
        maker: &Maker<'_>,
        schema: &Schema,
        (number, draft): (u64, &DealDraft),
        now: Timestamp,
    ) -> Row {
        let mut fields = match wire::deal(draft, None, schema, &self.settings.zone, now) {
            Ok(fields) => fields,
            Err(reason) => return Row::Refused(reason),
        };
        let id = schema.deals.of(number);
        let held = match self.transport.get("retrieve", &[("id", &id)]).await {
            Ok(held) => held,
            Err(failure) => return maker.refused_or_later(number, failure),
        };
        if draft.stage.is_some() && draft.guard.is_some() && !breakage::is_on("stages-sent-unread") {
            match self.may_move(schema, draft, &held).await {
                Ok(true) => {}
                Ok(false) => _ = fields.remove(STAGE),
                Err(_) => return Row::NotSent,
            }
        }
        maker.revise(number, fields, &held).await
    }

    async fn may_move(&self, schema: &Schema, draft: &DealDraft, held: &Value) -> Result<bool, CrmError> {
        let (Some((stage, name)), Some(guard)) = (&draft.stage, &draft.guard) else { return Ok(false) };
        let stands = held.get(STAGE).map(plain).unwrap_or_default();
        let mut fresh = None;
        if schema.deals.stage(&stands).is_none() {
            // An administrator may have made the stage since the picklist was read.
            fresh = Some(self.read_stages().await?);
        }
        let deals = &fresh.as_deref().unwrap_or(schema).deals;
        let place = |_: &str, name: &str| deals.stage(name);
        let places = deals.stage(&stands).zip(deals.stage(name));
        Ok(places.is_some_and(|(from, to)| guard.allows((*stage, &draft.pipeline), &from, &to, &place)))
    }

    /// Reads the picklist anew; the rest stays as it was read.
    pub(super) async fn read_stages(&self) -> Result<Arc<Schema>, CrmError> {
        let deals = schema::describe(&self.transport, "Potentials").await?;
        let schema = Arc::new(Schema { deals, ..(*self.schema().await?).clone() });
        *self.schema.write().await = Some(Arc::clone(&schema));
        Ok(schema)
    }
}
