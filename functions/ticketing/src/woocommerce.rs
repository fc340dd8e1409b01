//! WooCommerce: signed webhooks of a WordPress shop, each with the whole order as its REST API v3 has it.
//!
//! Source: woocommerce/woocommerce-rest-api-docs, wp-api-v3, "Orders"; woocommerce, `class-wc-webhook.php`: headers, the
//! ping, and `X-WC-Webhook-Signature`, which is base64(HMAC-SHA256(secret, raw body)). After more than five failures in
//! a row the webhook is disabled. A failed delivery is not repeated.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{civil::DateTime, tz::Offset};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use stagedoor_model::{
    Body, Channel, ConsentRecorded, Event, Identifier, Item, Kind, Money, MoneyError, Order, OrderBody, OrderState,
    Refund, Region, ShowRef, Ticket, Timestamp, breakage,
};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery,
    contact_identifiers, lenient,
    read::{is_nothing, text, yes_or_no},
    signature::{Encoding, HmacScheme},
};

use crate::payment_ids::payment_ids;

const SIGNATURE: HmacScheme = HmacScheme::sha256(Encoding::Base64).in_header("x-wc-webhook-signature");

/// The largest number of tickets in one line. A larger one is a mistake.
const MOST_TICKETS: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// What names the show of a ticket.
    #[serde(default)]
    shows: ShowBy,
    /// Ids or SKUs of products that are no tickets.
    #[serde(default)]
    goods: BTreeSet<String>,
    /// Statuses that plugins of the shop have added.
    #[serde(default)]
    statuses: BTreeMap<String, OrderState>,
    /// Key of the order's meta data that says whether the buyer wants advertising by e-mail.
    #[serde(default)]
    consent_key: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ShowBy {
    #[default]
    Product,
    Variation,
    Sku,
}

struct Woocommerce {
    source: Source,
    options: Options,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    Ok(Box::new(Woocommerce { source: source.clone(), options: source.options()? }))
}

/// Fields without which an order would give wrong money or seats.
const ESSENTIAL: [&str; 4] = ["date_paid_gmt", "line_items[]", "total_tax", "refunds"];

#[derive(Deserialize)]
struct OrderPayload {
    id: String,
    #[serde(default)]
    number: Option<String>,
    status: String,
    currency: String,
    total: String,
    #[serde(deserialize_with = "gmt")]
    date_created_gmt: Timestamp,
    #[serde(deserialize_with = "gmt")]
    date_modified_gmt: Timestamp,
    #[serde(default, deserialize_with = "some_gmt")]
    date_paid_gmt: Option<Timestamp>,
    #[serde(default)]
    customer_id: Option<String>,
    /// The payment provider's id of the payment.
    #[serde(default)]
    transaction_id: Option<String>,
    #[serde(default)]
    billing: Billing,
    line_items: Vec<Line>,
    #[serde(default)]
    coupon_lines: Vec<Coupon>,
    /// All refunds of the order. If absent, nothing is known about refunds.
    #[serde(default)]
    refunds: Option<Vec<RefundLine>>,
    #[serde(default)]
    meta_data: Vec<Meta>,
}

#[derive(Deserialize, Default)]
struct Billing {
    #[serde(default)]
    first_name: Option<String>,
    #[serde(default)]
    last_name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    country: Option<String>,
}

#[derive(Deserialize)]
struct Line {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    product_id: Option<String>,
    #[serde(default)]
    variation_id: Option<String>,
    #[serde(default)]
    sku: Option<String>,
    quantity: u32,
    /// The price of the whole line after discounts, without tax.
    total: String,
    #[serde(default)]
    total_tax: Option<String>,
}

#[derive(Deserialize)]
struct Coupon {
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
struct RefundLine {
    id: String,
    /// A negative amount.
    total: String,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: Value,
}

/// A time in GMT, which WordPress writes without a zone.
fn gmt<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    let zoneless = || Offset::UTC.to_timestamp(text.trim().parse::<DateTime>().ok()?).ok();
    text.trim().parse().ok().or_else(zoneless).ok_or_else(|| D::Error::custom("no time"))
}

fn some_gmt<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    gmt(deserializer).map(Some)
}

impl Provider for Woocommerce {
    fn accepts(&self) -> Accepts {
        Accepts::JsonOrForm
    }

    /// The test of a new webhook is a form without a signature.
    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        if head.is_form() { Ok(()) } else { SIGNATURE.offered(head) }
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        SIGNATURE.verify(delivery, &self.source.secrets)
    }

    /// Answers the test of a new webhook, `webhook_id=<number>`. Without a 200 the shop does not save it.
    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        let number = delivery.body.strip_prefix(b"webhook_id=").filter(|_| delivery.is_form())?;
        let is_number = !number.is_empty() && number.len() < 20 && number.iter().all(u8::is_ascii_digit);
        is_number.then(|| Answer::json("{\"ok\":true}"))
    }

    fn kept_headers(&self) -> &'static [&'static str] {
        &["content-type", "x-wc-webhook-topic"]
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        match delivery.header("x-wc-webhook-topic").unwrap_or("").split_once('.') {
            Some(("order", "created" | "updated" | "restored")) => self.order(delivery),
            Some(("order", "deleted")) => {
                Err("an order was deleted: the shop tells only its id, so the deal stays".into())
            }
            Some(("product" | "coupon" | "customer", _)) => Ok(vec![]),
            _ => Err("X-WC-Webhook-Topic is not known".into()),
        }
    }
}

