//! A store of the plainest kind, and facts to tell it.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_engine::{Catalog, Guards, Person, PersonId, deals, fold, group, record_of};
use stagedoor_model::{
    Body, ChatRef, ChatStarted, ContactShared, Content, Event, EventId, Identifier, Kind, LinkIssued, LinkKey,
    MessageHeard, Messenger, Proof, Purpose, Record, SourceName, Timestamp, Token, TokenTag,
};

/// A store of the plainest kind: what fold says, it does.
#[derive(Default)]
pub struct World {
    pub people: BTreeMap<PersonId, Person>,
    pub owners: BTreeMap<Identifier, PersonId>,
    pub known_shared: BTreeSet<Identifier>,
    pub guards: Guards,
}

impl World {
    pub fn deliver(&mut self, records: Vec<Record>) {
        let touched: BTreeSet<PersonId> =
            records.iter().flat_map(Record::mentions).filter_map(|i| self.owners.get(&i)).copied().collect();
        let mut loaded = BTreeMap::new();
        let mut wanted: Vec<PersonId> = touched.into_iter().collect();
        while let Some(id) = wanted.pop() {
            if let Some(person) = self.people.get(&id)
                && loaded.insert(id, person.clone()).is_none()
            {
                wanted.extend(person.blocked_with.iter());
            }
        }
        for part in group(records, loaded.into_values().collect(), &self.owners, &self.known_shared, &self.guards) {
            let before: BTreeSet<PersonId> = part.people.iter().map(|person| person.id).collect();
            let folded = fold(part, &self.known_shared, &self.guards);
            for identifier in folded.released.iter().chain(&folded.shared_identifiers) {
                self.owners.remove(identifier);
                // As a store does that keeps the mark in the place of the owner.
                self.known_shared.remove(identifier);
            }
            self.known_shared.retain(|mark| !folded.lifted.contains(mark));
            self.known_shared.extend(folded.shared_identifiers);
            self.owners.extend(folded.claims);
            for id in folded.redirects.keys() {
                assert!(before.contains(id));
                self.people.remove(id);
            }
            self.people.extend(folded.people.into_iter().map(|person| (person.id, person)));
        }
    }

    pub fn picture(&self) -> BTreeSet<(BTreeSet<String>, String)> {
        let catalog = Catalog::default();
        self.people
            .values()
            .map(|person| {
                let keys = person.records.keys().map(|key| key.0.clone()).collect();
                (keys, format!("{:?} {:?} {:?}", person.name(), person.phones(), deals(person, &catalog)))
            })
            .collect()
    }
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

pub fn source() -> SourceName {
    SourceName::new("shop").expect("valid")
}

pub fn phone(n: u8) -> Identifier {
    format!("phone:+7916123450{n}").parse().expect("valid")
}

pub fn email(n: u8) -> Identifier {
    format!("email:fan{n}@example.com").parse().expect("valid")
}

pub fn customer(n: u8) -> Identifier {
    Identifier::opaque(Kind::Customer, "shop", &format!("c{n}")).expect("valid")
}

/// A token of our form, named for the test.
pub fn token(name: &str) -> Token {
    LinkKey::new("test").mint(1, Purpose::Chat, name, at(1_000_000))
}

pub fn tagged(name: &str, browser: &str) -> Token {
    token(name).tagged(TokenTag::of_browser(browser))
}

/// Somebody's Telegram.
pub fn chat(n: u8) -> Identifier {
    Identifier::opaque(Kind::Chat(Messenger::Telegram), "", &format!("70000{n}")).expect("valid")
}

fn record(parts: &[&str], second: i64, body: Body) -> Record {
    let id = EventId::derive(&source(), parts);
    record_of(&Event::new(&source(), id, at(second), body)).expect("about a person")
}

pub fn issued(name: &str, purpose: Purpose, whose: Identifier, second: i64, expires: i64) -> Record {
    let token = token(name);
    let identifiers = BTreeSet::from([whose]);
    let body =
        LinkIssued { identifiers, token, campaign: "ufa".into(), purpose, expires_at: at(expires), is_sent: false };
    record(&["issued", name], second, Body::LinkIssued(body))
}

pub fn started(n: u8, name: &str, browser: Option<&str>, second: i64) -> Record {
    let token = browser.map_or_else(|| token(name), |browser| tagged(name, browser));
    let body = ChatStarted { chat: ChatRef::of(chat(n)), token: Some(token), may_write: true, only_opened: false };
    record(&["started", &n.to_string(), name, &second.to_string()], second, Body::ChatStarted(body))
}

pub fn shared(n: u8, given: Identifier, second: i64) -> Record {
    let body = ContactShared { chat: ChatRef::of(chat(n)), given, proof: Proof::Channel };
    record(&["shared", &n.to_string(), &second.to_string()], second, Body::ContactShared(body))
}

pub fn said(n: u8, second: i64) -> Record {
    let content = Content::Text(format!("line {second}"));
    let body = MessageHeard { chat: ChatRef::of(chat(n)), message: second.to_string(), content };
    record(&["said", &n.to_string(), &second.to_string()], second, Body::MessageReceived(body))
}
