//! Tilda: the form receiver "Webhook" and the marketplace integration.
//!
//! Sources: help-ru.tilda.cc/formsscript (POST, test ping `test=test`, 200 within 5 s, two more attempts a minute
//! apart); help-ru.tilda.cc/forms/marketplace/tech (JSON, API key in a header or a body field of a chosen name).
//! The three encodings of a cart are from captured deliveries in public test data.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use stagedoor_model::{
    Body, Event, FormSubmitted, Identifier, Kind, Money, Order, OrderBody, OrderState, ShowRef, Ticket,
};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, Form, FormValue, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery,
    contact_identifiers, signature,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Name of the header or field that carries the API key.
    key_name: String,
    /// The site owner's own names of the fields.
    phone: String,
    email: String,
    name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { key_name: "X-API-Key".into(), phone: "phone".into(), email: "email".into(), name: "name".into() }
    }
}

struct Tilda {
    source: Source,
    options: Options,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    Ok(Box::new(Tilda { options: source.options()?, source: source.clone() }))
}

/// Field names as the site's owner chose them, looked up without regard to case.
type Fields = BTreeMap<String, FormValue>;

impl Provider for Tilda {
    fn accepts(&self) -> Accepts {
        Accepts::JsonOrForm
    }

    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        let ping = delivery.is_form() && delivery.body.len() < 64 && delivery.body.starts_with(b"test=test");
        let fields = ping.then(|| fields(&delivery.body, true).unwrap_or_default())?;
        let others = fields.iter().filter(|(key, value)| *key != "test" && value.text.as_deref() != Some("")).count();
        (others == 0).then(|| Answer::json("ok"))
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        let name = &self.options.key_name;
        let fields = fields(&delivery.body, delivery.is_form()).unwrap_or_default();
        let in_body = fields.get(&name.to_lowercase()).and_then(|value| value.text.as_deref());
        let in_path = Some(delivery.tail.as_str()).filter(|tail| !tail.is_empty());
        signature::shown(delivery.header(&name.to_lowercase()).or(in_body).or(in_path), &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let fields = fields(delivery.body(), delivery.is_form())?;
        let text = |name: &str| fields.get(&name.to_lowercase()).and_then(|value| value.text.as_deref());
        let mut identifiers = contact_identifiers(&self.source, text(&self.options.phone), text(&self.options.email));
        identifiers.extend(cookies(text("cookies").unwrap_or("")));
        if identifiers.is_empty() {
            return Err("no phone, no e-mail and no cookie in the form".into());
        }
        let fact = match text("tranid").filter(|id| !id.is_empty()) {
            Some(tranid) => tranid.to_owned(),
            None => String::from_utf8_lossy(delivery.body()).into_owned(),
        };
        let name = text(&self.options.name).map(str::to_owned);
        let payment = fields.get("payment").map(payment).transpose()?;
        if let Some(paid) = payment.as_ref().filter(|payment| payment.is_paid()) {
            let order = self.order(delivery, paid)?;
            let body = Body::of_order(OrderBody::new(identifiers, name, order));
            return Ok(vec![delivery.event(&["order", &paid.orderid, &fact], delivery.received_at(), body)]);
        }
        let form = FormSubmitted {
            identifiers,
            name,
            form: text("formname").or(text("formid")).map(str::to_owned),
            show: self.source.show.as_deref().map(ShowRef::id),
            amount: payment.as_ref().map(|payment| self.money(&payment.amount)).transpose()?,
            consents: vec![],
            labels: self.labels(&fields),
            company: None,
        };
        let body = if payment.is_some() { Body::CartAbandoned(form) } else { Body::FormSubmitted(form) };
        Ok(vec![delivery.event(&["form", &fact], delivery.received_at(), body)])
    }

    fn answer(&self, _: &Delivery) -> Answer {
        Answer::json("ok")
    }
}

impl Tilda {
    fn money(&self, text: &str) -> Result<Money, NotUnderstood> {
        Money::from_major(text, &self.source.currency)
            .map_err(|error| NotUnderstood::new(format!("payment amount: {error}")))
    }

    /// Campaign marks and the owner's own fields; what identifies somebody is not repeated here.
    fn labels(&self, fields: &Fields) -> BTreeMap<String, String> {
        let own = [&self.options.phone, &self.options.email, &self.options.name, &self.options.key_name];
        let known = ["tranid", "formid", "formname", "cookies", "payment", "form"];
        fields
            .iter()
            .filter(|(key, _)| !known.contains(&key.as_str()) && !own.iter().any(|name| name.to_lowercase() == **key))
            .filter_map(|(key, value)| Some((key.clone(), value.text.clone()?)))
            .filter(|(_, text)| !text.is_empty() && text.len() <= 500)
            .take(40)
            .collect()
    }

