//! The invariants about sent messages.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, civil::Time, tz::TimeZone};
use stagedoor_model::{Channel, Timestamp};

use crate::{
    check::{Invariant, Violation},
    consent::{BEGUN, ConsentFact, TELEGRAM, reaches},
    hub::Shared,
    news,
    story::Story,
    way_out::Call,
    world::{SHOWS, Shop, ShowFact},
};

/// How long an acknowledged delivery may wait for its fold: processes die, and their batches come again.
const UNDER_WAY: SignedDuration = SignedDuration::from_mins(10);
/// The time from the fold of a delivery until it is certainly stored.
const STORED: SignedDuration = SignedDuration::from_secs(5);
/// The time from the last check of a message until the call.
const LAST_LOOK: SignedDuration = SignedDuration::from_secs(5);
/// Mailings that are no advertising.
pub const SERVICE: [&str; 3] = ["off", "on-again", "moved"];

/// All invariants about messages that are broken so far.
pub async fn check(shared: &Shared, story: &Story, found: &mut Vec<Violation>) {
    let calls = shared.way_out.calls();
    let known = Known::of(shared, story).await;
    let mut broken = |invariant, what| found.push(Violation { invariant, what });
    let is_advertising = |call: &&Call| call.mailing.as_deref().is_some_and(|mailing| !SERVICE.contains(&mailing));
    for call in calls.iter().filter(is_advertising) {
        if let Some(why) = without_consent(call, story, &known) {
            broken(Invariant::Advertising, format!("{}: {why}", told(call)));
        }
        if let Some(show) = at_night(call) {
            broken(Invariant::Advertising, format!("{}: at night at the place of {}", told(call), show.key));
        }
    }
    news::check(&calls, &unanswered(shared, &calls).await, &shared.crm.account(), story, found);
    let mut broken = |invariant, what| found.push(Violation { invariant, what });
    let mut arrived = BTreeMap::<&str, usize>::new();
    for call in calls.iter().filter(|call| call.arrived) {
        let count = arrived.entry(&call.decision).or_default();
        *count += 1;
        if *count == 2 {
            broken(Invariant::WrittenOnce, format!("{}: arrived twice", told(call)));
        }
    }
}

/// Decisions whose arrival the hub cannot know: it died in between, or the answer was lost.
async fn unanswered(shared: &Shared, calls: &[Call]) -> BTreeSet<String> {
    let mut unanswered = BTreeSet::new();
    for call in calls {
        let key_value = shared.store.key_value(&format!("sent/{}", call.decision)).await.ok().flatten();
        if key_value.is_some_and(|key_value| key_value.value.contains("unknown")) {
            unanswered.insert(call.decision.clone());
        }
    }
    unanswered
}

fn told(call: &Call) -> String {
    let Call { through, to, text, at, .. } = call;
    format!("{through} to {to} at {at} ({text})")
}

/// The show that a message names.
pub fn show_of(text: &str) -> Option<&'static ShowFact> {
    SHOWS.iter().find(|show| text.contains(show.title))
}

fn at_night(call: &Call) -> Option<&'static ShowFact> {
    let show = show_of(&call.text)?;
    let zone = TimeZone::get(show.zone).ok()?;
    let (from, until) = (Time::constant(21, 0, 0, 0), Time::constant(9, 0, 0, 0));
    let is_quiet = |at: Timestamp| {
        let time = at.to_zoned_datetime(zone.clone()).time();
        from <= time || time < until
    };
    (is_quiet(call.at) && is_quiet(call.at - LAST_LOOK)).then_some(show)
}

/// What the hub certainly knew, and since when.
struct Known<'s> {
    story: &'s Story,
    /// The time of each event's fold, and its text in the journal.
    folded: Vec<(Timestamp, String)>,
}

impl<'s> Known<'s> {
    async fn of(shared: &Shared, story: &'s Story) -> Self {
        let journal = shared.store.journal(10_000).await.unwrap_or_default();
        let told = journal.iter().map(|row| (row.folded_at, serde_json::to_string(&row.event).unwrap_or_default()));
        Self { story, folded: told.collect() }
    }

