//! The console's texts for managers, in Russian and English.

use http::HeaderMap;
use stagedoor_sync::WaitingReason;

use crate::alarms::Alarm;

pub struct Words {
    pub is_russian: bool,
    pub alarms: &'static str,
    pub why: &'static str,
    pub people: &'static str,
    pub since: &'static str,
    pub until: &'static str,
    pub to_act: &'static str,
    pub zones: &'static str,
}

const ENGLISH: Words = Words {
    is_russian: false,
    alarms: "Alarms",
    why: "Why something waits",
    people: "people",
    since: "since",
    until: "until at the latest",
    to_act: "To act",
    zones: "Zones of shows that are no IANA zones; the offset of the times is used, or the hub's zone",
};

const RUSSIAN: Words = Words {
    is_russian: true,
    alarms: "Тревоги",
    why: "Почему что-то ждёт",
    people: "чел.",
    since: "с",
    until: "не дольше чем до",
    to_act: "Действовать",
    zones: "Часовые пояса показов, которых нет в базе IANA; берётся смещение времени или пояс хаба",
};

impl Words {
    /// The texts in the language that a browser names first.
    pub fn of(headers: &HeaderMap) -> &'static Self {
        let first = headers.get(http::header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()?.split(',').next());
        match first.is_some_and(|language| language.trim().to_lowercase().starts_with("ru")) {
            true => &RUSSIAN,
            false => &ENGLISH,
        }
    }

    pub fn alarm<'r>(&self, one: &'r Alarm) -> &'r str {
        if self.is_russian { &one.text_ru } else { &one.text }
    }

    pub fn reason<'r>(&self, one: &'r WaitingReason) -> &'r str {
        if self.is_russian { &one.reason_ru } else { &one.reason }
    }

    pub fn who_acts<'r>(&self, one: &'r WaitingReason) -> &'r str {
        if self.is_russian { &one.who_acts_ru } else { &one.who_acts }
    }
}
