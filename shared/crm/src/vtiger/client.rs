use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, tz::TimeZone};
use serde_json::{Value, json};
use stagedoor_engine::{CompanyDraft, ContactDraft, DealDraft, InvoiceDraft, Parting, PersonId, ShowKey};
use stagedoor_model::{Region, Timestamp, breakage};
use stagedoor_ports::{
    Changes, Clock, Crm, CrmError, CrmPage, CrmTotals, Deleted, Gone, InvoiceOwners, OfErased, Store, Struck,
    WriteOutcome,
};
use stagedoor_texts::Language;
use stagedoor_webhook::Secret;
use tokio::sync::{Mutex, RwLock};

use crate::{
    http::{HttpClient, SocketClient},
    stage_memory::StageMemory,
    vtiger::{
        changes, companies,
        create::{Maker, New},
        gone::companies_of,
        invoices::{self, Ability},
        login::Login,
        normalise::{self, normalise_fields},
        notes_and_tasks,
        query::{self, IN, PAGE},
        schema::Schema,
        transport::Transport,
        wire::{self, Fields},
    },
};

/// Largest difference between the CRM's clock and ours when the hub looks for records that it created.
const SKEW: SignedDuration = SignedDuration::from_secs(120);
/// Number of rows that are written under one check of the lease. Four sessions write them in about a second.
const BATCH: usize = 48;
/// Fields that must come back as they were sent.
const CONTACT: &[&str] = &["email", "mobile", "phone", "account_id"];
const DEAL: &[&str] = &["amount", "closingdate", "contact_id", "sales_stage", "related_to"];

/// Settings of one Vtiger installation.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address of the CRM, such as `https://crm.theatre.example`.
    pub base_url: String,
    /// Region of phones that have no country code.
    pub region: Region,
    /// Time-out of one call.
    pub timeout: Duration,
    /// Pause before the first search for a record whose create call timed out.
    pub grace: Duration,
    /// How long a call that timed out may still take effect in the CRM.
    pub late_for: SignedDuration,
    /// Name of the user or group that owns new records. `None` means the hub's own user.
    pub owner: Option<String>,
    /// Name of the service of invoice lines. If `None`, no invoices are written.
    pub service: Option<String>,
    /// Name of the organisation that holds the invoices of single visitors.
    pub visitors: String,
    /// Time zone in which the days of shows are written.
    pub zone: TimeZone,
    /// Stages that the config uses.
    pub stages: BTreeSet<String>,
    /// Language of comments and closing documents.
    pub language: Language,
}

/// Client of VtigerCRM's webservice.
pub struct Vtiger {
    pub(super) settings: Settings,
    pub(super) transport: Transport,
    clock: Arc<dyn Clock>,
    pub(super) schema: RwLock<Option<Arc<Schema>>>,
    pub(super) memory: StageMemory,
    pub(super) ability: Ability,
    pub(super) visitors: Mutex<Option<u64>>,
    /// Lock for invoices that are created again.
    pub(super) alone: Mutex<()>,
}

impl Vtiger {
    /// Creates a client with an HTTP client of its own. `user` is the user name with its access key, `sessions` the
    /// number of parallel sessions. The name in the last tuple is that of this process among those that share the
    /// store.
    ///
    /// # Errors
    /// If the HTTP client cannot be built.
    pub fn open(
        settings: Settings,
        user: (String, Secret),
        sessions: NonZeroU32,
        (store, clock, owner): (Arc<dyn Store>, Arc<dyn Clock>, &str),
    ) -> Result<Self, String> {
        let http = Arc::new(SocketClient::new(settings.timeout)?);
        Ok(Self::over(http, settings, user, sessions, (store, clock, owner)))
    }

    /// Creates a client over the given HTTP client, for example a stand-in in this process.
    pub fn over(
        http: Arc<dyn HttpClient>,
        settings: Settings,
        user: (String, Secret),
        sessions: NonZeroU32,
        (store, clock, owner): (Arc<dyn Store>, Arc<dyn Clock>, &str),
    ) -> Self {
        let sessions = usize::try_from(sessions.get()).unwrap_or(1);
        let memory = StageMemory::new(&store, &settings.base_url);
        let login = Login::new(user, store, Arc::clone(&clock), owner.to_owned(), sessions);
        let transport = Transport::new(&settings.base_url, http, login);
        Self {
            settings,
            transport,
            clock,
            schema: RwLock::new(None),
            memory,
            ability: Ability::default(),
            visitors: Mutex::default(),
            alone: Mutex::default(),
        }
    }

