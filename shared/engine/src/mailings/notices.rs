//! Computes what a holder must be told about a changed show: how it stands now against what the holder knows.

use stagedoor_model::{Fact, Timestamp, breakage};

use super::{Audience, Mailing, MailingRun};
use crate::{
    Deal, ShowKey, ShowNotice, order_record_key,
    segments::{DealTraits, Test},
};

/// The state of a show for one holder.
pub(super) struct News {
    /// Its latest change.
    pub now: ShowNotice,
    /// The deal's facts `cancelled`, `moved`, `postponed` and `on_again`, as news.
    pub deal: DealTraits,
}

impl MailingRun<'_, '_> {
    /// Returns what is news to the holder. `None`: the show was not changed since it was announced.
    pub(super) fn news(&self, traits: &DealTraits) -> Option<News> {
        let own = self.deals.get(&ShowKey(traits.show.clone()))?;
        let now = *own.show.course.last()?;
        let mut bought = own.show.stood_at(self.known_since(own));
        // A buyer of a cancelled show does not know of the cancellation: sales went on for a while.
        bought.cancelled &= breakage::is_on("buyer-knows-it-is-off");
        // Only earlier changes count: another mailing may have told of the latest one already.
        // A notice of an order may be later than the report that says the same.
        let is_known = |told: &ShowNotice| *told < now || told.changed_at > now.changed_at && told.says_the_same(&now);
        let told = self.told(traits).filter(is_known).max();
        let known = told.unwrap_or(bought);
        let is_as_announced = now.starts_at == bought.starts_at && !bought.cancelled;
        let mut deal = traits.clone();
        deal.cancelled = now.cancelled && !known.cancelled;
        let differs = !now.says_the_same(&known) && !now.cancelled;
        deal.postponed = differs && now.postponed;
        deal.on_again =
            differs && !now.postponed && (now.starts_at == known.starts_at || (is_as_announced && told.is_some()));
        // If no mailing tells that a show is back at its first date, that counts as any other move.
        let back = deal.on_again && now.starts_at != known.starts_at && !self.tells_on_again();
        deal.moved = (differs && !deal.on_again && !now.postponed && now.starts_at.is_some()) || back;
        if breakage::is_on("moved-by-first-date") {
            (deal.cancelled, deal.moved, deal.on_again) = (traits.cancelled, traits.moved, false);
        }
        Some(News { now, deal })
    }

    fn tells_on_again(&self) -> bool {
        let tells = |one: &Mailing| matches!(&one.to, Audience::Deals(rule) if rule.asks(&Test::OnAgain));
        self.catalog.mailings.iter().any(tells)
    }

    /// Returns the notices about this show that the person was sent.
    fn told(&self, traits: &DealTraits) -> impl Iterator<Item = ShowNotice> {
        let own = self.link.written.iter();
        let own = own.filter(|(_, written)| written.show.as_ref().is_some_and(|show| show.0 == traits.show));
        own.filter(|(_, written)| !written.steps.is_empty()).filter_map(|(key, written)| {
            // Earlier builds stored the notice only in the key.
            written.told.or_else(|| of_key(key, written.began_at))
        })
    }

    /// Returns since when the person knows of the show: the time of the deal's first order.
    fn known_since(&self, deal: &Deal) -> Timestamp {
        let order =
            |(source, id): &(String, String)| match &self.person.records.get(&order_record_key(source, id))?.fact {
                Fact::Order { order, .. } => Some(order.as_ref()?.placed_at),
                _ => None,
            };
        deal.made_of.iter().filter_map(order).min().unwrap_or(deal.since)
    }

    /// Returns the key of the occasion of a change. An occasion that an earlier build began keeps its key.
    pub(super) fn key_of_change(&self, mailing: &str, show: &str, now: &ShowNotice) -> String {
        let state = if now.cancelled { "off" } else { "on" };
        let start = now.starts_at.map_or(0, Timestamp::as_second);
        let plain = format!("{mailing}|{show}|{start}|{state}");
        let begun = self.link.written.get(&plain).filter(|written| written.told.is_none());
        match begun.is_some_and(|written| written.began_at >= now.changed_at) {
            true => plain,
            false => format!("{plain}|{}", now.changed_at.as_nanosecond()),
        }
    }
}

/// Reads the notice in a key of an earlier build: `<mailing>|<show>|<start>|<on or off>`.
fn of_key(key: &str, changed_at: Timestamp) -> Option<ShowNotice> {
    let mut parts = key.rsplit('|');
    let cancelled = match parts.next()? {
        "on" => false,
        "off" => true,
        _ => return None,
    };
    let start: i64 = parts.next()?.parse().ok()?;
    let starts_at = Timestamp::from_second(start).ok().filter(|_| start != 0);
    Some(ShowNotice { changed_at, cancelled, ..ShowNotice::announced(starts_at) })
}
