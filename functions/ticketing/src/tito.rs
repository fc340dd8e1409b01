//! Tito: signed webhooks, each with a whole registration, one ticket, or one check-in. `X-Webhook-Name` names the
//! trigger.
//!
//! Source: teamtito/api-docs, Admin API 3.1, "Webhooks": triggers, payloads, and `Tito-Signature`, which is
//! base64(HMAC-SHA256(security token, raw body)).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use stagedoor_model::{
    Body, CheckIn, Event, Money, MoneyError, Order, OrderBody, OrderState, Refund, RefundReported, ShowRef, Ticket,
    Timestamp, breakage,
};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery, contact_identifiers,
    lenient,
    read::is_nothing,
    signature::{Encoding, HmacScheme},
};

use crate::payment_ids::payment_ids;

const SIGNATURE: HmacScheme = HmacScheme::sha256(Encoding::Base64).in_header("tito-signature");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Tito {
    source: Source,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    _ = source.options::<Options>()?;
    Ok(Box::new(Tito { source: source.clone() }))
}

/// Fields without which a registration would give wrong money or seats.
const ESSENTIAL: [&str; 4] = ["currency", "cancelled", "refunded", "tickets[]"];

#[derive(Deserialize)]
struct Registration {
    reference: String,
    event: EventPayload,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    phone_number: Option<String>,
    #[serde(deserialize_with = "instant")]
    created_at: Timestamp,
    #[serde(deserialize_with = "instant")]
    updated_at: Timestamp,
    #[serde(default, deserialize_with = "some_instant")]
    completed_at: Option<Timestamp>,
    #[serde(default)]
    currency: Option<String>,
    total: String,
    paid: bool,
    /// Absent from webhooks: then only the trigger tells it.
    #[serde(default)]
    cancelled: Option<bool>,
    #[serde(default)]
    refunded: bool,
    #[serde(default)]
    partially_refunded: bool,
    /// The payment provider's id of the payment. The receipt has it, too.
    #[serde(default)]
    payment_reference: Option<String>,
    #[serde(default)]
    receipt: Receipt,
    #[serde(default)]
    discount_code: Option<String>,
    /// The mark of the link that the buyer came by.
    #[serde(default)]
    source: Option<String>,
    tickets: Vec<TicketPayload>,
    #[serde(default)]
    test_mode: bool,
}

#[derive(Deserialize, Default)]
struct Receipt {
    #[serde(default)]
    payment_reference: Option<String>,
}

#[derive(Deserialize)]
struct EventPayload {
    slug: String,
    #[serde(default)]
    title: Option<String>,
}

#[derive(Deserialize)]
struct TicketPayload {
    reference: String,
    price: String,
    /// Answers to questions about advertising. Their shape is not documented.
    #[serde(default)]
    opt_ins: Value,
}

/// A ticket of its own webhook.
#[derive(Deserialize)]
struct OneTicket {
    reference: String,
    event: EventPayload,
    #[serde(deserialize_with = "instant")]
    updated_at: Timestamp,
    #[serde(default)]
    registration: RegistrationOfTicket,
    #[serde(default)]
    test_mode: bool,
}

#[derive(Deserialize, Default)]
struct RegistrationOfTicket {
    #[serde(default)]
    currency: Option<String>,
}

#[derive(Deserialize)]
struct CheckInPayload {
    reference: String,
    registration_reference: String,
    event: EventPayload,
    checked_in: bool,
    #[serde(default, deserialize_with = "some_instant")]
    checked_in_at: Option<Timestamp>,
}

/// A time as `2019-08-05T10:23:26.000Z` or `2022-03-26 07:59:13 UTC`.
fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.trim().replace(" UTC", "Z").parse().map_err(|_| D::Error::custom("no time"))
}

fn some_instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    instant(deserializer).map(Some)
}

impl Provider for Tito {
    fn accepts(&self) -> Accepts {
        Accepts::Json
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        SIGNATURE.offered(head)
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        SIGNATURE.verify(delivery, &self.source.secrets)
    }

    fn kept_headers(&self) -> &'static [&'static str] {
        &["content-type", "x-webhook-name"]
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        match delivery.header("x-webhook-name").unwrap_or("").split_once('.') {
            Some(("registration", verb)) => self.registration(delivery, verb),
            Some(("ticket", verb)) => self.ticket(delivery, verb),
            Some(("checkin", _)) => self.check_in(delivery),
            _ => Err("X-Webhook-Name is not known".into()),
        }
    }
}

