use std::{collections::BTreeSet, path::Path, time::Duration};

use stagedoor_engine::{Catalog, Guards, ShowKey};
use stagedoor_model::{Identifier, Region, SourceName};
use stagedoor_webhook::{Secret, Source};
use toml::de::DeTable;

use crate::{
    Config, ConfigErrors, Configured, Secrets,
    error::ErrorList,
    reader::{Reader, Reading, Value, spot},
    schema::{IdentitySection, SandboxSection, ScheduleSection, SourceSection},
    secrets::{SECRET, resolve_options},
};

const SECTIONS: [&str; 24] = [
    "hub",
    "crm",
    "second_crm",
    "identity",
    "schedule",
    "retention",
    "sandbox",
    "sms",
    "consent",
    "report",
    "segment",
    "mailer",
    "list",
    "campaign",
    "promo",
    "reply",
    "pipeline",
    "show",
    "source",
    "smtp",
    "manners",
    "mailing",
    "claims",
    "alarms",
];

/// Checks whether the function's provider can be created from a source.
pub type CheckProvider<'c> = &'c dyn Fn(&str, &Source) -> Result<(), String>;

/// Reads the text of stagedoor.toml. `file` is its name for messages, and its folder holds the files that the config
/// names.
///
/// # Errors
/// All errors of the file.
pub fn load(file: &str, text: &str, secrets: &dyn Secrets, check: CheckProvider<'_>) -> Result<Config, ConfigErrors> {
    load_for(Reading::Everything, file, text, secrets, check)
}

/// Reads the text for one function. Secrets that the function does not need are not resolved. Their values stay empty,
/// and an empty secret opens nothing.
///
/// # Errors
/// All errors of the part that it reads.
pub fn load_for(
    reading: Reading,
    file: &str,
    text: &str,
    secrets: &dyn Secrets,
    check: CheckProvider<'_>,
) -> Result<Config, ConfigErrors> {
    let folder = Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut reader = Reader { errors: ErrorList::new(text), secrets, reading, folder };
    let (root, broken) = DeTable::parse_recoverable(text);
    for error in &broken {
        reader.errors.note(error.span().unwrap_or(0..0), "syntax", error.message());
    }
    let config = if broken.is_empty() { reader.config(root.get_ref(), check) } else { None };
    match (reader.errors.finish(file), config) {
        (None, Some(config)) => Ok(config),
        (config_errors, _) => Err(config_errors.unwrap_or(ConfigErrors { file: file.to_owned(), all: vec![] })),
    }
}

