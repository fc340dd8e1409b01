//! A site's own form: JSON or form-encoded, with a declared mapping of fields. The contract is ours:
//! docs/providers/form.md.
//!
//! A server signs by Standard Webhooks. A browser cannot keep a secret. It shows the source's public key, the hub
//! checks its origin, and CORS admits it.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use stagedoor_model::{
    Body, Company, Event, FormSubmitted, Identifier, Kind, Money, Proof, ShowRef, Timestamp, breakage, clean_name,
};
use stagedoor_webhook::{
    Accepts, Answer, Delivery, Form as Fields, FormValue, NotUnderstood, Provider, Reject, Source, Verified,
    VerifiedDelivery, contact_identifiers, parse_json, scan, signature,
};

use crate::{consents, labels::Labels, plain::plain};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Options {
    auth: Auth,
    /// Origins of the pages that may post, such as `https://example.ru`. For `auth = "browser"`.
    origins: Vec<String>,
    /// The form's names of fields, by our names.
    fields: BTreeMap<String, String>,
    /// A field that people do not see. Only robots fill it in, and their forms are dropped.
    honeypot: Option<String>,
    /// Number of forms that one client may send in an hour, by its address. For `auth = "browser"`.
    forms_per_hour: Option<NonZeroU32>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Auth {
    #[default]
    Signature,
    Browser,
}

impl Auth {
    /// The key of a page is public, so anybody can send any value.
    fn proof(self) -> Proof {
        match self {
            Self::Signature => Proof::Signed,
            Self::Browser => Proof::Claimed,
        }
    }
}

/// Maximum size of a page's form in bytes. The page's key is public, so anybody can send a form.
const MAX_ANONYMOUS: usize = 64 * 1024;

/// Maximum length in characters of a name, of a form's name and of a show's key. A longer text is not one of these.
const SHORT: usize = 200;

/// The default limit. Many people may share one address of a mobile network.
const FORMS_PER_HOUR: NonZeroU32 = NonZeroU32::new(60).expect("not zero");

/// Maximum number of browser ids in one form. Each is one more key under which the person is found.
const HINTS: usize = 16;

struct SiteForm {
    source: Source,
    options: Options,
}

const KNOWN: [&str; 18] = [
    "kind", "form", "email", "phone", "name", "show", "amount", "currency", "at", "consents", "utm", "ids", "user_id",
    "cart_id", "company", "inn", "kpp", "typed",
];

pub fn build(source: &Source) -> Result<Box<dyn Provider>, String> {
    let options: Options = source.options()?;
    if options.auth == Auth::Browser && options.origins.is_empty() {
        return Err(
            "options.origins is empty: name the origins of the pages that may post, such as \"https://example.ru\""
                .into(),
        );
    }
    let strange = options.fields.keys().filter(|key| !KNOWN.contains(&key.as_str()));
    let strange = strange.map(|key| format!("options.fields.{key} is unknown, expected one of {}", KNOWN.join(", ")));
    let checked = options.origins.iter().filter_map(|text| origin_mistake(text)).chain(trap_mistake(&options));
    let mistakes: Vec<String> = strange.chain(checked.filter(|_| !breakage::is_on("odd-form-options-pass"))).collect();
    if !mistakes.is_empty() {
        return Err(mistakes.join("; "));
    }
    Ok(Box::new(SiteForm { source: source.clone(), options }))
}

/// The error of an origin. Browsers send only the scheme, the host and an unusual port.
fn origin_mistake(text: &str) -> Option<String> {
    let read = text.parse::<http::Uri>().ok().filter(|uri| uri.scheme().is_some() && uri.authority().is_some());
    let Some((scheme, authority)) = read.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?))) else {
        return Some(format!(
            "options.origins holds {text:?}, which no browser sends: expected such as \"https://example.ru\", a name of \
             other letters as xn--…"
        ));
    };
    let port = authority.port_u16().filter(|port| !matches!((scheme, port), ("https", 443) | ("http", 80)));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let meant = format!("{}://{}{port}", scheme.to_lowercase(), authority.host().to_lowercase());
    (meant != text).then(|| format!("options.origins holds {text:?}, which no browser sends: write {meant:?}"))
}

