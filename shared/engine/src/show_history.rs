//! The changes of a show, as its providers told them. They are kept as a history: a holder is told of a change relative
//! to what this holder knows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use stagedoor_model::{ShowRef, Timestamp, breakage};

/// The most changes of one show that are kept.
const MOST: usize = 50;

/// One change of a show: when it was announced, and how the show stands since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShowNotice {
    pub changed_at: Timestamp,
    /// Of two changes of one instant a cancellation stands.
    pub cancelled: bool,
    /// `None`: the change did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
}

impl ShowNotice {
    /// Whether the show stands after both as the same.
    pub fn says_the_same(&self, other: &Self) -> bool {
        (self.cancelled, self.starts_at) == (other.cancelled, other.starts_at)
    }
}

/// What a provider said of a show; of two the later stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowState {
    pub changed_at: Timestamp,
    pub show: ShowRef,
    pub cancelled: bool,
    /// Every change that is known. Empty in what earlier builds stored.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub changes: BTreeSet<ShowNotice>,
}

impl ShowState {
    pub fn new(changed_at: Timestamp, show: ShowRef, cancelled: bool) -> Self {
        Self { changed_at, show, cancelled, changes: BTreeSet::new() }
    }

    fn notice(&self) -> ShowNotice {
        ShowNotice { changed_at: self.changed_at, cancelled: self.cancelled, starts_at: self.show.starts_at }
    }

    /// The later state, with the changes of both: associative, commutative, idempotent.
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

    /// The same of two sources. A source that tells a show as it told it before says nothing: its page may have been
    /// edited after the other called the show off.
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
        let changes: BTreeSet<ShowNotice> = self.course(announced).into_iter().collect();
        let last = changes.last().copied()?;
        Some(Self { changed_at: last.changed_at, cancelled: last.cancelled, changes, ..self.clone() })
    }

    /// How the show stood from each change on, if it was announced for `announced` first. A change that left the show as
    /// it was is none.
    pub fn course(&self, announced: Option<Timestamp>) -> Vec<ShowNotice> {
        let mut course = vec![];
        let mut last = ShowNotice { changed_at: Timestamp::MIN, cancelled: false, starts_at: announced };
        for told in self.changes.iter().chain(self.changes.is_empty().then_some(&self.notice())) {
            let next = ShowNotice { starts_at: told.starts_at.or(last.starts_at), ..*told };
            if !next.says_the_same(&last) {
                course.push(next);
            }
            last = next;
        }
        course
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // The first told what was known.
        assert_eq!(forth.course(Some(at(100))).len(), 3);
    }

    #[test]
    fn of_two_changes_of_one_second_the_cancellation_stands() {
        let both = state(1, 100, true).join(state(1, 200, false));
        assert!(both.cancelled);
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
    fn a_state_that_an_earlier_build_stored_is_its_own_history() {
        let text = r#"{"changed_at":"2027-05-01T00:00:00Z","show":{"id":"kzn-1"},"cancelled":true}"#;
        let state: ShowState = serde_json::from_str(text).expect("readable");
        assert_eq!(state.course(None).len(), 1);
    }
}
