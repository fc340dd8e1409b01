//! The actions of a world. Each action changes the truth, and sends what a provider would send about it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use stagedoor_model::Timestamp;
use stagedoor_ports::Clock;
use stagedoor_testkit::SignedRequest;

use crate::{
    deliver,
    hub::Shared,
    orders::roubles,
    rng::Rng,
    story::Story,
    world::{FormFact, OrderFact, SHOWS, Shop, TicketFact},
};

/// Behaviour of shops and buyers beside the plain course of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Two changes of one order within one second.
    SameSecond,
    /// A buyer types somebody else's e-mail, and corrects it later.
    WrongEmail,
    /// A buyer hands an order on to somebody else.
    Transfer,
    /// One cashier types one e-mail for all who have none.
    CashierEmail,
    /// A payment provider reports payments, and the shop not always.
    Stripe,
    /// A payment provider refunds money without a report from the shop.
    StripeRefund,
    /// A payment provider refunds a part of the money.
    PartialRefund,
    /// A refund fails at the payer's bank days later, so that the money stays.
    FailedRefund,
    /// Two humans have one phone, and each an e-mail of their own.
    Family,
    /// Some hubs keep their store in an SQLite file.
    Sqlite,
    /// Prices have kopecks.
    Kopecks,
    /// Orders are paid through YooKassa.
    Yookassa,
    /// Orders are placed in pretix.
    Pretix,
    /// Orders are placed in Ticketscloud.
    Ticketscloud,
    /// Notifications that only point to an object are lost, some for good.
    LostNotices,
    /// Shows are cancelled, moved, and restored.
    Shows,
    /// Companies buy.
    Company,
    /// People consent to advertising in forms, and withdraw.
    Consents,
    /// People write to a bot, and say a stop word there.
    Chats,
    /// A stranger types another person's phone or e-mail, into a page's form or the bot.
    Strangers,
    /// Some worlds begin in the evening or before the day; a night passes in some.
    Nights,
}

/// A world and the actors in it.
pub struct Actors {
    pub shared: Arc<Shared>,
    pub story: Story,
    pub rng: Rng,
    /// The counter for ids of orders, tickets and deliveries.
    serial: u64,
    /// Orders with another person's e-mail.
    pub wrong: Vec<usize>,
    /// Humans who wait to buy at the cashier's desk.
    pub at_cashier: Vec<usize>,
    pub habits: Vec<Habit>,
    /// The number of deliveries on their way.
    pub under_way: Arc<std::sync::atomic::AtomicU32>,
}

impl Actors {
    pub fn new(shared: Arc<Shared>, story: Story, rng: Rng, habits: Vec<Habit>) -> Self {
        let (wrong, at_cashier) = (Vec::new(), Vec::new());
        Self { shared, story, rng, serial: 100, wrong, at_cashier, habits, under_way: Arc::default() }
    }