/// The error of a honeypot field that people fill in, because their forms would be dropped.
fn trap_mistake(options: &Options) -> Option<String> {
    let trap = options.honeypot.as_deref()?;
    let called = |own: &&&str| options.fields.get(**own).map_or(**own, String::as_str) == trap;
    let own = KNOWN.iter().find(called).or_else(|| (trap == "key").then_some(&"key"))?;
    Some(format!(
        "options.honeypot is {trap:?}, where the form has {own}: every form would be dropped; name a field that people do \
         not see"
    ))
}

impl Provider for SiteForm {
    fn accepts(&self) -> Accepts {
        Accepts::JsonOrForm
    }

    fn secret_fields(&self) -> Vec<String> {
        vec!["key".into()]
    }

    fn verify_head(&self, head: &Delivery) -> Result<(), Reject> {
        match self.options.auth {
            Auth::Signature => signature::offered(head, "webhook-signature"),
            Auth::Browser => self.origin(head).map(drop).ok_or(Reject::WrongOrigin),
        }
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Reject> {
        match self.options.auth {
            Auth::Signature => signature::standard_webhooks(delivery, &self.source.secrets),
            Auth::Browser => {
                self.origin(delivery).ok_or(Reject::WrongOrigin)?;
                if delivery.body.len() > MAX_ANONYMOUS {
                    return Err(Reject::TooLarge);
                }
                let in_body = || match delivery.is_form() {
                    true => scan::form_field(&delivery.body, "key"),
                    false => scan::json_field(&delivery.body, "key"),
                };
                let shown = delivery.header("x-stagedoor-key").map(str::to_owned).or_else(in_body);
                signature::shown(shown.as_deref(), &self.source.secrets)
            }
        }
    }

    fn parse(&self, delivery: &VerifiedDelivery) -> Result<Vec<Event>, NotUnderstood> {
        let body = read(delivery.body(), delivery.is_form())?;
        let field = |name: &str| body.get(self.options.fields.get(name).map_or(name, String::as_str));
        let text = |name: &str| field(name).and_then(plain);
        if self.options.honeypot.as_ref().and_then(|trap| plain(body.get(trap)?)).is_some() {
            return Ok(vec![]);
        }
        let mut identifiers = contact_identifiers(&self.source, text("phone").as_deref(), text("email").as_deref());
        // A server that only relays a form knows as little about its author as a page does.
        // A flag that cannot be read proves nothing.
        let flag = field("typed").filter(|it| !says_nothing(it));
        let is_typed =
            flag.is_some_and(|it| consents::given(it) != Some(false)) && !breakage::is_on("typed-form-proves");
        let knows_visitor = self.is_signed() && !is_typed;
        // Only the site's own server knows which user the visitor is.
        let user = text("user_id").filter(|_| knows_visitor);
        identifiers.extend(user.and_then(|id| Identifier::opaque(Kind::SiteUser, self.source.name.as_str(), &id)));
        if identifiers.is_empty() {
            return Err("no phone, no e-mail and no user id in the form".into());
        }
        let hints = known_shared(field("ids"));
        let has_many = hints.len() > HINTS;
        identifiers.extend(hints.into_iter().take(HINTS));
        let currency = text("currency").unwrap_or_else(|| self.source.currency.clone());
        // An unreadable value loses only itself, and the reason names it.
        let mut lost = Vec::new();
        let amount = text("amount").map(|amount| Money::from_major(&amount, &currency));
        lost.extend(amount.as_ref().and_then(|amount| amount.as_ref().err()).map(|error| format!("amount ({error})")));
        // Anybody can set a browser's clock and this field.
        let told = text("at").filter(|_| self.is_signed() || breakage::is_on("browser-dates-itself"));
        let told = told.map(|at| at.parse::<Timestamp>());
        lost.extend(told.as_ref().filter(|told| told.is_err()).map(|_| "at (not RFC 3339)".to_owned()));
        let at = told.and_then(Result::ok).unwrap_or(delivery.received_at());
        let consents::Read { claims: consents, lost: odd } = field("consents").map(consents::read).unwrap_or_default();
        lost.extend(odd);
        lost.extend(self.strange(&body));
        lost.extend(has_many.then(|| format!("ids (more than {HINTS})")));
        let (labels, cut) = self.labels(&body, field("utm"), knows_visitor);
        lost.extend(cut);
        let is_long = |name: &&str| text(name).is_some_and(|text| text.chars().nth(SHORT).is_some());
        lost.extend(
            ["name", "form", "show"].iter().filter(|name| is_long(name)).map(|name| format!("{name} (too long)")),
        );
        let short = |name: &str| text(name).map(|text| text.chars().take(SHORT).collect::<String>());
        // In a browser nobody proves whose cart it is. The cart's e-mail would go to an address that a stranger chose.
        let has_cart = knows_visitor || breakage::is_on("anonymous-counts-in-full");
        let cart = has_cart && text("kind").as_deref() == Some("cart_abandoned");
        // A stranger may name any company. A manager reads the name, but it creates and joins no company.
        let names_company = knows_visitor || breakage::is_on("strangers-speak-for-companies");
        let company = Company::read(text("company").as_deref(), text("inn").as_deref(), text("kpp").as_deref());
        let claimed = ["company", "inn", "kpp"].into_iter().filter(|_| !names_company);
        let claimed = claimed.filter_map(|name| Some((name.to_owned(), clean_name(&text(name)?)?)));
        let form = FormSubmitted {
            identifiers,
            proof: if is_typed { Proof::Claimed } else { self.options.auth.proof() },
            name: short("name"),
            form: short("form"),
            show: short("show").or_else(|| self.source.show.clone()).map(ShowRef::id),
            amount: amount.and_then(Result::ok).filter(|_| has_cart),
            consents,
            labels: labels.into_iter().chain(claimed).collect(),
            company: company.filter(|_| names_company),
        };
        let fact = self.fact(delivery, !form.consents.is_empty());
        let body = if cart { Body::CartAbandoned(form) } else { Body::FormSubmitted(form) };
        let event = delivery.event(&["form", &fact], at, body);
        let events = vec![Event { is_anonymous: !knows_visitor, ..event }];
        NotUnderstood::left_out(lost, events)
    }

    fn answer(&self, delivery: &Delivery) -> Answer {
        let mut answer = Answer::json("{\"ok\":true}");
        answer.headers.extend(self.cors(delivery));
        answer
    }

    fn handshake(&self, delivery: &Delivery) -> Option<Answer> {
        let preflight = delivery.method == "OPTIONS" && self.options.auth == Auth::Browser;
        self.origin(delivery).filter(|_| preflight)?;
        Some(Answer { status: StatusCode::NO_CONTENT, headers: self.cors(delivery), body: String::new() })
    }

    fn strangers_per_hour(&self) -> Option<NonZeroU32> {
        (!self.is_signed()).then(|| self.options.forms_per_hour.unwrap_or(FORMS_PER_HOUR))
    }

    fn takes_beacons(&self) -> bool {
        self.options.auth == Auth::Browser
    }

    fn says_what_is_strange(&self) -> bool {
        true
    }

    fn kept_headers(&self) -> &'static [&'static str] {
        &["content-type", "webhook-id"]
    }
}

