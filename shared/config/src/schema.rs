//! The shapes of stagedoor.toml. Unknown keys are mistakes.

use std::{collections::BTreeMap, net::SocketAddr};

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CrmSection {
    pub kind: CrmKind,
    /// The account's own host, such as https://demo.amocrm.ru.
    pub base_url: String,
    /// A secret reference: a long-lived token. Either this or `oauth`.
    pub token: Option<String>,
    pub oauth: Option<OAuthSection>,
    /// vtiger: the name of the user that the hub is there; one that nobody else logs in as.
    pub user: Option<String>,
    /// vtiger: a secret reference: that user's access key, from My Preferences.
    pub access_key: Option<String>,
    /// vtiger: calls that may be under way at once, each in a session of its own.
    #[serde(default = "four")]
    pub sessions: u32,
    /// vtiger: the name of a user or a group that new records belong to; else the hub's own user.
    pub owner: Option<String>,
    /// vtiger: seconds between two looks at what managers changed: it tells nothing by itself.
    #[serde(default = "sixty")]
    pub poll_seconds: u32,
    /// vtiger: closing documents of orders.
    pub invoices: Option<InvoiceSection>,
    /// ISO 4217: in which the account holds prices; else the hub's. Sums in other currencies are told in words, never
    /// added.
    pub currency: Option<String>,
    /// amocrm: requests a second for this integration.
    #[serde(default = "seven")]
    pub rate: u32,
    /// Segments and consents also as tags of the contact, for filters and robots.
    #[serde(default)]
    pub tags: bool,
    /// Seconds to wait for an answer.
    #[serde(default = "twenty")]
    pub timeout_seconds: u32,
    /// Seconds in which a call that got no answer may still take effect. Only then is a row made anew.
    #[serde(default = "late")]
    pub late_seconds: u32,
}

/// How invoices are written.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InvoiceSection {
    /// The name of the service that lines are of; it is made where it is missing. Else "Билет", or "Ticket" with
    /// `language = "en"`.
    pub service: Option<String>,
    /// The name of the organisation that single visitors' invoices are on; it is made where it is missing. Else "Частные
    /// лица", or "Private customers" with `language = "en"`.
    pub visitors: Option<String>,
    /// VAT that the prices hold, in per cent, such as 20 or 5.5; without it none is spoken of.
    pub vat: Option<f64>,
    /// Days to pay a collective order in that names no date itself.
    #[serde(default = "fourteen")]
    pub days: u32,
}

fn fourteen() -> u32 {
    14
}

fn late() -> u32 {
    150
}

fn seven() -> u32 {
    7
}

fn sixty() -> u32 {
    60
}

fn four() -> u32 {
    4
}

