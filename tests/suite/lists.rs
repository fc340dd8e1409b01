//! Mailing lists: what each provider does, and that nobody is on one without a consent.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use stagedoor_config::MailerProvider;
use stagedoor_engine::{Leaving, ListRule, Member, Segment, addresses, segments};
use stagedoor_model::{
    Body, Channel, ConsentClaim, ConsentRecorded, Email, Event, EventId, FormSubmitted, Identifier, MARKETING,
    SourceName, Timestamp,
};
use stagedoor_ports::{Listed, MailingList};
use stagedoor_sandbox::{Fault, FaultKind, ListBreak};
use stagedoor_sync::FlushMode;
use stagedoor_tests::{
    crash::{Life, Mortal},
    mailers::{Mailer, PROVIDERS},
    world::World,
};

/// All stand-ins know lists by numbers.
const LIST: &str = "134";
const OTHER: &str = "135";

fn email(text: &str) -> Email {
    Email::parse(text).expect("an address")
}

fn member(text: &str) -> Member {
    Member { email: email(text), name: Some("Анна".into()) }
}

#[tokio::test]
async fn every_provider_takes_people_lets_them_go_and_may_be_asked_twice() {
    for provider in PROVIDERS {
        let mailer = Mailer::start(provider).await;
        let all = [member("anna@example.com"), member("o'hara@example.com")];
        for _ in 0..2 {
            assert_eq!(mailer.ours.add(LIST, &all).await, [Listed::Done, Listed::Done], "{provider:?}");
        }
        let expected = BTreeSet::from(["anna@example.com".to_owned(), "o'hara@example.com".to_owned()]);
        assert_eq!(mailer.lists.mailed(LIST), expected, "{provider:?}");
        for _ in 0..2 {
            let gone = mailer.ours.remove(LIST, &[email("anna@example.com")], Leaving::Segment).await;
            assert_eq!(gone, [Listed::Done], "{provider:?}");
        }
        assert_eq!(mailer.lists.mailed(LIST).len(), 1, "{provider:?}");
        // Whoever left the segment only may come back.
        assert_eq!(mailer.ours.add(LIST, &all).await, [Listed::Done, Listed::Done], "{provider:?}");
        assert_eq!(mailer.lists.mailed(LIST), expected, "{provider:?}");
        for _ in 0..2 {
            let gone = mailer.ours.remove(LIST, &[email("anna@example.com")], Leaving::Withdrawn).await;
            assert_eq!(gone, [Listed::Done], "{provider:?}");
        }
        assert!(!mailer.lists.mailed(LIST).contains("anna@example.com"), "{provider:?}");
    }
}

#[tokio::test]
async fn no_provider_is_made_to_bring_back_who_left_there() {
    for provider in PROVIDERS {
        let mailer = Mailer::start(provider).await;
        let anna = [member("anna@example.com")];
        mailer.ours.add(LIST, &anna).await;
        mailer.lists.leaves(LIST, "anna@example.com");
        let told = mailer.ours.add(LIST, &anna).await;
        assert!(mailer.lists.mailed(LIST).is_empty(), "{provider:?}");
        // UniSender and SendPulse keep silent about it; their webhooks tell.
        if matches!(provider, MailerProvider::Mailchimp | MailerProvider::Listmonk) {
            assert_eq!(told, [Listed::Left], "{provider:?}");
        }
    }
}

#[tokio::test]
async fn one_address_that_is_not_taken_holds_up_no_other() {
    for provider in [MailerProvider::Unisender, MailerProvider::Mailchimp] {
        let mailer = Mailer::start(provider).await;
        mailer.lists.bar("gone@example.com");
        let told = mailer.ours.add(LIST, &[member("gone@example.com"), member("anna@example.com")]).await;
        assert!(matches!(told[0], Listed::Refused(_) | Listed::Left), "{provider:?}: {told:?}");
        assert_eq!(told[1], Listed::Done, "{provider:?}");
        assert_eq!(mailer.lists.mailed(LIST).len(), 1, "{provider:?}");
    }
}

