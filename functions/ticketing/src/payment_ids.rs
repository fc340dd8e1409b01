//! A provider's ids of payments, as a shop keeps them beside its orders. Money that names no order is found by them.

use stagedoor_model::{Identifier, Kind};
use stagedoor_webhook::Source;

/// The identifiers of the payments that an order names.
pub(crate) fn payment_ids<'t>(
    source: &'t Source,
    told: impl IntoIterator<Item = Option<&'t str>>,
) -> impl Iterator<Item = Identifier> {
    let told = told.into_iter().flatten().map(str::trim).filter(|text| is_id(text));
    told.filter_map(move |id| Identifier::opaque(Kind::Payment, source.name.as_str(), id))
}

/// True for a text that only a provider makes: `pi_3Nx…`, or sixteen letters and digits at least. Managers type notes into
/// the same field: "cash", "POS-1", the number of a bank transfer, the account that it went to (IBAN). Strangers' orders
/// may have the same note, and it would make them one person.
fn is_id(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.bytes().any(|byte| is(&byte));
    let is_word = text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_short = |kind: &str| (2..=4).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_lowercase());
    let has_kind = text.split_once('_').is_some_and(|(kind, rest)| is_short(kind) && rest.len() >= 4);
    let is_account = matches!(text.as_bytes(), [a, b, c, d, ..] if [a, b].iter().all(|one| one.is_ascii_uppercase())
        && [c, d].iter().all(|one| one.is_ascii_digit()));
    is_word && !is_account && (has_kind || text.len() >= 16) && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
}
