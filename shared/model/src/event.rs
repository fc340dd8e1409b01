use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chat::{
    ChatChanged, ChatStarted, ContactShared, LinkClicked, LinkIssued, MessageDecided, MessageHeard, MessageReported,
    MessageSent, PromoIssued,
};
use crate::{
    AddressChanged, Company, ConsentClaim, ConsentRecorded, ContactChanged, EventId, Identifier, IdentityDecided,
    LeadChanged, LetterReported, MembershipReported, Money, Order, OrderState, Payment, Proof, Refund, Rung, ShowRef,
    SourceName, Ticket, Timestamp, TraceParent,
};

/// The source under which a second CRM's contacts and deals are mirrored: its numbers are other numbers.
pub const SECOND_CRM: &str = "second-crm";

/// The version of CloudEvents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub enum SpecVersion {
    #[default]
    #[serde(rename = "1.0")]
    V1,
}

/// A normalised fact in a CloudEvents 1.0 envelope (structured JSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct Event {
    pub specversion: SpecVersion,
    pub id: EventId,
    pub source: SourceName,
    /// When it happened there, not when it arrived here.
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub time: Timestamp,
    /// The instant as the sender's clock gave it, if `time` had to be bounded by the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub told_at: Option<Timestamp>,
    /// When the hub received it. Only of events that hold a consent or a withdrawal: both instants are evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub received_at: Option<Timestamp>,
    /// Anybody can have sent it, such as a browser's form with its public key: it proves nothing about who sent it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_anonymous: bool,
    /// The sender's own counter: it orders events of one instant. 0 where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub order: u64,
    /// The provider's id of what the event is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Which delivery it came with; no part of the fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    #[serde(flatten)]
    pub body: Body,
}

impl Event {
    /// An event of a source, without a trace id.
    pub fn new(source: &SourceName, id: EventId, time: Timestamp, body: Body) -> Self {
        let subject = body.subject();
        Self {
            specversion: SpecVersion::V1,
            id,
            source: source.clone(),
            time,
            told_at: None,
            received_at: None,
            is_anonymous: false,
            order: 0,
            subject,
            traceparent: None,
            body,
        }
    }

    /// With the sender's own counter.
    #[must_use]
    pub fn ordered(mut self, order: u64) -> Self {
        self.order = order;
        self
    }

    /// The trace of its delivery, for log lines.
    pub fn trace_id(&self) -> &str {
        self.traceparent.as_ref().map_or("", TraceParent::trace_id)
    }

