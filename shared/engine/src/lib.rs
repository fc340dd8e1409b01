//! The logic of the hub, pure and total: no I/O, no clock, no randomness. The same records give the same people.

mod by_number;
mod campaign;
mod catalog;
mod claims;
mod cluster;
mod confirmation;
mod consent;
mod conversation;
mod deals;
mod documents;
mod enrolment;
mod excess;
mod explain;
mod fold;
mod handed_on;
mod identity;
mod later;
mod letters;
mod links;
mod looks;
mod mailings;
mod marketing;
mod marks;
mod mirror;
mod money;
mod old;
mod partings;
mod past_shows;
mod person;
mod plan;
mod records;
mod scenario;
pub mod segments;
mod sending;
mod shared_identifiers;
mod shares;
mod show_history;
mod stage;
mod talks;
mod untangle;

pub use campaign::{Attribution, Attributions, By, Campaign, Pool, Windows};
pub use catalog::{Catalog, GOODS, INTEREST, Pipeline, Show, ShowKey};
pub use confirmation::{CODE_VALID, CodePolicy, Offer};
pub use consent::{
    ConsentPolicy, Entry, Question, Standing, addresses, bearers_of, cell_of_question, cell_of_withdrawals,
    cells_of_address, is_suppressed, ledger, may_advertise, proven_addresses, standing, unreadable_word, withdrawals,
    withdrawn_at, withdrawn_beside,
};
pub use conversation::{Chats, NoteDraft, TaskDraft, channel_title, chats};
pub use deals::{Deal, DealSum, deals};
pub use documents::{CompanyDraft, InvoiceDraft, InvoiceLine, InvoiceParents, InvoiceState, Invoicing};
pub use enrolment::{Enrolment, Leaving, ListRule, Member, Place, Places, enrolment};
pub use explain::{Because, explain};
pub use fold::{Folded, Group, fold, group};
pub use identity::{Cluster, Partition, Policy, Refusal, Why, looked_up, partition};
pub use later::{Later, PathStep};
pub use looks::Looks;
pub use mailings::{
    Audience, Due, Dues, Mailing, Manners, Message, Reports, Variant, Way, Written, WrittenStep, capped, dues,
    takes_no_sms,
};
pub use marketing::Marketing;
pub use marks::stale_mark;
pub use mirror::{bearer_of, owner_of, recognise, row_of, shows_claim};
pub use money::{Moved, OrderKey, Payments, Settlement, Settlements, Trouble, settlements, troubles, words};
pub use past_shows::{PastShow, PastShows};
pub use person::{Person, PersonId};
pub use plan::{
    CompanyRef, ContactDraft, ContactLink, DealDraft, DealLink, Digest, Intent, InvoiceLink, Link, ORDERS, Parked,
    Plan, Remark, StageGuard, StagePlace, Step, next_turn, plan,
};
pub use records::{named_in, order_record_key, record_of};
pub use scenario::{Ask, Heard, Localised, On, PASSED_ON_ONCE, Reply, Scenario, Turn, turns};
pub use segments::{Segment, Traits};
pub use sending::{Advertised, Attempt, Obstacle, SendingPolicy};
pub use show_history::{ShowNotice, ShowState};
pub use stage::{Stage, StageNames};
pub use talks::talk_key;
pub use untangle::{Parting, outdated, rows_of, untangle, without_rows_of_parted};
