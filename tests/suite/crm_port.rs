//! The promises of the port `Crm`, held by every CRM that the hub knows. What is promised of a whole round is held here, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use stagedoor_engine::{CompanyDraft, ContactDraft, DealDraft, PersonId, ShowKey, Stage};
use stagedoor_model::{Body, Event, RecordKey, Rung, Timestamp};
use stagedoor_ports::{Crm, CrmLookup, CrmRows, Store, WriteOutcome, Writes};
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_sync::{FlushMode, Sync};
use stagedoor_tests::{
    account::{Account, Which},
    crash::{Life, Mortal},
    world::{PIPELINE, catalog},
};

use crate::crashes::{batches, form, order};

/// Each promise as a test of its own for each CRM.
#[macro_export]
macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod amocrm { $(#[tokio::test] async fn $name() { super::$name(super::Which::Amo).await; })* }
        mod vtiger { $(#[tokio::test] async fn $name() { super::$name(super::Which::Vtiger).await; })* }
    };
}

promises!(
    what_is_made_is_found_by_the_hubs_own_id,
    a_row_without_its_stage_waits_alone_with_the_reason,
    while_it_is_down_nothing_is_made_and_afterwards_all_is,
    an_answer_that_is_lost_makes_no_double,
    a_duplicates_deals_go_to_the_elder_and_twice_is_once,
    notes_and_tasks_are_found_by_their_words,
    every_contact_is_told_once_for_the_mirror,
    a_company_is_made_once_whoever_asks,
    killed_at_any_step_it_ends_as_if_nothing_had_been,
    four_at_once_make_no_double,
);

pub fn contact(name: &str, phone: &str) -> ContactDraft {
    ContactDraft {
        person: PersonId::of(&RecordKey(name.to_owned())),
        name: Some(name.to_owned()),
        phones: vec![phone.to_owned()],
        emails: vec![],
        telegram: None,
        tags: vec![],
        untagged: vec![],
        chats: None,
        marketing: None,
        company: None,
        other_ids: BTreeSet::new(),
    }
}

pub fn deal(of: &ContactDraft, show: &str, stage: Option<Stage>) -> DealDraft {
    let named = |stage: Stage| (stage, catalog().pipelines[0].stages.get(stage).expect("named").clone());
    DealDraft {
        person: of.person,
        show: ShowKey(show.to_owned()),
        name: show.to_owned(),
        pipeline: PIPELINE.to_owned(),
        stage: Some(stage.map_or((Stage::Ladder(Rung::Paid), "no such stage".to_owned()), named)),
        price: Some(5_400),
        fraction: 50,
        city: Some("Уфа".to_owned()),
        starts_at: None,
        show_cancelled: false,
        show_resumed: false,
        show_postponed: false,
        orders: "1".to_owned(),
        promo_codes: String::new(),
        tickets: 2,
        refunded: 0,
        utm: BTreeMap::new(),
        campaign: None,
        company: None,
        payment: None,
        other_sums: String::new(),
        clears: false,
        language: Default::default(),
        other_ids: BTreeSet::new(),
        guard: None,
        stage_at: None,
        weighed: None,
        paid_orders: Default::default(),
    }
}

pub fn done(rows: Vec<WriteOutcome>) -> Vec<u64> {
    let id = |row| if let WriteOutcome::Done(id) = row { id } else { panic!("not done: {row:?}") };
    rows.into_iter().map(id).collect()
}

const LONG_AGO: Timestamp = Timestamp::UNIX_EPOCH;

async fn what_is_made_is_found_by_the_hubs_own_id(which: Which) {
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let drafts = [contact("Анна O'Нил", "+79161110001"), contact("Гаев", "+79161110002")];
    let contacts = done(account.crm.apply(Writes::CreateContacts(&drafts)).await);
    let rows = [(contacts[0], deal(&drafts[0], "cherry", Some(Stage::Ladder(Rung::Paid))))];
    let deals = done(account.crm.apply(Writes::CreateDeals(&rows)).await);
    let people: BTreeSet<PersonId> = drafts.iter().map(|draft| draft.person).collect();
    let found = account
        .crm
        .find(CrmLookup::Contacts { people: &people, since: LONG_AGO })
        .await
        .map(|found| found.contacts)
        .expect("found");
    let only = |id: u64| BTreeSet::from([id]);
    assert_eq!(found, BTreeMap::from([(drafts[0].person, only(contacts[0])), (drafts[1].person, only(contacts[1]))]));
    let key = (drafts[0].person, ShowKey("cherry".into()));
    let wanted = BTreeSet::from([key.clone(), (drafts[1].person, ShowKey("cherry".into()))]);
    let found = account
        .crm
        .find(CrmLookup::Deals { deals: &wanted, since: LONG_AGO })
        .await
        .map(|found| found.deals)
        .expect("found");
    assert_eq!(found, BTreeMap::from([(key, only(deals[0]))]));
}

async fn a_row_without_its_stage_waits_alone_with_the_reason(which: Which) {
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let draft = contact("Анна", "+79161110001");
    let id = done(account.crm.apply(Writes::CreateContacts(std::slice::from_ref(&draft))).await)[0];
    let rows = [
        (id, deal(&draft, "one", Some(Stage::Ladder(Rung::Paid)))),
        (id, deal(&draft, "two", None)),
        (id, deal(&draft, "three", Some(Stage::Ladder(Rung::Cart)))),
    ];
    let answers = account.crm.apply(Writes::CreateDeals(&rows)).await;
    assert!(matches!((&answers[0], &answers[2]), (WriteOutcome::Done(_), WriteOutcome::Done(_))), "{answers:?}");
    let WriteOutcome::Held(reason) = &answers[1] else { panic!("{:?}", answers[1]) };
    assert!(reason.contains("no such stage"), "{reason}");
    assert_eq!(account.counts(), (1, 2));
}

async fn while_it_is_down_nothing_is_made_and_afterwards_all_is(which: Which) {
    let account = Account::of(which).await;
    account.set_down(true);
    assert!(account.sync.handle(batches().concat()).await.is_empty(), "events are folded all the same");
    for _ in 0..3 {
        let round = account.sync.reconcile(FlushMode::Everything).await.expect("a round");
        assert!(round.unavailable.is_some());
    }
    assert_eq!(account.counts(), (0, 0));
    account.set_down(false);
    account.reconcile().await;
    let calm = Account::of(which).await;
    assert!(calm.sync.handle(batches().concat()).await.is_empty());
    calm.reconcile().await;
    assert_eq!(account.picture(), calm.picture());
    assert_eq!(account.store.totals().await.expect("totals").rejected, 0);
}

async fn an_answer_that_is_lost_makes_no_double(which: Which) {
    let account = Account::of(which).await;
    for deals in [false, true, false, true] {
        account.lose_answer(deals);
    }
    for batch in batches() {
        assert!(account.sync.handle(batch).await.is_empty());
        account.reconcile().await;
    }
    let calm = Account::of(which).await;
    for batch in batches() {
        assert!(calm.sync.handle(batch).await.is_empty());
        calm.reconcile().await;
    }
    assert_eq!(account.picture(), calm.picture());
}

async fn a_duplicates_deals_go_to_the_elder_and_twice_is_once(which: Which) {
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let drafts = [contact("Анна", "+79161110001"), contact("Анна вторая", "+79161110002")];
    let contacts = done(account.crm.apply(Writes::CreateContacts(&drafts)).await);
    let deals = done(
        account
            .crm
            .apply(Writes::CreateDeals(&[(contacts[1], deal(&drafts[1], "cherry", Some(Stage::Ladder(Rung::Paid))))]))
            .await,
    );
    for _ in 0..2 {
        assert_eq!(done(account.crm.apply(Writes::MarkDuplicates(&[(contacts[1], contacts[0])])).await), [contacts[1]]);
        assert_eq!(account.owner_of(deals[0]), Some(contacts[0]));
    }
    assert_eq!(account.counts(), (2, 1));
}

async fn notes_and_tasks_are_found_by_their_words(which: Which) {
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let contacts = done(account.crm.apply(Writes::CreateContacts(&[contact("Анна", "+79161110001")])).await);
    let text = (account.crm.info().stored_text)("20.11 10:00 ▸ а можно 🎟 <b>два</b>?\nвторая 'строка'");
    done(account.crm.apply(Writes::AddNotes(&[(contacts[0], text.clone())])).await);
    let until = Timestamp::from_second(1_900_000_000).expect("a time");
    done(account.crm.apply(Writes::AddTasks(&[(contacts[0], text.clone(), until)])).await);
    let ids = BTreeSet::from([contacts[0]]);
    assert_eq!(
        account
            .crm
            .find(CrmLookup::Notes { contacts: &ids, since: LONG_AGO })
            .await
            .map(|found| found.texts)
            .expect("found"),
        [(contacts[0], text.clone())]
    );
    assert_eq!(
        account
            .crm
            .find(CrmLookup::Tasks { contacts: &ids, since: LONG_AGO })
            .await
            .map(|found| found.texts)
            .expect("found"),
        [(contacts[0], text)]
    );
}

async fn every_contact_is_told_once_for_the_mirror(which: Which) {
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let drafts: Vec<ContactDraft> =
        (0..260).map(|n| contact(&format!("Fan {n}"), &format!("+7916111{n:04}"))).collect();
    let made: BTreeSet<u64> = done(account.crm.apply(Writes::CreateContacts(&drafts)).await).into_iter().collect();
    let (mut told, mut page) = (Vec::new(), Some(1));
    while let Some(number) = page {
        let answer = account.crm.page(CrmRows::Contacts, number).await.expect("a page");
        told.extend(answer.bodies.into_iter().filter_map(|(_, body)| match body {
            Body::ContactChanged(change) if change.identifiers.len() == 1 => Some(change.contact),
            _ => None,
        }));
        page = answer.next;
    }
    assert_eq!(told.len(), 260);
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), made);
}

