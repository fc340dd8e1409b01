//! What may happen in a world, and what is checked in it.

use crate::{Habit, Invariant, Trouble, Work};

#[derive(Debug, Clone, Default)]
pub struct Switches {
    pub troubles: Vec<Trouble>,
    pub work: Vec<Work>,
    pub habits: Vec<Habit>,
    pub invariants: Vec<Invariant>,
    /// True if some worlds have a second CRM. It is no habit, so that the other worlds stay as they are.
    pub second_crm: bool,
    /// A deliberate breakage of the code that is on in this world.
    pub breakage: Option<&'static str>,
    /// True if the story lists every call of the CRM.
    pub calls: bool,
}

/// One line a switch: true if the hub withstands it today. docs/simulation.md explains the others.
const TROUBLES: &[(Trouble, bool)] = &[
    (Trouble::FailedCall, true),
    (Trouble::LateEffect, true),
    (Trouble::Pages, true),
    (Trouble::Outage, true),
    (Trouble::Webhooks, true),
    (Trouble::Queue, true),
    (Trouble::Apis, true),
    (Trouble::WayOut, true),
];
const WORK: &[(Work, bool)] = &[
    (Work::AddPhone, true),
    (Work::RemovePhone, true),
    (Work::AddContact, true),
    (Work::MoveDeal, true),
    (Work::DeleteDeal, true),
    (Work::DeleteContact, true),
    (Work::Restore, true),
    (Work::MergeDuplicate, true),
    (Work::RenameStage, true),
    (Work::DeleteCompany, true),
    (Work::Robots, true),
];
const HABITS: &[(Habit, bool)] = &[
    (Habit::SameSecond, true),
    (Habit::WrongEmail, false),
    (Habit::Transfer, true),
    (Habit::CashierEmail, false),
    (Habit::Stripe, true),
    (Habit::StripeRefund, true),
    (Habit::PartialRefund, true),
    (Habit::FailedRefund, true),
    (Habit::Family, true),
    (Habit::Sqlite, true),
    (Habit::Kopecks, true),
    (Habit::Yookassa, true),
    (Habit::Pretix, true),
    (Habit::Ticketscloud, true),
    (Habit::LostNotices, true),
    (Habit::Shows, true),
    (Habit::Company, true),
    (Habit::Consents, true),
    (Habit::Nights, true),
    (Habit::Chats, true),
    (Habit::Strangers, true),
];
const INVARIANTS: &[(Invariant, bool)] = &[
    (Invariant::NobodyWaits, true),
    (Invariant::JoinedAskNothing, true),
    (Invariant::NothingIsLost, true),
    (Invariant::RateIsKept, true),
    (Invariant::OneContact, true),
    (Invariant::MadeOnce, true),
    (Invariant::NoStrangers, true),
    (Invariant::OneDeal, true),
    (Invariant::Money, true),
    (Invariant::DealStage, true),
    (Invariant::OpenedAgain, true),
    (Invariant::Invoices, true),
    (Invariant::ShowState, true),
    (Invariant::ManagersValues, true),
    (Invariant::ManagersMoves, true),
    (Invariant::Advertising, true),
    (Invariant::WrittenOnce, true),
    (Invariant::ServiceNews, true),
];

const SECOND_CRM: bool = true;

fn chosen<T: Copy>(all: &[(T, bool)], wanted: impl Fn(&T, bool) -> bool) -> Vec<T> {
    all.iter().filter(|(one, on)| wanted(one, *on)).map(|(one, _)| *one).collect()
}

impl Switches {
    /// The switches that the hub withstands today.
    pub fn enabled() -> Self {
        Self::with(&[])
    }

    /// All switches of the simulation.
    pub fn everything() -> Self {
        Self {
            troubles: chosen(TROUBLES, |_, _| true),
            work: chosen(WORK, |_, _| true),
            habits: chosen(HABITS, |_, _| true),
            invariants: chosen(INVARIANTS, |_, _| true),
            second_crm: true,
            breakage: None,
            calls: false,
        }
    }

    /// The enabled switches, and these by their names.
    pub fn with(names: &[String]) -> Self {
        let named = |name: String, on: bool| on || names.contains(&name);
        Self {
            troubles: chosen(TROUBLES, |one, on| named(format!("{one:?}"), on)),
            work: chosen(WORK, |one, on| named(format!("{one:?}"), on)),
            habits: chosen(HABITS, |one, on| named(format!("{one:?}"), on)),
            invariants: chosen(INVARIANTS, |one, on| named(format!("{one:?}"), on)),
            second_crm: named("SecondCrm".to_owned(), SECOND_CRM),
            breakage: None,
            calls: false,
        }
    }
}