    pub fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub fn now(&self) -> Timestamp {
        let now = self.shared.clock.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// Sends a delivery as providers do: late, twice, and again until it is acknowledged. The journal must hold
    /// `word` then.
    pub fn send(&mut self, word: String, make: impl Fn(Timestamp) -> SignedRequest + Send + Sync + 'static) {
        let make = Arc::new(make);
        for _ in 0..if self.rng.once_in(5) { 2 } else { 1 } {
            let (shared, make, word) = (Arc::clone(&self.shared), Arc::clone(&make), word.clone());
            let (receipts, under_way) = (self.story.receipts(), Arc::clone(&self.under_way));
            let late = match self.rng.below(8) {
                0 => self.rng.between(60, 1_200),
                1 | 2 => self.rng.between(5, 60),
                _ => self.rng.between(0, 3),
            };
            under_way.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(late)).await;
                loop {
                    let status = shared.post(make(shared.clock.now())).await;
                    if status == 200 {
                        receipts.note(word, shared.clock.now());
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(45)).await;
                }
                under_way.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            });
        }
    }

    /// A random human fills in a form of the site.
    pub fn form(&mut self) {
        let human = self.rng.below(self.story.world.humans.len());
        let Some(who) = self.story.world.humans.get(human).cloned() else { return };
        let identifiers = who.shows(&mut self.rng);
        self.form_with(human, identifiers);
    }

    /// This human fills in a form with these identifiers.
    pub fn form_with(&mut self, human: usize, identifiers: BTreeSet<String>) {
        let Some(who) = self.story.world.humans.get(human).cloned() else { return };
        let id = format!("w{}", self.serial());
        let mut fact = FormFact {
            id: id.clone(),
            human,
            identifiers,
            show: self.rng.below(SHOWS.len()),
            at: self.now(),
            boxes: vec![],
        };
        let show = SHOWS.get(fact.show).map_or("", |show| show.key);
        let word = format!("\"{id}\"");
        if self.has(Habit::Consents) {
            self.boxes(&mut fact, &word);
        }
        let FormFact { identifiers, boxes, .. } = &fact;
        self.story.tell(format!("{} sends form {id} about {show} with {identifiers:?} {boxes:?}", who.name));
        self.story.world.forms.push(fact.clone());
        self.send(word, move |now| deliver::form(&who, &fact, &id, now));
    }

    /// A random human places an order.
    pub fn order(&mut self) {
        let human = self.rng.below(self.story.world.humans.len());
        self.order_of(human, None);
    }

    /// This human places an order, with this e-mail in place of their own.
    pub fn order_of(&mut self, human: usize, email: Option<String>) {
        let Some(who) = self.story.world.humans.get(human).cloned() else { return };
        let shop = self.shop();
        let mut identifiers = who.shows(&mut self.rng);
        let [phone, _] = &who.phones;
        if let Some(email) = email {
            identifiers = [phone.clone(), email].into();
        }
        if shop == Shop::BoxOffice {
            // A family has one account at the shop.
            identifiers.insert(format!("customer:{}", 7_000 + who.family));
        }
        let show = self.rng.below(SHOWS.len());
        let count = 1 + self.rng.below(3);
        let both = shop == Shop::Own && self.rng.once_in(5);
        let tickets = (0..count).map(|n| TicketFact {
            id: self.serial(),
            show: if both && n % 2 == 1 { (show + 1) % SHOWS.len() } else { show },
            price: self.price(),
            refunded_at: None,
        });
        let tickets = tickets.collect();
        let now = self.now();
        let paid = self.rng.once_in(2);
        let company = self.has(Habit::Company) && shop == Shop::Own && self.rng.once_in(5);
        let provider = self.provider().filter(|_| shop == Shop::Own && !company);
        let fact = OrderFact {
            id: self.serial(),
            shop,
            human,
            identifiers,
            tickets,
            placed_at: now,
            updated_at: now,
            paid_at: paid.then_some(now),
            cancelled: false,
            shop_tells: true,
            provider,
            given_back: vec![],
            told_back: 0,
            given_back_at: None,
            company: company.then(|| self.rng.below(2)),
            former: vec![],
        };
        let what = if paid { "orders and pays" } else { "orders" };
        self.tell_order(what, &fact);
        self.story.world.orders.push(fact.clone());
        if paid {
            let told = self.rng.once_in(2);
            self.send_payment(&fact, told);
        }
        self.send_order(fact);
    }

    fn shop(&mut self) -> Shop {
        match self.rng.below(6) {
            0 | 1 => Shop::BoxOffice,
            2 if self.has(Habit::Pretix) => Shop::Pretix,
            3 if self.has(Habit::Ticketscloud) => Shop::Ticketscloud,
            _ => Shop::Own,
        }
    }

    fn price(&mut self) -> i64 {
        let kopecks = if self.has(Habit::Kopecks) && self.rng.once_in(4) { 50 } else { 0 };
        i64::try_from(50_000 + 10_000 * self.rng.between(0, 45) + kopecks).unwrap_or(50_000)
    }

    pub fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }

    pub fn tell_order(&mut self, what: &str, fact: &OrderFact) {
        let name = self.story.world.humans.get(fact.human).map(|who| who.name.clone()).unwrap_or_default();
        let tickets: Vec<String> = fact
            .tickets
            .iter()
            .map(|one| {
                let show = SHOWS.get(one.show).map_or("", |show| show.key);
                format!("t{} {show} {}", one.id, roubles(one.price))
            })
            .collect();
        let line = format!("{name} {what} {:?} o{} {tickets:?} with {:?}", fact.shop, fact.id, fact.identifiers);
        self.story.tell(line);
    }

    pub fn send_order(&mut self, fact: OrderFact) {
        let Some(who) = self.story.world.humans.get(fact.human).cloned() else { return };
        match fact.shop {
            Shop::Pretix => return self.send_pretix(&who, &fact),
            Shop::Ticketscloud => return self.send_ticketscloud(&who, &fact),
            Shop::Own | Shop::BoxOffice => {}
        }
        let id = format!("d{}", self.serial());
        self.send(fact.word(), move |now| deliver::order(&who, &fact, &id, now));
    }

    /// Changes an order: it is paid, refunded in part or whole, or cancelled.
    pub fn change_order(&mut self) {
        let now = self.now();
        let open: Vec<usize> = (0..self.story.world.orders.len())
            .filter(|index| self.story.world.orders.get(*index).is_some_and(|one| !one.is_over()))
            .collect();
        let Some(index) = self.rng.pick(&open).copied() else { return };
        let (all, cancel, by_provider) = (self.rng.once_in(3), self.rng.once_in(4), self.rng.once_in(2));
        if by_provider && !cancel && self.by_provider(index) {
            return;
        }
        let Some(fact) = self.story.world.orders.get_mut(index) else { return };
        // Within one second a sum of refunds does not show whether it includes the failed one.
        if fact.given_back_at == Some(now) {
            return;
        }
        // Shops give times in seconds: only their content distinguishes two changes within one.
        fact.updated_at = now;
        let what = match fact.paid_at {
            None if cancel => {
                fact.cancelled = true;
                "lets go"
            }
            None => {
                fact.paid_at = Some(now);
                "pays"
            }
            Some(_) => {
                let live = fact.tickets.iter_mut().filter(|ticket| ticket.refunded_at.is_none());
                live.take(if all { usize::MAX } else { 1 }).for_each(|ticket| ticket.refunded_at = Some(now));
                if all { "gives back all of" } else { "gives back a ticket of" }
            }
        };
        let fact = fact.clone();
        self.tell_order(what, &fact);
        if fact.refunded_at() == Some(now) {
            self.send_refund(index);
        } else if fact.paid_at == Some(now) {
            let told = self.rng.once_in(2);
            self.send_payment(&fact, told);
        }
        self.send_order(fact);
    }

    /// True if no delivery is on its way.
    pub fn is_still(&self) -> bool {
        self.under_way.load(std::sync::atomic::Ordering::Relaxed) == 0
    }
}