#[tokio::test]
async fn a_wrong_key_an_outage_and_a_throttled_account_lose_nobody_and_are_left_alone_for_a_while() {
    for provider in PROVIDERS {
        let mailer = Mailer::with_key(provider, "wrong-us21", Duration::from_secs(60)).await;
        for _ in 0..3 {
            assert_eq!(mailer.ours.add(LIST, &[member("anna@example.com")]).await, [Listed::Later], "{provider:?}");
        }
        assert_eq!(mailer.lists.calls(), 1, "{provider:?} is asked once, and then it rests");
        let mailer = Mailer::start(provider).await;
        for fault in [ListBreak::Broken, ListBreak::TooMany, ListBreak::AnswerLost] {
            mailer.lists.break_next([fault]);
            assert_eq!(mailer.ours.add(LIST, &[member("anna@example.com")]).await, [Listed::Later], "{provider:?}");
        }
        // listmonk made them before the answer was lost.
        assert_eq!(mailer.ours.add(LIST, &[member("anna@example.com")]).await, [Listed::Done], "{provider:?}");
    }
}

fn site() -> SourceName {
    SourceName::new("site").expect("a name")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).expect("a time")
}

fn says(address: &str, given: bool, second: i64) -> Event {
    let form = FormSubmitted {
        identifiers: BTreeSet::from([Identifier::email(email(address))]),
        proof: Default::default(),
        name: Some("Анна".into()),
        form: None,
        show: None,
        amount: None,
        consents: vec![ConsentClaim { purpose: MARKETING.into(), channel: Channel::Email, given, wording: None }],
        labels: Default::default(),
        company: None,
    };
    let id = EventId::derive(&site(), &["form", address, &second.to_string()]);
    Event::new(&site(), id, at(second), Body::FormSubmitted(form))
}

fn leaves(address: &str, second: i64) -> Event {
    let said = ConsentRecorded::withdrawn(Identifier::email(email(address)), Channel::Email, "unsubscribe");
    let id = EventId::derive(&site(), &["left", address, &second.to_string()]);
    Event::new(&site(), id, at(second), Body::ConsentRecorded(said))
}

/// Everybody who consents is on a list of each of two accounts.
async fn world(first: &Mailer, second: &Mailer) -> World {
    let mut world = World::new().await;
    let text = "reached(email)";
    let rule = segments::parse(text).expect("a rule");
    world.sync.catalog.segments = vec![Segment { name: "all".into(), title: String::new(), text: text.into(), rule }];
    let list = |name: &str, mailer: &str, id: &str| ListRule {
        name: name.into(),
        mailer: mailer.into(),
        id: id.into(),
        segment: "all".into(),
    };
    world.sync.catalog.lists = vec![list("news", "first", LIST), list("premieres", "second", OTHER)];
    let lists: [(&str, Arc<dyn MailingList>); 2] =
        [("first", Arc::clone(&first.ours)), ("second", Arc::clone(&second.ours))];
    world.sync.lists = lists.map(|(name, list)| (name.to_owned(), list)).into();
    world
}

async fn two() -> (Mailer, Mailer) {
    (Mailer::start(MailerProvider::Mailchimp).await, Mailer::start(MailerProvider::Unisender).await)
}

#[tokio::test]
async fn whoever_consents_is_on_the_lists_of_their_segment_and_nobody_else() {
    let (first, second) = two().await;
    let world = world(&first, &second).await;
    world.run(vec![says("anna@example.com", true, 0), says("boris@example.com", false, 0)]).await;
    let anna = BTreeSet::from(["anna@example.com".to_owned()]);
    assert_eq!((first.lists.mailed(LIST), second.lists.mailed(OTHER)), (anna.clone(), anna));
    // Nothing is done twice.
    let calls = first.lists.calls() + second.lists.calls();
    world.run(vec![says("anna@example.com", true, 5)]).await;
    assert_eq!(first.lists.calls() + second.lists.calls(), calls);
}

