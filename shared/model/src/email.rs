use std::{collections::BTreeSet, fmt};

use email_address::{EmailAddress, Options};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::phone::visible;

/// An e-mail address, lower-cased, its domain in Punycode. `+tags` and dots are kept: the person typed them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

/// The text is no e-mail address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an e-mail address")]
pub struct EmailError;

/// Addresses that one text names. A list of more is no way to reach somebody.
const MOST: usize = 16;

impl Email {
    /// # Errors
    /// When `text` is no address by RFC 5321 or its domain has no Punycode form.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        let text =
            if text.is_ascii() { text.to_ascii_lowercase() } else { text.nfc().collect::<String>().to_lowercase() };
        let (local, domain) = text.rsplit_once('@').ok_or(EmailError)?;
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| EmailError)?;
        let address = format!("{local}@{domain}");
        let options = Options::default().with_required_tld().without_domain_literal().without_display_text();
        EmailAddress::parse_with_options(&address, options).map_err(|_| EmailError)?;
        Ok(Self(address))
    }

    /// Every address in a text, in its order: between words, in brackets behind a name, with a dot behind it.
    pub fn parse_all(text: &str) -> Vec<Self> {
        let text = visible(text);
        let is_gap = |c: char| c.is_whitespace() || ",;:<>()[]{}\"«»|/\\".contains(c);
        let words = text.split(is_gap).map(|word| word.trim_matches(|c: char| ".!?…".contains(c)));
        let bare = |word: &str| Self::parse(word.trim_matches(|c: char| "*_~'`’".contains(c)));
        let mut found: Vec<Self> = words.filter_map(|word| Self::parse(word).or_else(|_| bare(word)).ok()).collect();
        if found.is_empty() {
            let apart = [" @ ", " @", "@ "].into_iter().fold(text, |text, gap| text.replace(gap, "@"));
            found.extend(Self::parse(&apart).ok());
        }
        let mut seen = BTreeSet::new();
        found.retain(|email| seen.insert(email.clone()));
        found.truncate(MOST);
        found
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Email {
    type Error = EmailError;
    fn try_from(text: String) -> Result<Self, EmailError> {
        Self::parse(&text)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

/// Masked, so that an address never reaches a log by accident.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Email(…@{})", self.0.rsplit('@').next().unwrap_or(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, EmailError> {
        Email::parse(text).map(String::from)
    }

    #[test]
    fn case_and_space_do_not_make_another_address() {
        assert_eq!(read(" Fan+Tour@Example.COM ").as_deref(), Ok("fan+tour@example.com"));
    }

    #[test]
    fn a_cyrillic_domain_becomes_punycode() {
        assert!(read("box@театр.рф").is_ok_and(|a| a.ends_with(".xn--p1ai")));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "anna", "anna@", "@example.com", "a b@example.com", "anna@localhost", "Anna <a@example.com>"] {
            assert_eq!(read(text), Err(EmailError), "{text}");
        }
    }

    #[test]
    fn addresses_are_found_between_words() {
        for (text, expected) in [
            ("Анна <Anna@Example.com>", vec!["anna@example.com"]),
            ("anna@example.com.", vec!["anna@example.com"]),
            ("пишите на anna@example.com или boris@example.com!", vec!["anna@example.com", "boris@example.com"]),
            ("mailto:anna@example.com", vec!["anna@example.com"]),
            ("\u{200b}anna@exa\u{ad}mple.com\u{feff}", vec!["anna@example.com"]),
            ("anna @ example.com", vec!["anna@example.com"]),
            ("o'neil@example.com, o'neil@example.com", vec!["o'neil@example.com"]),
            ("anna@", vec![]),
            ("@anna", vec![]),
        ] {
            let found: Vec<String> = Email::parse_all(text).into_iter().map(String::from).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_reads_again(text in "\\PC{0,60}") {
            if let Ok(email) = Email::parse(&text) {
                proptest::prop_assert_eq!(Email::parse(email.as_str()), Ok(email));
            }
        }
    }
}
