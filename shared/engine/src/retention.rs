//! Removes what is too old to keep: lines of chats, and times at which links were opened. Identity, purchases and
//! consents stay.

use stagedoor_model::{Fact, Timestamp};

use crate::Person;

impl Person {
    /// Returns the person without chat lines from before `lines`, and without open times of links that were last
    /// opened before `opens`. `None` if nothing is that old.
    pub fn without_old(&self, lines: Option<Timestamp>, opens: Option<Timestamp>) -> Option<Self> {
        let mut less = self.clone();
        let mut is_less = false;
        for record in less.records.values_mut() {
            match &mut record.fact {
                Fact::Conversation(conversation) => {
                    let before = conversation.lines.len();
                    conversation.lines.retain(|line| lines.is_none_or(|end| line.at >= end));
                    is_less |= conversation.lines.len() < before;
                }
                Fact::Link(link) if link.last_opened.zip(opens).is_some_and(|(at, end)| at < end) => {
                    (link.first_opened, link.last_opened) = (None, None);
                    is_less = true;
                }
                _ => {}
            }
        }
        is_less.then_some(less)
    }
}
