//! Segments: the rules, the people who fulfil them, and since when. A rule is true for a person at an instant. If
//! time alone can change it, the evaluation also returns the next instant at which it can.

mod language;
mod parse;
mod segment;
mod traits;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

pub(crate) use language::Test;
use language::{Count, Moment, Text};
pub use language::{Facets, Rule, Wrong};
pub use parse::{parse, parse_of_deal};
pub use segment::Segment;
use stagedoor_model::{LeadChanged, Timestamp};
pub use traits::{DealTraits, LetterTraits, Looked, Traits};

use crate::Mailing;

/// The segments of a person at an instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    pub of: BTreeSet<String>,
    /// When the result may change by time alone. The person must be evaluated again then.
    pub again_at: Option<Timestamp>,
}

/// Evaluates every segment.
pub fn evaluate(segments: &[Segment], traits: &Traits, now: Timestamp) -> Membership {
    reevaluate(segments, traits, now, Facets::ALL, &BTreeSet::new())
}

/// Evaluates the segments whose rules depend on what `changed` or on time. For the others the result in `known`
/// stays.
pub fn reevaluate(
    segments: &[Segment],
    traits: &Traits,
    now: Timestamp,
    changed: Facets,
    known: &BTreeSet<String>,
) -> Membership {
    let mut membership = Membership::default();
    for segment in segments {
        let facets = segment.rule.facets();
        let is_in = match facets.meets(changed.and(Facets::TIME)) {
            true => Look { traits, now, again_at: &mut membership.again_at }.rule(&segment.rule, None),
            false => known.contains(&segment.name),
        };
        if is_in {
            membership.of.insert(segment.name.clone());
        }
    }
    membership
}

/// Returns true if a rule is true for a person, or for one of their deals. Moves `again_at` to the earliest instant
/// at which time alone may change that.
pub(crate) fn holds(
    rule: &Rule,
    traits: &Traits,
    deal: Option<&DealTraits>,
    now: Timestamp,
    again_at: &mut Option<Timestamp>,
) -> bool {
    Look { traits, now, again_at }.rule(rule, deal)
}

/// Explains why a person is in a segment or not: one line with yes or no for each test of the rule.
pub fn why(segment: &Segment, traits: &Traits, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    explain(&segment.rule, traits, now, None, 0, &mut lines);
    lines
}

fn explain(
    rule: &Rule,
    traits: &Traits,
    now: Timestamp,
    deal: Option<&DealTraits>,
    depth: usize,
    lines: &mut Vec<String>,
) {
    let holds = Look { traits, now, again_at: &mut None }.rule(rule, deal);
    let mark = if holds { "yes" } else { "no " };
    let mut line = |what: String| lines.push(format!("{mark} {}{what}", "  ".repeat(depth)));
    match rule {
        Rule::All(rules) | Rule::Any(rules) => {
            line(if matches!(rule, Rule::All(_)) { "all of" } else { "one of" }.to_owned());
            rules.iter().for_each(|rule| explain(rule, traits, now, deal, depth + 1, lines));
        }
        Rule::Not(rule) => {
            line("not".to_owned());
            explain(rule, traits, now, deal, depth + 1, lines);
        }
        Rule::Deal(rule) => {
            line(format!("one of {} deals", traits.deals.len()));
            for deal in &traits.deals {
                lines.push(format!("    {}deal {} ({})", "  ".repeat(depth), deal.show, deal.stage.name()));
                explain(rule, traits, now, Some(deal), depth + 2, lines);
            }
        }
        Rule::Test(test) => line(format!("{test}")),
    }
}

/// One evaluation of rules for a person.
struct Look<'l> {
    traits: &'l Traits,
    now: Timestamp,
    again_at: &'l mut Option<Timestamp>,
}

