//! The history of a show's changes, as its providers reported them. A holder is told of a change relative to what
//! this holder knows.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use stagedoor_model::{EarlierStarts, ShowRef, Timestamp, breakage};

/// The greatest number of changes that are kept of one show.
const MOST: usize = 50;
/// The least time between two changes.
const MOMENT: SignedDuration = SignedDuration::from_millis(1);

/// One change of a show: when it was announced, and the state of the show since then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShowNotice {
    pub changed_at: Timestamp,
    /// Of two changes at one instant, a cancellation counts.
    pub cancelled: bool,
    /// When the hub received the change. Of two other changes at one instant, the one received later counts. Earlier
    /// builds stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// `None`: the change does not tell the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// True if the show is moved without a new date so far. `starts_at` is then the date that no longer holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub postponed: bool,
}

impl ShowNotice {
    /// Returns the state of a show before any change.
    pub fn announced(starts_at: Option<Timestamp>) -> Self {
        Self { changed_at: Timestamp::MIN, cancelled: false, received_at: None, starts_at, postponed: false }
    }

    /// Returns the first start that the states of one order tell, and the changes after it. `present` has the last
    /// start and its revision. `None`: they tell no sequence.
    ///
    /// A change counts from the instant after the last revision with the former start. So it does not undo a
    /// cancellation that came between two revisions. After a postponement, it counts from its own revision. States of
    /// one revision have no order, so the others of the present revision are left out.
    pub(crate) fn by_order(
        earlier: &EarlierStarts,
        (start, revision): (Timestamp, Timestamp),
        learned: Option<&ShowState>,
    ) -> Option<(Timestamp, BTreeSet<Self>)> {
        let first = earlier.first.filter(|(told_at, _)| *told_at < revision)?;
        let undated = |state: &ShowState| {
            let all = state.changes.iter().copied().chain([state.notice()]);
            all.filter(|one| !one.cancelled).map(|one| one.changed_at).max()
        };
        let postponed_at = learned.and_then(undated);
        let others = earlier.others.iter().map(|(start, told_at)| (*told_at, *start));
        let mut told: Vec<(Timestamp, Timestamp)> = others.filter(|(told_at, _)| *told_at < revision).collect();
        told.sort_unstable();
        told.push((revision, start));
        let (mut last, mut changed_at, mut changes) = (first, Timestamp::MIN, BTreeSet::new());
        for (told_at, start) in told {
            if start != last.1 {
                let since = last.0.max(changed_at).saturating_add(MOMENT).unwrap_or(told_at);
                let ends_a_postponement = postponed_at.is_some_and(|at| since <= at && at < told_at);
                changed_at = if ends_a_postponement { told_at } else { since };
                changes.insert(Self { changed_at, ..Self::announced(Some(start)) });
            }
            last = (told_at.max(last.0), start);
        }
        Some((first.1, changes))
    }

    /// Returns true if the show is in the same state after both changes.
    pub fn says_the_same(&self, other: &Self) -> bool {
        (self.cancelled, self.starts_at, self.postponed) == (other.cancelled, other.starts_at, other.postponed)
    }

    /// Returns the state of the show after this change, if `last` was its state before.
    fn after(&self, last: &Self) -> Self {
        let is_undated = !self.cancelled && self.starts_at.is_none() && !breakage::is_on("undated-move-is-none");
        let starts_at = self.starts_at.or(last.starts_at);
        // A show that never had a date cannot be moved from it.
        Self { starts_at, postponed: (self.postponed || is_undated) && starts_at.is_some(), ..*self }
    }
}

/// What a provider reported about a show. Of two reports the later counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowState {
    pub changed_at: Timestamp,
    pub show: ShowRef,
    pub cancelled: bool,
    /// When the hub received the change. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// Every known change. Empty in what earlier builds stored.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub changes: BTreeSet<ShowNotice>,
}

impl ShowState {
    /// Creates a report of one change.
    pub fn new(changed_at: Timestamp, show: ShowRef, cancelled: bool) -> Self {
        Self { changed_at, show, cancelled, received_at: None, changes: BTreeSet::new() }
    }

    /// Returns the same report with the time of its receipt.
    #[must_use]
    pub fn received_by(self, received_at: Option<Timestamp>) -> Self {
        let received_at = received_at.filter(|_| !breakage::is_on("later-start-stands"));
        Self { received_at, ..self }
    }

