//! The logic of the hub. It is pure and total: no I/O, no clock, no randomness. The same records always give the same
//! people.

mod bot;
mod bounds;
mod campaign;
mod catalog;
mod claims;
mod cluster;
mod confirmation;
mod consent;
mod conversations;
mod crm_conversation;
mod deals;
mod explain;
mod fold;
mod handed_on;
mod identity;
mod invoices;
mod later;
mod link_rules;
mod link_visits;
mod list_membership;
mod localised;
mod mail_and_consent;
mod mailings;
mod marketing;
mod marks;
mod mirror;
mod money;
mod order_numbers;
mod partings;
mod past_shows;
mod person;
mod plan;
mod records;
mod retention;
pub mod segments;
mod sending;
mod shared_identifiers;
mod shares;
mod show_history;
mod stage;
mod untangle;

pub use bot::{Ask, BotScript, BotStep, Intent, On, PASSED_ON_ONCE, Reply, turns};
pub use campaign::{Attribution, Attributions, By, Campaign, Pool, Windows};
pub use catalog::{Catalog, GOODS, INTEREST, Pipeline, Show, ShowKey};
pub use confirmation::{CODE_VALID, CodePolicy, Offer};
pub use consent::{
    ConsentPolicy, Entry, Question, Standing, addresses, bearers_of, cell_of_question, cell_of_withdrawals,
    cells_of_address, is_suppressed, ledger, may_advertise, proven_addresses, standing, unreadable_word, withdrawals,
    withdrawn_at, withdrawn_beside,
};
pub use conversations::talk_key;
pub use crm_conversation::{Chats, NoteDraft, TaskDraft, channel_title, chats};
pub use deals::{Deal, DealSum, deals};
pub use explain::{LinkReason, explain};
pub use fold::{Folded, Group, fold, group};
pub use identity::{BlockedJoin, Cluster, GuardReason, Guards, Partition, looked_up, partition};
pub use invoices::{CompanyDraft, InvoiceDraft, InvoiceLine, InvoiceParents, InvoiceStatus, Invoicing};
pub use later::{Later, PathStep};
pub use link_visits::Looks;
pub use list_membership::{Enrolment, Leaving, ListRule, Member, Place, Places, enrolment};
pub use localised::Localised;
pub use mailings::{
    Audience, DueMessage, DueMessages, Mailing, MailingLimits, MailingState, MailingStep, MessageDraft, Reports, Route,
    Variant, capped, due_messages, takes_no_sms,
};
pub use marketing::Marketing;
pub use marks::stale_mark;
pub use mirror::{bearer_of, is_given_again, owner_of, recognise, row_of, shows_claim};
pub use money::{Moved, OrderKey, Payments, Settlement, Settlements, Trouble, settlements, troubles, words};
pub use past_shows::{PastShow, PastShows};
pub use person::{Person, PersonId};
pub use plan::{
    CompanyRef, ContactDraft, ContactState, CrmState, DealDraft, DealState, Digest, InvoiceState, ORDERS, Pending,
    PendingText, Plan, Rejected, StageGuard, StagePlace, Step, next_turn, plan,
};
pub use records::{named_in, order_record_key, record_of, source_of_order};
pub use segments::{Segment, Traits};
pub use sending::{Advertised, Attempt, Obstacle, SendingPolicy};
pub use show_history::{ShowNotice, ShowState};
pub use stage::{Stage, StageNames};
pub use untangle::{Parting, outdated, rows_of, untangle, without_rows_of_parted};
