//! Ticketscloud's REST API: the order that a webhook names, and recent orders and refunds.
//!
//! Source: github.com/ticketscloud/doc, extra/orders_list.rst and extra/refunds_list.rst. There is no documented call
//! for one order. The client finds it in the list by its time of creation, which is part of its id. The id is a MongoDB
//! ObjectId whose first four bytes are that second in UTC. The documented example `5d39c310…` is `2019-07-25 14:56:16`,
//! like its `created_at`. This also shows that their times without a zone are UTC.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use jiff::{SignedDuration, civil::DateTime, tz::TimeZone};
use serde::Deserialize;
use serde_json::{Value, json};
use stagedoor_model::{
    Body, Money, MoneyError, Order, OrderBody, OrderNoticed, OrderState, Refund, RefundReported, ShowRef, Ticket,
    Timestamp,
};
use stagedoor_ports::{Found, HttpClient, OrderApi, PortError, PullPage, Result};
use stagedoor_webhook::{Source, contact_identifiers};

use crate::{
    http::Shop,
    rows::{self, Odd},
};

const PAGE: &str = "200";
/// Search window around the id's second, in both directions.
const AROUND: SignedDuration = SignedDuration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    base_url: String,
    key: String,
}

struct Ticketscloud {
    source: Source,
    shop: Shop,
}

pub fn build(source: &Source, http: &Arc<dyn HttpClient>) -> std::result::Result<Arc<dyn OrderApi>, String> {
    let options: Options = source.options()?;
    let shop = Shop::new(&options.base_url, format!("key {}", options.key), http)?;
    Ok(Arc::new(Ticketscloud { source: source.clone(), shop }))
}

/// Fields without which an order would give wrong money or seats.
const ESSENTIAL: [&str; 2] = ["done_at", "tickets"];

#[derive(Deserialize)]
struct List {
    data: Vec<Value>,
    pagination: Pagination,
    #[serde(default)]
    refs: Refs,
}