#[tokio::test]
async fn whoever_leaves_anywhere_is_off_every_list() {
    let (first, second) = two().await;
    let world = world(&first, &second).await;
    world.run(vec![says("anna@example.com", true, 0)]).await;
    world.run(vec![leaves("anna@example.com", 10)]).await;
    assert!(first.lists.mailed(LIST).is_empty() && second.lists.mailed(OTHER).is_empty());
    // An older consent that comes late changes nothing; a newer one of their own does, where the provider lets it.
    world.run(vec![says("anna@example.com", true, 5)]).await;
    assert!(second.lists.mailed(OTHER).is_empty());
}

#[tokio::test]
async fn who_left_at_one_provider_is_learnt_from_it_and_leaves_the_other() {
    let (first, second) = two().await;
    first.lists.leaves(LIST, "anna@example.com");
    let world = world(&first, &second).await;
    world.run(vec![says("anna@example.com", true, 0)]).await;
    assert!(first.lists.mailed(LIST).is_empty());
    assert!(second.lists.mailed(OTHER).is_empty(), "the ledger knows, and every list hears of it");
}

#[tokio::test]
async fn whoever_left_a_list_whose_provider_tells_nobody_is_found_by_asking_and_leaves_everywhere() {
    let (asked, other) =
        (Mailer::start(MailerProvider::Listmonk).await, Mailer::start(MailerProvider::Mailchimp).await);
    let mut world = world(&asked, &other).await;
    let clock = stagedoor_tests::clock::Moved::at(1_800_000_000);
    world.sync.clock = Arc::new(clock.clone());
    world.run(vec![says("anna@example.com", true, 0), says("boris@example.com", true, 1)]).await;
    assert_eq!((asked.lists.mailed(LIST).len(), other.lists.mailed(OTHER).len()), (2, 2));
    assert_eq!(world.sync.ask_lists().await.expect("asked"), 0);
    asked.lists.leaves(LIST, "anna@example.com");
    assert_eq!(world.sync.ask_lists().await.expect("asked"), 0, "a quarter of an hour has not passed");
    clock.on(15 * 60);
    assert_eq!(world.sync.ask_lists().await.expect("asked"), 1);
    world.reconcile().await;
    assert_eq!(other.lists.mailed(OTHER), ["boris@example.com".to_owned()].into());
    clock.on(15 * 60);
    assert_eq!(world.sync.ask_lists().await.expect("asked"), 0, "it is no news any more");
}

#[tokio::test]
async fn whoever_came_back_and_leaves_again_is_heard_again() {
    let (asked, other) =
        (Mailer::start(MailerProvider::Listmonk).await, Mailer::start(MailerProvider::Mailchimp).await);
    let mut world = world(&asked, &other).await;
    let clock = stagedoor_tests::clock::Moved::at(at(0).as_second());
    world.sync.clock = Arc::new(clock.clone());
    let anna = email("anna@example.com");
    world.run(vec![says("anna@example.com", true, 0)]).await;
    clock.on(20);
    asked.lists.leaves(LIST, "anna@example.com");
    assert_eq!(world.sync.ask_lists().await.expect("asked"), 1);
    world.reconcile().await;
    assert!(other.lists.mailed(OTHER).is_empty());
    // The house takes her out of its own list's memory, and she consents anew.
    assert_eq!(asked.ours.remove(LIST, std::slice::from_ref(&anna), Leaving::Segment).await, [Listed::Done]);
    clock.on(3_600);
    world.run(vec![says("anna@example.com", true, 3_600)]).await;
    let open = async |world: &World| {
        let people = world.store.scan_people(None, 10).await.expect("read").0;
        let people = world.store.load(&people).await.expect("read");
        people.iter().flat_map(|one| addresses(&one.value, Channel::Email, &world.sync.catalog.consent)).count()
    };
    assert_eq!((asked.lists.mailed(LIST).len(), open(&world).await), (1, 1));
    asked.lists.leaves(LIST, "anna@example.com");
    clock.on(15 * 60);
    assert_eq!(world.sync.ask_lists().await.expect("asked"), 1);
    assert_eq!(open(&world).await, 0, "nobody writes to her: her second word counts as her first did");
}

