//! Deals that contacts have already. A deal that an earlier hub created is not created again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stagedoor_engine::{DealDraft, PersonId};

use crate::vtiger::{
    client::Vtiger,
    query::{self, IN},
    schema::Schema,
    transport::Failure,
    wire,
};

/// Existing deals by the hub's key, and the person's id that each deal carries.
type DealsThere = (BTreeMap<String, u64>, BTreeMap<u64, PersonId>);

impl Vtiger {
    /// Deals that these contacts already have for these shows, even if they carry another id of the hub. The hub's
    /// files may be new, so the person may have a new id.
    pub(super) async fn deals_there(&self, schema: &Schema, rows: &[(u64, DealDraft)]) -> Result<DealsThere, Failure> {
        let field = schema.deals.key()?.to_owned();
        let (mut there, mut bearers) = (BTreeMap::new(), BTreeMap::new());
        let contacts: BTreeSet<String> = rows.iter().map(|(contact, _)| schema.contacts.of(*contact)).collect();
        let contacts: Vec<String> = contacts.into_iter().collect();
        for chunk in contacts.chunks(IN) {
            let list = query::list(chunk.iter().map(String::as_str));
            let (columns, condition) = (format!("id,contact_id,{field}"), format!("contact_id in ({list})"));
            for row in query::all(&self.transport, &columns, "Potentials", &condition).await? {
                let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
                let show = text(&field).split_once('|').map(|(_, show)| show.to_owned());
                let mine = rows.iter().filter(|(contact, draft)| {
                    schema.contacts.of(*contact) == text("contact_id") && show.as_deref() == Some(draft.show.0.as_str())
                });
                let number = query::id(&row).and_then(|id| query::number(&id));
                let bearer = text(&field).split('|').next().and_then(|id| PersonId::parse(id.trim()).ok());
                for (_, draft) in mine {
                    bearers.extend(number.zip(bearer));
                    there.extend(number.map(|number| (wire::deal_id(draft.person, &draft.show), number)));
                }
            }
        }
        Ok((there, bearers))
    }
}
