//! An account in trouble: rows that a manager deleted, and pages where the API was. Each concerns what it concerns.

use stagedoor_engine::{CompanyDraft, CompanyRef, ContactDraft, DealDraft, Stage};
use stagedoor_model::Rung;
use stagedoor_ports::{Gone, WriteOutcome, Writes};
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_tests::account::{Account, Which};

use crate::crm_port::{contact, deal, done};

crate::promises!(
    a_company_that_is_gone_concerns_its_own_rows,
    a_contact_that_is_gone_concerns_its_own_rows,
    a_page_where_the_api_was_refuses_no_row,
);

fn of_company(id: u64) -> Option<CompanyRef> {
    Some(CompanyRef { key: "inn:7707083893".into(), id: Some(id) })
}

async fn company(account: &Account) -> u64 {
    let draft = CompanyDraft {
        key: "inn:7707083893".into(),
        name: "Сад".into(),
        inn: Some("7707083893".into()),
        kpp: None,
        unchecked: None,
        domains: Default::default(),
    };
    done(account.crm.apply(Writes::PutCompanies(&[(None, draft)], None)).await)[0]
}

async fn a_company_that_is_gone_concerns_its_own_rows(which: Which) {
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let company = company(&account).await;
    let drafts: Vec<ContactDraft> =
        (0..5).map(|n| contact(&format!("Гость {n}"), &format!("+7916111000{n}"))).collect();
    let ids = done(account.crm.apply(Writes::CreateContacts(&drafts)).await);
    let deals: Vec<(u64, DealDraft)> = drafts
        .iter()
        .zip(&ids)
        .map(|(draft, id)| (*id, deal(draft, "cherry", Some(Stage::Ladder(Rung::Cart)))))
        .collect();
    let leads = done(account.crm.apply(Writes::CreateDeals(&deals)).await);
    account.delete(Gone::Company(company));
    let gone = WriteOutcome::Gone(Gone::Company(company));
    // The third row is the company's.
    let of = |n: usize| of_company(company).filter(|_| n == 2);
    let updates: Vec<(u64, ContactDraft)> = (0..5)
        .map(|n| (ids[n], ContactDraft { telegram: Some("7".into()), company: of(n), ..drafts[n].clone() }))
        .collect();
    let expected: Vec<WriteOutcome> =
        (0..5).map(|n| if n == 2 { gone.clone() } else { WriteOutcome::Done(ids[n]) }).collect();
    assert_eq!(account.crm.apply(Writes::UpdateContacts(&updates)).await, expected);
    let updates: Vec<(u64, DealDraft)> =
        (0..5).map(|n| (leads[n], DealDraft { price: Some(7), company: of(n), ..deals[n].1.clone() })).collect();
    let expected: Vec<WriteOutcome> =
        (0..5).map(|n| if n == 2 { gone.clone() } else { WriteOutcome::Done(leads[n]) }).collect();
    assert_eq!(account.crm.apply(Writes::UpdateDeals(&updates)).await, expected);
    let creates: Vec<(u64, DealDraft)> = (0..5)
        .map(|n| (ids[n], DealDraft { company: of(n), ..deal(&drafts[n], "seagull", Some(Stage::Ladder(Rung::Cart))) }))
        .collect();
    let answers = account.crm.apply(Writes::CreateDeals(&creates)).await;
    let made = answers.iter().filter(|row| matches!(row, WriteOutcome::Done(_))).count();
    assert_eq!((made, &answers[2]), (4, &gone), "{answers:?}");
}

async fn a_contact_that_is_gone_concerns_its_own_rows(which: Which) {
    let account = Account::of(which).await;
    account.crm.set_up().await.expect("set up");
    let drafts: Vec<ContactDraft> =
        (0..3).map(|n| contact(&format!("Гость {n}"), &format!("+7916111000{n}"))).collect();
    let ids = done(account.crm.apply(Writes::CreateContacts(&drafts)).await);
    account.delete(Gone::Contact(ids[1]));
    let gone = WriteOutcome::Gone(Gone::Contact(ids[1]));
    let changed = |n: usize| ContactDraft { telegram: Some("7".into()), ..drafts[n].clone() };
    let updates: Vec<(u64, ContactDraft)> = (0..3).map(|n| (ids[n], changed(n))).collect();
    let expected = vec![WriteOutcome::Done(ids[0]), gone.clone(), WriteOutcome::Done(ids[2])];
    assert_eq!(account.crm.apply(Writes::UpdateContacts(&updates)).await, expected);
    let creates: Vec<(u64, DealDraft)> =
        (0..3).map(|n| (ids[n], deal(&drafts[n], "cherry", Some(Stage::Ladder(Rung::Cart))))).collect();
    let answers = account.crm.apply(Writes::CreateDeals(&creates)).await;
    let made = answers.iter().filter(|row| matches!(row, WriteOutcome::Done(_))).count();
    assert_eq!((made, &answers[1]), (2, &gone), "{answers:?}");
    let notes: Vec<(u64, String)> = ids.iter().map(|id| (*id, "Спросил о детях".to_owned())).collect();
    let answers = account.crm.apply(Writes::AddNotes(&notes)).await;
    assert!(matches!((&answers[0], &answers[2]), (WriteOutcome::Done(_), WriteOutcome::Done(_))), "{answers:?}");
    assert_eq!(answers[1], gone);
    // The first is a duplicate of one that is gone, the third of the first.
    let answers = account.crm.apply(Writes::MarkDuplicates(&[(ids[0], ids[1]), (ids[2], ids[0])])).await;
    assert_eq!(answers, [gone, WriteOutcome::Done(ids[2])]);
}

async fn a_page_where_the_api_was_refuses_no_row(which: Which) {
    for kind in [FaultKind::Moved, FaultKind::NotFoundPage, FaultKind::NotAllowedPage, FaultKind::Page] {
        let account = Account::of(which).await;
        account.crm.set_up().await.expect("set up");
        let drafts: Vec<ContactDraft> =
            (0..8).map(|n| contact(&format!("Гость {n}"), &format!("+7916111000{n}"))).collect();
        for call in ["POST /api/v4/contacts", "create"] {
            account.fault(Fault::always(kind, call));
        }
        let before = account.crm.health().calls;
        let answers = account.crm.apply(Writes::CreateContacts(&drafts)).await;
        // A page with 200 leaves open whether something was done.
        let expected =
            if kind == FaultKind::Page && which == Which::Amo { WriteOutcome::Unknown } else { WriteOutcome::NotSent };
        assert_eq!(answers, vec![expected; 8], "{kind:?}");
        let calls = account.crm.health().calls - before;
        // Vtiger takes row by row, through sessions that log in first.
        let most = if which == Which::Amo { 2 } else { 2 * 4 + drafts.len() as u64 };
        assert!(calls <= most, "{kind:?}: {calls} calls into an account in trouble");
        account.clear_faults();
        done(account.crm.apply(Writes::CreateContacts(&drafts)).await);
        assert_eq!(account.counts().0, 8);
    }
}
