//! Carrot quest: leads caught by pop-ups, with their scenario and variant.
//!
//! Source: developers.carrotquest.io/webhooks (form-encoded; `token` from the admin panel; 200 or it is repeated).
//! Fields inside `user` and `event`: pastebin.com/pkgCESs5, by their staff.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use stagedoor_model::{Body, Event, FormSubmitted, Identifier, Kind, Money, Proof, ShowRef, Timestamp};
use stagedoor_webhook::{
    Accepts, Delivery, Form, NotUnderstood, Provider, Reject, Source, Verified, VerifiedDelivery, contact_identifiers,
    scan, signature,
};

struct CarrotQuest {
    source: Source,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    _ = source.options::<Options>()?;
    Ok(Box::new(CarrotQuest { source: source.clone() }))
}

#[derive(Deserialize)]
struct User {
    id: u64,
    #[serde(default)]
    user_id: Option<Value>,
    #[serde(default)]
    props: Map<String, Value>,
}

#[derive(Deserialize)]
struct Fact {
    id: u64,
    /// Unix seconds.
    created: i64,
    #[serde(rename = "type")]
    kind: FactKind,
    #[serde(default)]
    props: Map<String, Value>,
}

#[derive(Deserialize)]
struct FactKind {
    name: String,
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
        let user: User = serde_json::from_str(form.text("user").ok_or("no user")?)?;
        let fact: Fact = serde_json::from_str(form.text("event").ok_or("no event")?)?;
        let at = Timestamp::from_second(fact.created).map_err(|_| NotUnderstood::from("event.created is no time"))?;
        let amount =
            fact.props.get("$order_amount").and_then(text).map(|text| Money::from_major(&text, &self.source.currency));
        let cart = amount.is_some();
        let submitted = FormSubmitted {
            identifiers: self.identifiers(&user, &fact),
            proof: Proof::Signed,
            name: prop("$name", &user, &fact),
            form: form.text("event_name").or(form.text("message_name")).map(str::to_owned),
            show: self.source.show.as_deref().map(ShowRef::id),
            amount: amount.transpose().map_err(|error| NotUnderstood::new(format!("$order_amount: {error}")))?,
            consents: vec![],
            labels: labels(&form, &user, &fact),
            company: None,
        };
        let body = if cart { Body::CartAbandoned(submitted) } else { Body::FormSubmitted(submitted) };
        // One event of a visitor may set off several webhooks: each pop-up that it leads to is a fact of its own.
        let sending = form.text("sending_id").or(form.text("message_id")).unwrap_or("");
        let id = fact.id.to_string();
        Ok(vec![match sending {
            "" => delivery.event(&["event", &id], at, body),
            sending => delivery.event(&["event", &id, sending], at, body),
        }])
    }
}

impl CarrotQuest {
    fn identifiers(&self, user: &User, fact: &Fact) -> std::collections::BTreeSet<Identifier> {
        // Their own sample puts a plus before `$phone`: digits without one are international.
        let phone = prop("$phone", user, fact);
        let mut identifiers =
            contact_identifiers(&self.source, phone.as_deref(), prop("$email", user, fact).as_deref());
        let scope = self.source.name.as_str();
        let own = user.user_id.as_ref().and_then(text);
        identifiers.extend(own.and_then(|id| Identifier::opaque(Kind::SiteUser, scope, &id)));
        identifiers.extend(Identifier::opaque(Kind::Visitor, scope, &user.id.to_string()));
        identifiers
    }
}

// What the event itself says is fresher than the profile.
fn prop(name: &str, user: &User, fact: &Fact) -> Option<String> {
    fact.props.get(name).or_else(|| user.props.get(name)).and_then(text)
}

fn labels(form: &Form, user: &User, fact: &Fact) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([("scenario".to_owned(), fact.kind.name.clone())]);
    // In Carrot quest each variant of an A/B test is a message of its own.
    for (label, field) in [("message", "message_name"), ("variant", "message_id"), ("sending", "sending_id")] {
        labels.extend(form.text(field).map(|value| (label.to_owned(), value.to_owned())));
    }
    let own = fact.props.iter().filter(|(key, _)| !key.starts_with('$'));
    let marks = user.props.iter().filter(|(key, _)| key.starts_with("utm_"));
    labels.extend(own.chain(marks).filter_map(|(key, value)| Some((key.clone(), text(value)?))).take(40));
    labels.extend(user.props.get("$city").and_then(text).map(|city| ("city".to_owned(), city)));
    labels
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
