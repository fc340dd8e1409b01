//! What the bot answers, as the config has it. Which answer a line gets follows from the lines before it alone, so a
//! second delivery, or a crash between hearing and answering, gives the same answer again.

mod restraint;

use std::collections::{BTreeMap, BTreeSet};

pub use restraint::PASSED_ON_ONCE;
use restraint::{Restraint, Silence};
use stagedoor_model::{
    Content, Conversation, Email, Identifier, Kind, Message, MessageContent, Phone, Purpose, Region, StopWish,
    Timestamp, Token, breakage, stop_wish,
};

use crate::{
    Person,
    confirmation::{CodePolicy, Offer, code_in},
};

/// Letters that may stand beside a phone or an e-mail in an answer: "мой номер …, звоните после шести".
const BESIDE: usize = 32;

/// Words of a name at most: a family name, a given name and a patronymic.
const NAME: usize = 3;

/// Characters of a menu's line that a button shows at least.
const SHOWN: usize = 16;

/// A text by language (BCP 47 primary subtag).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Localised(pub BTreeMap<String, String>);

impl Localised {
    /// In the language that was asked for, else Russian, else the first there is.
    pub fn pick(&self, language: Option<&str>) -> &str {
        let primary = language.map(|tag| tag.split(['-', '_']).next().unwrap_or(tag).to_ascii_lowercase());
        let own = primary.and_then(|tag| self.0.get(&tag));
        own.or_else(|| self.0.get("ru")).or_else(|| self.0.values().next()).map_or("", String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    Phone,
    Email,
}

/// When a reply is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    /// A chat was started through one's own link.
    Token,
    /// A chat was started through a link that is somebody else's, used up, or too old.
    UsedToken,
    Start,
    /// One of these words was said, in lower case.
    Keyword(BTreeSet<String>),
    /// An item of the menu, from 1 to 9.
    Menu(u8, Localised),
    /// A phone or an e-mail was given.
    Given,
    /// What was given is none.
    Wrong(Ask),
    /// They want no more letters.
    Stop,
    /// Nothing of the above: a manager gets a task.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub on: On,
    /// Only in chats that came through this campaign.
    pub campaign: Option<String>,
    /// With `{name}`, `{promo}`, `{show}`, `{city}`, `{menu}`.
    pub text: Localised,
    /// The label of a button that leads to the campaign's shop.
    pub button: Option<Localised>,
    /// What is asked for, unless it is known.
    pub ask: Option<Ask>,
}

#[derive(Debug, Clone, Default)]
pub struct BotScript {
    pub replies: Vec<Reply>,
    /// Further words that begin a message that stops.
    pub stop_words: BTreeSet<String>,
    /// Where phones that people type are dialled.
    pub region: Option<Region>,
    /// Campaigns by the number in their links: a poster's link names nobody, but it does name its campaign.
    pub campaigns: BTreeMap<u16, String>,
    /// Whether an address that is typed is confirmed by a code, and how.
    pub codes: Option<CodePolicy>,
}

/// What a line was understood as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    Start,
    Menu(Vec<u8>),
    Keyword,
    Given(Identifier),
    /// The digits of a code, and what they answer.
    Code(String, Offer),
    Wrong,
    Stop,
    /// It smells of a stop word: a manager has to read it.
    Doubt,
    /// Not understood.
    Other,
}

/// One answer that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotStep<'s> {
    /// The line that it answers.
    pub cause: String,
    pub at: Timestamp,
    /// Of the line: what is found out of it comes right behind.
    pub order: u64,
    pub heard: Intent,
    /// A phone or an e-mail that was asked for and stands among other words.
    pub beside: Option<Identifier>,
    /// The campaign of the link through which the chat came last.
    pub campaign: Option<String>,
    /// What to say, in this order; nothing where the config has no reply, or the bot keeps silent.
    pub replies: Vec<&'s Reply>,
    /// The bot keeps silent because another robot seems to answer it.
    pub is_loop: bool,
}

struct State<'s, 'p> {
    bot_script: &'s BotScript,
    person: &'p Person,
    campaign: Option<String>,
    awaiting: Option<Ask>,
    /// Addresses that were typed and may be confirmed by a code. The last one counts.
    offers: Vec<Offer>,
    /// Addresses that the chat gave, where codes are sent.
    told: BTreeSet<Identifier>,
    /// A start that could not be answered yet.
    pending: Option<Option<Token>>,
    open: bool,
    restraint: Restraint,
}

