//! Tilda: the form receiver "Webhook" and the marketplace integration.
//!
//! Sources: help-ru.tilda.cc/formsscript (POST, test ping `test=test`, 200 within 5 s, two more attempts a minute
//! apart); help-ru.tilda.cc/forms/marketplace/tech (JSON, API key in a header or a body field of a chosen name).
//! The three encodings of a cart are from captured deliveries in public test data.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, Event, FormSubmitted, Identifier, Kind, Money, Order, OrderBody, OrderState, ShowRef, Ticket, breakage,
};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, Form, FormValue, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery,
    contact_identifiers, parse_json, scan, signature,
};

use crate::{form, labels::Labels};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Name of the header or field that carries the API key.
    key_name: String,
    /// The site owner's names for the fields.
    phone: String,
    email: String,
    name: String,
    /// True if what visitors type into forms counts as a claim.
    typed: bool,
}

impl Default for Options {
    fn default() -> Self {
        let field = |name: &str| name.to_owned();
        let (key_name, phone) = (field("X-API-Key"), field("phone"));
        Self { key_name, phone, email: field("email"), name: field("name"), typed: false }
    }
}

struct Tilda {
    source: Source,
    options: Options,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    Ok(Box::new(Tilda { options: source.options()?, source: source.clone() }))
}

/// Fields by the names that the site's owner chose, in lower case.
type Fields = BTreeMap<String, FormValue>;

impl Provider for Tilda {
    fn accepts(&self) -> Accepts {
        Accepts::JsonOrForm
    }

    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        let ping = delivery.is_form() && delivery.body.len() < 64 && delivery.body.starts_with(b"test=test");
        let fields = ping.then(|| fields(&delivery.body, true).unwrap_or_default().0)?;
        let others = fields.iter().filter(|(key, value)| *key != "test" && value.text.as_deref() != Some("")).count();
        (others == 0).then(|| Answer::json("ok"))
    }

    fn secret_fields(&self) -> Vec<String> {
        vec![self.options.key_name.to_lowercase()]
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        let name = self.options.key_name.to_lowercase();
        let in_path = Some(delivery.tail.as_str()).filter(|tail| !tail.is_empty());
        let shown = delivery.header(&name).or(in_path).map(str::to_owned);
        // The body of a stranger is not parsed into fields. Only the key is searched for.
        let in_body = || match delivery.is_form() {
            true => scan::form_field_any_case(&delivery.body, &name),
            false => scan::json_field_any_case(&delivery.body, &name),
        };
        signature::shown(shown.or_else(in_body).as_deref(), &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let (fields, odd) = fields(delivery.body(), delivery.is_form())?;
        let text = |name: &str| fields.get(&name.to_lowercase()).and_then(|value| value.text.as_deref());
        let mut identifiers = contact_identifiers(&self.source, text(&self.options.phone), text(&self.options.email));
        identifiers.extend(cookies(text("cookies").unwrap_or("")));
        if identifiers.is_empty() {
            return Err("no phone, no e-mail and no cookie in the form".into());
        }
        let fact = match text("tranid").filter(|id| !id.is_empty()) {
            Some(tranid) => tranid.to_owned(),
            // The same content on another day is a new fact.
            None => {
                let day = delivery.received_at().strftime("%F");
                format!("{day} {}", String::from_utf8_lossy(delivery.body()))
            }
        };
        let name = text(&self.options.name).filter(|_| !odd.contains(&self.options.name.to_lowercase()));
        let name = name.map(str::to_owned);
        let mut lost: Vec<String> = odd.into_iter().filter(|key| self.is_own(key)).collect();
        // An unreadable cart loses only itself, not the person who left it.
        let told =
            fields.get("payment").filter(|field| field.text.as_deref() != Some("") || !field.children.is_empty());
        let payment = match told.map(payment).transpose() {
            Ok(Some((payment, odd))) => {
                lost.extend(odd);
                Some(payment)
            }
            Ok(None) => None,
            Err(why) => {
                lost.push(why.reason);
                None
            }
        };
        let paid = payment.as_ref().filter(|payment| payment.is_paid());
        match paid.map(|paid| self.order(delivery, paid).map(|order| (paid, order))).transpose() {
            Ok(None) => {}
            Ok(Some((paid, order))) => {
                let body = Body::of_order(OrderBody::new(identifiers, name, order));
                let event = delivery.event(&["order", &paid.orderid, &fact], delivery.received_at(), body);
                return NotUnderstood::left_out(lost, vec![event]);
            }
            Err(why) => lost.push(why.reason),
        }
        let amount = payment.as_ref().filter(|_| paid.is_none()).map(|payment| self.money(&payment.amount)).transpose();
        lost.extend(amount.as_ref().err().map(|why| why.reason.clone()));
        let (labels, cut) = self.labels(&fields);
        lost.extend(cut);
        let form = FormSubmitted {
            identifiers,
            proof: crate::relayed(self.options.typed),
            name,
            form: text("formname").or(text("formid")).map(str::to_owned),
            show: self.source.show.as_deref().map(ShowRef::id),
            amount: amount.unwrap_or_default(),
            consents: vec![],
            labels,
            company: None,
        };
        // An unreadable cart that was paid does not count as abandoned.
        let is_cart = payment.is_some() && paid.is_none();
        let body = if is_cart { Body::CartAbandoned(form) } else { Body::FormSubmitted(form) };
        NotUnderstood::left_out(lost, vec![delivery.event(&["form", &fact], delivery.received_at(), body)])
    }

    fn answer(&self, _: &Delivery) -> Answer {
        Answer::json("ok")
    }
}

