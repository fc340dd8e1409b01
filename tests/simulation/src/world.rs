//! The ground truth: which human did what, with which proof. The hub never sees it.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Channel, Timestamp};

pub use crate::orders::{OrderFact, Shop, TicketFact};
use crate::{chats::TalkFact, consent::ConsentFact, rng::Rng};

pub struct ShowFact {
    /// The organiser's key.
    pub key: &'static str,
    /// Ids in the shop and in the box office's system.
    pub shop: &'static str,
    pub box_office: u64,
    /// The event in pretix.
    pub pretix: &'static str,
    /// The event in Ticketscloud.
    pub ticketscloud: &'static str,
    pub title: &'static str,
    /// On whose clocks it begins, and its people sleep.
    pub zone: &'static str,
    /// As it was announced.
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
    /// In E.164.
    pub phones: [String; 2],
    pub emails: [String; 2],
    /// The number of the first of their family, who all have one phone. What shares a phone is one person to the hub.
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

    /// From now on they use the phone of this one, too.
    pub fn shares_phone_of(&mut self, other: &Self) {
        let ([phone, _], [shared, _]) = (&mut self.phones, &other.phones);
        (*phone, self.family) = (shared.clone(), other.family);
    }

    /// Whether an identifier is this human's own.
    pub fn owns(&self, identifier: &str) -> bool {
        self.phones.iter().chain(&self.emails).any(|own| own == identifier)
    }

    /// What they show this time: one phone, one e-mail, or both.
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

/// Something that a human did: a form that they sent.
#[derive(Debug, Clone)]
pub struct FormFact {
    pub id: String,
    pub human: usize,
    pub identifiers: BTreeSet<String>,
    pub show: usize,
    pub at: Timestamp,
    /// Its boxes about being written to.
    pub boxes: Vec<(Channel, bool)>,
}

/// What should stand on one deal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DealTruth {
    /// In kopecks; `None` where the truth does not say.
    pub price: Option<i64>,
    /// The names of stages of which one is right; empty where the truth does not say.
    pub stages: BTreeSet<&'static str>,
    /// When somebody but the CRM last did something about it.
    pub touched_at: Timestamp,
    /// What companies still have to pay, in kopecks.
    pub owed: i64,
}

/// How a show stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShowTruth {
    pub cancelled: bool,
    /// When it begins, where it was moved.
    pub starts_at: Option<Timestamp>,
    /// When its shop decided that.
    pub changed_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub struct World {
    pub humans: Vec<Human>,
    /// How each show stands, in the order of `SHOWS`.
    pub shows: [ShowTruth; 2],
    /// Every change of a show, by its number in `SHOWS`.
    pub show_history: Vec<(usize, ShowTruth)>,
    pub forms: Vec<FormFact>,
    pub orders: Vec<OrderFact>,
    /// E-mails that somebody else typed as their own in an order, once for each.
    pub mistyped: Vec<String>,
    pub consents: Vec<ConsentFact>,
    pub conversations: Vec<TalkFact>,
}

/// One person as the facts prove them: a human with their family, and those of their identifiers that their own facts hold together.
#[derive(Debug, Clone)]
pub struct PersonTruth {
    pub human: usize,
    pub identifiers: BTreeSet<String>,
    /// By the organiser's key of the show.
    pub deals: BTreeMap<&'static str, DealTruth>,
    pub orders: Vec<OrderFact>,
    /// What all deals hold together, in kopecks, where nobody can say what each holds.
    pub together: Option<i64>,
}

impl World {
    /// How a show stood at an instant.
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
        // Who handed an order on had shown all of that together. Where the next buyer shows one of it again, it looks like a
        // correction, and what was corrected proves nothing.
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

    /// Whether these two are one human, or of one family.
    pub fn are_one(&self, one: usize, other: usize) -> bool {
        let family = |human: usize| self.humans.get(human).map(|who| who.family);
        family(one) == family(other)
    }

    /// Whether an identifier is this human's own, or of their family.
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
                // An order that was paid while it was theirs moved their deal, though it is somebody else's since.
                let had = |order: &&OrderFact| order.former.iter().any(|(one, _)| self.are_one(*one, human));
                let handed_on = self.orders.iter().filter(had).filter(of_show).filter_map(|order| order.paid_at);
                truth.touched_at = handed_on.fold(truth.touched_at, Timestamp::max);
                deals.insert(show.key, truth);
            }
        }
        deals
    }
}

/// A customer of the box office keeps one number there, and all of their orders show it.
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
    // Of money that went back for tickets of several shows nobody knows for which.
    let kept: Option<i64> = paid.iter().map(|order| order.kept_for(show)).sum();
    let refunded_at = paid.iter().filter_map(|order| order.show_refunded_at(show)).max();
    let submissions = forms.iter().map(|form| form.at).chain(orders.iter().map(|order| order.placed_at));
    let touched = submissions.chain(paid.iter().filter_map(|order| order.paid_at)).max();
    let owed: i64 = open.iter().filter(|one| one.company.is_some()).map(|one| asked(one)).sum();
    let price = match (paid.is_empty(), open.as_slice()) {
        // What companies still have to pay is owed, whatever else was bought.
        (false, _) => kept.map(|kept| kept + owed),
        (true, [one]) if orders.len() == 1 => Some(asked(one)),
        _ => None,
    };
    let stages: BTreeSet<&'static str> = match () {
        () if kept != Some(0) => ["Оплачено"].into(),
        // What a company still has to pay for is neither given back nor given up with another order.
        () if open.iter().any(|one| one.company.is_some()) => ["Корзина"].into(),
        // What came last is not told apart here: the money, or an order that was let go.
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

/// What all deals of these facts hold together, in kopecks, where nobody can say what each holds.
fn together(orders: &[&OrderFact], deals: &BTreeMap<&'static str, DealTruth>) -> Option<i64> {
    let blurred = orders
        .iter()
        .any(|order| (0..SHOWS.len()).any(|show| order.paid_at.is_some() && order.kept_for(show).is_none()));
    let kept: i64 = orders.iter().filter(|order| order.paid_at.is_some()).map(|order| order.kept()).sum();
    blurred.then(|| kept + deals.values().map(|deal| deal.owed).sum::<i64>())
}
