use std::{fmt, str::FromStr};

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Email, IdForm, Messenger, Phone};

/// What sort of name for a person this is. The order is the order of trust: when one record's identifiers would
/// land on two people, the record stays with its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A contact's id in the CRM.
    CrmContact,
    /// An order in a shop: it has one buyer, so its webhooks meet in one person.
    Order,
    /// A payment of an order, by a provider's id; its scope is the shop. A refund that names no order meets its order here.
    Payment,
    /// A deal's id in the CRM.
    CrmLead,
    /// A customer's id in a shop. A person has one a shop.
    Customer,
    /// The site's own user id. A person has one a site.
    SiteUser,
    /// A person's id in a messenger. [`MessengerInfo::ids`](crate::MessengerInfo) says whether its scope is the source.
    Chat(Messenger),
    /// WhatsApp's business-scoped user id, for people who hide their phone; its scope is the source.
    WhatsappUser,
    Phone,
    Email,
    /// The token of a tracked link. It finds the person whose letter or SMS it was in, and joins a chat to them only under
    /// the rules of `engine::identity`.
    Link,
    /// A pop-up service's id of a browser. Weak: families share browsers.
    Visitor,
    /// A cookie of a web counter (`_ga`, `_ym_uid`). Weak.
    Cookie,
    /// Another identifier as people type it in public forms and in chats, where nothing proves it: with no scope, a mark of a
    /// shared value; with the scope `phone` or `email`, what could not be read as one. Weak.
    Typed,
}

impl Kind {
    const BESIDE_CHATS: [Kind; 13] = [
        Kind::CrmContact,
        Kind::Order,
        Kind::Payment,
        Kind::CrmLead,
        Kind::Customer,
        Kind::SiteUser,
        Kind::WhatsappUser,
        Kind::Phone,
        Kind::Email,
        Kind::Link,
        Kind::Visitor,
        Kind::Cookie,
        Kind::Typed,
    ];

    /// All kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::BESIDE_CHATS.into_iter().chain(Messenger::ALL.iter().copied().map(Self::Chat))
    }

    /// The kind with this stored name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }

    /// Stored name. It stands before an identifier's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::CrmContact => "crm_contact",
            Self::Order => "order",
            Self::Payment => "payment",
            Self::CrmLead => "crm_lead",
            Self::Customer => "customer",
            Self::SiteUser => "site_user",
            Self::Chat(messenger) => messenger.name(),
            Self::WhatsappUser => "whatsapp_user",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Link => "link",
            Self::Visitor => "visitor",
            Self::Cookie => "cookie",
            Self::Typed => "typed",
        }
    }

    /// The messenger whose chats this kind names. `None` for other kinds.
    pub fn messenger(self) -> Option<Messenger> {
        match self {
            Self::Chat(messenger) => Some(messenger),
            Self::WhatsappUser => Some(Messenger::Whatsapp),
            Self::CrmContact
            | Self::Order
            | Self::Payment
            | Self::CrmLead
            | Self::Customer
            | Self::SiteUser
            | Self::Phone
            | Self::Email
            | Self::Link
            | Self::Visitor
            | Self::Cookie
            | Self::Typed => None,
        }
    }

    /// True if every source has ids of its own, so that an identifier needs its source as scope.
    fn is_scoped(self) -> bool {
        match self {
            Self::Chat(messenger) => messenger.info().ids == IdForm::PerBot,
            Self::Customer | Self::Order | Self::Payment | Self::SiteUser | Self::WhatsappUser | Self::Visitor => true,
            Self::CrmContact | Self::CrmLead | Self::Phone | Self::Email | Self::Link | Self::Cookie | Self::Typed => {
                false
            }
        }
    }

    /// A strong identifier joins two people into one, a weak one only hints.
    pub fn is_strong(self) -> bool {
        !matches!(self, Kind::Visitor | Kind::Cookie | Kind::Typed)
    }

    /// Names an order or its payment, and not the buyer.
    pub fn is_of_order(self) -> bool {
        matches!(self, Kind::Order | Kind::Payment)
    }

    /// Names a chat in a messenger.
    pub fn is_chat(self) -> bool {
        self.messenger().is_some()
    }

    /// A person has at most one of these in one scope; a join that would give two waits for a manager.
    pub fn is_exclusive(self) -> bool {
        matches!(self, Kind::Customer | Kind::SiteUser)
    }

    /// True if ids of this kind begin with a minus only where they name a group.
    fn is_never_negative(self) -> bool {
        let form = self.messenger().map(|messenger| messenger.info().ids);
        self != Self::WhatsappUser && matches!(form, Some(IdForm::Number | IdForm::Phone))
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| serde::de::Error::custom(expected()))
    }
}

