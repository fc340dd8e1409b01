//! The replies of the bot. Only the earlier lines of a chat decide which reply a line gets. So a second delivery, or a
//! crash between receiving and answering, gives the same reply again.

mod menu;
mod restraint;

use std::collections::{BTreeMap, BTreeSet};

pub use restraint::PASSED_ON_ONCE;
use restraint::{Restraint, Silence};
use stagedoor_model::{
    Content, Conversation, Email, Identifier, Kind, Message, MessageContent, Phone, Purpose, Region, StopWish,
    Timestamp, Token, breakage, stop_wish,
};

use crate::{
    Localised, Person,
    confirmation::{CodePolicy, Offer, code_in},
};

/// The most letters beside a phone or an e-mail in an answer: "мой номер …, звоните после шести".
const BESIDE: usize = 32;

/// The most words of a name: a family name, a given name and a patronymic.
const NAME: usize = 3;

/// The most words of a text that only opens a chat.
const OPENING: usize = 2;

/// The fewest characters of a menu line that a button shows.
const SHOWN: usize = 16;

/// An address that the bot asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    Phone,
    Email,
}

/// The occasion of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    /// The person started the chat through their own link.
    Token,
    /// The person started the chat through a link that belongs to another person, is used up, or is too old.
    UsedToken,
    Start,
    /// The message contains one of these words, in lower case.
    Keyword(BTreeSet<String>),
    /// The message names an item of the menu: its number, from 1 to 9, and its title.
    Menu(u8, Localised),
    /// The person gave a phone or an e-mail.
    Given,
    /// The message is not a valid phone or e-mail.
    Wrong(Ask),
    /// The person wants no more advertising.
    Stop,
    /// None of the others. A manager gets a task.
    Other,
}

/// One reply of the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub on: On,
    /// The campaign whose chats get this reply. `None` means all chats.
    pub campaign: Option<String>,
    /// The text. It may hold `{name}`, `{promo}`, `{show}`, `{city}` and `{menu}`.
    pub text: Localised,
    /// The label of a button that leads to the campaign's shop.
    pub button: Option<Localised>,
    /// The address that the bot asks for, unless it is known.
    pub ask: Option<Ask>,
}

/// The replies, stop words and codes of the bot.
#[derive(Debug, Clone, Default)]
pub struct BotScript {
    pub replies: Vec<Reply>,
    /// Additional stop words. A message that begins with one of them is a stop.
    pub stop_words: BTreeSet<String>,
    /// The region of phone numbers that people type.
    pub region: Option<Region>,
    /// Campaigns by the number in their links. A poster's link names no person, but it names its campaign.
    pub campaigns: BTreeMap<u16, String>,
    /// How a code confirms a typed address. If `None`, no codes are sent.
    pub codes: Option<CodePolicy>,
}

/// How the bot understood a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    Start,
    /// A link or an advertisement opened the chat. The person said nothing about messages.
    Opened,
    Menu(Vec<u8>),
    Keyword,
    Given(Identifier),
    /// The digits of a code, and the address that they answer for.
    Code(String, Offer),
    Wrong,
    Stop,
    /// The message may contain a stop word. A manager has to read it.
    Doubt,
    /// Not understood.
    Other,
}

/// The answer of the bot to one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotStep<'s> {
    /// The id of the message that it answers.
    pub cause: String,
    pub at: Timestamp,
    /// The order of the message. Events that follow from the message come right after it.
    pub order: u64,
    pub heard: Intent,
    /// A phone or an e-mail that the bot asked for and that stands among other words.
    pub beside: Option<Identifier>,
    /// The campaign of the last link through which the chat came.
    pub campaign: Option<String>,
    /// The replies, in this order. Empty if the config has no reply, or the bot keeps silent.
    pub replies: Vec<&'s Reply>,
    /// True if the bot keeps silent because another robot seems to answer it.
    pub is_loop: bool,
}