async fn a_company_is_made_once_whoever_asks(which: Which) {
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let company = |name: &str| CompanyDraft {
        key: "inn:7707083893".into(),
        name: name.into(),
        inn: Some("7707083893".into()),
        kpp: None,
        unchecked: None,
        domains: BTreeSet::from(["sad.example".to_owned()]),
    };
    let first = done(account.crm.apply(Writes::PutCompanies(&[(None, company("ООО «Сад»"))], None)).await);
    // Somebody else, who never heard of it, and after a lost answer, too.
    let second = done(account.crm.apply(Writes::PutCompanies(&[(None, company("Сад, ООО"))], Some(LONG_AGO))).await);
    assert_eq!((first, account.companies()), (second, 1));
}

async fn killed_at_any_step_it_ends_as_if_nothing_had_been(which: Which) {
    let work = async |account: &Account, store: Arc<dyn Store>, crm: Arc<dyn Crm>| {
        let sync = Sync { store, crm, ..account.sync.clone() };
        for batch in batches() {
            sync.handle(batch).await;
            for _ in 0..4 {
                _ = sync.reconcile(FlushMode::Everything).await;
            }
        }
    };
    let calm = Account::of(which).await;
    work(&calm, Arc::clone(&calm.store), Arc::clone(&calm.crm)).await;
    let expected = calm.picture();
    let mut steps = 1;
    loop {
        let account = Account::of(which).await;
        let life = Life::of(steps);
        let store = Arc::new(Mortal { inner: Arc::clone(&account.store), life: life.clone() });
        let crm = Arc::new(Mortal { inner: Arc::clone(&account.crm), life: life.clone() });
        work(&account, store, crm).await;
        let died = life.is_over();
        // The next process: the queue gives the batches again, for they were never acknowledged.
        work(&account, Arc::clone(&account.store), Arc::clone(&account.crm)).await;
        account.reconcile().await;
        assert_eq!(account.picture(), expected, "killed at step {steps}");
        if !died {
            break;
        }
        // Another suite goes through every step of the one; here both go through every third.
        steps += 3;
    }
    assert!(steps > 60, "only {steps} steps: the test does not reach what it should");
}

