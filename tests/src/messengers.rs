//! The messengers that have a stand-in, with a person in each. Tests for all messengers walk this list.

use stagedoor_model::Messenger;
use stagedoor_sandbox::Platform;
use stagedoor_testkit::fans::Account;

/// A messenger, its stand-in, and a person's account.
#[derive(Debug, Clone)]
pub struct StandIn {
    pub messenger: Messenger,
    pub platform: Platform,
    pub account: Account,
}

/// The stand-in of a messenger. The sandbox knows messengers by their stored names. Instagram has none, because
/// Messenger's answers for it.
fn platform(messenger: Messenger) -> Option<Platform> {
    serde_json::from_value(messenger.name().into()).ok()
}

/// The messenger's stand-in.
///
/// # Panics
/// If it has none.
pub fn of(messenger: Messenger) -> StandIn {
    let platform = platform(messenger).unwrap_or_else(|| panic!("{} has no stand-in", messenger.title()));
    StandIn { messenger, platform, account: Account::sample(messenger) }
}

/// All stand-ins of messengers.
pub fn all() -> Vec<StandIn> {
    let known = Messenger::ALL.iter().filter(|one| platform(**one).is_some());
    known.map(|one| of(*one)).collect()
}
