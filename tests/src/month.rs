//! A month of a tour's mailing lists, from a seed. People consent and withdraw: at the hub, at the provider, and by a
//! provider's late webhook. Lists and the CRM fail, lose answers and throttle. The process is killed now and then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use stagedoor_config::MailerProvider;
use stagedoor_engine::{ListRule, Segment, segments};
use stagedoor_model::{
    Body, Channel, ConsentClaim, ConsentRecorded, Email, Event, EventId, FormSubmitted, Identifier, MARKETING,
    SourceName, Timestamp,
};
use stagedoor_ports::{Clock, MailingList};
use stagedoor_sandbox::{Fault, FaultKind, ListBreak, Lists};
use stagedoor_sync::{FlushMode, Sync};

use crate::{
    clock::Moved,
    crash::{Life, Mortal},
    mailers::Mailer,
    world::World,
};

/// 2026-01-01T00:00:00Z.
const BEGINS: i64 = 1_767_225_600;
const STEP: i64 = 3 * 3_600;
const STEPS: u64 = 30 * 8;
/// A list, its account, and the provider's id.
const LISTS: [(&str, &str, &str); 2] = [("news", "first", "134"), ("premieres", "second", "135")];

/// The results of a month.
#[derive(Debug, Clone, Default)]
pub struct Month {
    pub consents: u64,
    pub withdrawals: u64,
    pub faults: u64,
    pub kills: u64,
    /// Additions without a consent at that moment, and people on a reachable list without a consent.
    pub violations: Vec<String>,
    /// The longest time, in hours, that faults and kills kept a person on a list.
    pub longest_hours: i64,
    /// People who consent and whom the provider accepts, but who are on no list at the end.
    pub missing: usize,
    /// The number of list memberships at the end.
    pub enrolled: usize,
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn site() -> SourceName {
    SourceName::new("site").expect("a name")
}

fn address(n: u64) -> String {
    format!("fan{n}@example.com")
}

fn identifier(n: u64) -> Identifier {
    Identifier::email(Email::parse(&address(n)).expect("an address"))
}

fn consents(n: u64, serial: u64, at: Timestamp) -> Event {
    let consents =
        vec![ConsentClaim { purpose: MARKETING.into(), channel: Channel::Email, given: true, wording: None }];
    let form = FormSubmitted {
        identifiers: BTreeSet::from([identifier(n)]),
        proof: Default::default(),
        name: Some(format!("Fan {n}")),
        form: None,
        show: None,
        amount: None,
        consents,
        labels: BTreeMap::new(),
        company: None,
    };
    Event::new(&site(), EventId::derive(&site(), &["form", &serial.to_string()]), at, Body::FormSubmitted(form))
}

fn withdraws(n: u64, serial: u64, at: Timestamp) -> Event {
    let said = ConsentRecorded::withdrawn(identifier(n), Channel::Email, "unsubscribe");
    Event::new(&site(), EventId::derive(&site(), &["left", &serial.to_string()]), at, Body::ConsentRecorded(said))
}

/// A provider's webhook on its way.
#[derive(Clone, Copy)]
struct Late {
    /// The step at which the webhook comes.
    comes: u64,
    fan: u64,
    left_at: Timestamp,
}

struct Living {
    world: World,
    mailers: [Mailer; 2],
    clock: Moved,
    dice: Dice,
    serial: u64,
    month: Month,
    /// People with their consent, as far as the hub knows it.
    open: BTreeMap<u64, bool>,
    late: Vec<Late>,
    /// Since when a person is on a list without a consent.
    held: BTreeMap<u64, i64>,
}

/// Plays a month with this many people.
pub async fn live(seed: u64, people: u64) -> Month {
    let mailers = [Mailer::start(MailerProvider::Mailchimp).await, Mailer::start(MailerProvider::Listmonk).await];
    let clock = Moved::at(BEGINS);
    let mut world = World::new().await;
    world.sync.clock = Arc::new(clock.clone());
    let text = "consent(email)";
    let rule = segments::parse(text).expect("a rule");
    world.sync.catalog.segments = vec![Segment { name: "all".into(), title: String::new(), text: text.into(), rule }];
    let list = |(name, mailer, id): (&str, &str, &str)| ListRule {
        name: name.into(),
        mailer: mailer.into(),
        id: id.into(),
        segment: "all".into(),
    };
    world.sync.catalog.lists = LISTS.map(list).to_vec();
    let mut living = Living {
        world,
        mailers,
        clock,
        dice: Dice(seed),
        serial: 0,
        month: Month::default(),
        open: BTreeMap::new(),
        late: vec![],
        held: BTreeMap::new(),
    };
    for n in 0..people {
        living.each(|lists| lists.forbid(&address(n), true));
    }
    for step in 0..STEPS {
        living.step(step, people).await;
    }
    living.end().await
}

impl Living {
    fn each(&self, what: impl Fn(&Lists)) {
        self.mailers.iter().for_each(|mailer| what(&mailer.lists));
    }

    /// A process that dies when the I/O steps of `life` are over.
    fn mortal(&self, life: &Life) -> Sync {
        let mut sync = self.world.sync.clone();
        sync.store = Arc::new(Mortal { inner: Arc::clone(&self.world.store), life: life.clone() });
        sync.crm = Arc::new(Mortal { inner: Arc::clone(&self.world.crm), life: life.clone() });
        let ours = self.mailers.iter().map(|mailer| {
            let list: Arc<dyn MailingList> = Arc::new(Mortal { inner: Arc::clone(&mailer.ours), life: life.clone() });
            list
        });
        sync.lists = LISTS.iter().map(|(_, mailer, _)| (*mailer).to_owned()).zip(ours).collect();
        sync
    }

