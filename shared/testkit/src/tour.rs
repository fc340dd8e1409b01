//! The sample tour: three cities and three hundred people. Phones come in five notations. People use a second e-mail
//! and order without registering. Webhooks come twice and out of order. There are refunds, and a show that moves.
//!
//! The bodies are the samples of `events/` with other people in them. Sources and secrets are those of the local
//! config.

use serde_json::{Value, json};
use stagedoor_model::Timestamp;

use crate::{SignedRequest, form, form_signed, qtickets};

pub const PEOPLE: usize = 300;

const QTICKETS: &str = include_str!("../../../events/qtickets/order_payed.body.json");
const SHOP: &str = include_str!("../../../events/shop/order_paid.body.json");
const LEAD: &str = include_str!("../../../events/form/lead.body.json");

const FIRST: [&str; 10] = ["Анна", "Ольга", "Пётр", "Мария", "Иван", "Елена", "Сергей", "Дарья", "Алексей", "Юлия"];
const LAST: [&str; 7] = ["Раневская", "Лопахин", "Гаев", "Трофимов", "Епиходов", "Фирс", "Шамраев"];

/// One of the three cities, with the show's id in each shop.
struct City {
    name: &'static str,
    qtickets: u64,
    theatre: &'static str,
    /// The show's key in the catalog.
    key: &'static str,
}

const CITIES: [City; 3] = [
    City { name: "Москва", qtickets: 41, theatre: "msk-1", key: "cherry-moscow" },
    City { name: "Казань", qtickets: 42, theatre: "kzn-1", key: "cherry-kazan" },
    City { name: "Нижний Новгород", qtickets: 43, theatre: "nn-1", key: "cherry-nizhny" },
];

struct Fan(usize);

impl Fan {
    fn city(&self) -> &'static City {
        CITIES.get(self.0 % CITIES.len()).unwrap_or(&CITIES[0])
    }

    fn name(&self) -> String {
        let pick = |from: &[&'static str], n: usize| from.get(n % from.len()).copied().unwrap_or("");
        format!("{} {}", pick(&FIRST, self.0), pick(&LAST, self.0 / 3))
    }

    /// Ten digits of a Russian mobile.
    fn digits(&self) -> String {
        format!("916{:07}", 1_000_000 + (self.0 * 7_919) % 8_999_999)
    }

    fn phone(&self, notation: usize) -> String {
        let digits = self.digits();
        let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or("").to_owned();
        let (code, a, b, c) = (part(0..3), part(3..6), part(6..8), part(8..10));
        match (self.0 + notation) % 5 {
            0 => format!("8 ({code}) {a}-{b}-{c}"),
            1 => format!("+7 {code} {a} {b} {c}"),
            2 => format!("7{digits}"),
            3 => digits,
            _ => format!("8-{code}-{a}-{b}-{c}"),
        }
    }

    fn email(&self) -> String {
        format!("fan{}@example.com", self.0)
    }

    fn second_email(&self) -> String {
        format!("work.{}@example.org", self.0)
    }

    fn at(&self, minutes: i64) -> String {
        let second = 1_795_428_000 + self.0 as i64 * 60 + minutes * 60;
        Timestamp::from_second(second).unwrap_or_default().to_string()
    }
}

/// Contacts that the CRM has already, as managers typed them in, with only a phone. The hub cannot match them to a
/// fan whom it meets by e-mail first. Such a fan gets a second contact that is then marked as a duplicate; another
/// test covers that.
pub fn existing_contacts() -> Vec<Value> {
    let contact = |fan: Fan| {
        let phone = json!({ "field_code": "PHONE", "values": [{ "value": fan.phone(2), "enum_code": "MOB" }] });
        json!({ "name": fan.name(), "custom_fields_values": [phone] })
    };
    (0..PEOPLE).step_by(12).filter(|n| n % 10 != 2).map(|n| contact(Fan(n))).collect()
}

/// Every delivery of the tour, in mixed order.
pub fn deliveries(now: Timestamp) -> Vec<SignedRequest> {
    let mut all: Vec<SignedRequest> = (0..PEOPLE).flat_map(|n| journey(&Fan(n), now)).collect();
    all.push(moved_show(now));
    shuffle(&mut all);
    all
}

