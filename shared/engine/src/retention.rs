//! What a person keeps no longer: old lines of chats, and when links were opened. Who they are, what they bought and what they
//! said about being written to stays.

use stagedoor_model::{Fact, Timestamp};

use crate::Person;

impl Person {
    /// The same person without lines of chats from before `lines`, and without the times of links that were opened last before
    /// `opens`. `None` when nothing is that old.
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
