use std::str::FromStr;

use jiff::{
    fmt::temporal::{Pieces, PiecesOffset},
    tz::{Offset, TimeZone, TimeZoneDatabase},
};
#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, breakage};

/// One performance at one place and time, as a provider names it. The catalogue in the config maps it to the
/// house's own show; what is not mapped is a show of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct ShowRef {
    /// The provider's own id of the show within its source.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub starts_at: Option<Timestamp>,
    /// IANA zone of the place, as the provider names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The offset from UTC in which the provider wrote `starts_at`, such as `+05:00`: the zone of last resort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<String>,
}

impl ShowRef {
    /// A show of which only the id is known.
    pub fn id(id: impl Into<String>) -> Self {
        Self { id: id.into(), title: None, city: None, starts_at: None, zone: None, offset: None }
    }

    /// With the start as a provider wrote it, and the offset that it was written in.
    #[must_use]
    pub fn starting(self, starts_at: Option<LocalInstant>) -> Self {
        let offset = starts_at.as_ref().and_then(|start| start.offset.clone());
        Self { starts_at: starts_at.map(|start| start.at), offset, ..self }
    }

    /// The zone in which the show's times are told: the IANA zone if it exists, else the offset.
    pub fn local_zone(&self) -> Option<&str> {
        let zone = self.zone.as_deref().filter(|zone| time_zone(zone).is_some());
        zone.or_else(|| self.offset.as_deref().filter(|_| !breakage::is_on("offset-dropped")))
    }

    /// A zone that the provider gave and no database has, such as `MSK`.
    pub fn unknown_zone(&self) -> Option<&str> {
        self.zone.as_deref().filter(|zone| time_zone(zone).is_none())
    }
}

/// The time zone that a text names: an IANA name, or a fixed offset from UTC such as `+05:00`. `None` if it is neither.
pub fn time_zone(text: &str) -> Option<TimeZone> {
    if let Some(seconds) = fixed(text) {
        return Offset::from_seconds(seconds).ok().map(TimeZone::fixed);
    }
    TimeZoneDatabase::bundled().get(text).ok()
}

/// The seconds of an offset that is written as `±hh:mm`.
fn fixed(text: &str) -> Option<i32> {
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let is_number = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| text.parse::<i32>().ok().filter(|_| is_number(text));
    Some(sign * (number(hours)? * 3600 + number(minutes)? * 60))
}

/// An instant, with the offset from UTC in which it was written. Nothing is known of the place where it was written in
/// UTC.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LocalInstant {
    pub at: Timestamp,
    /// `±hh:mm`.
    pub offset: Option<String>,
}

impl FromStr for LocalInstant {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = text.parse()?;
        let offset = match Pieces::parse(text)?.offset() {
            Some(PiecesOffset::Numeric(told)) if told.offset() != Offset::UTC => {
                let seconds = told.offset().seconds();
                let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
                Some(format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60))
            }
            _ => None,
        };
        Ok(Self { at, offset })
    }
}

impl TryFrom<String> for LocalInstant {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(zone: Option<&str>, starts_at: &str) -> ShowRef {
        let start: LocalInstant = starts_at.parse().expect("an instant");
        ShowRef { zone: zone.map(str::to_owned), ..ShowRef::id("perm-1").starting(Some(start)) }
    }

    #[test]
    fn a_show_is_told_on_the_clocks_of_its_zone_and_else_of_the_offset_that_the_shop_wrote() {
        let told = |zone, starts_at| show(zone, starts_at).local_zone().map(str::to_owned);
        assert_eq!(
            told(Some("Asia/Yekaterinburg"), "2027-06-08T19:00:00+05:00").as_deref(),
            Some("Asia/Yekaterinburg")
        );
        assert_eq!(told(None, "2027-06-08T19:00:00+05:00").as_deref(), Some("+05:00"));
        for unknown in ["MSK", "UTC+5", ""] {
            assert_eq!(told(Some(unknown), "2027-06-08T19:00:00-03:30").as_deref(), Some("-03:30"), "{unknown:?}");
            assert_eq!(show(Some(unknown), "2027-06-08T19:00:00Z").unknown_zone(), Some(unknown));
        }
        // A server's UTC says nothing of the place.
        assert_eq!(told(None, "2027-06-08T14:00:00Z"), None);
        assert_eq!(told(None, "2027-06-08T14:00:00+00:00"), None);
    }

    #[test]
    fn a_fixed_offset_is_a_time_zone() {
        let perm = time_zone("+05:00").expect("a zone");
        let start: Timestamp = "2027-06-08T14:00:00Z".parse().expect("an instant");
        assert_eq!(start.to_zoned_datetime(perm).strftime("%H:%M").to_string(), "19:00");
        for wrong in ["+5", "+05:0", "+99:00", "05:00", "+-5:00", "+", "", "é:00"] {
            assert!(time_zone(wrong).is_none(), "{wrong}");
        }
    }
}
