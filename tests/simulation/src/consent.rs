//! The consents and withdrawals of people, and the ways in which they state them.

use std::collections::BTreeSet;

use serde_json::json;
use stagedoor_model::{Channel, Timestamp};
use stagedoor_testkit::{SignedRequest, form, unisender};

use crate::{act::Actors, world::FormFact};

/// One statement of a human about a channel.
#[derive(Debug, Clone)]
pub struct ConsentFact {
    pub human: usize,
    pub channel: Channel,
    pub given: bool,
    /// True for a withdrawal from every channel.
    pub for_all: bool,
    /// The addresses in the delivery.
    pub addresses: BTreeSet<String>,
    pub at: Timestamp,
    /// The word of the delivery.
    pub word: String,
    /// How the journal names it: a text in its row, and the hub's name of the method.
    pub mark: String,
    pub method: &'static str,
}

pub const MAIL_KEY: &str = "simulated-unisender-key";
pub const SMS_HOOK: &str = "simulated-sms-hook";

/// The method of an opened chat. It does not reverse a withdrawal.
pub const BEGUN: &str = "begun";

/// True if a channel reaches an address.
pub fn reaches(channel: Channel, address: &str) -> bool {
    match channel {
        Channel::Email => address.contains('@'),
        Channel::Sms | Channel::Call => address.starts_with('+'),
        Channel::Messenger => address.starts_with(TELEGRAM),
    }
}

/// The prefix of chat ids in a world.
pub const TELEGRAM: &str = "5550000";

impl Actors {
    /// Fills in the boxes of a form, one for each channel.
    pub fn boxes(&mut self, fact: &mut FormFact, word: &str) {
        for channel in [Channel::Email, Channel::Sms] {
            let given = match self.rng.below(8) {
                0..=3 => true,
                4 => false,
                _ => continue,
            };
            fact.boxes.push((channel, given));
            let addresses = fact.identifiers.clone();
            self.note_consent(fact.human, (channel, given, ""), addresses, word);
        }
    }

    pub fn note_consent(
        &mut self,
        human: usize,
        (channel, given, method): (Channel, bool, &'static str),
        addresses: BTreeSet<String>,
        word: &str,
    ) {
        // A statement outside a form concerns every channel.
        let (at, word, for_all) = (self.now(), word.to_owned(), !given && !method.is_empty());
        let mark = word.clone();
        self.story.world.consents.push(ConsentFact {
            human,
            channel,
            given,
            for_all,
            addresses,
            at,
            word,
            mark,
            method,
        });
    }

    /// A random human withdraws from advertising.
    pub fn withdraw(&mut self) {
        let given: Vec<ConsentFact> = self.story.world.consents.iter().filter(|one| one.given).cloned().collect();
        let Some(fact) = self.rng.pick(&given).cloned() else { return };
        match self.rng.below(3) {
            0 => self.withdraw_by_click(),
            1 => self.withdraw_by_mail(&fact),
            _ => self.withdraw_by_sms(&fact),
        }
    }

    pub fn name(&self, human: usize) -> String {
        self.story.world.humans.get(human).map(|who| who.name.clone()).unwrap_or_default()
    }

    /// The mail provider reports that the human unsubscribed there.
    fn withdraw_by_mail(&mut self, fact: &ConsentFact) {
        let Some(address) = fact.addresses.iter().find(|one| reaches(Channel::Email, one)).cloned() else { return };
        let list = 700_000 + self.serial();
        let (at, word) = (self.now(), format!("\"{list}\""));
        self.story.tell(format!("{} unsubscribes {address} at the mail provider ({list})", self.name(fact.human)));
        self.note_consent(fact.human, (Channel::Email, false, "unsubscribe"), [address.clone()].into(), &word);
        self.send(word, move |_| {
            let data = json!({ "email": address, "list_ids": [list] });
            let event = json!({ "event_name": "unsubscribe", "event_time": told(at), "event_data": data });
            unisender("/mail/letters", &[event], MAIL_KEY)
        });
    }

    /// The human sends a stop word by SMS.
    fn withdraw_by_sms(&mut self, fact: &ConsentFact) {
        let Some(phone) = fact.addresses.iter().find(|one| reaches(Channel::Sms, one)).cloned() else { return };
        let (id, at, word) = (self.serial().to_string(), self.now(), format!("phone:{phone}"));
        // A repeated word would not show which of the two the hub read.
        if self.story.world.consents.iter().any(|one| one.word == word) {
            return;
        }
        self.story.tell(format!("{} answers СТОП from {phone}", self.name(fact.human)));
        self.note_consent(fact.human, (Channel::Sms, false, "stop-word"), [phone.clone()].into(), &word);
        self.send(word, move |_| {
            let time = told(at);
            form(
                &format!("/mail/sms/{SMS_HOOK}"),
                &[("sms_id", &id), ("phone", &phone), ("mes", "СТОП"), ("time", &time)],
            )
        });
    }

    /// A human clicks "unsubscribe" in a letter.
    fn withdraw_by_click(&mut self) {
        let letters: Vec<(String, String)> = self
            .shared
            .way_out
            .calls()
            .into_iter()
            .filter(|call| call.arrived)
            .filter_map(|call| Some((call.to, call.unsubscribe?)))
            .collect();
        let Some((address, url)) = self.rng.pick(&letters).cloned() else { return };
        let Some(human) = self.story.world.humans.iter().position(|who| who.owns(&address)) else { return };
        let Some(path) = url.strip_prefix("http://hub.invalid").map(str::to_owned) else { return };
        let Some(token) = path.rsplit('/').next().map(str::to_owned) else { return };
        if self.story.world.consents.iter().any(|one| one.word == token) {
            return;
        }
        self.story.tell(format!("{} clicks on unsubscribe in a letter to {address}", self.name(human)));
        self.note_consent(human, (Channel::Email, false, "one-click"), [address].into(), &token);
        self.send(token, move |_| {
            SignedRequest::new(&path, "application/x-www-form-urlencoded", b"List-Unsubscribe=One-Click".to_vec())
        });
    }
}

/// A time in UTC, as providers write it.
fn told(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