impl Tito {
    fn registration(&self, delivery: &VerifiedDelivery, verb: &str) -> Result<Vec<Event>, NotUnderstood> {
        let (payload, mut lost) = lenient::<Registration>(&delivery.object()?, &ESSENTIAL)?;
        // Nobody paid and nobody comes.
        if payload.test_mode {
            return Ok(vec![]);
        }
        let id = id_of(&payload.event, &payload.reference)?;
        // Tito tells that a part went back, and not how much. The payment provider does.
        lost.extend(payload.partially_refunded.then(|| "partially_refunded".to_owned()));
        let asked = payload.tickets.iter().any(|ticket| !is_nothing(&ticket.opt_ins));
        lost.extend(asked.then(|| "tickets.opt_ins".to_owned()));
        let mut identifiers =
            contact_identifiers(&self.source, payload.phone_number.as_deref(), payload.email.as_deref());
        let payments = [&payload.payment_reference, &payload.receipt.payment_reference];
        identifiers.extend(payment_ids(&self.source, payments.map(Option::as_deref)));
        let is_cancelled = if verb == "cancelled" { Some(true) } else { payload.cancelled };
        let order = self.order(&payload, &id, is_cancelled == Some(true));
        let order = order.map_err(|error| NotUnderstood::new(format!("a price: {error}")))?;
        let cancelled = is_cancelled.and_then(|is_cancelled| cancellation(&order, is_cancelled));
        let (at, time) = (payload.updated_at, payload.updated_at.to_string());
        let cancelled = cancelled.map(|body| delivery.event_by_content(&["cancelled", &id, &time], at, body));
        let body = Body::of_order(OrderBody::new(identifiers, payload.name.clone(), order));
        let order = delivery.event_by_content(&["order", &id, &time], at, body);
        NotUnderstood::left_out(lost, std::iter::once(order).chain(cancelled).collect())
    }

    fn order(&self, payload: &Registration, id: &str, is_cancelled: bool) -> Result<Order, MoneyError> {
        let currency = payload.currency.as_deref().unwrap_or(&self.source.currency);
        let money = |text: &str| Money::from_major(text, currency);
        let total = money(&payload.total)?;
        let show = ShowRef { title: payload.event.title.clone(), ..ShowRef::id(&payload.event.slug) };
        let is_paid = payload.paid || total.minor == 0;
        let tickets = payload.tickets.iter().map(|ticket| {
            let (id, price) = (ticket.reference.clone(), money(&ticket.price)?);
            Ok(Ticket { id, show: show.clone(), price, live: true })
        });
        let tickets: Vec<Ticket> = tickets.collect::<Result<_, MoneyError>>()?;
        let returned = payload.refunded.then(|| {
            let tickets = tickets.iter().map(|ticket| ticket.id.clone()).collect();
            ("refunded".to_owned(), Refund { amount: total.clone(), at: payload.updated_at, tickets, moved: false })
        });
        let paid_at = payload.completed_at.unwrap_or(payload.updated_at);
        Ok(Order {
            revision: payload.updated_at,
            state: match (is_cancelled, is_paid) {
                (true, _) => OrderState::Cancelled,
                (false, true) => OrderState::Paid,
                (false, false) => OrderState::Placed,
            },
            id: id.to_owned(),
            number: Some(payload.reference.clone()),
            placed_at: payload.created_at,
            paid_at: is_paid.then_some(paid_at),
            paid: if is_paid { total.clone() } else { total.with_minor(0) },
            total,
            show: tickets.is_empty().then(|| Box::new(show)),
            tickets,
            refunds: returned.into_iter().collect(),
            promo_codes: payload.discount_code.iter().filter(|code| !code.trim().is_empty()).cloned().collect(),
            utm: payload.source.iter().map(|source| ("utm_source".to_owned(), source.clone())).collect(),
            items: vec![],
            company: None,
            due_at: None,
            checks: BTreeMap::new(),
            refunds_as_of: None,
            earlier_starts: BTreeMap::new(),
            gone_refunds: None,
        })
    }

