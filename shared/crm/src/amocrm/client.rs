use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};
use stagedoor_model::{Region, Timestamp, breakage};
use stagedoor_ports::{
    Capabilities, Changes, Crm, CrmError, CrmFound, CrmHealth, CrmLookup, CrmPage, CrmRows, CrmTotals, Deleted,
    OfErased, Store, Struck, WriteOutcome, Writes,
};
use stagedoor_texts::Language;
use tokio::sync::{Mutex, OnceCell, RwLock};

use crate::{
    amocrm::{
        auth::Authorization,
        bulk::{self, BATCH, GoneIn},
        links::{self, Link},
        notes_and_tasks,
        pages::Pages,
        schema::{self, Schema},
        transport::Transport,
    },
    http::{HttpClient, SocketClient},
    stage_memory::StageMemory,
};

/// Largest difference between the CRM's clock and ours, in seconds, when the hub looks for rows that it created.
pub(super) const SKEW: i64 = 120;

/// Time between two subscriptions. An administrator may have deleted the webhook, and the CRM disables one that it
/// cannot deliver to. A subscription is an upsert by destination.
const RESUBSCRIBE: Duration = Duration::from_secs(3_600);

/// Fields that a refusal names when the schema that was read from the account is out of date.
const STALE: [&str; 3] = ["field_id", "[status_id", "[pipeline_id"];

/// A row in the form in which it is sent, or the outcome that explains why it is not sent.
type Built = Result<Value, WriteOutcome>;

/// Settings of one amoCRM account.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of the account, such as `https://demo.amocrm.ru`.
    pub base_url: String,
    /// Region of phones that have no country code.
    pub region: Region,
    /// Requests a second.
    pub rate: NonZeroU32,
    /// Time-out of one call.
    pub timeout: Duration,
    /// How long a call that timed out may still take effect in the CRM.
    pub late_for: SignedDuration,
    /// The hub's own address for the CRM's webhooks. Set-up subscribes it.
    pub hook: Option<String>,
    /// Pairs of pipeline and stage names that the config uses.
    pub stages: BTreeSet<(String, String)>,
    /// Language of labels, tags and notes.
    pub language: Language,
}

/// Client of one amoCRM account.
pub struct AmoCrm {
    pub(super) settings: Settings,
    pub(super) transport: Transport,
    schema: RwLock<Option<Arc<Schema>>>,
    /// Time of the last subscription of the hub's webhook.
    subscribed: Mutex<Option<Instant>>,
    /// Ids of the fields of companies. The fields are created once somebody buys for a company.
    pub(super) company_fields: OnceCell<BTreeMap<String, u64>>,
    /// True if the account has the paid add-on "filters".
    pub(super) filters: OnceCell<bool>,
    /// Known list pages, by entity.
    pub(super) pages: Mutex<BTreeMap<String, Pages>>,
    pub(super) memory: Option<StageMemory>,
}

impl AmoCrm {
    /// Creates a client with an HTTP client of its own.
    ///
    /// # Errors
    /// If the HTTP client cannot be built.
    pub fn new(settings: Settings, authorization: Authorization) -> Result<Self, CrmError> {
        let http = SocketClient::new(settings.timeout).map_err(CrmError::CredentialsRejected)?;
        Ok(Self::over(Arc::new(http), settings, authorization))
    }

    /// Creates a client over the given HTTP client, for example a stand-in in this process.
    pub fn over(http: Arc<dyn HttpClient>, settings: Settings, authorization: Authorization) -> Self {
        let transport = Transport::new(&settings.base_url, http, authorization, settings.rate);
        Self {
            settings,
            transport,
            schema: RwLock::new(None),
            subscribed: Mutex::new(None),
            company_fields: OnceCell::new(),
            filters: OnceCell::new(),
            pages: Mutex::default(),
            memory: None,
        }
    }

    /// Remembers the ids of the config's stages in the store, so that a renamed stage is still found.
    #[must_use]
    pub fn remembering(self, store: &Arc<dyn Store>) -> Self {
        let memory = StageMemory::new(store, &self.settings.base_url);
        Self { memory: Some(memory), ..self }
    }