    /// Returns when the hub first received this change. `None` if the change is new.
    pub fn receipt_of(&self, told: &Self) -> Option<Option<Timestamp>> {
        let is_told = |one: &ShowNotice| {
            (one.changed_at, one.cancelled, one.starts_at) == (told.changed_at, told.cancelled, told.show.starts_at)
        };
        let own = self.notice();
        self.changes.iter().chain([&own]).find(|one| is_told(one)).map(|one| one.received_at)
    }

    /// Returns a report with the changes of `known` and these. `None` if there are no changes.
    pub(crate) fn with_changes(known: Option<&Self>, show: ShowRef, mut changes: BTreeSet<ShowNotice>) -> Option<Self> {
        if let Some(known) = known {
            changes.extend(known.changes.iter().copied().chain([known.notice()]));
        }
        let last = changes.last().copied()?;
        let show = known.map_or(show, |known| known.show.clone());
        Some(Self { changes, received_at: last.received_at, ..Self::new(last.changed_at, show, last.cancelled) })
    }

    /// Returns true if a change tells a start.
    pub(crate) fn tells_a_date(&self) -> bool {
        self.changes.iter().chain([&self.notice()]).any(|one| one.starts_at.is_some())
    }

    fn notice(&self) -> ShowNotice {
        let (changed_at, received_at) = (self.changed_at, self.received_at);
        let starts_at = self.show.starts_at;
        ShowNotice { changed_at, cancelled: self.cancelled, received_at, starts_at, postponed: false }
    }

    /// Joins two reports: the later state, with the changes of both. Associative, commutative, idempotent.
    #[must_use]
    pub fn join(mut self, mut other: Self) -> Self {
        let mut changes: BTreeSet<ShowNotice> = std::mem::take(&mut self.changes);
        changes.append(&mut other.changes);
        changes.extend([self.notice(), other.notice()]);
        while changes.len() > MOST {
            changes.pop_first();
        }
        let late = if (self.notice(), &self.show) >= (other.notice(), &other.show) { self } else { other };
        Self { changes, ..late }
    }

    /// Joins reports of two sources. A source that repeats what it reported before adds nothing: its page may have
    /// been edited after the other source cancelled the show.
    #[must_use]
    pub fn join_other(self, other: Self, announced: Option<Timestamp>) -> Self {
        if breakage::is_on("edited-page-is-on-again") {
            return self.join(other);
        }
        match (self.without_repetitions(announced), other.without_repetitions(announced)) {
            (Some(one), Some(other)) => one.join(other),
            (Some(only), None) => only,
            (None, Some(only)) => only,
            (None, None) => self.join(other),
        }
    }

    fn without_repetitions(&self, announced: Option<Timestamp>) -> Option<Self> {
        // Changes are kept as reported: another source may report what this one left out.
        let changes: BTreeSet<ShowNotice> = self.steps(announced).map(|(told, _)| told).collect();
        let last = changes.last().copied()?;
        let (changed_at, cancelled, received_at) = (last.changed_at, last.cancelled, last.received_at);
        Some(Self { changed_at, cancelled, received_at, changes, ..self.clone() })
    }

    /// Returns the state of the show after each change, if `announced` was its first date. A change that left the
    /// show as it was is left out.
    pub fn course(&self, announced: Option<Timestamp>) -> Vec<ShowNotice> {
        self.steps(announced).map(|(_, stands)| stands).collect()
    }

