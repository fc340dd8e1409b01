//! pretix's REST API: the order that a webhook names, the order's event, and recently changed orders.
//!
//! Source: docs.pretix.eu/dev/api/resources/orders.html and events.html; answers recorded from pretix 2026.8.0.
//! The order has neither currency nor zone: both are the event's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use stagedoor_model::{
    Body, CheckIn, Identifier, Kind, LocalInstant, Money, MoneyError, Order, OrderBody, OrderNoticed, OrderState,
    Refund, ShowChanged, ShowRef, Ticket, Timestamp, breakage,
};
use stagedoor_ports::{Found, HttpClient, OrderApi, PortError, PullPage, Result};
use stagedoor_webhook::{Source, contact_identifiers};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    http::Shop,
    rows::{self, Odd},
};

/// How long the name, currency and time of an event stay valid.
const FRESH: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    base_url: String,
    organizer: String,
    token: String,
}

struct Pretix {
    source: Source,
    organizer: String,
    shop: Shop,
    events: Mutex<EventCache>,
}

pub fn build(source: &Source, http: &Arc<dyn HttpClient>) -> std::result::Result<Arc<dyn OrderApi>, String> {
    let options: Options = source.options()?;
    let shop = Shop::new(&options.base_url, format!("Token {}", options.token), http)?;
    Ok(Arc::new(Pretix { source: source.clone(), organizer: options.organizer, shop, events: Mutex::default() }))
}

/// Events by their slug and the date within them, with the time of reading.
type EventCache = BTreeMap<(String, Option<u64>), (Instant, EventDetails)>;

/// The details of an event that an order needs.
#[derive(Clone)]
struct EventDetails {
    currency: String,
    show: ShowRef,
    /// True for a whole series, whose dates are the performances.
    is_series: bool,
}

#[derive(Deserialize)]
struct EventAnswer {
    name: BTreeMap<String, String>,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    timezone: Option<String>,
    date_from: Option<LocalInstant>,
    #[serde(default)]
    has_subevents: bool,
}

#[derive(Deserialize)]
struct Page {
    next: Option<String>,
    results: Vec<Value>,
}

/// Fields without which an order would give wrong money, seats or guests.
const ESSENTIAL: [&str; 6] = ["canceled", "checkins", "payments", "positions[]", "refunds", "subevent"];

/// Fields without which an event would seem postponed or have another currency.
const OF_EVENT: [&str; 2] = ["currency", "date_from"];

#[derive(Deserialize)]
struct OrderAnswer {
    code: String,
    event: String,
    status: String,
    testmode: bool,
    email: Option<String>,
    phone: Option<String>,
    #[serde(default)]
    customer: Option<String>,
    datetime: Timestamp,
    last_modified: Timestamp,
    total: String,
    #[serde(default)]
    invoice_address: Option<InvoiceAddress>,
    positions: Vec<Position>,
    payments: Vec<Payment>,
    refunds: Vec<RefundAnswer>,
}

#[derive(Deserialize)]
struct InvoiceAddress {
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct Position {
    positionid: u64,
    price: String,
    #[serde(default)]
    attendee_name: Option<String>,
    #[serde(default)]
    subevent: Option<u64>,
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    checkins: Vec<Scan>,
}

/// A successful scan. An annulled one is not listed.
#[derive(Deserialize)]
struct Scan {
    datetime: Timestamp,
    /// `entry` or `exit`.
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Payment {
    state: String,
    amount: String,
    #[serde(default)]
    payment_date: Option<Timestamp>,
}

#[derive(Deserialize)]
struct RefundAnswer {
    local_id: u64,
    state: String,
    amount: String,
    created: Timestamp,
    #[serde(default)]
    execution_date: Option<Timestamp>,
    #[serde(default)]
    provider: Option<String>,
}

impl RefundAnswer {
    /// pretix counts a refund from its creation on. If it fails, its state changes, and the order gets the money back.
    fn counts(&self) -> bool {
        matches!(self.state.as_str(), "created" | "transit" | "done")
    }
}

#[async_trait]
impl OrderApi for Pretix {
    async fn order(&self, noticed: &OrderNoticed) -> Result<Found> {
        let Some(event) = &noticed.scope else { return Ok(Found::Nothing("the webhook named no event")) };
        let path = ["api", "v1", "organizers", &self.organizer, "events", event, "orders", &noticed.order, ""];
        let query = [("include_canceled_positions", "true")];
        match self.shop.get::<Value>(&path, &query).await? {
            Some(row) => self.found(&row).await,
            None => Ok(Found::Nothing("pretix does not know the order")),
        }
    }

    async fn show(&self, noticed: &ShowRef) -> Result<Option<Body>> {
        let (event, subevent) = parts(&noticed.id);
        self.events.lock().await.retain(|(known, _), _| known != event);
        match self.hall(event, subevent).await? {
            // The start of a series is no performance. Each of its dates has a webhook of its own.
            Ok(hall) => {
                let hall = hall.filter(|hall| !hall.is_series);
                Ok(hall.map(|hall| Body::ShowRescheduled(ShowChanged { show: hall.show })))
            }
            Err(odd) => {
                let notice = match subevent {
                    Some(number) => {
                        json!({ "action": "pretix.subevent.changed", "event": event, "subevent": number })
                    }
                    None => json!({ "action": "pretix.event.changed", "event": event }),
                };
                rows::kept(&self.source.name, "an event", odd, &notice).map(|(body, _)| Some(body))
            }
        }
    }

