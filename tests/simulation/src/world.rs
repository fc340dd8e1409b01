//! The ground truth: what each human did, with what proof. The hub never sees it.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Channel, Timestamp};

pub use crate::orders::{OrderFact, Shop, TicketFact};
use crate::{chats::TalkFact, consent::ConsentFact, rng::Rng};

pub struct ShowFact {
    /// The organiser's key of the show.
    pub key: &'static str,
    /// The ids in the shop and in the box office's system.
    pub shop: &'static str,
    pub box_office: u64,
    /// The event in pretix.
    pub pretix: &'static str,
    /// The event in Ticketscloud.
    pub ticketscloud: &'static str,
    pub title: &'static str,
    /// The time zone of the place, for the beginning and for the night of its people.
    pub zone: &'static str,
    /// The beginning as announced.
    pub begins: &'static str,
}

pub const SHOWS: [ShowFact; 2] = [
    ShowFact {
        key: "orchard",
        shop: "orchard-1",
        box_office: 41,
        pretix: "orchard-p",
        ticketscloud: "orchard-t",
        title: "Вишнёвый сад",
        zone: "Europe/Moscow",
        begins: "2027-05-28T19:00:00+03:00",
    },
    ShowFact {
        key: "seagull",
        shop: "seagull-1",
        box_office: 42,
        pretix: "seagull-p",
        ticketscloud: "seagull-t",
        title: "Чайка",
        zone: "Asia/Yekaterinburg",
        begins: "2027-06-02T19:00:00+05:00",
    },
];

#[derive(Debug, Clone)]
pub struct Human {
    pub name: String,
    /// Phones in E.164.
    pub phones: [String; 2],
    pub emails: [String; 2],
    /// The number of the first human of their family, who all share one phone. People with one phone are one person
    /// to the hub.
    pub family: usize,
}

impl Human {
    pub fn new(number: usize) -> Self {
        const NAMES: [&str; 8] = ["Анна", "Ольга", "Пётр", "Мария", "Иван", "Елена", "Дарья", "Юлия"];
        let first = NAMES.get(number % NAMES.len()).copied().unwrap_or_default();
        Self {
            name: format!("{first} Человек{number}"),
            phones: [format!("+7916100{number:04}"), format!("+7926200{number:04}")],
            emails: [format!("human{number}@example.com"), format!("work{number}@example.org")],
            family: number,
        }
    }

    /// Makes this human use the other's phone.
    pub fn shares_phone_of(&mut self, other: &Self) {
        let ([phone, _], [shared, _]) = (&mut self.phones, &other.phones);
        (*phone, self.family) = (shared.clone(), other.family);
    }

    /// True if an identifier is this human's own.
    pub fn owns(&self, identifier: &str) -> bool {
        self.phones.iter().chain(&self.emails).any(|own| own == identifier)
    }

    /// The identifiers that the human shows this time: one phone, one e-mail, or both.
    pub fn shows(&self, rng: &mut Rng) -> BTreeSet<String> {
        let [phone, other_phone] = self.phones.clone();
        let [email, other_email] = self.emails.clone();
        let phone = Some(if rng.once_in(6) { other_phone } else { phone });
        let email = Some(if rng.once_in(4) { other_email } else { email });
        match rng.below(4) {
            0 => phone.into_iter().collect(),
            1 => email.into_iter().collect(),
            _ => phone.into_iter().chain(email).collect(),
        }
    }
}

/// A form that a human sent.
#[derive(Debug, Clone)]
pub struct FormFact {
    pub id: String,
    pub human: usize,
    pub identifiers: BTreeSet<String>,
    pub show: usize,
    pub at: Timestamp,
    /// The consent boxes of the form.
    pub boxes: Vec<(Channel, bool)>,
}

/// The correct state of one deal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DealTruth {
    /// The price in kopecks. `None` if the truth leaves it open.
    pub price: Option<i64>,
    /// The names of stages of which one is right. Empty if the truth leaves it open.
    pub stages: BTreeSet<&'static str>,
    /// The time of the last event outside the CRM.
    pub touched_at: Timestamp,
    /// The open amount of companies, in kopecks.
    pub owed: i64,
}

/// The state of a show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShowTruth {
    pub cancelled: bool,
    /// The new beginning, if the show was moved.
    pub starts_at: Option<Timestamp>,
    /// The time of the shop's decision.
    pub changed_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default)]
