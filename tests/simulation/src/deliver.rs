//! The bytes that providers send about human actions, with each provider's signature.

use serde_json::{Value, json};
use stagedoor_model::{Channel, Timestamp};
use stagedoor_testkit::{SignedRequest, form_signed, hmac_sha256_hex, json as posted, qtickets};

use crate::orders::roubles;
use crate::strangers::Claim;
use crate::world::{FormFact, Human, OrderFact, SHOWS, Shop, ShowFact, ShowTruth};

fn first<'s>(identifiers: impl IntoIterator<Item = &'s String>, of: fn(&str) -> bool) -> Option<String> {
    identifiers.into_iter().find(|one| of(one)).cloned()
}

fn phone(one: &str) -> bool {
    one.starts_with('+')
}

fn email(one: &str) -> bool {
    one.contains('@')
}

/// A form. `id` names the delivery and stays the same over retries.
pub fn form(human: &Human, fact: &FormFact, id: &str, now: Timestamp) -> SignedRequest {
    let show = SHOWS.get(fact.show).map(|show| show.key);
    let boxes = fact.boxes.iter().map(|(channel, given)| {
        json!({ "purpose": "marketing", "channel": channel.name(), "given": given, "wording": "site-1" })
    });
    let body = json!({
        "consents": boxes.collect::<Vec<_>>(), "kind": "lead", "name": human.name, "show": show, "at": fact.at.to_string(), "word": id,
        "phone": first(&fact.identifiers, phone), "email": first(&fact.identifiers, email),
    });
    form_signed("/website/site", &body, "simulated-site-secret", id, now)
}

/// A page's form without a signature, in which a stranger types anything.
pub fn claim(fact: &Claim, name: &str) -> SignedRequest {
    let boxes = [Channel::Email, Channel::Sms].map(|channel| {
        json!({ "purpose": "marketing", "channel": channel.name(), "given": fact.given, "wording": "site-1" })
    });
    let body = json!({
        "consents": boxes, "kind": "lead", "name": name, "word": fact.word, "at": "2099-01-01T00:00:00Z",
        "show": SHOWS.get(fact.show).map(|show| show.key),
        "phone": first(&fact.identifiers, phone), "email": first(&fact.identifiers, email),
    });
    posted("/website/landing", &body)
        .header("origin", "https://theatre.example.ru")
        .header("x-stagedoor-key", "simulated-landing-key")
}

/// The whole present order, in the format of its shop.
pub fn order(human: &Human, fact: &OrderFact, id: &str, now: Timestamp) -> SignedRequest {
    match fact.shop {
        Shop::Own => form_signed("/ticketing/shop", &own(human, fact), "simulated-shop-secret", id, now),
        Shop::Pretix => pretix(fact, 0),
        Shop::Ticketscloud => ticketscloud(fact, 0),
        Shop::BoxOffice => {
            let over = fact.tickets.iter().any(|ticket| ticket.refunded_at.is_some());
            let kind = match (fact.cancelled, fact.paid_at, over) {
                (true, _, _) => "deleted",
                (_, Some(_), true) => "refunded",
                (_, Some(_), false) => "payed",
                _ => "created",
            };
            qtickets("/ticketing/box", kind, &of_box_office(human, fact), "simulated-box-secret")
        }
    }
}

/// INNs of companies, with a valid check digit.
const INNS: [&str; 2] = ["7707083893", "7736050003"];

fn own(human: &Human, fact: &OrderFact) -> Value {
    let ticket = |ticket: &crate::world::TicketFact| {
        let show = SHOWS.get(ticket.show).map(|show| show.shop);
        json!({
            "id": format!("t{}", ticket.id), "show": { "id": show }, "price": roubles(ticket.price),
            "cancelled": ticket.refunded_at.is_some(),
        })
    };
    let refund = |ticket: &crate::world::TicketFact| {
        let at = ticket.refunded_at?.to_string();
        let id = format!("t{}", ticket.id);
        Some(json!({ "id": format!("r{}", ticket.id), "amount": roubles(ticket.price), "at": at, "tickets": [id] }))
    };
    let paid_at = fact.paid_at.filter(|_| fact.shop_tells);
    let status = match (fact.cancelled, paid_at) {
        (true, _) => "cancelled",
        (_, Some(_)) => "paid",
        _ => "placed",
    };
    json!({ "type": "order", "data": {
        "id": format!("o{}", fact.id), "status": status, "updated_at": fact.updated_at.to_string(),
        "placed_at": fact.placed_at.to_string(), "paid_at": paid_at.map(|at| at.to_string()),
        "company": fact.company.map(|number| json!({ "name": format!("ООО Фирма {number}"), "inn": INNS.get(number) })),
        "currency": "RUB", "total": roubles(fact.total()),
        "buyer": { "name": human.name, "phone": first(&fact.identifiers, phone), "email": first(&fact.identifiers, email) },
        "tickets": fact.tickets.iter().map(ticket).collect::<Vec<_>>(),
        "refunds": fact.tickets.iter().filter_map(refund).collect::<Vec<_>>(),
    } })
}