impl SiteForm {
    fn is_signed(&self) -> bool {
        self.options.auth == Auth::Signature
    }

    fn origin<'d>(&self, delivery: &'d Delivery) -> Option<&'d str> {
        delivery.header("origin").filter(|origin| self.options.origins.iter().any(|known| known == origin))
    }

    fn cors(&self, delivery: &Delivery) -> Vec<(&'static str, String)> {
        let Some(origin) = self.origin(delivery) else { return vec![] };
        vec![
            ("access-control-allow-origin", origin.to_owned()),
            ("access-control-allow-methods", "POST".to_owned()),
            ("access-control-allow-headers", "content-type, x-stagedoor-key".to_owned()),
            ("access-control-max-age", "86400".to_owned()),
            ("vary", "origin".to_owned()),
        ]
    }

    /// The parts of the fact's id. A signed delivery keeps its id over retries. A browser has no id, so the same
    /// content on one day is one fact. Consents count anew each second, because a withdrawal may stand between two of
    /// them.
    fn fact(&self, delivery: &VerifiedDelivery, has_consents: bool) -> String {
        match (self.options.auth, delivery.header("webhook-id")) {
            (Auth::Signature, Some(id)) => id.to_owned(),
            _ => {
                let consents = has_consents && !breakage::is_on("same-day-consent-unheard");
                let day = delivery.received_at().strftime(if consents { "%F %T" } else { "%F" });
                format!("{day} {}", String::from_utf8_lossy(delivery.body()))
            }
        }
    }

    /// Names of fields whose value does not suit their purpose.
    fn strange(&self, body: &serde_json::Map<String, Value>) -> Vec<String> {
        let is_odd = |name: &&str| {
            let value = body.get(self.options.fields.get(*name).map_or(*name, String::as_str));
            let is_plain = |it: &Value| it.is_string() || it.is_number();
            value.is_some_and(|it| {
                let fits = match (*name, it) {
                    ("utm" | "ids", Value::Object(all)) => all.values().all(|one| is_plain(one) || says_nothing(one)),
                    ("utm" | "ids", _) => false,
                    ("typed", it) => consents::given(it).is_some(),
                    _ => is_plain(it) || plain(it).is_some(),
                };
                !says_nothing(it) && !fits && it.as_object().is_none_or(|fields| !fields.is_empty())
            })
        };
        let read = KNOWN.iter().filter(|name| !["consents"].contains(name));
        read.copied().filter(is_odd).filter(|_| !breakage::is_on("odd-field-unnamed")).map(str::to_owned).collect()
    }

    /// Other fields of the visitor and the campaign's marks, with the names of fields that are left out.
    fn labels(
        &self,
        body: &serde_json::Map<String, Value>,
        utm: Option<&Value>,
        knows_visitor: bool,
    ) -> (BTreeMap<String, String>, Vec<String>) {
        let mapped = |key: &str| KNOWN.contains(&key) || self.options.fields.values().any(|name| name == key);
        let mut labels = if knows_visitor { Labels::signed() } else { Labels::anonymous() };
        for (key, value) in body.iter().filter(|(key, _)| !mapped(key) && *key != "key") {
            labels.add(key, value);
        }
        for (key, value) in utm.and_then(Value::as_object).into_iter().flatten() {
            // A value that is no text is already named as odd.
            if let Some(text) = plain(value) {
                labels.add(&format!("utm_{key}"), &text.into());
            }
        }
        labels.fit()
    }
}