pub struct World {
    pub humans: Vec<Human>,
    /// The state of each show, in the order of `SHOWS`.
    pub shows: [ShowTruth; 2],
    /// Every change of a show, by its number in `SHOWS`.
    pub show_history: Vec<(usize, ShowTruth)>,
    pub forms: Vec<FormFact>,
    pub orders: Vec<OrderFact>,
    /// E-mails that another human typed in an order as their own, one entry each.
    pub mistyped: Vec<String>,
    pub consents: Vec<ConsentFact>,
    pub conversations: Vec<TalkFact>,
}

/// One person as the facts prove them: a human with their family, and those of their identifiers that their own facts
/// connect.
#[derive(Debug, Clone)]
pub struct PersonTruth {
    pub human: usize,
    pub identifiers: BTreeSet<String>,
    /// Deals by the organiser's key of the show.
    pub deals: BTreeMap<&'static str, DealTruth>,
    pub orders: Vec<OrderFact>,
    /// The sum of all deals in kopecks, if the part of each is unknown.
    pub together: Option<i64>,
}

impl World {
    /// The state of a show at an instant.
    pub fn stood_at(&self, show: usize, at: Timestamp) -> ShowTruth {
        let own = self.show_history.iter().filter(|(number, truth)| *number == show && truth.changed_at <= Some(at));
        own.map(|(_, truth)| *truth).max_by_key(|truth| truth.changed_at).unwrap_or_default()
    }

    pub fn people(&self) -> Vec<PersonTruth> {
        let mut people = Vec::new();
        for human in
            self.humans.iter().enumerate().filter(|(number, who)| who.family == *number).map(|(number, _)| number)
        {
            let mut groups: Vec<BTreeSet<String>> = Vec::new();
            for shown in self.shown_by(human) {
                let mut whole: BTreeSet<String> = shown.iter().filter(|one| self.owns(human, one)).cloned().collect();
                if let BoxCustomer(Some(customer)) = customer_of(shown) {
                    whole.insert(customer);
                }
                let (together, apart): (Vec<_>, Vec<_>) =
                    groups.into_iter().partition(|group| !group.is_disjoint(&whole));
                whole.extend(together.into_iter().flatten());
                groups = apart;
                groups.extend((!whole.is_empty()).then_some(whole));
            }
            for identifiers in groups {
                let orders = self.orders_of(human, &identifiers);
                let deals = self.deals(human, &identifiers, &orders);
                let together = together(&orders, &deals);
                let orders = orders.into_iter().cloned().collect();
                people.push(PersonTruth { human, identifiers, deals, orders, together });
            }
        }
        people
    }

    fn shown_by(&self, human: usize) -> impl Iterator<Item = &BTreeSet<String>> {
        let forms = self.forms.iter().filter(move |form| self.are_one(form.human, human));
        let orders = self.orders.iter().filter(move |order| self.are_one(order.human, human));
        // An earlier owner had shown all these identifiers together. If the next owner shows one of them again, the
        // change looks like a correction, and corrected values prove nothing.
        let former = self.orders.iter().flat_map(|order| {
            let next = order.former.iter().map(|(_, shown)| shown).chain([&order.identifiers]).skip(1);
            order.former.iter().zip(next).filter(|((_, shown), next)| shown.is_disjoint(next)).map(|(former, _)| former)
        });
        let former = former.filter(move |(one, _)| self.are_one(*one, human)).map(|(_, identifiers)| identifiers);
        let conversations =
            self.conversations.iter().filter(move |conversation| self.are_one(conversation.human, human));
        let shown = forms.map(|form| &form.identifiers).chain(orders.map(|order| &order.identifiers));
        shown.chain(former).chain(conversations.map(|conversation| &conversation.identifiers))
    }

    /// True if these two are one human or one family.
    pub fn are_one(&self, one: usize, other: usize) -> bool {
        let family = |human: usize| self.humans.get(human).map(|who| who.family);
        family(one) == family(other)
    }

    /// True if an identifier belongs to this human or their family.
    fn owns(&self, human: usize, identifier: &str) -> bool {
        self.humans.iter().filter(|who| who.family == human).any(|who| who.owns(identifier))
    }

    pub fn orders_of(&self, human: usize, identifiers: &BTreeSet<String>) -> Vec<&OrderFact> {
        let own = self.orders.iter().filter(move |order| self.are_one(order.human, human));
        own.filter(|order| !order.identifiers.is_disjoint(identifiers)).collect()
    }

