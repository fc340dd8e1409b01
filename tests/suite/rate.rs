//! The rate of a CRM's account is one: lanes pause together, commands wait for the hub, and rights that are lost delete nobody.

use stagedoor_ports::CrmRows;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use axum::body::Bytes;
use http::{Request, Response};
use jiff::SignedDuration;
use stagedoor_crm::{HttpClient, HttpError, SocketClient};
use stagedoor_model::SourceName;
use stagedoor_sync::{FlushMode, WaitingReason, waiting_reasons};
use stagedoor_tests::account::{Account, Which};

use crate::crashes::order;

crate::promises!(while_one_call_is_throttled_no_other_is_made, a_command_uses_the_crm_only_while_no_other_process_does,);

/// Answers calls with 429 as often as it is told, and remembers when calls were made.
struct Throttling {
    inner: SocketClient,
    left: AtomicU32,
    made: Mutex<Vec<Instant>>,
}

#[async_trait]
impl HttpClient for Throttling {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.made.lock().expect("calls").push(Instant::now());
        let is_throttled = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match is_throttled {
            Ok(_) => Ok(Response::builder().status(429).body(Bytes::from("<html>")).expect("a response")),
            Err(_) => self.inner.send(request).await,
        }
    }
}

async fn while_one_call_is_throttled_no_other_is_made(which: Which) {
    let account = Account::of(which).await;
    let inner = SocketClient::new(Duration::from_secs(5)).expect("a client");
    let http = Arc::new(Throttling { inner, left: AtomicU32::new(0), made: Mutex::default() });
    let crm = account.client_over(Arc::clone(&http) as Arc<dyn HttpClient>);
    crm.set_up().await.expect("set up");
    http.left.store(1, Ordering::Relaxed);
    http.made.lock().expect("calls").clear();
    let later = async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        crm.page(CrmRows::Contacts, 1).await
    };
    let (one, two) = tokio::join!(crm.page(CrmRows::Contacts, 1), later());
    assert!(one.is_ok() && two.is_ok(), "both are made in the end");
    let made = http.made.lock().expect("calls").clone();
    assert!(made.len() >= 3);
    assert!(made[1] - made[0] >= Duration::from_millis(900), "{:?}", made[1] - made[0]);
}

async fn a_command_uses_the_crm_only_while_no_other_process_does(which: Which) {
    let account = Account::of(which).await;
    // Somebody waits: a round has something to do.
    assert!(account.sync.handle(vec![order(1, &["phone:+79161110001"])]).await.is_empty());
    let now = account.sync.clock.now();
    let until = now + SignedDuration::from_millis(800);
    assert!(account.store.lease("reconciler", "serve", now, until).await.expect("leased"));
    let began = Instant::now();
    let work = async {
        // Meanwhile no round of the hub begins.
        let round = account.another("serve").reconcile(FlushMode::Everything).await.expect("a round");
        (began.elapsed(), round.unavailable)
    };
    let (waited, unavailable) = account.sync.alone_in_crm(work).await.expect("done");
    assert!(waited >= Duration::from_millis(700), "{waited:?}");
    assert_eq!(unavailable.as_deref(), Some("another process reconciles"));
    // And for a second afterwards, none either: the account's seconds are one after another.
    let round = account.another("serve").reconcile(FlushMode::Everything).await.expect("a round");
    assert!(round.unavailable.is_some());
}

#[tokio::test]
async fn a_right_that_the_hub_lost_deletes_nobody_and_is_no_refusal() {
    for (module, hidden) in [("Contacts", true), ("Contacts", false), ("Potentials", true), ("Potentials", false)] {
        let account = Account::of(Which::Vtiger).await;
        let vtiger = account.vtiger().clone();
        assert!(account.sync.handle(vec![order(1, &["phone:+79161110001"])]).await.is_empty());
        account.reconcile().await;
        vtiger.take_right(module, hidden);
        let news = order(2, &["phone:+79161110001", "email:anna@example.com"]);
        assert!(account.sync.handle(vec![news]).await.is_empty());
        for _ in 0..3 {
            account.sync.reconcile(FlushMode::Everything).await.expect("a round");
            // With a module that is hidden the CRM is not heard, and that is all.
            _ = account.sync.hear_crm(&SourceName::new("crm").expect("a name")).await;
        }
        assert_eq!(account.store.totals().await.expect("totals").rejected, 0, "{module} {hidden}");
        let reasons = waiting_reasons(account.store.as_ref()).await.expect("read");
        let says = |one: &WaitingReason| one.reason.contains("right") && one.reason_ru.contains("право");
        assert!(reasons.iter().any(says), "{module} {hidden}: {reasons:?}");
        vtiger.give_rights_back();
        let (everybody, _) = account.store.scan_people(None, 10).await.expect("read");
        account.store.mark_dirty(everybody).await.expect("marked");
        account.reconcile().await;
        let rows = format!("{:?}{:?}", vtiger.records("Contacts"), vtiger.records("Potentials"));
        assert_eq!(account.counts(), (1, 1), "{module} {hidden}");
        assert!(rows.contains("anna@example.com") && rows.contains("3000"), "{module} {hidden}: {rows}");
    }
}
