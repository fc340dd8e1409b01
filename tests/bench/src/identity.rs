//! Identity on a tour of 20,000 people with every accident of personal links. There are nicknames, forwarded links,
//! and links opened twice and in a second messenger. Friends come first; a box office's phone and a cashier's e-mail
//! stand on many orders. Orders change hands, slips are corrected, and the CRM mirrors what the hub wrote. A seed
//! makes each run the same, and each fact knows its true owner.
//!
//! `identity.wrong` counts pairs of people who became one. `identity.apart` counts connected facts of one person that
//! are two people in the hub. A strong identifier connects facts, or a token by the rules of docs/identity.md. Two
//! more figures count what no rule can know: friends who used a forwarded link first and gave no identifier, and
//! owners whose link such a friend had used up.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{
    Body, ChatRef, ChatStarted, ContactChanged, ContactShared, Content, Event, EventId, Identifier, LinkClicked,
    LinkIssued, LinkKey, MessageHeard, Money, Order, OrderBody, OrderState, Profile, Proof, Purpose, ShowRef,
    SourceName, Ticket, Timestamp, Token, TokenTag,
};

mod measure;

use measure::{apart, naive, people, wrong};

use crate::{
    figure::{Figure, Goal},
    stage,
};

const PEOPLE: u64 = 20_000;
const BATCH: usize = 500;
const CASHIER: &str = "email:kassa@example.com";

/// A small random generator, so that a seed determines the whole story.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// True in `percent` of a hundred cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

/// One fact with its true owner.
struct Fact {
    owner: u64,
    event: Event,
    /// The identifier by which the hub finds the person, and nobody else.
    name: Identifier,
    /// The identifiers that truly tie the fact to its owner's other facts.
    ties: BTreeSet<String>,
}

struct Tour {
    dice: Dice,
    key: LinkKey,
    facts: Vec<Fact>,
    /// Friends who cannot be told from the owner of the link that they used first.
    unknowable: BTreeSet<u64>,
    /// The number of owners who came through their link after such a friend.
    spent: u64,
    strangers: u64,
    /// People who bought at the counter, where the cashier typed an address of the organiser.
    crowd: Vec<u64>,
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second as i64).unwrap_or_default()
}

fn name(text: &str) -> Result<SourceName, String> {
    SourceName::new(text).map_err(str::to_owned)
}

fn identifier(text: &str) -> Result<Identifier, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

fn phone(n: u64) -> String {
    format!("phone:+7917{:07}", 1_000_000 + n)
}

