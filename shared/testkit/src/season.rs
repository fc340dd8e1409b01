//! A theatre's season as its site, its VK group and its shop report it: subscriptions and questionnaires, single and
//! collective orders, goods, payments and refunds. It is the same every time.

use serde_json::{Value, json};
use stagedoor_model::Timestamp;

use crate::{
    SignedRequest,
    fans::{Account, ChatFan},
    form_signed, hmac_sha256_hex,
};

const FIRST: [&str; 12] =
    ["Ольга", "Мария", "Ирина", "Андрей", "Николай", "Анна", "Константин", "Нина", "Полина", "Сергей", "Елена", "Пётр"];
const LAST: [&str; 14] = [
    "Прозорова",
    "Вершинин",
    "Тузенбах",
    "Солёный",
    "Чебутыкин",
    "Аркадина",
    "Тригорин",
    "Заречная",
    "Сорин",
    "Шамраев",
    "Медведенко",
    "Дорн",
    "O'Нил",
    "Лопахин 🎭",
];
/// Names with their INN. After a bar stands another spelling by somebody of the same company.
const COMPANIES: [(&str, &str); 6] = [
    ("ООО «Садовое»", "7707083893"),
    ("АО \"Три сестры\"", "7736050003"),
    ("ПАО Чайка", "7702070139"),
    ("Школа № 57", "7710137066"),
    ("ИП Иванов", "500100732259"),
    ("Завод «Гигант»", "7728168971"),
];
const SHOWS: [(&str, &str, u32); 2] = [("perf-1", "Вишнёвый сад", 180_075), ("perf-2", "Чайка", 150_000)];

/// The size of a season.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Season {
    /// Orders in all. One of twenty is a company's.
    pub orders: usize,
}

impl Default for Season {
    fn default() -> Self {
        Self { orders: 400 }
    }
}

impl Season {
    /// Everything that comes in, in order.
    pub fn deliveries(&self, now: Timestamp) -> Vec<SignedRequest> {
        let mut all = Vec::new();
        for n in 0..self.orders / 4 {
            all.push(subscription(n, now));
        }
        for n in 0..self.orders / 20 {
            let fan = ChatFan::new(Account::Vk(580_000_000 + n as u64), "театрал");
            all.push(fan.say("Есть ли места на пятницу?", 910_000 + n as u64, now.as_second()));
        }
        for n in 0..self.orders {
            let order = Order::numbered(n);
            let payments = order.payments(now);
            // An unpaid order gets no refund.
            let refunded = n % 9 == 4 && (order.company.is_none() || !payments.is_empty());
            all.push(order.delivery(now, Step::First));
            all.extend(payments);
            if refunded {
                all.push(order.delivery(now, Step::Refunded));
            }
            // Shops send webhooks twice.
            if n % 25 == 0 {
                all.push(order.delivery(now, Step::First));
            }
        }
        all
    }
}