impl Tilda {
    /// True for a field that holds one text: the owner's fields for phone, e-mail and name, and Tilda's own.
    fn is_own(&self, key: &str) -> bool {
        let own = [&self.options.phone, &self.options.email, &self.options.name];
        own.iter().any(|name| name.to_lowercase() == key) || ["tranid", "formname", "formid", "cookies"].contains(&key)
    }

    fn money(&self, text: &str) -> Result<Money, NotUnderstood> {
        Money::from_major(text, &self.source.currency)
            .map_err(|error| NotUnderstood::new(format!("payment amount: {error}")))
    }

    /// The price of each piece of a line: the line's amount, in equal parts as far as minor units allow.
    fn prices(&self, line: &Line) -> Result<Vec<Money>, NotUnderstood> {
        let whole = match (&line.amount, &line.price) {
            (Some(amount), _) => self.money(amount)?,
            (None, Some(price)) => {
                let price = self.money(price)?;
                price.times(line.quantity).map_err(|error| NotUnderstood::new(format!("payment products: {error}")))?
            }
            (None, None) => return Err("payment products: a line without an amount".into()),
        };
        let pieces = i64::from(line.quantity);
        let (each, rest) = (whole.minor / pieces, whole.minor % pieces);
        Ok((0..pieces).map(|nth| whole.with_minor(each + i64::from(nth < rest))).collect())
    }

    /// Campaign marks and the owner's other fields, with the names of omitted ones. Identifiers are not repeated here.
    fn labels(&self, fields: &Fields) -> (BTreeMap<String, String>, Vec<String>) {
        let own = [&self.options.phone, &self.options.email, &self.options.name, &self.options.key_name];
        let known = ["tranid", "formid", "formname", "cookies", "payment", "form"];
        let is_own = |key: &str| known.contains(&key) || own.iter().any(|name| name.to_lowercase() == key);
        let mut labels = if self.options.typed { Labels::anonymous() } else { Labels::signed() };
        for (key, value) in fields.iter().filter(|(key, _)| !is_own(key)) {
            labels.add(key, &form::tree(value));
        }
        labels.fit()
    }