struct State<'s, 'p> {
    bot_script: &'s BotScript,
    person: &'p Person,
    campaign: Option<String>,
    awaiting: Option<Ask>,
    /// Typed addresses that a code may confirm. The last one counts.
    offers: Vec<Offer>,
    /// Addresses that the person gave in the chat, if codes are in use.
    told: BTreeSet<Identifier>,
    /// A start of the chat that could not be answered yet.
    pending: Option<Option<Token>>,
    open: bool,
    restraint: Restraint,
}

/// Returns every answer that the messages of a chat ask for, in the order of the messages.
pub fn turns<'s>(bot_script: &'s BotScript, conversation: &Conversation, person: &Person) -> Vec<BotStep<'s>> {
    // The message that began the chat may be gone already.
    let own = |token: &String| person.links().find(|link| link.token.as_str() == token);
    let through = conversation.uses.iter().filter_map(|(token, used)| Some((used.at, own(token)?.campaign.clone())));
    let campaign = through.min().map(|(_, campaign)| campaign);
    let restraint = Restraint::default();
    let mut state = State {
        bot_script,
        person,
        campaign,
        awaiting: None,
        offers: vec![],
        told: told_in(bot_script, conversation),
        pending: None,
        open: false,
        restraint,
    };
    conversation.lines.iter().filter_map(|line| state.take(line, conversation)).collect()
}

fn told_in(bot_script: &BotScript, conversation: &Conversation) -> BTreeSet<Identifier> {
    let given = conversation.lines.iter().filter_map(|line| match &line.said {
        MessageContent::Contact(given) => Some(given.clone()),
        _ => None,
    });
    given.filter(|_| bot_script.codes.is_some()).collect()
}

