//! The stand-in of a world's CRM and the actions of its managers, the same for amoCRM and Vtiger.

mod amocrm;
mod vtiger;

use std::sync::Arc;

pub use amocrm::AmoCrm;
use axum::Router;
use stagedoor_config::{Config, CrmConfig, CrmKind};
use stagedoor_sandbox::{Fault, HookFault, SentHook};
pub use vtiger::Vtiger;

use crate::{account::Account, clock::VirtualClock};

/// A kind of row that managers delete and restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    Contact,
    Deal,
    Company,
}

pub trait Sand: Send + Sync {
    fn name(&self) -> &'static str;

    fn router(&self) -> Router;

    /// The number of all calls so far.
    fn calls(&self) -> u64;

    /// The number of requests over the account's rate.
    fn over_the_rate(&self) -> u32;

    /// The calls that faults may strike.
    fn struck(&self) -> &'static [&'static str];

    /// The calls that make contacts and deals.
    fn making(&self) -> [&'static str; 2];

    fn set_fault(&self, fault: Fault);

    fn set_down(&self, down: bool);

    fn set_hook_faults(&self, faults: Vec<HookFault>);

    /// Ends all faults.
    fn calm(&self);

    /// Webhooks that wait to be carried.
    fn take_hooks(&self) -> Vec<SentHook>;

    /// The content of the CRM, as a manager sees it.
    fn account(&self) -> Account;

    /// Adds a phone. False if the contact has no room for it.
    fn add_phone(&self, contact: u64, phone: &str) -> bool;

    fn remove_phone(&self, contact: u64, phone: &str);

    fn add_contact(&self, name: &str, phone: &str);

    /// Moves a deal to the stage that had this name at the beginning.
    fn move_deal(&self, deal: u64, stage: &str);

    fn delete(&self, row: Row, id: u64);

    fn restore(&self, row: Row, id: u64);

    fn merge_contacts(&self, gone: u64, kept: u64);

    /// Renames the stage that had this name at the beginning.
    fn rename_stage(&self, stage: &str, to: &str);

    fn companies(&self) -> Vec<u64>;

    /// Sets a robot that moves deals from one stage to another.
    fn set_robot(&self, from: &str, to: &str);
}

/// The stand-in of a CRM that the config names.
pub fn of(config: &Config, crm: &CrmConfig, clock: VirtualClock) -> Arc<dyn Sand> {
    match crm.kind {
        CrmKind::Amocrm => Arc::new(AmoCrm::new(config, crm, clock)),
        CrmKind::Vtiger => Arc::new(Vtiger::new(config, crm, clock)),
    }
}

/// The digits of a phone in E.164, from any notation.
fn dialled(phone: &str) -> String {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    match digits.strip_prefix('8').filter(|rest| rest.len() == 10) {
        Some(rest) => format!("+7{rest}"),
        None => format!("+{digits}"),
    }
}