/// The kinds that people may name, as a sentence.
fn expected() -> String {
    let form = |kind: Kind| match (kind, kind.is_scoped()) {
        (Kind::Cookie, _) => "cookie/<name>".to_owned(),
        (_, true) => format!("{}/<source>", kind.name()),
        (_, false) => kind.name().to_owned(),
    };
    let names: Vec<String> = Kind::all().filter(|kind| *kind != Kind::Typed).map(form).collect();
    format!("unknown kind of identifier, expected one of {}", names.join(", "))
}

/// What stands where an id is missing, in small letters. Zeros and marks alone are placeholders, too.
const PLACEHOLDERS: [&str; 17] = [
    "-1",
    "null",
    "(null)",
    "nil",
    "none",
    "(none)",
    "undefined",
    "nan",
    "false",
    "guest",
    "anonymous",
    "anonym",
    "unknown",
    "n/a",
    "гость",
    "аноним",
    "неизвестно",
];

/// Characters that are kept of what cannot be read.
const UNREAD: usize = 60;

/// A normalised name for a person: `phone:+79161234567`, `customer/opera-shop:235`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    kind: Kind,
    scope: String,
    value: String,
}

/// Why a text is no identifier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseIdentifierError {
    #[error("expected kind:value, for example phone:+79161234567 or email:anna@example.com")]
    Shape,
    #[error("{}", expected())]
    Kind,
    #[error("the phone is not valid E.164")]
    Phone,
    #[error("the e-mail is not valid")]
    Email,
}

impl Identifier {
    /// The identifier of a phone.
    pub fn phone(phone: Phone) -> Self {
        Self { kind: Kind::Phone, scope: String::new(), value: phone.into() }
    }

    /// The identifier of an e-mail address.
    pub fn email(email: Email) -> Self {
        Self { kind: Kind::Email, scope: String::new(), value: email.into() }
    }

    /// An id that is unique within `scope` (a source's name, a cookie's name) and opaque to us. Empty ids and placeholders name
    /// nobody, nor do ids of a scope that could not be read back.
    pub fn opaque(kind: Kind, scope: &str, value: &str) -> Option<Self> {
        Self::stored(kind, scope, value).filter(|one| !one.is_placeholder())
    }

    /// A person's id in a messenger, at this source. The scope is the source where every bot has ids of its own.
    pub fn chat(messenger: Messenger, source: &str, id: &str) -> Option<Self> {
        let scope = if messenger.info().ids == IdForm::PerBot { source } else { "" };
        Self::opaque(Kind::Chat(messenger), scope, id)
    }

    /// The same of an id that was stored before placeholders were told apart.
    fn stored(kind: Kind, scope: &str, value: &str) -> Option<Self> {
        let value = value.trim();
        let is_read_back = !scope.contains(':') || crate::breakage::is_on("scope-of-any-letters");
        if !is_read_back || value.is_empty() || value.len() > 256 || matches!(kind, Kind::Phone | Kind::Email) {
            return None;
        }
        Some(Self { kind, scope: scope.to_owned(), value: value.to_owned() })
    }

    /// True for what shops and forms write where they have no id: `0`, `null`, `guest`, an all-zero UUID. Many strangers bear
    /// it, so it names nobody. Messengers give no negative ids to people.
    pub fn is_placeholder(&self) -> bool {
        let is_free = matches!(self.kind, Kind::Phone | Kind::Email | Kind::Typed | Kind::Order);
        if is_free || crate::breakage::is_on("placeholder-names-somebody") {
            return false;
        }
        let value = self.value.to_lowercase();
        let is_zero = value.chars().all(|c| c == '0' || !c.is_alphanumeric());
        is_zero || PLACEHOLDERS.contains(&value.as_str()) || self.kind.is_never_negative() && value.starts_with('-')
    }

