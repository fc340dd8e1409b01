//! Finds a person's addresses in texts, bodies and messages, in any spelling, and nobody else's.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use stagedoor_engine::named_in;
use stagedoor_model::{
    Body, Email, Event, IdForm, Identifier, Kind, Phone, Purpose, Region, Token, Unrecognized, breakage, visible,
};

use super::{
    boundaries::{is_email_in, is_id_in},
    dialled::{Dialled, digits, runs},
    ids::{is_id, is_of_source, is_telling},
    spellings::{Leaf, decoded, leaves, leaves_of, readings},
};

/// Least length of an id. A shorter one would be found by chance.
const LEAST: usize = 6;
/// Length of the tokens that the hub makes. A messenger brings other texts as tokens, too.
const OWN_TOKEN: usize = 16;

/// A person's addresses.
pub(crate) struct Addresses {
    names: BTreeSet<Identifier>,
    emails: BTreeSet<String>,
    /// By the phone in the form E.164.
    phones: BTreeMap<String, Dialled>,
    /// Where people may write the phones without a country code.
    regions: Vec<Region>,
    /// Tokens of the person's own links.
    tokens: BTreeSet<String>,
    /// Ids that a shop, a messenger or a CRM gave.
    ids: Vec<Identifier>,
}

impl Addresses {
    /// `region` is the hub's own.
    pub fn of(names: &BTreeSet<Identifier>, region: Option<Region>) -> Self {
        let names: BTreeSet<Identifier> = names.iter().filter(|name| !is_everybodys(name)).cloned().collect();
        let (mut emails, mut tokens) = (BTreeSet::new(), BTreeSet::new());
        let (mut phones, mut regions, mut ids) = (BTreeMap::new(), Vec::from_iter(region), Vec::new());
        for name in &names {
            if let Some(phone) = phone_of(name) {
                let (dialled, near) = Dialled::new(&phone);
                phones.insert(phone, dialled);
                let further: Vec<Region> = near.into_iter().filter(|one| !regions.contains(one)).collect();
                regions.extend(further);
            }
            match name.kind() {
                Kind::Phone => {}
                Kind::Email => _ = emails.insert(name.value().to_lowercase()),
                Kind::Link => _ = tokens.insert(name.value().to_lowercase()),
                _ if name.value().len() >= LEAST => ids.push(name.clone()),
                _ => {}
            }
        }
        Self { names, emails, phones, regions, tokens, ids }
    }

    /// True if a text of people holds one of the addresses.
    pub fn are_in(&self, text: &str) -> bool {
        let has_id = |text: &String| {
            let text = visible(text);
            self.ids.iter().any(|one| is_in_words(&text, one.value()))
        };
        self.are_named_in(text) || decoded(text).iter().any(has_id)
    }

    /// True if an e-mail, a phone or a personal link stands in the text.
    fn are_named_in(&self, text: &str) -> bool {
        decoded(text).iter().any(|text| self.stand_in(text))
    }

    fn stand_in(&self, text: &str) -> bool {
        let is_plain = breakage::is_on("erased-by-plain-text");
        let text = if is_plain { text.to_owned() } else { visible(text) };
        let text = text.to_lowercase();
        let all_digits = if self.phones.is_empty() { String::new() } else { digits(&text) };
        let may_hold_phone = self.phones.values().any(|phone| phone.may_be_in(&all_digits));
        let is_mail_in = |email: &String| match breakage::is_on("longer-address-is-theirs") {
            true => text.contains(email.as_str()),
            false => is_email_in(&text, email),
        };
        self.emails.iter().any(is_mail_in)
            || self.tokens.iter().any(|token| text.contains(token.as_str()))
            || may_hold_phone && runs(&text).iter().any(|run| self.phones.values().any(|phone| phone.is_in(run)))
            || !is_plain && self.are_read_in(&text, may_hold_phone)
    }

    /// True if the hub's own readers find one of the addresses.
    fn are_read_in(&self, text: &str, may_hold_phone: bool) -> bool {
        let has_local_part = |email: &String| email.rsplit_once('@').is_some_and(|(local, _)| text.contains(local));
        let may_hold_email = text.contains('@') && self.emails.iter().any(has_local_part);
        let phones = |region: &Region| Phone::parse_all(text, *region);
        may_hold_email && Email::parse_all(text).iter().any(|email| self.emails.contains(email.as_str()))
            || may_hold_phone
                && self.regions.iter().flat_map(phones).any(|phone| self.phones.contains_key(phone.as_str()))
    }