impl Woocommerce {
    fn order(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let (payload, mut lost) = lenient::<OrderPayload>(&delivery.object()?, &ESSENTIAL)?;
        let state = match payload.status.as_str() {
            // A cart that nobody has ordered yet.
            "checkout-draft" | "draft" | "auto-draft" | "new" => return Ok(vec![]),
            status => self.state(status).ok_or("a status that is not known: name it in options.statuses")?,
        };
        if payload.line_items.iter().any(|line| line.quantity > MOST_TICKETS) {
            return Err("line_items.quantity is too large".into());
        }
        if payload.id.trim().is_empty() {
            return Err("JSON of another shape: id".into());
        }
        let is_odd = |meta: &Meta| meta.key.starts_with(MARKS) && mark(meta).is_none() && !is_nothing(&meta.value);
        let is_consent = |meta: &Meta| self.options.consent_key.as_ref() == Some(&meta.key);
        let is_unclear = |meta: &Meta| is_consent(meta) && yes_or_no(&meta.value).is_none() && !is_nothing(&meta.value);
        let is_lost = |meta: &Meta| is_odd(meta) || is_unclear(meta);
        lost.extend(payload.meta_data.iter().any(is_lost).then(|| "meta_data".to_owned()));
        let identifiers = self.identifiers(&payload);
        let (id, at, placed_at) = (payload.id.clone(), payload.date_modified_gmt, payload.date_created_gmt);
        let order =
            self.order_of(&payload, state).map_err(|error| NotUnderstood::new(format!("an amount: {error}")))?;
        let consent = self.consent(&payload, &identifiers);
        // An order is told again and again. The consent is of its beginning, so that a later withdrawal stands.
        let said_at = if breakage::is_on("checkout-consent-undated") { delivery.received_at() } else { placed_at };
        let parts = ["consent", id.as_str(), &placed_at.to_string()];
        let consent = consent.map(|body| delivery.event_by_content(&parts, said_at, body));
        let body = Body::of_order(OrderBody::new(identifiers, name(&payload.billing), order));
        let order = delivery.event_by_content(&["order", &id, &at.to_string()], at, body);
        NotUnderstood::left_out(lost, std::iter::once(order).chain(consent).collect())
    }

    fn state(&self, status: &str) -> Option<OrderState> {
        match status.strip_prefix("wc-").unwrap_or(status) {
            "pending" | "on-hold" => Some(OrderState::Placed),
            "processing" | "completed" | "refunded" => Some(OrderState::Paid),
            "cancelled" | "failed" | "trash" => Some(OrderState::Cancelled),
            other => self.options.statuses.get(other).copied(),
        }
    }

    fn identifiers(&self, payload: &OrderPayload) -> BTreeSet<Identifier> {
        let billing = &payload.billing;
        // The buyer's country tells how to read their phone.
        let region = billing.country.as_deref().and_then(|country| Region::new(country).ok());
        let source = Source { region: region.unwrap_or(self.source.region), ..self.source.clone() };
        let mut identifiers = contact_identifiers(&source, billing.phone.as_deref(), billing.email.as_deref());
        let customer = payload.customer_id.as_deref();
        identifiers.extend(customer.and_then(|id| Identifier::opaque(Kind::Customer, self.source.name.as_str(), id)));
        identifiers.extend(payment_ids(&self.source, [payload.transaction_id.as_deref()]));
        identifiers
    }

    /// The buyer's consent. A box that was left empty is no withdrawal.
    fn consent(&self, payload: &OrderPayload, identifiers: &BTreeSet<Identifier>) -> Option<Body> {
        let key = self.options.consent_key.as_deref()?;
        let is_given = payload.meta_data.iter().any(|meta| meta.key == key && yes_or_no(&meta.value) == Some(true));
        let emails: BTreeSet<_> = identifiers.iter().filter(|one| one.kind() == Kind::Email).cloned().collect();
        let is_given = is_given && !emails.is_empty();
        is_given.then(|| Body::ConsentRecorded(ConsentRecorded::given(emails, Channel::Email, "checkout")))
    }

