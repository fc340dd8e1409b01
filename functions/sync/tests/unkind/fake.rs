//! A CRM in memory that may be slow: what it is asked to make may appear long after it was given up.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use jiff::SignedDuration;
use stagedoor_engine::{
    Catalog, CompanyDraft, ContactDraft, DealDraft, Guards, Parting, PersonId, Pipeline, ShowKey, Stage,
};
use stagedoor_model::{
    Body, Event, EventId, FormSubmitted, Identifier, Kind, Money, Order, OrderBody, OrderState, Refund, ShowRef,
    SourceName, Ticket, Timestamp,
};
use stagedoor_ports::{
    Capabilities, Changes, Clock, Crm, CrmError, CrmFound, CrmHealth, CrmLookup, CrmPage, CrmRows, CrmTotals, Deleted,
    Gone, OfErased, Store, Struck, WriteOutcome, Writes, memory::MemoryStore,
};
use stagedoor_sync::{FlushMode, RunReport, Sync};

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

/// A clock that the test moves.
#[derive(Default)]
pub struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        at(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Debug, Clone)]
pub enum Made {
    Contact(ContactDraft),
    Deal(u64, DealDraft),
    Company(CompanyDraft),
    Note(u64, String),
    Task(u64, String),
}

#[derive(Default)]
pub struct State {
    pub next: u64,
    pub rows: BTreeMap<u64, Made>,
    /// What takes effect later: when, and what.
    late: Vec<(Timestamp, Made)>,
    /// Calls that get no answer and take effect so many seconds later, by kind.
    pub slow: BTreeMap<&'static str, SignedDuration>,
    /// Updates of deals take effect, and bring no answer.
    pub mute: bool,
    /// Phones of contacts that cannot be sent.
    pub stuck: BTreeSet<String>,
    /// Contacts that were marked as duplicates, and of which.
    pub marked: Vec<(u64, u64)>,
    /// How often contacts were looked up.
    pub looks: usize,
    /// Answers to the next calls that move deals to another contact, the first first.
    pub parting_answers: VecDeque<WriteOutcome>,
    /// Those calls.
    pub partings: Vec<Parting>,
    /// Contacts with a landline of Moscow wait for the account.
    pub withholds_landlines: bool,
    /// Doubles of deals wait for the account.
    pub holds_doubles: bool,
}

#[derive(Clone)]
pub struct Fake {
    pub state: Arc<Mutex<State>>,
    clock: Arc<Hand>,
}

impl Fake {
    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().expect("a lock");
        let now = self.clock.now();
        let (due, late): (Vec<_>, Vec<_>) = std::mem::take(&mut state.late).into_iter().partition(|(at, _)| *at <= now);
        state.late = late;
        for (_, made) in due {
            state.next += 1;
            let id = state.next;
            state.rows.insert(id, made);
        }
        state
    }

    fn make(&self, kind: &'static str, rows: Vec<Made>) -> Vec<WriteOutcome> {
        let mut state = self.state();
        let slow = state.slow.remove(kind);
        let now = self.clock.now();
        let make = |made: Made| match slow {
            Some(delay) => {
                state.late.push((now + delay, made));
                WriteOutcome::Unknown
            }
            None => {
                state.next += 1;
                let id = state.next;
                state.rows.insert(id, made);
                WriteOutcome::Done(id)
            }
        };
        rows.into_iter().map(make).collect()
    }
}

impl Fake {
    fn create_contacts(&self, rows: &[ContactDraft]) -> Vec<WriteOutcome> {
        let is_stuck = |draft: &ContactDraft| draft.phones.iter().any(|phone| self.state().stuck.contains(phone));
        let withheld = |draft: &ContactDraft| draft.phones.iter().any(|phone| phone.starts_with("+7499"));
        if !self.state().withholds_landlines && rows.iter().any(withheld) {
            return self.make("contacts", rows.iter().map(|draft| Made::Contact(draft.clone())).collect());
        }
        if rows.iter().any(withheld) {
            let one = |draft: &ContactDraft| match withheld(draft) {
                true => WriteOutcome::Held("the hub's user may not read or write Contacts 1: give it the right".into()),
                false => self.make("contacts", vec![Made::Contact(draft.clone())]).remove(0),
            };
            return rows.iter().map(one).collect();
        }
        let stuck: Vec<bool> = rows.iter().map(is_stuck).collect();
        let free = rows.iter().zip(&stuck).filter(|(_, stuck)| !**stuck);
        let free = free.map(|(draft, _)| Made::Contact(draft.clone())).collect();
        let mut made = self.make("contacts", free).into_iter();
        stuck
            .into_iter()
            .map(|stuck| if stuck { WriteOutcome::NotSent } else { made.next().unwrap_or(WriteOutcome::NotSent) })
            .collect()
    }