    /// For example `stagedoor.order.paid.v1`.
    pub fn kind(&self) -> &'static str {
        self.body.kind()
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What happened, by the type of the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(tag = "type", content = "data")]
pub enum Body {
    #[serde(rename = "stagedoor.form.submitted.v1")]
    FormSubmitted(FormSubmitted),
    #[serde(rename = "stagedoor.cart.abandoned.v1")]
    CartAbandoned(FormSubmitted),
    /// A questionnaire of the box office, or a row of an old list, that an operator imported: a person, and no interest in
    /// anything yet.
    #[serde(rename = "stagedoor.questionnaire.imported.v1")]
    QuestionnaireImported(FormSubmitted),
    /// A webhook that only points at an order; `sync` fetches it before folding.
    #[serde(rename = "stagedoor.order.noticed.v1")]
    OrderNoticed(OrderNoticed),
    #[serde(rename = "stagedoor.order.placed.v1")]
    OrderPlaced(OrderBody),
    #[serde(rename = "stagedoor.order.paid.v1")]
    OrderPaid(OrderBody),
    #[serde(rename = "stagedoor.order.cancelled.v1")]
    OrderCancelled(OrderBody),
    #[serde(rename = "stagedoor.order.refunded.v1")]
    OrderRefunded(OrderBody),
    /// A refund told apart from its order.
    #[serde(rename = "stagedoor.refund.reported.v1")]
    RefundReported(RefundReported),
    /// Money that moved for an order, told by whoever moved it.
    #[serde(rename = "stagedoor.payment.reported.v1")]
    PaymentReported(PaymentReported),
    /// A webhook that only points at a payment; `sync` asks back before it believes it.
    #[serde(rename = "stagedoor.payment.noticed.v1")]
    PaymentNoticed(PaymentNoticed),
    /// A webhook that only says that a show changed; `sync` fetches it.
    #[serde(rename = "stagedoor.show.noticed.v1")]
    ShowNoticed(ShowChanged),
    #[serde(rename = "stagedoor.show.rescheduled.v1")]
    ShowRescheduled(ShowChanged),
    #[serde(rename = "stagedoor.show.cancelled.v1")]
    ShowCancelled(ShowChanged),
    #[serde(rename = "stagedoor.crm-contact.changed.v1")]
    ContactChanged(ContactChanged),
    #[serde(rename = "stagedoor.crm-lead.changed.v1")]
    LeadChanged(LeadChanged),
    /// Somebody opened a chat with a bot, perhaps through a link of ours.
    #[serde(rename = "stagedoor.chat.started.v1")]
    ChatStarted(ChatStarted),
    #[serde(rename = "stagedoor.message.received.v1")]
    MessageReceived(MessageHeard),
    /// Somebody told their phone or e-mail in a chat.
    #[serde(rename = "stagedoor.contact.shared.v1")]
    ContactShared(ContactShared),
    /// Blocked, unsubscribed, or forbade messages.
    #[serde(rename = "stagedoor.chat.stopped.v1")]
    ChatStopped(ChatChanged),
    /// May be written to (again).
    #[serde(rename = "stagedoor.chat.resumed.v1")]
    ChatResumed(ChatChanged),
    /// The messenger gave somebody another id.
    #[serde(rename = "stagedoor.chat.renamed.v1")]
    ChatRenamed(ChatChanged),
    /// The state of one of our messages, as the messenger reports it.
    #[serde(rename = "stagedoor.message.reported.v1")]
    MessageReported(MessageReported),
    /// To be sent: what the outbox holds.
    #[serde(rename = "stagedoor.message.decided.v1")]
    MessageDecided(Box<MessageDecided>),
    /// The outcome of its sending.
    #[serde(rename = "stagedoor.message.sent.v1")]
    MessageSent(Box<MessageSent>),
    #[serde(rename = "stagedoor.link.issued.v1")]
    LinkIssued(LinkIssued),
    #[serde(rename = "stagedoor.link.clicked.v1")]
    LinkClicked(LinkClicked),
    #[serde(rename = "stagedoor.promo-code.issued.v1")]
    PromoIssued(PromoIssued),
    /// The latest state of a letter or an SMS.
    #[serde(rename = "stagedoor.letter.reported.v1")]
    LetterReported(LetterReported),
    #[serde(rename = "stagedoor.consent.recorded.v1")]
    ConsentRecorded(ConsentRecorded),
    #[serde(rename = "stagedoor.membership.reported.v1")]
    MembershipReported(MembershipReported),
    #[serde(rename = "stagedoor.address.changed.v1")]
    AddressChanged(AddressChanged),
    /// A topic asks whether it may deliver here; `sync` confirms it.
    #[serde(rename = "stagedoor.topic.offered.v1")]
    TopicOffered(TopicOffered),
    /// The hub found somebody to be in a segment of the config.
    #[serde(rename = "stagedoor.segment.entered.v1")]
    SegmentEntered(SegmentChanged),
    #[serde(rename = "stagedoor.segment.left.v1")]
    SegmentLeft(SegmentChanged),
    /// The hub began to write to somebody of its own accord, or held them out.
    #[serde(rename = "stagedoor.mailing.begun.v1")]
    MailingBegun(MailingBegun),
    /// A manager decided who is who.
    #[serde(rename = "stagedoor.identity.decided.v1")]
    IdentityDecided(IdentityDecided),
    /// Authentic, but not understood: kept whole for replay.
    #[serde(rename = "stagedoor.delivery.unrecognized.v1")]
    Unrecognized(Unrecognized),
    /// Something came in about somebody who was erased; what it said is not kept.
    #[serde(rename = "stagedoor.person.erased.v1")]
    Erased,
}

impl Body {
    /// The event's verb follows from the order's state, not from the webhook's name.
    pub fn of_order(body: OrderBody) -> Self {
        let refunded = body.order.returned().next().is_some();
        match body.order.state {
            _ if refunded => Body::OrderRefunded(body),
            OrderState::Placed => Body::OrderPlaced(body),
            OrderState::Paid => Body::OrderPaid(body),
            OrderState::Cancelled => Body::OrderCancelled(body),
        }
    }