impl Reader<'_> {
    fn config(&mut self, root: &DeTable<'_>, check: CheckProvider<'_>) -> Option<Config> {
        for key in root.keys().filter(|key| !SECTIONS.contains(&key.get_ref().as_ref())) {
            let what = format!("unknown section, expected one of {}", SECTIONS.join(", "));
            self.errors.note(key.span(), key.get_ref().as_ref(), what);
        }
        let hub = self.hub(root);
        let currency = hub.as_ref().map_or("RUB", |hub| hub.currency.as_str()).to_owned();
        let language = hub.as_ref().and_then(|hub| hub.section.language);
        let crm = self.crm(root, &currency, language);
        let guards = self.guards(root);
        let pull = self.optional::<ScheduleSection>(root, "schedule").unwrap_or_default();
        let retention = self.retention(root);
        let sandbox = self.optional::<SandboxSection>(root, "sandbox");
        let mut catalog = Catalog::default();
        // An error in [hub] must not hide errors in the sources.
        let stand_in = Region::new("RU").ok().map(|region| (region, "RUB"));
        self.bounds(root);
        let defaults = hub.as_ref().map(|hub| (hub.region, hub.currency.as_str())).or(stand_in);
        let sources = self.sources(root, defaults, check);
        self.keys_are_their_own(root, hub.as_ref(), &sources);
        let table = root.get("source").and_then(|value| value.get_ref().as_table());
        let names: BTreeSet<String> =
            table.into_iter().flat_map(|table| table.keys()).map(|key| key.get_ref().to_string()).collect();
        self.shows(root, &mut catalog, &names);
        self.pipelines(root, &mut catalog);
        self.shows_of_sources(root, &sources, &mut catalog);
        self.orders_of_sources(root, &sources, &names);
        let sms = self.sms(root);
        let mailers = self.audience(root, &mut catalog);
        self.conversation(root, &mut catalog, hub.as_ref());
        let smtp = self.smtp(root);
        let alarms = self.alarms(root, &sources, &names, root.get("smtp").is_some());
        self.mailings(root, &mut catalog, hub.as_ref());
        self.claims(root, &mut catalog, hub.as_ref());
        let second_crm = self.second_crm(root, &currency, language);
        let (hub, crm) = (hub?, crm?);
        let (listen, console) = hub.listeners.of(&hub.section);
        catalog.tags = crm.tags;
        catalog.invoicing = crm.invoicing.clone();
        catalog.currency = Some(crm.currency.clone());
        Some(Config {
            listen,
            console,
            trusted_proxies: hub.trusted_proxies,
            region: hub.region,
            language: hub.section.language,
            public_url: hub.section.public_url.map(|url| url.trim_end_matches('/').to_owned()),
            console_token: hub.token,
            erasure_key: hub.erasure_key,
            link_key: hub.link_key,
            sms,
            smtp,
            mailers,
            crm,
            guards,
            catalog,
            sources,
            pull_every: Duration::from_secs(u64::from(pull.pull_seconds.max(1))),
            retention,
            alarms,
            second_crm,
            sandbox: sandbox.as_ref().map(|sandbox| sandbox.listen),
            second_sandbox: sandbox.as_ref().and_then(|sandbox| sandbox.second),
            messengers: sandbox.as_ref().and_then(|sandbox| sandbox.messengers),
            post: sandbox.and_then(|sandbox| sandbox.post),
        })
    }

    fn guards(&mut self, root: &DeTable<'_>) -> Guards {
        let section = match self.reading {
            Reading::Receiving(_) => IdentitySection::default(),
            _ => self.optional::<IdentitySection>(root, "identity").unwrap_or_default(),
        };
        let mut guards = Guards::default();
        guards.phones = section.phones.unwrap_or(guards.phones);
        guards.emails = section.emails.unwrap_or(guards.emails);
        guards.crowd = section.crowd.unwrap_or(guards.crowd);
        guards.names = section.names.unwrap_or(guards.names);
        guards.published = section.published.unwrap_or(guards.published);
        for text in &section.blocked {
            match text.parse::<Identifier>() {
                Ok(identifier) => _ = guards.blocked.insert(identifier),
                Err(error) => {
                    let span = root.get("identity").map_or(0..0, |value| spot(value, "blocked"));
                    self.errors.note(span, "identity.blocked", error.to_string());
                }
            }
        }
        guards
    }

    fn sources(
        &mut self,
        root: &DeTable<'_>,
        hub: Option<(Region, &str)>,
        check: CheckProvider<'_>,
    ) -> Vec<Configured> {
        let Some(table) = root.get("source").and_then(|value| value.get_ref().as_table()) else {
            self.errors.note(0..0, "source", "at least one [source.<name>] is needed");
            return vec![];
        };
        let mut sources = Vec::new();
        for (name, value) in table.iter() {
            let place = format!("source.{}", name.get_ref());
            let checked = SourceName::new(name.get_ref());
            if let Err(error) = &checked {
                self.errors.note(name.span(), place.as_str(), *error);
            }
            let Some(section) = self.read::<SourceSection>(value, &place) else { continue };
            let (Ok(name), Some(hub)) = (checked, hub) else { continue };
            sources.extend(self.source(name, section, value, hub, &place, check));
        }
        sources
    }

    fn source(
        &mut self,
        name: SourceName,
        section: SourceSection,
        value: &Value<'_>,
        (region, currency): (Region, &str),
        place: &str,
        check: CheckProvider<'_>,
    ) -> Option<Configured> {
        let own =
            section.region.as_deref().map(|code| self.region(code, spot(value, "region"), &format!("{place}.region")));
        let region = own.unwrap_or(Some(region));
        let own = section.currency.as_deref();
        let own = own.map(|code| self.currency(code, spot(value, "currency"), &format!("{place}.currency")));
        let currency = own.unwrap_or_else(|| Some(currency.to_owned()));
        let secret_place = format!("{place}.secrets");
        if section.secrets.is_empty() {
            self.errors.note(spot(value, "secrets"), &secret_place, "at least one secret is needed");
        }
        // An endpoint without a secret accepts nobody.
        let own = self.reading.webhooks_of(&section.function);
        let references = section.secrets.iter().filter(|_| own);
        let secrets: Vec<Option<Secret>> =
            references.map(|text| self.secret_of(text, spot(value, "secrets"), &secret_place, SECRET)).collect();
        let mut options = section.options.unwrap_or_else(|| serde_json::json!({}));
        if self.reading.checks_secrets() {
            self.options_are_references(&options, value, place);
        }
        if let Some(serde_json::Value::String(file)) = options.get_mut("ca_file") {
            *file = self.folder.join(file.as_str()).display().to_string();
        }
        let mut errors = Vec::new();
        if self.reading.options_of(&section.function) {
            resolve_options(&mut options, self.secrets, &mut errors);
        }
        let failed = !errors.is_empty();
        for error in errors {
            self.errors.note(spot(value, "options"), format!("{place}.options"), error);
        }
        let source = Source {
            name,
            provider: section.provider,
            secrets: secrets.into_iter().collect::<Option<_>>()?,
            region: region?,
            currency: currency?,
            show: section.show,
            rate: section.rate,
            options,
        };
        if !failed && let Err(error) = check(&section.function, &source) {
            let keys = ["options", "secrets"];
            let key = keys.into_iter().find(|key| error.starts_with(key)).unwrap_or("provider");
            self.errors.note(spot(value, key), place, error);
        }
        Some(Configured { function: section.function, source })
    }

    fn shows_of_sources(&mut self, root: &DeTable<'_>, sources: &[Configured], catalog: &mut Catalog) {
        for one in sources {
            let Some(show) = &one.source.show else { continue };
            catalog.show_of_source.insert(one.source.name.as_str().to_owned(), ShowKey(show.clone()));
            if !catalog.shows.contains_key(&ShowKey(show.clone())) {
                let name = one.source.name.as_str();
                let value = root.get("source").and_then(|table| table.get_ref().get(name));
                let span = value.map_or(0..0, |value| spot(value, "show"));
                self.errors.note(
                    span,
                    format!("source.{name}.show"),
                    format!("there is no [[show]] with key {show:?}"),
                );
            }
        }
    }
}
