use async_trait::async_trait;
use stagedoor_engine::{Leaving, Member};
use stagedoor_model::Email;

/// What a list said of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    Done,
    /// They unsubscribed there: the list's word counts.
    Left,
    /// Never taken as it is.
    Refused(String),
    /// Not taken now, or the answer was lost: compared again later. Each call may be made twice.
    Later,
}

/// Mailing lists of one account at a provider. Every call may be repeated: adding who is there and removing who is not is
/// done. Nothing here brings back who left.
#[async_trait]
pub trait MailingList: Send + Sync {
    /// Addresses that one call takes at most.
    fn batch(&self) -> usize;

    /// Answers in the order of the members.
    async fn add(&self, list: &str, members: &[Member]) -> Vec<Listed>;

    /// Answers in the order of the addresses.
    async fn remove(&self, list: &str, emails: &[Email], why: Leaving) -> Vec<Listed>;

    /// Addresses that are known there to have left, where no webhook tells of them; `None` when it cannot be asked now.
    async fn left(&self, list: &str) -> Option<Vec<Email>> {
        _ = list;
        Some(vec![])
    }

    /// Calls since the start.
    fn calls(&self) -> u64;
}