    /// Delivers an event until it is folded, as a queue does.
    async fn tell(&mut self, event: Event) {
        loop {
            let killed = self.dice.roll(20) == 0;
            let life = Life::of(if killed { 1 + self.dice.roll(12) as i64 } else { i64::MAX });
            self.month.kills += u64::from(killed);
            let failed = self.mortal(&life).handle(vec![event.clone()]).await;
            if failed.is_empty() && !life.is_over() {
                return;
            }
        }
    }

    async fn consent(&mut self, n: u64) {
        self.serial += 1;
        // From this moment the hub may know the consent.
        self.each(|lists| lists.forbid(&address(n), false));
        self.tell(consents(n, self.serial, self.clock.now())).await;
        self.month.consents += 1;
        self.open.insert(n, true);
    }

    async fn withdraw(&mut self, n: u64, at: Timestamp) {
        self.serial += 1;
        self.tell(withdraws(n, self.serial, at)).await;
        self.each(|lists| lists.forbid(&address(n), true));
        self.month.withdrawals += 1;
        self.open.insert(n, false);
    }

    /// Unsubscribes by a letter of the first provider. Its webhook comes up to half a day later.
    fn leave_there(&mut self, n: u64, step: u64) {
        let (lists, id) = (&self.mailers[0].lists, LISTS[0].2);
        if lists.mailed(id).contains(&address(n)) && !self.late.iter().any(|one| one.fan == n) {
            lists.leaves(id, &address(n));
            let comes = step + self.dice.roll(4);
            self.late.push(Late { comes, fan: n, left_at: self.clock.now() });
        }
    }

    async fn step(&mut self, step: u64, people: u64) {
        let late = std::mem::take(&mut self.late);
        let (come, wait): (Vec<Late>, Vec<Late>) = late.into_iter().partition(|one| one.comes <= step);
        self.late = wait;
        for one in come {
            self.withdraw(one.fan, one.left_at).await;
        }
        for _ in 0..self.dice.roll(6 + people / 100) {
            let n = self.dice.roll(people);
            match (self.open.get(&n).copied().unwrap_or(false), self.dice.roll(3)) {
                (false, _) => self.consent(n).await,
                (true, 0) => {}
                (true, 1) => self.withdraw(n, self.clock.now()).await,
                (true, _) => self.leave_there(n, step),
            }
        }
        let calm = self.reconcile().await;
        self.look(calm);
        self.clock.on(STEP);
        _ = self.world.sync.wake().await;
    }

    /// Reconciles once under random faults; without faults until nobody waits. Returns true if there were no faults.
    async fn reconcile(&mut self) -> bool {
        if self.dice.roll(3) == 0 {
            let breaks = [ListBreak::Broken, ListBreak::AnswerLost, ListBreak::TooMany];
            let which = self.dice.roll(2) as usize;
            self.mailers[which].lists.break_next([breaks[self.dice.roll(3) as usize]]);
            self.month.faults += 1;
            if self.dice.roll(3) == 0 {
                let calls = "POST /api/v4/contacts".to_owned();
                let fault = Fault { kind: FaultKind::Broken, calls, after: 0, times: 1, milliseconds: 0 };
                self.world.sandbox.set_fault(fault);
            }
            _ = self.mortal(&Life::of(i64::MAX)).reconcile(FlushMode::Everything).await;
            return false;
        }
        if self.dice.roll(4) == 0 {
            self.month.kills += 1;
            let life = Life::of(1 + self.dice.roll(40) as i64);
            _ = self.mortal(&life).reconcile(FlushMode::Everything).await;
            return false;
        }
        self.rest().await;
        true
    }

    async fn rest(&self) {
        let sync = &self.world.sync;
        let sync = Sync { lists: self.mortal(&Life::of(i64::MAX)).lists, ..sync.clone() };
        for _ in 0..60 {
            // A person whom a list refused before is checked again.
            self.clock.on(61);
            sync.wake().await.expect("woken");
            sync.reconcile(FlushMode::Everything).await.expect("a round");
            let waiting = self.world.store.totals().await.expect("totals").waiting;
            let due = self.world.store.due_rechecks(Timestamp::MAX).await.expect("read");
            if waiting == 0 && due.is_empty() {
                return;
            }
        }
        panic!("people still wait");
    }

    fn look(&mut self, calm: bool) {
        let now = self.clock.now().as_second();
        let mut on = BTreeSet::new();
        for (mailer, (_, _, list)) in self.mailers.iter().zip(LISTS) {
            on.extend(mailer.lists.mailed(list));
        }
        for (n, open) in &self.open {
            if *open || !on.contains(&address(*n)) {
                self.held.remove(n);
                continue;
            }
            let since = *self.held.entry(*n).or_insert(now);
            self.month.longest_hours = self.month.longest_hours.max((now - since) / 3_600);
            if calm {
                self.month.violations.push(format!("fan {n} is on a list without a consent"));
            }
        }
    }

    async fn end(mut self) -> Month {
        while let Some(one) = self.late.pop() {
            self.withdraw(one.fan, one.left_at).await;
        }
        self.rest().await;
        self.look(true);
        for (mailer, (_, _, list)) in self.mailers.iter().zip(LISTS) {
            let added = mailer.lists.violations().len();
            self.month.violations.extend((0..added).map(|_| "somebody was added without a consent".to_owned()));
            let mailed = mailer.lists.mailed(list);
            self.month.enrolled += mailed.len();
            let wanted = self.open.iter().filter(|(_, open)| **open).map(|(n, _)| address(*n));
            // A provider takes an unsubscribed person back only at their own wish.
            let missing = wanted.filter(|one| !mailed.contains(one) && !mailer.lists.ever_left(list, one)).count();
            self.month.missing += missing;
        }
        self.month
    }
}