    /// The type of the event, such as `stagedoor.order.paid.v1`.
    pub fn kind(&self) -> &'static str {
        match self {
            Body::FormSubmitted(_) => "stagedoor.form.submitted.v1",
            Body::CartAbandoned(_) => "stagedoor.cart.abandoned.v1",
            Body::QuestionnaireImported(_) => "stagedoor.questionnaire.imported.v1",
            Body::OrderNoticed(_) => "stagedoor.order.noticed.v1",
            Body::OrderPlaced(_) => "stagedoor.order.placed.v1",
            Body::OrderPaid(_) => "stagedoor.order.paid.v1",
            Body::OrderCancelled(_) => "stagedoor.order.cancelled.v1",
            Body::OrderRefunded(_) => "stagedoor.order.refunded.v1",
            Body::RefundReported(_) => "stagedoor.refund.reported.v1",
            Body::PaymentReported(_) => "stagedoor.payment.reported.v1",
            Body::PaymentNoticed(_) => "stagedoor.payment.noticed.v1",
            Body::ShowNoticed(_) => "stagedoor.show.noticed.v1",
            Body::ShowRescheduled(_) => "stagedoor.show.rescheduled.v1",
            Body::ShowCancelled(_) => "stagedoor.show.cancelled.v1",
            Body::ContactChanged(_) => "stagedoor.crm-contact.changed.v1",
            Body::LeadChanged(_) => "stagedoor.crm-lead.changed.v1",
            Body::ChatStarted(_) => "stagedoor.chat.started.v1",
            Body::MessageReceived(_) => "stagedoor.message.received.v1",
            Body::ContactShared(_) => "stagedoor.contact.shared.v1",
            Body::ChatStopped(_) => "stagedoor.chat.stopped.v1",
            Body::ChatResumed(_) => "stagedoor.chat.resumed.v1",
            Body::ChatRenamed(_) => "stagedoor.chat.renamed.v1",
            Body::MessageReported(_) => "stagedoor.message.reported.v1",
            Body::MessageDecided(_) => "stagedoor.message.decided.v1",
            Body::MessageSent(_) => "stagedoor.message.sent.v1",
            Body::LinkIssued(_) => "stagedoor.link.issued.v1",
            Body::LinkClicked(_) => "stagedoor.link.clicked.v1",
            Body::PromoIssued(_) => "stagedoor.promo-code.issued.v1",
            Body::LetterReported(_) => "stagedoor.letter.reported.v1",
            Body::ConsentRecorded(_) => "stagedoor.consent.recorded.v1",
            Body::MembershipReported(_) => "stagedoor.membership.reported.v1",
            Body::AddressChanged(_) => "stagedoor.address.changed.v1",
            Body::TopicOffered(_) => "stagedoor.topic.offered.v1",
            Body::SegmentEntered(_) => "stagedoor.segment.entered.v1",
            Body::SegmentLeft(_) => "stagedoor.segment.left.v1",
            Body::MailingBegun(_) => "stagedoor.mailing.begun.v1",
            Body::IdentityDecided(_) => "stagedoor.identity.decided.v1",
            Body::Unrecognized(_) => "stagedoor.delivery.unrecognized.v1",
            Body::Erased => "stagedoor.person.erased.v1",
        }
    }

    /// How the identifiers are proved that the event tells of its person. Of a contact share: the one that was given.
    pub fn proof(&self) -> Proof {
        match self {
            Body::FormSubmitted(form) | Body::CartAbandoned(form) | Body::QuestionnaireImported(form) => form.proof,
            Body::ContactShared(shared) => shared.proof,
            Body::ContactChanged(_) | Body::LeadChanged(_) | Body::IdentityDecided(_) => Proof::Crm,
            Body::ChatStarted(_)
            | Body::MessageReceived(_)
            | Body::ChatStopped(_)
            | Body::ChatResumed(_)
            | Body::ChatRenamed(_)
            | Body::MessageReported(_) => Proof::Channel,
            _ => Proof::Signed,
        }
    }

    /// The order, if the event tells the state of one.
    pub fn order(&self) -> Option<&OrderBody> {
        match self {
            Body::OrderPlaced(body)
            | Body::OrderPaid(body)
            | Body::OrderCancelled(body)
            | Body::OrderRefunded(body) => Some(body),
            _ => None,
        }
    }

    /// The provider's id of what the event is about.
    pub fn subject(&self) -> Option<String> {
        match self {
            Body::OrderNoticed(noticed) => Some(noticed.order.clone()),
            Body::RefundReported(reported) => Some(reported.order.clone()),
            Body::PaymentReported(reported) => reported.order.clone().or_else(|| Some(reported.payment.clone())),
            Body::PaymentNoticed(noticed) => Some(noticed.payment.clone()),
            Body::ShowNoticed(change) | Body::ShowRescheduled(change) | Body::ShowCancelled(change) => {
                Some(change.show.id.clone())
            }
            Body::ContactChanged(change) => Some(change.contact.to_string()),
            Body::LeadChanged(change) => Some(change.lead.to_string()),
            _ => self.order().map(|body| body.order.id.clone()),
        }
    }
}

