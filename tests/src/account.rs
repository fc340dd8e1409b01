//! A CRM of either kind with its sandbox, for tests of the port's promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use stagedoor_crm::{
    HttpClient, SocketClient,
    amocrm::{AmoCrm, Authorization, Settings as AmoSettings},
    vtiger::{FIELDS, Vtiger},
};
use stagedoor_engine::{Invoicing, Pipeline};
use stagedoor_ports::{Clock, Crm, Gone, Store, SystemClock, memory::MemoryStore};
use stagedoor_sandbox::{Fault, FaultKind, Sandbox, VtigerSandbox, VtigerSeed};
use stagedoor_sync::{FlushMode, Sync};
use stagedoor_texts::{Language, Text};
use stagedoor_webhook::Secret;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::world::{catalog, seed, settings, sync};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Amo,
    Vtiger,
}

#[derive(Clone)]
enum Sand {
    Amo(Sandbox),
    Vtiger(VtigerSandbox),
}

pub struct Account {
    sand: Sand,
    pub store: Arc<dyn Store>,
    pub crm: Arc<dyn Crm>,
    pub sync: Sync,
    base: String,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for Account {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Account {
    pub async fn of(which: Which) -> Self {
        Self::where_calls_are_late(which, jiff::SignedDuration::ZERO).await
    }

    /// An account whose hub expects late calls: a call without an answer may take effect within this time.
    pub async fn where_calls_are_late(which: Which, late_for: jiff::SignedDuration) -> Self {
        Self::over(which, late_for, Arc::new(MemoryStore::default())).await
    }

    /// The same hub with a newly set up CRM: it is empty, and gives its ids again.
    pub async fn emptied(&self, which: Which) -> Self {
        Self::over(which, jiff::SignedDuration::ZERO, Arc::clone(&self.store)).await
    }

    /// Begins with an empty store on the same CRM, as after the loss of the data folder.
    pub fn lose_the_store(&mut self, which: Which) {
        self.store = Arc::new(MemoryStore::default());
        let late_for = jiff::SignedDuration::ZERO;
        self.crm = client(&self.sand, &self.base, &self.store, "test", late_for, sockets());
        self.sync = invoicing(sync(Arc::clone(&self.store), Arc::clone(&self.crm)), which);
    }

    async fn over(which: Which, late_for: jiff::SignedDuration, store: Arc<dyn Store>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let (sand, serving) = match which {
            Which::Amo => {
                let sandbox = Sandbox::new(stagedoor_sandbox::Seed { rate: 1_000, ..seed() });
                (Sand::Amo(sandbox.clone()), tokio::spawn(sandbox.serve(listener)))
            }
            Which::Vtiger => {
                let field = |(module, name, label): &(&str, &str, fn() -> Text)| {
                    ((*module).into(), (*name).into(), label().to(Language::default()))
                };
                let stages = catalog().pipelines.into_iter().flat_map(|one| one.stages.into_values()).collect();
                let seed = VtigerSeed {
                    fields: FIELDS.iter().map(field).collect(),
                    stages,
                    makes_invoices: true,
                    ..VtigerSeed::default()
                };
                let sandbox = VtigerSandbox::new(seed);
                (Sand::Vtiger(sandbox.clone()), tokio::spawn(sandbox.serve(listener)))
            }
        };
        let crm = client(&sand, &base, &store, "test", late_for, sockets());
        let sync = invoicing(sync(Arc::clone(&store), Arc::clone(&crm)), which);
        Self { sand, store, crm, sync, base, serving }
    }

    /// Another process of the hub: its own client on the same store.
    pub fn another(&self, owner: &str) -> Sync {
        let crm = client(&self.sand, &self.base, &self.store, owner, jiff::SignedDuration::ZERO, sockets());
        let which = if matches!(self.sand, Sand::Amo(_)) { Which::Amo } else { Which::Vtiger };
        Sync { owner: owner.to_owned(), ..invoicing(sync(Arc::clone(&self.store), crm), which) }
    }

    /// An account whose hub writes in this language.
    pub async fn speaking(which: Which, language: Language) -> Self {
        let mut account = Self::of(which).await;
        account.speak(language);
        account
    }

    /// The hub writes in this language from now on.
    pub fn speak(&mut self, language: Language) {
        let late_for = jiff::SignedDuration::ZERO;
        let crm = client_in(&self.sand, &self.base, &self.store, "test", late_for, sockets(), language);
        (self.crm, self.sync.crm) = (Arc::clone(&crm), crm);
        self.sync.catalog.language = language;
    }

    /// A client whose requests go through another HTTP client.
    pub fn client_over(&self, http: Arc<dyn HttpClient>) -> Arc<dyn Crm> {
        client(&self.sand, &self.base, &self.store, "test", jiff::SignedDuration::ZERO, http)
    }

    pub async fn reconcile(&self) {
        for _ in 0..60 {
            let round = self.sync.reconcile(FlushMode::Everything).await.expect("a round");
            let waiting = self.store.totals().await.expect("totals").waiting;
            if round.left == 0 && round.unavailable.is_none() && waiting == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("people still wait after sixty rounds");
    }

    pub fn set_down(&self, down: bool) {
        match &self.sand {
            Sand::Amo(sandbox) => sandbox.set_down(down),
            Sand::Vtiger(sandbox) => sandbox.set_down(down),
        }
    }

    /// Loses the answer of the next call that makes contacts, or deals, after it took effect.
    pub fn lose_answer(&self, deals: bool) {
        let call = match (&self.sand, deals) {
            (Sand::Amo(_), false) => "POST /api/v4/contacts",
            (Sand::Amo(_), true) => "POST /api/v4/leads",
            (Sand::Vtiger(_), false) => "create Contacts",
            (Sand::Vtiger(_), true) => "create Potentials",
        };
        self.fault(Fault::once(FaultKind::AnswerLost, call));
    }

    pub fn fault(&self, fault: Fault) {
        match &self.sand {
            Sand::Amo(sandbox) => sandbox.set_fault(fault),
            Sand::Vtiger(sandbox) => sandbox.set_fault(fault),
        }
    }

    /// A manager deletes a row.
    pub fn delete(&self, gone: Gone) {
        match &self.sand {
            Sand::Amo(sandbox) => {
                let (entity, id) = match gone {
                    Gone::Contact(id) => ("contacts", id),
                    Gone::Deal(id) => ("leads", id),
                    Gone::Company(id) => ("companies", id),
                };
                assert!(sandbox.deleted_by_manager(entity, id), "{gone:?} is not there");
            }
            Sand::Vtiger(sandbox) => sandbox.deleted_by_manager(&match gone {
                Gone::Contact(id) => format!("12x{id}"),
                Gone::Deal(id) => format!("13x{id}"),
                Gone::Company(id) => format!("11x{id}"),
            }),
        }
    }

    pub fn clear_faults(&self) {
        match &self.sand {
            Sand::Amo(sandbox) => sandbox.clear_faults(),
            Sand::Vtiger(sandbox) => sandbox.clear_faults(),
        }
    }

    pub fn amocrm(&self) -> &Sandbox {
        match &self.sand {
            Sand::Amo(sandbox) => sandbox,
            Sand::Vtiger(_) => panic!("not an amoCRM"),
        }
    }

    pub fn vtiger(&self) -> &VtigerSandbox {
        match &self.sand {
            Sand::Vtiger(sandbox) => sandbox,
            Sand::Amo(_) => panic!("not a Vtiger"),
        }
    }

    /// Contacts by name, each with its deals, their amounts and stages.
    pub fn picture(&self) -> BTreeMap<String, Vec<String>> {
        match &self.sand {
            Sand::Amo(sandbox) => crate::world::picture(sandbox),
            Sand::Vtiger(sandbox) => of_vtiger(sandbox),
        }
    }

    /// The number of contacts and of deals.
    pub fn counts(&self) -> (usize, usize) {
        match &self.sand {
            Sand::Amo(sandbox) => (sandbox.count("contacts"), sandbox.count("leads")),
            Sand::Vtiger(sandbox) => (sandbox.records("Contacts").len(), sandbox.records("Potentials").len()),
        }
    }

    /// Each contact with all its fields, as the CRM returns it.
    pub fn contacts(&self) -> Vec<String> {
        match &self.sand {
            Sand::Amo(sandbox) => sandbox.contacts().iter().map(ToString::to_string).collect(),
            Sand::Vtiger(sandbox) => {
                sandbox.records("Contacts").iter().map(|row| serde_json::json!(row).to_string()).collect()
            }
        }
    }

    pub fn companies(&self) -> usize {
        match &self.sand {
            Sand::Amo(sandbox) => sandbox.count("companies"),
            Sand::Vtiger(sandbox) => sandbox.records("Accounts").len(),
        }
    }

    /// The first contact of a deal.
    pub fn owner_of(&self, deal: u64) -> Option<u64> {
        match &self.sand {
            Sand::Amo(sandbox) => {
                let leads = sandbox.leads();
                let lead = leads.iter().find(|lead| lead["id"] == deal)?;
                let contacts = lead["_embedded"]["contacts"].as_array()?;
                contacts.iter().find(|contact| contact["is_main"] == true)?["id"].as_u64()
            }
            Sand::Vtiger(sandbox) => {
                let deals = sandbox.records("Potentials");
                let deal = deals.iter().find(|row| row["id"] == format!("13x{deal}"))?;
                deal["contact_id"].as_str()?.split_once('x')?.1.parse().ok()
            }
        }
    }
}

/// Configures invoices, which only a Vtiger has.
fn invoicing(mut sync: Sync, which: Which) -> Sync {
    let invoicing = Invoicing { visitors: "Частные лица".into(), vat: None, days: 14 };
    sync.catalog.invoicing = Some(invoicing).filter(|_| which == Which::Vtiger);
    sync
}

fn sockets() -> Arc<dyn HttpClient> {
    Arc::new(SocketClient::new(Duration::from_secs(5)).expect("a client"))
}

fn client(
    sand: &Sand,
    base: &str,
    store: &Arc<dyn Store>,
    owner: &str,
    late_for: jiff::SignedDuration,
    http: Arc<dyn HttpClient>,
) -> Arc<dyn Crm> {
    client_in(sand, base, store, owner, late_for, http, Language::default())
}

fn client_in(
    sand: &Sand,
    base: &str,
    store: &Arc<dyn Store>,
    owner: &str,
    late_for: jiff::SignedDuration,
    http: Arc<dyn HttpClient>,
    language: Language,
) -> Arc<dyn Crm> {
    match sand {
        Sand::Amo(_) => {
            let token = stagedoor_sandbox::Seed::default().long_lived;
            let stages = catalog().pipelines.into_iter();
            let named = |one: Pipeline| one.stages.into_values().map(move |stage| (one.name.clone(), stage));
            let stages = stages.flat_map(named).collect();
            let settings = AmoSettings { late_for, stages, language, ..settings(base, 1_000) };
            Arc::new(AmoCrm::over(http, settings, Authorization::LongLived(token)).remembering(store))
        }
        Sand::Vtiger(_) => {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let stages: BTreeSet<String> =
                catalog().pipelines.into_iter().flat_map(|one| one.stages.into_values()).collect();
            let settings = stagedoor_crm::vtiger::Settings {
                base_url: base.to_owned(),
                region: stagedoor_model::Region::new("RU").expect("a region"),
                timeout: Duration::from_secs(5),
                grace: Duration::from_millis(20),
                late_for,
                owner: None,
                service: Some("Билет".into()),
                visitors: "Частные лица".into(),
                zone: jiff::tz::TimeZone::UTC,
                stages,
                language,
            };
            let user = ("admin".to_owned(), Secret::new("StagedoorKey0001"));
            let sessions = NonZeroU32::new(4).expect("four");
            Arc::new(Vtiger::over(http, settings, user, sessions, (Arc::clone(store), clock, owner)))
        }
    }
}

fn of_vtiger(sandbox: &VtigerSandbox) -> BTreeMap<String, Vec<String>> {
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let (mut all, mut names) = (BTreeMap::<String, Vec<String>>::new(), BTreeMap::new());
    for contact in sandbox.records("Contacts") {
        let mut values: Vec<String> = ["mobile", "phone", "homephone", "otherphone", "email", "secondaryemail"]
            .map(|key| text(&contact, key))
            .into();
        values.retain(|value| !value.is_empty());
        values.sort();
        let name = format!("{} {} {}", text(&contact, "firstname"), text(&contact, "lastname"), values.join(" "));
        names.insert(text(&contact, "id"), name.clone());
        all.entry(name).or_default().push(String::new());
    }
    let owner = |id: String| names.get(&id).cloned().unwrap_or_else(|| "nobody".into());
    for deal in sandbox.records("Potentials") {
        let line = format!("{} {} {}", text(&deal, "potentialname"), text(&deal, "amount"), text(&deal, "sales_stage"));
        all.entry(owner(text(&deal, "contact_id"))).or_default().push(line);
    }
    for invoice in sandbox.records("Invoice") {
        let line =
            format!("{} {} {}", text(&invoice, "subject"), text(&invoice, "received"), text(&invoice, "invoicestatus"));
        all.entry(owner(text(&invoice, "contact_id"))).or_default().push(line);
    }
    for note in sandbox.records("ModComments") {
        let words = text(&note, "commentcontent");
        let lines = words.lines().filter(|line| line.contains('▸')).map(|line| format!("note {line}"));
        all.entry(owner(text(&note, "related_to"))).or_default().extend(lines);
    }
    for task in sandbox.records("Calendar") {
        all.entry(owner(text(&task, "contact_id"))).or_default().push("task".into());
    }
    all.values_mut().for_each(|lines| lines.sort());
    all
}
