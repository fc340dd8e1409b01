//! What letters and SMS came to, by campaign, channel and city: from the hub's own memory, as a table, as CSV, as a page.

use std::collections::BTreeMap;

use stagedoor_engine::{Attribution, By, Catalog, Person, deals, is_suppressed};
use stagedoor_model::{Channel, Fact, Letter, Order};

use crate::hub::Hub;

/// People of one page.
const PAGE: usize = 500;

/// Campaign, channel, city.
pub type Key = (String, &'static str, String);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// Letters that the provider took or tried.
    pub sent: usize,
    pub delivered: usize,
    /// Letters that a person opened; machines are not counted.
    pub opened: usize,
    pub clicked: usize,
    /// Letters whose address takes none.
    pub bounced: usize,
    /// Orders that are owed to it, by code, link, click or view.
    pub bought: usize,
    /// Minor units by currency, less what was given back.
    pub revenue: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report(pub BTreeMap<Key, Line>);

/// Reads everybody.
///
/// # Errors
/// When the store cannot be read.
pub async fn report(hub: &Hub) -> Result<Report, String> {
    let catalog = hub.sync.catalog().await.map_err(|error| error.to_string())?;
    let (mut report, mut after) = (Report::default(), None);
    loop {
        let (page, next) = hub.store.everybody(after, PAGE).await.map_err(|error| error.to_string())?;
        for person in hub.store.load(&page).await.map_err(|error| error.to_string())? {
            report.add(&person.value, &catalog);
        }
        after = next;
        if after.is_none() {
            return Ok(report);
        }
    }
}

fn city_of(person: &Person, catalog: &Catalog) -> String {
    let latest = deals(person, catalog).into_values().max_by_key(|deal| deal.since);
    latest.and_then(|deal| deal.show.city).unwrap_or_else(|| "-".to_owned())
}

fn letter_of<'p>(person: &'p Person, campaign: &str) -> Option<&'p Letter> {
    person.records.values().find_map(|record| match &record.fact {
        Fact::Letter(letter) if letter.campaign.as_deref() == Some(campaign) => Some(letter),
        _ => None,
    })
}

impl Report {
    fn add(&mut self, person: &Person, catalog: &Catalog) {
        let city = city_of(person, catalog);
        for record in person.records.values() {
            match &record.fact {
                Fact::Letter(letter) => self.letter(person, letter, &city),
                fact @ Fact::Order { .. } => {
                    if let Some(order) = fact.order().filter(|order| order.paid_at.is_some()) {
                        self.order(person, &order, &city, catalog);
                    }
                }
                _ => {}
            }
        }
    }

    fn letter(&mut self, person: &Person, letter: &Letter, city: &str) {
        let campaign = letter.campaign.clone().unwrap_or_else(|| "-".to_owned());
        let line = self.0.entry((campaign, letter.channel().name(), city.to_owned())).or_default();
        line.sent += 1;
        line.delivered += usize::from(letter.delivered_at.is_some() || letter.seen_at().is_some());
        line.opened += usize::from(letter.seen_at().is_some());
        line.clicked += usize::from(letter.clicked_at().is_some());
        line.bounced += usize::from(letter.hard_bounced_at.is_some() && is_suppressed(person, &letter.to));
    }

    fn order(&mut self, person: &Person, order: &Order, city: &str, catalog: &Catalog) {
        let Some(owed) = Attribution::of(order, person, catalog) else { return };
        let channel = match owed.by {
            By::Code => "code",
            By::Link => "link",
            By::Click | By::View => letter_of(person, &owed.campaign).map_or(Channel::Email, Letter::channel).name(),
        };
        let line = self.0.entry((owed.campaign, channel, city.to_owned())).or_default();
        line.bought += 1;
        *line.revenue.entry(order.paid.currency.clone()).or_default() += order.paid.minor - order.refunded_minor();
    }

    /// In lines for a terminal.
    pub fn lines(&self) -> Vec<String> {
        let titles =
            ["campaign", "channel", "city", "sent", "delivered", "opened", "clicked", "bounced", "bought", "revenue"];
        let mut rows = vec![titles.map(str::to_owned)];
        rows.extend(self.rows());
        let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max();
        let widths: Vec<usize> = (0..titles.len()).map(|column| width(column).unwrap_or(0)).collect();
        let padded = |row: &[String; 10]| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        rows.iter().map(padded).collect()
    }

    pub fn rows(&self) -> impl Iterator<Item = [String; 10]> {
        self.0.iter().map(|((campaign, channel, city), line)| {
            let money =
                line.revenue.iter().map(|(currency, minor)| format!("{}.{:02} {currency}", minor / 100, minor % 100));
            [
                campaign.clone(),
                (*channel).to_owned(),
                city.clone(),
                line.sent.to_string(),
                line.delivered.to_string(),
                line.opened.to_string(),
                line.clicked.to_string(),
                line.bounced.to_string(),
                line.bought.to_string(),
                money.collect::<Vec<_>>().join(" "),
            ]
        })
    }

    /// As CSV (RFC 4180), amounts with a point and their currency in a column of its own.
    ///
    /// # Errors
    /// Never, unless memory runs out.
    pub fn csv(&self) -> Result<String, String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let titles = [
            "campaign",
            "channel",
            "city",
            "sent",
            "delivered",
            "opened",
            "clicked",
            "bounced",
            "bought",
            "revenue",
            "currency",
        ];
        writer.write_record(titles).map_err(|error| error.to_string())?;
        for (row, line) in self.rows().zip(self.0.values()) {
            // A line a currency; without a sale one line all the same.
            let mut money: Vec<(String, String)> = line
                .revenue
                .iter()
                .map(|(currency, minor)| (format!("{}.{:02}", minor / 100, minor % 100), currency.clone()))
                .collect();
            if money.is_empty() {
                money.push(("0.00".into(), String::new()));
            }
            for (amount, currency) in money {
                let cells = row.iter().take(9).cloned().chain([amount, currency]);
                writer.write_record(cells).map_err(|error| error.to_string())?;
            }
        }
        let bytes = writer.into_inner().map_err(|error| error.to_string())?;
        String::from_utf8(bytes).map_err(|error| error.to_string())
    }
}