fn journey(fan: &Fan, now: Timestamp) -> Vec<SignedRequest> {
    let n = fan.0;
    match n % 10 {
        0 => vec![tilda(fan), order_qtickets(fan, &fan.second_email(), "payed", 30)],
        1 => vec![popup(fan), order_shop(fan, &fan.email(), now, "paid", 40, false)],
        2 => vec![cart(fan, now), order_shop(fan, &fan.email().to_uppercase(), now, "paid", 55, false)],
        3 => vec![landing(fan)],
        4 => {
            let (paid, placed) =
                (order_qtickets(fan, &fan.email(), "payed", 20), order_qtickets(fan, &fan.email(), "created", 5));
            vec![paid.clone(), placed.clone(), paid, placed]
        }
        5 => vec![
            order_shop(fan, &fan.email(), now, "paid", 10, false),
            order_shop(fan, &fan.email(), now, "paid", 90, true),
        ],
        6 => vec![order_qtickets(fan, &fan.email(), "payed", 15), order_qtickets(fan, &fan.email(), "refunded", 600)],
        7 => vec![lead(fan, now), order_shop(fan, &fan.second_email(), now, "placed", 25, false)],
        8 => vec![
            order_qtickets(fan, &fan.email(), "payed", 12),
            order_shop(fan, &fan.second_email(), now, "paid", 70, false),
        ],
        _ => vec![tilda(fan), tilda(fan)],
    }
}

fn tilda(fan: &Fan) -> SignedRequest {
    let (name, phone, email) = (fan.name(), fan.phone(0), fan.email());
    let tranid = format!("1111111:{}", 6_161_583_731_u64 + fan.0 as u64);
    let fields = [
        ("Name", name.as_str()),
        ("Phone", &phone),
        ("Email", &email),
        ("tranid", &tranid),
        ("formid", "form42581206"),
        ("formname", "Ранний доступ"),
        ("utm_source", "vk"),
    ];
    form("/website/tilda", &fields).header("X-API-Key", "tilda-api-key")
}

fn landing(fan: &Fan) -> SignedRequest {
    let (name, phone, email) = (fan.name(), fan.phone(1), fan.email());
    let fields = [("your-name", name.as_str()), ("your-tel", &phone), ("your-email", &email), ("key", "landing-key")];
    form("/website/landing", &fields).header("origin", "https://cherry.example.ru")
}

fn popup(fan: &Fan) -> SignedRequest {
    let user = json!({ "id": 233_707_602 + fan.0, "props": { "$email": fan.email(), "$name": fan.name(), "utm_source": "yandex" } });
    let event = json!({
        "id": 3_034_059_175_u64 + fan.0 as u64, "created": 1_795_428_000 + fan.0 * 60,
        "type": { "id": 1, "name": "Оставил контакты", "score": 0, "visible": true },
        "props": { "$email": fan.email() },
    });
    let (user, event) = (user.to_string(), event.to_string());
    let fields = [
        ("type", "message_webhook"),
        ("token", "29be43a4-12ee-48cb-8cc1-140305a4430d"),
        ("user", user.as_str()),
        ("event", &event),
        ("message_id", "77"),
        ("message_name", "Уход со страницы, вариант Б"),
    ];
    form("/website/popups", &fields)
}

