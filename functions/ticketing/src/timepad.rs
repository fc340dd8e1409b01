//! TimePad: signed webhooks, each with a whole order of an event.
//!
//! Source: dev.timepad.ru/api/hooks (a webhook at every change of a status; the list of statuses) and the fields of
//! `RegistrationOrderResponse` in the published API clients. `X-Hub-Signature` is `sha1=` and
//! hex(HMAC-SHA1(secret phrase, raw body)), as several public receivers verify it. `status_raw_name` of a ticket and
//! `hook_generated_at` are from public receivers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{civil::DateTime, fmt::strtime, tz::Offset};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use stagedoor_model::{
    Body, Channel, ConsentRecorded, Event, Identifier, Kind, Money, MoneyError, Order, OrderBody, OrderState, Refund,
    ShowRef, Ticket, Timestamp, breakage,
};
use stagedoor_webhook::{
    Accepts, Delivery, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery, contact_identifiers,
    lenient,
    read::{is_nothing, text},
    signature::{Encoding, HmacScheme},
};

const SIGNATURE: HmacScheme = HmacScheme::sha1(Encoding::Hex).in_header("x-hub-signature").after("sha1=");

/// The names of the organiser's questions. Without them the hub looks for a question about a phone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    surname: Option<String>,
}

struct Timepad {
    source: Source,
    options: Options,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    Ok(Box::new(Timepad { source: source.clone(), options: source.options()? }))
}

/// Fields without which an order would give wrong money or seats.
const ESSENTIAL: [&str; 4] = ["payment", "tickets[]", "price_nominal", "status_raw_name"];

#[derive(Deserialize)]
struct OrderPayload {
    id: String,
    created_at: Told,
    status: Status,
    event: EventPayload,
    #[serde(default)]
    mail: Option<String>,
    #[serde(default)]
    payment: PaymentPayload,
    tickets: Vec<TicketPayload>,
    /// The buyer's answers, by the question's name or as a list.
    #[serde(default)]
    answers: Value,
    #[serde(default)]
    promocodes: Vec<Value>,
    #[serde(default)]
    referrer: BTreeMap<String, Option<String>>,
    #[serde(default)]
    subscribed_to_newsletter: bool,
    #[serde(default)]
    hook_generated_at: Option<Told>,
}

#[derive(Deserialize)]
struct Status {
    name: String,
}

#[derive(Deserialize)]
struct EventPayload {
    id: String,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize, Default)]
struct PaymentPayload {
    #[serde(default)]
    amount: Option<String>,
    #[serde(default)]
    paid_at: Option<Told>,
}

#[derive(Deserialize)]
struct TicketPayload {
    id: String,
    #[serde(default)]
    price_nominal: Option<String>,
    /// The ticket's own status, where a part of the order was given back.
    #[serde(default)]
    status_raw_name: Option<String>,
}

/// A time with an offset such as `+0300`, or without: then it is of the order's own offset.
#[derive(Clone, Copy)]
struct Told(DateTime, Option<Offset>);

/// Formats of [`strtime`].
const FORMATS: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"];

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let told = String::deserialize(deserializer)?.trim().replace('Z', "+0000");
        let read = |format: &&str| strtime::parse(format, &told).ok();
        let parts = FORMATS.iter().find_map(read).ok_or_else(|| D::Error::custom("no time"))?;
        let at = parts.to_datetime().map_err(|_| D::Error::custom("no time"))?;
        Ok(Self(at, parts.offset()))
    }
}

impl Told {
    /// The instant. `otherwise` is the offset of a time without one.
    fn at(self, otherwise: Offset) -> Option<Timestamp> {
        self.1.unwrap_or(otherwise).to_timestamp(self.0).ok()
    }
}

impl Provider for Timepad {
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
        let whole = delivery.object()?;
        if whole.get("status_raw").is_some() {
            return Err("a webhook about one ticket: choose the webhook about orders in TimePad".into());
        }
        let (payload, mut lost) = lenient::<OrderPayload>(&whole, &ESSENTIAL)?;
        if payload.id.trim().is_empty() || payload.event.id.trim().is_empty() {
            return Err("JSON of another shape: id".into());
        }
        let state = state(&payload.status.name).ok_or("a status that is not known")?;
        lost.extend(self.odd(&payload).map(str::to_owned));
        let identifiers = self.identifiers(&payload);
        let order = self.order(&payload, state, delivery.received_at());
        let order = order.map_err(|error| NotUnderstood::new(format!("an amount: {error}")))?;
        let (id, placed_at, revision) = (payload.id.clone(), order.placed_at, order.revision);
        let consent = consent(&payload, &identifiers);
        // An order is told again and again. The consent is of its beginning, so that a later withdrawal stands.
        let said_at = if breakage::is_on("checkout-consent-undated") { delivery.received_at() } else { placed_at };
        let parts = ["consent", id.as_str(), &placed_at.to_string()];
        let consent = consent.map(|body| delivery.event_by_content(&parts, said_at, body));
        let body = Body::of_order(OrderBody::new(identifiers, self.name(&payload), order));
        // A refund has no time of its own, so the whole body identifies the change.
        let told = String::from_utf8_lossy(delivery.body());
        let told = if breakage::is_on("event-id-coarse") { "".into() } else { told };
        let order = delivery.event(&["order", &id, &told], revision, body);
        NotUnderstood::left_out(lost, std::iter::once(order).chain(consent).collect())
    }
}