async fn four_at_once_make_no_double(which: Which) {
    let account = Account::of(which).await;
    let events: Vec<Event> = (0..60)
        .flat_map(|n| {
            let (phone, mail) = (format!("phone:+7916123{n:04}"), format!("email:fan{n}@example.com"));
            [form(n, &[phone.as_str()]), order(n + 100, &[phone.as_str(), mail.as_str()])]
        })
        .collect();
    for (n, kind) in
        [FaultKind::AnswerLost, FaultKind::Broken, FaultKind::Cut, FaultKind::AnswerLost].into_iter().enumerate()
    {
        for call in ["create Contacts", "create Potentials", "POST /api/v4/contacts", "POST /api/v4/leads"] {
            account.fault(Fault { kind, calls: call.into(), after: 2 + 3 * n as u32, times: 1, milliseconds: 0 });
        }
    }
    let mut hands = tokio::task::JoinSet::new();
    for (n, share) in events.chunks(events.len() / 4).enumerate() {
        let (sync, share) = (account.another(&format!("process-{n}")), share.to_vec());
        hands.spawn(async move {
            assert!(sync.handle(share).await.is_empty());
            for _ in 0..12 {
                _ = sync.reconcile(FlushMode::Everything).await;
                tokio::time::sleep(std::time::Duration::from_millis(15)).await;
            }
        });
    }
    while let Some(done) = hands.join_next().await {
        done.expect("a process that ended well");
    }
    // The last lease runs out by itself.
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    account.reconcile().await;
    let (contacts, deals) = account.counts();
    assert_eq!((contacts, account.store.totals().await.expect("totals").people), (60, 60));
    assert_eq!(deals as u64, account.store.totals().await.expect("totals").deals);
}
