//! Organisations that buy: a name, and a tax id that was checked.

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// INN and KPP of a Russian organisation, or the INN of an entrepreneur. The last digits of an INN are check digits (order
/// of the Federal Tax Service of 29.06.2012, ММВ-7-6/435@, which also gives the form of a KPP).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(try_from = "Raw")]
pub struct TaxId {
    inn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kpp: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
struct Raw {
    /// Ten digits of an organisation, twelve of an entrepreneur.
    #[cfg_attr(feature = "schemas", schemars(regex(pattern = "^([0-9]{10}|[0-9]{12})$")))]
    inn: String,
    #[serde(default)]
    kpp: Option<String>,
}

/// Why a text is no tax number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TaxIdError {
    #[error("an INN has ten or twelve digits")]
    Length,
    #[error("the INN's check digits are wrong")]
    CheckDigits,
    #[error("a KPP has four digits, two digits or capital letters, three digits")]
    Kpp,
}

impl TryFrom<Raw> for TaxId {
    type Error = TaxIdError;
    fn try_from(raw: Raw) -> Result<Self, TaxIdError> {
        Self::parse(&raw.inn, raw.kpp.as_deref())
    }
}

impl TaxId {
    /// Spaces and dashes are left out.
    ///
    /// # Errors
    /// What is wrong with which of the two; nothing of what was given.
    pub fn parse(inn: &str, kpp: Option<&str>) -> Result<Self, TaxIdError> {
        let bare = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect() };
        let inn = bare(inn);
        let digits: Option<Vec<u32>> = inn.chars().map(|c| c.to_digit(10)).collect();
        let digits = digits.ok_or(TaxIdError::Length)?;
        let fits = match digits.as_slice() {
            [head @ .., last] if digits.len() == 10 => check(head, &[2, 4, 10, 3, 5, 9, 4, 6, 8]) == *last,
            [head @ .., before, last] if digits.len() == 12 => {
                let with = digits.get(..11).unwrap_or_default();
                check(head, &[7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) == *before
                    && check(with, &[3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) == *last
            }
            _ => return Err(TaxIdError::Length),
        };
        // Ten noughts add up, too.
        if !fits || digits.iter().all(|digit| *digit == 0) {
            return Err(TaxIdError::CheckDigits);
        }
        let kpp = kpp.map(bare).filter(|text| !text.is_empty());
        if kpp.as_ref().is_some_and(|kpp| !is_kpp(kpp)) {
            return Err(TaxIdError::Kpp);
        }
        Ok(Self { inn, kpp })
    }

    /// The INN: ten digits of a company, twelve of a sole trader.
    pub fn inn(&self) -> &str {
        &self.inn
    }

    /// The KPP, which tells branches of one company apart.
    pub fn kpp(&self) -> Option<&str> {
        self.kpp.as_deref()
    }
}

fn check(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum::<u32>() % 11 % 10
}

fn is_kpp(text: &str) -> bool {
    let at = |index: usize, c: char| match index {
        4 | 5 => c.is_ascii_digit() || c.is_ascii_uppercase(),
        _ => c.is_ascii_digit(),
    };
    text.chars().count() == 9 && text.chars().enumerate().all(|(index, c)| at(index, c))
}

/// An organisation as somebody named it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct Company {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_id: Option<TaxId>,
    /// What was given as a tax id and is none: a manager has to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<String>,
}

/// Characters of a name and of a tax id that is none.
const NAME: usize = 200;
const UNCHECKED: usize = 40;
/// Legal forms, which people write before the name, behind it, or not at all.
const FORMS: [&str; 13] =
    ["ооо", "оао", "ао", "зао", "пао", "ип", "нко", "гбук", "гбоу", "фгбук", "llc", "ltd", "gmbh"];

impl Company {
    /// `None` for one without a name and without a tax id.
    pub fn read(name: Option<&str>, inn: Option<&str>, kpp: Option<&str>) -> Option<Self> {
        let given = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let (name, inn, kpp) = (given(name), given(inn), given(kpp));
        let read = inn.as_ref().map(|inn| {
            // A wrong KPP does not spoil a right INN.
            TaxId::parse(inn, kpp.as_deref()).or_else(|error| match error {
                TaxIdError::Kpp => TaxId::parse(inn, None),
                other => Err(other),
            })
        });
        let unchecked = inn.filter(|_| matches!(read, Some(Err(_)))).map(|text| text.chars().take(UNCHECKED).collect());
        let tax_id = read.and_then(Result::ok);
        let name = name.or_else(|| tax_id.as_ref().map(|id| format!("INN {}", id.inn())))?;
        Some(Self { name: name.chars().take(NAME).collect(), tax_id, unchecked })
    }

    /// Under which it is one and the same: its INN, or its name without legal form, quotes and case. The domain of
    /// somebody's e-mail is no key: it only hints.
    pub fn key(&self) -> String {
        if let Some(id) = &self.tax_id {
            return format!("inn:{}", id.inn());
        }
        let letters = |c: char| if c.is_alphanumeric() { c.to_lowercase().next().unwrap_or(c) } else { ' ' };
        let plain: String = self.name.chars().map(letters).collect();
        let words: Vec<&str> = plain.split_whitespace().filter(|word| !FORMS.contains(word)).collect();
        format!("name:{}", if words.is_empty() { plain.trim().to_owned() } else { words.join(" ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_checked() {
        // Sberbank's and an entrepreneur's published ones.
        assert_eq!(
            TaxId::parse("7707 083893", Some("773601001")).map(|id| id.inn().to_owned()),
            Ok("7707083893".into())
        );
        assert!(TaxId::parse("500100732259", None).is_ok());
        assert_eq!(TaxId::parse("7707083894", None), Err(TaxIdError::CheckDigits));
        assert_eq!(TaxId::parse("500100732258", None), Err(TaxIdError::CheckDigits));
        assert_eq!(TaxId::parse("0000000000", None), Err(TaxIdError::CheckDigits));
        assert_eq!(TaxId::parse("12345", None), Err(TaxIdError::Length));
        assert_eq!(TaxId::parse("7707083893", Some("7736")), Err(TaxIdError::Kpp));
    }

    #[test]
    fn one_company_written_in_several_ways_has_one_key() {
        let key = |name: &str, inn: Option<&str>| Company::read(Some(name), inn, None).map(|company| company.key());
        assert_eq!(key("ООО «Вишнёвый Сад»", None), Some("name:вишнёвый сад".into()));
        assert_eq!(key("вишнёвый  сад, ООО", None), Some("name:вишнёвый сад".into()));
        assert_eq!(key("Сад", Some("7707083893")), key("ООО Сад", Some("7707083893")));
        assert_eq!(key("ООО", None), Some("name:ооо".into()));
    }

    #[test]
    fn a_wrong_tax_id_is_kept_for_a_manager_and_is_no_key() {
        let company = Company::read(Some("Сад"), Some("7707083894"), None).expect("a company");
        assert_eq!((company.tax_id.is_none(), company.unchecked.as_deref()), (true, Some("7707083894")));
        assert_eq!(Company::read(None, None, Some("773601001")), None);
    }
}