    fn update_contacts(&self, rows: &[(u64, ContactDraft)]) -> Vec<WriteOutcome> {
        let mut state = self.state();
        let update = |(id, draft): &(u64, ContactDraft)| {
            let company = draft.company.as_ref().and_then(|company| company.id);
            match company.filter(|company| !state.rows.contains_key(company)) {
                Some(company) => return WriteOutcome::Gone(Gone::Company(company)),
                None if !state.rows.contains_key(id) => return WriteOutcome::Gone(Gone::Contact(*id)),
                None => _ = state.rows.insert(*id, Made::Contact(draft.clone())),
            }
            WriteOutcome::Done(*id)
        };
        rows.iter().map(update).collect()
    }

    fn create_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
        let missing = |(contact, draft): &(u64, DealDraft)| {
            let state = self.state();
            let company = draft.company.as_ref().and_then(|company| company.id);
            let company = company.filter(|id| !state.rows.contains_key(id)).map(Gone::Company);
            company.or_else(|| (!state.rows.contains_key(contact)).then_some(Gone::Contact(*contact)))
        };
        let gone: Vec<Option<Gone>> = rows.iter().map(missing).collect();
        let there = rows.iter().zip(&gone).filter(|(_, gone)| gone.is_none());
        let made = there.map(|((contact, draft), _)| Made::Deal(*contact, draft.clone())).collect();
        let mut made = self.make("deals", made).into_iter();
        gone.into_iter()
            .map(|gone| gone.map(WriteOutcome::Gone).or_else(|| made.next()).unwrap_or(WriteOutcome::NotSent))
            .collect()
    }

    fn update_deals(&self, rows: &[(u64, DealDraft)]) -> Vec<WriteOutcome> {
        let mut state = self.state();
        rows.iter()
            .map(|(id, draft)| {
                let Some(Made::Deal(contact, known)) = state.rows.get(id).cloned() else {
                    return WriteOutcome::Gone(Gone::Deal(*id));
                };
                if state.holds_doubles && draft.orders.starts_with("duplicate of") {
                    return WriteOutcome::Held("stage «lost» is not in the account".into());
                }
                let stage = known.stage;
                let stage = draft.stage.clone().or(stage);
                state.rows.insert(*id, Made::Deal(contact, DealDraft { stage, ..draft.clone() }));
                if state.mute { WriteOutcome::Unknown } else { WriteOutcome::Done(*id) }
            })
            .collect()
    }

    fn put_companies(&self, rows: &[(Option<u64>, CompanyDraft)]) -> Vec<WriteOutcome> {
        let fresh = rows.iter().filter(|(id, _)| id.is_none()).map(|(_, draft)| Made::Company(draft.clone())).collect();
        let mut made = self.make("companies", fresh).into_iter();
        rows.iter()
            .map(|(id, _)| id.map(WriteOutcome::Done).or_else(|| made.next()).unwrap_or(WriteOutcome::NotSent))
            .collect()
    }

    fn mark_duplicates(&self, rows: &[(u64, u64)]) -> Vec<WriteOutcome> {
        self.state().marked.extend(rows);
        rows.iter().map(|(id, _)| WriteOutcome::Done(*id)).collect()
    }

    fn part_contacts(&self, rows: &[Parting]) -> Vec<WriteOutcome> {
        let mut state = self.state();
        state.partings.extend(rows.iter().cloned());
        rows.iter().map(|row| state.parting_answers.pop_front().unwrap_or(WriteOutcome::Done(row.contact))).collect()
    }

    fn add_notes(&self, rows: &[(u64, String)]) -> Vec<WriteOutcome> {
        self.make("notes", rows.iter().map(|(contact, text)| Made::Note(*contact, text.clone())).collect())
    }

    fn add_tasks(&self, rows: &[(u64, String, Timestamp)]) -> Vec<WriteOutcome> {
        self.make("tasks", rows.iter().map(|(contact, text, _)| Made::Task(*contact, text.clone())).collect())
    }

    fn find_contacts(&self, people: &BTreeSet<PersonId>) -> BTreeMap<PersonId, BTreeSet<u64>> {
        let mut found = BTreeMap::<PersonId, BTreeSet<u64>>::new();
        let mut state = self.state();
        state.looks += 1;
        for (id, made) in &state.rows {
            if let Made::Contact(draft) = made
                && people.contains(&draft.person)
            {
                found.entry(draft.person).or_default().insert(*id);
            }
        }
        found
    }

    fn find_deals(&self, deals: &BTreeSet<(PersonId, ShowKey)>) -> BTreeMap<(PersonId, ShowKey), BTreeSet<u64>> {
        let mut found = BTreeMap::<(PersonId, ShowKey), BTreeSet<u64>>::new();
        for (id, made) in &self.state().rows {
            if let Made::Deal(_, draft) = made
                && deals.contains(&(draft.person, draft.show.clone()))
            {
                found.entry((draft.person, draft.show.clone())).or_default().insert(*id);
            }
        }
        found
    }

    fn find_companies(&self, keys: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<u64>> {
        let mut found = BTreeMap::<String, BTreeSet<u64>>::new();
        for (id, made) in &self.state().rows {
            if let Made::Company(draft) = made
                && keys.contains(&draft.key)
            {
                found.entry(draft.key.clone()).or_default().insert(*id);
            }
        }
        found
    }

    fn find_notes(&self, contacts: &BTreeSet<u64>) -> Vec<(u64, String)> {
        let note = |made: &Made| match made {
            Made::Note(contact, text) if contacts.contains(contact) => Some((*contact, text.clone())),
            _ => None,
        };
        self.state().rows.values().filter_map(note).collect()
    }

    fn find_tasks(&self, contacts: &BTreeSet<u64>) -> Vec<(u64, String)> {
        let task = |made: &Made| match made {
            Made::Task(contact, text) if contacts.contains(contact) => Some((*contact, text.clone())),
            _ => None,
        };
        self.state().rows.values().filter_map(task).collect()
    }
}