/// The state of an order, by the name of its status.
fn state(status: &str) -> Option<OrderState> {
    match status {
        // A refund that was asked for or refused leaves the money where it is.
        "ok"
        | "paid"
        | "paid_offline"
        | "paid_ur"
        | "transfer_payment"
        | "return_payment_request"
        | "return_payment_reject" => Some(OrderState::Paid),
        status if is_returned(status) => Some(OrderState::Paid),
        "booked" | "booked_offline" | "pending" => Some(OrderState::Placed),
        "notpaid" | "inactive" | "deleted" | "blocked" | "rejected" => Some(OrderState::Cancelled),
        _ => None,
    }
}

fn is_returned(status: &str) -> bool {
    matches!(status, "returned" | "return_org" | "return_tp")
}

/// What the organiser's form may call a phone.
const PHONES: [&str; 4] = ["phone", "телефон", "mobile", "моб"];

impl Timepad {
    fn is_phone(&self, question: &str) -> bool {
        match &self.options.phone {
            Some(own) => question == own,
            None => PHONES.iter().any(|part| question.to_lowercase().contains(part)),
        }
    }

    fn is_name(&self, question: &str) -> bool {
        question == self.options.name.as_deref().unwrap_or("name")
    }

    fn is_surname(&self, question: &str) -> bool {
        question == self.options.surname.as_deref().unwrap_or("surname")
    }

    fn identifiers(&self, payload: &OrderPayload) -> BTreeSet<Identifier> {
        let phone = answer(&payload.answers, |question| self.is_phone(question));
        let mail = payload.mail.clone().filter(|mail| !mail.trim().is_empty());
        let mail = mail.or_else(|| answer(&payload.answers, is_mail));
        contact_identifiers(&self.source, phone.as_deref(), mail.as_deref())
    }

    fn name(&self, payload: &OrderPayload) -> Option<String> {
        let name = answer(&payload.answers, |question| self.is_name(question));
        let surname = answer(&payload.answers, |question| self.is_surname(question));
        let name = name.into_iter().chain(surname).collect::<Vec<_>>().join(" ");
        Some(name).filter(|name| !name.is_empty())
    }

