use iso_currency::Currency;
use rust_decimal::Decimal;
#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::breakage;

/// An amount in minor units (kopecks, cents) of an ISO 4217 currency. Never a float.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct Money {
    pub minor: i64,
    #[cfg_attr(feature = "schemas", schemars(regex(pattern = "^[A-Z]{3}$")))]
    pub currency: String,
}

/// Why a text is no amount of money.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MoneyError {
    #[error("unknown currency, expected an ISO 4217 code such as RUB")]
    UnknownCurrency,
    #[error("not a decimal amount")]
    NotANumber,
    #[error("more decimal places than the currency has")]
    TooPrecise,
    #[error("amount out of range")]
    OutOfRange,
}

/// Decimal places of a minor unit from which on a difference comes of a float's arithmetic.
const FLOAT_NOISE: u32 = 4;

/// The largest amount that is believed, in minor units: as many of them as a body can hold still have a sum.
const LARGEST: u64 = 10_000_000_000_000;

impl Money {
    /// Reads an amount in major units, as providers print it (`"1399"`, `"156.00"`, `1,500.50` is refused).
    ///
    /// # Errors
    /// Never rounds: more decimal places than the currency has is `TooPrecise`. What a float leaves behind the last place,
    /// as in `1799.9999999999998`, is no place of its own.
    pub fn from_major(text: &str, currency: &str) -> Result<Self, MoneyError> {
        let known = Self::currency(currency)?;
        let exponent = u32::from(known.exponent().unwrap_or(0));
        let plain = || Decimal::from_str_exact(&without_noise(text)?).ok();
        let amount = Decimal::from_str_exact(text.trim()).ok().or_else(plain).ok_or(MoneyError::NotANumber)?;
        let scale = Decimal::from(10_i64.pow(exponent.min(4)));
        let told = amount.checked_mul(scale).ok_or(MoneyError::OutOfRange)?.normalize();
        let whole = told.round();
        let is_noise = (told - whole).abs() <= Decimal::new(1, FLOAT_NOISE) && !breakage::is_on("float-is-too-precise");
        let minor = if is_noise { whole } else { told };
        if minor.scale() > 0 {
            return Err(MoneyError::TooPrecise);
        }
        let minor = i64::try_from(minor).map_err(|_| MoneyError::OutOfRange)?;
        Self { minor: 0, currency: known.code().to_owned() }.of_minor(minor)
    }

    /// Reads an amount in minor units, as some providers tell it.
    ///
    /// # Errors
    /// As of `from_major`.
    pub fn from_minor(minor: i64, currency: &str) -> Result<Self, MoneyError> {
        Self::zero(currency)?.of_minor(minor)
    }

    /// The price of several.
    ///
    /// # Errors
    /// `OutOfRange` when together they cost more than is believed.
    pub fn times(&self, quantity: u32) -> Result<Self, MoneyError> {
        self.of_minor(self.minor.saturating_mul(quantity.into()))
    }

    fn of_minor(&self, minor: i64) -> Result<Self, MoneyError> {
        if minor.unsigned_abs() > LARGEST { Err(MoneyError::OutOfRange) } else { Ok(self.with_minor(minor)) }
    }

    /// # Errors
    /// `UnknownCurrency` when `currency` is not in ISO 4217.
    pub fn zero(currency: &str) -> Result<Self, MoneyError> {
        Ok(Self { minor: 0, currency: Self::currency(currency)?.code().to_owned() })
    }

    /// Decimal places of the currency: two of roubles, none of yens, three of Kuwaiti dinars.
    pub fn decimals(&self) -> u32 {
        let exponent = Currency::from_code(&self.currency).and_then(Currency::exponent).unwrap_or(0);
        exponent.min(4).into()
    }

    /// False for codes of ISO 4217 that are no money, such as XXX, and for metals.
    pub fn is_payable(&self) -> bool {
        Currency::from_code(&self.currency).and_then(Currency::exponent).is_some()
    }

    /// Whole major units, rounded down: what a CRM with integer prices can hold.
    pub fn whole_major(&self) -> i64 {
        self.minor.div_euclid(self.unit())
    }

    /// Minor units beyond `whole_major`.
    pub fn minor_beyond_whole(&self) -> i64 {
        self.minor.rem_euclid(self.unit())
    }

    /// Hundredths of a major unit beyond `whole_major`.
    pub fn beyond_whole(&self) -> i64 {
        self.minor_beyond_whole() * 100 / self.unit()
    }

    fn unit(&self) -> i64 {
        10_i64.pow(self.decimals())
    }

    /// Another amount of the same currency, in minor units.
    #[must_use]
    pub fn with_minor(&self, minor: i64) -> Self {
        Self { minor, currency: self.currency.clone() }
    }

