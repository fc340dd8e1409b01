//! What people say about being written to, and where they say it.

use std::collections::BTreeSet;

use serde_json::json;
use stagedoor_model::{Channel, Timestamp};
use stagedoor_testkit::{SignedRequest, form, unisender};

use crate::{act::Actors, world::FormFact};

/// One word of a human about a channel.
#[derive(Debug, Clone)]
pub struct ConsentFact {
    pub human: usize,
    pub channel: Channel,
    pub given: bool,
    /// A withdrawal that ends every channel.
    pub for_all: bool,
    /// The addresses that were told with it.
    pub addresses: BTreeSet<String>,
    pub at: Timestamp,
    /// The delivery that told of it.
    pub word: String,
    /// By what its row in the journal is known: a text, and the hub's name of how it was said.
    pub mark: String,
    pub method: &'static str,
}

pub const MAIL_KEY: &str = "simulated-unisender-key";
pub const SMS_HOOK: &str = "simulated-sms-hook";

/// The method of a chat that was opened: it brings nobody back who withdrew.
pub const BEGUN: &str = "begun";

/// Whether a channel reaches an address.
pub fn reaches(channel: Channel, address: &str) -> bool {
    match channel {
        Channel::Email => address.contains('@'),
        Channel::Sms | Channel::Call => address.starts_with('+'),
        Channel::Messenger => address.starts_with(TELEGRAM),
    }
}

/// How ids of chats begin in a world.
pub const TELEGRAM: &str = "5550000";

impl Actors {
    /// The boxes of a form: what is said of each channel.
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
        // What is said in no form is said of every channel.
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

    /// Somebody wants no more advertising.
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

    /// The mail provider tells that somebody unsubscribed there.
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

    /// A stop word by SMS.
    fn withdraw_by_sms(&mut self, fact: &ConsentFact) {
        let Some(phone) = fact.addresses.iter().find(|one| reaches(Channel::Sms, one)).cloned() else { return };
        let (id, at, word) = (self.serial().to_string(), self.now(), format!("phone:{phone}"));
        // Said twice, the word would not tell which of them was heard.
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

    /// One click in a letter that they got.
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

/// As providers tell a time, in UTC.
fn told(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
