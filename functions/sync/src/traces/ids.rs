//! Whether a value of a body is the id of a person, an order or a chat. A shop's customer 150000 is no price of 150000.

use stagedoor_model::{Identifier, Kind, SECOND_CRM, SourceName};

use super::spellings::Leaf;

/// How the names of amounts and moments begin or end.
const AMOUNTS: [&str; 15] = [
    "price", "total", "sum", "amount", "paid", "cost", "minor", "discount", "fee", "tax", "quantity", "qty", "balance",
    "date", "time",
];
/// What an order's own id is called, and what an order may be wrapped in.
const OWN: [&str; 4] = ["id", "number", "code", "uuid"];
const WRAPPERS: [&str; 6] = ["data", "object", "payload", "body", "result", "event"];

/// True if the id has something else than digits. Such an id is found by chance nowhere.
pub(super) fn is_telling(id: &str) -> bool {
    id.chars().any(|letter| !letter.is_ascii_digit())
}

/// True if deliveries of this source may speak of the identifier. `function` is the one that received the delivery.
pub(super) fn is_of_source(identifier: &Identifier, source: &SourceName, function: &str) -> bool {
    match identifier.kind() {
        Kind::CrmContact | Kind::CrmLead => {
            function == "crm" && (identifier.scope() == SECOND_CRM) == (source.as_str() == SECOND_CRM)
        }
        // Its scope is the shop. The payment provider names it, too, and is another source.
        Kind::Payment if is_telling(identifier.value()) => true,
        _ => identifier.scope().is_empty() || identifier.scope() == source.as_str(),
    }
}

/// True if the whole value is the id, and a number stands where such an id stands.
pub(super) fn is_id(identifier: &Identifier, leaf: &Leaf) -> bool {
    let text = leaf.text.trim();
    let is_it = text.to_lowercase() == identifier.value().to_lowercase();
    is_it && (is_telling(text) || is_place_of(identifier.kind(), &leaf.path))
}

/// True if the names that lead to a number say that it is an id of this kind.
fn is_place_of(kind: Kind, path: &[String]) -> bool {
    let path: Vec<String> = path.iter().map(|name| name.to_lowercase()).collect();
    let Some((last, around)) = path.split_last() else { return false };
    if AMOUNTS.iter().any(|word| last.starts_with(*word) || last.ends_with(*word)) || last.ends_with("_at") {
        return false;
    }
    let words = words_of(kind);
    let is_named = path.iter().any(|name| name.contains(kind.name()) || words.iter().any(|word| name.contains(*word)));
    let is_bare = OWN.contains(&last.as_str()) && around.iter().all(|name| WRAPPERS.contains(&name.as_str()));
    is_named || kind == Kind::Order && is_bare
}

/// Words in the names under which ids of this kind stand.
fn words_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Order => &["order", "purchase", "booking"],
        Kind::Payment => &["payment", "transaction", "charge", "refund", "invoice"],
        Kind::Customer | Kind::SiteUser => {
            &["customer", "client", "buyer", "user", "person", "payer", "account", "contact", "member"]
        }
        Kind::CrmContact => &["contact"],
        Kind::CrmLead => &["lead", "deal"],
        _ => &["chat", "user", "from", "sender", "recipient", "peer", "client", "profile", "contact"],
    }
}