#[tokio::test]
async fn an_outage_of_a_list_holds_up_neither_the_crm_nor_the_other_list_and_heals() {
    let (first, second) = two().await;
    let world = world(&first, &second).await;
    first.lists.break_next([ListBreak::Broken, ListBreak::AnswerLost]);
    world.run(vec![says("anna@example.com", true, 0)]).await;
    assert_eq!(world.sandbox.contacts().len(), 1, "the contact is in the CRM");
    assert_eq!(second.lists.mailed(OTHER).len(), 1);
    assert!(first.lists.mailed(LIST).is_empty());
    for _ in 0..2 {
        let due = world.store.due_rechecks(Timestamp::MAX).await.expect("read");
        assert!(!due.is_empty(), "they are looked at again");
        let ids = due.iter().flat_map(|page| page.people.iter().copied()).collect();
        world.store.ack_rechecks(due.into_iter().map(|page| page.key).collect()).await.expect("struck");
        world.store.mark_dirty(ids).await.expect("marked");
        world.reconcile().await;
    }
    assert_eq!(first.lists.mailed(LIST).len(), 1);
}

#[tokio::test]
async fn nobody_waits_for_their_lists_behind_thousands_who_wait_for_the_crm() {
    let (first, second) = two().await;
    let world = world(&first, &second).await;
    let calls = "GET /api/v4".to_owned();
    world.sandbox.set_fault(Fault { kind: FaultKind::Broken, calls, after: 0, times: 1_000_000, milliseconds: 0 });
    let everybody: Vec<Event> = (0..2_300).map(|n| says(&format!("fan{n}@example.com"), true, n)).collect();
    assert!(world.sync.handle(everybody).await.is_empty());
    let last = "fan2299@example.com";
    for _ in 0..2 {
        let round = world.sync.reconcile(FlushMode::Everything).await.expect("a round");
        assert!(round.unavailable.is_some(), "the CRM is down");
    }
    assert!(first.lists.mailed(LIST).contains(last) && first.lists.mailed(LIST).len() == 2_300);
    assert!(world.sync.handle(vec![leaves(last, 5_000)]).await.is_empty());
    world.sync.reconcile(FlushMode::Everything).await.expect("a round");
    assert!(!first.lists.mailed(LIST).contains(last), "they withdrew, whatever becomes of the CRM");
}

#[tokio::test]
async fn whoever_withdraws_while_an_answer_is_lost_is_taken_off_though_nobody_knew_that_they_were_on() {
    let (first, second) = two().await;
    let world = world(&first, &second).await;
    first.lists.break_next([ListBreak::AnswerLost]);
    world.run(vec![says("anna@example.com", true, 0)]).await;
    assert_eq!(first.lists.mailed(LIST).len(), 1, "it took effect");
    world.run(vec![leaves("anna@example.com", 10)]).await;
    assert!(first.lists.mailed(LIST).is_empty());
}

#[tokio::test]
async fn who_leaves_the_segment_leaves_the_list_and_may_come_back() {
    let (first, second) = two().await;
    let mut world = world(&first, &second).await;
    world.run(vec![says("anna@example.com", true, 0)]).await;
    let set = |world: &mut World, text: &str| {
        let rule = segments::parse(text).expect("a rule");
        world.sync.catalog.segments =
            vec![Segment { name: "all".into(), title: String::new(), text: text.into(), rule }];
    };
    for (text, on) in [("orders >= 1", 0), ("orders < 1", 1)] {
        set(&mut world, text);
        world.sync.wake().await.expect("woken");
        world.reconcile().await;
        assert_eq!((first.lists.mailed(LIST).len(), second.lists.mailed(OTHER).len()), (on, on), "{text}");
    }
}