fn sample(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

fn put(body: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = body.pointer_mut(pointer) {
        *place = value;
    }
}

fn lead(fan: &Fan, now: Timestamp) -> SignedRequest {
    let mut body = sample(LEAD);
    put(&mut body, "/email", fan.email().into());
    put(&mut body, "/phone", fan.phone(3).into());
    put(&mut body, "/name", fan.name().into());
    if let Some(body) = body.as_object_mut() {
        body.remove("ids");
        body.insert("show".into(), fan.city().key.into());
    }
    form_signed("/website/site", &body, "generic-source-secret", &format!("msg_lead_{}", fan.0), now)
}

fn cart(fan: &Fan, now: Timestamp) -> SignedRequest {
    let body = json!({
        "kind": "cart_abandoned", "cart_id": format!("c-{}", fan.0), "email": fan.email(), "amount": "3000.00",
        "currency": "RUB", "at": fan.at(1), "show": (fan.city().key),
    });
    form_signed("/website/site", &body, "generic-source-secret", &format!("msg_cart_{}", fan.0), now)
}

fn order_qtickets(fan: &Fan, email: &str, kind: &str, minutes: i64) -> SignedRequest {
    let mut body = sample(QTICKETS);
    let paid = kind != "created";
    let id = 4_360 + fan.0;
    for (pointer, value) in [
        ("/id", json!(id)),
        ("/uniqid", json!(format!("q{id}"))),
        ("/payed", json!(paid)),
        ("/payed_at", if paid { json!(fan.at(12)) } else { Value::Null }),
        ("/created_at", json!(fan.at(0))),
        ("/updated_at", json!(fan.at(minutes))),
        ("/client_id", json!(235 + fan.0)),
        ("/client/id", json!(235 + fan.0)),
        ("/client/email", json!(email)),
        ("/client/details/name", json!(fan.name().split(' ').next())),
        ("/client/details/surname", json!(fan.name().split(' ').nth(1))),
        ("/client/details/phone", json!(fan.phone(4))),
        ("/client/details/telegram_user", Value::Null),
    ] {
        put(&mut body, pointer, value);
    }
    let baskets = body.get_mut("baskets").and_then(Value::as_array_mut).map(|baskets| {
        for (n, basket) in baskets.iter_mut().enumerate() {
            put(basket, "/id", json!(63_993 + fan.0 * 10 + n));
            put(basket, "/show_id", json!(fan.city().qtickets));
        }
        baskets.clone()
    });
    if kind == "refunded"
        && let Some(body) = body.as_object_mut()
    {
        body.insert("refunded_baskets".into(), baskets.unwrap_or_default().into());
    }
    qtickets("/ticketing/qtickets", kind, &body, "SuperSecret")
}

fn order_shop(fan: &Fan, email: &str, now: Timestamp, status: &str, minutes: i64, refunded: bool) -> SignedRequest {
    let mut body = sample(SHOP);
    let paid = status == "paid";
    let data = body.get_mut("data").map(std::mem::take).unwrap_or_default();
    let mut data = data;
    for (pointer, value) in [
        ("/id", json!(format!("T-{}", fan.0))),
        ("/number", json!(format!("{}", 70_000 + fan.0))),
        ("/status", json!(status)),
        ("/placed_at", json!(fan.at(8))),
        ("/paid_at", if paid { json!(fan.at(9)) } else { Value::Null }),
        ("/updated_at", json!(fan.at(minutes))),
        ("/buyer", json!({ "name": fan.name(), "email": email, "phone": fan.phone(minutes as usize) })),
    ] {
        put(&mut data, pointer, value);
    }
    if let Some(tickets) = data.get_mut("tickets").and_then(Value::as_array_mut) {
        for (n, ticket) in tickets.iter_mut().enumerate() {
            put(ticket, "/id", json!(format!("{}-{n}", fan.0)));
            put(ticket, "/show", json!({ "id": fan.city().theatre, "city": fan.city().name }));
        }
    }
    if refunded && let Some(data) = data.as_object_mut() {
        let first = format!("{}-0", fan.0);
        let refund =
            json!({ "id": format!("R-{}", fan.0), "amount": "1500.00", "at": fan.at(minutes), "tickets": [first] });
        data.insert("refunds".into(), json!([refund]));
    }
    let body = json!({ "type": "order", "data": data });
    let id = format!("msg_order_{}_{status}_{minutes}", fan.0);
    form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &id, now)
}

/// The show in Nizhny moves by a week, and every deal for it must say so.
fn moved_show(now: Timestamp) -> SignedRequest {
    let show = json!({
        "id": "nn-1", "title": "Вишнёвый сад", "city": "Нижний Новгород", "starts_at": "2027-05-31T16:00:00Z",
        "zone": "Europe/Moscow", "changed_at": "2026-11-24T09:00:00Z",
    });
    let body = json!({ "type": "show.rescheduled", "data": show });
    form_signed("/ticketing/theatre", &body, "theatre-shop-secret", "msg_moved_nn-1", now)
}

// Shuffles the same way every time.
fn shuffle(all: &mut [SignedRequest]) {
    let mut state: u64 = 20_261_124;
    for n in (1..all.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        all.swap(n, (state >> 33) as usize % (n + 1));
    }
}
