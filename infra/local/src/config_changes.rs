//! What a config would change for the people of a hub's data folder. `check-config --data` prints it beforehand.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use stagedoor_config::Config;
use stagedoor_engine::{
    Catalog, CrmState, DealDraft, Enrolment, PastShow, PastShows, Person, PersonId, ShowKey, Step, Traits,
    due_messages, enrolment, plan, segments, source_of_order,
};
use stagedoor_model::{Fact, SECOND_CRM, Timestamp, breakage};
use stagedoor_ports::{Clock, Store, SystemClock};
use stagedoor_sqlite::SqliteStore;
use stagedoor_sync::{UNKNOWN_ZONES, learn_changes, shows_of_past_configs};

/// People on one page.
const PAGE: usize = 500;
/// The limit of people who wait for the CRM and are left out of the counts.
const WAITING: usize = 10_000;

/// Reads the folder of a running or stopped hub. Returns lines about what `config` would change. Writes nothing.
///
/// # Errors
/// A sentence: the hub's file cannot be read.
pub async fn report(config: &Config, folder: &Path) -> Result<Vec<String>, String> {
    let file = folder.join("hub.db");
    if !file.is_file() {
        let told = format!("there is no hub in {} yet: it has no file hub.db", folder.display());
        // An installer checks the config before the first start.
        return if breakage::is_on("check-config-needs-a-hub") { Err(told) } else { Ok(vec![told]) };
    }
    let store = SqliteStore::open_read_only(&file).map_err(|error| error.to_string())?;
    let lines = changes(config, &store, SystemClock.now()).await;
    lines.map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// As [`report`], for the store of a deployment.
///
/// # Errors
/// A sentence: the store cannot be read.
pub async fn report_of(config: &Config, store: &dyn Store) -> Result<Vec<String>, String> {
    let lines = changes(config, store, SystemClock.now()).await;
    lines.map_err(|error| format!("cannot read the deployment's store: {error}"))
}

async fn changes(config: &Config, store: &dyn Store, now: Timestamp) -> stagedoor_ports::Result<Vec<String>> {
    let past = shows_of_past_configs(store).await?;
    // Unknown past shows are not mentioned.
    let before = if past.is_empty() { config.catalog.clone() } else { config.catalog.with_last_shows(&past) };
    let mut catalogs = Catalogs { before, after: config.catalog.clone() };
    catalogs.after.recall(&past);
    learn_changes(store, &mut catalogs.before).await?;
    learn_changes(store, &mut catalogs.after).await?;
    let waiting: BTreeSet<PersonId> =
        store.claim_dirty(WAITING, None).await?.into_iter().map(|one| one.person.id).collect();
    let mut found = Found::default();
    let mut after = None;
    loop {
        let (page, next) = store.scan_people(after, PAGE).await?;
        let mut links = store.crm_states(&page).await?;
        for one in store.load(&page).await? {
            let person = one.value;
            let link = links.remove(&person.id).unwrap_or_default();
            found.look(&person, link, config, &catalogs, waiting.contains(&person.id), now);
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    let mut lines = Vec::new();
    if past.is_empty() && found.people > 0 {
        lines.push(
            "shows: an earlier version kept no list of its shows; what the last config had is not known".to_owned(),
        );
    } else {
        lines.extend(shows(config, &catalogs.after, &past));
    }
    lines.extend(found.lines());
    for name in store.key_values(UNKNOWN_ZONES).await?.into_keys() {
        let told = name.strip_prefix(UNKNOWN_ZONES).and_then(|rest| rest.split_once('/'));
        lines.extend(told.map(|(source, zone)| {
            format!(
                "zone {zone} of source {source} is no IANA zone: the offset of its times is used, or the hub's zone"
            )
        }));
    }
    lines.push(format!("compared with {} people; nothing was changed", found.people));
    Ok(lines)
}

/// The shows that the config adds, changes, names by another key, or no longer has.
fn shows(config: &Config, after: &Catalog, past: &PastShows) -> Vec<String> {
    let mut lines = Vec::new();
    let renamed: BTreeSet<&ShowKey> = after.formerly.values().collect();
    for (key, show) in &config.catalog.shows {
        let last = past.get(key).filter(|one| one.configured);
        let Some(last) = last else {
            if !renamed.contains(key) {
                lines.push(format!("show {key}: added"));
            }
            continue;
        };
        let pipeline = config.catalog.pipeline(show).map(|pipeline| &pipeline.name);
        let shown = |time: &Option<Timestamp>| time.map(|time| time.to_string());
        let parts = [
            differs("title", Some(&last.show.title), Some(&show.title)),
            differs("city", last.show.city.as_ref(), show.city.as_ref()),
            differs("starts_at", shown(&last.show.starts_at).as_ref(), shown(&show.starts_at).as_ref()),
            differs("zone", last.show.zone.as_ref(), show.zone.as_ref()),
            differs("pipeline", last.pipeline.as_ref(), pipeline),
        ];
        lines.extend(parts.into_iter().flatten().map(|part| format!("show {key}: {part}")));
    }
    let gone = |(key, one): &(&ShowKey, &PastShow)| one.configured && !config.catalog.shows.contains_key(*key);
    for (key, _) in past.iter().filter(gone) {
        lines.push(match after.formerly.get(key) {
            Some(now) => format!("show {key}: is {now} now; the old key stays as an alias, deals and messages go on"),
            None => format!("show {key}: removed; its deals stay as they are, and it stays known"),
        });
    }
    lines
}

fn differs(what: &str, before: Option<&String>, after: Option<&String>) -> Option<String> {
    let shown = |value: Option<&String>| value.map_or("nothing".to_owned(), |value| format!("«{value}»"));
    (before != after).then(|| format!("{what} {} instead of {}", shown(after), shown(before)))
}

/// The catalog with the shows of the last config, and the catalog of the new config.
struct Catalogs {
    before: Catalog,
    after: Catalog,
}

#[derive(Default)]
struct Found {
    people: u64,
    waiting: u64,
    /// Deals that are kept under the first key and go on under the second.
    keys: BTreeMap<(String, String), u64>,
    /// The number of deals with a new name, and the old and new name of one.
    names: u64,
    name: Option<(String, String)>,
    pipelines: BTreeMap<(String, String), u64>,
    emptied: u64,
    /// Rows that would be created or written anew, by kind.
    rows: BTreeMap<&'static str, u64>,
    /// People who enter and leave, by segment.
    segments: BTreeMap<String, (u64, u64)>,
    /// Addresses that would be added and removed, by list.
    lists: BTreeMap<String, (u64, u64)>,
    mailings: BTreeMap<String, u64>,
    /// The number of orders of sources that the config does not name.
    orders_without_source: BTreeMap<String, u64>,
}

impl Found {
    fn look(
        &mut self,
        person: &Person,
        mut link: CrmState,
        config: &Config,
        catalogs: &Catalogs,
        waits: bool,
        now: Timestamp,
    ) {
        self.people += 1;
        self.look_at_sources(person, config);
        self.waiting += u64::from(waits);
        let second = config.second_crm.as_ref();
        let seen = second.map(|_| person.seen_by(""));
        self.look_at_rows(seen.as_ref().unwrap_or(person), &link, &catalogs.before, &catalogs.after, waits, now);
        let nothing = CrmState::default();
        if let Some(account) = second {
            let own = link.second.as_deref().unwrap_or(&nothing);
            let of = |catalog: &Catalog| {
                let (invoicing, currency) = (account.invoicing.clone(), Some(account.currency.clone()));
                Catalog { invoicing, currency, ..catalog.clone() }
            };
            let (before, after) = (of(&catalogs.before), of(&catalogs.after));
            self.look_at_rows(&person.seen_by(SECOND_CRM), own, &before, &after, waits, now);
        }
        let after = &catalogs.after;
        link = link.rekeyed(after);
        let traits = Traits::of(person, &link.leads(), after);
        let is_in = segments::evaluate(&after.segments, &traits, now).of;
        let (entered, left) = segments::changes(&link.segments, &is_in);
        entered.iter().for_each(|name| self.segments.entry(name.clone()).or_default().0 += 1);
        left.iter().for_each(|name| self.segments.entry(name.clone()).or_default().1 += 1);
        link.segments.retain(|name, _| is_in.contains(name));
        link.segments.extend(entered.into_iter().map(|name| (name, now)));
        for step in enrolment(person, &link, after) {
            match step {
                Enrolment::Add { list, .. } => self.lists.entry(list).or_default().0 += 1,
                Enrolment::Remove { list, .. } => self.lists.entry(list).or_default().1 += 1,
            }
        }
        for due in due_messages(person, &link, &traits, after, &BTreeSet::new(), now).now {
            if due.begins && due.message.is_some() {
                *self.mailings.entry(due.mailing.name.clone()).or_default() += 1;
            }
        }
    }

    /// Counts orders under the names of sources that the config has no more.
    fn look_at_sources(&mut self, person: &Person, config: &Config) {
        for (key, record) in &person.records {
            let Some(source) = source_of_order(key) else { continue };
            let is_told = matches!(&record.fact, Fact::Order { order: Some(_), .. });
            if is_told && config.sources.iter().all(|one| one.source.name.as_str() != source) {
                *self.orders_without_source.entry(source.to_owned()).or_default() += 1;
            }
        }
    }

    fn look_at_rows(
        &mut self,
        person: &Person,
        link: &CrmState,
        before: &Catalog,
        after: &Catalog,
        waits: bool,
        now: Timestamp,
    ) {
        for (key, _) in link.deals.iter().filter(|(_, deal)| deal.id.is_some()) {
            if let Some(new) = after.current(key).filter(|new| before.current(key) != Some(new)) {
                *self.keys.entry((key.0.clone(), new.0.clone())).or_default() += 1;
            }
        }
        let (was, is) = (drafts(person, link, before, now), drafts(person, link, after, now));
        for (was, is) in is.iter().filter_map(|(id, is)| Some((was.get(id)?, is))) {
            match (was.name.is_empty(), is.name.is_empty()) {
                (false, false) if was.name != is.name => {
                    self.names += 1;
                    self.name.get_or_insert_with(|| (was.name.clone(), is.name.clone()));
                }
                (false, true) => self.emptied += 1,
                _ => {}
            }
            if was.pipeline != is.pipeline {
                *self.pipelines.entry((was.pipeline.clone(), is.pipeline.clone())).or_default() += 1;
            }
        }
        if waits {
            return;
        }
        let mut link = link.clone().rekeyed(after);
        link.remember_values(person);
        for (step, _) in plan(person, &link, after, now).steps {
            let what = match step {
                Step::CreateContact(_) => "contacts made",
                Step::UpdateContact(..) | Step::MarkDuplicate { .. } => "contacts written anew",
                Step::CreateDeal(_) => "deals made",
                Step::UpdateDeal(..) | Step::CloseDouble(..) => "deals written anew",
                Step::CreateInvoice(..) => "invoices made",
                Step::UpdateInvoice(..) | Step::CancelInvoice(..) => "invoices written anew",
            };
            *self.rows.entry(what).or_default() += 1;
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for ((old, new), deals) in &self.keys {
            lines.push(format!("deals: {deals} that are kept as {old} go on as {new}"));
        }
        if let Some((was, is)) = &self.name {
            lines.push(format!("deals: {} get another name, for example «{is}» instead of «{was}»", self.names));
        }
        for ((was, is), deals) in &self.pipelines {
            lines.push(format!("deals: {deals} belong to the pipeline «{is}» instead of «{was}»"));
        }
        if self.emptied > 0 {
            lines.push(format!("deals: {} have no orders any more and are worth nothing", self.emptied));
        }
        let rows: Vec<String> = self.rows.iter().map(|(what, count)| format!("{count} {what}")).collect();
        if !rows.is_empty() {
            lines.push(format!("CRM: {}", rows.join(", ")));
        }
        for (name, (enter, leave)) in &self.segments {
            lines.push(format!("segment {name}: {enter} people enter, {leave} leave"));
        }
        for (name, (added, off)) in &self.lists {
            lines.push(format!("list {name}: {added} addresses are added, {off} taken off"));
        }
        for (name, people) in &self.mailings {
            lines.push(format!("mailing {name}: {people} people are written to at once"));
        }
        for (source, orders) in &self.orders_without_source {
            lines.push(format!(
                "source {source}: the config does not have it, and {orders} orders are its own. If it only got another \
                 name, give it the old one: under a new name the same orders count a second time"
            ));
        }
        if lines.is_empty() {
            lines.push("nothing changes for people who are in the hub".to_owned());
        }
        if self.waiting > 0 {
            lines.push(format!("{} people wait for the CRM now; rows of theirs are not counted", self.waiting));
        }
        lines
    }
}

/// Every deal of a person that the CRM has, as the catalog describes it.
fn drafts(person: &Person, link: &CrmState, catalog: &Catalog, now: Timestamp) -> BTreeMap<u64, DealDraft> {
    let mut link = link.clone().rekeyed(catalog).unparked();
    link.write_rows_again();
    let steps = plan(person, &link, catalog, now).steps;
    let deal = |(step, _)| match step {
        Step::UpdateDeal(id, draft) => Some((id, draft)),
        _ => None,
    };
    steps.into_iter().filter_map(deal).collect()
}