    async fn pull(&self, since: Timestamp, page: Option<String>) -> Result<PullPage> {
        let (from, number) = page.as_deref().map_or((since, 1), |page| place(page, since));
        let path = ["api", "v1", "organizers", &self.organizer, "orders", ""];
        let (changed, page) = (from.to_string(), number.to_string());
        let query = [
            ("modified_since", changed.as_str()),
            ("include_canceled_positions", "true"),
            ("ordering", "last_modified"),
            ("page", page.as_str()),
        ];
        let Some(answer) = self.shop.get::<Page>(&path, &query).await? else {
            return Err(PortError::Fail("pretix does not know the organizer".into()));
        };
        // An order that changes in the meantime moves to the end, and later orders move up. Page numbers alone would
        // miss one. So the list continues from the last change that was seen.
        let changed = |row: &Value| rows::id(row, "last_modified").parse::<Timestamp>().ok();
        let last = answer.results.iter().rev().find_map(changed);
        let next = answer.next.as_ref().map(|_| match last {
            Some(last) if last > from && !breakage::is_on("pages-of-pretix-shift") => format!("{last} 1"),
            _ => format!("{from} {}", number + 1),
        });
        let mut bodies = Vec::new();
        for row in answer.results {
            let last_modified = changed(&row).map(|at| at.to_string()).unwrap_or_default();
            let fact = format!("{} {last_modified}", rows::id(&row, "code"));
            if let Found::Order(body, at) = self.found(&row).await? {
                bodies.push((fact, at, *body));
            }
        }
        Ok(PullPage { bodies, next })
    }

    fn overlap(&self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_mins(10)
    }
}

impl Pretix {
    async fn found(&self, row: &Value) -> Result<Found> {
        let (body, at) = match self.order_of(row).await? {
            Ok(Ok(found)) => found,
            Ok(Err(reason)) => return Ok(Found::Nothing(reason)),
            Err(odd) => {
                let (event, code) = (rows::id(row, "event"), rows::id(row, "code"));
                let notice = json!({ "action": "pretix.event.order.modified", "event": event, "code": code });
                rows::kept(&self.source.name, "an order", odd, &notice)?
            }
        };
        Ok(Found::Order(Box::new(body), at))
    }

    async fn order_of(&self, row: &Value) -> Result<std::result::Result<Understood, Odd>> {
        let answer: OrderAnswer = match rows::read(&self.source.name, row, &ESSENTIAL) {
            Ok(answer) => answer,
            Err(odd) => return Ok(Err(odd)),
        };
        if answer.testmode {
            return Ok(Ok(Err("a test order")));
        }
        let mut halls = BTreeMap::new();
        let subevents: BTreeSet<Option<u64>> = answer.positions.iter().map(|position| position.subevent).collect();
        for subevent in subevents.into_iter().chain([None]) {
            match self.hall(&answer.event, subevent).await? {
                Ok(Some(hall)) => _ = halls.insert(subevent, hall),
                Ok(None) => return Ok(Ok(Err("pretix does not know the order's event"))),
                Err(odd) => return Ok(Err(Odd(format!("its event: {}", odd.0)))),
            }
        }
        let order = match order(&answer, &halls) {
            Ok(order) => order,
            Err(error) => return Ok(Err(Odd(format!("an amount: {error}")))),
        };
        let body = OrderBody::new(self.identifiers(&answer), name(&answer), order);
        Ok(Ok(Ok((Body::of_order(body), answer.last_modified))))
    }

    fn identifiers(&self, answer: &OrderAnswer) -> BTreeSet<Identifier> {
        let mut identifiers = contact_identifiers(&self.source, answer.phone.as_deref(), answer.email.as_deref());
        let customer = answer.customer.as_deref();
        identifiers.extend(customer.and_then(|id| Identifier::opaque(Kind::Customer, self.source.name.as_str(), id)));
        identifiers
    }

    async fn hall(&self, event: &str, subevent: Option<u64>) -> Result<std::result::Result<Option<EventDetails>, Odd>> {
        let key = (event.to_owned(), subevent);
        let mut known = self.events.lock().await;
        if let Some((at, hall)) = known.get(&key)
            && at.elapsed() < FRESH
        {
            return Ok(Ok(Some(hall.clone())));
        }
        let path = ["api", "v1", "organizers", &self.organizer, "events", event, ""];
        let whole = match self.event(&path).await? {
            Ok(Some(whole)) => whole,
            Ok(None) => return Ok(Ok(None)),
            Err(odd) => return Ok(Err(odd)),
        };
        let currency = whole.currency.clone().unwrap_or_else(|| self.source.currency.clone());
        let zone = whole.timezone.clone();
        let is_series = subevent.is_none() && whole.has_subevents;
        let (id, answer) = match subevent {
            None => (event.to_owned(), whole),
            Some(number) => {
                let text = number.to_string();
                let path = ["api", "v1", "organizers", &self.organizer, "events", event, "subevents", &text, ""];
                match self.event(&path).await? {
                    Ok(Some(one)) => (format!("{event}/{number}"), one),
                    Ok(None) => return Ok(Ok(None)),
                    Err(odd) => return Ok(Err(odd)),
                }
            }
        };
        let title = answer.name.get("ru").or_else(|| answer.name.values().next()).cloned();
        let show = ShowRef { title, zone, ..ShowRef::id(id).starting(answer.date_from) };
        let hall = EventDetails { currency, show, is_series };
        known.insert(key, (Instant::now(), hall.clone()));
        Ok(Ok(Some(hall)))
    }

