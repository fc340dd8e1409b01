//! Who is who on a tour of 20,000 people with every accident that a personal link meets: nicknames, forwarded links, links
//! opened twice and in a second messenger, friends who came first, a box office's phone on many orders. Seeded, so each run
//! is the same tour; each fact knows whose it truly is.
//!
//! `identity.wrong` are pairs of people who became one; `identity.apart` are facts of one person that a strong identifier, or a
//! token by the rules of docs/identity.md, connects and that are two people. Two more figures say what no rule can know: friends
//! who used a forwarded link first and never told anything of themselves, and owners whose link such a friend had spent.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{
    Body, ChatRef, ChatStarted, ContactChanged, ContactShared, Content, Event, EventId, Identifier, Kind, LinkClicked,
    LinkIssued, LinkKey, MessageHeard, Money, Order, OrderBody, OrderState, Profile, Purpose, ShowRef, SourceName,
    Ticket, Timestamp, Token, TokenTag,
};

use crate::{
    figure::{Figure, Goal},
    stage,
};

const PEOPLE: u64 = 20_000;
const BATCH: usize = 500;

/// A small generator, so that a seed is the whole story.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// True so many times in a hundred.
    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

/// One fact with its true owner.
struct Fact {
    owner: u64,
    event: Event,
    /// By which the hub's person is found, and nobody else's.
    name: Identifier,
    /// Everything by which the fact is truly tied to its owner's others.
    ties: BTreeSet<String>,
}

struct Tour {
    dice: Dice,
    key: LinkKey,
    facts: Vec<Fact>,
    /// Friends whom nobody can tell from the owner of the link that they used first.
    unknowable: BTreeSet<u64>,
    /// Owners who came through their link after such a friend.
    spent: u64,
    strangers: u64,
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

