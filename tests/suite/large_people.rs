//! Somebody who outgrows one stored document: they wait with a reason, and nobody waits with them.

use std::collections::BTreeSet;

use stagedoor_engine::CrmState;
use stagedoor_model::{Body, Event, EventId, Identifier};
use stagedoor_sync::waiting_reasons;
use stagedoor_tests::{
    account::{Account, Which},
    theatre::orders,
};

/// An order of the first buyer whose number takes two megabytes.
fn huge(n: usize) -> Event {
    let mut event = orders(n + 1).pop().expect("an order");
    let names = BTreeSet::from(["phone:+79161000000".parse::<Identifier>().expect("a phone")]);
    let Body::OrderPaid(body) = &mut event.body else { unreachable!("they are paid") };
    (body.identifiers, body.order.number) = (names, Some(format!("{n}{}", "x".repeat(2 << 20))));
    event.id = EventId::derive(&event.source, &["huge", &n.to_string()]);
    event
}

#[tokio::test]
async fn who_outgrows_one_document_is_left_as_they_are_and_their_batch_goes_on() {
    let account = Account::of(Which::Amo).await;
    for n in 0..7 {
        assert_eq!(account.sync.handle(vec![huge(n)]).await, BTreeSet::new());
    }
    assert_eq!(waiting_reasons(account.store.as_ref()).await.expect("reasons"), vec![]);
    let before = account.store.totals().await.expect("totals").people;
    let batch = vec![huge(7), huge(8), orders(100).pop().expect("somebody else")];
    let ids: Vec<EventId> = batch.iter().map(|event| event.id.clone()).collect();
    assert_eq!(account.sync.handle(batch).await, BTreeSet::new(), "nothing is handed out again");
    assert_eq!(account.store.journaled(&ids).await.expect("a store").len(), 3);
    assert_eq!(account.store.totals().await.expect("totals").people, before + 1);
    let row = account.store.event(&ids[1]).await.expect("a store").expect("a row");
    assert!(row.note.is_some_and(|note| note.contains("outgrew one stored document")));
    let reasons = waiting_reasons(account.store.as_ref()).await.expect("reasons");
    let large = reasons.iter().find(|one| one.reason.contains("outgrew one stored document")).expect("a reason");
    assert!(large.who_acts.contains("`[identity] blocked`") && large.people == 1, "{large:?}");
    assert!(large.reason_ru.contains("документ") && large.who_acts_ru.starts_with("оператор"), "{large:?}");
}

#[tokio::test]
async fn whose_link_outgrows_one_document_is_left_out_of_the_round_and_others_are_written() {
    let account = Account::of(Which::Amo).await;
    account.crm.set_up().await.expect("set up");
    assert_eq!(account.sync.handle(orders(2)).await, BTreeSet::new());
    let (ids, _) = account.store.scan_people(None, 10).await.expect("people");
    let id = *ids.first().expect("a person");
    let troubles = (0..9).map(|n| format!("{n}{}", "x".repeat(2 << 20))).collect();
    account.store.save_crm_states(vec![(id, CrmState { troubles, ..CrmState::default() })]).await.expect("saved");
    for _ in 0..3 {
        account.sync.reconcile(stagedoor_sync::FlushMode::Everything).await.expect("a round");
    }
    assert_eq!(account.counts(), (1, 1), "the other one is there");
    let reasons = waiting_reasons(account.store.as_ref()).await.expect("reasons");
    assert!(reasons.iter().any(|one| one.reason.contains("nothing of theirs is sent")), "{reasons:?}");
}
