//! The rows that amoCRM gets, kind by kind.

use std::collections::BTreeSet;

use http::Method;
use serde_json::json;
use stagedoor_engine::{CompanyDraft, ContactDraft, DealDraft, Parting};
use stagedoor_model::Timestamp;
use stagedoor_ports::{Gone, WriteOutcome};
use stagedoor_texts::crm;

use crate::amocrm::{
    bulk,
    client::{AmoCrm, SKEW},
    companies, links, notes_and_tasks,
    schema::{self, Schema},
    wire,
};

impl AmoCrm {
    pub(super) async fn create_contacts(&self, rows: &[ContactDraft]) -> Vec<WriteOutcome> {
        let region = self.settings.region;
        let build = |schema: &Schema| rows.iter().map(|one| Ok(wire::contact(one, schema, None, region))).collect();
        let made = self.send_healing(&Method::POST, "/api/v4/contacts", "contacts", build, &bulk::NOTHING).await;
        let companies = rows.iter().map(|draft| draft.company.as_ref().and_then(|company| company.id));
        self.hang("contacts", made, companies.collect(), true).await
    }

    pub(super) async fn update_contacts(&self, rows: &[(u64, ContactDraft)]) -> Vec<WriteOutcome> {
        let adds = |draft: &ContactDraft| !draft.phones.is_empty() || !draft.emails.is_empty();
        let ids: BTreeSet<u64> = rows.iter().filter(|(_, draft)| adds(draft)).map(|(id, _)| *id).collect();
        let held = match self.standing(ids).await {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(%error, "contacts could not be read before they are written");
                return vec![WriteOutcome::NotSent; rows.len()];
            }
        };
        let build = |schema: &Schema| {
            let row = |(id, draft): &(u64, ContactDraft)| {
                let other = wire::foreign(held.get(id), draft.person, &draft.other_ids);
                let row = wire::contact(draft, schema, held.get(id), self.settings.region);
                other.map_or_else(|| Ok(wire::with_id(*id, row)), Err)
            };
            rows.iter().map(row).collect()
        };
        let gone = |index: usize, field: &str| (field == "id").then_some(Gone::Contact(rows.get(index)?.0));
        let done = self.send_healing(&Method::PATCH, "/api/v4/contacts", "contacts", build, &gone).await;
        let companies = rows.iter().map(|(_, draft)| draft.company.as_ref().and_then(|company| company.id));
        self.hang("contacts", done, companies.collect(), false).await
    }

    pub(super) async fn create_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
        if let Err(error) = self.look_for_stages(rows).await {
            tracing::warn!(%error, "the CRM's stages could not be read");
            return vec![WriteOutcome::NotSent; rows.len()];
        }
        let build = |schema: &Schema| {
            rows.iter()
                .map(|(contact, draft)| wire::deal(draft, Some(*contact), schema, None).map_err(WriteOutcome::Held))
                .collect()
        };
        let gone = |index: usize, field: &str| {
            let (contact, draft) = rows.get(index)?;
            match field {
                "_embedded.contacts.0.id" => Some(Gone::Contact(*contact)),
                "_embedded.companies.0.id" => draft.company.as_ref()?.id.map(Gone::Company),
                _ => None,
            }
        };
        self.send_healing(&Method::POST, "/api/v4/leads", "leads", build, &gone).await
    }

    pub(super) async fn update_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
        let held = match self.deals_to_move(rows).await {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(%error, "deals could not be read before they are moved");
                return vec![WriteOutcome::NotSent; rows.len()];
            }
        };
        let build = |schema: &Schema| {
            let row = |(id, draft): &(u64, DealDraft)| {
                if let Some(other) = wire::foreign(held.get(id), draft.person, &draft.other_ids) {
                    return Err(other);
                }
                wire::deal(draft, None, schema, held.get(id))
                    .map(|row| wire::with_id(*id, row))
                    .map_err(WriteOutcome::Held)
            };
            rows.iter().map(row).collect()
        };
        let gone = |index: usize, field: &str| (field == "id").then_some(Gone::Deal(rows.get(index)?.0));
        let done = self.send_healing(&Method::PATCH, "/api/v4/leads", "leads", build, &gone).await;
        let companies = rows.iter().map(|(_, draft)| draft.company.as_ref().and_then(|company| company.id));
        self.hang("leads", done, companies.collect(), false).await
    }

    pub(super) async fn put_companies(
        &self,
        rows: &[(Option<u64>, CompanyDraft)],
        since: Option<Timestamp>,
    ) -> Vec<WriteOutcome> {
        let language = self.settings.language;
        let make = || schema::fields(&self.transport, "companies", &companies::FIELDS, language);
        match self.company_fields.get_or_try_init(make).await {
            Ok(fields) => companies::put(&self.transport, fields, rows, companies::second(since, SKEW), language).await,
            Err(error) => {
                tracing::warn!(%error, "the CRM's fields of companies could not be read");
                vec![WriteOutcome::NotSent; rows.len()]
            }
        }
    }

    pub(super) async fn mark_duplicates(&self, rows: &[(u64, u64)]) -> Vec<WriteOutcome> {
        let moved = match links::move_deals(&self.transport, rows).await {
            Ok(moved) => moved,
            Err(error) => {
                tracing::warn!(%error, "deals of duplicates were not moved; tried again later");
                return vec![WriteOutcome::NotSent; rows.len()];
            }
        };
        let language = self.settings.language;
        let build = |_: &Schema| {
            rows.iter()
                .zip(&moved)
                .map(|((contact, of), moved)| {
                    let tags = json!([{ "name": crm::duplicate_tag(of.to_string()).to(language) }]);
                    let row = wire::with_id(*contact, json!({ "tags_to_add": tags, "updated_by": 0 }));
                    if matches!(moved, WriteOutcome::Done(_)) { Ok(row) } else { Err(moved.clone()) }
                })
                .collect()
        };
        let gone = |index: usize, field: &str| (field == "id").then_some(Gone::Contact(rows.get(index)?.0));
        let tagged = self.send_healing(&Method::PATCH, "/api/v4/contacts", "contacts", build, &gone).await;
        notes_and_tasks::tell_managers(&self.transport, rows, &tagged, language).await;
        tagged
    }

    pub(super) async fn part_contacts(&self, rows: &[Parting]) -> Vec<WriteOutcome> {
        let mut parted = Vec::new();
        for row in rows {
            parted.push(self.part(row).await);
        }
        parted
    }

    pub(super) async fn add_notes(&self, rows: &[(u64, String)]) -> Vec<WriteOutcome> {
        let build = |_: &Schema| rows.iter().map(|(contact, text)| Ok(notes_and_tasks::note(*contact, text))).collect();
        let gone = |index: usize, field: &str| (field == "entity_id").then_some(Gone::Contact(rows.get(index)?.0));
        self.send_healing(&Method::POST, "/api/v4/contacts/notes", "notes", build, &gone).await
    }

    pub(super) async fn add_tasks(&self, rows: &[(u64, String, Timestamp)]) -> Vec<WriteOutcome> {
        let build = |_: &Schema| {
            rows.iter().map(|(contact, text, until)| Ok(notes_and_tasks::task(*contact, text, *until))).collect()
        };
        let gone = |index: usize, field: &str| (field == "entity_id").then_some(Gone::Contact(rows.get(index)?.0));
        self.send_healing(&Method::POST, "/api/v4/tasks", "tasks", build, &gone).await
    }
}