    /// A chat through somebody's link. `ties` says whether the token truly ties it to its owner.
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
        let shared = ContactShared { chat: ChatRef::of(identifier(&chat)?), given: identifier(given)? };
        let body = Body::ContactShared(shared);
        self.add(who, source, &format!("share {who} {second}"), second, body, &chat, &[given.to_owned()])
    }

    fn orders(&mut self, who: u64, number: u64, contacts: &[String], second: u64) -> Result<(), String> {
        let money = Money { minor: 620_000, currency: "RUB".into() };
        let ticket = Ticket { id: "t".into(), show: ShowRef::id("ufa-1"), price: money.clone(), live: true };
        let order = Order {
            revision: at(second),
            state: OrderState::Paid,
            id: format!("{who}-{number}"),
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
            due_at: None,
            checks: BTreeMap::new(),
        };
        let identifiers = contacts.iter().map(|text| identifier(text)).collect::<Result<_, _>>()?;
        let body = Body::of_order(OrderBody::new(identifiers, Some(format!("Fan {who}")), order));
        // The box office's phone is on everybody's orders and ties nobody.
        let ties: Vec<String> = contacts.iter().filter(|text| !text.contains("7495")).cloned().collect();
        let named = format!("order/theatre:{who}-{number}");
        self.add(who, "theatre", &format!("order {who} {number}"), second, body, &named, &ties)
    }

    fn person(&mut self, n: u64) -> Result<(), String> {
        self.known(n)?;
        let browser = format!("browser of {n}");
        let second = 1_000 + self.dice.roll(100_000);
        // Forwarded before its owner came: a friend is first.
        let early = self.dice.chance(3);
        if early {
            let friend = PEOPLE + self.strangers;
            self.strangers += 1;
            self.starts(friend, n, "a friend's browser", second - 500, false, false)?;
            match self.dice.roll(3) {
                0 => _ = self.unknowable.insert(friend),
                1 => self.shares(friend, &phone(friend), second + 900, false)?,
                // Whom the hub knows by their own order, and who shares the phone of it.
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
            // At the box office: its own phone, and the buyer's e-mail.
            self.orders(n, 3, &["phone:+74957654321".into(), format!("email:fan{n}@example.com")], second + 5_500)?;
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

    /// Its owner used it first; then a friend does, elsewhere.
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
            // A friend who is on the tour too: their chat may have come through a link of their own already.
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
    };
    for n in 0..PEOPLE {
        tour.person(n)?;
    }
    let (stage, mut order) = (stage::quiet().await?, (0..tour.facts.len()).collect::<Vec<_>>());
    for i in (1..order.len()).rev() {
        let j = tour.dice.roll(i as u64 + 1) as usize;
        order.swap(i, j);
    }
    // Some come twice.
    let twice: Vec<usize> = order.iter().copied().filter(|_| tour.dice.chance(5)).collect();
    order.extend(twice);
    // Who is who is asked for, not what they are answered.
    let sync = stagedoor_sync::Sync { talk: None, ..stage.hub.sync.clone() };
    for chunk in order.chunks(BATCH) {
        let events = chunk.iter().filter_map(|index| tour.facts.get(*index)).map(|fact| fact.event.clone()).collect();
        let failed = sync.handle(events).await;
        if !failed.is_empty() {
            return Err(format!("{} events were not folded", failed.len()));
        }
    }
    let people = people(&stage, &tour.facts).await?;
    let (wrong, unknowable) = wrong(&tour, &people);
    let apart = apart(&tour.facts, &people);
    let naive = naive(&tour.facts);
    let (naive_wrong, _) = self::wrong(&tour, &naive);
    let naive_apart = self::apart(&tour.facts, &naive);
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

/// Whose each fact is, as the hub has it.
async fn people(stage: &stage::Stage, facts: &[Fact]) -> Result<Vec<String>, String> {
    let mut owners = BTreeMap::new();
    let names: Vec<&Identifier> = facts.iter().map(|fact| &fact.name).collect();
    for chunk in names.chunks(500) {
        let wanted = chunk.iter().map(|name| (*name).clone()).collect();
        owners.extend(stage.hub.store.resolve(&wanted).await.map_err(|error| error.to_string())?.owners);
    }
    let mut found = Vec::new();
    for fact in facts {
        let owner =
            owners.get(&fact.name).ok_or_else(|| format!("nobody is known by a {}", fact.name.kind().name()))?;
        found.push(owner.to_string());
    }
    Ok(found)
}

/// Pairs of people who share a person: those that could be known, and those that could not.
fn wrong(tour: &Tour, people: &[String]) -> (u64, u64) {
    let mut owners = BTreeMap::<&String, BTreeSet<u64>>::new();
    for (fact, person) in tour.facts.iter().zip(people) {
        owners.entry(person).or_default().insert(fact.owner);
    }
    let (mut wrong, mut unknowable) = (0, 0);
    for all in owners.into_values() {
        let known = all.iter().filter(|owner| !tour.unknowable.contains(owner)).count() as u64;
        wrong += known * known.saturating_sub(1) / 2;
        unknowable += all.len() as u64 - known;
    }
    (wrong, unknowable)
}

/// Parts of truly connected facts of one person that are apart.
fn apart(facts: &[Fact], people: &[String]) -> u64 {
    let mut by_owner = BTreeMap::<u64, Vec<usize>>::new();
    for (index, fact) in facts.iter().enumerate() {
        by_owner.entry(fact.owner).or_default().push(index);
    }
    let mut apart = 0;
    for own in by_owner.into_values() {
        // Parts that hang together by what truly ties them.
        let mut parts: Vec<(BTreeSet<&String>, BTreeSet<&String>)> = Vec::new();
        for index in own {
            let (Some(fact), Some(person)) = (facts.get(index), people.get(index)) else { continue };
            let mut whole = (fact.ties.iter().collect::<BTreeSet<_>>(), BTreeSet::from([person]));
            parts.retain(|part| {
                let touches = !part.0.is_disjoint(&whole.0);
                if touches {
                    whole.0.extend(part.0.iter().copied());
                    whole.1.extend(part.1.iter().copied());
                }
                !touches
            });
            parts.push(whole);
        }
        apart += parts.iter().map(|(_, people)| people.len() as u64 - 1).sum::<u64>();
    }
    apart
}

/// The naive rule: the same phone or the same e-mail is the same person, and nothing else is.
fn naive(facts: &[Fact]) -> Vec<String> {
    let mut part_of = (0..facts.len()).collect::<Vec<usize>>();
    fn root(part_of: &[usize], mut index: usize) -> usize {
        while let Some(up) = part_of.get(index).filter(|up| **up != index) {
            index = *up;
        }
        index
    }
    let mut first = BTreeMap::new();
    for (index, fact) in facts.iter().enumerate() {
        let record = stagedoor_engine::record_of(&fact.event);
        let own = record.iter().flat_map(|record| &record.identifiers);
        let telling = own.filter(|one| matches!(one.kind(), Kind::Phone | Kind::Email)).map(ToString::to_string);
        // A chat is at least one with itself.
        for one in telling.chain([fact.name.to_string()]) {
            let known = *first.entry(one).or_insert(index);
            let (a, b) = (root(&part_of, known), root(&part_of, index));
            if let Some(place) = part_of.get_mut(a.max(b)) {
                *place = a.min(b);
            }
        }
    }
    (0..facts.len()).map(|index| root(&part_of, index).to_string()).collect()
}
