//! Qtickets: signed webhooks, each with the whole order.
//!
//! Source: qtickets.help/article/webhooks. `X-Signature = hex(HMAC-SHA1(secret, raw body))`, `X-Event-Type:
//! created|updated|payed|deleted|refunded|checked`. Only an answer of exactly 200 is a success. There are ten attempts,
//! the n-th after n³ s.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, CheckIn, Event, Identifier, Kind, Messenger, Money, Order, OrderBody, OrderState, Refund, ShowRef, Ticket,
    Timestamp,
};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery, contact_identifiers,
    lenient,
    read::{id, list, text},
    signature::{Encoding, HmacScheme},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Qtickets {
    source: Source,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    _ = source.options::<Options>()?;
    Ok(Box::new(Qtickets { source: source.clone() }))
}

#[derive(Deserialize)]
struct OrderPayload {
    id: u64,
    payed: bool,
    payed_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
    #[serde(default)]
    client: Client,
    event_id: u64,
    price: String,
    currency_id: String,
    #[serde(default)]
    utm: Value,
    #[serde(default)]
    baskets: Vec<Basket>,
    #[serde(default)]
    refunded_baskets: Vec<Basket>,
    /// The ticket that was scanned at the door, and the ticket whose scan was annulled.
    #[serde(default)]
    checked_basket: Value,
    #[serde(default)]
    unchecked_basket: Value,
}

#[derive(Deserialize, Default)]
struct Client {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    details: Details,
}

#[derive(Deserialize, Default)]
struct Details {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    surname: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    telegram_user: Option<TelegramUser>,
}

#[derive(Deserialize)]
struct TelegramUser {
    id: u64,
}

#[derive(Deserialize)]
struct Basket {
    id: u64,
    #[serde(default)]
    show_id: Option<u64>,
    price: String,
    #[serde(default)]
    deleted_at: Option<Timestamp>,
}

/// Fields without which an order would give wrong money or seats.
const ESSENTIAL: [&str; 4] = ["payed", "deleted_at", "baskets", "refunded_baskets"];

const SIGNATURE: HmacScheme = HmacScheme::sha1(Encoding::Hex).in_header("x-signature");

const KINDS: [&str; 6] = ["created", "updated", "payed", "deleted", "refunded", "checked"];

impl Provider for Qtickets {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        SIGNATURE.offered(head)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        SIGNATURE.verify(delivery, &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let kind = delivery.header("x-event-type").unwrap_or("");
        if !KINDS.contains(&kind) {
            return Err("X-Event-Type is not known".into());
        }
        let (payload, mut lost) = lenient::<OrderPayload>(&delivery.object()?, &ESSENTIAL)?;
        let scans = [("checked_basket", &payload.checked_basket), ("unchecked_basket", &payload.unchecked_basket)];
        lost.extend(scans.into_iter().filter(|(_, scan)| is_unread(scan)).map(|(name, _)| name.to_owned()));
        let (id, at) = (payload.id.to_string(), payload.updated_at);
        let parts = ["order", id.as_str(), kind, &at.to_string()];
        let body = OrderBody::new(self.identifiers(&payload.client), name(&payload.client), order(&payload)?);
        NotUnderstood::left_out(lost, vec![delivery.event_by_content(&parts, at, Body::of_order(body))])
    }

    fn kept_headers(&self) -> &'static [&'static str] {
        &["content-type", "x-event-type"]
    }
}

impl Qtickets {
    fn identifiers(&self, client: &Client) -> BTreeSet<Identifier> {
        let details = &client.details;
        let mut identifiers = contact_identifiers(&self.source, details.phone.as_deref(), client.email.as_deref());
        let own = client.id.map(|id| id.to_string());
        identifiers.extend(own.and_then(|id| Identifier::opaque(Kind::Customer, self.source.name.as_str(), &id)));
        let telegram = details.telegram_user.as_ref().map(|user| user.id.to_string());
        identifiers.extend(telegram.and_then(|id| Identifier::chat(Messenger::Telegram, "", &id)));
        identifiers
    }
}

fn name(client: &Client) -> Option<String> {
    let parts = [client.details.name.as_deref(), client.details.surname.as_deref()];
    let name = parts.into_iter().flatten().map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    Some(name).filter(|name| !name.is_empty())
}

