use std::{collections::BTreeSet, fmt};

use serde::de::DeserializeOwned;
use stagedoor_model::{Email, Identifier, Kind, Phone, Region, SourceName, breakage};

use crate::{Provider, Secret};

/// A configured source of webhooks.
#[derive(Clone)]
pub struct Source {
    pub name: SourceName,
    pub provider: String,
    /// Any of these secrets is accepted. There are two during a rotation.
    pub secrets: Vec<Secret>,
    /// The country of phone numbers without a country code.
    pub region: Region,
    /// The currency (ISO 4217) for a provider that names none.
    pub currency: String,
    /// The show for deliveries that name none.
    pub show: Option<String>,
    /// Deliveries a second; more are refused with 429.
    pub rate: u32,
    /// Options that only this provider understands.
    pub options: serde_json::Value,
}

/// Leaves out the options, because they may hold keys of the shop's API.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Source {
    /// Reads the options of the provider.
    ///
    /// # Errors
    /// A sentence that names the wrong option.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_value(self.options.clone()).map_err(|error| format!("options: {error}"))
    }
}

/// Makes a provider from a source. The error is a sentence for `check-config`.
pub type Build = fn(&Source) -> Result<Box<dyn Provider>, String>;

/// Declares a function's providers, one name a line. Each name is a module, which is a file of its own with a function
/// `build`. The macro also declares `PROVIDERS`, their constructors by name.
///
/// `cargo fmt` does not see the files behind a macro. The test `providers::their_files_are_formatted` does.
#[macro_export]
macro_rules! providers {
    ($($name:ident)*) => {
        $(mod $name;)*

        /// Constructors of all providers of this function, by name.
        pub const PROVIDERS: &[(&str, $crate::Build)] = &[$((stringify!($name), $name::build)),*];
    };
}

/// Makes the provider of a source with the function's table of providers.
///
/// # Errors
/// A sentence that names the known providers, or the provider's own error about its options.
pub fn table(providers: &[(&str, Build)], source: &Source) -> Result<Box<dyn Provider>, String> {
    match providers.iter().find(|(name, _)| *name == source.provider) {
        Some((_, build)) => build(source),
        None => {
            let known: Vec<&str> = providers.iter().map(|(name, _)| *name).collect();
            Err(format!("unknown provider {:?}, expected one of {}", source.provider, known.join(", ")))
        }
    }
}

/// The identifiers in a phone and an e-mail field, which are loosely typed. Text that looks like a phone or e-mail and
/// cannot be read is kept as typed.
pub fn contact_identifiers(source: &Source, phone: Option<&str>, email: Option<&str>) -> BTreeSet<Identifier> {
    let phones = phone.map(|text| Phone::parse_all(text, source.region)).unwrap_or_default();
    let emails: Vec<Email> = email.into_iter().chain(phone).flat_map(Email::parse_all).collect();
    let digits = |text: &&str| text.chars().filter(char::is_ascii_digit).count();
    let lost_phone = phone.filter(|text| phones.is_empty() && digits(text) >= 4 && Email::parse_all(text).is_empty());
    let lost_email = email.filter(|text| Email::parse_all(text).is_empty() && text.contains('@'));
    let lost = [(Kind::Phone, lost_phone), (Kind::Email, lost_email)];
    let unread = lost
        .into_iter()
        .filter_map(|(kind, text)| Identifier::unread(kind, text.filter(|_| !breakage::is_on("unread-phone-lost"))?));
    let read = phones.into_iter().map(Identifier::phone).chain(emails.into_iter().map(Identifier::email));
    read.chain(unread).collect()
}