/// An amount as the box office writes it: a number.
fn number(kopecks: i64) -> Value {
    if kopecks % 100 == 0 { json!(kopecks / 100) } else { json!(kopecks as f64 / 100.0) }
}

fn of_box_office(human: &Human, fact: &OrderFact) -> Value {
    let customer = fact.identifiers.iter().find_map(|one| one.strip_prefix("customer:")?.parse::<u64>().ok());
    let basket = |ticket: &crate::world::TicketFact| {
        json!({
            "id": ticket.id, "show_id": SHOWS.get(ticket.show).map(|show| show.box_office), "price": number(ticket.price),
            "deleted_at": ticket.refunded_at.map(|at| at.to_string()),
        })
    };
    let all: Vec<Value> = fact.tickets.iter().map(basket).collect();
    let refunded: Vec<Value> = fact.tickets.iter().filter(|ticket| ticket.refunded_at.is_some()).map(basket).collect();
    json!({
        "id": fact.id, "payed": fact.paid_at.is_some(), "payed_at": fact.paid_at.map(|at| at.to_string()),
        "created_at": fact.placed_at.to_string(), "updated_at": fact.updated_at.to_string(),
        "deleted_at": fact.cancelled.then(|| fact.updated_at.to_string()),
        "client": {
            "id": customer, "email": first(&fact.identifiers, email),
            "details": { "name": human.name, "surname": null, "phone": first(&fact.identifiers, phone) },
        },
        "event_id": 41, "price": number(fact.total()), "currency_id": "RUB", "utm": [], "baskets": all,
        "refunded_baskets": refunded,
    })
}

/// A payment at Stripe for an order of the shop. `kind` and `object` are Stripe's own.
pub fn stripe(kind: &str, object: &Value, at: Timestamp, now: Timestamp) -> SignedRequest {
    let event = json!({ "id": "evt", "object": "event", "created": at.as_second(), "type": kind, "data": { "object": object } });
    let signed_request = posted("/ticketing/stripe", &event);
    let mut signed = format!("{}.", now.as_second()).into_bytes();
    signed.extend_from_slice(&signed_request.body);
    let proof = hmac_sha256_hex("simulated-stripe-secret", &signed);
    signed_request.header("stripe-signature", &format!("t={},v1={proof}", now.as_second()))
}

/// YooKassa's notification about the payment or refund with this id.
pub fn yookassa(kind: &str, id: &str) -> SignedRequest {
    let body = json!({ "type": "notification", "event": kind, "object": { "id": id, "status": "succeeded" } });
    posted("/ticketing/yookassa/simulated-yookassa-path", &body)
}

/// pretix's notification about an order.
pub fn pretix(fact: &OrderFact, notification: u64) -> SignedRequest {
    let event = fact.tickets.first().and_then(|ticket| SHOWS.get(ticket.show)).map(|show| show.pretix);
    let body = json!({
        "notification_id": notification, "organizer": "stagedoor", "event": event, "code": crate::pretix::code(fact),
        "action": "pretix.event.order.modified",
    });
    posted("/ticketing/pretix/simulated-pretix-path", &body)
}

/// Ticketscloud's notification about an order.
pub fn ticketscloud(fact: &OrderFact, number: u64) -> SignedRequest {
    let status = crate::ticketscloud::status(fact);
    let data = json!({ "id": crate::ticketscloud::id(fact), "status": status, "number": number });
    let body = json!({ "type": format!("order_{status}"), "data": data });
    posted("/ticketing/cloud/simulated-ticketscloud-path", &body)
}

/// A show that the shop cancels or moves. `at` is the time of that decision.
pub fn show(fact: &ShowFact, truth: ShowTruth, at: Timestamp, id: &str, now: Timestamp) -> SignedRequest {
    let kind = if truth.cancelled { "show.cancelled" } else { "show.rescheduled" };
    let starts_at = truth.starts_at.map(|at| at.to_string());
    let data = json!({ "id": fact.shop, "starts_at": starts_at, "changed_at": at.to_string() });
    form_signed("/ticketing/shop", &json!({ "type": kind, "data": data }), "simulated-shop-secret", id, now)
}
