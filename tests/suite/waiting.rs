//! What holds people up is said in words that name who has to act, in English and in Russian.

use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_sync::{FlushMode, waiting_reasons};
use stagedoor_tests::account::{Account, Which};

use crate::{
    crashes::order,
    mailings::{Stage, noon},
};

#[tokio::test]
async fn an_account_that_is_not_paid_is_said_also_if_only_bulk_calls_find_it_out() {
    let account = Account::of(Which::Amo).await;
    account.crm.set_up().await.expect("set up");
    account.fault(Fault::always(FaultKind::Unpaid, "POST /api/v4/contacts"));
    assert!(account.sync.handle(vec![order(1, &["phone:+79161110001"])]).await.is_empty());
    account.sync.reconcile(FlushMode::Everything).await.expect("a round");
    let reasons = waiting_reasons(account.store.as_ref()).await.expect("read");
    let one = reasons.first().expect("a reason");
    assert!(one.reason.contains("the account is not paid") && one.who_acts.contains("owner"), "{one:?}");
    assert!(one.reason_ru.contains("аккаунт не оплачен") && one.who_acts_ru.contains("владелец"), "{one:?}");
    account.clear_faults();
    account.reconcile().await;
    assert_eq!(waiting_reasons(account.store.as_ref()).await.expect("read"), vec![]);
}

#[tokio::test]
async fn rows_that_a_late_call_may_still_make_are_said_with_until_when() {
    let late_for = jiff::SignedDuration::from_secs(600);
    for which in [Which::Amo, Which::Vtiger] {
        let account = Account::where_calls_are_late(which, late_for).await;
        account.crm.set_up().await.expect("set up");
        let call = if which == Which::Amo { "POST /api/v4/contacts" } else { "create Contacts" };
        account.fault(Fault::late(FaultKind::Cut, call, std::time::Duration::from_secs(300)));
        assert!(account.sync.handle(vec![order(1, &["phone:+79161110001"])]).await.is_empty());
        account.sync.reconcile(FlushMode::Everything).await.expect("a round");
        let reasons = waiting_reasons(account.store.as_ref()).await.expect("read");
        let one = reasons.iter().find(|one| one.reason.contains("may still take effect")).expect("a reason");
        assert!(one.until > Some(account.sync.clock.now()), "{one:?}");
        assert_eq!(one.people, 1);
    }
}

#[tokio::test]
async fn the_console_says_why_in_the_language_of_the_manager_and_status_names_unknown_zones() {
    let mut stage = Stage::at(noon(3)).await;
    stage.hub.sandbox.set_fault(Fault::always(FaultKind::Unpaid, ""));
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    let show = serde_json::json!({ "id": "perm-7", "title": "Чайка", "city": "Пермь", "zone": "MSK",
        "starts_at": "2027-06-08T19:00:00+05:00", "changed_at": stage.hub.now().to_string() });
    let body = serde_json::json!({ "type": "show.rescheduled", "data": show });
    let now = stage.hub.now();
    stage.hub.take(&stagedoor_testkit::form_signed("/ticketing/theatre", &body, "theatre-shop-secret", "z", now)).await;
    let http = stagedoor_tests::http();
    let page = async |language: &str| {
        let request = http.get(&stage.hub.console).header("accept-language", language);
        request.send().await.expect("an answer").text().await.expect("a page")
    };
    for _ in 0..100 {
        if page("ru-RU,ru;q=0.9,en;q=0.8").await.contains("аккаунт не оплачен") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (russian, english) = (page("ru-RU,ru;q=0.9,en;q=0.8").await, page("en").await);
    assert!(russian.contains("аккаунт не оплачен") && russian.contains("Почему что-то ждёт"), "{russian}");
    assert!(english.contains("the account is not paid") && !english.contains("Почему"), "{english}");
    let status = stage.hub.hub.status_with_reasons().await.expect("a status");
    assert_eq!(status.unknown_zones, ["MSK (theatre)"]);
    assert!(status.lines(Default::default()).iter().any(|line| line.contains("MSK (theatre)")));
}