    /// The mark under which this identifier is known to be shared where it was only typed.
    #[must_use]
    pub fn typed(&self) -> Self {
        Self { kind: Kind::Typed, scope: String::new(), value: self.to_string() }
    }

    /// What was given as a phone or an e-mail and cannot be read as one, as it was typed.
    pub fn unread(kind: Kind, text: &str) -> Option<Self> {
        let text: String = text.trim().chars().take(UNREAD).collect();
        let is_address = matches!(kind, Kind::Phone | Kind::Email);
        Self::opaque(Kind::Typed, kind.name(), &text).filter(|_| is_address)
    }

    /// True for what was given as a phone or an e-mail and cannot be read as one.
    pub fn is_unread(&self) -> bool {
        self.kind == Kind::Typed && !self.scope.is_empty()
    }

    /// What it is: a phone, an order, a customer of a shop.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it is unique, such as the name of a source. Empty if it is unique everywhere.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The value within its kind and scope.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.scope.is_empty() { "" } else { "/" };
        write!(f, "{}{slash}{}:{}", self.kind.name(), self.scope, self.value)
    }
}

/// Kind and scope only: values are personal data.
impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({}/{})", self.kind.name(), self.scope)
    }
}

impl FromStr for Identifier {
    type Err = ParseIdentifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (head, value) = text.split_once(':').ok_or(ParseIdentifierError::Shape)?;
        let (name, scope) = head.split_once('/').unwrap_or((head, ""));
        let kind = Kind::named(name).ok_or(ParseIdentifierError::Kind)?;
        match kind {
            Kind::Phone => Phone::try_from(value.to_owned()).map(Self::phone).map_err(|_| ParseIdentifierError::Phone),
            Kind::Email => Email::parse(value).map(Self::email).map_err(|_| ParseIdentifierError::Email),
            _ => Self::stored(kind, scope, value).ok_or(ParseIdentifierError::Shape),
        }
    }
}

impl Serialize for Identifier {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identifier {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schemas")]
impl JsonSchema for Identifier {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Identifier".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "kind:value or kind/scope:value, for example phone:+79161234567 or customer/opera-shop:235",
            "pattern": "^[a-z_]+(/[^:]*)?:.+$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_reads_back() {
        for text in [
            "phone:+79161234567",
            "email:anna@example.com",
            "customer/opera:235",
            "telegram:12345678",
            "cookie/ga:1.2:3",
        ] {
            let identifier: Identifier = text.parse().expect(text);
            assert_eq!(identifier.to_string(), text);
        }
    }

    #[test]
    fn a_placeholder_names_nobody_and_is_still_read_from_the_store() {
        let nobody = [
            "0",
            "-1",
            "000",
            "0.0",
            "-",
            "?",
            " ",
            "null",
            "NULL",
            "None",
            "nil",
            "NaN",
            "false",
            "guest",
            "Guest",
            "undefined",
            "anonymous",
            "unknown",
            "00000000-0000-0000-0000-000000000000",
            "Гость",
        ];
        let opaque = Kind::all().filter(|kind| !matches!(kind, Kind::Phone | Kind::Email | Kind::Typed | Kind::Order));
        for kind in opaque {
            for value in nobody {
                assert_eq!(Identifier::opaque(kind, "shop", value), None, "{}:{value}", kind.name());
            }
            for value in ["1", "10", "a0", "guest-17", "0f", "user_0"] {
                assert!(Identifier::opaque(kind, "shop", value).is_some(), "{}:{value}", kind.name());
            }
        }
        assert_eq!(Identifier::opaque(Kind::Chat(Messenger::Telegram), "", "-1001234567890"), None);
        let stored: Identifier = "customer/opera:0".parse().expect("an earlier version stored it");
        assert!(stored.is_placeholder());
    }

    #[test]
    fn an_unreadable_identifier_says_what_was_expected() {
        assert_eq!("+79161234567".parse::<Identifier>(), Err(ParseIdentifierError::Shape));
        assert_eq!("fax:1".parse::<Identifier>(), Err(ParseIdentifierError::Kind));
        assert_eq!("phone:12".parse::<Identifier>(), Err(ParseIdentifierError::Phone));
    }

    #[test]
    fn debug_output_hides_the_value() {
        let identifier: Identifier = "email:anna@example.com".parse().expect("valid");
        assert!(!format!("{identifier:?}").contains("anna"));
    }
}
