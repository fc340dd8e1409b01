use async_trait::async_trait;
use stagedoor_engine::{Leaving, Member};
use stagedoor_model::Email;

/// The answer of a mailing list for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// The list has done it.
    Done,
    /// The person unsubscribed at the provider. The provider's word counts.
    Left,
    /// The list never takes this address as it is. The text is the reason.
    Refused(String),
    /// Not taken now, or the answer was lost. The hub compares again later, and each call may be repeated.
    Later,
}

/// The mailing lists of one account at a provider. Every call may be repeated: to add a present member or remove an
/// absent one is `Done`. No call subscribes a person again who has left.
#[async_trait]
pub trait MailingList: Send + Sync {
    /// The largest number of addresses in one call.
    fn batch(&self) -> usize;

    /// Adds members to the list. Answers are in the order of the members.
    async fn add(&self, list: &str, members: &[Member]) -> Vec<Listed>;

    /// Removes addresses from the list. Answers are in the order of the addresses.
    async fn remove(&self, list: &str, emails: &[Email], why: Leaving) -> Vec<Listed>;

    /// Addresses that have unsubscribed, for a provider whose webhooks do not report it. `None`: the provider cannot
    /// answer now.
    async fn left(&self, list: &str) -> Option<Vec<Email>> {
        _ = list;
        Some(vec![])
    }

    /// Calls since the start.
    fn calls(&self) -> u64;
}