    fn order(&self, delivery: &VerifiedDelivery, payment: &Payment) -> Result<Order, NotUnderstood> {
        let total = self.money(&payment.amount)?;
        let show = |title: &str| match &self.source.show {
            Some(show) => ShowRef::id(show),
            None => ShowRef { title: Some(title.to_owned()), ..ShowRef::id(title) },
        };
        let tickets = payment.lines.iter().enumerate().map(|(index, (title, amount))| {
            let price = self.money(amount)?;
            Ok(Ticket { id: index.to_string(), show: show(title), price, live: true })
        });
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
            tickets: tickets.collect::<Result<_, NotUnderstood>>()?,
            refunds: BTreeMap::new(),
            promo_codes: payment.promocode.clone().into_iter().collect(),
            utm: BTreeMap::new(),
            items: vec![],
            company: None,
            due_at: None,
        })
    }
}

fn fields(body: &[u8], is_form: bool) -> Result<Fields, NotUnderstood> {
    if is_form {
        return Ok(Form::parse(body).fields().map(|(key, value)| (key.to_lowercase(), value.clone())).collect());
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body)?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    let value = |value| FormValue { text: Some(text(value)), children: BTreeMap::new() };
    Ok(object.into_iter().map(|(key, it)| (key.to_lowercase(), value(it))).collect())
}

struct Payment {
    orderid: String,
    systranid: String,
    sys: String,
    amount: String,
    promocode: Option<String>,
    /// Title and amount of each line.
    lines: Vec<(String, String)>,
}

impl Payment {
    /// Public handlers take the presence of a payment system's transaction for "paid".
    fn is_paid(&self) -> bool {
        !matches!(self.systranid.as_str(), "" | "0") && !matches!(self.sys.as_str(), "" | "none" | "cash")
    }
}

#[derive(Deserialize)]
struct PaymentJson {
    #[serde(default)]
    sys: String,
    #[serde(default)]
    systranid: String,
    orderid: String,
    amount: String,
    #[serde(default)]
    promocode: Option<String>,
    #[serde(default)]
    products: Vec<serde_json::Value>,
}

fn payment(field: &FormValue) -> Result<Payment, NotUnderstood> {
    if let Some(json) = field.text.as_deref() {
        let read: PaymentJson = serde_json::from_str(json)?;
        let lines = read.products.iter().filter_map(|product| line(product.as_str()?)).collect();
        let PaymentJson { sys, systranid, orderid, amount, promocode, .. } = read;
        return Ok(Payment { orderid, systranid, sys, amount, promocode, lines });
    }
    let text = |name| field.text_of(name).unwrap_or("").to_owned();
    let products = field.child("products").map(|products| &products.children);
    let lines = products
        .into_iter()
        .flat_map(BTreeMap::values)
        .filter_map(|product| Some((product.text_of("name")?.to_owned(), product.text_of("amount")?.to_owned())));
    let needed = |name: &'static str| {
        field.text_of(name).map(str::to_owned).ok_or(NotUnderstood::new(format!("no payment[{name}]")))
    };
    Ok(Payment {
        orderid: needed("orderid")?,
        amount: needed("amount")?,
        systranid: text("systranid"),
        sys: text("sys"),
        promocode: field.text_of("promocode").map(str::to_owned),
        lines: lines.collect(),
    })
}

/// `Name=1399` or `Name (sku, options) x 1 ≡ 490`.
fn line(text: &str) -> Option<(String, String)> {
    let (title, amount) = text.rsplit_once('≡').or_else(|| text.rsplit_once('='))?;
    Some((title.trim().to_owned(), amount.trim().to_owned()))
}

/// The web counters' cookies: weak hints that the same browser was here.
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
        // `GA1.2.<cid1>.<cid2>`: the client id is the last two parts.
        let parts: Vec<&str> = value.split('.').collect();
        let client = if scope == "ga" { parts.get(parts.len().checked_sub(2)?..)?.join(".") } else { value.to_owned() };
        Identifier::opaque(Kind::Cookie, scope, &client)
    };
    header.split(';').filter_map(pair).collect()
}
