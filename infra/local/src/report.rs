//! The results of letters, SMS and messages, by campaign or mailing, channel, city and variant. Also the effect of
//! mailings, compared with the hold-out. All from the hub's own store, as tables, CSV or a page.

mod told;

use std::collections::BTreeMap;

use stagedoor_engine::{By, Catalog, CrmState, MailingState, MailingStep, Person, Settlement, deals};
use stagedoor_model::{Channel, Fact, MailMessage, Order, Purpose, breakage};
use told::ReportText;

use crate::{hub::Hub, terminal::escaped};

/// People on one page.
const PAGE: usize = 500;
/// The variant of letters that have none.
const NONE: &str = "-";
pub const HELD_OUT: &str = "hold-out";
/// The last column holds sums; in CSV a currency column follows.
const COLUMNS: [&str; 11] = [
    "campaign",
    "channel",
    "city",
    "variant",
    "sent",
    "delivered",
    "opened",
    "clicked",
    "bounced",
    "bought",
    "revenue",
];

/// Campaign or mailing, channel, city, variant.
pub type Key = (String, &'static str, String, String);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportLine {
    /// Letters that the provider took or tried.
    pub sent: usize,
    pub delivered: usize,
    /// Letters opened and messages read by a person. Machines are not counted.
    pub opened: usize,
    pub clicked: usize,
    /// Letters to addresses that accept none, and messages that were refused.
    pub bounced: usize,
    /// Orders attributed to the line, by code, link, click or view.
    pub bought: usize,
    /// Minor units by currency, less refunds.
    pub revenue: BTreeMap<String, i64>,
}

/// What the people of a mailing, or of its hold-out, bought within the config's days, by any way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    pub people: usize,
    pub bought: usize,
    pub revenue: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub lines: BTreeMap<Key, ReportLine>,
    /// By mailing, city and variant. `hold-out` is a variant.
    pub effects: BTreeMap<(String, String, String), Effect>,
}

/// Builds the report. Reads all people.
///
/// # Errors
/// When the store cannot be read.
pub async fn report(hub: &Hub) -> Result<Report, String> {
    let catalog = hub.sync.catalog().await.map_err(|error| error.to_string())?;
    let (mut report, mut after) = (Report::default(), None);
    loop {
        let (page, next) = hub.store.scan_people(after, PAGE).await.map_err(|error| error.to_string())?;
        let links = hub.store.crm_states(&page).await.map_err(|error| error.to_string())?;
        for person in hub.store.load(&page).await.map_err(|error| error.to_string())? {
            let link = links.get(&person.value.id).cloned().unwrap_or_default();
            report.add(&person.value, &link, &catalog);
        }
        after = next;
        if after.is_none() {
            return Ok(report);
        }
    }
}

fn city_of(person: &Person, catalog: &Catalog) -> String {
    let latest = deals(person, catalog).into_values().max_by_key(|deal| deal.since);
    latest.and_then(|deal| deal.show.city).unwrap_or_else(|| NONE.to_owned())
}

impl Report {
    fn add(&mut self, person: &Person, link: &CrmState, catalog: &Catalog) {
        let (city, told) = (city_of(person, catalog), ReportText::of(person, link, catalog));
        // Reports about the hub's own messages are counted with those messages.
        for letter in &told.others {
            self.letter(&told, letter, letter.campaign.as_deref().unwrap_or(NONE), &city);
        }
        self.invitations(&told, &city);
        for written in link.written.values() {
            let city = written.city.as_ref().unwrap_or(&city);
            written.steps.iter().for_each(|step| self.message(&told, written, step, city));
            self.effect(&told, written, city, catalog);
        }
        for (order, settlement) in told.paid.orders.values() {
            self.order(&told, (order, settlement), &city);
        }
    }

    fn letter(&mut self, told: &ReportText<'_>, letter: &MailMessage, campaign: &str, city: &str) {
        let key = (campaign.to_owned(), letter.channel().name(), city.to_owned(), NONE.to_owned());
        let line = self.lines.entry(key).or_default();
        line.sent += 1;
        line.delivered += usize::from(letter.delivered_at.is_some() || letter.seen_at().is_some());
        line.opened += usize::from(letter.seen_at().is_some());
        line.clicked += usize::from(letter.clicked_at().is_some());
        line.bounced += usize::from(letter.hard_bounced_at.is_some() && told.is_dead(&letter.to));
    }

