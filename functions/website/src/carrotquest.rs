//! Carrot quest: leads from pop-ups, with their scenario and variant.
//!
//! Source: developers.carrotquest.io/webhooks (form-encoded; `token` from the admin panel; any answer but 200 is
//! repeated). Fields inside `user` and `event`: pastebin.com/pkgCESs5, by their staff.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use stagedoor_model::{Body, Event, FormSubmitted, Identifier, Kind, Money, ShowRef, Timestamp};
use stagedoor_webhook::{
    Accepts, Delivery, Form, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery, contact_identifiers,
    lenient, parse_json, scan, signature,
};

use crate::labels::Labels;

struct CarrotQuest {
    source: Source,
    options: Options,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// True if what visitors type into pop-ups counts as a claim.
    #[serde(default)]
    typed: bool,
}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    Ok(Box::new(CarrotQuest { options: source.options()?, source: source.clone() }))
}

#[derive(Deserialize, Default)]
struct User {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    props: Map<String, Value>,
}

#[derive(Deserialize)]
struct Fact {
    id: u64,
    /// Unix time in seconds.
    #[serde(default)]
    created: Option<i64>,
    #[serde(default, rename = "type")]
    kind: FactKind,
    #[serde(default)]
    props: Map<String, Value>,
}

#[derive(Deserialize, Default)]
struct FactKind {
    #[serde(default)]
    name: Option<String>,
}

impl Provider for CarrotQuest {
    fn accepts(&self) -> Accepts {
        Accepts::Form
    }

    fn secret_fields(&self) -> Vec<String> {
        vec!["token".into()]
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        signature::shown(scan::form_field(&delivery.body, "token").as_deref(), &self.source.secrets)
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let form = Form::parse(delivery.body());
        if !matches!(form.text("type"), Some("event" | "message_webhook")) {
            return Err("type is neither event nor message_webhook".into());
        }
        let (fact, odd) = lenient::<Fact>(&parse_json(form.text("event").ok_or("no event")?.as_bytes())?, &[])?;
        // The event counts even if the visitor's profile cannot be read.
        let user = form.text("user").and_then(|user| parse_json(user.as_bytes()).ok());
        let user = user.and_then(|user| lenient::<User>(&user, &[]).ok());
        let is_lost = user.is_none();
        let (user, odd_of_user) = user.unwrap_or_default();
        let named = |of: &str, names: Vec<String>| names.into_iter().map(|name| format!("{of}.{name}")).collect();
        let mut lost: Vec<String> = named("event", odd);
        lost.extend::<Vec<String>>(named("user", odd_of_user));
        lost.extend(is_lost.then(|| "user".to_owned()));
        let told_at = fact.created.map(Timestamp::from_second);
        lost.extend(told_at.as_ref().filter(|at| at.is_err()).map(|_| "event.created".to_owned()));
        let at = told_at.and_then(Result::ok).unwrap_or(delivery.received_at());
        let told = fact.props.get("$order_amount").filter(|amount| !amount.is_null());
        let amount =
            told.map(|amount| Money::from_major(&text(amount).unwrap_or_default(), &self.source.currency).ok());
        let cart = amount.is_some();
        lost.extend(amount.iter().filter(|amount| amount.is_none()).map(|_| "$order_amount".to_owned()));
        lost.extend(odd_props(&user, &fact));
        let identifiers = self.identifiers(&user, &fact);
        if identifiers.is_empty() {
            return Err("neither a visitor nor a phone nor an e-mail".into());
        }
        let (labels, cut) = labels(&form, &user, &fact, self.options.typed);
        lost.extend(cut);
        let submitted = FormSubmitted {
            identifiers,
            proof: crate::relayed(self.options.typed),
            name: prop("$name", &user, &fact),
            form: form.text("event_name").or(form.text("message_name")).map(str::to_owned),
            show: self.source.show.as_deref().map(ShowRef::id),
            amount: amount.flatten(),
            consents: vec![],
            labels,
            company: None,
        };
        let body = if cart { Body::CartAbandoned(submitted) } else { Body::FormSubmitted(submitted) };
        // One event of a visitor may cause several webhooks. Each pop-up that it leads to is a separate fact.
        let sending = form.text("sending_id").or(form.text("message_id")).unwrap_or("");
        let id = fact.id.to_string();
        let event = match sending {
            "" => delivery.event(&["event", &id], at, body),
            sending => delivery.event(&["event", &id, sending], at, body),
        };
        NotUnderstood::left_out(lost, vec![event])
    }
}

impl CarrotQuest {
    fn identifiers(&self, user: &User, fact: &Fact) -> std::collections::BTreeSet<Identifier> {
        // Carrot quest's own sample puts a plus before `$phone`. Digits without a plus are international too.
        let phone = prop("$phone", user, fact);
        let mut identifiers =
            contact_identifiers(&self.source, phone.as_deref(), prop("$email", user, fact).as_deref());
        let scope = self.source.name.as_str();
        let own = user.user_id.as_deref().filter(|id| !id.is_empty());
        identifiers.extend(own.and_then(|id| Identifier::opaque(Kind::SiteUser, scope, id)));
        let visitor = user.id.map(|id| id.to_string());
        identifiers.extend(visitor.and_then(|id| Identifier::opaque(Kind::Visitor, scope, &id)));
        identifiers
    }
}

// The event is more recent than the profile.
fn prop(name: &str, user: &User, fact: &Fact) -> Option<String> {
    fact.props.get(name).or_else(|| user.props.get(name)).and_then(text)
}

/// Names of properties of the person that hold no text.
fn odd_props<'p>(user: &'p User, fact: &'p Fact) -> impl Iterator<Item = String> + 'p {
    let is_odd = |value: &Value| value.is_array() || value.is_object();
    let is_nothing =
        |value: &Value| value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
    let all = ["$name", "$phone", "$email", "$city"].into_iter();
    all.filter(move |name| {
        [&fact.props, &user.props].iter().filter_map(|props| props.get(*name)).any(|it| is_odd(it) && !is_nothing(it))
    })
    .map(str::to_owned)
}

fn labels(form: &Form, user: &User, fact: &Fact, is_typed: bool) -> (BTreeMap<String, String>, Vec<String>) {
    let mut labels = if is_typed { Labels::anonymous() } else { Labels::signed() };
    let city = user.props.get("$city").and_then(text).map(|city| ("city", city));
    let scenario = fact.kind.name.clone().map(|name| ("scenario", name));
    // In Carrot quest each variant of an A/B test is a separate message.
    let message = [("message", "message_name"), ("variant", "message_id"), ("sending", "sending_id")];
    let message = message.into_iter().filter_map(|(label, field)| Some((label, form.text(field)?.to_owned())));
    for (label, text) in city.into_iter().chain(scenario).chain(message) {
        labels.add(label, &text.into());
    }
    let own = fact.props.iter().filter(|(key, _)| !key.starts_with('$'));
    let said = |key: &str| fact.props.contains_key(key);
    let marks = user.props.iter().filter(|(key, _)| key.starts_with("utm_") && !said(key));
    own.chain(marks).for_each(|(key, value)| labels.add(key, value));
    labels.fit()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