#[async_trait]
impl Crm for Fake {
    async fn set_up(&self) -> Result<(), CrmError> {
        Ok(())
    }
    async fn apply(&self, change: Writes<'_>) -> Vec<WriteOutcome> {
        match change {
            Writes::CreateContacts(rows) => self.create_contacts(rows),
            Writes::UpdateContacts(rows) => self.update_contacts(rows),
            Writes::CreateDeals(rows) => self.create_deals(rows),
            Writes::UpdateDeals(rows) => self.update_deals(rows),
            Writes::PutCompanies(rows, _) => self.put_companies(rows),
            Writes::CreateInvoices(_) | Writes::UpdateInvoices(_) => {
                change.all(&WriteOutcome::Refused("this CRM holds no invoices".into()))
            }
            Writes::MarkDuplicates(rows) => self.mark_duplicates(rows),
            Writes::PartContacts(rows) => self.part_contacts(rows),
            Writes::AddNotes(rows) => self.add_notes(rows),
            Writes::AddTasks(rows) => self.add_tasks(rows),
        }
    }
    async fn find(&self, lookup: CrmLookup<'_>) -> Result<CrmFound, CrmError> {
        let mut found = CrmFound::default();
        match lookup {
            CrmLookup::Contacts { people, .. } => found.contacts = self.find_contacts(people),
            CrmLookup::Deals { deals, .. } => found.deals = self.find_deals(deals),
            CrmLookup::Companies { keys, .. } => found.companies = self.find_companies(keys),
            CrmLookup::Invoices { .. } => {}
            CrmLookup::Notes { contacts, .. } => found.texts = self.find_notes(contacts),
            CrmLookup::Tasks { contacts, .. } => found.texts = self.find_tasks(contacts),
        }
        Ok(found)
    }
    async fn changes(&self, _: Timestamp) -> Result<Changes, CrmError> {
        Ok(Changes::default())
    }
    async fn deleted(&self, contacts: &BTreeSet<u64>, deals: &BTreeSet<u64>) -> Result<Deleted, CrmError> {
        let state = self.state();
        let of = |ids: &BTreeSet<u64>| ids.iter().filter(|id| !state.rows.contains_key(id)).copied().collect();
        Ok(Deleted { contacts: of(contacts), deals: of(deals), hidden: 0 })
    }
    async fn fetch(&self, _: &BTreeSet<u64>, _: &BTreeSet<u64>) -> Result<Changes, CrmError> {
        Ok(Changes::default())
    }
    async fn page(&self, _: CrmRows, _: u32) -> Result<CrmPage, CrmError> {
        Ok(CrmPage::default())
    }
    async fn export(&self, _: &BTreeSet<u64>, _: &BTreeSet<u64>) -> Result<serde_json::Value, CrmError> {
        Ok(serde_json::Value::Null)
    }
    async fn strike(&self, rows: &[OfErased]) -> Vec<Struck> {
        rows.iter().map(|row| Struck { id: row.number().to_string(), is_gone: false }).collect()
    }
    async fn totals(&self, _: &BTreeSet<u64>, _: &BTreeSet<u64>) -> Result<CrmTotals, CrmError> {
        Err(CrmError::CredentialsRejected("this CRM is not asked for its sums".into()))
    }
    fn info(&self) -> Capabilities {
        Capabilities { batch: 250, late_for: SignedDuration::from_secs(150), ..Capabilities::default() }
    }
    fn health(&self) -> CrmHealth {
        CrmHealth::default()
    }
}

pub struct World {
    pub sync: Sync,
    pub store: Arc<dyn Store>,
    pub crm: Fake,
    clock: Arc<Hand>,
}

