//! Decides when the bot keeps silent. Many messages within seconds are one question, and another robot would answer
//! without end.

use std::collections::VecDeque;

use stagedoor_model::{Timestamp, breakage};

use super::Intent;

/// The time, in seconds, within which "a manager will answer" is said once.
pub const PASSED_ON_ONCE: i64 = 600;
/// How often "a manager will answer" is said in a day.
const PASSED_ON: usize = 6;
/// How often the same words get an answer in a day.
const SAME_WORDS: usize = 6;
/// The most answers of any kind within ten minutes. A person needs time to read them.
const ANSWERS: usize = 12;
const MINUTES: i64 = 600;
const DAY: i64 = 24 * 3_600;

/// The reason why a message gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// The last answer, a moment ago, covers it.
    Covered,
    /// The other side seems to be a robot.
    Loop,
}

struct Answered {
    second: i64,
    words: String,
    passed_on: bool,
}

/// The answers of one chat in the last day.
#[derive(Default)]
pub(super) struct Restraint(VecDeque<Answered>);

impl Restraint {
    /// Decides whether this message gets an answer, and counts it if so. A person who opens the chat is always greeted,
    /// because robots open none.
    /// # Errors
    /// Returns the reason for the silence.
    pub(super) fn admit(&mut self, at: Timestamp, words: &str, heard: &Intent) -> Result<(), Silence> {
        if matches!(heard, Intent::Start | Intent::Opened) || breakage::is_on("answers-without-end") {
            return Ok(());
        }
        let second = at.as_second();
        while self.0.front().is_some_and(|one| second - one.second >= DAY) {
            self.0.pop_front();
        }
        let words = folded(words);
        let passed_on = matches!(heard, Intent::Other | Intent::Doubt);
        let lately = self.0.iter().filter(|one| second - one.second < MINUTES).count();
        let same = self.0.iter().filter(|one| one.words == words && !words.is_empty()).count();
        if lately >= ANSWERS || same >= SAME_WORDS {
            return Err(Silence::Loop);
        }
        let passed = self.0.iter().filter(|one| one.passed_on).count();
        let just = self.0.iter().any(|one| one.passed_on && second - one.second < PASSED_ON_ONCE);
        if passed_on && (just || passed >= PASSED_ON) {
            return Err(Silence::Covered);
        }
        self.0.push_back(Answered { second, words, passed_on });
        Ok(())
    }
}

/// Returns only the letters, for comparison. So a robot's ticket number or time of day does not make the words
/// different.
fn folded(words: &str) -> String {
    words.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect()
}
