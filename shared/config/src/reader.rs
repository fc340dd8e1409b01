//! The reader of the file: sections, lists and secrets, with the place of each mistake.

use std::{ops::Range, path::PathBuf};

use serde::{Deserialize, de::IntoDeserializer};
use stagedoor_model::{Money, Region, breakage};
use stagedoor_webhook::Secret;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    error::ErrorList,
    listeners::Listeners,
    secrets::{Secrets, too_short},
};

/// The reader of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A reader that needs everything, but does not check the quality of secrets.
    Everything,
    /// The hub in one process. It needs everything and has a console. Addresses of the command line have priority.
    OneMachine(Listeners),
    /// The check before a deployment. It needs everything, and checks the quality of secrets.
    Deployment,
    /// A receiving function. It needs the webhook secrets of its own sources. It joins nobody, so it does not read
    /// `[identity]`: a phone there would make every cold start read the numbering plans.
    Receiving(&'static str),
    /// The queue's consumer. It needs the secrets of the CRM, of its webhook, and of the shops' APIs.
    Sync,
    /// The scheduled functions. They need the secrets of the shops' APIs.
    Schedule,
    /// The outbox's consumer. It needs the tokens of messengers and of the SMS gateway.
    Outreach,
}

impl Reading {
    pub(crate) fn is_everything(self) -> bool {
        matches!(self, Self::Everything | Self::OneMachine(_) | Self::Deployment)
    }

    /// True if the quality of secrets is checked. Functions of a deployment do not check it, so that no webhook is lost
    /// for a secret that was accepted before.
    pub(crate) fn checks_secrets(self) -> bool {
        matches!(self, Self::OneMachine(_) | Self::Deployment)
    }

    pub(crate) fn webhooks_of(self, function: &str) -> bool {
        match self {
            Self::Everything | Self::OneMachine(_) | Self::Deployment => true,
            Self::Receiving(own) => own == function,
            Self::Sync => function == "crm",
            Self::Schedule | Self::Outreach => false,
        }
    }

    /// True if the reader serves a console. On AWS nothing does.
    pub(crate) fn has_console(self) -> bool {
        matches!(self, Self::OneMachine(_))
    }

    pub(crate) fn crm(self) -> bool {
        self.is_everything() || self == Self::Sync
    }

    /// True if secrets in the options of a function's sources are read.
    pub(crate) fn options_of(self, function: &str) -> bool {
        match self {
            Self::Everything | Self::OneMachine(_) | Self::Deployment => true,
            Self::Receiving(_) => false,
            Self::Sync | Self::Schedule => function != "messaging",
            Self::Outreach => function == "messaging",
        }
    }

    pub(crate) fn links(self) -> bool {
        self.is_everything() || matches!(self, Self::Sync | Self::Receiving("links"))
    }

    pub(crate) fn gives_codes(self) -> bool {
        self.is_everything() || self == Self::Sync
    }

    pub(crate) fn sends(self) -> bool {
        self.is_everything() || self == Self::Outreach
    }
}

pub(crate) struct Reader<'t> {
    pub errors: ErrorList<'t>,
    pub secrets: &'t dyn Secrets,
    pub reading: Reading,
    /// Folder of the other files that the config names.
    pub folder: PathBuf,
}

pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// The position of a key within a section, or of the section itself.
pub(crate) fn spot(section: &Value<'_>, key: &str) -> Range<usize> {
    section.get_ref().get(key).map_or_else(|| section.span(), Spanned::span)
}

/// Maximum number of keys of one section that are noted as errors.
const MISTAKES: usize = 30;

/// Removes the smallest key or item at this position, and returns its name.
fn without(value: &mut DeValue<'_>, span: &Range<usize>) -> Option<String> {
    let stands = |of: Range<usize>| of.start <= span.start && span.end <= of.end && !of.is_empty();
    match value {
        DeValue::Table(table) => {
            if let Some(inner) = table.iter_mut().find_map(|(_, value)| without(value.get_mut(), span)) {
                return Some(inner);
            }
            let found = table.iter().find(|(key, value)| stands(key.span()) || stands(value.span()));
            let name = found.map(|(key, _)| key.get_ref().to_string())?;
            table.remove(name.as_str()).map(|_| name)
        }
        DeValue::Array(items) => {
            if let Some(inner) = items.iter_mut().find_map(|value| without(value.get_mut(), span)) {
                return Some(inner);
            }
            let at = items.iter().position(|value| stands(value.span()))?;
            let others = items.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, value)| value.clone());
            *items = others.collect();
            Some(String::new())
        }
        _ => None,
    }
}

pub(crate) type Table<'r, 'd> = Vec<(String, &'r Value<'d>)>;

pub(crate) fn table<'r, 'd>(root: &'r DeTable<'d>, name: &str) -> Table<'r, 'd> {
    let table = root.get(name).and_then(|value| value.get_ref().as_table());
    table.into_iter().flatten().map(|(key, value)| (key.get_ref().to_string(), value)).collect()
}

