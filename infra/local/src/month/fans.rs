//! The fans of the play and their habits. They are the same in every run.

use stagedoor_testkit::fans::{Account, ChatFan};

pub const PEOPLE: usize = 240;

pub struct City {
    pub name: &'static str,
    /// The show's key in the catalog, and in the theatre's shop.
    pub key: &'static str,
    pub theatre: &'static str,
    pub zone: &'static str,
    pub starts_at: &'static str,
    /// The day of May after which sales end.
    pub ends_on: u64,
}

pub const CITIES: [City; 4] = [
    City {
        name: "Москва",
        key: "cherry-moscow",
        theatre: "msk-1",
        zone: "Europe/Moscow",
        starts_at: "2027-05-16T16:00:00Z",
        ends_on: 16,
    },
    City {
        name: "Казань",
        key: "cherry-kazan",
        theatre: "kzn-1",
        zone: "Europe/Moscow",
        starts_at: "2027-05-20T16:00:00Z",
        ends_on: 20,
    },
    City {
        name: "Нижний Новгород",
        key: "cherry-nizhny",
        theatre: "nn-1",
        zone: "Europe/Moscow",
        starts_at: "2027-05-24T16:00:00Z",
        ends_on: 12,
    },
    City {
        name: "Уфа",
        key: "cherry-ufa",
        theatre: "ufa-1",
        zone: "Asia/Yekaterinburg",
        starts_at: "2027-05-28T14:00:00Z",
        ends_on: 28,
    },
];

impl City {
    pub fn last_sale(&self) -> i64 {
        super::BEGINS + i64::try_from(self.ends_on - 1).unwrap_or(0) * 86_400
    }
}

/// A pseudo-random number below `sides` that is the same in every run: splitmix64.
pub fn lot(who: usize, what: u64, sides: u64) -> u64 {
    let mut z = (who as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(what.wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % sides.max(1)
}

const FIRST: [&str; 8] = ["Анна", "Ольга", "Пётр", "Мария", "Иван", "Елена", "Сергей", "Дарья"];
const LAST: [&str; 6] = ["Лопахины", "Гаевы", "Раневские", "Трофимовы", "Фирсовы", "Шарлоттины"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fan(pub usize);

impl Fan {
    pub fn of(address: &str) -> Option<Self> {
        address.strip_prefix("spectator")?.strip_suffix("@example.com")?.parse().ok().map(Self)
    }

    /// The fan behind a phone, in digits as the gateway writes it.
    pub fn of_phone(digits: &str) -> Option<Self> {
        digits.strip_prefix("7927555")?.parse().ok().map(Self)
    }

    pub fn of_chat(id: &str) -> Option<Self> {
        let n = id.parse::<usize>().ok()?.checked_sub(5_400_000_000)?;
        (n < PEOPLE).then_some(Self(n))
    }

    pub fn city(self) -> &'static City {
        CITIES.get(self.0 % CITIES.len()).unwrap_or(&CITIES[0])
    }

    pub fn name(self) -> String {
        let pick = |from: &[&'static str], n: usize| from.get(n % from.len()).copied().unwrap_or("");
        format!("{} {}", pick(&FIRST, self.0 / 4), pick(&LAST, self.0 / 32))
    }

    pub fn email(self) -> String {
        format!("spectator{}@example.com", self.0)
    }

    pub fn phone(self) -> String {
        format!("+7927555{:04}", self.0)
    }

    pub fn chat(self) -> ChatFan {
        ChatFan::new(Account::Telegram(5_400_000_000 + self.0 as u64), "зритель")
    }

    pub fn has_a_dead_mailbox(self) -> bool {
        lot(self.0, 10, 100) < 4
    }

    pub fn on_paper(self) -> bool {
        lot(self.0, 1, 2) == 0
    }

    /// Consent on the site's form, where most tick the box.
    pub fn consents(self) -> bool {
        lot(self.0, 2, 10) < 8
    }

    /// The part of the day in which the fan is at the computer.
    pub fn part(self) -> usize {
        usize::try_from(lot(self.0, 3, 3)).unwrap_or(0)
    }

    /// The day of May of the sign-up; 0 for paper fans and a few others, who never sign up.
    pub fn joins_on(self) -> u64 {
        if self.on_paper() && lot(self.0, 4, 3) > 0 { 0 } else { 1 + lot(self.0, 5, 10) }
    }

    pub fn cart_on(self) -> Option<u64> {
        (lot(self.0, 6, 100) < 40).then(|| 2 + lot(self.0, 7, 12))
    }

    /// The day of a purchase without any message.
    pub fn buys_on(self) -> Option<u64> {
        (lot(self.0, 8, 100) < 18).then(|| 2 + lot(self.0, 9, 13))
    }

    /// The price of the fan's ticket, in kopecks.
    pub fn price(self) -> i64 {
        if self.0.is_multiple_of(3) { 350_000 } else { 620_000 }
    }
}
