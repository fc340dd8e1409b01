//! Strangers, who type others' identifiers into a page's form or the bot, and the checks that it has no effect.

use std::collections::BTreeSet;

use stagedoor_testkit::fans::{Account as Chat, ChatFan};

use crate::{
    account::{Account, Contact},
    act::Actors,
    check::{Invariant, Violation, broken},
    deliver,
    story::Story,
    world::SHOWS,
};

/// The name of strangers. Nobody else has it.
const STRANGER: &str = "Чужой";

/// Identifiers that somebody typed without any proof.
#[derive(Debug, Clone)]
pub struct Claim {
    pub identifiers: BTreeSet<String>,
    pub show: usize,
    /// The boxes of all channels.
    pub given: bool,
    pub word: String,
}

impl Actors {
    /// A stranger types somebody's phone, e-mail or both.
    pub fn pretend(&mut self) {
        let (serial, other) = (self.serial(), self.rng.below(self.story.world.humans.len()));
        let Some(who) = self.story.world.humans.get(other).cloned() else { return };
        let [phone, _] = who.phones;
        if self.rng.once_in(3) {
            let fan = ChatFan::new(Chat::Telegram(777_000_000 + serial), &format!("{STRANGER}{serial}"));
            self.story.tell(format!("a stranger types {phone} into the bot"));
            let (word, second) = (fan.nickname.clone(), self.now().as_second());
            self.send(word, move |_| fan.say(&format!("мой телефон {phone}"), serial, second));
            return;
        }
        let own = format!("stranger{serial}@example.net");
        let [email, _] = who.emails;
        let identifiers = match self.rng.below(3) {
            0 => [phone, own],
            1 => [phone, email],
            _ => [format!("+7999300{serial:04}"), email],
        };
        let (show, given) = (self.rng.below(SHOWS.len()), self.rng.once_in(2));
        let claim = Claim { identifiers: identifiers.into(), show, given, word: format!("w{serial}") };
        self.story.tell(format!("a stranger types {:?} into a page's form, boxes {given}", claim.identifiers));
        let name = format!("{STRANGER} Посетитель{serial}");
        self.send(format!("\"{}\"", claim.word), move |_| deliver::claim(&claim, &name));
    }
}

/// True if a stranger's submission made the contact.
pub fn is_strangers(contact: &Contact) -> bool {
    contact.name.contains(STRANGER)
}

/// Checks that a stranger's contact holds no proved identifier.
pub fn check(account: &Account, story: &Story, found: &mut Vec<Violation>) {
    let proved: BTreeSet<String> = story.world.people().into_iter().flat_map(|one| one.identifiers).collect();
    for contact in account.contacts.iter().filter(|one| is_strangers(one) && !one.duplicate) {
        if let Some(value) = contact.phones.iter().chain(&contact.emails).find(|value| proved.contains(*value)) {
            let what = format!("contact {} of a stranger ({}) holds {value}", contact.id, contact.name);
            found.push(broken(Invariant::NoStrangers, what));
        }
    }
}