    fn order(&self, delivery: &VerifiedDelivery, payment: &Payment) -> Result<Order, NotUnderstood> {
        let total = self.money(&payment.amount)?;
        let show = |title: &str| match &self.source.show {
            Some(show) => ShowRef::id(show),
            None => ShowRef { title: Some(title.to_owned()), ..ShowRef::id(title) },
        };
        let mut tickets = Vec::new();
        for (index, line) in payment.lines.iter().enumerate() {
            // An unreadable line is missing in the order, but the paid amount stays.
            let Ok(prices) = self.prices(line) else { continue };
            let id = |nth: usize| if nth == 0 { index.to_string() } else { format!("{index}.{nth}") };
            let one = |(nth, price): (usize, Money)| Ticket { id: id(nth), show: show(&line.title), price, live: true };
            tickets.extend(prices.into_iter().enumerate().map(one));
        }
        let at = delivery.received_at();
        Ok(Order {
            revision: at,
            state: OrderState::Paid,
            id: payment.orderid.clone(),
            number: None,
            placed_at: at,
            paid_at: Some(at),
            paid: total.clone(),
            total,
            tickets,
            refunds: BTreeMap::new(),
            promo_codes: payment.promocode.clone().into_iter().collect(),
            utm: BTreeMap::new(),
            items: vec![],
            company: None,
            show: None,
            due_at: None,
            checks: BTreeMap::new(),
            refunds_as_of: None,
            earlier_starts: BTreeMap::new(),
            gone_refunds: None,
        })
    }
}