fn order(payload: &OrderPayload) -> Result<Order, NotUnderstood> {
    let money = |amount: &str| {
        Money::from_major(amount, &payload.currency_id).map_err(|error| NotUnderstood::new(format!("price: {error}")))
    };
    let total = money(&payload.price)?;
    // A returned ticket that is no longer among the baskets still names the show of the order.
    let gone = payload.refunded_baskets.iter().filter(|one| payload.baskets.iter().all(|other| other.id != one.id));
    let tickets = payload.baskets.iter().chain(gone).map(|basket| {
        let show = basket.show_id.unwrap_or(payload.event_id);
        Ok(Ticket {
            id: basket.id.to_string(),
            show: ShowRef::id(show.to_string()),
            price: money(&basket.price)?,
            live: basket.deleted_at.is_none(),
        })
    });
    // Each ticket has its own refund. So the sum is right, whether the list covers this webhook or all refunds so far.
    let refunds = payload.refunded_baskets.iter().map(|basket| {
        let tickets = BTreeSet::from([basket.id.to_string()]);
        Ok((
            basket.id.to_string(),
            Refund { amount: money(&basket.price)?, at: payload.updated_at, tickets, moved: false },
        ))
    });
    let has_no_lines = payload.baskets.is_empty() && payload.refunded_baskets.is_empty();
    let state = match (payload.deleted_at, payload.payed) {
        (Some(_), _) => OrderState::Cancelled,
        (None, true) => OrderState::Paid,
        (None, false) => OrderState::Placed,
    };
    Ok(Order {
        revision: payload.updated_at,
        state,
        id: payload.id.to_string(),
        number: None,
        placed_at: payload.created_at,
        paid_at: payload.payed.then_some(payload.payed_at.unwrap_or(payload.updated_at)),
        paid: if payload.payed { total.clone() } else { total.with_minor(0) },
        tickets: tickets.collect::<Result<_, NotUnderstood>>()?,
        refunds: refunds.collect::<Result<_, NotUnderstood>>()?,
        promo_codes: vec![],
        utm: utm(&payload.utm),
        total,
        items: vec![],
        company: None,
        show: has_no_lines.then(|| Box::new(ShowRef::id(payload.event_id.to_string()))),
        due_at: None,
        checks: checks(payload),
        refunds_as_of: None,
        earlier_starts: BTreeMap::new(),
        gone_refunds: None,
    })
}

/// True for a scan that does not name its ticket.
fn is_unread(scan: &Value) -> bool {
    let says_nothing = scan.as_array().is_some_and(Vec::is_empty) || scan.as_object().is_some_and(|it| it.is_empty());
    let is_there = !scan.is_null() && !says_nothing;
    is_there && (list(scan, "").next().is_none() || list(scan, "").any(|basket| id(basket, "/id").is_none()))
}

/// The check-ins of one webhook, which reports one scan. Only a scan with a time has a time of its own.
fn checks(payload: &OrderPayload) -> BTreeMap<String, CheckIn> {
    let scans = [(&payload.unchecked_basket, false), (&payload.checked_basket, true)];
    let baskets = scans.into_iter().flat_map(|(value, is_in)| list(value, "").map(move |basket| (basket, is_in)));
    let check = |(basket, is_in): (&Value, bool)| {
        let id = id(basket, "/id")?;
        let time = |name: &str| text(basket, name)?.parse::<Timestamp>().ok();
        let told_at = payload.updated_at.max(time("/updated_at").unwrap_or(payload.updated_at));
        let checked_at = is_in.then(|| time("/checked_at").unwrap_or(told_at));
        Some((id, CheckIn { told_at: told_at.max(checked_at.unwrap_or(told_at)), checked_at }))
    };
    baskets.filter_map(check).collect()
}

/// Campaign marks. PHP sends an empty array for an empty map.
fn utm(value: &Value) -> BTreeMap<String, String> {
    let fields = value.as_object().into_iter().flatten();
    let marked = |key: &str| if key.starts_with("utm_") { key.to_owned() } else { format!("utm_{key}") };
    fields.filter_map(|(key, value)| Some((marked(key), text(value, "")?))).collect()
}