/// Somebody left their contacts: a form, a pop-up, an abandoned cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct FormSubmitted {
    pub identifiers: BTreeSet<Identifier>,
    /// How the identifiers are proved.
    #[serde(default, skip_serializing_if = "Proof::is_default")]
    pub proof: Proof,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<ShowRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<Company>,
    /// What is in the cart, when the form is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<ConsentClaim>,
    /// Campaign marks, the pop-up's scenario and variant, and fields of the form that no mapping names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// An order changed. The state is asked from its ticket system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct OrderNoticed {
    pub order: String,
    /// The shop's own scope of the order, for example pretix's event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// The state of an order, with its buyer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct OrderBody {
    pub identifiers: BTreeSet<Identifier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub order: Order,
}

/// Money that was paid back, told by somebody else than the shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct RefundReported {
    pub order: String,
    /// The shop's id of the refund.
    pub refund: String,
    pub detail: Refund,
}

/// Money that moved for an order, told by somebody else than the shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct PaymentReported {
    /// The source whose order it is, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shop: Option<SourceName>,
    /// `None`: the provider names only the payment, which `references` finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The provider's id of the payment, or of the refund.
    pub payment: String,
    /// All ids under which the provider speaks of the payment. A refund that names no order is found by one of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub references: BTreeSet<String>,
    pub detail: Payment,
}

/// A payment changed. The state is asked from its provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct PaymentNoticed {
    pub payment: String,
    /// Whether `payment` is the id of a refund.
    pub refund: bool,
}

/// What changed of a show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ShowChange {
    Rescheduled,
    Cancelled,
}

/// A provider changed a show: its date, or whether it takes place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct ShowChanged {
    pub show: ShowRef,
}

/// Somebody entered a segment or left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct SegmentChanged {
    pub segment: String,
}

/// Somebody is written to about something, or is left out so that the effect shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct MailingBegun {
    pub mailing: String,
    /// The house's show that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<String>,
    /// `None`: they were held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// An SNS topic's question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct TopicOffered {
    pub topic: String,
    pub token: String,
}

/// The body of a delivery that no parser understood, exactly as received.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
pub struct Unrecognized {
    /// `<function>/<source>`.
    pub route: String,
    /// Why it was not understood; never a part of the payload.
    pub reason: String,
    /// Lower-case header names; only those that the provider needs to parse the body again.
    pub headers: BTreeMap<String, String>,
    /// Base64 of the raw bytes.
    pub body: String,
}

impl fmt::Debug for Unrecognized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unrecognized({}: {}, {} bytes)", self.route, self.reason, self.body.len())
    }
}

/// Kept beside `Body` so that builders need not name the record's types.
impl OrderBody {
    /// A body with this buyer and order.
    pub fn new(identifiers: BTreeSet<Identifier>, name: Option<String>, order: Order) -> Self {
        Self { identifiers, name, order }
    }

    /// The tickets of the order.
    pub fn tickets(&self) -> &[Ticket] {
        &self.order.tickets
    }
}

impl FormSubmitted {
    /// The step of the ladder that the cart or form stands for.
    pub fn rung(&self) -> Rung {
        if self.amount.is_some() { Rung::Cart } else { Rung::Interested }
    }
}
