//! A theatre's own shop: JSON orders signed by Standard Webhooks. The contract is ours: docs/providers/shop.md.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use stagedoor_model::{
    Body, CheckIn, Company, Event, Identifier, Item, Kind, LocalInstant, Messenger, Money, MoneyError, Order,
    OrderBody, OrderState, Refund, ShowChanged, ShowRef, Ticket, Timestamp, breakage,
};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery, contact_identifiers,
    lenient, read::text, signature,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Shop {
    source: Source,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    _ = source.options::<Options>()?;
    Ok(Box::new(Shop { source: source.clone() }))
}

/// Fields without which an order would give wrong money or seats.
const ESSENTIAL: [&str; 7] = ["paid", "paid_at", "refunds", "items", "cancelled", "checked_at", "tickets[]"];

/// A show with an unreadable time must not count as a show without a time.
const OF_SHOW: [&str; 1] = ["starts_at"];

#[derive(Deserialize)]
struct OrderPayload {
    id: String,
    #[serde(default)]
    number: Option<String>,
    status: OrderState,
    updated_at: Timestamp,
    placed_at: Timestamp,
    #[serde(default)]
    paid_at: Option<Timestamp>,
    currency: String,
    total: String,
    #[serde(default)]
    paid: Option<String>,
    buyer: Buyer,
    tickets: Vec<TicketPayload>,
    /// Show of the order. It is used if there are no tickets.
    #[serde(default)]
    show: Option<ShowPayload>,
    /// All refunds of the order. If absent, nothing is known about refunds.
    #[serde(default)]
    refunds: Option<Vec<RefundPayload>>,
    /// Items that are not tickets.
    #[serde(default)]
    items: Vec<ItemPayload>,
    /// The company that buys: one order with many seats, paid by invoice.
    #[serde(default)]
    company: Option<CompanyPayload>,
    #[serde(default)]
    due_at: Option<Timestamp>,
    #[serde(default)]
    promo_codes: Vec<String>,
    #[serde(default)]
    utm: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Buyer {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    customer_id: Option<String>,
    #[serde(default)]
    telegram_id: Option<String>,
}

#[derive(Deserialize)]
struct TicketPayload {
    id: String,
    show: ShowPayload,
    price: String,
    #[serde(default)]
    cancelled: bool,
    /// Time at which the holder came in. `null` annuls a check-in.
    #[serde(default, deserialize_with = "told")]
    checked_at: Option<Option<Timestamp>>,
}

/// Distinguishes a null field from an absent one.
fn told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Timestamp>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct ItemPayload {
    id: String,
    title: String,
    quantity: u32,
    price: String,
}

#[derive(Deserialize)]
struct CompanyPayload {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    inn: Option<String>,
    #[serde(default)]
    kpp: Option<String>,
}

#[derive(Clone, Deserialize)]
struct ShowPayload {
    id: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    city: Option<String>,
    #[serde(default)]
    starts_at: Option<LocalInstant>,
    #[serde(default)]
    zone: Option<String>,
    /// Time of the shop's decision, for changes of a show.
    #[serde(default)]
    changed_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct RefundPayload {
    id: String,
    amount: String,
    at: Timestamp,
    #[serde(default)]
    tickets: BTreeSet<String>,
}

impl Provider for Shop {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        signature::offered(head, "webhook-signature")
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        signature::standard_webhooks(delivery, &self.source.secrets)
    }

    fn says_what_is_strange(&self) -> bool {
        true
    }

    fn kept_headers(&self) -> &'static [&'static str] {
        &["content-type", "webhook-id"]
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let whole = delivery.object()?;
        let data = whole.get("data").unwrap_or(&Value::Null);
        let kind = text(&whole, "/type").unwrap_or_default();
        let (event, lost) = match kind.as_str() {
            "order" => {
                let (payload, lost) = lenient::<OrderPayload>(data, &ESSENTIAL)?;
                named(&payload.id)?;
                let at = payload.updated_at;
                let parts = ["order", payload.id.as_str(), &at.to_string(), &format!("{:?}", payload.status)];
                let order = order(&payload).map_err(|error| NotUnderstood::new(format!("an amount: {error}")))?;
                let body = OrderBody::new(self.identifiers(&payload.buyer), payload.buyer.name.clone(), order);
                (delivery.event_by_content(&parts, at, Body::of_order(body)), lost)
            }
            "show.rescheduled" | "show.cancelled" => {
                let is_moved = kind == "show.rescheduled" && !breakage::is_on("odd-date-postpones");
                let essential: &[&str] = if is_moved { &OF_SHOW } else { &[] };
                let (show, lost) = lenient::<ShowPayload>(data, essential)?;
                named(&show.id)?;
                let body = if kind == "show.cancelled" { Body::ShowCancelled } else { Body::ShowRescheduled };
                (self.show(delivery, show, body), lost)
            }
            _ => return Err("JSON of another shape: type".into()),
        };
        NotUnderstood::unless(lost.is_empty(), &format!("left out: {}", lost.join(", ")), vec![event])
    }
}