impl Reader<'_> {
    /// Reads a section. An unreadable key is noted and left out, so that it hides no other error of the section.
    pub(crate) fn read<T: for<'de> Deserialize<'de>>(&mut self, value: &Value<'_>, place: &str) -> Option<T> {
        let (mut rest, mut left_out) = (value.clone(), Vec::<String>::new());
        loop {
            let error = match T::deserialize(rest.clone().into_deserializer()) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let is_missing = |name: &String| error.message().starts_with(&format!("missing field `{name}`"));
            if !left_out.iter().any(is_missing) {
                self.errors.note(error.span().unwrap_or_else(|| value.span()), place, error.message());
            }
            let hides = left_out.len() >= MISTAKES || breakage::is_on("one-word-hides-others");
            let span = error.span().filter(|_| !hides)?;
            left_out.push(without(rest.get_mut(), &span)?);
        }
    }

    pub(crate) fn optional<T: for<'de> Deserialize<'de>>(&mut self, root: &DeTable<'_>, name: &str) -> Option<T> {
        let value = root.get(name)?;
        self.read(value, name)
    }

    pub(crate) fn required<'r, 'd>(&mut self, root: &'r DeTable<'d>, name: &str) -> Option<&'r Value<'d>> {
        let value = root.get(name);
        if value.is_none() {
            self.errors.note(0..0, name, format!("the section [{name}] is missing"));
        }
        value
    }

    /// Notes an ambiguous setting, where only the value that is read last would count.
    pub(crate) fn twice(&mut self, span: Range<usize>, place: String, what: String) {
        if !breakage::is_on("ambiguous-config-passes") {
            self.errors.note(span, place, what);
        }
    }

    pub(crate) fn region(&mut self, code: &str, span: Range<usize>, place: &str) -> Option<Region> {
        let region = Region::new(code);
        // Running functions do not read the numbering plans for this check.
        let is_checked = self.reading.checks_secrets() && !breakage::is_on("useless-values-pass");
        if is_checked && region.as_ref().is_ok_and(|region| region.prefix().is_none()) {
            let what = "no country with phone numbers of its own, expected two letters such as RU";
            self.errors.note(span, place, what);
            return None;
        }
        region.map_err(|error| self.errors.note(span, place, error.to_string())).ok()
    }

    pub(crate) fn currency(&mut self, code: &str, span: Range<usize>, place: &str) -> Option<String> {
        let zero = Money::zero(code);
        if zero.as_ref().is_ok_and(|zero| !zero.is_payable()) && !breakage::is_on("useless-values-pass") {
            self.errors.note(span, place, "nobody pays in it, expected an ISO 4217 code such as RUB");
            return None;
        }
        zero.map_err(|error| self.errors.note(span, place, error.to_string())).ok().map(|money| money.currency)
    }

    pub(crate) fn url(&mut self, text: &str, span: Range<usize>, place: &str) {
        if !text.parse::<url::Url>().is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            self.errors.note(span, place, "not an address, expected something like https://demo.amocrm.ru");
        }
    }

    /// Checks the address under which the hub is reached. Each link of the hub is this address and a path.
    pub(crate) fn public_url(&mut self, text: &str, span: Range<usize>, place: &str) {
        self.url(text, span.clone(), place);
        let Ok(url) = text.parse::<url::Url>() else { return };
        let has_user = !url.username().is_empty() || url.password().is_some();
        let parts = [
            ("a user or a password", has_user),
            ("a query (?)", url.query().is_some()),
            ("a fragment (#)", url.fragment().is_some()),
        ];
        let parts: Vec<&str> = parts.iter().filter(|(_, is_there)| *is_there).map(|(part, _)| *part).collect();
        // Running functions go on with the address that they were deployed with.
        if !parts.is_empty() && self.reading.checks_secrets() {
            let what = format!(
                "holds {}, which breaks every link of the hub: write the scheme, the host and at most a path, such as \
                 https://hub.example.ru",
                parts.join(" and ")
            );
            self.errors.note(span, place, what);
        }
    }

    pub(crate) fn list<'r, 'd>(&mut self, root: &'r DeTable<'d>, name: &str) -> Vec<&'r Value<'d>> {
        match root.get(name).map(|value| (value, value.get_ref().as_array())) {
            None => vec![],
            Some((_, Some(array))) => array.iter().collect(),
            Some((value, None)) => {
                self.errors.note(value.span(), name, format!("expected [[{name}]], with two brackets"));
                vec![]
            }
        }
    }

    pub(crate) fn secret(&mut self, reference: &str, span: Range<usize>, place: &str) -> Option<Secret> {
        self.secret_of(reference, span, place, 0)
    }

    /// Resolves a secret that the organiser creates. Fewer than `least` bytes are an error. A `dev:` secret may be
    /// short, because it protects nothing that a stranger could reach.
    pub(crate) fn secret_of(
        &mut self,
        reference: &str,
        span: Range<usize>,
        place: &str,
        least: usize,
    ) -> Option<Secret> {
        match self.secrets.resolve(reference) {
            Ok(secret) => {
                // The last line of a PEM certificate ends with a line break.
                let has_spaces = secret.trim() != secret && !secret.contains("-----BEGIN ");
                if has_spaces && self.reading.checks_secrets() && !breakage::is_on("secrets-of-any-shape") {
                    let what = "begins or ends with white space, such as the end of a line: take it away";
                    self.errors.note(span.clone(), place, what);
                }
                let is_short = secret.len() < least && !breakage::is_on("short-secrets");
                if is_short && self.reading.checks_secrets() && !reference.starts_with("dev:") {
                    self.errors.note(span, place, too_short(secret.len(), least));
                }
                Some(Secret::new(&secret))
            }
            Err(error) => {
                self.errors.note(span, place, error);
                None
            }
        }
    }
}
