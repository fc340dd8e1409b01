//! The logic of the hub. It is pure and total: no I/O, no clock, no randomness. The same records always give the same
//! people.

mod attribution;
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
mod decisions;
mod explain;
mod fold;
mod forgotten_rows;
mod guards;
mod handed_on;
mod identity;
mod invoices;
mod invoicing;
mod later;
mod link_rules;
mod link_visits;
mod list_membership;
mod list_place;
mod localised;
mod mail_and_consent;
mod mailing;
mod mailings;
mod marketing;
mod marks;
mod mirror;
mod money;
mod order_numbers;
mod partings;
mod past_shows;
mod person;
mod person_id;
mod plan;
mod proofs;
mod records;
mod retention;
pub mod segments;
mod sending;
mod shared_identifiers;
mod shares;
mod show;
mod show_history;
mod stage;
mod untangle;

pub use attribution::{Attribution, Attributions};
pub use bot::{Ask, BotScript, BotStep, Intent, On, PASSED_ON_ONCE, Reply, turns};
pub use campaign::{By, Campaign, Pool, Windows};
pub use catalog::Catalog;
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
pub use forgotten_rows::is_forgotten;
pub use guards::{BlockedJoin, Cluster, GuardReason, Guards};
pub use identity::{Partition, looked_up, partition};
pub use invoices::{CompanyDraft, InvoiceDraft, InvoiceLine, InvoiceParents, InvoiceStatus};
pub use invoicing::Invoicing;
pub use later::{Later, PathStep};
pub use link_visits::Looks;
pub use list_membership::{Enrolment, Leaving, Member, enrolment};
pub use list_place::{ListRule, Place, Places};
pub use localised::Localised;
pub use mailing::{Audience, Mailing, MailingLimits, MailingState, MailingStep, Variant};
pub use mailings::{DueMessage, DueMessages, MessageDraft, Reports, Route, capped, due_messages, takes_no_sms};
pub use marketing::Marketing;
pub use marks::stale_mark;
pub use mirror::{bearer_of, is_given_again, owner_of, recognise, row_of, shows_claim};
pub use money::{Moved, OrderKey, Payments, Settlement, Settlements, Trouble, settlements, troubles, words};
pub use past_shows::{PastShow, PastShows};
pub use person::Person;
pub use person_id::PersonId;
pub use plan::{
    CompanyRef, ContactDraft, ContactState, CrmState, DealDraft, DealState, Digest, InvoiceState, Pending, PendingText,
    Plan, Rejected, StageGuard, StagePlace, Step, next_turn, plan,
};
pub use records::{named_in, order_record_key, record_of, source_of_order};
pub use segments::{Segment, Traits};
pub use sending::{Advertised, Attempt, Obstacle, SendingPolicy};
pub use show::{GOODS, INTEREST, Pipeline, Show, ShowKey};
pub use show_history::{ShowNotice, ShowState};
pub use stage::{Stage, StageNames};
pub use untangle::{Parting, outdated, rows_of, untangle, without_rows_of_parted};
