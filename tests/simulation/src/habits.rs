//! Behaviour of shops, buyers and payment providers beside the plain course of an order.

use stagedoor_model::Timestamp;

use crate::{
    act::{Actors, Habit},
    deliver,
    world::{SHOWS, Shop},
};

impl Actors {
    /// Plays one habit. Does nothing if the world does not have it.
    pub fn habit(&mut self, habit: Habit) {
        match habit {
            Habit::SameSecond
            | Habit::Company
            | Habit::Stripe
            | Habit::StripeRefund
            | Habit::PartialRefund
            | Habit::Family
            | Habit::Sqlite
            | Habit::Kopecks
            | Habit::Yookassa
            | Habit::Pretix
            | Habit::Ticketscloud
            | Habit::LostNotices => self.change_order(),
            Habit::FailedRefund => self.fail_refund(),
            Habit::WrongEmail => self.order_with_wrong_email(),
            Habit::Transfer => self.transfer(),
            Habit::CashierEmail => self.next_at_cashier(),
            Habit::Shows => self.change_show(),
            Habit::Consents | Habit::Nights => self.withdraw(),
            Habit::Chats => self.chat(),
            Habit::Strangers => self.pretend(),
        }
    }

    fn order_with_wrong_email(&mut self) {
        let humans = self.story.world.humans.len();
        let (human, other) = (self.rng.below(humans), self.rng.below(humans));
        let email = self.story.world.humans.get(other).map(|who| who.emails[0].clone());
        if human != other {
            self.story.world.mistyped.extend(email.clone());
            self.order_of(human, email);
            self.wrong.push(self.story.world.orders.len() - 1);
        }
    }

    /// Buyers correct all wrong e-mails.
    pub fn correct_all(&mut self) {
        for index in std::mem::take(&mut self.wrong) {
            let now = self.now();
            let Some(fact) = self.story.world.orders.get_mut(index) else { continue };
            // Within one second the order of the changes is unknown.
            if fact.updated_at >= now {
                self.wrong.push(index);
                continue;
            }
            let Some(who) = self.story.world.humans.get(fact.human) else { continue };
            let customer = fact.identifiers.iter().find(|one| one.starts_with("customer:")).cloned();
            fact.identifiers = [who.phones[0].clone(), who.emails[0].clone()].into_iter().chain(customer).collect();
            fact.updated_at = now;
            let fact = fact.clone();
            self.tell_order("corrects the e-mail of", &fact);
            self.send_order(fact);
        }
    }

    fn transfer(&mut self) {
        let (now, to) = (self.now(), self.rng.below(self.story.world.humans.len()));
        let all = self.story.world.orders.iter().enumerate();
        let own = all.filter(|(index, one)| {
            one.shop == Shop::Own
                && !one.is_over()
                && one.human != to
                && one.company.is_none()
                && !self.wrong.contains(index)
                // Shops give times in seconds: within one second it is unknown who is the later buyer.
                && one.updated_at < now
        });
        let own: Vec<usize> = own.map(|(index, _)| index).collect();
        let Some(index) = self.rng.pick(&own).copied() else { return };
        let Some(who) = self.story.world.humans.get(to).cloned() else { return };
        let shown = who.shows(&mut self.rng);
        let Some(fact) = self.story.world.orders.get_mut(index) else { return };
        fact.former.push((fact.human, std::mem::replace(&mut fact.identifiers, shown)));
        (fact.human, fact.updated_at) = (to, now);
        let fact = fact.clone();
        self.tell_order("takes over", &fact);
        self.send_order(fact);
    }

    fn next_at_cashier(&mut self) {
        if let Some(human) = self.at_cashier.pop() {
            self.order_of(human, Some("kassa@theatre.example.ru".to_owned()));
        }
    }

    /// The cashier serves all who wait.
    pub fn serve_all(&mut self) {
        while !self.at_cashier.is_empty() {
            self.next_at_cashier();
        }
    }

    fn change_show(&mut self) {
        let (now, number, id) = (self.now(), self.rng.below(SHOWS.len()), format!("d{}", self.serial()));
        let later = i64::try_from(self.rng.between(1, 20)).unwrap_or(1);
        let (Some(fact), Some(truth)) = (SHOWS.get(number), self.story.world.shows.get_mut(number)) else { return };
        // Shops give times in seconds: the order of two opposite changes within one is unknown.
        if truth.changed_at == Some(now) {
            return;
        }
        truth.changed_at = Some(now);
        if !truth.cancelled && self.rng.once_in(2) {
            truth.cancelled = true;
        } else {
            truth.cancelled = false;
            // Some CRMs store minutes.
            let minute = now.as_second() / 60 * 60 + 86_400 * (60 + later);
            truth.starts_at = Timestamp::from_second(minute).ok();
        }
        let truth = *truth;
        self.story.world.show_history.push((number, truth));
        self.story.tell(format!("the shop says of {}: {truth:?}", fact.key));
        self.send(fact.shop.to_owned(), move |sent_at| deliver::show(fact, truth, now, &id, sent_at));
    }
}