    /// Returns the changes that changed something: each as reported, and the state of the show after it.
    fn steps(&self, announced: Option<Timestamp>) -> impl Iterator<Item = (ShowNotice, ShowNotice)> {
        let mut last = ShowNotice::announced(announced);
        let all = self.changes.iter().copied().chain(self.changes.is_empty().then(|| self.notice()));
        all.filter_map(move |told| {
            let stands = told.after(&last);
            let before = std::mem::replace(&mut last, stands);
            (!stands.says_the_same(&before)).then_some((told, stands))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalog, Show, ShowKey};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn state(changed_at: i64, starts_at: i64, cancelled: bool) -> ShowState {
        let show = ShowRef { starts_at: Some(at(starts_at)), ..ShowRef::id("kzn-1") };
        ShowState::new(at(changed_at), show, cancelled)
    }

    #[test]
    fn changes_come_together_to_one_history_in_any_order() {
        let all = [state(1, 100, false), state(2, 200, false), state(3, 100, false), state(4, 200, false)];
        let forth = all.iter().cloned().reduce(ShowState::join).expect("a state");
        let back = all.iter().rev().cloned().reduce(ShowState::join).expect("a state");
        assert_eq!(forth, back);
        assert_eq!(forth.clone().join(all[1].clone()), forth, "a second telling changes nothing");
        assert_eq!((forth.changed_at, forth.changes.len()), (at(4), 4));
        // The first change only repeats what was known.
        assert_eq!(forth.course(Some(at(100))).len(), 3);
    }

    #[test]
    fn of_two_changes_of_one_second_the_cancellation_stands() {
        let both = state(1, 100, true).join(state(1, 200, false));
        assert!(both.cancelled);
    }

    #[test]
    fn of_two_changes_of_one_instant_the_one_that_came_later_stands() {
        let told = |starts_at: i64, second: i64| state(1, starts_at, false).received_by(Some(at(second)));
        for states in [[told(300, 5), told(200, 6)], [told(200, 6), told(300, 5)]] {
            let joined = states.into_iter().reduce(ShowState::join).expect("a state");
            assert_eq!(joined.show.starts_at, Some(at(200)));
            assert_eq!(joined.course(Some(at(100))).last().and_then(|last| last.starts_at), Some(at(200)));
        }
        // The report that an earlier build stored counts as received first.
        assert_eq!(state(1, 300, false).join(told(200, 6)).show.starts_at, Some(at(200)));
    }

    #[test]
    fn a_show_that_is_moved_without_a_new_date_is_postponed_until_it_has_one() {
        let undated = |second: i64| ShowState::new(at(second), ShowRef::id("kzn-1"), false);
        let postponed = |state: &ShowState, announced: Option<Timestamp>| {
            state.course(announced).last().is_some_and(|last| last.postponed)
        };
        assert!(postponed(&undated(5), Some(at(100))));
        assert!(!postponed(&undated(5), None), "it never had a date");
        let again = undated(5).join(undated(6));
        assert_eq!(again.course(Some(at(100))).len(), 1, "the same word again is no news");
        for starts_at in [100, 300] {
            let dated = undated(5).join(state(7, starts_at, false));
            assert!(!postponed(&dated, Some(at(100))));
            assert_eq!(dated.course(Some(at(100))).len(), 2);
        }
        // The same holds beside a report of another source.
        let both = undated(5).join_other(state(1, 100, false), Some(at(100)));
        assert!(postponed(&both, Some(at(100))));
    }

    #[test]
    fn a_page_that_was_edited_does_not_put_a_show_on_again_that_another_source_called_off() {
        let off = state(5, 100, false).join(state(10, 100, true));
        let edited = state(1, 100, false).join(state(20, 100, false));
        for joined in
            [off.clone().join_other(edited.clone(), Some(at(100))), edited.join_other(off.clone(), Some(at(100)))]
        {
            assert!(joined.cancelled);
            assert_eq!(joined.course(Some(at(100))).len(), 1);
        }
        let moved = state(1, 100, false).join(state(20, 300, false));
        let joined = moved.join_other(off, Some(at(100)));
        assert_eq!((joined.cancelled, joined.show.starts_at), (false, Some(at(300))));
    }

    #[test]
    fn a_show_that_is_moved_and_then_called_off_without_a_date_keeps_its_last_date() {
        let key = ShowKey("kzn-1".to_owned());
        let announced =
            Catalog::default().show("", Some(&ShowRef { starts_at: Some(at(100)), ..ShowRef::id("kzn-1") }));
        let mut catalog =
            Catalog { shows: [(key.clone(), Show { key: key.clone(), ..announced })].into(), ..Catalog::default() };
        catalog.learn("shop", state(5, 300, false));
        let off = ShowState::new(at(7), ShowRef::id("kzn-1"), true);
        catalog.learn("shop", off);
        let show = catalog.catalog_show(Some(&key));
        assert_eq!((show.cancelled, show.starts_at, show.moved_at), (true, Some(at(300)), Some(at(5))));
    }

    #[test]
    fn a_state_that_an_earlier_build_stored_is_its_own_history() {
        let text = r#"{"changed_at":"2027-05-01T00:00:00Z","show":{"id":"kzn-1"},"cancelled":true}"#;
        let state: ShowState = serde_json::from_str(text).expect("readable");
        assert_eq!(state.course(None).len(), 1);
    }
}