fn read(body: &[u8], is_form: bool) -> Result<serde_json::Map<String, Value>, NotUnderstood> {
    if is_form {
        let form = Fields::parse(body);
        return Ok(form.fields().map(|(key, value)| (key.to_owned(), tree(value))).collect());
    }
    match parse_json(body)? {
        Value::Object(fields) => Ok(fields),
        // The form is the only item of a list.
        Value::Array(mut items) if items.len() == 1 => match items.pop() {
            Some(Value::Object(fields)) => Ok(fields),
            _ => Err("JSON of another shape: it is no object".into()),
        },
        _ => Err("JSON of another shape: it is no object".into()),
    }
}

/// Fields such as `utm[source]=x` and `consents[0][given]=no`, as JSON.
pub fn tree(value: &FormValue) -> Value {
    match &value.text {
        Some(text) if value.children.is_empty() || !text.is_empty() => Value::String(text.clone()),
        _ => Value::Object(value.children.iter().map(|(key, child)| (key.clone(), tree(child))).collect()),
    }
}

fn known_shared(ids: Option<&Value>) -> BTreeSet<Identifier> {
    let ids = ids.and_then(Value::as_object).into_iter().flatten();
    let ids = ids.filter(|(scope, _)| scope.len() <= 64);
    ids.filter_map(|(scope, value)| Identifier::opaque(Kind::Cookie, scope, &plain(value)?)).collect()
}

/// True for a field that its sender left empty.
fn says_nothing(it: &Value) -> bool {
    it == "" || it.as_array().is_some_and(Vec::is_empty) || it.is_null()
}