    pub(super) async fn schema(&self) -> Result<Arc<Schema>, CrmError> {
        if let Some(schema) = self.schema.read().await.as_ref() {
            return Ok(Arc::clone(schema));
        }
        let (owner, service) = (self.settings.owner.as_deref(), self.settings.service.as_deref());
        self.transport.server_clock.recall().await;
        let mut schema = Schema::read(&self.transport, owner, service).await?;
        self.recall_stages(&mut schema.deals).await?;
        let schema = Arc::new(schema);
        *self.schema.write().await = Some(Arc::clone(&schema));
        Ok(schema)
    }

    pub(super) async fn ready(&self) -> Option<Arc<Schema>> {
        self.schema().await.inspect_err(|error| tracing::warn!(%error, "the CRM's fields could not be read")).ok()
    }

    pub(super) fn contacts_of<'s>(&'s self, schema: &'s Schema) -> Maker<'s> {
        Maker::new(&self.transport, &schema.contacts, CONTACT, self.settings.grace)
    }

    pub(super) fn accounts_of<'s>(&'s self, schema: &'s Schema) -> Maker<'s> {
        Maker::new(&self.transport, &schema.accounts, &[], self.settings.grace)
    }

    fn deals_of<'s>(&'s self, schema: &'s Schema) -> Maker<'s> {
        Maker::new(&self.transport, &schema.deals, DEAL, self.settings.grace)
    }

    fn owned(mut fields: Fields, schema: &Schema) -> Fields {
        fields.insert("assigned_user_id".into(), schema.owner.as_str().into());
        fields
    }

    pub(super) async fn each<T, F, W>(&self, rows: &[T], work: F) -> Vec<WriteOutcome>
    where
        T: Sync,
        F: Fn(usize) -> W,
        W: Future<Output = WriteOutcome>,
    {
        stream::iter((0..rows.len()).map(work)).buffered(self.transport.sessions() * 2).collect().await
    }

    async fn rows(&self, module: &str, ids: &[String]) -> Result<Vec<Value>, CrmError> {
        self.columns("*", module, ids).await
    }

    pub(super) async fn columns(&self, columns: &str, module: &str, ids: &[String]) -> Result<Vec<Value>, CrmError> {
        let mut rows = Vec::new();
        for chunk in ids.chunks(IN) {
            let list = query::list(chunk.iter().map(String::as_str));
            if !list.is_empty() {
                rows.extend(query::all(&self.transport, columns, module, &format!("id in ({list})")).await?);
            }
        }
        Ok(rows)
    }
}

#[async_trait]
impl Crm for Vtiger {
    async fn set_up(&self) -> Result<(), CrmError> {
        // A missing stage delays only the rows that need it.
        let schema = self.schema().await?;
        let is_there = |stage: &String| schema.deals.stage_value(stage).is_some();
        if breakage::is_on("missing-stage-stops-all") && !self.settings.stages.iter().all(is_there) {
            return Err(CrmError::CredentialsRejected("the CRM has not every stage".into()));
        }
        Ok(())
    }

    async fn create_contacts(&self, rows: &[ContactDraft]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let new = |draft: &ContactDraft| {
            let fields = Self::owned(wire::contact(draft, &schema, &Value::Null, self.settings.region), &schema);
            Ok(New { key: draft.person.to_string(), fields })
        };
        let made = self.contacts_of(&schema).create(rows.iter().map(new).collect()).await;
        self.gone(&schema, made, |index| companies_of(rows.get(index).and_then(|draft| draft.company.as_ref()))).await
    }

    async fn update_contacts(&self, rows: &[(u64, ContactDraft)]) -> Vec<WriteOutcome> {
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

    async fn create_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
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

    async fn update_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
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

    async fn put_companies(&self, rows: &[(Option<u64>, CompanyDraft)], _: Option<Timestamp>) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        companies::put(&self.accounts_of(&schema), rows, &schema.owner, self.settings.language).await
    }

    fn invoices(&self) -> bool {
        self.settings.service.is_some()
    }

    async fn create_invoices(&self, rows: &[(InvoiceOwners, InvoiceDraft)]) -> Vec<WriteOutcome> {
        self.make_invoices(rows).await
    }

    async fn update_invoices(&self, rows: &[(u64, InvoiceDraft)]) -> Vec<WriteOutcome> {
        self.change_invoices(rows).await
    }