impl Look<'_> {
    /// Evaluates every part, also if one part decides: each part may set `again_at`.
    #[allow(clippy::unnecessary_fold, reason = "any and all stop at the first that decides")]
    fn rule(&mut self, rule: &Rule, deal: Option<&DealTraits>) -> bool {
        match rule {
            Rule::All(rules) => rules.iter().fold(true, |all, rule| self.rule(rule, deal) && all),
            Rule::Any(rules) => rules.iter().fold(false, |any, rule| self.rule(rule, deal) || any),
            Rule::Not(rule) => !self.rule(rule, deal),
            Rule::Deal(rule) => {
                let traits = self.traits;
                traits.deals.iter().fold(false, |any, deal| self.rule(rule, Some(deal)) || any)
            }
            Rule::Test(test) => self.test(test, deal),
        }
    }

    fn test(&mut self, test: &Test, deal: Option<&DealTraits>) -> bool {
        let traits = self.traits;
        let named =
            |letter: &&LetterTraits, campaign: &Option<String>| campaign.is_none() || letter.campaign == *campaign;
        match test {
            Test::Bought => traits.deals.iter().any(|deal| deal.tickets > 0),
            Test::PromoUnused => traits.promo_unused,
            Test::MovedByManager => deal.is_some_and(|deal| deal.moved_to.is_some()),
            Test::Cancelled => deal.is_some_and(|deal| deal.cancelled),
            Test::Moved => deal.is_some_and(|deal| deal.moved),
            Test::OnAgain => deal.is_some_and(|deal| deal.on_again),
            Test::Postponed => deal.is_some_and(|deal| deal.postponed),
            Test::Consent(channel) => traits.consents.contains(channel),
            Test::Withdrawn(channel) => traits.withdrawn.contains(channel),
            Test::Reached(way) => traits.ways.contains(way.as_str()),
            Test::Opened(campaign) => {
                traits.letters.iter().filter(|one| named(one, campaign)).any(|one| one.seen_at.is_some())
            }
            Test::Clicked(campaign) => traits.letters.iter().filter(|one| named(one, campaign)).any(|one| one.clicked),
            Test::Received(campaign) => {
                traits.letters.iter().filter(|one| named(one, campaign)).any(|one| one.delivered)
            }
            Test::Count(count, op, number) => {
                self.count(*count, deal).is_some_and(|counted| op.holds(&(counted as f64), number))
            }
            Test::Text(text, is, value) => self.text(text, value, deal) == *is,
            Test::Stage(op, stage) => deal.is_some_and(|deal| op.holds(&deal.stage, stage)),
            Test::Age(moment, op, span) => self.moment(*moment, deal).is_some_and(|at| {
                let passed = self.now.as_second() - at.as_second();
                self.look_again(at.as_second().saturating_add(*span));
                op.holds(&passed, span)
            }),
            Test::Until(moment, op, span) => self.moment(*moment, deal).is_some_and(|at| {
                let left = at.as_second() - self.now.as_second();
                self.look_again(at.as_second().saturating_sub(*span));
                op.holds(&left, span)
            }),
        }
    }

    /// Schedules an evaluation at the second at which a comparison may change, or one second later if that has
    /// passed: `>=` changes at the first, `>` at the second.
    fn look_again(&mut self, second: i64) {
        let now = self.now.as_second();
        let Some(next) = [second, second.saturating_add(1)].into_iter().find(|at| *at > now) else { return };
        if let Ok(at) = Timestamp::from_second(next) {
            *self.again_at = Some(self.again_at.map_or(at, |known| known.min(at)));
        }
    }

    fn count(&mut self, count: Count, deal: Option<&DealTraits>) -> Option<i64> {
        Some(match count {
            Count::Orders => self.traits.orders as i64,
            Count::Letters => self.traits.letters.iter().filter(|letter| letter.delivered).count() as i64,
            Count::Visits => {
                self.visits_to_come();
                self.traits.visits(self.now) as i64
            }
            Count::Tickets => deal?.tickets as i64,
            Count::Worth => deal?.worth,
            Count::CrmStage => i64::try_from(deal?.moved_to?).ok()?,
        })
    }

    /// Schedules an evaluation at the start of the next show with tickets.
    fn visits_to_come(&mut self) {
        let to_come = self.traits.deals.iter().filter(|deal| deal.tickets > 0).filter_map(|deal| deal.starts_at);
        let next = to_come.filter(|at| *at > self.now).min();
        if let Some(at) = next {
            self.look_again(at.as_second());
        }
    }

    fn text(&self, text: &Text, value: &str, deal: Option<&DealTraits>) -> bool {
        match text {
            Text::City => deal.is_some_and(|deal| deal.city.as_deref() == Some(value)),
            Text::Show => deal.is_some_and(|deal| deal.show == value),
            Text::Campaign => deal.is_some_and(|deal| deal.campaign.as_deref() == Some(value)),
            Text::CrmStage => deal.is_some_and(|deal| deal.moved_to == Some(LeadChanged::number_of_stage(value))),
            Text::Label(name) => self.traits.labels.get(name).is_some_and(|values| values.contains(value)),
            Text::Tag => {
                let tags = ["tag", "tags"].iter().filter_map(|name| self.traits.labels.get(*name)).flatten();
                tags.flat_map(|tags| tags.split(',')).any(|tag| tag.trim() == value)
            }
        }
    }

    fn moment(&mut self, moment: Moment, deal: Option<&DealTraits>) -> Option<Timestamp> {
        match moment {
            Moment::FirstSeen => self.traits.first_seen,
            Moment::LastSeen => self.traits.last_seen,
            Moment::Bought => self.traits.bought_at,
            Moment::LastVisit => {
                self.visits_to_come();
                self.traits.last_visit(self.now)
            }
            Moment::LastOpened => self.traits.letters.iter().filter_map(|letter| letter.seen_at).max(),
            Moment::PromoIssued => self.traits.promo_issued_at,
            Moment::StageSince => deal.map(|deal| deal.since),
            Moment::StartsAt => deal.and_then(|deal| deal.starts_at),
        }
    }
}

/// Returns a number for all rules, including those of mailings. It changes if any of them changes.
pub fn rules_number(segments: &[Segment], mailings: &[Mailing]) -> u64 {
    let mut hasher = DefaultHasher::new();
    segments.iter().for_each(|segment| (&segment.name, &segment.text).hash(&mut hasher));
    for mailing in mailings {
        // The number covers the audience only: new texts need no new evaluation of people.
        (&mailing.name, format!("{:?} {:?}", mailing.to, mailing.only)).hash(&mut hasher);
    }
    hasher.finish()
}

/// Returns the names of segments that a person entered, and of those that they left.
pub fn changes(before: &BTreeMap<String, Timestamp>, after: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let entered = after.iter().filter(|name| !before.contains_key(*name)).cloned().collect();
    let left = before.keys().filter(|name| !after.contains(*name)).cloned().collect();
    (entered, left)
}

#[cfg(test)]
mod tests;