#[derive(Deserialize)]
struct Pagination {
    page: u64,
    page_size: u64,
    total: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refs {
    events: BTreeMap<String, Value>,
    venues: BTreeMap<String, Value>,
    promocodes: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct OrderAnswer {
    id: String,
    #[serde(default)]
    number: Option<u64>,
    event: String,
    status: String,
    created_at: String,
    #[serde(default)]
    done_at: Option<String>,
    #[serde(default)]
    settings: Settings,
    tickets: Vec<TicketAnswer>,
    values: Values,
    #[serde(default)]
    promocodes: Vec<String>,
}

#[derive(Deserialize, Default)]
struct Settings {
    #[serde(default)]
    customer: Customer,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Customer {
    name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
}

#[derive(Deserialize)]
struct TicketAnswer {
    id: String,
    full: String,
}

#[derive(Deserialize)]
struct Values {
    full: String,
}

#[derive(Deserialize)]
struct RefundAnswer {
    id: String,
    order: String,
    #[serde(default)]
    tickets: BTreeSet<String>,
    refund_nominal: String,
    finished_at: String,
}

#[async_trait]
impl OrderApi for Ticketscloud {
    async fn order(&self, noticed: &OrderNoticed) -> Result<Found> {
        let second = noticed.order.get(..8).and_then(|head| i64::from_str_radix(head, 16).ok());
        let Some(created) = second.and_then(|second| Timestamp::from_second(second).ok()) else {
            return Ok(Found::Nothing("the order's id is no ObjectId"));
        };
        let mut page = 1;
        loop {
            let list = self.orders(created - AROUND, created + AROUND, page).await?;
            if let Some(row) = list.data.iter().find(|row| rows::id(row, "id") == noticed.order) {
                let (body, at) = self.body(row, &list.refs)?;
                return Ok(Found::Order(Box::new(body), at));
            }
            if !list.pagination.has_more() {
                return Ok(Found::Nothing("Ticketscloud does not list the order"));
            }
            page += 1;
        }
    }

    // Ticketscloud does not report that a show changed. The list of orders holds each show as it is now.
    async fn show(&self, _: &ShowRef) -> Result<Option<Body>> {
        Ok(None)
    }

    async fn pull(&self, since: Timestamp, page: Option<String>) -> Result<PullPage> {
        let page = page.unwrap_or_else(|| "orders 1".to_owned());
        let (what, number) = page.split_once(' ').unwrap_or(("orders", "1"));
        let number: u64 = number.parse().unwrap_or(1);
        let far = since + SignedDuration::from_hours(24 * 366);
        match what {
            "refunds" => {
                let list = self.refunds(since, far, number).await?;
                let bodies = list.data.iter().map(|row| self.reported(row)).collect::<Result<_>>()?;
                let next = list.pagination.has_more().then(|| format!("refunds {}", number + 1));
                Ok(PullPage { bodies, next })
            }
            _ => {
                let list = self.orders(since, far, number).await?;
                let body = |row: &Value| {
                    let (body, at) = self.body(row, &list.refs)?;
                    Ok((format!("{} {} {at}", rows::id(row, "id"), rows::id(row, "status")), at, body))
                };
                let bodies = list.data.iter().map(body).collect::<Result<_>>()?;
                let more = list.pagination.has_more();
                let next = if more { format!("orders {}", number + 1) } else { "refunds 1".to_owned() };
                Ok(PullPage { bodies, next: Some(next) })
            }
        }
    }

    fn tells_changes(&self) -> bool {
        false
    }

    // Orders are listed only by their creation. A day covers later payments, cancellations and expiries.
    fn overlap(&self) -> SignedDuration {
        SignedDuration::from_hours(24)
    }
}

impl Pagination {
    fn has_more(&self) -> bool {
        self.page.saturating_mul(self.page_size) < self.total
    }
}

impl Ticketscloud {
    async fn orders(&self, from: Timestamp, to: Timestamp, page: u64) -> Result<List> {
        let (window, page) = (window(from, to), page.to_string());
        let query = [("created_at", window.as_str()), ("page", page.as_str()), ("page_size", PAGE)];
        self.list("orders", &query).await
    }

    async fn refunds(&self, from: Timestamp, to: Timestamp, page: u64) -> Result<List> {
        let (window, page) = (window(from, to), page.to_string());
        let query =
            [("finished_at", window.as_str()), ("status", "approved"), ("page", page.as_str()), ("page_size", PAGE)];
        self.list("refund_requests", &query).await
    }

    async fn list(&self, what: &str, query: &[(&str, &str)]) -> Result<List> {
        let answer = self.shop.get(&["v2", "resources", what], query).await?;
        answer.ok_or_else(|| PortError::Fail("Ticketscloud has no such list; look at options.base_url".into()))
    }

    fn money(&self, text: &str) -> std::result::Result<Money, MoneyError> {
        Money::from_major(text, &self.source.currency)
    }

    fn reported(&self, row: &Value) -> Result<(String, Timestamp, Body)> {
        let id = rows::id(row, "id");
        let (body, at) = self.refund(row).or_else(|odd| {
            rows::kept(&self.source.name, "a refund", odd, &json!({ "type": "refund", "data": { "id": id } }))
        })?;
        Ok((format!("refund {id}"), at, body))
    }

    fn refund(&self, row: &Value) -> std::result::Result<(Body, Timestamp), Odd> {
        let answer: RefundAnswer = rows::read(&self.source.name, row, &["tickets"])?;
        let at = utc(&answer.finished_at)?;
        let amount = self.money(&answer.refund_nominal).map_err(|error| wrong(&error))?;
        let detail = Refund { amount, at, tickets: answer.tickets, moved: false };
        Ok((Body::RefundReported(RefundReported { order: answer.order, refund: answer.id, detail }), at))
    }

    fn body(&self, row: &Value, refs: &Refs) -> Result<(Body, Timestamp)> {
        self.order_of(row, refs).or_else(|odd| {
            let notice = json!({ "type": "order_in_progress", "data": { "id": rows::id(row, "id") } });
            rows::kept(&self.source.name, "an order", odd, &notice)
        })
    }

    fn order_of(&self, row: &Value, refs: &Refs) -> std::result::Result<(Body, Timestamp), Odd> {
        let answer: OrderAnswer = rows::read(&self.source.name, row, &ESSENTIAL)?;
        let customer = &answer.settings.customer;
        let identifiers = contact_identifiers(&self.source, customer.phone.as_deref(), customer.email.as_deref());
        let order = self.read(&answer, refs)?;
        let at = order.revision;
        Ok((Body::of_order(OrderBody::new(identifiers, customer.name.clone(), order)), at))
    }

    fn read(&self, answer: &OrderAnswer, refs: &Refs) -> std::result::Result<Order, Odd> {
        let state = match answer.status.as_str() {
            "done" => OrderState::Paid,
            "cancelled" | "expired" => OrderState::Cancelled,
            _ => OrderState::Placed,
        };
        let placed_at = utc(&answer.created_at)?;
        let paid_at = answer.done_at.as_deref().map(utc).transpose()?;
        let total = self.money(&answer.values.full).map_err(|error| wrong(&error))?;
        let show = show(&answer.event, refs);
        let ticket = |ticket: &TicketAnswer| {
            let price = self.money(&ticket.full).map_err(|error| wrong(&error))?;
            Ok::<_, Odd>(Ticket { id: ticket.id.clone(), show: show.clone(), price, live: true })
        };
        let code = |id: &String| text(refs.promocodes.get(id), &["code"]).unwrap_or_else(|| id.clone());
        Ok(Order {
            // Ticketscloud gives no time of the last change. The caller puts the time of its call here.
            revision: paid_at.unwrap_or(placed_at),
            state,
            id: answer.id.clone(),
            number: answer.number.map(|number| number.to_string()),
            placed_at,
            paid_at,
            paid: if paid_at.is_some() { total.clone() } else { total.with_minor(0) },
            total,
            tickets: answer.tickets.iter().map(ticket).collect::<std::result::Result<_, Odd>>()?,
            refunds: BTreeMap::new(),
            promo_codes: answer.promocodes.iter().map(code).collect(),
            utm: BTreeMap::new(),
            items: vec![],
            company: None,
            show: answer.tickets.is_empty().then_some(Box::new(show)),
            due_at: None,
            checks: BTreeMap::new(),
            refunds_as_of: None,
            earlier_starts: BTreeMap::new(),
            gone_refunds: None,
        })
    }
}

fn show(id: &str, refs: &Refs) -> ShowRef {
    let event = refs.events.get(id);
    let venue = text(event, &["venue"]).and_then(|venue| refs.venues.get(&venue));
    let city = text(venue, &["city", "name", "ru"]).or_else(|| text(venue, &["city", "name", "default"]));
    ShowRef {
        id: id.to_owned(),
        title: text(event, &["title", "text"]),
        city,
        starts_at: text(event, &["lifetime", "start"]).and_then(|at| utc(&at).ok()),
        zone: text(event, &["timezone"]),
        offset: None,
    }
}

fn text(value: Option<&Value>, path: &[&str]) -> Option<String> {
    path.iter().try_fold(value?, |value, key| value.get(key))?.as_str().map(str::to_owned)
}

fn utc(text: &str) -> std::result::Result<Timestamp, Odd> {
    let civil: DateTime = text.parse().map_err(|_| Odd("a time: expected YYYY-MM-DD HH:MM:SS".into()))?;
    TimeZone::UTC.to_timestamp(civil).map_err(|_| Odd("a time out of range".into()))
}

fn wrong(error: &MoneyError) -> Odd {
    Odd(format!("an amount: {error}"))
}

/// Start and end in ISO format, separated by a comma.
fn window(from: Timestamp, to: Timestamp) -> String {
    format!("{},{}", from.strftime("%Y-%m-%dT%H:%M:%S"), to.strftime("%Y-%m-%dT%H:%M:%S"))
}
