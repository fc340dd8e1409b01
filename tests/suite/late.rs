//! A call that a CRM carries out after its caller gave it up doubles nothing, in either CRM.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use stagedoor_model::Event;
use stagedoor_ports::Clock;
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_sync::FlushMode;
use stagedoor_tests::{
    account::{Account, Which},
    world::Ahead,
};

use crate::crashes::order;

const LATE: Duration = Duration::from_millis(300);

async fn nothing_is_doubled(which: Which, calls: [&str; 2]) {
    for call in calls {
        let mut account = Account::where_calls_are_late(which, SignedDuration::from_secs(150)).await;
        let ahead = Arc::new(Ahead::default());
        account.sync.clock = Arc::clone(&ahead) as Arc<dyn Clock>;
        account.fault(Fault { times: 3, ..Fault::late(FaultKind::LateAfterTimeout, call, LATE) });
        let buyers: Vec<Event> = (0..3).map(|n| order(n, &[&format!("email:fan{n}@example.com")])).collect();
        assert!(account.sync.handle(buyers).await.is_empty());
        // One look before the late effect, and others after it.
        for _ in 0..3 {
            account.sync.reconcile(FlushMode::Everything).await.expect("a round");
        }
        tokio::time::sleep(LATE * 2).await;
        for _ in 0..40 {
            ahead.pass(10);
            account.sync.reconcile(FlushMode::Everything).await.expect("a round");
        }
        assert_eq!(account.counts(), (3, 3), "{which:?} {call}");
        assert_eq!(account.store.totals().await.expect("totals").waiting, 0);
    }
}

#[tokio::test]
async fn a_late_call_of_amocrm_doubles_nothing() {
    nothing_is_doubled(Which::Amo, ["POST /api/v4/contacts", "POST /api/v4/leads"]).await;
}

#[tokio::test]
async fn a_late_call_of_vtiger_doubles_nothing() {
    nothing_is_doubled(Which::Vtiger, ["create Contacts", "create Potentials"]).await;
}