    /// The names of loosely typed fields that hold something unreadable.
    fn odd(&self, payload: &OrderPayload) -> impl Iterator<Item = &'static str> {
        let is_asked = |question: &str| {
            is_mail(question) || self.is_phone(question) || self.is_name(question) || self.is_surname(question)
        };
        let is_odd = |value: &Value| text(value, "").is_none() && !is_nothing(value);
        let answers = match &payload.answers {
            Value::Object(all) => all.iter().any(|(question, value)| is_asked(question) && is_odd(value)),
            Value::Array(all) => all.iter().any(|one| text(one, "/name").is_none() && !is_nothing(one)),
            other => !is_nothing(other),
        };
        let codes = payload.promocodes.iter().any(|one| code(one).is_none() && !is_nothing(one));
        answers.then_some("answers").into_iter().chain(codes.then_some("promocodes"))
    }

    fn order(&self, payload: &OrderPayload, state: OrderState, received_at: Timestamp) -> Result<Order, MoneyError> {
        let money = |text: Option<&str>| Money::from_major(text.unwrap_or("0"), &self.source.currency);
        let offset = payload.created_at.1.unwrap_or(MOSCOW);
        let placed_at = payload.created_at.at(offset).unwrap_or(received_at);
        let paid_at = payload.payment.paid_at.and_then(|told| told.at(offset));
        let generated_at = payload.hook_generated_at.and_then(|told| told.at(offset));
        // An order has no time of its last change. Of two states of one instant the further one stands.
        let revision = [Some(placed_at), paid_at, generated_at].into_iter().flatten().max().unwrap_or(received_at);
        let total = money(payload.payment.amount.as_deref())?;
        let prices = payload.tickets.iter().map(|ticket| Ok(money(ticket.price_nominal.as_deref())?.minor));
        let prices = prices.collect::<Result<Vec<_>, MoneyError>>()?;
        let is_nominal = breakage::is_on("returned-ticket-at-nominal-price");
        let shares = if is_nominal { prices } else { shares(total.minor, &prices) };
        let show = ShowRef { title: payload.event.name.clone(), ..ShowRef::id(&payload.event.id) };
        let is_paid = state == OrderState::Paid || paid_at.is_some();
        let (mut tickets, mut refunds) = (vec![], BTreeMap::new());
        let is_whole = is_returned(&payload.status.name);
        let returned_at = generated_at.unwrap_or(received_at);
        for (ticket, share) in payload.tickets.iter().zip(shares) {
            let price = total.with_minor(share);
            if is_whole || ticket.status_raw_name.as_deref().is_some_and(is_returned) {
                let (amount, tickets) = (price.clone(), BTreeSet::from([ticket.id.clone()]));
                refunds.insert(ticket.id.clone(), Refund { amount, at: returned_at, tickets, moved: false });
            }
            tickets.push(Ticket { id: ticket.id.clone(), show: show.clone(), price, live: true });
        }
        if is_whole && tickets.is_empty() {
            let amount = total.clone();
            refunds
                .insert("order".to_owned(), Refund { amount, at: returned_at, tickets: BTreeSet::new(), moved: false });
        }
        Ok(Order {
            revision,
            state,
            id: payload.id.clone(),
            number: None,
            placed_at,
            paid_at: is_paid.then_some(paid_at.unwrap_or(placed_at)),
            paid: if is_paid { total.clone() } else { total.with_minor(0) },
            total,
            show: tickets.is_empty().then(|| Box::new(show)),
            tickets,
            refunds,
            promo_codes: payload.promocodes.iter().filter_map(code).collect(),
            utm: payload.referrer.iter().filter_map(mark).collect(),
            items: vec![],
            company: None,
            due_at: None,
            checks: BTreeMap::new(),
            refunds_as_of: None,
            earlier_starts: BTreeMap::new(),
            gone_refunds: None,
        })
    }
}

/// The offset of a time without one, if the order has none either.
const MOSCOW: Offset = Offset::constant(3);

/// What of the sum each ticket cost. Nominal prices do not know discounts.
fn shares(total: i64, prices: &[i64]) -> Vec<i64> {
    let sum: i128 = prices.iter().map(|price| i128::from(*price)).sum();
    let weight = |price: i64| if sum > 0 { i128::from(price) } else { 1 };
    let all: i128 = prices.iter().map(|price| weight(*price)).sum();
    let mut before = 0_i128;
    let mut share = |price: &i64| {
        let from = i128::from(total) * before / all.max(1);
        before += weight(*price);
        i64::try_from(i128::from(total) * before / all.max(1) - from).unwrap_or(0)
    };
    prices.iter().map(&mut share).collect()
}

/// The buyer's answer to a question. Answers are an object by name, or a list of questions.
fn answer(answers: &Value, is_it: impl Fn(&str) -> bool) -> Option<String> {
    match answers {
        Value::Object(all) => all.iter().find(|(name, _)| is_it(name)).and_then(|(_, value)| text(value, "")),
        Value::Array(all) => {
            let mut named = all.iter().filter(|one| text(one, "/name").is_some_and(|name| is_it(&name)));
            named.find_map(|one| text(one, "/value"))
        }
        _ => None,
    }
}

/// The buyer's consent to the organiser's letters. A box that was left empty is no withdrawal.
fn consent(payload: &OrderPayload, identifiers: &BTreeSet<Identifier>) -> Option<Body> {
    let emails: BTreeSet<_> = identifiers.iter().filter(|one| one.kind() == Kind::Email).cloned().collect();
    let is_given = payload.subscribed_to_newsletter && !emails.is_empty();
    is_given.then(|| Body::ConsentRecorded(ConsentRecorded::given(emails, Channel::Email, "checkout")))
}

fn is_mail(question: &str) -> bool {
    question == "mail" || question == "email"
}

/// A promo code, as a text or an object.
fn code(value: &Value) -> Option<String> {
    text(value, "").or_else(|| text(value, "/code")).or_else(|| text(value, "/name"))
}

/// A campaign mark: `source`, `medium` and `campaign` of the referrer.
fn mark((key, value): (&String, &Option<String>)) -> Option<(String, String)> {
    let value = value.as_deref().map(str::trim).filter(|value| !value.is_empty())?;
    let key = if key.starts_with("utm_") { key.clone() } else { format!("utm_{key}") };
    Some((key, value.to_owned()))
}