fn name(n: usize) -> String {
    let pick = |from: &[&'static str], n: usize| from.get(n % from.len()).copied().unwrap_or("");
    format!("{} {}", pick(&FIRST, n), pick(&LAST, n / FIRST.len() + n))
}

fn email(n: usize) -> String {
    format!("visitor{n}@theatre-season.example")
}

fn phone(n: usize) -> String {
    format!("+7916{:07}", 2_000_000 + n * 7_919 % 6_999_999)
}

/// A form of a visitor. One of four subscribed before, or filled in a questionnaire at the box office.
fn subscription(n: usize, now: Timestamp) -> SignedRequest {
    let consents =
        json!([{ "purpose": "marketing", "channel": "email", "given": !n.is_multiple_of(5), "wording": "2026-1" }]);
    let form = if n.is_multiple_of(3) { "questionnaire" } else { "subscription" };
    let mut body = json!({ "kind": "lead", "form": form, "email": email(n * 3), "name": name(n * 3), "consents": consents,
        "at": "2026-09-01T10:00:00Z" });
    if n.is_multiple_of(3) {
        put(&mut body, "phone", phone(n * 3));
    }
    form_signed("/website/site", &body, "generic-source-secret", &format!("season-form-{n}"), now)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    First,
    Refunded,
}

struct Order {
    n: usize,
    seats: usize,
    show: (&'static str, &'static str, u32),
    company: Option<(&'static str, &'static str)>,
    goods: bool,
}

impl Order {
    fn numbered(n: usize) -> Self {
        let company = (n % 20 == 7).then(|| COMPANIES.get(n / 20 % COMPANIES.len()).copied()).flatten();
        let show = SHOWS.get(n % SHOWS.len()).copied().unwrap_or(("perf-1", "Вишнёвый сад", 180_075));
        let seats = if company.is_some() { 20 + n % 17 } else { 1 + n % 3 };
        Self { n, seats, show, company, goods: n % 11 == 3 }
    }

    fn id(&self) -> String {
        format!("S-{}", self.n)
    }

    /// The price in kopecks. Every seventh order is cheaper by a promo code.
    fn total(&self) -> u64 {
        let seats = u64::from(self.show.2) * self.seats as u64;
        let goods = if self.goods { 2 * 45_050 } else { 0 };
        seats + goods - if self.n % 7 == 6 { 10_001 } else { 0 }
    }

    /// The buyer. Three of four orders are by new visitors, the fourth by an earlier one.
    fn visitor(&self) -> usize {
        if self.n % 4 == 3 { self.n / 8 * 3 } else { self.n }
    }

    fn delivery(&self, now: Timestamp, step: Step) -> SignedRequest {
        let (id, visitor) = (self.id(), self.visitor());
        let day = 1 + self.n % 27;
        let at = |hour: u32| format!("2026-10-{day:02}T{hour:02}:{:02}:00Z", self.n % 60);
        let show = json!({ "id": self.show.0, "title": self.show.1, "city": "Москва" });
        let ticket =
            |seat: usize| json!({ "id": format!("{id}-{seat}"), "show": show, "price": major(self.show.2.into()) });
        let mut data = json!({ "id": id, "number": format!("2026-{:05}", self.n), "currency": "RUB",
            "status": if self.company.is_some() { "placed" } else { "paid" },
            "placed_at": at(10), "updated_at": at(11), "total": major(self.total()),
            "tickets": (0..self.seats).map(ticket).collect::<Vec<Value>>() });
        if self.company.is_none() {
            put(&mut data, "paid_at", at(11));
        }
        put(
            &mut data,
            "buyer",
            match visitor % 3 {
                0 => json!({ "name": name(visitor), "email": email(visitor) }),
                1 => json!({ "name": name(visitor), "email": email(visitor), "phone": phone(visitor) }),
                _ => json!({ "name": name(visitor), "phone": phone(visitor) }),
            },
        );
        if self.goods {
            put(
                &mut data,
                "items",
                json!([{ "id": format!("{id}-mug"), "title": "Кружка с чайкой", "quantity": 2, "price": "450.50" }]),
            );
        }
        if self.n % 7 == 6 {
            put(&mut data, "promo_codes", json!(["ОСЕНЬ"]));
        }
        if let Some((company, inn)) = self.company {
            // Two people of one company write its name in two ways.
            let written = if self.n.is_multiple_of(2) { company.to_owned() } else { company.to_uppercase() };
            put(&mut data, "company", json!({ "name": written, "inn": inn }));
            put(&mut data, "due_at", "2026-11-15T00:00:00Z");
        }
        if step == Step::Refunded {
            put(&mut data, "updated_at", at(15));
            let whole = self.n % 18 == 4;
            let (amount, tickets) = match whole {
                true => (self.total(), (0..self.seats).map(|seat| format!("{id}-{seat}")).collect::<Vec<_>>()),
                false => (u64::from(self.show.2), vec![format!("{id}-0")]),
            };
            put(
                &mut data,
                "refunds",
                json!([{ "id": format!("{id}-r"), "amount": major(amount), "at": at(15), "tickets": tickets }]),
            );
        }
        let revision = if step == Step::Refunded { "refunded" } else { "first" };
        let body = json!({ "type": "order", "data": data });
        form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &format!("{id}-{revision}"), now)
    }

    /// The payments of an order. A company pays by invoice, in one part or in two, or not at all. One order of a
    /// hundred is paid twice by card.
    fn payments(&self, now: Timestamp) -> Vec<SignedRequest> {
        let total = self.total();
        let parts: Vec<u64> = match (self.company, self.n) {
            (Some(_), n) if n / 20 % 4 == 3 => vec![],
            (Some(_), n) if n / 20 % 4 == 2 => vec![total / 2],
            (Some(_), n) if n / 20 % 4 == 1 => vec![total / 3, total - total / 3],
            (Some(_), _) => vec![total],
            (None, n) if n % 100 == 42 => vec![total, total],
            (None, _) => vec![],
        };
        let paid = |(part, minor): (usize, u64)| stripe(&format!("pi_S{}_{part}", self.n), &self.id(), minor, now);
        parts.into_iter().enumerate().map(paid).collect()
    }
}

fn put(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value.into());
    }
}

fn major(minor: u64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

fn stripe(payment: &str, order: &str, minor: u64, now: Timestamp) -> SignedRequest {
    let object = json!({ "id": format!("cs_{payment}"), "object": "checkout.session", "amount_total": minor, "currency": "rub",
        "client_reference_id": order, "payment_intent": payment, "payment_status": "paid", "status": "complete" });
    // 2026-11-01, as the payment provider writes it.
    let body = json!({ "id": format!("evt_{payment}"), "object": "event", "created": 1_793_491_200,
        "type": "checkout.session.completed", "data": { "object": object } });
    let body = body.to_string().into_bytes();
    let second = now.as_second();
    let proof = hmac_sha256_hex("whsec_test_stagedoor", &[format!("{second}.").as_bytes(), &body].concat());
    SignedRequest::new("/ticketing/stripe", "application/json", body)
        .header("stripe-signature", &format!("t={second},v1={proof}"))
}