#[tokio::test]
async fn a_month_of_withdrawals_faults_and_kills_leaves_nobody_on_a_list_without_a_consent() {
    for seed in 1..=3 {
        let month = stagedoor_tests::month::live(seed * 7_919, 400).await;
        assert!(month.violations.is_empty(), "seed {seed}: {:?}", month.violations);
        assert_eq!(month.missing, 0, "seed {seed}: whoever consents is enrolled: {month:?}");
        assert!(month.consents > 200 && month.withdrawals > 100 && month.faults > 30 && month.kills > 30, "{month:?}");
        assert!(month.enrolled > 100, "{month:?}");
    }
}

/// A list that takes people, while one of them withdraws.
struct Interrupted {
    inner: Arc<dyn MailingList>,
    hub: stagedoor_sync::Sync,
    meanwhile: Event,
    /// Whose additions count from then on.
    other: stagedoor_sandbox::Lists,
}

#[async_trait::async_trait]
impl MailingList for Interrupted {
    fn batch(&self) -> usize {
        self.inner.batch()
    }
    async fn add(&self, list: &str, members: &[Member]) -> Vec<Listed> {
        let told = self.inner.add(list, members).await;
        assert!(self.hub.handle(vec![self.meanwhile.clone()]).await.is_empty());
        self.other.forbid("anna@example.com", true);
        told
    }
    async fn remove(&self, list: &str, emails: &[Email], why: Leaving) -> Vec<Listed> {
        self.inner.remove(list, emails, why).await
    }
    fn calls(&self) -> u64 {
        self.inner.calls()
    }
}

#[tokio::test]
async fn whoever_withdraws_in_the_middle_of_a_round_is_added_to_no_further_list() {
    let (first, second) = two().await;
    let mut world = world(&first, &second).await;
    let meanwhile = leaves("anna@example.com", 10);
    let inner = Arc::clone(&first.ours);
    let interrupted = Interrupted { inner, hub: world.sync.clone(), meanwhile, other: second.lists.clone() };
    world.sync.lists.insert("first".into(), Arc::new(interrupted));
    world.run(vec![says("anna@example.com", true, 0)]).await;
    assert!(second.lists.violations().is_empty(), "they were asked once more before the call");
    assert!(first.lists.mailed(LIST).is_empty(), "and taken off the list that had them");
}

#[tokio::test]
async fn whoever_is_erased_is_off_every_list_and_is_not_forgotten_before() {
    let (first, second) = two().await;
    let world = world(&first, &second).await;
    world.run(vec![says("anna@example.com", true, 0)]).await;
    let anna = Identifier::email(email("anna@example.com"));
    first.lists.break_next([ListBreak::Broken]);
    assert!(world.sync.erase(&anna).await.is_err());
    assert_eq!(first.lists.mailed(LIST).len(), 1);
    assert_eq!(world.store.totals().await.expect("totals").people, 1, "who could not be taken off is still known");
    let erased = world.sync.erase(&anna).await.expect("erased");
    assert_eq!(erased.lists.into_iter().collect::<Vec<_>>(), ["news", "premieres"]);
    assert!(first.lists.mailed(LIST).is_empty() && second.lists.mailed(OTHER).is_empty());
    // What comes in about them later puts them on no list.
    world.run(vec![says("anna@example.com", true, 50)]).await;
    assert!(first.lists.mailed(LIST).is_empty() && second.lists.mailed(OTHER).is_empty());
}

#[tokio::test]
async fn killed_at_any_step_what_a_provider_told_of_somebody_who_left_reaches_the_ledger() {
    for steps in 1.. {
        let (first, second) = two().await;
        first.lists.leaves(LIST, "anna@example.com");
        let world = world(&first, &second).await;
        assert!(world.sync.handle(vec![says("anna@example.com", true, 0)]).await.is_empty());
        let life = Life::of(steps);
        let mut mortal = world.sync.clone();
        mortal.store = Arc::new(Mortal { inner: Arc::clone(&world.store), life: life.clone() });
        _ = mortal.reconcile(FlushMode::Everything).await;
        // The process is gone; the next one goes on.
        world.reconcile().await;
        assert!(second.lists.mailed(OTHER).is_empty(), "killed at step {steps}");
        if !life.is_over() {
            assert!(steps > 12, "there are steps to be killed at");
            break;
        }
    }
}