    // `RUR` is the rouble before 1998; old shops still print it.
    fn currency(code: &str) -> Result<Currency, MoneyError> {
        let code = code.trim().to_ascii_uppercase();
        let code = if code == "RUR" { "RUB" } else { code.as_str() };
        Currency::from_code(code).ok_or(MoneyError::UnknownCurrency)
    }
}

/// An amount as people write it, such as `1 500,00 ₽`: without its currency, its blanks and what parts thousands. `None` where it
/// could be read in two ways, such as `1,500`.
fn without_noise(text: &str) -> Option<String> {
    let core = text.trim_matches(|letter: char| !letter.is_ascii_digit() && letter != '-');
    let plain: String = core.chars().filter(|letter| !letter.is_whitespace() && *letter != '\'').collect();
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("-", rest));
    let is_grouped = |text: &str, by: char| {
        let mut groups = text.split(by);
        groups.next().is_some_and(|first| (1..=3).contains(&first.len())) && groups.all(|group| group.len() == 3)
    };
    let last = digits.rfind(['.', ',']);
    let (whole, cents) = match last.and_then(|at| Some((digits.get(..at)?, digits.get(at..)?))) {
        None => (digits.to_owned(), String::new()),
        Some((before, after)) => {
            let mark = after.chars().next()?;
            let other = if mark == '.' { ',' } else { '.' };
            let decimals = after.len() - 1;
            match (before.contains(mark), before.contains(other)) {
                (true, false) if is_grouped(digits, mark) => (digits.replace(mark, ""), String::new()),
                (false, true) if is_grouped(before, other) && decimals <= 2 => {
                    (before.replace(other, ""), after.replace(mark, "."))
                }
                (false, false) if decimals <= 2 => (before.to_owned(), after.replace(mark, ".")),
                _ => return None,
            }
        }
    };
    let is_plain = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| format!("{sign}{whole}{cents}").trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them_unless_they_could_be_read_in_two_ways() {
        let minor = |text: &str| Money::from_major(text, "RUB").ok().map(|money| money.minor);
        for (text, expected) in [
            ("1 500,00 ₽", 150_000),
            ("1\u{a0}500 руб.", 150_000),
            ("RUB 1,234,567.50", 123_456_750),
            ("1.234.567,5", 123_456_750),
            ("-12,5", -1_250),
            ("1'500", 150_000),
            ("1500.00", 150_000),
            ("1500.", 150_000),
        ] {
            assert_eq!(minor(text), Some(expected), "{text}");
        }
        for text in ["", "many", "1,500", "1,2,3", "1.2,3.4", "12 or 13", "1-2", "₽", "1,5000"] {
            assert_eq!(minor(text), None, "{text}");
        }
    }

    #[test]
    fn major_units_become_minor_ones_exactly() {
        let read = |text, currency| Money::from_major(text, currency).map(|m| m.minor);
        assert_eq!(read("156.00", "RUB"), Ok(15_600));
        assert_eq!(read("1399", "RUB"), Ok(139_900));
        assert_eq!(read("0.1", "EUR"), Ok(10));
        assert_eq!(read("500", "JPY"), Ok(500));
        assert_eq!(read("1.500", "KWD"), Ok(1_500));
        assert_eq!(read("10.50", "RUR"), Ok(1_050));
        assert_eq!(read("10.50", "rub"), Ok(1_050));
    }

    #[test]
    fn what_would_have_to_be_rounded_is_refused() {
        assert_eq!(Money::from_major("1.005", "RUB"), Err(MoneyError::TooPrecise));
        assert_eq!(Money::from_major("1799.9999999999998", "RUB").map(|money| money.minor), Ok(180_000));
        assert_eq!(Money::from_major("1800.0000000000002", "RUB").map(|money| money.minor), Ok(180_000));
        assert_eq!(Money::from_major("1e9", "RUB"), Err(MoneyError::NotANumber));
        assert_eq!(Money::from_major("99999999999999999999", "RUB"), Err(MoneyError::OutOfRange));
        assert_eq!(Money::from_major("100000000000.01", "RUB"), Err(MoneyError::OutOfRange));
        assert_eq!(Money::from_minor(i64::MIN, "RUB"), Err(MoneyError::OutOfRange));
        let dear = Money::from_major("100000000000.00", "RUB").expect("the dearest");
        assert_eq!((dear.times(1), dear.times(u32::MAX)), (Ok(dear.clone()), Err(MoneyError::OutOfRange)));
        assert_eq!(Money::from_major("5", "XXQ"), Err(MoneyError::UnknownCurrency));
    }
}
