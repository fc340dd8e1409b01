//! Mailings, their quiet hours and limits, and the relay for e-mails.

use std::{collections::BTreeSet, net::IpAddr, num::NonZeroU32};

use jiff::civil::Time;
use stagedoor_engine::{Audience, Catalog, Localised, Mailing, MailingLimits, Variant, segments};
use stagedoor_model::{Channel, SourceName};
use stagedoor_webhook::Secret;
use toml::de::DeTable;

use crate::{
    SmtpConfig,
    conversation::{localised, strange_place},
    hub::HubRead,
    labels::Shortest,
    reader::{Reader, Value, spot, table},
    schema::Text,
    schema_mailings::{Encryption, MailingPurpose, MailingSection, MannersSection, SmtpSection, VariantSection},
};

/// Placeholders in the texts of a mailing.
const PLACES: [&str; 8] = ["{name}", "{show}", "{city}", "{when}", "{promo}", "{link}", "{confirm}", "{unsubscribe}"];
const WEEK: i64 = 7;
/// The longest wait in a cascade, in seconds.
const LONGEST_WAIT: i64 = 30 * 86_400;

impl Reader<'_> {
    pub(crate) fn smtp(&mut self, root: &DeTable<'_>) -> Option<SmtpConfig> {
        let value = root.get("smtp")?;
        let section = self.optional::<SmtpSection>(root, "smtp")?;
        let secret = match (&section.secret, self.reading.sends()) {
            (Some(reference), true) => self.secret(reference, spot(value, "secret"), "smtp.secret"),
            _ => Some(Secret::new("")),
        };
        if section.login.is_some() != section.secret.is_some() {
            self.errors.note(value.span(), "smtp.login", "login and secret go together");
        }
        let is_local = section.host == "localhost" || section.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if section.encryption == Encryption::None && !is_local {
            let what = "letters go unencrypted only to this machine itself; expected \"tls\" or \"starttls\"";
            self.errors.note(spot(value, "encryption"), "smtp.encryption", what);
        }
        for (key, text) in [("from", Some(&section.from)), ("reply_to", section.reply_to.as_ref())] {
            if text.is_some_and(|text| address_of(text).is_none()) {
                let what = "not an address, expected something like Tour <tour@example.ru>";
                self.errors.note(spot(value, key), format!("smtp.{key}"), what);
            }
        }
        let tag = section.tag.as_deref().map(|tag| tag.split_once(':').unwrap_or((tag, "")));
        if let Some((name, value_of)) = tag
            && (!name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') || !value_of.contains("{mailing}"))
        {
            let what = "expected a header and its value, such as X-Mailgun-Tag: {mailing}";
            self.errors.note(spot(value, "tag"), "smtp.tag", what);
        }
        let tag = tag.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        let usual = match section.encryption {
            Encryption::Tls => 465,
            Encryption::Starttls => 587,
            Encryption::None => 25,
        };
        Some(SmtpConfig {
            host: section.host,
            port: section.port.unwrap_or(usual),
            encryption: section.encryption,
            login: section.login,
            secret: secret?,
            from: section.from,
            reply_to: section.reply_to,
            tag,
            rate: NonZeroU32::new(section.rate).unwrap_or(NonZeroU32::MIN),
        })
    }

    pub(crate) fn mailings(&mut self, root: &DeTable<'_>, catalog: &mut Catalog, hub: Option<&HubRead>) {
        catalog.manners = self.manners(root);
        catalog.senders = senders(root);
        let shortest = Shortest::of(root);
        let segments: BTreeSet<String> = catalog.segments.iter().map(|one| one.name.clone()).collect();
        for (name, value) in table(root, "mailing") {
            let place = format!("mailing.{name}");
            let Some(section) = self.read::<MailingSection>(value, &place) else { continue };
            if hub.is_some_and(|hub| hub.section.link_key.is_none()) {
                self.errors.note(value.span(), place.as_str(), "mailings hold links, which need [hub] link_key");
            }
            if SourceName::new(&name).is_err() || catalog.campaigns.contains_key(&name) {
                let what = "a mailing's name has lower-case letters, digits and dashes, and is no campaign's";
                self.errors.note(value.span(), place.as_str(), what);
            }
            self.check_reach(&section, value, &place, catalog);
            let to = self.audience_of(&section, value, &place, &segments);
            let only = section.only.as_deref().and_then(|text| {
                segments::parse(text)
                    .map_err(|wrong| self.errors.note(spot(value, "only"), format!("{place}.only"), wrong.to_string()))
                    .ok()
            });
            let wait = section.wait.as_deref().and_then(|text| self.wait(text, value, &place));
            let variants = self.variants(&section, value, &place, catalog, shortest.as_ref());
            let Some(to) = to else { continue };
            catalog.mailings.push(Mailing {
                name,
                to,
                only,
                is_service: section.purpose != MailingPurpose::Marketing,
                through: section.through,
                wait,
                hold_out: section.hold_out,
                is_urgent: section.urgent,
                campaign: section.campaign,
                variants,
            });
        }
    }

    fn manners(&mut self, root: &DeTable<'_>) -> MailingLimits {
        let section = self.optional::<MannersSection>(root, "manners").unwrap_or_default();
        let quiet = section.quiet.as_deref().and_then(|text| {
            let hours = text.split_once('-').and_then(|(from, until)| {
                Some((from.trim().parse::<Time>().ok()?, until.trim().parse::<Time>().ok()?))
            });
            let hours = hours.filter(|(from, until)| from != until);
            if let (None, Some(value)) = (&hours, root.get("manners")) {
                let what = "expected two times of the day, such as 21:00-09:00";
                self.errors.note(spot(value, "quiet"), "manners.quiet", what);
            }
            hours
        });
        let days = section.cap_days.map_or(WEEK, i64::from);
        if section.cap == Some(0)
            && let Some(value) = root.get("manners")
        {
            self.errors.note(
                spot(value, "cap"),
                "manners.cap",
                "with 0 nobody is ever written to; leave mailings out instead",
            );
        }
        if section.cap_days == Some(0)
            && let Some(value) = root.get("manners")
        {
            self.errors.note(spot(value, "cap_days"), "manners.cap_days", "expected at least 1");
        }
        MailingLimits { quiet, cap: section.cap.map(|most| (most, days * 86_400)) }
    }

    /// Checks that the channels of the mailing are configured.
    fn check_reach(&mut self, section: &MailingSection, value: &Value<'_>, place: &str, catalog: &Catalog) {
        let mut note = |key: &str, what: &str| self.errors.note(spot(value, key), format!("{place}.{key}"), what);
        if section.through.is_empty() {
            note("through", "expected at least one of messenger, email, sms");
        }
        for channel in &section.through {
            let missing = match channel {
                Channel::Email if !catalog.senders.contains("email") => "email needs the section [smtp]",
                Channel::Sms if !catalog.senders.contains("sms") => "sms needs the section [sms]",
                Channel::Call => "nobody is called by the hub; expected messenger, email, sms",
                Channel::Messenger if catalog.senders.iter().all(|one| one == "sms" || one == "email") => {
                    "messenger needs a source of function \"messaging\" with options.token"
                }
                _ => continue,
            };
            note("through", missing);
        }
        if section.hold_out > 50 {
            note("hold_out", "at most 50 of a hundred are held out");
        }
        let is_marketing = section.purpose == MailingPurpose::Marketing;
        if section.hold_out > 0 && !is_marketing {
            note("hold_out", "nobody is held out of what they have to know");
        }
        let asks = matches!(section.purpose, MailingPurpose::Confirm | MailingPurpose::ConfirmWithdrawal);
        if asks && section.through != [Channel::Email] {
            note("through", "an address is confirmed by a letter: through = [\"email\"]");
        }
        if let Some(campaign) = section.campaign.as_ref().filter(|name| !catalog.campaigns.contains_key(*name)) {
            note("campaign", &format!("there is no [campaign.{campaign}]"));
        }
    }

    fn audience_of(
        &mut self,
        section: &MailingSection,
        value: &Value<'_>,
        place: &str,
        segments: &BTreeSet<String>,
    ) -> Option<Audience> {
        match (&section.deal, &section.segment, section.purpose) {
            (None, None, MailingPurpose::Confirm) => Some(Audience::Unconfirmed),
            (None, None, MailingPurpose::ConfirmWithdrawal) => Some(Audience::Doubted),
            (Some(text), None, MailingPurpose::Marketing | MailingPurpose::Service) => {
                match segments::parse_of_deal(text) {
                    Ok(rule) => Some(Audience::Deals(rule)),
                    Err(wrong) => {
                        self.errors.note(spot(value, "deal"), format!("{place}.deal"), wrong.to_string());
                        None
                    }
                }
            }
            (None, Some(segment), MailingPurpose::Marketing | MailingPurpose::Service) => {
                if !segments.contains(segment) {
                    let known = segments.iter().cloned().collect::<Vec<_>>().join(", ");
                    let what = format!("there is no [segment.{segment}]; known are {known}");
                    self.errors.note(spot(value, "segment"), format!("{place}.segment"), what);
                }
                Some(Audience::Segment(segment.clone()))
            }
            _ => {
                let what = "expected deal or segment, one of them; with purpose = \"confirm\" or \"confirm_withdrawal\" neither";
                self.errors.note(value.span(), place, what);
                None
            }
        }
    }

    fn wait(&mut self, text: &str, value: &Value<'_>, place: &str) -> Option<i64> {
        let unit = text.chars().last().and_then(|unit| match unit {
            'm' => Some(60),
            'h' => Some(3_600),
            'd' => Some(86_400),
            _ => None,
        });
        let count = text.get(..text.len().saturating_sub(1)).and_then(|count| count.parse::<i64>().ok());
        let seconds = unit.zip(count).map(|(unit, count)| count.saturating_mul(unit));
        let fits = seconds.filter(|seconds| (60..=LONGEST_WAIT).contains(seconds));
        if fits.is_none() {
            let what = "expected a span of a minute to 30 days, such as 4h";
            self.errors.note(spot(value, "wait"), format!("{place}.wait"), what);
        }
        fits
    }

    fn variants(
        &mut self,
        section: &MailingSection,
        value: &Value<'_>,
        place: &str,
        catalog: &Catalog,
        shortest: Option<&Shortest>,
    ) -> Vec<Variant> {
        let whole = |own: &Option<Text>, all: &Option<Text>| -> Localised {
            own.clone().or_else(|| all.clone()).map(localised).unwrap_or_default()
        };
        let of = |one: &VariantSection| Variant {
            name: one.name.clone(),
            subject: whole(&one.subject, &section.subject),
            text: whole(&one.text, &section.text),
            sms: whole(&one.sms, &section.sms),
            button: whole(&one.button, &section.button),
        };
        let alone = VariantSection { name: "only".into(), subject: None, text: None, sms: None, button: None };
        let variants: Vec<Variant> = match section.variant.as_slice() {
            [] => vec![of(&alone)],
            several => several.iter().map(of).collect(),
        };
        let chats = section.through.contains(&Channel::Messenger);
        let shortest = shortest.filter(|_| chats);
        let shop = section.campaign.as_ref().and_then(|name| catalog.campaigns.get(name)?.shop.as_ref());
        let pool = section.campaign.as_ref().and_then(|name| catalog.campaigns.get(name)?.pool.as_ref());
        let mut names = BTreeSet::new();
        let mut note = |what: String| self.errors.note(value.span(), place, what);
        for variant in &variants {
            if !names.insert(&variant.name) || variant.name == "hold-out" || variant.name.is_empty() {
                note(format!("the variant {:?} needs a name of its own, and hold-out is taken", variant.name));
            }
            if variant.text.is_empty() {
                note(format!("the variant {:?} has no text", variant.name));
            }
            if section.through.contains(&Channel::Email) && variant.subject.is_empty() {
                note(format!("the variant {:?} goes by e-mail and has no subject", variant.name));
            }
            let texts = || [&variant.subject, &variant.text, &variant.sms].into_iter().flat_map(|text| text.0.values());
            if let Some(strange) = texts().find_map(|text| strange_place(text, &PLACES)) {
                note(format!("{strange} stands for nothing; known are {}", PLACES.join(", ")));
            }
            if let Some(what) = shortest.and_then(|one| one.config_error(&variant.button)) {
                note(format!("button: {what}"));
            }
            let says = |what: &str| texts().any(|text| text.contains(what));
            if (says("{link}") || !variant.button.is_empty()) && shop.is_none() {
                note("{link} and a button lead to the shop of its campaign: name one that has a shop".into());
            }
            if says("{promo}") && pool.is_none() {
                note("{promo} is a code of its campaign: name one that has a pool of promo codes".into());
            }
            let all_say = |what: &str| variant.text.0.values().all(|text| text.contains(what));
            let belongs = |what: &str, purpose| match section.purpose == purpose {
                true => all_say(what),
                false => !says(what),
            };
            if !belongs("{confirm}", MailingPurpose::Confirm) {
                note("{confirm} belongs into the letter of a double opt-in, and into no other".into());
            }
            if !belongs("{unsubscribe}", MailingPurpose::ConfirmWithdrawal) {
                note("{unsubscribe} belongs into the letter that asks about a withdrawal, and into no other".into());
            }
        }
        variants
    }
}

/// Names of the sources and gateways that can send messages.
fn senders(root: &DeTable<'_>) -> BTreeSet<String> {
    let function = |value: &Value<'_>| {
        let function = value.get_ref().get("function").and_then(|text| text.get_ref().as_str().map(str::to_owned));
        let token = value.get_ref().get("options").and_then(|options| options.get_ref().get("token"));
        function.as_deref() == Some("messaging") && token.is_some()
    };
    let chats = table(root, "source").into_iter().filter(|(_, value)| function(value)).map(|(name, _)| name);
    let others = [("sms", "sms"), ("smtp", "email")].into_iter();
    let others = others.filter(|(section, _)| root.get(*section).is_some()).map(|(_, name)| name.to_owned());
    chats.chain(others).collect()
}

/// The address in `Name <address>`, or the whole text if it is only an address.
fn address_of(text: &str) -> Option<stagedoor_model::Email> {
    let address = text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end().trim_end_matches('>'));
    stagedoor_model::Email::parse(address.trim()).ok()
}
