use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use stagedoor_model::{Order, ShowRef, Timestamp, breakage};

use crate::{
    BotScript, Campaign, ConsentPolicy, Invoicing, ListRule, Mailing, MailingLimits, Pool, Segment, ShowNotice,
    ShowState, StageNames, Windows,
};

/// The key of an interest in nothing particular.
pub const INTEREST: &str = "interest";
/// The key of what is bought and is no ticket.
pub const GOODS: &str = "goods";

/// The house's own name of a show; deals are kept by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShowKey(pub String);

impl fmt::Display for ShowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    pub key: ShowKey,
    pub title: String,
    pub city: Option<String>,
    pub starts_at: Option<Timestamp>,
    /// The zone in which its times are told: an IANA name, or an offset from UTC such as `+05:00`.
    pub zone: Option<String>,
    pub cancelled: bool,
    /// When it was said that it begins at another time than was announced first.
    #[serde(default)]
    pub moved_at: Option<Timestamp>,
    /// When it was to begin before any change was told.
    #[serde(skip)]
    pub announced: Option<Timestamp>,
    /// How it stood from each change on, in the order of time.
    #[serde(skip)]
    pub course: Vec<ShowNotice>,
}

impl Show {
    /// Whether it takes place although it was called off once.
    pub fn is_resumed(&self) -> bool {
        !self.cancelled && self.course.iter().any(|change| change.cancelled)
    }

    /// When its present date was told.
    fn redated_at(&self) -> Option<Timestamp> {
        let mut last = self.announced;
        let redated =
            self.course.iter().filter(|change| std::mem::replace(&mut last, change.starts_at) != change.starts_at);
        redated.last().map(|change| change.changed_at)
    }

    /// True if the show is moved, and its new date will follow.
    pub fn is_postponed(&self) -> bool {
        self.course.last().is_some_and(|change| change.postponed)
    }

    /// How the show stood right before an instant.
    pub fn stood_at(&self, at: Timestamp) -> ShowNotice {
        let first = ShowNotice::announced(self.announced);
        self.course.iter().rev().find(|change| change.changed_at < at).copied().unwrap_or(first)
    }
}

/// A pipeline of the CRM and the name of its stage for each of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    pub name: String,
    /// Stages without a name here are not pushed.
    pub stages: StageNames,
}

/// Shows and pipelines as the config has them, with what providers said of shows since.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub shows: BTreeMap<ShowKey, Show>,
    /// (source, provider's id) to the house's show.
    pub known_as: BTreeMap<(String, String), ShowKey>,
    /// Keys of past configs to those of the same shows now.
    pub formerly: BTreeMap<ShowKey, ShowKey>,
    /// What providers said since.
    pub learned: BTreeMap<ShowKey, ShowState>,
    pub pipelines: Vec<Pipeline>,
    /// ISO 4217: in which the CRM account holds prices. `None`: RUB.
    pub currency: Option<String>,
    /// By show, else by city, else the first pipeline.
    pub pipeline_of_show: BTreeMap<ShowKey, usize>,
    pub pipeline_of_city: BTreeMap<String, usize>,
    /// Shows that sources are about, when their deliveries name none.
    pub show_of_source: BTreeMap<String, ShowKey>,
    pub campaigns: BTreeMap<String, Campaign>,
    pub pools: BTreeMap<String, Pool>,
    /// By the code in capitals.
    pub pool_of_code: BTreeMap<String, String>,
    /// What the bot answers.
    pub bot_script: BotScript,
    /// In which managers read times; UTC where the config names none.
    pub zone: Option<TimeZone>,
    pub consent: ConsentPolicy,
    pub segments: Vec<Segment>,
    pub lists: Vec<ListRule>,
    pub windows: Windows,
    /// Whether contacts bear segments and consents as tags, too.
    pub tags: bool,
    /// How invoices are written; none are where it is `None`.
    pub invoicing: Option<Invoicing>,
    pub mailings: Vec<Mailing>,
    pub manners: MailingLimits,
    /// What messages can go through: sources of messengers that have a token, `sms` and `email`.
    pub senders: BTreeSet<String>,
}

impl Catalog {
    /// The house's show for what a provider named; interest in nothing particular is a show of its own.
    pub fn show(&self, source: &str, named: Option<&ShowRef>) -> Show {
        let Some(named) = named else {
            return Show {
                key: ShowKey(INTEREST.to_owned()),
                title: "Interest".to_owned(),
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

    /// What is bought beside tickets is a deal of its own.
    pub fn goods(&self) -> Show {
        let interest = self.show("", None);
        Show { key: ShowKey(GOODS.to_owned()), title: "Goods".to_owned(), ..interest }
    }

    /// The show that a campaign or a source is about.
    pub fn catalog_show(&self, key: Option<&ShowKey>) -> Show {
        match key {
            Some(key) => self.show_by_key(key.clone(), &ShowRef::id(key.0.clone())),
            None => self.show("", None),
        }
    }

    /// What an order without lines is for: the show that it names itself, else the one that its source is about.
    pub(crate) fn show_without_lines(&self, source: &str, order: &Order) -> Show {
        let named = order.show.as_deref().filter(|_| !breakage::is_on("order-without-lines-names-no-show"));
        match named {
            Some(named) => self.show(source, Some(named)),
            None => self.catalog_show(self.show_of_source.get(source)),
        }
    }

    fn show_by_key(&self, key: ShowKey, named: &ShowRef) -> Show {
        let change = self.learned.get(&key);
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
        show.announced = show.starts_at;
        if let Some(change) = change {
            show.course = change.course(show.announced);
            show.cancelled = change.cancelled;
            // A change without a date, such as a cancellation, leaves the date that was told last.
            let told = if breakage::is_on("undated-change-forgets-the-date") {
                change.show.starts_at.or(show.starts_at)
            } else {
                show.course.last().map_or(show.announced, |last| last.starts_at)
            };
            show.moved_at = show.redated_at().filter(|_| show.announced.is_some() && told != show.announced);
            show.title = change.show.title.clone().unwrap_or(show.title);
            show.city = change.show.city.clone().or(show.city);
            // Of a show that was postponed nobody knows the date: no message speaks of the old one.
            show.starts_at = told.filter(|_| !show.is_postponed());
            // A zone by its name knows of daylight saving; an offset is the last resort.
            let told = change
                .show
                .local_zone()
                .filter(|zone| show.zone.is_none() || Some(*zone) == change.show.zone.as_deref());
            show.zone = told.map(str::to_owned).or(show.zone);
        }
        show
    }

    /// The currency of the CRM account.
    pub fn currency(&self) -> &str {
        self.currency.as_deref().unwrap_or("RUB")
    }

    /// Adds what a source said of one show. Another source may have said something of the same show.
    pub fn learn(&mut self, source: &str, state: ShowState) {
        let key = self.key(source, &state.show.id);
        let announced = self.shows.get(&key).and_then(|show| show.starts_at);
        let known = match self.learned.remove(&key) {
            Some(known) => known.join_other(state, announced),
            None => state,
        };
        self.learned.insert(key, known);
    }

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
