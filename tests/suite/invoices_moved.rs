//! The invoice of an order belongs to the deal that the order is in, also when that becomes another deal.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use stagedoor_model::{Body, Event, EventId, Identifier, Kind, LeadChanged, Refund, ShowRef, SourceName, Ticket};
use stagedoor_ports::Gone;
use stagedoor_sandbox::{Fault, FaultKind};
use stagedoor_sync::FlushMode;
use stagedoor_tests::{
    account::{Account, Which},
    crash::{Life, Mortal},
};

use crate::{
    crashes::{form, order},
    stages::changed,
};

const ANNA: [&str; 1] = ["phone:+79161110001"];
const BORIS: [&str; 1] = ["phone:+79161110002"];

async fn fold(account: &Account, event: Event) {
    assert!(account.sync.handle(vec![event]).await.is_empty());
    account.reconcile().await;
}

fn texts(account: &Account, module: &str, field: &str) -> Vec<String> {
    let text = |row: &Value| row[field].as_str().unwrap_or_default().to_owned();
    account.vtiger().records(module).iter().map(text).collect()
}

/// The one deal that is worth something: its id and its contact.
fn worth(account: &Account) -> (String, String) {
    let deals = account.vtiger().records("Potentials");
    let counts = deals.iter().filter(|row| row["amount"].as_str().is_some_and(|sum| !sum.starts_with("0")));
    let all: Vec<&Value> = counts.collect();
    let [deal] = all.as_slice() else { panic!("{deals:?}") };
    let text = |field: &str| deal[field].as_str().unwrap_or_default().to_owned();
    (text("id"), text("contact_id"))
}

async fn a_deal_is_made_again(account: &Account) {
    fold(account, order(1, &ANNA)).await;
    let deal = worth(account).0;
    let lead = deal.split_once('x').and_then(|(_, id)| id.parse().ok()).expect("a number");
    account.delete(Gone::Deal(lead));
    let source = SourceName::new("crm").expect("a name");
    let change = LeadChanged {
        lead,
        deleted: true,
        pipeline: None,
        status: None,
        moved_by: None,
        hub_id: None,
        changed_at: None,
    };
    let id = EventId::derive(&source, &["deleted"]);
    fold(account, Event::new(&source, id, order(5, &[]).time, Body::LeadChanged(change))).await;
    fold(account, order(8, &ANNA)).await;
    assert_ne!(worth(account).0, deal);
}

#[tokio::test]
async fn invoices_of_a_deal_that_is_made_again_belong_to_the_new_deal() {
    let account = Account::of(Which::Vtiger).await;
    a_deal_is_made_again(&account).await;
    let deal = worth(&account).0;
    assert_eq!(texts(&account, "Invoice", "potential_id"), [deal.clone(), deal]);
}

#[tokio::test]
async fn closing_documents_that_are_comments_move_to_the_new_deal() {
    let account = Account::of(Which::Vtiger).await;
    account.vtiger().set_makes_invoices(false);
    a_deal_is_made_again(&account).await;
    let deal = worth(&account).0;
    assert_eq!(texts(&account, "ModComments", "related_to"), [deal.clone(), deal]);
}

/// Order 1 as it stands at this second, with its number as an identifier.
fn of_buyer(second: i64, names: &[&str]) -> Event {
    let mut event = changed(1, second, names, |_| {});
    let Body::OrderPaid(body) = &mut event.body else { panic!("an order") };
    body.identifiers.extend(Identifier::opaque(Kind::Order, event.source.as_str(), "1"));
    event
}

#[tokio::test]
async fn the_invoice_of_an_order_that_is_handed_on_belongs_to_its_new_buyer() {
    let account = Account::of(Which::Vtiger).await;
    fold(&account, of_buyer(1, &ANNA)).await;
    let (first, anna) = worth(&account);
    assert!(matches!(texts(&account, "Invoice", "potential_id").as_slice(), [one] if *one == first));
    fold(&account, of_buyer(9, &BORIS)).await;
    let (second, boris) = worth(&account);
    assert!(second != first && boris != anna);
    assert_eq!(texts(&account, "Invoice", "potential_id"), [second]);
    assert_eq!(texts(&account, "Invoice", "contact_id"), [boris]);
}

/// Order 1 with two tickets; `back` of them were given back, and the shop asks for the others only.
fn with_tickets_back(second: i64, back: usize) -> Event {
    changed(1, second, &ANNA, |order| {
        let half = order.total.with_minor(75_000);
        let ticket = |n: usize| Ticket {
            id: format!("t{n}"),
            show: ShowRef::id("show-1"),
            price: half.clone(),
            live: n >= back,
        };
        order.tickets = (0..2).map(ticket).collect();
        order.total = order.total.with_minor(75_000 * (2 - back as i64));
        let refund = || Refund { amount: half.clone(), at: order.revision, tickets: BTreeSet::new(), moved: false };
        order.refunds = (0..back).map(|n| (n.to_string(), refund())).collect();
    })
}

fn statuses(account: &Account) -> Vec<String> {
    texts(account, "Invoice", "invoicestatus")
}

#[tokio::test]
async fn an_order_that_asks_for_nothing_any_more_has_no_live_invoice() {
    let account = Account::of(Which::Vtiger).await;
    fold(&account, with_tickets_back(1, 0)).await;
    fold(&account, with_tickets_back(5, 2)).await;
    assert_eq!(statuses(&account), ["Cancel"]);
}