impl Shop {
    fn identifiers(&self, buyer: &Buyer) -> BTreeSet<Identifier> {
        let mut identifiers = contact_identifiers(&self.source, buyer.phone.as_deref(), buyer.email.as_deref());
        let customer = buyer.customer_id.as_deref();
        identifiers.extend(customer.and_then(|id| Identifier::opaque(Kind::Customer, self.source.name.as_str(), id)));
        let telegram = buyer.telegram_id.as_deref();
        identifiers.extend(telegram.and_then(|id| Identifier::chat(Messenger::Telegram, "", id)));
        identifiers
    }

    fn show(&self, delivery: &VerifiedDelivery, show: ShowPayload, body: fn(ShowChanged) -> Body) -> Event {
        let at = show.changed_at.unwrap_or(delivery.received_at());
        // A show may move back to an earlier time. Each change has its own time, or at least its own delivery.
        let change = match show.changed_at {
            Some(at) => at.to_string(),
            None => delivery.header("webhook-id").unwrap_or("").to_owned(),
        };
        let show = reference(show);
        let body = body(ShowChanged { show: show.clone() });
        let change = if breakage::is_on("event-id-coarse") { "" } else { &change };
        delivery.event_by_content(&["show", &show.id, body.kind(), change], at, body)
    }
}

/// Checks that the event names its object.
fn named(id: &str) -> Result<(), NotUnderstood> {
    let is_named = !id.trim().is_empty() || breakage::is_on("nameless-is-somebody");
    if is_named { Ok(()) } else { Err("JSON of another shape: id".into()) }
}

fn reference(show: ShowPayload) -> ShowRef {
    let ShowPayload { id, title, city, starts_at, zone, .. } = show;
    ShowRef { title, city, zone, ..ShowRef::id(id).starting(starts_at) }
}

fn order(payload: &OrderPayload) -> Result<Order, MoneyError> {
    let money = |text: &str| Money::from_major(text, &payload.currency);
    let total = money(&payload.total)?;
    let was_paid = payload.status == OrderState::Paid || payload.paid_at.is_some();
    let paid = match &payload.paid {
        Some(text) => money(text)?,
        None if was_paid => total.clone(),
        None => total.with_minor(0),
    };
    let ticket = |ticket: &TicketPayload| {
        let TicketPayload { id, show, price, cancelled, .. } = ticket;
        Ok(Ticket { id: id.clone(), show: reference(show.clone()), price: money(price)?, live: !cancelled })
    };
    let checks = payload.tickets.iter().filter_map(|ticket| {
        let check = CheckIn { told_at: payload.updated_at, checked_at: ticket.checked_at? };
        Some((ticket.id.clone(), check))
    });
    let refund = |refund: &RefundPayload| {
        let detail =
            Refund { amount: money(&refund.amount)?, at: refund.at, tickets: refund.tickets.clone(), moved: false };
        Ok((refund.id.clone(), detail))
    };
    let item = |item: &ItemPayload| {
        let ItemPayload { id, title, quantity, price } = item;
        let price = money(price)?;
        price.times(*quantity)?;
        Ok(Item { id: id.clone(), title: title.clone(), quantity: *quantity, price })
    };
    Ok(Order {
        revision: payload.updated_at,
        state: payload.status,
        id: payload.id.clone(),
        number: payload.number.clone(),
        placed_at: payload.placed_at,
        paid_at: payload.paid_at.or(was_paid.then_some(payload.updated_at)),
        paid,
        total,
        tickets: payload.tickets.iter().map(ticket).collect::<Result<_, MoneyError>>()?,
        refunds: payload.refunds.iter().flatten().map(refund).collect::<Result<_, MoneyError>>()?,
        promo_codes: payload.promo_codes.clone(),
        utm: payload.utm.clone(),
        items: payload.items.iter().map(item).collect::<Result<_, MoneyError>>()?,
        company: payload
            .company
            .as_ref()
            .and_then(|company| Company::read(company.name.as_deref(), company.inn.as_deref(), company.kpp.as_deref())),
        show: payload.show.clone().filter(|_| payload.tickets.is_empty()).map(reference).map(Box::new),
        due_at: payload.due_at,
        checks: checks.collect(),
        refunds_as_of: payload.refunds.as_ref().map(|_| payload.updated_at),
        earlier_starts: BTreeMap::new(),
        gone_refunds: None,
    })
}