    /// A voided ticket is given back. Who holds a ticket does not matter to the order of its buyer.
    fn ticket(&self, delivery: &VerifiedDelivery, verb: &str) -> Result<Vec<Event>, NotUnderstood> {
        let is_void = match verb {
            "voided" => true,
            "unvoided" => false,
            _ => return Ok(vec![]),
        };
        let (ticket, lost) = lenient::<OneTicket>(&delivery.object()?, &["currency"])?;
        if ticket.test_mode {
            return Ok(vec![]);
        }
        let (registration, _) = ticket.reference.rsplit_once('-').ok_or("a ticket without a registration")?;
        let (order, at) = (id_of(&ticket.event, registration)?, ticket.updated_at);
        let currency = ticket.registration.currency.as_deref().unwrap_or(&self.source.currency);
        let amount = Money::zero(currency).map_err(|error| NotUnderstood::new(format!("currency: {error}")))?;
        // The same refund with a later time and no ticket takes it back: the later word stands.
        let tickets = is_void.then(|| ticket.reference.clone()).into_iter().collect::<BTreeSet<_>>();
        let detail = Refund { amount, at, tickets, moved: false };
        let refund = format!("void/{}", ticket.reference);
        let parts = ["void", order.as_str(), refund.as_str(), verb, &at.to_string()];
        let body = Body::RefundReported(RefundReported { order: order.clone(), refund: refund.clone(), detail });
        NotUnderstood::left_out(lost, vec![delivery.event_by_content(&parts, at, body)])
    }

    /// A check-in names its registration and tells nothing else of it. It is a state of the order that is earlier than
    /// every other, so that only the check-in counts.
    fn check_in(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let (payload, lost) = lenient::<CheckInPayload>(&delivery.object()?, &["checked_in"])?;
        let id = id_of(&payload.event, &payload.registration_reference)?;
        // A scan that is taken back keeps its time, so the word that it is comes later than the scan.
        let scanned_at = payload.checked_in_at.filter(|_| payload.checked_in);
        let told_at = scanned_at.unwrap_or(delivery.received_at());
        let check = CheckIn { told_at, checked_at: payload.checked_in.then_some(told_at) };
        let zero = Money::zero(&self.source.currency);
        let zero = zero.map_err(|error| NotUnderstood::new(format!("currency: {error}")))?;
        let revision = if breakage::is_on("check-in-is-latest") { told_at } else { EARLIEST };
        let show = ShowRef { title: payload.event.title.clone(), ..ShowRef::id(&payload.event.slug) };
        let order = Order {
            revision,
            state: OrderState::Placed,
            id: id.clone(),
            number: Some(payload.registration_reference),
            placed_at: told_at,
            paid_at: None,
            paid: zero.clone(),
            total: zero,
            tickets: vec![],
            refunds: BTreeMap::new(),
            promo_codes: vec![],
            utm: BTreeMap::new(),
            items: vec![],
            company: None,
            show: Some(Box::new(show)),
            due_at: None,
            checks: BTreeMap::from([(payload.reference.clone(), check)]),
            refunds_as_of: None,
            earlier_starts: BTreeMap::new(),
            gone_refunds: None,
        };
        let body = Body::of_order(OrderBody::new(BTreeSet::new(), None, order));
        let is_in = payload.checked_in.to_string();
        let parts = ["check-in", id.as_str(), payload.reference.as_str(), &is_in, &told_at.to_string()];
        NotUnderstood::left_out(lost, vec![delivery.event_by_content(&parts, told_at, body)])
    }
}

/// Tells that all tickets of a registration were given back without money, or that none of them is given back any more.
/// It is a fact of its own. So a later state of the order, which says nothing of a cancellation, does not undo it.
fn cancellation(order: &Order, is_cancelled: bool) -> Option<Body> {
    let all = order.tickets.iter().map(|ticket| ticket.id.clone());
    let tickets: BTreeSet<String> = all.filter(|_| is_cancelled).collect();
    let detail = Refund { amount: order.total.with_minor(0), at: order.revision, tickets, moved: false };
    let body = RefundReported { order: order.id.clone(), refund: "cancelled".to_owned(), detail };
    (!order.tickets.is_empty()).then_some(Body::RefundReported(body))
}

/// 2000-01-02: earlier than every registration, and later than what counts as no date.
const EARLIEST: Timestamp = Timestamp::constant(946_771_200, 0);

/// The order's id. A registration's reference is short, so the event is a part of it. All three payloads have both.
fn id_of(event: &EventPayload, reference: &str) -> Result<String, NotUnderstood> {
    match (event.slug.trim(), reference.trim()) {
        ("", _) | (_, "") => Err("no reference or no event".into()),
        (event, reference) => Ok(format!("{event}-{reference}")),
    }
}