/// The same as the shop has it once it is another buyer's, and all of it was given back.
fn all_back(second: i64, names: &[&str]) -> Event {
    let mut event = with_tickets_back(second, 2);
    let (Body::OrderPaid(body) | Body::OrderRefunded(body)) = &mut event.body else { panic!("{event:?}") };
    body.identifiers = names.iter().map(|name| name.parse().expect("an identifier")).collect();
    body.identifiers.extend(Identifier::opaque(Kind::Order, event.source.as_str(), "1"));
    event
}

#[tokio::test]
async fn the_invoice_of_who_parts_is_cancelled_with_their_order() {
    for new in [&ANNA[..], &[ANNA[0], "email:anna@example.com"], &BORIS] {
        let account = Account::of(Which::Vtiger).await;
        // The address is another's, and was mistyped.
        fold(&account, form(1, &["email:boris@example.com"])).await;
        fold(&account, of_buyer(2, &[ANNA[0], "email:boris@example.com"])).await;
        assert_eq!(statuses(&account), ["Paid"]);
        fold(&account, all_back(9, new)).await;
        assert_eq!(statuses(&account), ["Cancel"], "{new:?}");
    }
}

#[tokio::test]
async fn an_invoice_that_another_takes_the_place_of_is_cancelled_in_the_end() {
    let account = Account::of(Which::Vtiger).await;
    fold(&account, with_tickets_back(1, 0)).await;
    // The new one is made, and the call that cancels the old one fails.
    account.fault(Fault { after: 1, times: 2, ..Fault::once(FaultKind::Broken, "revise") });
    fold(&account, with_tickets_back(5, 1)).await;
    account.clear_faults();
    fold(&account, order(9, &ANNA)).await;
    let mut all = statuses(&account);
    all.sort();
    assert_eq!(all, ["Cancel", "Paid", "Paid"], "the old one, the new one, and that of the other order");
}

#[tokio::test]
async fn an_invoice_that_is_made_after_a_part_went_back_lets_nothing_open() {
    let account = Account::of(Which::Vtiger).await;
    let event = changed(1, 1, &ANNA, |order| {
        let refund = Refund {
            amount: order.total.with_minor(50_000),
            at: order.revision,
            tickets: BTreeSet::new(),
            moved: false,
        };
        order.refunds = BTreeMap::from([("r".to_owned(), refund)]);
    });
    fold(&account, event).await;
    let amounts = |field: &str| -> Vec<f64> {
        texts(&account, "Invoice", field).iter().map(|text| text.parse().expect("an amount")).collect()
    };
    assert_eq!((amounts("received"), amounts("balance")), (vec![1000.0], vec![0.0]));
    assert_eq!(statuses(&account), ["Paid"]);
}

/// A process takes the event and is killed after so many steps of its run.
async fn killed(steps: i64, event: Event) -> (Account, Life) {
    let account = Account::of(Which::Vtiger).await;
    assert!(account.sync.handle(vec![event]).await.is_empty());
    let life = Life::of(steps);
    let mut mortal = account.another("test");
    mortal.store = Arc::new(Mortal { inner: Arc::clone(&account.store), life: life.clone() });
    _ = mortal.reconcile(FlushMode::Everything).await;
    (account, life)
}

#[tokio::test]
async fn killed_at_any_step_an_invoice_asks_for_what_its_order_costs_now() {
    for steps in 1.. {
        let (account, life) = killed(steps, with_tickets_back(1, 0)).await;
        // Before another process goes on, a ticket goes back.
        fold(&account, with_tickets_back(5, 1)).await;
        fold(&account, order(9, &ANNA)).await;
        let (totals, all) = (texts(&account, "Invoice", "hdnGrandTotal"), statuses(&account));
        let live = totals.iter().zip(&all).filter(|(_, status)| *status != "Cancel").map(|(total, _)| total.as_str());
        assert_eq!(live.collect::<BTreeSet<_>>(), BTreeSet::from(["1500.00000000", "750.00000000"]), "step {steps}");
        if !life.is_over() {
            assert!(steps > 5, "there are steps to be killed at");
            break;
        }
    }
}

#[tokio::test]
async fn killed_at_any_step_an_invoice_that_is_found_again_stays() {
    for steps in 1.. {
        let (account, life) = killed(steps, order(1, &ANNA)).await;
        account.reconcile().await;
        fold(&account, order(9, &ANNA)).await;
        assert_eq!(statuses(&account), ["Paid", "Paid"], "killed at step {steps}");
        if !life.is_over() {
            assert!(steps > 5, "there are steps to be killed at");
            break;
        }
    }
}

/// The answer to an invoice may be lost, and a manager may delete its organisation before the hub finds it.
#[tokio::test]
async fn killed_at_any_step_an_invoice_whose_organisation_is_gone_is_cancelled_with_its_order() {
    for steps in 1.. {
        let (account, life) = killed(steps, with_tickets_back(1, 0)).await;
        for company in texts(&account, "Accounts", "id") {
            account.vtiger().deleted_by_manager(&company);
        }
        fold(&account, with_tickets_back(5, 2)).await;
        let live = statuses(&account).into_iter().filter(|status| status != "Cancel").count();
        assert_eq!(live, 0, "killed at step {steps}");
        if !life.is_over() {
            assert!(steps > 5, "there are steps to be killed at");
            break;
        }
    }
}