/// The fields, and the names of those that hold several values instead of one.
fn fields(body: &[u8], is_form: bool) -> Result<(Fields, Vec<String>), NotUnderstood> {
    let mut fields = Fields::new();
    // `Phone` and `phone` are one field. An empty one does not replace the other.
    let mut put = |key: &str, value: FormValue| {
        let place = fields.entry(key.to_lowercase()).or_default();
        let is_empty = value.children.is_empty() && value.text.as_deref().is_none_or(str::is_empty);
        let has_more = place.text.as_deref().is_some_and(|text| !text.is_empty()) || !place.children.is_empty();
        if !(is_empty && has_more) || breakage::is_on("empty-duplicate-counts") {
            *place = value;
        }
    };
    if is_form {
        Form::parse(body).fields().for_each(|(key, value)| put(key, value.clone()));
        return Ok((fields, vec![]));
    }
    let Value::Object(object) = parse_json(body)? else { return Err("JSON of another shape: it is no object".into()) };
    let mut odd = Vec::new();
    for (key, value) in object {
        let text = match value {
            Value::Null => continue,
            Value::Array(items) if items.is_empty() => continue,
            Value::Object(fields) if fields.is_empty() => continue,
            Value::String(text) => text,
            // Several ticked boxes.
            Value::Array(items) if items.iter().all(|it| it.is_string() || it.is_number()) => {
                items.iter().map(plain).collect::<Vec<_>>().join(", ")
            }
            Value::Array(_) | Value::Object(_) => {
                odd.push(key.to_lowercase());
                value.to_string()
            }
            other => other.to_string(),
        };
        put(&key, FormValue { text: Some(text), children: BTreeMap::new() });
    }
    Ok((fields, odd))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

struct Payment {
    orderid: String,
    systranid: String,
    sys: String,
    amount: String,
    promocode: Option<String>,
    lines: Vec<Line>,
}

/// A product in the cart.
struct Line {
    title: String,
    /// Number of pieces, at least 1.
    quantity: u32,
    /// Amount of all pieces.
    amount: Option<String>,
    /// Price of one piece.
    price: Option<String>,
}

impl Payment {
    /// True if a payment system's transaction is named. Public handlers use the same rule.
    fn is_paid(&self) -> bool {
        !matches!(self.systranid.as_str(), "" | "0") && !matches!(self.sys.as_str(), "" | "none" | "cash")
    }
}

/// Reads the cart, with the names of its odd fields. The cart may be a JSON text or a form's tree. Sites send both
/// numbers and strings.
fn payment(field: &FormValue) -> Result<(Payment, Vec<String>), NotUnderstood> {
    let read = match field.text.as_deref() {
        Some(json) => tree(parse_json(json.as_bytes()).map_err(|_| NotUnderstood::from("payment (no JSON)"))?),
        None => field.clone(),
    };
    let text = |name| read.text_of(name).map(str::to_owned);
    let needed = |name: &'static str| text(name).ok_or(NotUnderstood::new(format!("no payment[{name}]")));
    let products = read.child("products").map(|products| &products.children);
    // The keys are the places of the products, so `10` comes after `9`.
    let mut products: Vec<(&String, &FormValue)> = products.into_iter().flatten().collect();
    products.sort_by_key(|(place, _)| (place.len(), *place));
    let lines: Vec<Option<Line>> = products.into_iter().map(|(_, product)| line(product)).collect();
    let is_odd = |name: &&str| read.child(name).is_some_and(|it| it.text.is_none() && !it.children.is_empty());
    let mut odd: Vec<String> = ["systranid", "sys", "promocode"]
        .iter()
        .filter(|name| is_odd(name))
        .map(|name| format!("payment.{name}"))
        .collect();
    let without_lines =
        read.child("products").is_some_and(|it| it.text.as_deref().is_some_and(|text| !text.is_empty()));
    odd.extend((lines.iter().any(Option::is_none) || without_lines).then(|| "payment.products".to_owned()));
    let payment = Payment {
        orderid: needed("orderid")?,
        amount: needed("amount")?,
        systranid: text("systranid").unwrap_or_default(),
        sys: text("sys").unwrap_or_default(),
        promocode: text("promocode").filter(|code| !code.is_empty()),
        lines: lines.into_iter().flatten().collect(),
    };
    Ok((payment, odd))
}

fn tree(value: Value) -> FormValue {
    match value {
        Value::Null => FormValue::default(),
        Value::String(text) => FormValue { text: Some(text), children: BTreeMap::new() },
        Value::Object(fields) => {
            FormValue { text: None, children: fields.into_iter().map(|(key, value)| (key, tree(value))).collect() }
        }
        Value::Array(items) => {
            let children = items.into_iter().enumerate().map(|(index, item)| (index.to_string(), tree(item)));
            FormValue { text: None, children: children.collect() }
        }
        other => FormValue { text: Some(other.to_string()), children: BTreeMap::new() },
    }
}

/// A larger number of pieces of one product is an error.
const MOST: u32 = 500;

/// Reads a line: a product with fields, or `Name=1399`, or `Name (sku, options) x 2 ≡ 980`.
fn line(product: &FormValue) -> Option<Line> {
    let Some(text) = product.text.as_deref() else {
        let text = |name| product.text_of(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let is_odd = |name: &&str| product.child(name).is_some_and(|it| it.text.is_none() && !it.children.is_empty());
        if ["name", "quantity", "amount", "price"].iter().any(is_odd) {
            return None;
        }
        let quantity = text("quantity").map_or(Some(1), |text| text.parse().ok())?;
        let line = Line { title: text("name")?, quantity, amount: text("amount"), price: text("price") };
        let is_priced = line.amount.is_some() || line.price.is_some();
        return Some(line).filter(|line| is_priced && (1..=MOST).contains(&line.quantity));
    };
    let (title, amount) = text.rsplit_once('≡').or_else(|| text.rsplit_once('='))?;
    let counted = title.trim().rsplit_once(" x ").and_then(|(title, count)| Some((title, count.trim().parse().ok()?)));
    let (title, quantity) = counted.filter(|(_, count)| (1..=MOST).contains(count)).unwrap_or((title, 1));
    Some(Line { title: title.trim().to_owned(), quantity, amount: Some(amount.trim().to_owned()), price: None })
}

/// Identifiers from the cookies of web counters. They only suggest that the same browser was here.
fn cookies(header: &str) -> BTreeSet<Identifier> {
    let known = |name: &str| match name {
        "_ga" => Some("ga"),
        "_ym_uid" => Some("ym"),
        "tildauid" => Some("tilda"),
        _ => None,
    };
    let pair = |pair: &str| {
        let (name, value) = pair.trim().split_once('=')?;
        let scope = known(name)?;
        // In `GA1.2.<cid1>.<cid2>` the last two parts are the client id.
        let parts: Vec<&str> = value.split('.').collect();
        let client = if scope == "ga" { parts.get(parts.len().checked_sub(2)?..)?.join(".") } else { value.to_owned() };
        Identifier::opaque(Kind::Cookie, scope, &client)
    };
    header.split(';').filter_map(pair).collect()
}