#[tokio::test]
async fn what_a_round_that_lost_its_lease_left_undone_is_looked_at_again() {
    let (first, second) = two().await;
    let mut world = world(&first, &second).await;
    assert!(world.sync.handle(vec![says("anna@example.com", true, 0)]).await.is_empty());
    let inner = Arc::clone(&first.ours);
    world.sync.lists.insert("first".into(), Arc::new(Thief { inner, hub: world.sync.clone() }));
    world.sync.reconcile(FlushMode::Everything).await.expect("a round");
    assert!(second.lists.mailed(OTHER).is_empty(), "the lease was gone before the second list");
    let due = world.store.due_rechecks(Timestamp::MAX).await.expect("read");
    assert!(!due.is_empty(), "and they are not forgotten");
}

/// A list that never answers.
struct Silent(std::sync::atomic::AtomicUsize);

#[async_trait::async_trait]
impl MailingList for Silent {
    fn batch(&self) -> usize {
        500
    }
    async fn add(&self, _: &str, _: &[Member]) -> Vec<Listed> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::pending().await
    }
    async fn remove(&self, _: &str, _: &[Email], _: Leaving) -> Vec<Listed> {
        std::future::pending().await
    }
    fn calls(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed) as u64
    }
}

#[tokio::test]
async fn a_list_that_never_answers_holds_up_neither_the_crm_nor_the_other_list() {
    let (first, second) = two().await;
    let mut world = world(&first, &second).await;
    let silent = Arc::new(Silent(Default::default()));
    world.sync.lists.insert("first".into(), silent.clone());
    let began = std::time::Instant::now();
    let round = async |n: i64, address: &str| {
        assert!(world.sync.handle(vec![says(address, true, n)]).await.is_empty());
        let round = tokio::time::timeout(Duration::from_secs(20), world.sync.reconcile(FlushMode::Everything)).await;
        round.expect("the round goes on").expect("a round")
    };
    assert_eq!(round(0, "anna@example.com").await.left, 0);
    assert_eq!(round(1, "boris@example.com").await.left, 0);
    assert_eq!(world.sandbox.contacts().len(), 2);
    assert_eq!(second.lists.mailed(OTHER).len(), 2);
    assert_eq!(silent.calls(), 1, "it is left alone for a while");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    let reasons = stagedoor_sync::waiting_reasons(world.store.as_ref()).await.expect("read");
    assert!(reasons.iter().any(|one| one.reason.contains("mailing list first does not answer")), "{reasons:?}");
    let due = world.store.due_rechecks(Timestamp::MAX).await.expect("read");
    assert!(!due.is_empty(), "and whom it did not take is not forgotten");
}

/// A list that takes so long that another process takes the lease.
struct Thief {
    inner: Arc<dyn MailingList>,
    hub: stagedoor_sync::Sync,
}

#[async_trait::async_trait]
impl MailingList for Thief {
    fn batch(&self) -> usize {
        self.inner.batch()
    }
    async fn add(&self, list: &str, members: &[Member]) -> Vec<Listed> {
        let told = self.inner.add(list, members).await;
        self.hub.store.release("reconciler", "test").await.expect("released");
        let now = self.hub.clock.now();
        let until = now + jiff::SignedDuration::from_secs(600);
        assert!(self.hub.store.lease("reconciler", "another", now, until).await.expect("taken"));
        told
    }
    async fn remove(&self, list: &str, emails: &[Email], why: Leaving) -> Vec<Listed> {
        self.inner.remove(list, emails, why).await
    }
    fn calls(&self) -> u64 {
        self.inner.calls()
    }
}