fn twenty() -> u32 {
    20
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CrmKind {
    Amocrm,
    Vtiger,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OAuthSection {
    pub client_id: String,
    /// A secret reference.
    pub client_secret: String,
    pub redirect_uri: String,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct IdentitySection {
    /// A person has at most this many phones.
    pub phones: Option<usize>,
    /// A person has at most this many e-mails.
    pub emails: Option<usize>,
    /// A phone seen with more e-mails than this (or the reverse), with more customers of one shop or with more chats
    /// belongs to a crowd and joins nobody.
    pub crowd: Option<usize>,
    /// A phone or an e-mail that came alone with more names than this belongs to a crowd and joins nobody.
    pub names: Option<usize>,
    /// A personal link that more chats than this came through was published: it joins nobody.
    pub published: Option<usize>,
    /// Identifiers that name nobody, such as phone:+74951234567 (the box office's own).
    pub blocked: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ConsentSection {
    /// Channels (email, sms, call, messenger) on which a consent counts only once the address is confirmed.
    #[cfg_attr(feature = "schemas", schemars(with = "Vec<String>"))]
    pub double_opt_in: Vec<stagedoor_model::Channel>,
    /// Whoever opens a chat consents to advertising there, because the bot's greeting says so.
    pub chats: bool,
    /// What a contact in the CRM says where nobody was ever asked, such as "Ask for consent"; without it nothing.
    pub ask: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ReportSection {
    /// An order is owed to a letter that was clicked at most so many days before: 7.
    pub click_days: Option<u32>,
    /// Or else opened at most so many days before: 1.
    pub view_days: Option<u32>,
    /// What somebody buys so many days after a mailing began counts as its effect: 7.
    pub effect_days: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SegmentSection {
    /// For people; the segment's name is for rules and files.
    pub title: Option<String>,
    /// Who is in: docs/segments.md.
    pub rule: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MailerProvider {
    Unisender,
    Sendpulse,
    Mailchimp,
    Listmonk,
}

/// An account with mailing lists.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MailerSection {
    pub provider: MailerProvider,
    /// A secret reference: the API key; for listmonk the API user's token.
    pub secret: String,
    /// For listmonk: the API user's name.
    pub login: Option<String>,
    /// Another address than the provider's own; for listmonk its server.
    pub api: Option<String>,
    /// Calls a second.
    #[serde(default = "five")]
    pub rate: u32,
    /// How long the account is left alone after it could not be used.
    #[serde(default = "thirty")]
    pub rest_seconds: u32,
}

fn thirty() -> u32 {
    30
}

fn five() -> u32 {
    5
}

/// A mailing list, and who is on it.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListSection {
    pub mailer: String,
    /// The provider's id of the list, audience or address book.
    pub id: String,
    /// Whoever is in this segment and consents to letters is on the list.
    pub segment: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSection {
    /// How often sources that can be asked are asked for what no webhook told.
    pub pull_seconds: u32,
}

impl Default for ScheduleSection {
    fn default() -> Self {
        Self { pull_seconds: 300 }
    }
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SandboxSection {
    /// Where the CRM's sandbox listens.
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub listen: SocketAddr,
    /// Where the second CRM's sandbox listens.
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub second: Option<SocketAddr>,
    /// Where the stand-ins for messengers and SMS listen.
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub messengers: Option<SocketAddr>,
    /// Where the SMTP relay listens.
    #[cfg_attr(feature = "schemas", schemars(with = "Option<String>"))]
    pub post: Option<SocketAddr>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PipelineSection {
    /// Its name in the CRM.
    pub name: String,
    #[serde(default)]
    pub cities: Vec<String>,
    /// Keys of shows.
    #[serde(default)]
    pub shows: Vec<String>,
    /// Our stage to the name of the CRM's: interested, talked, promo_issued, cart, paid, attended, refunded, lost.
    /// A stage that is not named is not pushed.
    pub stages: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ShowSection {
    pub key: String,
    pub title: String,
    pub city: Option<String>,
    /// RFC 3339.
    pub starts_at: Option<String>,
    /// IANA name.
    pub zone: Option<String>,
    /// Source to the show's ids there.
    #[serde(default)]
    pub known_as: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SourceSection {
    /// website, ticketing, mail, messaging or crm: the first part of the webhook's path.
    pub function: String,
    pub provider: String,
    /// Secret references. Any of them opens; two while one is being rotated.
    pub secrets: Vec<String>,
    pub region: Option<String>,
    pub currency: Option<String>,
    /// The key of the show that this source is about, when its deliveries name none.
    pub show: Option<String>,
    /// Deliveries a second that are let in; above it, 429.
    #[serde(default = "rate")]
    pub rate: u32,
    /// What only this provider understands. A text that begins with env:, ssm: or dev: is a secret reference.
    #[serde(default)]
    #[cfg_attr(feature = "schemas", schemars(with = "Option<serde_json::Map<String, serde_json::Value>>"))]
    pub options: Option<serde_json::Value>,
}

fn rate() -> u32 {
    200
}

/// A text, or one for each language: `{ ru = "…", en = "…" }`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(untagged)]
pub enum Text {
    Russian(String),
    Each(BTreeMap<String, String>),
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SmsSection {
    pub provider: SmsProvider,
    /// Its address; smsc.ru's own where it is left out, needed for http.
    pub api: Option<String>,
    /// smsc.ru: the account's login.
    pub login: Option<String>,
    /// A secret reference: smsc.ru's password or API key, or http's signing secret (Standard Webhooks).
    pub secret: String,
    /// The sender's name that was agreed with the gateway.
    pub sender: Option<String>,
    /// Messages a second.
    #[serde(default = "ten")]
    pub rate: u32,
}

pub(crate) fn ten() -> u32 {
    10
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SmsProvider {
    Smsc,
    /// Any gateway, or your own adapter: a signed POST with the decision's id, the phone and the text.
    Http,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CampaignSection {
    /// From 1 to 1023, its own for ever: links carry it.
    pub number: u16,
    /// The key of its show.
    pub show: Option<String>,
    /// Sources of messengers, in the order of the page's buttons.
    #[serde(default)]
    pub channels: Vec<String>,
    /// The ticket shop's page.
    pub shop: Option<String>,
    /// The pool of its promo codes.
    pub promo: Option<String>,
    /// RFC 3339. Its links are valid until the Monday after.
    pub ends_at: String,
    /// The SMS of an invitation, with {link} and perhaps {name}.
    pub sms: Option<Text>,
    /// The heading of the page of messengers.
    pub title: Text,
    /// The words beneath it.
    pub text: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PromoSection {
    /// The codes themselves, as they are in the shop; further ones are added at the end.
    #[serde(default)]
    pub codes: Vec<String>,
    /// Or a file beside this one with a code a line, as the shop exports them. Codes may be added at its end; those above keep
    /// their places.
    pub codes_file: Option<String>,
    /// Or so many that are drawn from the hub's link_key; `stagedoor promo <pool>` prints them for the shop.
    pub size: Option<u32>,
    /// What drawn codes begin with.
    pub prefix: Option<String>,
    /// Everybody gets the first code.
    #[serde(default)]
    pub shared: bool,
    /// RFC 3339: none is given after it.
    pub expires_at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReplySection {
    pub on: ReplyOn,
    /// Only in chats that came through this campaign.
    pub campaign: Option<String>,
    /// For on = "keyword": any of them.
    #[serde(default)]
    pub words: Vec<String>,
    /// For on = "menu": from 1 to 9.
    pub number: Option<u8>,
    /// For on = "menu": its line in the menu.
    pub title: Option<Text>,
    /// With {name}, {promo}, {show}, {city}, {menu}.
    pub text: Text,
    /// The label of a button that leads to the campaign's shop.
    pub button: Option<Text>,
    /// What to ask for, unless it is known.
    pub ask: Option<ReplyAsk>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReplyOn {
    /// A chat was started through one's own link.
    Token,
    /// Through a link that is somebody else's, used up, or too old.
    UsedToken,
    Start,
    Keyword,
    Menu,
    /// A phone or an e-mail was given.
    Given,
    WrongPhone,
    WrongEmail,
    Stop,
    /// Nothing of the above; a manager gets a task too.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReplyAsk {
    Phone,
    Email,
}
