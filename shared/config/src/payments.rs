//! The shop whose orders a payment provider reports on.

use std::collections::BTreeSet;

use stagedoor_model::breakage;
use toml::de::DeTable;

use crate::{
    Configured,
    reader::{Reader, spot},
};

impl Reader<'_> {
    /// Checks that each `orders_of` names a source that sells. Otherwise its payments would settle no order.
    pub(crate) fn orders_of_sources(&mut self, root: &DeTable<'_>, sources: &[Configured], names: &BTreeSet<String>) {
        let shop_of = |one: &Configured| one.source.options.get("orders_of")?.as_str().map(str::to_owned);
        for one in sources {
            let name = one.source.name.as_str();
            let Some(shop) = shop_of(one) else { continue };
            let sells = sources.iter().find(|other| other.source.name.as_str() == shop);
            // A source with an error has a message of its own.
            let is_known = sells.is_none() && names.contains(&shop);
            let is_shop = sells.is_some_and(|other| other.function == "ticketing" && shop_of(other).is_none());
            if is_known || is_shop {
                continue;
            }
            let shops = sources.iter().filter(|one| one.function == "ticketing" && shop_of(one).is_none());
            let shops: Vec<&str> = shops.map(|one| one.source.name.as_str()).collect();
            let known = if shops.is_empty() { "a source of function \"ticketing\"".into() } else { shops.join(", ") };
            let what = format!("{shop:?} is no source that tells of orders, expected one of {known}");
            let value = root.get("source").and_then(|table| table.get_ref().get(name));
            let span = value.map_or(0..0, |value| spot(value, "options"));
            if !breakage::is_on("orders-of-nobody-pass") {
                self.errors.note(span, format!("source.{name}.options.orders_of"), what);
            }
        }
    }
}
