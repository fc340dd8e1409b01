use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use stagedoor_model::{Order, ShowRef, Ticket, Timestamp, breakage};
use stagedoor_texts::{Language, crm};

use crate::{
    BotScript, Campaign, ConsentPolicy, GOODS, INTEREST, Invoicing, ListRule, Mailing, MailingLimits, Pipeline, Pool,
    Segment, Show, ShowKey, ShowNotice, ShowState, Windows,
};

/// Shows, pipelines and rules of the config, with what providers reported about shows since.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The shows that the config names.
    pub shows: BTreeMap<ShowKey, Show>,
    /// Maps a source and the provider's id of a show to the organiser's key.
    pub known_as: BTreeMap<(String, String), ShowKey>,
    /// Maps the keys of past configs to the present keys of the same shows.
    pub formerly: BTreeMap<ShowKey, ShowKey>,
    /// What providers reported about shows since.
    pub learned: BTreeMap<ShowKey, ShowState>,
    pub pipelines: Vec<Pipeline>,
    /// The currency (ISO 4217) of the prices in the CRM account. `None` means RUB.
    pub currency: Option<String>,
    /// The index of a show's pipeline in `pipelines`. A show without an entry uses its city's pipeline, else the first
    /// one.
    pub pipeline_of_show: BTreeMap<ShowKey, usize>,
    /// The index of a city's pipeline in `pipelines`.
    pub pipeline_of_city: BTreeMap<String, usize>,
    /// The show that a source is about, used if a delivery names none.
    pub show_of_source: BTreeMap<String, ShowKey>,
    pub campaigns: BTreeMap<String, Campaign>,
    pub pools: BTreeMap<String, Pool>,
    /// The name of the pool that holds a code. Codes are in capitals.
    pub pool_of_code: BTreeMap<String, String>,
    /// The replies of the bot.
    pub bot_script: BotScript,
    /// The language of texts for managers.
    pub language: Language,
    /// The time zone in which managers read times. `None` means UTC.
    pub zone: Option<TimeZone>,
    /// The rules for consents.
    pub consent: ConsentPolicy,
    pub segments: Vec<Segment>,
    pub lists: Vec<ListRule>,
    /// The windows of attribution.
    pub windows: Windows,
    /// True if contacts also show segments and consents as tags.
    pub tags: bool,
    /// How invoices are written. If `None`, the hub writes no invoices.
    pub invoicing: Option<Invoicing>,
    pub mailings: Vec<Mailing>,
    /// Quiet hours and the cap on advertising.
    pub manners: MailingLimits,
    /// The senders that exist: `sms`, `email`, and the messenger sources with a token.
    pub senders: BTreeSet<String>,
}

impl Catalog {
    /// Returns the organiser's show for the show that a provider named. Without a name it returns the show
    /// [`INTEREST`].
    pub fn show(&self, source: &str, named: Option<&ShowRef>) -> Show {
        let Some(named) = named else {
            return Show {
                key: ShowKey(INTEREST.to_owned()),
                title: crm::deal_of_interest().to(self.language),
                city: None,
                starts_at: None,
                zone: None,
                cancelled: false,
                moved_at: None,
                announced: None,
                course: vec![],
            };
        };
        self.show_by_key(self.key(source, &named.id), named)
    }

    /// Returns the show that stands for goods. Goods bought beside tickets are a deal of their own.
    pub fn goods(&self) -> Show {
        let interest = self.show("", None);
        Show { key: ShowKey(GOODS.to_owned()), title: crm::deal_of_goods().to(self.language), ..interest }
    }

    /// Returns the show of a campaign or a source. Without a key it returns the show [`INTEREST`].
    pub fn catalog_show(&self, key: Option<&ShowKey>) -> Show {
        match key {
            Some(key) => self.show_by_key(key.clone(), &ShowRef::id(key.0.clone())),
            None => self.show("", None),
        }
    }

    /// Returns the show of an order without lines: the show that the order names, else the one that its source is
    /// about.
    pub(crate) fn show_without_lines(&self, source: &str, order: &Order) -> Show {
        let named = order.show.as_deref().filter(|_| !breakage::is_on("order-without-lines-names-no-show"));
        match named {
            Some(named) => self.show(source, Some(named)),
            None => self.catalog_show(self.show_of_source.get(source)),
        }
    }

    fn show_by_key(&self, key: ShowKey, named: &ShowRef) -> Show {
        let (change, announced) = (self.learned.get(&key), self.first_start(&key, named));
        self.changed_show(key, named, announced, change)
    }