    /// Exchanges an authorisation code for tokens, for an integration that uses OAuth.
    ///
    /// # Errors
    /// `CredentialsRejected` if the code is not accepted or a long-lived token is configured.
    pub async fn authorize(&self, code: &str) -> Result<(), CrmError> {
        self.transport.authorize(code).await
    }

    pub(super) async fn schema(&self) -> Result<Arc<Schema>, CrmError> {
        if let Some(schema) = self.schema.read().await.as_ref() {
            return Ok(Arc::clone(schema));
        }
        let mut schema = schema::read(&self.transport, self.settings.language).await?;
        self.recall_stages(&mut schema).await?;
        let schema = Arc::new(schema);
        *self.schema.write().await = Some(Arc::clone(&schema));
        Ok(schema)
    }

    /// Reads pipelines and stages again. The fields stay as they were read.
    pub(super) async fn read_stages(&self) -> Result<(), CrmError> {
        let mut schema = (*self.schema().await?).clone();
        schema::read_stages(&self.transport, &mut schema).await?;
        self.recall_stages(&mut schema).await?;
        *self.schema.write().await = Some(Arc::new(schema));
        Ok(())
    }

    // A field or stage that an administrator deleted fails every row that names it. The account is then read again,
    // once.
    pub(super) async fn send_healing<F>(
        &self,
        method: &Method,
        path: &str,
        entity: &str,
        rows: F,
        gone: GoneIn<'_>,
    ) -> Vec<WriteOutcome>
    where
        F: Fn(&Schema) -> Vec<Built>,
    {
        let mut outcome = self.send(method, path, entity, &rows, gone).await;
        let names_gone = |reason: &String| STALE.iter().any(|field| reason.contains(field));
        let stale = |row: &WriteOutcome| matches!(row, WriteOutcome::Refused(reason) if names_gone(reason));
        if outcome.iter().any(stale) {
            *self.schema.write().await = None;
            let again: Vec<usize> = outcome.iter().enumerate().filter(|(_, row)| stale(row)).map(|(i, _)| i).collect();
            let chosen = |schema: &Schema| {
                let mut all: Vec<Option<Built>> = rows(schema).into_iter().map(Some).collect();
                again.iter().filter_map(|index| all.get_mut(*index)?.take()).collect()
            };
            let gone = |index: usize, field: &str| gone(*again.get(index)?, field);
            let second = self.send(method, path, entity, &chosen, &gone).await;
            for (index, row) in again.iter().zip(second) {
                if let Some(place) = outcome.get_mut(*index) {
                    *place = row;
                }
            }
        }
        outcome
    }