    /// True if a message of a queue is about the person.
    pub fn are_told(&self, body: &str) -> bool {
        match serde_json::from_str::<Event>(body) {
            Ok(event) => self.are_told_by(&event),
            // A later version wrote it, or it is damaged.
            Err(_) => {
                let leaves = leaves(body);
                let is_named = |leaf: &Leaf| leaf.text.parse::<Identifier>().is_ok_and(|one| self.names.contains(&one));
                self.are_named_in(body) || leaves.iter().any(|leaf| is_named(leaf) || self.are_named_in(&leaf.text))
            }
        }
    }

    /// True if the event names the person by an identifier, or somebody's words in it hold their e-mail or phone.
    pub fn are_told_by(&self, event: &Event) -> bool {
        match &event.body {
            Body::Unrecognized(_) => self.are_kept(event),
            _ => {
                self.named_by(event).iter().any(|one| self.names.contains(one))
                    || texts_of(event).iter().any(|text| self.are_named_in(text))
            }
        }
    }

    /// As [`Self::are_told_by`], and true if somebody's words in it hold another id of the person.
    pub fn are_mentioned_by(&self, event: &Event) -> bool {
        self.are_told_by(event) || texts_of(event).iter().any(|text| self.are_in(text))
    }

    /// The identifiers of an event, also of one that only points at somebody.
    fn named_by(&self, event: &Event) -> BTreeSet<Identifier> {
        let mut named = named_in(event);
        match &event.body {
            Body::MessageDecided(message) => _ = named.insert(message.to.clone()),
            Body::OrderNoticed(noticed) => {
                named.extend(Identifier::opaque(Kind::Order, event.source.as_str(), &noticed.order));
            }
            // Its scope would be the shop, which the provider of the payment does not name.
            Body::PaymentNoticed(noticed) => {
                let is_it = |one: &&Identifier| one.kind() == Kind::Payment && one.value() == noticed.payment;
                named.extend(self.ids.iter().filter(is_it).filter(|one| is_telling(one.value())).cloned());
            }
            _ => {}
        }
        named
    }

    /// True if the body of a delivery that was not understood holds the addresses.
    pub fn are_kept(&self, event: &Event) -> bool {
        let Body::Unrecognized(kept) = &event.body else { return false };
        STANDARD
            .decode(&kept.body)
            .is_ok_and(|bytes| readings(&bytes).iter().any(|text| self.are_in_body(text, event, kept)))
    }

    fn are_in_body(&self, text: &str, event: &Event, kept: &Unrecognized) -> bool {
        let leaves = leaves(text);
        let function = kept.route.split('/').next().unwrap_or_default();
        let mut ids = self.ids.iter().filter(|one| is_of_source(one, &event.source, function));
        // Where nothing tells values apart, only an id with letters is looked for.
        let has_id = |one: &Identifier| match leaves.is_empty() {
            true => is_telling(one.value()) && is_in_words(text, one.value()),
            false => leaves.iter().any(|leaf| is_id(one, leaf)),
        };
        self.are_named_in(text) || leaves.iter().any(|leaf| self.are_named_in(&leaf.text)) || ids.any(has_id)
    }
}

/// The phone of an identifier, in the form E.164. Some messengers name people by their phone.
fn phone_of(name: &Identifier) -> Option<String> {
    match name.kind() {
        Kind::Phone => Some(name.value().to_owned()),
        kind => {
            let is_by_phone = kind.messenger().is_some_and(|messenger| messenger.info().ids == IdForm::Phone);
            (is_by_phone && kind != Kind::WhatsappUser).then(|| format!("+{}", name.value()))
        }
    }
}

/// True for the token of a link that many people use, such as a poster's. It names nobody.
fn is_everybodys(name: &Identifier) -> bool {
    let header = Token::parse(name.value()).filter(|token| token.as_str().len() == OWN_TOKEN);
    let header = header.and_then(|token| token.header());
    name.kind() == Kind::Link && header.is_none_or(|header| header.purpose == Purpose::Public)
}

/// True if the id stands in people's words. A number alone may be anything, so it has to be all that they say.
fn is_in_words(text: &str, id: &str) -> bool {
    let (text, id) = (text.to_lowercase(), id.to_lowercase());
    if is_telling(&id) { is_id_in(&text, &id) } else { text.trim() == id }
}

/// The texts of an event's data. Numbers are left out: they are amounts and rows.
fn texts_of(event: &Event) -> Vec<String> {
    let event = serde_json::to_value(event).unwrap_or_default();
    let mut found = Vec::new();
    if let Some(data) = event.get("data") {
        leaves_of(data, &mut Vec::new(), 0, &mut found);
    }
    found.into_iter().filter(|leaf| leaf.is_text).map(|leaf| leaf.text).collect()
}
