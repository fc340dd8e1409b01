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
use stagedoor_engine::{CompanyDraft, ContactDraft, DealDraft, Parting, PersonId, ShowKey};
use stagedoor_model::{Region, Timestamp, breakage};
use stagedoor_ports::{Changes, Crm, CrmError, CrmPage, Deleted, Gone, Store, WriteOutcome};
use stagedoor_texts::{Language, crm};
use tokio::sync::{Mutex, OnceCell, RwLock};

use crate::{
    amocrm::{
        auth::Authorization,
        bulk::{self, BATCH, GoneIn},
        companies,
        hooks::RESUBSCRIBE,
        links::{self, Link},
        notes_and_tasks,
        rows::Pages,
        schema::{self, Schema, items, number},
        transport::Transport,
        wire,
    },
    http::{HttpClient, SocketClient},
    stage_memory::StageMemory,
};

/// Largest difference between the CRM's clock and ours, in seconds, when the hub looks for rows that it created.
pub(super) const SKEW: i64 = 120;

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
    company_fields: OnceCell<BTreeMap<String, u64>>,
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
    async fn hang(
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

    async fn create_contacts(&self, rows: &[ContactDraft]) -> Vec<WriteOutcome> {
        let region = self.settings.region;
        let build = |schema: &Schema| rows.iter().map(|one| Ok(wire::contact(one, schema, None, region))).collect();
        let made = self.send_healing(&Method::POST, "/api/v4/contacts", "contacts", build, &bulk::NOTHING).await;
        let companies = rows.iter().map(|draft| draft.company.as_ref().and_then(|company| company.id));
        self.hang("contacts", made, companies.collect(), true).await
    }

    async fn update_contacts(&self, rows: &[(u64, ContactDraft)]) -> Vec<WriteOutcome> {
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

    async fn create_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
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

    async fn update_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
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

    async fn put_companies(&self, rows: &[(Option<u64>, CompanyDraft)], since: Option<Timestamp>) -> Vec<WriteOutcome> {
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

    async fn mark_duplicates(&self, rows: &[(u64, u64)]) -> Vec<WriteOutcome> {
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

    async fn part_contacts(&self, rows: &[Parting]) -> Vec<WriteOutcome> {
        let mut parted = Vec::new();
        for row in rows {
            parted.push(self.part(row).await);
        }
        parted
    }

    async fn add_notes(&self, rows: &[(u64, String)]) -> Vec<WriteOutcome> {
        let build = |_: &Schema| rows.iter().map(|(contact, text)| Ok(notes_and_tasks::note(*contact, text))).collect();
        let gone = |index: usize, field: &str| (field == "entity_id").then_some(Gone::Contact(rows.get(index)?.0));
        self.send_healing(&Method::POST, "/api/v4/contacts/notes", "notes", build, &gone).await
    }

    async fn add_tasks(&self, rows: &[(u64, String, Timestamp)]) -> Vec<WriteOutcome> {
        let build = |_: &Schema| {
            rows.iter().map(|(contact, text, until)| Ok(notes_and_tasks::task(*contact, text, *until))).collect()
        };
        let gone = |index: usize, field: &str| (field == "entity_id").then_some(Gone::Contact(rows.get(index)?.0));
        self.send_healing(&Method::POST, "/api/v4/tasks", "tasks", build, &gone).await
    }

    async fn find_notes(&self, contacts: &BTreeSet<u64>, since: Timestamp) -> Result<Vec<(u64, String)>, CrmError> {
        notes_and_tasks::notes_of(&self.transport, contacts, since.as_second() - SKEW).await
    }

    async fn find_tasks(&self, contacts: &BTreeSet<u64>, since: Timestamp) -> Result<Vec<(u64, String)>, CrmError> {
        notes_and_tasks::tasks_of(&self.transport, contacts, since.as_second() - SKEW).await
    }

    async fn find_contacts(
        &self,
        people: &BTreeSet<PersonId>,
        since: Timestamp,
    ) -> Result<BTreeMap<PersonId, BTreeSet<u64>>, CrmError> {
        let mut found = BTreeMap::<PersonId, BTreeSet<u64>>::new();
        self.newest("contacts", since, |contact| {
            let person = wire::values(contact, "STAGEDOOR_ID").first().and_then(|text| PersonId::parse(text).ok());
            if let (Some(person), Some(id)) = (person.filter(|person| people.contains(person)), number(contact, "id")) {
                found.entry(person).or_default().insert(id);
            }
        })
        .await?;
        Ok(found)
    }

    async fn find_deals(
        &self,
        deals: &BTreeSet<(PersonId, ShowKey)>,
        since: Timestamp,
    ) -> Result<BTreeMap<(PersonId, ShowKey), BTreeSet<u64>>, CrmError> {
        let by_text: BTreeMap<String, &(PersonId, ShowKey)> =
            deals.iter().map(|key| (wire::deal_id(key.0, &key.1), key)).collect();
        let mut found = BTreeMap::<(PersonId, ShowKey), BTreeSet<u64>>::new();
        self.newest("leads", since, |lead| {
            let ids = wire::values(lead, "STAGEDOOR_ID");
            let key = ids.first().and_then(|text| by_text.get(text));
            if let (Some(key), Some(id)) = (key, number(lead, "id")) {
                found.entry((*key).clone()).or_default().insert(id);
            }
        })
        .await?;
        Ok(found)
    }

    async fn find_companies(
        &self,
        keys: &BTreeSet<String>,
        since: Timestamp,
    ) -> Result<BTreeMap<String, BTreeSet<u64>>, CrmError> {
        let mut found = companies::newest(&self.transport, since.as_second() - SKEW).await?;
        found.retain(|key, _| keys.contains(key));
        Ok(found)
    }

    async fn contacts(&self, page: u32) -> Result<CrmPage, CrmError> {
        let path = format!("/api/v4/contacts?order%5Bid%5D=asc&limit=250&page={page}");
        let answer = schema::get(&self.transport, &path).await?;
        let rows = items(answer.as_ref(), "contacts");
        let next = (rows.len() == BATCH).then_some(page + 1);
        Ok(CrmPage {
            bodies: rows.into_iter().filter_map(|row| wire::mirrored(row, self.settings.region)).collect(),
            next,
        })
    }

    async fn deals(&self, page: u32) -> Result<(Vec<(u64, String)>, Option<u32>), CrmError> {
        self.deals_of_the_hub(page).await
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

    fn late_for(&self) -> SignedDuration {
        self.settings.late_for
    }

    async fn fetch(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Changes, CrmError> {
        self.rows_now(contacts, deals).await
    }

    async fn deleted(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Deleted, CrmError> {
        self.missing_rows(contacts, deals).await
    }

    fn batch(&self) -> usize {
        BATCH
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
