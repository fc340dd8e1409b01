//! Rows of an erased person whose creating call never had an answer are named and deleted like the others, in either CRM.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use stagedoor_model::Event;
use stagedoor_ports::Clock;
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_sync::{FlushMode, InCrm};
use stagedoor_tests::{
    account::{Account, Which},
    world::Ahead,
};

use crate::crashes::order;

const LATE: Duration = Duration::from_millis(300);

fn calls(which: Which) -> [&'static str; 2] {
    match which {
        Which::Amo => ["POST /api/v4/contacts", "POST /api/v4/leads"],
        Which::Vtiger => ["create Contacts", "create Potentials"],
    }
}

fn named(crm: &InCrm) -> usize {
    crm.contacts.len() + crm.deals.len() + crm.deleted.len()
}

/// A hub whose only buyer's call got no answer and has not taken effect yet.
async fn with_late(which: Which, call: &str) -> (Account, Arc<Ahead>) {
    let mut account = Account::where_calls_are_late(which, SignedDuration::from_secs(150)).await;
    let ahead = Arc::new(Ahead::default());
    account.sync.clock = Arc::clone(&ahead) as Arc<dyn Clock>;
    account.fault(Fault::late(FaultKind::LateAfterTimeout, call, LATE));
    let buyer: Event = order(1, &["email:fan1@example.com"]);
    assert!(account.sync.handle(vec![buyer]).await.is_empty());
    account.sync.reconcile(FlushMode::Everything).await.expect("a round");
    (account, ahead)
}

async fn nothing_outlives(which: Which) {
    let who = "email:fan1@example.com".parse().expect("an identifier");
    for (call, rows) in calls(which).into_iter().zip([1, 2]) {
        let (account, _) = with_late(which, call).await;
        let refused = account.sync.erase(&who).await.expect_err("the call may still take effect").to_string();
        assert!(refused.contains("may take effect until"), "{which:?} {call}: {refused}");
        tokio::time::sleep(LATE * 2).await;
        let erased = account.sync.erase(&who).await.expect("erased");
        assert_eq!(named(&erased.first), rows, "{which:?} {call}: {:?}", erased.first);
    }
}

async fn what_never_took_effect_waits_for_nobody(which: Which) {
    let who = "email:fan1@example.com".parse().expect("an identifier");
    let [contacts, _] = calls(which);
    let mut account = Account::where_calls_are_late(which, SignedDuration::from_secs(150)).await;
    let ahead = Arc::new(Ahead::default());
    account.sync.clock = Arc::clone(&ahead) as Arc<dyn Clock>;
    account.fault(Fault::always(FaultKind::Broken, contacts));
    assert!(account.sync.handle(vec![order(1, &["email:fan1@example.com"])]).await.is_empty());
    account.sync.reconcile(FlushMode::Everything).await.expect("a round");
    ahead.pass(200);
    let erased = account.sync.erase(&who).await.expect("erased");
    assert_eq!((erased.people, named(&erased.first)), (1, 0), "{which:?}");
}

#[tokio::test]
async fn a_row_of_an_erased_person_that_no_answer_told_of_outlives_nobody_in_amocrm() {
    nothing_outlives(Which::Amo).await;
}

#[tokio::test]
async fn a_row_of_an_erased_person_that_no_answer_told_of_outlives_nobody_in_vtiger() {
    nothing_outlives(Which::Vtiger).await;
}

/// Two buyers, of whom the second's call may still take effect, turn out to be one.
async fn a_joined_row_answers_no_other_call(which: Which) {
    let [contacts, _] = calls(which);
    let mut account = Account::where_calls_are_late(which, SignedDuration::from_secs(150)).await;
    let ahead = Arc::new(Ahead::default());
    account.sync.clock = Arc::clone(&ahead) as Arc<dyn Clock>;
    assert!(account.sync.handle(vec![order(1, &["email:fan1@example.com"])]).await.is_empty());
    account.sync.reconcile(FlushMode::Everything).await.expect("a round");
    account.fault(Fault::late(FaultKind::LateAfterTimeout, contacts, LATE));
    assert!(account.sync.handle(vec![order(2, &["email:fan2@example.com"])]).await.is_empty());
    account.sync.reconcile(FlushMode::Everything).await.expect("a round");
    let both = order(3, &["email:fan1@example.com", "email:fan2@example.com"]);
    assert!(account.sync.handle(vec![both]).await.is_empty());
    let who = "email:fan2@example.com".parse().expect("an identifier");
    let refused = account.sync.erase(&who).await.expect_err("the second call may still take effect").to_string();
    assert!(refused.contains("may take effect until"), "{which:?}: {refused}");
    tokio::time::sleep(LATE * 2).await;
    ahead.pass(200);
    let erased = account.sync.erase(&who).await.expect("erased");
    let contacts = account.counts().0;
    assert_eq!(
        contacts + erased.first.deleted.len().min(2),
        2,
        "{which:?}: each is named or deleted {:?}",
        erased.first
    );
}

#[tokio::test]
async fn a_row_of_somebody_who_was_joined_answers_no_other_call() {
    for which in [Which::Amo, Which::Vtiger] {
        a_joined_row_answers_no_other_call(which).await;
    }
}

#[tokio::test]
async fn a_call_that_can_have_no_effect_any_more_holds_up_no_erasure() {
    for which in [Which::Amo, Which::Vtiger] {
        what_never_took_effect_waits_for_nobody(which).await;
    }
}