impl<'s> State<'s, '_> {
    fn take(&mut self, line: &Message, conversation: &Conversation) -> Option<BotStep<'s>> {
        self.open |= conversation.open_since.is_some_and(|since| since <= line.at);
        if let MessageContent::Started { token, .. } = &line.said
            && !self.open
        {
            self.pending = Some(token.clone());
            return None;
        }
        let (heard, on) = match (&line.said, self.pending.take()) {
            (MessageContent::Started { token, only_opened }, _) => {
                let (heard, on) = self.start(token.as_ref());
                (if *only_opened && !breakage::is_on("opened-chat-resumes") { Intent::Opened } else { heard }, on)
            }
            (MessageContent::Hub(_) | MessageContent::Undelivered(_), pending) => {
                self.pending = pending;
                return None;
            }
            (_, Some(token)) => self.first_words(token, line),
            (_, None) => self.hear(line)?,
        };
        let mut replies: Vec<&Reply> = on.into_iter().flatten().collect();
        let asked = self.awaiting.filter(|ask| !self.knows(*ask));
        let offer = self.offer(&heard, line);
        let is_edited = matches!(&line.said, MessageContent::Other(kind, _) if kind == Content::EDITED);
        self.awaiting = match &heard {
            Intent::Wrong | Intent::Code(..) => self.awaiting,
            heard if is_edited && !matches!(heard, Intent::Given(_)) => self.awaiting,
            // The person may have mistyped the address.
            Intent::Given(given) if offer.is_some() => {
                Some(if given.kind() == Kind::Email { Ask::Email } else { Ask::Phone })
            }
            // This holds even after the address is known: what answered the question stays its answer.
            _ => replies
                .iter()
                .find_map(|reply| reply.ask)
                .filter(|ask| !self.knows(*ask) || !breakage::is_on("answered-question-forgotten")),
        };
        self.offers.extend(offer);
        let beside =
            asked.filter(|_| matches!(heard, Intent::Other | Intent::Keyword)).and_then(|ask| match &line.said {
                MessageContent::Text(text) | MessageContent::Other(_, Some(text)) => self.given(ask, text),
                _ => None,
            });
        let beside = beside.or_else(|| match (&heard, &line.said) {
            (Intent::Other | Intent::Keyword, MessageContent::Text(text) | MessageContent::Button(text)) => {
                self.alone(text)
            }
            _ => None,
        });
        let admitted = if is_edited { Ok(()) } else { self.restraint.admit(line.at, words_of(&line.said), &heard) };
        let silence = admitted.err();
        if silence.is_some() {
            replies.clear();
        }
        let (cause, campaign, is_loop) = (line.id.clone(), self.campaign.clone(), silence == Some(Silence::Loop));
        Some(BotStep { cause, at: line.at, order: line.order, heard, beside, campaign, replies, is_loop })
    }

    /// Interprets the first line of a person who came through a link. It gets the answer to the link, and its own words
    /// count as well.
    fn first_words(&mut self, token: Option<Token>, line: &Message) -> (Intent, Vec<Option<&'s Reply>>) {
        let (start, greeting) = self.start(token.as_ref());
        let heard = self.hear(line).filter(|_| !breakage::is_on("first-words-unheard"));
        match heard {
            None => (start, greeting),
            // A typed address becomes a line of its own, perhaps after a code. That line gets the answer to the link.
            Some((heard @ (Intent::Given(_) | Intent::Code(..)), on))
                if !matches!(line.said, MessageContent::Contact(_)) =>
            {
                self.pending = Some(token);
                (heard, on)
            }
            Some((heard @ (Intent::Stop | Intent::Doubt), on)) => (heard, on),
            Some((Intent::Other, _)) if is_opening(words_of(&line.said)) => (start, greeting),
            Some((heard, on)) => (heard, greeting.into_iter().chain(on).collect()),
        }
    }

    /// Interprets a line of an open chat. Returns `None` if it says nothing.
    fn hear(&mut self, line: &Message) -> Option<(Intent, Vec<Option<&'s Reply>>)> {
        Some(match &line.said {
            MessageContent::Started { .. }
            | MessageContent::Hub(_)
            | MessageContent::Undelivered(_)
            | MessageContent::Allowed => return None,
            MessageContent::Pressed { payload, label } => self.pressed(payload, label),
            MessageContent::Text(text) | MessageContent::Button(text) => match self.code(text, line.at) {
                Some(heard) => (heard, vec![]),
                None => self.typed(text),
            },
            // A typed address that was not confirmed. The bot answered when the person typed it.
            MessageContent::Contact(given) if self.is_unconfirmed(given, line.at) => {
                (Intent::Given(given.clone()), vec![])
            }
            MessageContent::Contact(given) => (Intent::Given(given.clone()), vec![self.find(|on| *on == On::Given)]),
            MessageContent::Other(kind, _) if kind == "sticker" => return None,
            // A quote stands beside its answer.
            MessageContent::Other(kind, _) if kind == Content::QUOTE => return None,
            MessageContent::Other(kind, caption) if kind == Content::EDITED => {
                (self.edited(caption.as_deref().unwrap_or("")), vec![])
            }
            // Degrees of a location are not a phone.
            MessageContent::Other(kind, _) if kind == "location" => self.words(""),
            MessageContent::Other(_, caption) => self.words(caption.as_deref().unwrap_or("")),
        })
    }

    fn knows(&self, ask: Ask) -> bool {
        let kind = if ask == Ask::Phone { Kind::Phone } else { Kind::Email };
        self.person.identifiers_and_claims().iter().any(|one| one.kind() == kind)
    }

    fn offer(&self, heard: &Intent, line: &Message) -> Option<Offer> {
        let Intent::Given(given) = heard else { return None };
        let is_typed = matches!(line.said, MessageContent::Text(_) | MessageContent::Button(_));
        let codes = self.bot_script.codes.as_ref().filter(|codes| is_typed && codes.takes(given));
        codes.map(|_| Offer { given: given.clone(), cause: line.id.clone(), at: line.at })
    }

    fn code(&self, text: &str, at: Timestamp) -> Option<Intent> {
        let offer = self.offers.last().filter(|offer| offer.is_answered_at(at))?;
        Some(Intent::Code(code_in(text)?, offer.clone()))
    }

    fn is_unconfirmed(&self, given: &Identifier, at: Timestamp) -> bool {
        self.offers.iter().any(|offer| offer.given == *given && offer.ends_at() == at)
    }

    fn start(&mut self, token: Option<&Token>) -> (Intent, Vec<Option<&'s Reply>>) {
        let own = token.and_then(|token| self.person.links().find(|link| link.token.as_str() == token.as_str()));
        let header = token.and_then(Token::header).filter(|header| header.purpose == Purpose::Public);
        let poster = header.and_then(|header| self.bot_script.campaigns.get(&header.campaign));
        self.campaign = own.map(|link| &link.campaign).or(poster).cloned().or(self.campaign.take());
        let on = match (token, own) {
            (_, Some(_)) => On::Token,
            (Some(_), None) if poster.is_none() => On::UsedToken,
            (Some(_), None) => On::Start,
            (None, None) => On::Start,
        };
        let reply = self.find(|known| *known == on).or_else(|| self.find(|known| *known == On::Start));
        (Intent::Start, vec![reply])
    }

    /// The label that the person read counts if it is a stop word. Otherwise our payload counts, if it means something
    /// to us.
    fn pressed(&self, payload: &str, label: &str) -> (Intent, Vec<Option<&'s Reply>>) {
        if stop_wish(label, &self.bot_script.stop_words) != StopWish::None {
            return self.words(label);
        }
        match self.words(payload) {
            (Intent::Other, _) => self.words(label),
            heard => heard,
        }
    }

    /// Interprets an edit. The bot answered the first text, so a manager reads it. Only a stop or a new address acts.
    fn edited(&self, text: &str) -> Intent {
        match self.typed(text).0 {
            Intent::Given(given) if self.person.identifiers_and_claims().contains(&given) => Intent::Other,
            heard => heard,
        }
    }

    /// Interprets a typed message. A message with nothing but an address gives that address, asked for or not.
    fn typed(&self, text: &str) -> (Intent, Vec<Option<&'s Reply>>) {
        match (self.words(text), self.find(|on| *on == On::Given)) {
            ((Intent::Other | Intent::Menu(_), _), Some(reply)) if let Some(given) = self.alone(text) => {
                (Intent::Given(given), vec![Some(reply)])
            }
            (heard, _) => heard,
        }
    }

    /// Returns the phone or the e-mail of a text that says nothing more except a name.
    fn alone(&self, text: &str) -> Option<Identifier> {
        let beside = || text.split_whitespace().filter(|word| !word.contains('@'));
        let words = beside().filter(|word| word.chars().any(char::is_alphabetic)).count();
        if words > NAME || !is_answer(text) || breakage::is_on("address-unasked-unheard") {
            return None;
        }
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).count();
        let given = self.given(Ask::Phone, text)?;
        // Other digits belong to an order, a seat or a price.
        let own = if given.kind() == Kind::Phone { digits(given.value()) } else { 0 };
        (beside().map(digits).sum::<usize>() <= own).then_some(given)
    }

    fn words(&self, text: &str) -> (Intent, Vec<Option<&'s Reply>>) {
        let said = folded(text);
        match stop_wish(text, &self.bot_script.stop_words) {
            StopWish::Certain => return (Intent::Stop, vec![self.find(|on| *on == On::Stop)]),
            StopWish::Doubtful => return (Intent::Doubt, vec![self.find(|on| *on == On::Other)]),
            StopWish::None => {}
        }
        // A given address stays an answer, even after it is known and the bot would not ask for it.
        let again = || [Ask::Phone, Ask::Email].into_iter().find_map(|ask| self.given(ask, text));
        if !self.told.is_empty()
            && is_answer(text)
            && let Some(given) = again().filter(|given| self.told.contains(given))
        {
            return (Intent::Given(given), vec![self.find(|on| *on == On::Given)]);
        }
        if let Some(ask) = self.awaiting.filter(|_| is_answer(text) || breakage::is_on("question-swallows")) {
            let wrong = match ask {
                Ask::Phone => {
                    let digits = text.chars().filter(char::is_ascii_digit).count();
                    digits >= 5 && (digits > letters(text) || breakage::is_on("question-swallows"))
                }
                Ask::Email => text.contains('@'),
            };
            match self.given(ask, text) {
                Some(given) => return (Intent::Given(given), vec![self.find(|on| *on == On::Given)]),
                None if wrong && !self.knows(ask) => {
                    return (Intent::Wrong, vec![self.find(|on| *on == On::Wrong(ask))]);
                }
                None => {}
            }
        }
        if let Some(items) = self.titled(&said).or_else(|| self.menu(&said)) {
            let replies = items.iter().map(|item| self.find(|on| matches!(on, On::Menu(n, _) if n == item)));
            return (Intent::Menu(items.clone()), replies.collect());
        }
        let words: BTreeSet<&str> =
            said.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let meant = |key: &String| {
            let key = folded(key);
            key == said || words.contains(key.as_str()) || key.contains(' ') && said.contains(&key)
        };
        match self.find(|on| matches!(on, On::Keyword(keys) if keys.iter().any(meant))) {
            Some(reply) => (Intent::Keyword, vec![Some(reply)]),
            None => (Intent::Other, vec![self.find(|on| *on == On::Other)]),
        }
    }

    /// Returns the kind of address that was asked for, else the other kind.
    fn given(&self, ask: Ask, text: &str) -> Option<Identifier> {
        let phone = || Some(Identifier::phone(Phone::parse_all(text, self.bot_script.region?).into_iter().next()?));
        let email = || Some(Identifier::email(Email::parse_all(text).into_iter().next()?));
        match ask {
            Ask::Phone => phone().or_else(email),
            Ask::Email => email().or_else(phone),
        }
    }

    /// Finds a reply. A reply of the chat's campaign takes precedence over a general one.
    fn find(&self, fits: impl Fn(&On) -> bool) -> Option<&'s Reply> {
        let all = || self.bot_script.replies.iter().filter(|reply| fits(&reply.on));
        let own = all().find(|reply| reply.campaign.is_some() && reply.campaign == self.campaign);
        own.or_else(|| all().find(|reply| reply.campaign.is_none()))
    }
}

fn words_of(said: &MessageContent) -> &str {
    match said {
        MessageContent::Text(text)
        | MessageContent::Button(text)
        | MessageContent::Pressed { label: text, .. }
        | MessageContent::Other(_, Some(text)) => text,
        _ => "",
    }
}

/// True for the few words with which people open a chat, such as a greeting or the label of a button. They ask nothing.
fn is_opening(text: &str) -> bool {
    let words = text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count();
    (1..=OPENING).contains(&words) && !text.contains(|c: char| c == '?' || c.is_ascii_digit())
}

/// Returns the text in lower case, with ё replaced by е.
fn folded(text: &str) -> String {
    let yo = if breakage::is_on("yo-is-another-letter") { 'ё' } else { 'е' };
    text.trim().to_lowercase().replace('ё', &yo.to_string())
}

/// True if a text may answer the question for a phone or an e-mail: it has few letters and asks nothing itself.
fn is_answer(text: &str) -> bool {
    letters(text) <= BESIDE && !text.contains('?')
}

/// Counts the letters of a text, without those of e-mails.
fn letters(text: &str) -> usize {
    let words = text.split_whitespace().filter(|word| !word.contains('@'));
    words.flat_map(str::chars).filter(|c| c.is_alphabetic()).count()
}
