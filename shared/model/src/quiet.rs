//! Hours in which nobody is written to.

use jiff::{civil::Time, tz::TimeZone};
#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, time_zone};

/// From one time of the day to another, over midnight where the second is earlier, on the clocks of a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct QuietHours {
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub from: Time,
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub until: Time,
    /// IANA zone, or an offset from UTC such as `+05:00`; one that is unknown is UTC.
    pub zone: String,
}

impl QuietHours {
    /// When they end, if it is quiet now.
    pub fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let zone = time_zone(&self.zone).unwrap_or(TimeZone::UTC);
        let here = now.to_zoned_datetime(zone);
        let time = here.time();
        let is_quiet = match self.from <= self.until {
            true => self.from <= time && time < self.until,
            false => self.from <= time || time < self.until,
        };
        if !is_quiet {
            return None;
        }
        // Behind midnight it is this day's end already.
        let day = if time < self.until { here.date() } else { here.date().tomorrow().ok()? };
        here.time_zone().to_timestamp(day.to_datetime(self.until)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(from: &str, until: &str, zone: &str) -> QuietHours {
        QuietHours { from: from.parse().expect("a time"), until: until.parse().expect("a time"), zone: zone.into() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn the_night_of_ufa_is_another_than_that_of_moscow() {
        let (ufa, moscow) = (hours("21:00", "09:00", "Asia/Yekaterinburg"), hours("21:00", "09:00", "Europe/Moscow"));
        // 22:30 in Ufa, 20:30 in Moscow.
        let evening = at("2027-05-20T17:30:00Z");
        assert_eq!(ufa.end(evening), Some(at("2027-05-21T04:00:00Z")));
        assert_eq!(moscow.end(evening), None);
        // 05:00 in Moscow.
        assert_eq!(moscow.end(at("2027-05-21T02:00:00Z")), Some(at("2027-05-21T06:00:00Z")));
    }

    #[test]
    fn quiet_hours_begin_with_their_first_minute_and_end_with_their_last() {
        let noon = hours("12:00", "14:00", "UTC");
        assert_eq!(noon.end(at("2027-05-20T12:00:00Z")), Some(at("2027-05-20T14:00:00Z")));
        assert_eq!(noon.end(at("2027-05-20T14:00:00Z")), None);
        assert_eq!(noon.end(at("2027-05-20T11:59:59Z")), None);
    }
}