/// Every answer that a chat's lines ask for, in their order.
pub fn turns<'s>(bot_script: &'s BotScript, conversation: &Conversation, person: &Person) -> Vec<BotStep<'s>> {
    // The line that began the chat may be long gone.
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

/// Addresses that stand in a chat as given, where a code may have been sent to them.
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
        if let MessageContent::Started { token } = &line.said
            && !self.open
        {
            self.pending = Some(token.clone());
            return None;
        }
        let (heard, on) = match (&line.said, self.pending.take()) {
            (MessageContent::Started { token }, _) => self.start(token.as_ref()),
            (MessageContent::Hub(_) | MessageContent::Undelivered(_), pending) => {
                self.pending = pending;
                return None;
            }
            // The first sign of somebody who came through a link answers the link.
            (_, Some(token)) => self.start(token.as_ref()),
            (MessageContent::Allowed, None) => return None,
            (MessageContent::Pressed { payload, label }, None) => self.pressed(payload, label),
            (MessageContent::Text(text) | MessageContent::Button(text), None) => match self.code(text, line.at) {
                Some(heard) => (heard, vec![]),
                None => self.typed(text),
            },
            // What was typed and not confirmed: it was answered when it was typed.
            (MessageContent::Contact(given), None) if self.is_unconfirmed(given, line.at) => {
                (Intent::Given(given.clone()), vec![])
            }
            (MessageContent::Contact(given), None) => {
                (Intent::Given(given.clone()), vec![self.find(|on| *on == On::Given)])
            }
            (MessageContent::Other(kind, _), None) if kind == "sticker" => return None,
            // The answer stands beside it.
            (MessageContent::Other(kind, _), None) if kind == Content::QUOTE => return None,
            (MessageContent::Other(kind, caption), None) if kind == Content::EDITED => {
                (self.edited(caption.as_deref().unwrap_or("")), vec![])
            }
            // Degrees are no phone.
            (MessageContent::Other(kind, _), None) if kind == "location" => self.words(""),
            (MessageContent::Other(_, caption), None) => self.words(caption.as_deref().unwrap_or("")),
        };
        let mut replies: Vec<&Reply> = on.into_iter().flatten().collect();
        let asked = self.awaiting.filter(|ask| !self.knows(*ask));
        let offer = self.offer(&heard, line);
        let is_edited = matches!(&line.said, MessageContent::Other(kind, _) if kind == Content::EDITED);
        self.awaiting = match &heard {
            Intent::Wrong | Intent::Code(..) => self.awaiting,
            heard if is_edited && !matches!(heard, Intent::Given(_)) => self.awaiting,
            // They may have mistyped it.
            Intent::Given(given) if offer.is_some() => {
                Some(if given.kind() == Kind::Email { Ask::Email } else { Ask::Phone })
            }
            // Also once it is known: what answered the question stays its answer.
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

    /// What the person read on the button counts where it stops; otherwise what we put behind it, if it means something to us.
    fn pressed(&self, payload: &str, label: &str) -> (Intent, Vec<Option<&'s Reply>>) {
        if stop_wish(label, &self.bot_script.stop_words) != StopWish::None {
            return self.words(label);
        }
        match self.words(payload) {
            (Intent::Other, _) => self.words(label),
            heard => heard,
        }
    }

    /// What a text means that somebody changed. The bot answered the first one, so a manager reads what is new, and only a
    /// stop or an address that was not known acts.
    fn edited(&self, text: &str) -> Intent {
        match self.typed(text).0 {
            Intent::Given(given) if self.person.identifiers_and_claims().contains(&given) => Intent::Other,
            heard => heard,
        }
    }

    /// A phone or an e-mail that is all a message says was given, whether or not the bot asked for it right before.
    fn typed(&self, text: &str) -> (Intent, Vec<Option<&'s Reply>>) {
        match (self.words(text), self.find(|on| *on == On::Given)) {
            ((Intent::Other | Intent::Menu(_), _), Some(reply)) if let Some(given) = self.alone(text) => {
                (Intent::Given(given), vec![Some(reply)])
            }
            (heard, _) => heard,
        }
    }

    /// The phone or the e-mail of a text that says nothing more, but for a name.
    fn alone(&self, text: &str) -> Option<Identifier> {
        let beside = || text.split_whitespace().filter(|word| !word.contains('@'));
        let words = beside().filter(|word| word.chars().any(char::is_alphabetic)).count();
        if words > NAME || !is_answer(text) || breakage::is_on("address-unasked-unheard") {
            return None;
        }
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).count();
        let given = self.given(Ask::Phone, text)?;
        // Further digits are of an order, a seat or a price.
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
        // What was given stays an answer, also once it is known and would not be asked for.
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

    /// What was asked for, or the other of the two.
    fn given(&self, ask: Ask, text: &str) -> Option<Identifier> {
        let phone = || Some(Identifier::phone(Phone::parse_all(text, self.bot_script.region?).into_iter().next()?));
        let email = || Some(Identifier::email(Email::parse_all(text).into_iter().next()?));
        match ask {
            Ask::Phone => phone().or_else(email),
            Ask::Email => email().or_else(phone),
        }
    }

    /// The item whose own line was pressed: "2. Как доехать".
    fn titled(&self, said: &str) -> Option<Vec<u8>> {
        let items = self.bot_script.replies.iter().filter_map(|reply| match &reply.on {
            On::Menu(number, title) => Some((*number, title)),
            _ => None,
        });
        // Some messengers show the beginning of a long line on its button, and send that.
        let begins = |line: &str| {
            let shown = said.strip_suffix('…').unwrap_or(said).trim_end();
            shown.chars().count() >= SHOWN && line.starts_with(shown) && !breakage::is_on("cut-label-unknown")
        };
        let is_said = |number: u8, title: &str| {
            let title = folded(title);
            let line = format!("{number}. {title}");
            said == title || said == line || begins(&line) || begins(&title)
        };
        let pressed: BTreeSet<u8> = items
            .filter(|(number, title)| title.0.values().any(|title| is_said(*number, title)))
            .map(|(number, _)| number)
            .collect();
        (pressed.len() == 1).then(|| pressed.into_iter().collect())
    }

    /// The items that "1 3", "13", "1,3" or "один" name, if all of them are in the menu.
    fn menu(&self, said: &str) -> Option<Vec<u8>> {
        let mut items = Vec::new();
        for word in said.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            match WORDS.iter().find(|(known, _)| *known == word) {
                Some((_, number)) => items.push(*number),
                None if word.bytes().all(|b| b.is_ascii_digit()) => items.extend(word.bytes().map(|b| b - b'0')),
                None => return None,
            }
        }
        let known = |item: &u8| self.find(|on| matches!(on, On::Menu(n, _) if n == item)).is_some();
        let mut seen = BTreeSet::new();
        items.retain(|item| seen.insert(*item));
        (!items.is_empty() && items.len() <= 9 && items.iter().all(known)).then_some(items)
    }

    /// A reply of the chat's campaign goes before one of all.
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

/// Without a difference between ё and е, in small letters.
fn folded(text: &str) -> String {
    let yo = if breakage::is_on("yo-is-another-letter") { 'ё' } else { 'е' };
    text.trim().to_lowercase().replace('ё', &yo.to_string())
}

/// Whether a text answers the question for a phone or an e-mail, and asks nothing itself: a number or an address with few
/// words beside it.
fn is_answer(text: &str) -> bool {
    letters(text) <= BESIDE && !text.contains('?')
}

/// Letters of a text, but for those of e-mails.
fn letters(text: &str) -> usize {
    let words = text.split_whitespace().filter(|word| !word.contains('@'));
    words.flat_map(str::chars).filter(|c| c.is_alphabetic()).count()
}

const WORDS: [(&str, u8); 27] = [
    ("один", 1),
    ("два", 2),
    ("три", 3),
    ("четыре", 4),
    ("пять", 5),
    ("шесть", 6),
    ("семь", 7),
    ("восемь", 8),
    ("девять", 9),
    ("первый", 1),
    ("второй", 2),
    ("третий", 3),
    ("четвертый", 4),
    ("четвёртый", 4),
    ("пятый", 5),
    ("одна", 1),
    ("две", 2),
    ("раз", 1),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
];