    async fn find_invoices(&self, keys: &BTreeSet<String>) -> Result<BTreeMap<String, u64>, CrmError> {
        let schema = self.schema().await?;
        let keys: Vec<String> = keys.iter().cloned().collect();
        Ok(self.whole_by_key(&schema, &keys).await?)
    }

    fn has_webhooks(&self) -> bool {
        false
    }

    async fn changes(&self, since: Timestamp) -> Result<Changes, CrmError> {
        self.changes_since(since).await
    }

    async fn deleted(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Deleted, CrmError> {
        let schema = self.schema().await?;
        let (contacts, hidden) = changes::gone(&self.transport, &schema.contacts, contacts).await?;
        let (deals, more) = changes::gone(&self.transport, &schema.deals, deals).await?;
        Ok(Deleted { contacts, deals, hidden: hidden + more })
    }

    async fn fetch(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Changes, CrmError> {
        self.rows_now(contacts, deals).await
    }

    fn stored_text(&self, text: &str) -> String {
        normalise_fields("commentcontent", text)
    }

    async fn mark_duplicates(&self, rows: &[(u64, u64)]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let mut marked = Vec::new();
        for (contact, of) in rows {
            marked.push(self.mark(&schema, *contact, *of).await);
        }
        marked
    }

    async fn part_contacts(&self, rows: &[Parting]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let mut parted = Vec::new();
        for row in rows {
            parted.push(self.part(&schema, row).await);
        }
        parted
    }

    async fn add_notes(&self, rows: &[(u64, String)]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let row = |(contact, text): &(u64, String)| {
            notes_and_tasks::comment(&schema.contacts.of(*contact), text, &schema.owner)
        };
        let made = notes_and_tasks::make(&self.transport, "ModComments", rows.iter().map(row).collect()).await;
        self.gone(&schema, made, |index| rows.get(index).map(|(id, _)| Gone::Contact(*id)).into_iter().collect()).await
    }

    async fn add_tasks(&self, rows: &[(u64, String, Timestamp)]) -> Vec<WriteOutcome> {
        let Some(schema) = self.ready().await else { return vec![WriteOutcome::NotSent; rows.len()] };
        let row = |(contact, text, until): &(u64, String, Timestamp)| {
            let until = self.transport.server_clock.text(*until);
            notes_and_tasks::task(&schema.contacts.of(*contact), text, &until, &schema.owner)
        };
        notes_and_tasks::make(&self.transport, "Calendar", rows.iter().map(row).collect()).await
    }

    async fn find_notes(&self, contacts: &BTreeSet<u64>, since: Timestamp) -> Result<Vec<(u64, String)>, CrmError> {
        let schema = self.schema().await?;
        let about = ("ModComments", "related_to", "commentcontent");
        Ok(notes_and_tasks::of(&self.transport, &schema, about, contacts, since - SKEW).await?)
    }

    async fn find_tasks(&self, contacts: &BTreeSet<u64>, since: Timestamp) -> Result<Vec<(u64, String)>, CrmError> {
        let schema = self.schema().await?;
        let about = ("Calendar", "contact_id", "description");
        Ok(notes_and_tasks::of(&self.transport, &schema, about, contacts, since - SKEW).await?)
    }

    /// Finds contacts by the hub's own field, regardless of the time of their creation.
    async fn find_contacts(
        &self,
        people: &BTreeSet<PersonId>,
        _: Timestamp,
    ) -> Result<BTreeMap<PersonId, BTreeSet<u64>>, CrmError> {
        let schema = self.schema().await?;
        let keys: Vec<String> = people.iter().map(PersonId::to_string).collect();
        let found = self.contacts_of(&schema).find_all(&keys).await?;
        Ok(people.iter().filter_map(|id| Some((*id, found.get(&id.to_string())?.clone()))).collect())
    }

    async fn find_deals(
        &self,
        deals: &BTreeSet<(PersonId, ShowKey)>,
        _: Timestamp,
    ) -> Result<BTreeMap<(PersonId, ShowKey), BTreeSet<u64>>, CrmError> {
        let schema = self.schema().await?;
        let key = |(person, show): &(PersonId, ShowKey)| wire::deal_id(*person, show);
        let found = self.deals_of(&schema).find_all(&deals.iter().map(key).collect::<Vec<_>>()).await?;
        Ok(deals.iter().filter_map(|deal| Some((deal.clone(), found.get(&key(deal))?.clone()))).collect())
    }

    async fn find_companies(
        &self,
        keys: &BTreeSet<String>,
        _: Timestamp,
    ) -> Result<BTreeMap<String, BTreeSet<u64>>, CrmError> {
        let schema = self.schema().await?;
        Ok(self.accounts_of(&schema).find_all(&keys.iter().cloned().collect::<Vec<_>>()).await?)
    }

    fn room(&self) -> Option<(usize, usize)> {
        Some((wire::PHONES.len(), wire::EMAILS.len()))
    }

    fn late_for(&self) -> SignedDuration {
        self.settings.late_for
    }

    /// Reads contacts from this number on, in the order of numbers, so that created or deleted contacts shift no page.
    async fn contacts(&self, from: u32) -> Result<CrmPage, CrmError> {
        let schema = self.schema().await?;
        let columns = wire::columns(&schema.contacts);
        let after = query::literal(&schema.contacts.of(u64::from(from.saturating_sub(1))));
        let query = format!("select {columns} from Contacts where id > {after} order by id limit 0,{PAGE};");
        let rows = query::page(&self.transport, &query).await?;
        let last = rows.last().and_then(query::id).and_then(|id| query::number(&id));
        let next = last.filter(|_| rows.len() == PAGE).and_then(|number| u32::try_from(number + 1).ok());
        let bodies = rows.iter().filter_map(|row| self.mirrored(row, &schema));
        Ok(CrmPage { bodies: bodies.collect(), next })
    }

    async fn deals(&self, from: u32) -> Result<(Vec<(u64, String)>, Option<u32>), CrmError> {
        let schema = self.schema().await?;
        Ok(changes::deals_of_the_hub(&self.transport, &schema, from).await?)
    }

    async fn export(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Value, CrmError> {
        let schema = self.schema().await?;
        let ever = Timestamp::UNIX_EPOCH;
        let words = |all: Vec<(u64, String)>| all.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        let ids = |module: &crate::vtiger::schema::Module, all: &BTreeSet<u64>| -> Vec<String> {
            all.iter().map(|number| module.of(*number)).collect()
        };
        let notes = ("ModComments", "related_to", "commentcontent");
        let tasks = ("Calendar", "contact_id", "description");
        Ok(json!({
            "contacts": self.rows("Contacts", &ids(&schema.contacts, contacts)).await?,
            "deals": self.rows("Potentials", &ids(&schema.deals, deals)).await?,
            "notes": words(notes_and_tasks::of(&self.transport, &schema, notes, contacts, ever).await?),
            "tasks": words(notes_and_tasks::of(&self.transport, &schema, tasks, contacts, ever).await?),
        }))
    }

    async fn totals(&self, deals: &BTreeSet<u64>, invoices: &BTreeSet<u64>) -> Result<CrmTotals, CrmError> {
        let schema = self.schema().await?;
        let of = |module: &crate::vtiger::schema::Module, all: &BTreeSet<u64>| -> Vec<String> {
            all.iter().map(|number| module.of(*number)).collect()
        };
        let sum = |rows: &[Value], field: &str| -> i64 { rows.iter().map(|row| normalise::minor(row, field)).sum() };
        let rows = self.columns("id,amount", "Potentials", &of(&schema.deals, deals)).await?;
        let mut held = CrmTotals { deals: sum(&rows, "amount"), ..CrmTotals::default() };
        if let Some(known) = &schema.invoices {
            let ids = of(&known.module, invoices);
            let rows = self.columns("id,hdnGrandTotal,received", "Invoice", &ids).await?;
            (held.invoiced, held.received) = (sum(&rows, "hdnGrandTotal"), sum(&rows, "received"));
            // If the server creates no invoices, the documents are comments.
            if rows.len() < invoices.len() {
                let ids = of(&known.comments, invoices);
                for row in self.columns("id,commentcontent", "ModComments", &ids).await? {
                    let (total, received) = invoices::sums(row.get("commentcontent").and_then(Value::as_str));
                    (held.invoiced, held.received) = (held.invoiced + total, held.received + received);
                }
            }
        }
        Ok(held)
    }

    fn erases(&self) -> bool {
        !breakage::is_on("erased-rows-stay")
    }

    async fn strike(&self, rows: &[OfErased]) -> Vec<Struck> {
        self.strike_rows(rows).await
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn in_bulk(&self) -> bool {
        false
    }

    fn trouble(&self) -> Option<String> {
        self.transport.trouble()
    }

    fn calls(&self) -> u64 {
        self.transport.calls()
    }

    fn refused(&self) -> u64 {
        self.transport.refused()
    }
}
