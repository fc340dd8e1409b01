//! Consents, segments and mailing lists.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use stagedoor_engine::{Catalog, ConsentPolicy, ListRule, Segment, Windows, segments};
use stagedoor_model::SourceName;
use stagedoor_webhook::Secret;
use toml::de::DeTable;

use crate::{
    MailerConfig, MailerProvider,
    reader::{Reader, Reading, spot, table},
    schema::{ConsentSection, ListSection, MailerSection, ReportSection, SegmentSection},
};

impl Reader<'_> {
    pub(crate) fn audience(&mut self, root: &DeTable<'_>, catalog: &mut Catalog) -> BTreeMap<String, MailerConfig> {
        let consent = self.optional::<ConsentSection>(root, "consent").unwrap_or_default();
        let double_opt_in = consent.double_opt_in.into_iter().collect();
        catalog.consent = ConsentPolicy { double_opt_in, ask: consent.ask, chats: consent.chats };
        let report = self.optional::<ReportSection>(root, "report").unwrap_or_default();
        let seconds = |days: Option<u32>, otherwise: i64| days.map_or(otherwise, |days| i64::from(days) * 86_400);
        let windows = Windows::default();
        let (click, view) = (seconds(report.click_days, windows.click), seconds(report.view_days, windows.view));
        let effect = seconds(report.effect_days, windows.effect);
        catalog.windows = Windows { click, view, effect };
        for (name, value) in table(root, "segment") {
            let place = format!("segment.{name}");
            let Some(section) = self.read::<SegmentSection>(value, &place) else { continue };
            let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            if !fits {
                let what = "a segment's name has letters, digits, dashes and underscores";
                self.errors.note(value.span(), place.as_str(), what);
            }
            match segments::parse(&section.rule) {
                Ok(rule) => {
                    let title = section.title.unwrap_or_else(|| name.clone());
                    catalog.segments.push(Segment { name, title, text: section.rule, rule });
                }
                Err(wrong) => {
                    self.errors.note(spot(value, "rule"), format!("{place}.rule"), wrong.to_string());
                }
            }
        }
        let mailers = self.mailers(root);
        self.lists(root, catalog);
        mailers
    }

    fn mailers(&mut self, root: &DeTable<'_>) -> BTreeMap<String, MailerConfig> {
        let mut mailers = BTreeMap::new();
        for (name, value) in table(root, "mailer") {
            let place = format!("mailer.{name}");
            let Some(section) = self.read::<MailerSection>(value, &place) else { continue };
            // Only the readers that enrol people need the keys.
            let secret = match self.reading {
                Reading::Everything | Reading::OneMachine(_) | Reading::Deployment | Reading::Sync => {
                    self.secret(&section.secret, spot(value, "secret"), &format!("{place}.secret"))
                }
                _ => Some(Secret::new("")),
            };
            if let Some(api) = &section.api {
                self.url(api, spot(value, "api"), &format!("{place}.api"));
            }
            let is_listmonk = section.provider == MailerProvider::Listmonk;
            if is_listmonk && (section.api.is_none() || section.login.is_none()) {
                let what = "listmonk needs api (its server) and login (the API user's name)";
                self.errors.note(value.span(), place.as_str(), what);
            }
            let rate = NonZeroU32::new(section.rate).unwrap_or(NonZeroU32::MIN);
            let (provider, login, api) = (section.provider, section.login, section.api);
            let rest = Duration::from_secs(u64::from(section.rest_seconds));
            mailers.extend(secret.map(|secret| (name, MailerConfig { provider, secret, login, api, rate, rest })));
        }
        mailers
    }

    fn lists(&mut self, root: &DeTable<'_>, catalog: &mut Catalog) {
        let mailers: BTreeSet<String> = table(root, "mailer").into_iter().map(|(name, _)| name).collect();
        let segments: BTreeSet<String> = table(root, "segment").into_iter().map(|(name, _)| name).collect();
        for (name, value) in table(root, "list") {
            let place = format!("list.{name}");
            let Some(section) = self.read::<ListSection>(value, &place) else { continue };
            for (key, named, known) in [("mailer", &section.mailer, &mailers), ("segment", &section.segment, &segments)]
            {
                if !known.contains(named) {
                    let known = known.iter().cloned().collect::<Vec<_>>().join(", ");
                    let what = format!("there is no [{key}.{named}]; known are {known}");
                    self.errors.note(spot(value, key), format!("{place}.{key}"), what);
                }
            }
            if SourceName::new(&name).is_err() {
                self.errors.note(
                    value.span(),
                    place.as_str(),
                    "a list's name has lower-case letters, digits and dashes",
                );
            }
            let ListSection { mailer, id, segment } = section;
            catalog.lists.push(ListRule { name, mailer, id, segment });
        }
    }
}
