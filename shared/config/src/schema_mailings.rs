//! The shapes of what says what people are written to, when, and through which relay.

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::Deserialize;

use crate::schema::Text;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// From the first byte, on port 465 (RFC 8314).
    Tls,
    /// Begun in plain text, on port 587 (RFC 3207); a relay that offers none is not used.
    Starttls,
    /// For a relay on this machine only.
    None,
}

/// The relay that letters go through.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SmtpSection {
    pub host: String,
    /// 465 for tls, 587 for starttls, 25 for none.
    pub port: Option<u16>,
    #[serde(default = "tls")]
    pub encryption: Encryption,
    pub login: Option<String>,
    /// A secret reference: the login's password. Needed with login.
    pub secret: Option<String>,
    /// Such as `Вишнёвый сад <tour@example.ru>`.
    pub from: String,
    pub reply_to: Option<String>,
    /// A header by which the provider's reports name the mailing, such as `X-Mailgun-Tag: {mailing}`.
    pub tag: Option<String>,
    /// Letters a second.
    #[serde(default = "crate::schema::ten")]
    pub rate: u32,
}

fn tls() -> Encryption {
    Encryption::Tls
}

/// How often and when people are written to of the hub's own accord.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct MannersSection {
    /// Hours in which nobody is written to, on the clocks of the show's place, such as `21:00-09:00`.
    pub quiet: Option<String>,
    /// So many messages of advertising at most …
    pub cap: Option<usize>,
    /// … in so many days: 7.
    pub cap_days: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MailingPurpose {
    /// Advertising, which needs a consent.
    #[default]
    Marketing,
    /// What somebody has to know, such as that their show moved: it needs none and may hold no advertising.
    Service,
    /// The letter of a double opt-in.
    Confirm,
    /// The letter that asks whether a withdrawal of a browser's form was its owner's.
    ConfirmWithdrawal,
}

/// What people are written to about of the hub's own accord: docs/mailings.md.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MailingSection {
    /// A rule about one deal: each deal of which it is true is written about once.
    pub deal: Option<String>,
    /// Or a segment: whoever is in it is written to once.
    pub segment: Option<String>,
    /// And only those of whom this rule is true.
    pub only: Option<String>,
    #[serde(default)]
    pub purpose: MailingPurpose,
    /// messenger, email, sms: in the order in which they are tried.
    #[cfg_attr(feature = "schemas", schemars(with = "Vec<String>"))]
    #[serde(deserialize_with = "channels")]
    pub through: Vec<stagedoor_model::Channel>,
    /// Such as `4h`: after that, who has not read it is written to through the next channel. Without it one message is all.
    pub wait: Option<String>,
    /// Of a hundred people, so many are not written to.
    #[serde(default)]
    pub hold_out: u8,
    /// Also in quiet hours.
    #[serde(default)]
    pub urgent: bool,
    /// Whose shop `{link}` and the button lead to, and whose promo codes `{promo}` are.
    pub campaign: Option<String>,
    pub subject: Option<Text>,
    /// With {name}, {show}, {city}, {when}, {promo}, {link}; in the letter of a double opt-in {confirm}, and in
    /// the one that asks about a withdrawal {unsubscribe}.
    pub text: Option<Text>,
    /// What an SMS says instead.
    pub sms: Option<Text>,
    /// The label of a button that leads to the campaign's shop.
    pub button: Option<Text>,
    /// Several texts to compare; what one of them leaves out is as above.
    #[serde(default)]
    pub variant: Vec<VariantSection>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VariantSection {
    pub name: String,
    pub subject: Option<Text>,
    pub text: Option<Text>,
    pub sms: Option<Text>,
    pub button: Option<Text>,
}

/// A mailing goes through fewer channels than a consent is given for: nobody is called.
fn channels<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<stagedoor_model::Channel>, D::Error> {
    let of = |name: String| match stagedoor_model::Channel::ALL.into_iter().find(|one| one.name() == name) {
        Some(channel) => Ok(channel),
        None => Err(serde::de::Error::custom(format!("unknown channel {name:?}, expected messenger, email, sms"))),
    };
    Vec::<String>::deserialize(from)?.into_iter().map(of).collect()
}
