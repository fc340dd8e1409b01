//! The rows that Vtiger gets, kind by kind.

use serde_json::Value;
use stagedoor_engine::{CompanyDraft, ContactDraft, DealDraft, Parting};
use stagedoor_model::Timestamp;
use stagedoor_ports::{Gone, WriteOutcome};

use crate::vtiger::{
    client::Vtiger,
    companies,
    create::New,
    gone::companies_of,
    notes_and_tasks,
    wire::{self, Fields},
};

impl Vtiger {
    pub(super) async fn create_contacts(&self, rows: &[ContactDraft]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let new = |draft: &ContactDraft| {
            let fields = Self::owned(wire::contact(draft, &schema, &Value::Null, self.settings.region), &schema);
            Ok(New { key: draft.person.to_string(), fields })
        };
        let made = self.contacts_of(&schema).create(rows.iter().map(new).collect()).await;
        self.gone(&schema, made, |index| companies_of(rows.get(index).and_then(|draft| draft.company.as_ref()))).await
    }

    pub(super) async fn update_contacts(&self, rows: &[(u64, ContactDraft)]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let (maker, schema) = (self.contacts_of(&schema), &schema);
        let maker = &maker;
        let one = |index: usize| async move {
            let Some((number, draft)) = rows.get(index) else { return WriteOutcome::NotSent };
            let id = schema.contacts.of(*number);
            match self.transport.get("retrieve", &[("id", &id)]).await {
                Ok(held) => {
                    if let Some(other) = schema.contacts.foreign(&held, draft.person, &draft.other_ids) {
                        return other;
                    }
                    maker.revise(*number, wire::contact(draft, schema, &held, self.settings.region), &held).await
                }
                Err(failure) => maker.refused_or_later(*number, failure).await,
            }
        };
        let done = self.each(rows, one).await;
        self.gone(schema, done, |index| companies_of(rows.get(index).and_then(|(_, draft)| draft.company.as_ref())))
            .await
    }

    pub(super) async fn create_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready_for(rows).await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let now = self.clock.now();
        let new = |(contact, draft): &(u64, DealDraft)| {
            let fields = wire::deal(draft, Some(*contact), &schema, &self.settings.zone, now)?;
            Ok(New { key: wire::deal_id(draft.person, &draft.show), fields: Self::owned(fields, &schema) })
        };
        let (there, bearers) = match self.deals_there(&schema, rows).await {
            Ok(found) => found,
            Err(failure) => {
                tracing::warn!(?failure, "deals of these contacts could not be looked up");
                return vec![WriteOutcome::NotSent; rows.len()];
            }
        };
        let (maker, schema) = (self.deals_of(&schema), &schema);
        let maker = &maker;
        let revise = async |index: usize, number: u64, fields: Fields| match rows.get(index) {
            Some((_, draft)) => {
                // A deal of that show on the person's own contact belongs to the person. An earlier hub may have given
                // it another id.
                let other_ids =
                    bearers.get(&number).copied().into_iter().chain(draft.other_ids.iter().copied()).collect();
                let draft = DealDraft { other_ids, ..draft.clone() };
                self.revise_deal(maker, schema, (number, &draft), fields).await
            }
            None => WriteOutcome::NotSent,
        };
        let made = maker.create_or(rows.iter().map(new).collect(), there, revise).await;
        let points_at = |index: usize| {
            let Some((contact, draft)) = rows.get(index) else { return vec![] };
            [Gone::Contact(*contact)].into_iter().chain(companies_of(draft.company.as_ref())).collect()
        };
        self.gone(schema, made, points_at).await
    }

    pub(super) async fn update_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready_for(rows).await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let (maker, now) = (self.deals_of(&schema), self.clock.now());
        let (maker, schema) = (&maker, &schema);
        let one = |index: usize| async move {
            let Some((number, draft)) = rows.get(index) else { return WriteOutcome::NotSent };
            self.update_deal(maker, schema, (*number, draft), now).await
        };
        let done = self.each(rows, one).await;
        self.gone(schema, done, |index| companies_of(rows.get(index).and_then(|(_, draft)| draft.company.as_ref())))
            .await
    }

    pub(super) async fn put_companies(
        &self,
        rows: &[(Option<u64>, CompanyDraft)],
        _: Option<Timestamp>,
    ) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        companies::put(&self.accounts_of(&schema), rows, &schema.owner, self.settings.language).await
    }

    pub(super) async fn mark_duplicates(&self, rows: &[(u64, u64)]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let mut marked = Vec::new();
        for (contact, of) in rows {
            marked.push(self.mark(&schema, *contact, *of).await);
        }
        marked
    }

    pub(super) async fn part_contacts(&self, rows: &[Parting]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let mut parted = Vec::new();
        for row in rows {
            parted.push(self.part(&schema, row).await);
        }
        parted
    }

    pub(super) async fn add_notes(&self, rows: &[(u64, String)]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let row = |(contact, text): &(u64, String)| {
            notes_and_tasks::comment(&schema.contacts.of(*contact), text, &schema.owner)
        };
        let made = notes_and_tasks::make(&self.transport, "ModComments", rows.iter().map(row).collect()).await;
        self.gone(&schema, made, |index| rows.get(index).map(|(id, _)| Gone::Contact(*id)).into_iter().collect()).await
    }

    pub(super) async fn add_tasks(&self, rows: &[(u64, String, Timestamp)]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let row = |(contact, text, until): &(u64, String, Timestamp)| {
            let until = self.transport.server_clock.text(*until);
            notes_and_tasks::task(&schema.contacts.of(*contact), text, &until, &schema.owner)
        };
        notes_and_tasks::make(&self.transport, "Calendar", rows.iter().map(row).collect()).await
    }
}