    /// An SMS with a personal link. An opened link counts as read.
    fn invitations(&mut self, told: &ReportText<'_>, city: &str) {
        for record in told.person.records.values() {
            let Fact::Link(own) = &record.fact else { continue };
            if own.purpose != Purpose::Chat || own.expires_at.is_none() {
                continue;
            }
            let opened = told.looks.at(own).is_some();
            let refused = told.was_refused(&record.identifiers, record.at);
            let key = (own.campaign.clone(), Channel::Sms.name(), city.to_owned(), NONE.to_owned());
            let line = self.lines.entry(key).or_default();
            line.sent += 1;
            line.delivered += usize::from(opened || told.has_arrived(record.at, own));
            line.opened += usize::from(opened);
            line.clicked += usize::from(opened);
            line.bounced += usize::from(refused);
        }
    }

    /// A message of a mailing, with the reports of its provider or messenger.
    fn message(&mut self, told: &ReportText<'_>, written: &MailingState, step: &MailingStep, city: &str) {
        let reports = told.reports_of(step);
        let read = told.reports.was_read(step);
        let refused = !read && told.reports.was_refused(step);
        let delivered = match step.channel {
            Channel::Messenger => !refused,
            _ => read || reports.iter().any(|letter| letter.delivered_at.is_some() || letter.seen_at().is_some()),
        };
        let followed = told.was_followed(&written.mailing, step);
        let clicked = followed || reports.iter().any(|letter| letter.clicked_at().is_some());
        let variant = written.variant.clone().unwrap_or_else(|| NONE.to_owned());
        let key = (written.mailing.clone(), step.channel.name(), city.to_owned(), variant);
        let line = self.lines.entry(key).or_default();
        line.sent += 1;
        line.delivered += usize::from(delivered);
        line.opened += usize::from(read || clicked);
        line.clicked += usize::from(clicked);
        line.bounced += usize::from(refused);
    }

    fn order(&mut self, told: &ReportText<'_>, (order, settlement): (&Order, &Settlement), city: &str) {
        let Some(owed) = told.attributions.of_order(order) else { return };
        let last = told.last_before(&owed.campaign, order);
        let channel = match (owed.by, last) {
            (By::Code, _) => "code",
            (_, Some((_, step))) => step.channel.name(),
            (By::Link, None) => "link",
            (By::Click | By::View, None) => {
                told.letter_of(&owed.campaign).map_or(Channel::Email, MailMessage::channel).name()
            }
        };
        let variant = last.and_then(|(one, _)| one.variant.clone()).unwrap_or_else(|| NONE.to_owned());
        let city = last.and_then(|(one, _)| one.city.clone()).unwrap_or_else(|| city.to_owned());
        let line = self.lines.entry((owed.campaign, channel, city, variant)).or_default();
        line.bought += 1;
        add(&mut line.revenue, order, settlement);
    }

    fn effect(&mut self, told: &ReportText<'_>, written: &MailingState, city: &str, catalog: &Catalog) {
        if !written.marketing {
            return;
        }
        let variant = written.variant.clone().unwrap_or_else(|| HELD_OUT.to_owned());
        let effect = self.effects.entry((written.mailing.clone(), city.to_owned(), variant)).or_default();
        effect.people += 1;
        let within = |order: &Order| {
            let gap = order.placed_at.as_second() - written.began_at.as_second();
            (0..=catalog.windows.effect).contains(&gap)
        };
        let mut bought = false;
        for (order, settlement) in told.paid.orders.values().filter(|(order, _)| within(order)) {
            bought = true;
            add(&mut effect.revenue, order, settlement);
        }
        effect.bought += usize::from(bought);
    }

    /// The report in lines for a terminal.
    pub fn lines(&self) -> Vec<String> {
        table(COLUMNS, self.rows())
    }

    /// The effect of mailings, compared with the hold-out: in all, then by city.
    pub fn effect_lines(&self) -> Vec<String> {
        let mut all = Self::default();
        for ((mailing, _, variant), effect) in &self.effects {
            let sum = all.effects.entry((mailing.clone(), "all".into(), variant.clone())).or_default();
            (sum.people, sum.bought) = (sum.people + effect.people, sum.bought + effect.bought);
            for (currency, minor) in &effect.revenue {
                *sum.revenue.entry(currency.clone()).or_default() += minor;
            }
        }
        let rows = all.effect_rows().chain(self.effect_rows());
        table(["mailing", "city", "variant", "people", "bought", "share", "revenue"], rows)
    }

    pub fn rows(&self) -> impl Iterator<Item = [String; 11]> {
        self.lines.iter().map(|((campaign, channel, city, variant), line)| {
            [
                campaign.clone(),
                (*channel).to_owned(),
                city.clone(),
                variant.clone(),
                line.sent.to_string(),
                line.delivered.to_string(),
                line.opened.to_string(),
                line.clicked.to_string(),
                line.bounced.to_string(),
                line.bought.to_string(),
                money(&line.revenue),
            ]
        })
    }