    fn first_start(&self, key: &ShowKey, named: &ShowRef) -> Option<Timestamp> {
        self.shows.get(key).map_or(named.starts_at, |show| show.starts_at)
    }

    /// Returns the show of a ticket. A shop may tell a new date only by its orders: an order that told an earlier date
    /// before tells that the show is moved, where no report about the show does.
    pub(crate) fn show_of_ticket(&self, source: &str, order: &Order, ticket: &Ticket) -> Show {
        let (named, key) = (&ticket.show, self.key(source, &ticket.show.id));
        let learned = self.learned.get(&key);
        let earlier = order.earlier_starts_of(&named.id).filter(|_| !breakage::is_on("first-date-forgotten"));
        let told = earlier.zip(named.starts_at);
        let told = told.and_then(|(earlier, start)| ShowNotice::by_order(earlier, (start, order.revision), learned));
        let Some((first, changes)) = told else { return self.show_by_key(key, named) };
        let announced = self.shows.get(&key).map_or(Some(first), |show| show.starts_at);
        let change = match learned {
            Some(state) if state.tells_a_date() => Some(state.clone()),
            // The organiser changed the date in the config since.
            _ if announced != Some(first) => learned.cloned(),
            _ => ShowState::with_changes(learned, ShowRef::id(named.id.clone()), changes),
        };
        self.changed_show(key, named, announced, change.as_ref())
    }

    fn changed_show(
        &self,
        key: ShowKey,
        named: &ShowRef,
        announced: Option<Timestamp>,
        change: Option<&ShowState>,
    ) -> Show {
        let mut show = match self.shows.get(&key) {
            Some(show) => show.clone(),
            None => Show {
                title: named.title.clone().unwrap_or_else(|| named.id.clone()),
                city: named.city.clone(),
                starts_at: named.starts_at,
                zone: named.local_zone().map(str::to_owned),
                cancelled: false,
                moved_at: None,
                announced: None,
                course: vec![],
                key,
            },
        };
        show.announced = announced;
        if let Some(change) = change {
            show.course = change.course(show.announced);
            show.cancelled = change.cancelled;
            // A change without a date, such as a cancellation, keeps the date that was reported last.
            let told = if breakage::is_on("undated-change-forgets-the-date") {
                change.show.starts_at.or(show.starts_at)
            } else {
                show.course.last().map_or(show.announced, |last| last.starts_at)
            };
            show.moved_at = show.redated_at().filter(|_| show.announced.is_some() && told != show.announced);
            show.title = change.show.title.clone().unwrap_or(show.title);
            show.city = change.show.city.clone().or(show.city);
            // The date of a postponed show is unknown, so no message may name the old one.
            show.starts_at = told.filter(|_| !show.is_postponed());
            // A zone name includes daylight saving. An offset is the last resort.
            let told = change
                .show
                .local_zone()
                .filter(|zone| show.zone.is_none() || Some(*zone) == change.show.zone.as_deref());
            show.zone = told.map(str::to_owned).or(show.zone);
        }
        show
    }

    /// Returns the currency (ISO 4217) of the CRM account.
    pub fn currency(&self) -> &str {
        self.currency.as_deref().unwrap_or("RUB")
    }

    /// Adds what a source reported about one show. It is joined with reports of other sources about the same show.
    pub fn learn(&mut self, source: &str, state: ShowState) {
        let key = self.key(source, &state.show.id);
        let announced = self.shows.get(&key).and_then(|show| show.starts_at);
        let known = match self.learned.remove(&key) {
            Some(known) => known.join_other(state, announced),
            None => state,
        };
        self.learned.insert(key, known);
    }

    /// Returns the organiser's key for a source's id of a show. A show that the config does not name gets
    /// `<source>/<id>`.
    pub fn key(&self, source: &str, id: &str) -> ShowKey {
        let plain = ShowKey(id.to_owned());
        if self.shows.contains_key(&plain) {
            return plain;
        }
        self.known_as
            .get(&(source.to_owned(), id.to_owned()))
            .cloned()
            .unwrap_or_else(|| ShowKey(format!("{source}/{id}")))
    }

    /// Returns the pipeline of a show, or `None` if the config has no pipelines.
    pub fn pipeline(&self, show: &Show) -> Option<&Pipeline> {
        let index = self
            .pipeline_of_show
            .get(&show.key)
            .or_else(|| show.city.as_ref().and_then(|city| self.pipeline_of_city.get(city)))
            .copied()
            .unwrap_or(0);
        self.pipelines.get(index)
    }
}