impl World {
    pub fn new() -> Self {
        let clock = Arc::new(Hand::default());
        let crm = Fake { state: Arc::default(), clock: Arc::clone(&clock) };
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let stages = Stage::ALL.iter().map(|stage| (*stage, stage.name().to_owned())).collect();
        let pipelines = vec![Pipeline { name: "Tour".into(), stages }];
        let sync = Sync {
            store: Arc::clone(&store),
            crm: Arc::new(crm.clone()),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            order_apis: BTreeMap::new(),
            topics: None,
            catalog: Catalog { pipelines, ..Catalog::default() },
            guards: Guards::default(),
            lists: BTreeMap::new(),
            erasure: None,
            conversation: None,
            owner: "test".into(),
            outage: Arc::default(),
            breakers: Default::default(),
            events: None,
            second: None,
            scope: "",
        };
        Self { sync, store, crm, clock }
    }

    pub fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub async fn tell(&self, events: Vec<Event>) {
        assert!(self.sync.handle(events).await.is_empty(), "all events are saved");
    }

    /// One run, after those were marked whose time has come.
    pub async fn run(&self) -> RunReport {
        self.sync.wake().await.expect("woken");
        let report = self.sync.reconcile(FlushMode::Everything).await.expect("a run");
        self.pass(2);
        report
    }

    /// Runs every two seconds for so long.
    pub async fn runs_for(&self, seconds: i64) {
        for _ in 0..=seconds / 2 {
            self.run().await;
        }
    }

    /// How many rows the CRM holds for which this holds.
    pub fn count(&self, is_it: impl Fn(&Made) -> bool) -> usize {
        self.crm.state().rows.values().filter(|made| is_it(made)).count()
    }

    pub fn contacts(&self) -> usize {
        self.count(|made| matches!(made, Made::Contact(_)))
    }

    pub fn deals(&self) -> usize {
        self.count(|made| matches!(made, Made::Deal(..)))
    }
}

fn identifiers(names: &[&str]) -> BTreeSet<Identifier> {
    names.iter().map(|name| name.parse().expect("an identifier")).collect()
}

pub fn event(source: &str, key: &str, second: i64, body: Body) -> Event {
    let source = SourceName::new(source).expect("a name");
    Event::new(&source, EventId::derive(&source, &[key]), at(second), body)
}

pub fn form(key: &str, names: &[&str]) -> Event {
    let form = FormSubmitted {
        identifiers: identifiers(names),
        proof: Default::default(),
        name: Some("Раневская".into()),
        form: None,
        show: Some(ShowRef::id("cherry")),
        amount: None,
        consents: vec![],
        labels: BTreeMap::new(),
        company: None,
    };
    event("site", key, 1, Body::FormSubmitted(form))
}

fn order(key: &str, show: &str) -> Order {
    let money = Money { minor: 150_000, currency: "RUB".into() };
    Order {
        revision: at(1),
        state: OrderState::Paid,
        id: key.to_owned(),
        number: None,
        placed_at: at(1),
        paid_at: Some(at(1)),
        paid: money.clone(),
        total: money.clone(),
        tickets: vec![Ticket { id: "t".into(), show: ShowRef::id(show), price: money, live: true }],
        refunds: BTreeMap::new(),
        promo_codes: vec![],
        utm: BTreeMap::new(),
        items: vec![],
        company: None,
        show: None,
        due_at: None,
        checks: BTreeMap::new(),
        refunds_as_of: None,
        earlier_starts: BTreeMap::new(),
        gone_refunds: None,
    }
}

pub fn bought(key: &str, show: &str, names: &[&str]) -> Event {
    event("shop", key, 1, Body::of_order(OrderBody::new(identifiers(names), None, order(key, show))))
}

/// The same order once its ticket was given back.
pub fn given_back(key: &str, show: &str, names: &[&str]) -> Event {
    let mut order = Order { revision: at(2), ..order(key, show) };
    order.tickets.iter_mut().for_each(|ticket| ticket.live = false);
    let refund = Refund { amount: order.paid.clone(), at: at(2), tickets: ["t".to_owned()].into(), moved: false };
    order.refunds.insert("r".into(), refund);
    let body = Body::of_order(OrderBody::new(identifiers(names), None, order));
    event("shop", &format!("{key} back"), 2, body)
}

/// One order of the shop as it stood at this second, with the buyer whom it named then.
pub fn handed_on(second: i64, names: &[&str]) -> Event {
    let order = Order { revision: at(second), ..order("1", "cherry") };
    let number = Identifier::opaque(Kind::Order, "shop", "1");
    let named = identifiers(names).into_iter().chain(number).collect();
    let body = Body::of_order(OrderBody::new(named, None, order));
    event("shop", &format!("1 at {second}"), second, body)
}