    pub fn effect_rows(&self) -> impl Iterator<Item = [String; 7]> {
        self.effects.iter().map(|((mailing, city, variant), effect)| {
            [
                mailing.clone(),
                city.clone(),
                variant.clone(),
                effect.people.to_string(),
                effect.bought.to_string(),
                effect.share(),
                money(&effect.revenue),
            ]
        })
    }

    /// The report as CSV (RFC 4180). Amounts have a decimal point; their currency has a column of its own.
    ///
    /// # Errors
    /// Never, unless memory runs out.
    pub fn csv(&self) -> Result<String, String> {
        let rows = self.rows().zip(self.lines.values());
        written(&COLUMNS, rows.map(|(row, line)| (row.into_iter().take(COLUMNS.len() - 1).collect(), &line.revenue)))
    }

    /// The effect of mailings as CSV.
    ///
    /// # Errors
    /// Never, unless memory runs out.
    pub fn effect_csv(&self) -> Result<String, String> {
        let titles = ["mailing", "city", "variant", "people", "bought", "revenue"];
        let rows = self.effect_rows().zip(self.effects.values());
        written(&titles, rows.map(|(row, effect)| (row.into_iter().take(5).collect(), &effect.revenue)))
    }
}

impl Effect {
    /// The share of these people who bought: `12.5 %`.
    pub fn share(&self) -> String {
        match self.people {
            0 => String::new(),
            people => format!("{:.1} %", self.bought as f64 * 100.0 / people as f64),
        }
    }
}

/// Adds what was kept of an order to the sums by currency.
pub(crate) fn add(sums: &mut BTreeMap<String, i64>, order: &Order, settlement: &Settlement) {
    for (currency, minor) in settlement.kept_by_currency(order) {
        *sums.entry(currency.to_owned()).or_default() += minor;
    }
}

fn amount(minor: i64) -> String {
    format!("{}{}.{:02}", if minor < 0 { "-" } else { "" }, (minor / 100).abs(), (minor % 100).abs())
}

fn money(revenue: &BTreeMap<String, i64>) -> String {
    let each = revenue.iter().map(|(currency, minor)| format!("{} {currency}", amount(*minor)));
    each.collect::<Vec<_>>().join(" ")
}

fn table<const N: usize>(titles: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Vec<String> {
    let mut all = vec![titles.map(str::to_owned)];
    all.extend(rows);
    let width = |column: usize| all.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let padded = |row: &[String; N]| {
        let key_values = row.iter().zip(&widths).map(|(key_value, width)| format!("{key_value:<width$}"));
        key_values.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(padded).collect()
}

/// A cell that no spreadsheet takes for a formula. Names of cities and campaigns come from shops and mail providers.
/// Excel in Russian splits cells at semicolons, so the part after a semicolon is no formula either.
fn key_value(text: &str) -> String {
    // A terminal may show the cell.
    let plain = |letter: char| match letter {
        '\t' | '\r' | '\n' => letter.to_string(),
        _ => escaped(&letter.to_string()),
    };
    let text = &text.chars().map(plain).collect::<String>();
    if text == "-" || text.parse::<f64>().is_ok() || breakage::is_on("csv-formulas") {
        return text.to_owned();
    }
    let parted = |letter: char| matches!(letter, ';' | '\t' | '\r' | '\n') && !breakage::is_on("csv-parted-formulas");
    let mut written = String::with_capacity(text.len() + 2);
    let mut begins = true;
    for letter in text.chars() {
        if begins && matches!(letter, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') {
            written.push('\'');
        }
        // Some programs skip blanks and quotes before they look for a formula.
        begins = parted(letter) || begins && matches!(letter, ' ' | '\u{a0}' | '"');
        written.push(letter);
    }
    written
}

/// One line a currency. An entry without a sale has one line as well.
fn written<'r>(
    titles: &[&str],
    rows: impl Iterator<Item = (Vec<String>, &'r BTreeMap<String, i64>)>,
) -> Result<String, String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(titles.iter().chain(&["currency"])).map_err(|error| error.to_string())?;
    for (row, revenue) in rows {
        let mut sums: Vec<(String, String)> =
            revenue.iter().map(|(currency, minor)| (amount(*minor), currency.clone())).collect();
        if sums.is_empty() {
            sums.push(("0.00".into(), String::new()));
        }
        for (sum, currency) in sums {
            let key_values = row.iter().map(|text| key_value(text)).chain([sum, currency]);
            writer.write_record(key_values).map_err(|error| error.to_string())?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}
