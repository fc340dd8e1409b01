//! Plain types that cannot hold a wrong value. No I/O, no clock, no randomness.

mod bounce;
pub mod breakage;
mod chat;
mod company;
mod consent;
mod conversation;
mod crm_rows;
mod decision;
mod email;
mod event;
mod event_id;
mod fact;
mod identifier;
mod mail;
mod messenger;
mod money;
mod name;
mod order;
mod phone;
mod proof;
mod quiet;
mod receipt;
pub mod record;
mod sent_message;
mod show;
mod stop_words;
mod text_limit;
pub mod token;
mod trace;

pub use bounce::{closes_address, is_no_mailbox};
pub use chat::{
    Button, ChatChanged, ChatRef, ChatStarted, ContactShared, Content, Delivered, LinkClicked, LinkIssued,
    MessageDecided, MessageHeard, MessageReported, MessageSent, Notice, Outcome as SendOutcome, Profile, PromoIssued,
};
pub use company::{Company, TaxId, TaxIdError};
pub use consent::{Channel, ConsentClaim, ConsentRecorded, Decision, MARKETING};
pub use conversation::{ChatWord, Conversation, LinkUse, Message, MessageContent, Promo, TrackedLink};
pub use crm_rows::{ContactChanged, LeadChanged};
pub use decision::{IdentityDecided, Verdict};
pub use email::{Email, EmailError};
pub use event::{
    Body, Event, FormSubmitted, MailingBegun, OrderBody, OrderNoticed, PaymentNoticed, PaymentReported, RefundReported,
    SegmentChanged, ShowChanged, TopicOffered, Unrecognized,
};
pub use event::{SECOND_CRM, ShowChange, SpecVersion};
pub use event_id::{EventId, SourceName};
pub use fact::{Fact, RecordKey, Rung, Submission};
pub use identifier::{Identifier, Kind, ParseIdentifierError};
pub use mail::{AddressChanged, LetterReported, MailMessage, MailMessageState, MembershipReported};
pub use messenger::{ContactCard, DeepLink, IdForm, LinkPart, Messenger, MessengerInfo, ProfileLink};
pub use money::{Money, MoneyError};
pub use name::{clean_name, name_for_messages};
pub use order::{
    CheckIn, EarlierStarts, GoneRefunds, Item, Order, OrderState, Payment, PaymentKind, Refund, Ticket, TicketHistory,
};
pub use phone::{Phone, PhoneError, Region, visible};
pub use proof::Proof;
pub use quiet::QuietHours;
pub use receipt::is_no_date;
pub use record::{Buyer, Record};
pub use sent_message::SentMessage;
pub use show::{LocalInstant, ShowRef, time_zone};
pub use stop_words::{StopWish, is_stop_word, stop_wish};
pub use text_limit::{TextLimit, TextUnit};
pub use token::{Header, LinkKey, Purpose, Token, TokenTag};
pub use trace::TraceParent;

/// A UTC instant with nanosecond precision, RFC 3339 in JSON.
pub type Timestamp = jiff::Timestamp;

/// The JSON Schema of an event, kept in the repository.
#[cfg(feature = "schemas")]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Event).to_value()
}