impl Tour {
    fn token(&self, n: u64) -> Token {
        self.key.mint(1, Purpose::Chat, &n.to_string(), at(10_000_000))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one fact")]
    fn add(
        &mut self,
        owner: u64,
        source: &str,
        id: &str,
        second: u64,
        body: Body,
        name_text: &str,
        ties: &[String],
    ) -> Result<(), String> {
        let source = name(source)?;
        let id = EventId::derive(&source, &[id]);
        let event = Event::new(&source, id, at(second), body);
        let name = identifier(name_text)?;
        let ties = ties.iter().cloned().chain([name_text.to_owned()]).collect();
        self.facts.push(Fact { owner, event, name, ties });
        Ok(())
    }

    /// The CRM's contact, and the SMS with the link.
    fn known(&mut self, n: u64) -> Result<(), String> {
        let own = BTreeSet::from([identifier(&phone(n))?]);
        let contact = ContactChanged {
            contact: n + 1,
            deleted: false,
            name: Some(format!("Fan {n}")),
            identifiers: own.clone(),
            phones: vec![],
            emails: vec![],
            created_at: at(n % 100),
            hub_id: None,
            changed_at: None,
        };
        let crm = format!("crm_contact:{}", n + 1);
        self.add(n, "amocrm", &format!("contact {n}"), 100, Body::ContactChanged(contact), &crm, &[phone(n)])?;
        let token = self.token(n);
        let link = format!("link:{}", token.as_str());
        let issued = LinkIssued {
            identifiers: own,
            token,
            campaign: "ufa".into(),
            purpose: Purpose::Chat,
            expires_at: at(9_000_000),
            is_sent: false,
        };
        self.add(n, "sms", &format!("link {n}"), 200, Body::LinkIssued(issued), &link, &[phone(n)])
    }

    fn chat_id(&mut self, who: u64, second: bool) -> (String, &'static str) {
        let n = who * 2 + u64::from(second);
        match (who + u64::from(second)) % 4 {
            0 => (format!("telegram:{}", 5_000_000_000 + n), "telegram"),
            1 => (format!("viber/viber:v{n}A+/="), "viber"),
            2 => (format!("vk:{}", 100_000_000 + n), "vk"),
            _ => (format!("messenger/messenger:{}", 1_000_000_000 + n), "messenger"),
        }
    }

    /// A chat through somebody's link. `ties` is true if the token truly ties the chat to its owner.
    fn starts(
        &mut self,
        who: u64,
        link_of: u64,
        browser: &str,
        second: u64,
        other: bool,
        ties: bool,
    ) -> Result<(), String> {
        let (chat, source) = self.chat_id(who, other);
        let token = self.token(link_of).tagged(TokenTag::of_browser(browser));
        let tied = if ties { vec![format!("link:{}", token.as_str())] } else { vec![] };
        let profile = Profile { nickname: Some(format!("nick {}", self.dice.roll(50))), ..Profile::default() };
        let started = ChatStarted {
            chat: ChatRef { profile, ..ChatRef::of(identifier(&chat)?) },
            token: Some(token),
            may_write: true,
            only_opened: false,
        };
        self.add(
            who,
            source,
            &format!("start {who} {link_of} {second}"),
            second,
            Body::ChatStarted(started),
            &chat,
            &tied,
        )
    }

    fn shares(&mut self, who: u64, given: &str, second: u64, other: bool) -> Result<(), String> {
        let (chat, source) = self.chat_id(who, other);
        let shared =
            ContactShared { chat: ChatRef::of(identifier(&chat)?), given: identifier(given)?, proof: Proof::Channel };
        let body = Body::ContactShared(shared);
        self.add(who, source, &format!("share {who} {second}"), second, body, &chat, &[given.to_owned()])
    }

    fn orders(&mut self, who: u64, number: u64, contacts: &[String], second: u64) -> Result<(), String> {
        // An identifier on many people's orders ties nobody.
        let ties: Vec<String> =
            contacts.iter().filter(|text| !text.contains("7495") && *text != CASHIER).cloned().collect();
        self.sells(who, &format!("{who}-{number}"), contacts, &ties, second)
    }

    /// A revision of an order, of its last buyer.
    fn sells(&mut self, who: u64, id: &str, contacts: &[String], ties: &[String], second: u64) -> Result<(), String> {
        let money = Money { minor: 620_000, currency: "RUB".into() };
        let ticket = Ticket { id: "t".into(), show: ShowRef::id("ufa-1"), price: money.clone(), live: true };
        let order = Order {
            revision: at(second),
            state: OrderState::Paid,
            id: id.to_owned(),
            number: None,
            placed_at: at(second),
            paid_at: Some(at(second)),
            paid: money.clone(),
            total: money,
            tickets: vec![ticket],
            refunds: BTreeMap::new(),
            promo_codes: vec![],
            utm: BTreeMap::new(),
            items: vec![],
            company: None,
            show: None,
            due_at: None,
            checks: BTreeMap::new(),
            refunds_as_of: None,
            earlier_starts: BTreeMap::new(),
            gone_refunds: None,
        };
        let identifiers = contacts.iter().map(|text| identifier(text)).collect::<Result<_, _>>()?;
        let body = Body::of_order(OrderBody::new(identifiers, Some(format!("Fan {who}")), order));
        let named = format!("order/theatre:{id}");
        self.add(who, "theatre", &format!("order {id} {second}"), second, body, &named, ties)
    }

    fn person(&mut self, n: u64) -> Result<(), String> {
        self.known(n)?;
        let browser = format!("browser of {n}");
        let second = 1_000 + self.dice.roll(100_000);
        // The link is forwarded before its owner uses it, so that a friend comes first.
        let early = self.dice.chance(3);
        if early {
            let friend = PEOPLE + self.strangers;
            self.strangers += 1;
            self.starts(friend, n, "a friend's browser", second - 500, false, false)?;
            match self.dice.roll(3) {
                0 => _ = self.unknowable.insert(friend),
                1 => self.shares(friend, &phone(friend), second + 900, false)?,
                // A friend whom the hub knows by their own order, and who shares its phone.
                _ => {
                    self.shares(friend, &phone(friend), second - 900, false)?;
                    self.orders(friend, 1, &[phone(friend)], second + 1_000)?;
                }
            }
        }
        if self.dice.chance(40) {
            self.starts(n, n, &browser, second, false, !early)?;
            self.spent += u64::from(early);
            if self.dice.chance(10) {
                self.starts(n, n, &browser, second + 30, false, !early)?;
            }
            let two = !early && self.dice.chance(10);
            if two {
                self.starts(n, n, &browser, second + 60, true, true)?;
            }
            if self.dice.chance(20) {
                let (chat, source) = self.chat_id(n, false);
                let content = Content::Text("привет".into());
                let heard = MessageHeard { chat: ChatRef::of(identifier(&chat)?), message: "1".into(), content };
                self.add(n, source, &format!("said {n}"), second + 90, Body::MessageReceived(heard), &chat, &[])?;
            }
            if self.dice.chance(15) {
                self.shares(n, &phone(n), second + 120, false)?;
            }
            if self.dice.chance(12) {
                self.forwards(n, second)?;
            }
        }
        if self.dice.chance(30) {
            let mut contacts = vec![phone(n)];
            contacts.extend(self.dice.chance(70).then(|| format!("email:fan{n}@example.com")));
            self.orders(n, 1, &contacts, second + 5_000)?;
            if self.dice.chance(30) {
                let second_email = format!("email:work{n}@example.org");
                self.orders(n, 2, &[phone(n), second_email], second + 6_000)?;
            }
        } else if self.dice.chance(3) {
            // At the box office an order has the office's phone and the buyer's e-mail.
            self.orders(n, 3, &["phone:+74957654321".into(), format!("email:fan{n}@example.com")], second + 5_500)?;
        }
        if self.dice.chance(2) {
            self.changes_hands(n, second + 7_000)?;
        }
        if self.dice.chance(2) {
            // A slip of the keyboard is another person's address, until it is corrected.
            let (id, own) = (format!("{n}-5"), phone(n));
            let slip = format!("email:fan{}@example.com", (n + 1) % PEOPLE);
            self.sells(n, &id, &[own.clone(), slip], std::slice::from_ref(&own), second + 8_000)?;
            let right = format!("email:fan{n}@example.com");
            self.sells(n, &id, &[own.clone(), right.clone()], &[own, right], second + 8_100)?;
        }
        if self.dice.chance(1) {
            self.orders(n, 6, &[phone(n), CASHIER.to_owned()], second + 9_000)?;
            self.crowd.push(n);
        }
        for _ in 0..self.dice.roll(3) {
            let clicked =
                LinkClicked { token: self.token(n), campaign: "ufa".into(), purpose: Purpose::Chat, show: None };
            let id = format!("click {n} {}", self.dice.roll(1_000));
            let link = format!("link:{}", self.token(n).as_str());
            self.add(n, "links", &id, second - 60, Body::LinkClicked(clicked), &link, &[])?;
        }
        Ok(())
    }

    /// One person buys an order and another attends. The order then belongs to the other, and does not join the two.
    fn changes_hands(&mut self, n: u64, second: u64) -> Result<(), String> {
        let other = PEOPLE + self.strangers;
        self.strangers += 1;
        let id = format!("{n}-4");
        self.sells(other, &id, &[phone(n), format!("email:fan{n}@example.com")], &[], second)?;
        let theirs = [phone(other), format!("email:fan{other}@example.com")];
        self.sells(other, &id, &theirs, &theirs, second + 100)
    }

    /// After the CRM's mirror, counter buyers buy again, also by phone alone, and strangers follow them.
    fn second_wave(&mut self) -> Result<(), String> {
        for n in self.crowd.clone() {
            self.orders(n, 7, &[phone(n)], 300_000)?;
            self.orders(n, 8, &[phone(n), CASHIER.to_owned()], 300_100)?;
            let stranger = PEOPLE + self.strangers;
            self.strangers += 1;
            self.orders(stranger, 1, &[phone(stranger), CASHIER.to_owned()], 300_200)?;
        }
        Ok(())
    }

    /// The CRM reports the values that the hub wrote into a contact.
    fn mirrored(&mut self, n: u64, held: BTreeSet<Identifier>) -> Result<(), String> {
        let contact = ContactChanged {
            contact: n + 1,
            deleted: false,
            name: Some(format!("Fan {n}")),
            identifiers: held,
            phones: vec![],
            emails: vec![],
            created_at: at(n % 100),
            hub_id: None,
            changed_at: None,
        };
        let crm = format!("crm_contact:{}", n + 1);
        self.add(n, "amocrm", &format!("mirror {n}"), 200_000, Body::ContactChanged(contact), &crm, &[phone(n)])
    }

    /// The owner uses the link first; a friend uses it later, elsewhere.
    fn forwards(&mut self, n: u64, second: u64) -> Result<(), String> {
        match self.dice.roll(3) {
            0 => {
                let friend = PEOPLE + self.strangers;
                self.strangers += 1;
                self.starts(friend, n, "elsewhere", second + 300, false, false)?;
                if self.dice.chance(40) {
                    self.shares(friend, &phone(friend), second + 400, false)?;
                }
                Ok(())
            }
            // The friend is on the tour too, and their chat may have come through their own link.
            _ => {
                let friend = self.dice.roll(PEOPLE);
                match friend == n {
                    true => Ok(()),
                    false => self.starts(friend, n, "elsewhere", second + 300, true, false),
                }
            }
        }
    }
}

pub async fn run() -> Result<Vec<Figure>, String> {
    let mut tour = Tour {
        dice: Dice(20_261_125),
        key: LinkKey::new("identity"),
        facts: Vec::new(),
        unknowable: BTreeSet::new(),
        spent: 0,
        strangers: 0,
        crowd: Vec::new(),
    };
    for n in 0..PEOPLE {
        tour.person(n)?;
    }
    let (stage, mut order) = (stage::quiet().await?, (0..tour.facts.len()).collect::<Vec<_>>());
    for i in (1..order.len()).rev() {
        let j = tour.dice.roll(i as u64 + 1) as usize;
        order.swap(i, j);
    }
    // Some facts come twice.
    let twice: Vec<usize> = order.iter().copied().filter(|_| tour.dice.chance(5)).collect();
    order.extend(twice);
    // Only identity is measured, so the bot does not answer.
    let sync = stagedoor_sync::Sync { conversation: None, ..stage.hub.sync.clone() };
    fold(&sync, &tour.facts, &order).await?;
    let before = tour.facts.len();
    mirror(&stage, &mut tour).await?;
    fold(&sync, &tour.facts, &(before..tour.facts.len()).collect::<Vec<_>>()).await?;
    let before = tour.facts.len();
    tour.second_wave()?;
    fold(&sync, &tour.facts, &(before..tour.facts.len()).collect::<Vec<_>>()).await?;
    let people = people(&stage, &tour.facts).await?;
    let (wrong, unknowable) = wrong(&tour, &people);
    let apart = apart(&tour.facts, &people);
    let naive = naive(&tour.facts);
    let (naive_wrong, _) = measure::wrong(&tour, &naive);
    let naive_apart = measure::apart(&tour.facts, &naive);
    let figure = |figure, value: u64, baseline: Option<u64>, goal| Figure {
        figure,
        value: value as f64,
        unit: "pairs",
        limit: None,
        ratio: None,
        baseline: baseline.map(|value| value as f64),
        goal,
    };
    Ok(vec![
        figure("identity.wrong", wrong, Some(naive_wrong), Goal::ValueAtMost(0.0)),
        figure("identity.apart", apart, Some(naive_apart), Goal::ValueAtMost(0.0)),
        figure("identity.unknowable", unknowable, None, Goal::None),
        figure("identity.spent", tour.spent, None, Goal::None),
    ])
}

async fn fold(sync: &stagedoor_sync::Sync, facts: &[Fact], order: &[usize]) -> Result<(), String> {
    for chunk in order.chunks(BATCH) {
        let events = chunk.iter().filter_map(|index| facts.get(*index)).map(|fact| fact.event.clone()).collect();
        let failed = sync.handle(events).await;
        if !failed.is_empty() {
            return Err(format!("{} events were not folded", failed.len()));
        }
    }
    Ok(())
}

/// Reports every contact back with all phones and e-mails of its person.
async fn mirror(stage: &stage::Stage, tour: &mut Tour) -> Result<(), String> {
    let fans: Vec<u64> = (0..PEOPLE).collect();
    for some in fans.chunks(BATCH) {
        let names: BTreeSet<Identifier> =
            some.iter().map(|n| identifier(&format!("crm_contact:{}", n + 1))).collect::<Result<_, _>>()?;
        let store = &stage.hub.store;
        let owners = store.resolve(&names).await.map_err(|error| error.to_string())?.owners;
        let ids = owners.values().copied().collect();
        let people = store.load(&ids).await.map_err(|error| error.to_string())?;
        for n in some {
            let Some(owner) = owners.get(&identifier(&format!("crm_contact:{}", n + 1))?) else { continue };
            let Some(person) = people.iter().find(|person| person.value.id == *owner) else { continue };
            let phones = person.value.phones().into_iter().map(Identifier::phone);
            let emails = person.value.emails().into_iter().map(Identifier::email);
            tour.mirrored(*n, phones.chain(emails).collect())?;
        }
    }
    Ok(())
}
