//! What people do in the theatre's bot.

use std::collections::BTreeSet;

use stagedoor_model::Channel;
use stagedoor_testkit::fans::{Account, ChatFan};

use crate::{
    act::Actors,
    consent::{BEGUN, ConsentFact, TELEGRAM},
};

/// A chat in which a human shared a phone.
#[derive(Debug, Clone)]
pub struct TalkFact {
    pub human: usize,
    /// The chat's id and the phone.
    pub identifiers: BTreeSet<String>,
    /// The delivery with the phone.
    pub word: String,
}

impl Actors {
    /// A human opens a chat and shares their phone. Later they write, say a stop word, or start again.
    pub fn chat(&mut self) {
        let human = self.rng.below(self.story.world.humans.len());
        let chat = format!("{TELEGRAM}{human:03}");
        let words = self.story.world.consents.iter().filter(|one| one.addresses.contains(&chat));
        match words.max_by_key(|one| one.at).map(|one| one.given) {
            None => self.open_chat(human, &chat),
            Some(true) if self.rng.once_in(2) => self.stop_chat(human, &chat),
            Some(true) => {
                self.say(human, &chat, "w", |fan, serial, at| fan.say("Здравствуйте", serial, at));
            }
            Some(false) => {
                let word = self.say(human, &chat, "r", |fan, serial, at| fan.start(None, serial, at));
                self.note_consent(human, (Channel::Messenger, true, ""), [chat].into(), &word);
            }
        }
    }

    /// Sends a message. The nickname in it is the delivery's word.
    fn say(
        &mut self,
        human: usize,
        chat: &str,
        what: &str,
        signed_request: impl Fn(&ChatFan, u64, i64) -> stagedoor_testkit::SignedRequest + Send + Sync + 'static,
    ) -> String {
        let (serial, second) = (self.serial(), self.now().as_second());
        let nickname = format!("fan{chat}{what}{serial}");
        let fan = ChatFan::new(Account::Telegram(chat.parse().unwrap_or(1)), &nickname);
        self.story.tell(format!("{} in the chat {chat}: {nickname}", self.name(human)));
        self.send(nickname.clone(), move |_| signed_request(&fan, serial, second));
        nickname
    }

    fn open_chat(&mut self, human: usize, chat: &str) {
        let word = self.say(human, chat, "s", |fan, serial, at| fan.start(None, serial, at));
        self.note_consent(human, (Channel::Messenger, true, BEGUN), [chat.to_owned()].into(), &word);
        let Some(phone) = self.story.world.humans.get(human).map(|who| who.phones[0].clone()) else { return };
        let shared = phone.clone();
        let word = self.say(human, chat, "p", move |fan, serial, at| fan.share_phone(&shared, serial, at));
        // A message that arrives before the start of the chat opens the chat, too.
        self.note_consent(human, (Channel::Messenger, true, BEGUN), [chat.to_owned()].into(), &word);
        let identifiers = [chat.to_owned(), phone].into();
        self.story.world.conversations.push(TalkFact { human, identifiers, word });
    }

    fn stop_chat(&mut self, human: usize, chat: &str) {
        let word = self.say(human, chat, "x", |fan, serial, at| fan.say("Стоп", serial, at));
        let (at, addresses) = (self.now(), BTreeSet::from([chat.to_owned()]));
        self.story.world.consents.push(ConsentFact {
            human,
            channel: Channel::Messenger,
            given: false,
            for_all: true,
            addresses,
            at,
            word,
            // The hub learns it from the conversation.
            mark: format!("telegram:{chat}"),
            method: "chat.stopped",
        });
    }
}