    async fn event(&self, path: &[&str]) -> Result<std::result::Result<Option<EventAnswer>, Odd>> {
        let row = self.shop.get::<Value>(path, &[]).await?;
        Ok(row.map(|row| rows::read(&self.source.name, &row, &OF_EVENT)).transpose())
    }
}

/// An order, or the reason why there is none to report.
type Understood = std::result::Result<(Body, Timestamp), &'static str>;

/// Where a list continues: the time of change and the page.
fn place(page: &str, since: Timestamp) -> (Timestamp, u32) {
    let (from, number) = page.split_once(' ').unwrap_or(("", page));
    (from.parse().unwrap_or(since), number.parse().unwrap_or(1))
}

fn parts(show: &str) -> (&str, Option<u64>) {
    match show.split_once('/') {
        Some((event, subevent)) => (event, subevent.parse().ok()),
        None => (show, None),
    }
}

fn name(answer: &OrderAnswer) -> Option<String> {
    let billed = answer.invoice_address.as_ref().and_then(|address| address.name.clone());
    let attendee = || answer.positions.iter().find_map(|position| position.attendee_name.clone());
    billed.filter(|name| !name.trim().is_empty()).or_else(attendee)
}

/// The check-in of a position. Scans and annulments are changes of the order, so `last_modified` is the time of this
/// knowledge.
fn check(position: &Position, told_at: Timestamp) -> (String, CheckIn) {
    let entries = position.checkins.iter().filter(|scan| scan.kind.as_deref() != Some("exit"));
    let checked_at = entries.map(|scan| scan.datetime).min();
    (position.positionid.to_string(), CheckIn { told_at, checked_at })
}

fn order(answer: &OrderAnswer, halls: &BTreeMap<Option<u64>, EventDetails>) -> std::result::Result<Order, MoneyError> {
    let currency = halls.values().next().map_or("", |hall| hall.currency.as_str());
    let money = |text: &str| Money::from_major(text, currency);
    let state = match answer.status.as_str() {
        "p" => OrderState::Paid,
        "e" | "c" => OrderState::Cancelled,
        _ => OrderState::Placed,
    };
    // A returned payment is `refunded`, but was paid before.
    let payments: Vec<&Payment> =
        answer.payments.iter().filter(|payment| matches!(payment.state.as_str(), "confirmed" | "refunded")).collect();
    let mut paid = Money::zero(currency)?;
    for payment in &payments {
        paid = paid.with_minor(paid.minor.saturating_add(money(&payment.amount)?.minor));
    }
    let paid_at = payments.iter().filter_map(|payment| payment.payment_date).max();
    let tickets = answer.positions.iter().map(|position| {
        let hall = halls.get(&position.subevent).or_else(|| halls.get(&None));
        Ok(Ticket {
            id: position.positionid.to_string(),
            show: hall.map_or_else(|| ShowRef::id(&answer.event), |hall| hall.show.clone()),
            price: money(&position.price)?,
            live: !position.canceled,
        })
    });
    let whole = || Box::new(halls.get(&None).map_or_else(|| ShowRef::id(&answer.event), |hall| hall.show.clone()));
    let refunds = answer.refunds.iter().filter(|refund| refund.counts()).map(|refund| {
        let at = refund.execution_date.unwrap_or(refund.created);
        // An order that is split offsets the sum against its new part.
        let moved = refund.provider.as_deref() == Some("offsetting");
        Ok((
            refund.local_id.to_string(),
            Refund { amount: money(&refund.amount)?, at, tickets: BTreeSet::new(), moved },
        ))
    });
    Ok(Order {
        revision: answer.last_modified,
        state,
        id: answer.code.clone(),
        number: None,
        placed_at: answer.datetime,
        paid_at: paid_at.or((state == OrderState::Paid).then_some(answer.last_modified)),
        paid,
        total: money(&answer.total)?,
        tickets: tickets.collect::<std::result::Result<_, MoneyError>>()?,
        refunds: refunds.collect::<std::result::Result<_, MoneyError>>()?,
        promo_codes: vec![],
        utm: BTreeMap::new(),
        items: vec![],
        company: None,
        show: answer.positions.is_empty().then(whole),
        due_at: None,
        checks: answer.positions.iter().map(|position| check(position, answer.last_modified)).collect(),
        refunds_as_of: Some(answer.last_modified),
        earlier_starts: BTreeMap::new(),
        gone_refunds: None,
    })
}