    /// The time from which the hub certainly knew a delivery, by its word, and by the mark and the method in its row.
    fn since(&self, word: &str, (mark, method): (&str, &str)) -> Option<Timestamp> {
        let told = self.folded.iter().filter(|(_, text)| text.contains(mark) && text.contains(method));
        let folded = told.map(|(at, _)| *at + STORED).min();
        let acknowledged = self.story.acknowledged_at(word).map(|at| at + UNDER_WAY);
        [folded, acknowledged].into_iter().flatten().min()
    }

    fn before(&self, word: &str, row: (&str, &str), instant: Timestamp) -> bool {
        self.since(word, row).is_some_and(|at| at <= instant)
    }

    /// The identifiers of a human that the hub knew together with this address.
    fn with(&self, human: usize, address: &str, before: Timestamp) -> BTreeSet<String> {
        let world = &self.story.world;
        let forms = world.forms.iter().filter(|form| world.are_one(form.human, human));
        let forms = forms.map(|form| (format!("\"{}\"", form.id), "", &form.identifiers));
        // The hub knows an order behind a webhook only after the shop has answered.
        let orders = world.orders.iter().filter(|order| {
            world.are_one(order.human, human)
                && !matches!(order.shop, Shop::Pretix | Shop::Ticketscloud)
                // An order that changed hands has its present identifiers only since then.
                && (order.former.is_empty() || order.updated_at + UNDER_WAY <= before)
        });
        let conversations = world.conversations.iter().filter(|conversation| world.are_one(conversation.human, human));
        let conversations =
            conversations.map(|conversation| (conversation.word.clone(), "", &conversation.identifiers));
        // A payment that names the order says nothing about its buyer.
        let orders = orders.map(|order| (order.word(), "stagedoor.order.", &order.identifiers));
        let shown = forms.chain(orders).chain(conversations);
        let shown = shown.filter(|(word, kind, _)| self.before(word, (word, kind), before));
        let shown = shown.map(|(_, _, identifiers)| identifiers);
        let owns = |one: &str| world.humans.iter().enumerate().any(|(n, who)| world.are_one(n, human) && who.owns(one));
        let own = |one: &&String| owns(one) || one.starts_with("customer:") || one.starts_with(TELEGRAM);
        let facts: Vec<BTreeSet<&String>> = shown.map(|all| all.iter().filter(own).collect()).collect();
        let mut together = BTreeSet::from([address.to_owned()]);
        loop {
            let more = facts.iter().filter(|fact| fact.iter().any(|one| together.contains(*one)));
            let more: BTreeSet<String> = more.flatten().map(|one| (*one).clone()).collect();
            if more.is_subset(&together) {
                return together;
            }
            together.extend(more);
        }
    }
}

/// The reason why a call had no consent, as far as the hub knew. `None` if it had one.
fn without_consent(call: &Call, story: &Story, known: &Known<'_>) -> Option<String> {
    let channel = Channel::ALL.into_iter().find(|one| reaches(*one, &call.to))?;
    let said = |one: &&ConsentFact| one.addresses.contains(&call.to) && one.channel == channel && one.at <= call.at;
    // The acknowledgement may have been on its way when the hub already knew the consent.
    let until = call.at + SignedDuration::from_secs(60);
    let heard = |one: &&ConsentFact| story.acknowledged_at(&one.word).is_some_and(|at| at <= until);
    let given = story.world.consents.iter().filter(|one| one.given).filter(said).filter(heard);
    let Some(given) = given.max_by_key(|one| one.at) else { return Some("nobody consented".into()) };
    let own = known.with(given.human, &call.to, call.at);
    let left = story.world.consents.iter().find(|one| {
        !one.given
            && story.world.are_one(one.human, given.human)
            && (one.channel == channel || one.for_all)
            && (one.at >= given.at || given.method == BEGUN)
            && one.addresses.iter().any(|address| own.contains(address))
            && known.before(&one.word, (&one.mark, one.method), call.at)
    });
    left.map(|one| format!("withdrawn at {} with {:?}", one.at, one.addresses))
}