    fn order_of(&self, payload: &OrderPayload, state: OrderState) -> Result<Order, MoneyError> {
        let money = |text: &str| Money::from_major(text, &payload.currency);
        let (total, revision) = (money(&payload.total)?, payload.date_modified_gmt);
        let (mut tickets, mut items) = (vec![], vec![]);
        for line in &payload.line_items {
            let tax = line.total_tax.as_deref().filter(|tax| !tax.trim().is_empty());
            let price =
                money(&line.total)?.minor.saturating_add(tax.map(&money).transpose()?.map_or(0, |tax| tax.minor));
            match self.is_goods(line) {
                true => items.extend(goods(line, &total.with_minor(price))),
                false => tickets.extend(self.tickets(line, &total.with_minor(price))),
            }
        }
        let was_paid = state == OrderState::Paid || payload.date_paid_gmt.is_some();
        let mut refunds = BTreeMap::new();
        for refund in payload.refunds.iter().flatten() {
            let amount = money(&refund.total)?;
            let amount = amount.with_minor(amount.minor.saturating_abs());
            refunds.insert(refund.id.clone(), Refund { amount, at: revision, tickets: BTreeSet::new(), moved: false });
        }
        let returned = refunds.values().map(|refund| refund.amount.minor).fold(0, i64::saturating_add);
        let is_refunded = payload.status == "refunded" || returned > 0 && returned >= total.minor;
        if is_refunded && refunds.is_empty() {
            let amount = total.clone();
            refunds
                .insert("status".to_owned(), Refund { amount, at: revision, tickets: BTreeSet::new(), moved: false });
        }
        // A refund names no line. Only when all money went back, all tickets did.
        if let Some(mut last) = refunds.last_entry().filter(|_| is_refunded) {
            last.get_mut().tickets = tickets.iter().map(|ticket: &Ticket| ticket.id.clone()).collect();
        }
        Ok(Order {
            revision,
            state,
            id: payload.id.clone(),
            number: payload.number.clone(),
            placed_at: payload.date_created_gmt,
            paid_at: payload.date_paid_gmt.or(was_paid.then_some(revision)),
            paid: if was_paid { total.clone() } else { total.with_minor(0) },
            total,
            tickets,
            refunds,
            promo_codes: codes(payload),
            utm: payload.meta_data.iter().filter_map(mark).collect(),
            items,
            company: None,
            show: None,
            due_at: None,
            checks: BTreeMap::new(),
            refunds_as_of: payload.refunds.as_ref().map(|_| revision),
            earlier_starts: BTreeMap::new(),
            gone_refunds: None,
        })
    }

    fn is_goods(&self, line: &Line) -> bool {
        let names = [&line.product_id, &line.variation_id, &line.sku].into_iter().flatten();
        names.into_iter().any(|name| self.options.goods.contains(name.as_str()))
    }

    /// The tickets of a line. The smallest units that do not divide go to the first ones.
    fn tickets(&self, line: &Line, price: &Money) -> Vec<Ticket> {
        let told = |id: &Option<String>| id.clone().filter(|id| !id.trim().is_empty() && id != "0");
        let product = || told(&line.product_id).or_else(|| told(&line.sku));
        let show = match self.options.shows {
            ShowBy::Product => product(),
            ShowBy::Variation => told(&line.variation_id).or_else(product),
            ShowBy::Sku => told(&line.sku).or_else(product),
        };
        let show = ShowRef { title: line.name.clone(), ..ShowRef::id(show.unwrap_or_else(|| line.id.clone())) };
        let count = i64::from(line.quantity.max(1));
        let (each, rest) = (price.minor.div_euclid(count), price.minor.rem_euclid(count));
        let ticket = |n: u32| Ticket {
            id: format!("{}-{}", line.id, n + 1),
            show: show.clone(),
            price: price.with_minor(each + i64::from(i64::from(n) < rest)),
            live: true,
        };
        (0..line.quantity).map(ticket).collect()
    }
}

/// A line that is no ticket. A price that does not divide is told as that of one.
fn goods(line: &Line, price: &Money) -> Option<Item> {
    let (id, title) = (line.id.clone(), line.name.clone().unwrap_or_default());
    let count = i64::from(line.quantity);
    match count {
        0 => None,
        _ if price.minor % count == 0 => {
            Some(Item { id, title, quantity: line.quantity, price: price.with_minor(price.minor / count) })
        }
        _ => Some(Item { id, title: format!("{title} × {count}"), quantity: 1, price: price.clone() }),
    }
}

fn codes(payload: &OrderPayload) -> Vec<String> {
    let codes = payload.coupon_lines.iter().map(|coupon| coupon.code.trim());
    codes.filter(|code| !code.is_empty()).map(str::to_owned).collect()
}

fn name(billing: &Billing) -> Option<String> {
    let parts = [billing.first_name.as_deref(), billing.last_name.as_deref()];
    let name = parts.into_iter().flatten().map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    Some(name).filter(|name| !name.is_empty())
}

/// The keys of campaign marks begin with this: `_wc_order_attribution_utm_source`.
const MARKS: &str = "_wc_order_attribution_utm_";

/// A campaign mark of the shop's order attribution.
fn mark(meta: &Meta) -> Option<(String, String)> {
    Some((format!("utm_{}", meta.key.strip_prefix(MARKS)?), text(&meta.value, "")?))
}