    async fn send<F>(&self, method: &Method, path: &str, entity: &str, rows: &F, gone: GoneIn<'_>) -> Vec<WriteOutcome>
    where
        F: Fn(&Schema) -> Vec<Built>,
    {
        let schema = match self.schema().await {
            Ok(schema) => schema,
            Err(error) => {
                tracing::warn!(%error, "the CRM's fields could not be read");
                return rows(&Schema::default()).iter().map(|_| WriteOutcome::NotSent).collect();
            }
        };
        let (mut places, mut good, mut outcome) = (Vec::new(), Vec::new(), Vec::new());
        for (index, row) in rows(&schema).into_iter().enumerate() {
            match row {
                Ok(row) => {
                    places.push(index);
                    good.push(row);
                    outcome.push(WriteOutcome::NotSent);
                }
                Err(row) => outcome.push(row),
            }
        }
        let gone = |index: usize, field: &str| gone(*places.get(index)?, field);
        let sent = bulk::send(&self.transport, method, path, entity, good, &gone).await;
        for (index, row) in places.iter().zip(sent) {
            if let Some(place) = outcome.get_mut(*index) {
                *place = row;
            }
        }
        outcome
    }

    /// Links existing rows to their companies. `made` is true if this call created the rows. A created row whose link
    /// failed is looked up next time, and the update then links its company.
    pub(super) async fn hang(
        &self,
        entity: &str,
        mut rows: Vec<WriteOutcome>,
        companies: Vec<Option<u64>>,
        made: bool,
    ) -> Vec<WriteOutcome> {
        let (mut places, mut wanted) = (Vec::new(), Vec::new());
        for (index, (row, company)) in rows.iter().zip(&companies).enumerate() {
            if let (WriteOutcome::Done(from), Some(to)) = (row, company) {
                places.push(index);
                wanted.push(Link { from: *from, to_entity: "companies", to: *to });
            }
        }
        if wanted.is_empty() {
            return rows;
        }
        let linked = links::link(&self.transport, entity, &wanted).await;
        for (index, answer) in places.into_iter().zip(linked) {
            if let Some(place) = rows.get_mut(index)
                && !matches!(answer, WriteOutcome::Done(_))
            {
                *place = if made { WriteOutcome::Unknown } else { answer };
            }
        }
        rows
    }
}

#[async_trait]
impl Crm for AmoCrm {
    async fn set_up(&self) -> Result<(), CrmError> {
        // A missing stage delays only the rows that need it.
        let schema = self.schema().await?;
        let is_there = |key: &(String, String)| schema.stages.contains_key(key);
        if breakage::is_on("missing-stage-stops-all") && !self.settings.stages.iter().all(is_there) {
            return Err(CrmError::CredentialsRejected("the CRM has not every stage".into()));
        }
        let Some(hook) = &self.settings.hook else { return Ok(()) };
        let mut subscribed = self.subscribed.lock().await;
        if subscribed.is_none_or(|at| at.elapsed() >= RESUBSCRIBE) {
            self.subscribe(hook).await?;
            *subscribed = Some(Instant::now());
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
            Writes::CreateInvoices(_) | Writes::UpdateInvoices(_) => {
                change.all(&WriteOutcome::Refused("this CRM holds no invoices".into()))
            }
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
            CrmLookup::Invoices { .. } => {}
            CrmLookup::Notes { contacts, since } => found.texts = self.find_notes(contacts, since).await?,
            CrmLookup::Tasks { contacts, since } => found.texts = self.find_tasks(contacts, since).await?,
        }
        Ok(found)
    }

    /// amoCRM sends webhooks, so nobody asks.
    async fn changes(&self, _: Timestamp) -> Result<Changes, CrmError> {
        Ok(Changes::default())
    }

    async fn deleted(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Deleted, CrmError> {
        self.missing_rows(contacts, deals).await
    }

    async fn fetch(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Changes, CrmError> {
        self.rows_now(contacts, deals).await
    }

    async fn page(&self, rows: CrmRows, page: u32) -> Result<CrmPage, CrmError> {
        match rows {
            CrmRows::Contacts => self.contacts(page).await,
            CrmRows::Deals => {
                let (deals, next) = self.deals_of_the_hub(page).await?;
                Ok(CrmPage { deals, next, ..CrmPage::default() })
            }
        }
    }

    async fn export(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Value, CrmError> {
        let notes = notes_and_tasks::notes_of(&self.transport, contacts, 0).await?;
        let tasks = notes_and_tasks::tasks_of(&self.transport, contacts, 0).await?;
        let words = |all: Vec<(u64, String)>| all.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        Ok(json!({
            "contacts": self.rows("contacts", contacts).await?,
            "deals": self.rows("leads", deals).await?,
            "notes": words(notes),
            "tasks": words(tasks),
        }))
    }

    /// amoCRM has no call that deletes a contact or a deal.
    async fn strike(&self, rows: &[OfErased]) -> Vec<Struck> {
        rows.iter().map(|row| Struck { id: row.number().to_string(), is_gone: false }).collect()
    }

    async fn totals(&self, _: &BTreeSet<u64>, _: &BTreeSet<u64>) -> Result<CrmTotals, CrmError> {
        Err(CrmError::CredentialsRejected("this CRM is not asked for its sums".into()))
    }

    fn info(&self) -> Capabilities {
        Capabilities { batch: BATCH, late_for: self.settings.late_for, ..Capabilities::default() }
    }

    fn health(&self) -> CrmHealth {
        CrmHealth {
            trouble: self.transport.trouble(),
            calls: self.transport.calls(),
            refused: self.transport.refused(),
        }
    }
}