    fn deals(
        &self,
        human: usize,
        identifiers: &BTreeSet<String>,
        all: &[&OrderFact],
    ) -> BTreeMap<&'static str, DealTruth> {
        let mut deals = BTreeMap::new();
        for (number, show) in SHOWS.iter().enumerate() {
            let forms: Vec<&FormFact> = self
                .forms
                .iter()
                .filter(|form| self.are_one(form.human, human) && form.show == number)
                .filter(|form| !form.identifiers.is_disjoint(identifiers))
                .collect();
            let of_show = |order: &&OrderFact| order.tickets.iter().any(|ticket| ticket.show == number);
            let orders: Vec<&OrderFact> = all.iter().copied().filter(of_show).collect();
            if !forms.is_empty() || !orders.is_empty() {
                let mut truth = deal(&forms, &orders, number);
                // An order that was paid while it was theirs moved their deal, even if another human owns it now.
                let had = |order: &&OrderFact| order.former.iter().any(|(one, _)| self.are_one(*one, human));
                let handed_on = self.orders.iter().filter(had).filter(of_show).filter_map(|order| order.paid_at);
                truth.touched_at = handed_on.fold(truth.touched_at, Timestamp::max);
                deals.insert(show.key, truth);
            }
        }
        deals
    }
}

/// A customer of the box office keeps one number there. All of their orders show it.
pub struct BoxCustomer(pub Option<String>);

pub fn customer_of(shown: &BTreeSet<String>) -> BoxCustomer {
    BoxCustomer(shown.iter().find(|one| one.starts_with("customer:")).cloned())
}

fn deal(forms: &[&FormFact], orders: &[&OrderFact], show: usize) -> DealTruth {
    let asked = |order: &OrderFact| -> i64 {
        order.tickets.iter().filter(|ticket| ticket.show == show).map(|ticket| ticket.price).sum()
    };
    let paid: Vec<&&OrderFact> = orders.iter().filter(|order| order.paid_at.is_some()).collect();
    let open: Vec<&&OrderFact> = orders.iter().filter(|order| order.paid_at.is_none() && !order.cancelled).collect();
    let let_go = orders.iter().any(|order| order.cancelled);
    // A refund for tickets of several shows does not say which show it is for.
    let kept: Option<i64> = paid.iter().map(|order| order.kept_for(show)).sum();
    let refunded_at = paid.iter().filter_map(|order| order.show_refunded_at(show)).max();
    let submissions = forms.iter().map(|form| form.at).chain(orders.iter().map(|order| order.placed_at));
    let touched = submissions.chain(paid.iter().filter_map(|order| order.paid_at)).max();
    let owed: i64 = open.iter().filter(|one| one.company.is_some()).map(|one| asked(one)).sum();
    let price = match (paid.is_empty(), open.as_slice()) {
        // The open amount of companies is owed, regardless of other purchases.
        (false, _) => kept.map(|kept| kept + owed),
        (true, [one]) if orders.len() == 1 => Some(asked(one)),
        _ => None,
    };
    let stages: BTreeSet<&'static str> = match () {
        () if kept != Some(0) => ["Оплачено"].into(),
        // An open order of a company is not refunded or cancelled with another order.
        () if open.iter().any(|one| one.company.is_some()) => ["Корзина"].into(),
        // The truth does not distinguish whether the money or a cancellation came last.
        () if !paid.is_empty() && refunded_at > touched && !let_go => ["Возврат"].into(),
        () if !paid.is_empty() => [].into(),
        () if !open.is_empty() => ["Корзина"].into(),
        () if orders.is_empty() => ["Интерес"].into(),
        () if forms.is_empty() => ["Закрыто и не реализовано"].into(),
        () => [].into(),
    };
    let last = |order: &&OrderFact| order.updated_at.max(order.given_back_at.unwrap_or_default());
    let touched_at = orders.iter().map(last).chain(forms.iter().map(|form| form.at)).max();
    DealTruth { price, stages, touched_at: touched_at.unwrap_or_default(), owed }
}

/// The sum of all deals of these facts in kopecks, if the part of each is unknown.
fn together(orders: &[&OrderFact], deals: &BTreeMap<&'static str, DealTruth>) -> Option<i64> {
    let blurred = orders
        .iter()
        .any(|order| (0..SHOWS.len()).any(|show| order.paid_at.is_some() && order.kept_for(show).is_none()));
    let kept: i64 = orders.iter().filter(|order| order.paid_at.is_some()).map(|order| order.kept()).sum();
    blurred.then(|| kept + deals.values().map(|deal| deal.owed).sum::<i64>())
}
