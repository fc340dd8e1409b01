use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, tz::TimeZone};
use serde_json::{Value, json};
use stagedoor_model::{Region, Timestamp, breakage};
use stagedoor_ports::{
    Capabilities, Changes, Clock, Crm, CrmError, CrmFound, CrmHealth, CrmLookup, CrmPage, CrmRows, CrmTotals, Deleted,
    OfErased, Store, Struck, WriteOutcome, Writes,
};
use stagedoor_texts::Language;
use stagedoor_webhook::Secret;
use tokio::sync::{Mutex, RwLock};

use crate::{
    http::{HttpClient, SocketClient},
    stage_memory::StageMemory,
    vtiger::{
        create::Maker,
        invoices::{self, Ability},
        login::Login,
        missing,
        normalise::{self, normalise_fields},
        notes_and_tasks,
        query::{self, IN},
        schema::Schema,
        transport::Transport,
        wire::{self, Fields},
    },
};

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
    pub(super) clock: Arc<dyn Clock>,
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

    pub(super) fn deals_of<'s>(&'s self, schema: &'s Schema) -> Maker<'s> {
        Maker::new(&self.transport, &schema.deals, DEAL, self.settings.grace)
    }

    pub(super) fn owned(mut fields: Fields, schema: &Schema) -> Fields {
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

    async fn apply(&self, change: Writes<'_>) -> Vec<WriteOutcome> {
        match change {
            Writes::CreateContacts(rows) => self.create_contacts(rows).await,
            Writes::UpdateContacts(rows) => self.update_contacts(rows).await,
            Writes::CreateDeals(rows) => self.create_deals(rows).await,
            Writes::UpdateDeals(rows) => self.update_deals(rows).await,
            Writes::PutCompanies(rows, since) => self.put_companies(rows, since).await,
            Writes::CreateInvoices(rows) => self.make_invoices(rows).await,
            Writes::UpdateInvoices(rows) => self.change_invoices(rows).await,
            Writes::MarkDuplicates(rows) => self.mark_duplicates(rows).await,
            Writes::PartContacts(rows) => self.part_contacts(rows).await,
            Writes::AddNotes(rows) => self.add_notes(rows).await,
            Writes::AddTasks(rows) => self.add_tasks(rows).await,
        }
    }

    async fn find(&self, lookup: CrmLookup<'_>) -> Result<CrmFound, CrmError> {
        let mut found = CrmFound::default();
        match lookup {
            CrmLookup::Contacts { people, since } => found.contacts = self.find_contacts(people, since).await?,
            CrmLookup::Deals { deals, since } => found.deals = self.find_deals(deals, since).await?,
            CrmLookup::Companies { keys, since } => found.companies = self.find_companies(keys, since).await?,
            CrmLookup::Invoices { keys } => found.invoices = self.find_invoices(keys).await?,
            CrmLookup::Notes { contacts, since } => found.texts = self.find_notes(contacts, since).await?,
            CrmLookup::Tasks { contacts, since } => found.texts = self.find_tasks(contacts, since).await?,
        }
        Ok(found)
    }

    async fn changes(&self, since: Timestamp) -> Result<Changes, CrmError> {
        self.changes_since(since).await
    }

    async fn deleted(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Deleted, CrmError> {
        let schema = self.schema().await?;
        let (contacts, hidden) = missing::gone(&self.transport, &schema.contacts, contacts).await?;
        let (deals, more) = missing::gone(&self.transport, &schema.deals, deals).await?;
        Ok(Deleted { contacts, deals, hidden: hidden + more })
    }

    async fn fetch(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Changes, CrmError> {
        self.rows_now(contacts, deals).await
    }

    async fn page(&self, rows: CrmRows, page: u32) -> Result<CrmPage, CrmError> {
        match rows {
            CrmRows::Contacts => self.contacts(page).await,
            CrmRows::Deals => {
                let (deals, next) = self.deals(page).await?;
                Ok(CrmPage { deals, next, ..CrmPage::default() })
            }
        }
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

    async fn strike(&self, rows: &[OfErased]) -> Vec<Struck> {
        self.strike_rows(rows).await
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

    fn info(&self) -> Capabilities {
        Capabilities {
            has_webhooks: false,
            erases: !breakage::is_on("erased-rows-stay"),
            in_bulk: false,
            batch: BATCH,
            room: Some((wire::PHONES.len(), wire::EMAILS.len())),
            late_for: self.settings.late_for,
            stored_text: |text| normalise_fields("commentcontent", text),
        }
    }

    fn health(&self) -> CrmHealth {
        CrmHealth {
            trouble: self.transport.trouble(),
            calls: self.transport.calls(),
            refused: self.transport.refused(),
        }
    }
}
