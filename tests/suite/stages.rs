//! Where a deal stands is a manager's or a robot's work: the hub moves it only forward from there, and only for news.

use std::collections::BTreeMap;

use serde_json::Value;
use stagedoor_engine::{DealDraft, Stage, StageGuard};
use stagedoor_model::{
    Body, Company, Event, EventId, LeadChanged, Money, OrderState, Refund, Rung, SourceName, Timestamp,
};
use stagedoor_ports::{Crm, WriteOutcome, Writes};
use stagedoor_sandbox::{Fault, FaultKind, PipelineSeed, Sandbox, Seed};
use stagedoor_sync::FlushMode;
use stagedoor_tests::{
    account::{Account, Which},
    world::{PIPELINE, World, catalog, seed, settings},
};

use crate::{
    crashes::{form, order},
    crm_port::{contact, deal, done},
};

crate::promises!(
    a_robots_move_ahead_is_kept_though_no_webhook_told_of_it,
    a_deal_that_a_robot_moved_is_paid_when_it_is_paid,
    a_deal_that_a_manager_won_for_cash_stays_won,
    a_refunded_deal_that_a_manager_reopens_and_a_client_pays_becomes_paid,
    a_deal_that_a_manager_gave_up_and_a_client_pays_becomes_paid,
    a_deal_that_a_manager_gave_up_stays_so_when_its_buyer_hands_another_order_on,
    a_managers_move_after_a_payment_stays_whatever_else_changes,
    a_company_that_orders_again_after_a_refund_has_an_open_deal,
    a_deal_whose_making_got_no_answer_follows_its_buyer,
    a_deal_that_the_hub_closed_after_a_robots_move_is_open_again_for_another_order,
);

pub fn stage(stage: impl Into<Stage>) -> String {
    catalog().pipelines[0].stages.get(stage.into()).expect("named").clone()
}

/// An order that is not paid yet.
pub fn cart(n: i64, names: &[&str]) -> Event {
    changed(n, n, names, |order| {
        (order.state, order.paid_at, order.paid.minor) = (OrderState::Placed, None, 0);
    })
}

pub fn changed(n: i64, second: i64, names: &[&str], change: impl Fn(&mut stagedoor_model::Order)) -> Event {
    let event = order(n, names);
    let Body::OrderPaid(mut body) = event.body else { panic!("an order") };
    body.order.revision = order(second, names).time;
    change(&mut body.order);
    let (id, at) =
        (EventId::derive(&event.source, &["changed", &n.to_string(), &second.to_string()]), body.order.revision);
    Event::new(&event.source, id, at, Body::of_order(body))
}

/// Order `n` was given back.
pub fn refund(n: i64, second: i64, names: &[&str]) -> Event {
    changed(n, second, names, |order| {
        let amount = Money { minor: 150_000, currency: "RUB".into() };
        let refund = Refund { amount, at: order.revision, tickets: [String::from("t")].into(), moved: false };
        order.refunds.insert("r".into(), refund);
        order.tickets.iter_mut().for_each(|ticket| ticket.live = false);
    })
}

pub fn deals(account: &Account, which: Which) -> Vec<(u64, String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match which {
        Which::Amo => {
            let names: BTreeMap<(u64, u64), String> = names_of(account.amocrm());
            let row = |row: Value| {
                let ids = (row["pipeline_id"].as_u64().unwrap_or(0), row["status_id"].as_u64().unwrap_or(0));
                (row["id"].as_u64().expect("an id"), names.get(&ids).cloned().unwrap_or_default(), text(&row["price"]))
            };
            account.amocrm().leads().into_iter().map(row).collect()
        }
        Which::Vtiger => {
            let row = |row: Value| {
                let (_, id) = row["id"].as_str().and_then(|id| id.split_once('x')).expect("an id");
                let price = text(&row["amount"]).split('.').next().unwrap_or_default().to_owned();
                (id.parse().expect("a number"), text(&row["sales_stage"]), price)
            };
            account.vtiger().records("Potentials").into_iter().map(row).collect()
        }
    }
}

fn names_of(sandbox: &Sandbox) -> BTreeMap<(u64, u64), String> {
    let won = ["Успешно реализовано", "Закрыто и не реализовано", "Неразобранное"].map(String::from);
    let all = Stage::ALL.into_iter().map(stage).chain(won);
    all.filter_map(|name| Some((sandbox.stage(PIPELINE, &name)?, name))).collect()
}

/// The only deal: its stage and its price.
fn only(account: &Account, which: Which) -> (String, String) {
    let all = deals(account, which);
    let [(_, stage, price)] = all.as_slice() else { panic!("{all:?}") };
    (stage.clone(), price.clone())
}

/// A robot or a workflow moves the only deal, and no webhook tells.
fn moved_unheard(account: &Account, which: Which, to: &str) {
    let id = deals(account, which)[0].0;
    match which {
        Which::Amo => {
            let stage = account.amocrm().stage(PIPELINE, to).expect("a stage");
            assert!(account.amocrm().moved_by_robot(id, stage));
        }
        Which::Vtiger => account.vtiger().by_manager(1, &format!("13x{id}"), &[("sales_stage", to)]),
    }
}

/// A manager moves the only deal, and the hub hears of it.
pub async fn moved(account: &Account, which: Which, to: &str, second: i64) {
    moved_unheard(account, which, to);
    let id = deals(account, which)[0].0;
    let source = SourceName::new(if which == Which::Amo { "amocrm" } else { "crm" }).expect("a name");
    let (pipeline, status) = match which {
        Which::Amo => {
            let (pipeline, status) = account.amocrm().stage(PIPELINE, to).expect("a stage");
            (Some(pipeline), status)
        }
        Which::Vtiger => (None, LeadChanged::number_of_stage(to)),
    };
    let change = LeadChanged {
        lead: id,
        deleted: false,
        pipeline,
        status: Some(status),
        moved_by: Some(5),
        hub_id: None,
        changed_at: None,
    };
    let at: Timestamp = order(second, &[]).time;
    let event = Event::new(
        &source,
        EventId::derive(&source, &["moved", to, &second.to_string()]),
        at,
        Body::LeadChanged(change),
    );
    fold(account, event).await;
}

async fn fold(account: &Account, event: Event) {
    assert!(account.sync.handle(vec![event]).await.is_empty());
    account.reconcile().await;
}

const ANNA: [&str; 1] = ["phone:+79161110001"];

fn won(which: Which) -> &'static str {
    if which == Which::Amo { "Успешно реализовано" } else { "Closed Won" }
}

fn given_up(which: Which) -> &'static str {
    if which == Which::Amo { "Закрыто и не реализовано" } else { "Closed Lost" }
}

async fn a_robots_move_ahead_is_kept_though_no_webhook_told_of_it(which: Which) {
    let account = Account::of(which).await;
    fold(&account, cart(1, &ANNA)).await;
    assert_eq!(only(&account, which).0, stage(Rung::Cart));
    moved_unheard(&account, which, &stage(Rung::Attended));
    // The payment is news for the fields, and for a stage behind which the deal stands already.
    fold(&account, changed(1, 5, &ANNA, |order| order.paid.minor = 150_000)).await;
    assert_eq!(only(&account, which), (stage(Rung::Attended), "1500".into()));
}

async fn a_deal_that_a_robot_moved_is_paid_when_it_is_paid(which: Which) {
    let account = Account::of(which).await;
    fold(&account, cart(1, &ANNA)).await;
    moved_unheard(&account, which, &stage(Rung::Talked));
    // A second cart is no news for the stage.
    fold(&account, cart(2, &ANNA)).await;
    assert_eq!(only(&account, which).0, stage(Rung::Talked));
    fold(&account, changed(1, 5, &ANNA, |_| {})).await;
    assert_eq!(only(&account, which).0, stage(Rung::Paid));
}

async fn a_deal_that_a_manager_won_for_cash_stays_won(which: Which) {
    let account = Account::of(which).await;
    fold(&account, cart(1, &ANNA)).await;
    moved_unheard(&account, which, won(which));
    fold(&account, changed(1, 5, &ANNA, |_| {})).await;
    assert_eq!(only(&account, which), (won(which).into(), "1500".into()));
    // What goes back is no sale any more.
    fold(&account, refund(1, 9, &ANNA)).await;
    assert_eq!(only(&account, which), (stage(Stage::Refunded), "0".into()));
}

async fn a_refunded_deal_that_a_manager_reopens_and_a_client_pays_becomes_paid(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    fold(&account, refund(1, 3, &ANNA)).await;
    assert_eq!(only(&account, which).0, stage(Stage::Refunded));
    moved(&account, which, &stage(Rung::Talked), 5).await;
    assert_eq!(only(&account, which).0, stage(Rung::Talked));
    fold(&account, order(8, &ANNA)).await;
    assert_eq!(only(&account, which), (stage(Rung::Paid), "1500".into()));
}

async fn a_deal_that_a_manager_gave_up_and_a_client_pays_becomes_paid(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    moved(&account, which, given_up(which), 5).await;
    fold(&account, order(8, &ANNA)).await;
    assert_eq!(only(&account, which), (stage(Rung::Paid), "3000".into()));
}

async fn a_deal_that_a_manager_gave_up_stays_so_when_its_buyer_hands_another_order_on(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    fold(&account, refund(1, 3, &ANNA)).await;
    moved(&account, which, &stage(Stage::Lost), 5).await;
    let given_up = deals(&account, which);
    fold(&account, cart(8, &ANNA)).await;
    fold(&account, changed(8, 9, &["phone:+79161110002"], |_| {})).await;
    let after = deals(&account, which);
    assert_eq!((after.len(), &after[0]), (2, &given_up[0]), "{after:?}");
}

async fn a_managers_move_after_a_payment_stays_whatever_else_changes(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    moved(&account, which, &stage(Rung::Talked), 5).await;
    fold(&account, changed(1, 7, &ANNA, |order| order.promo_codes.push("SPRING".into()))).await;
    assert_eq!(only(&account, which).0, stage(Rung::Talked));
}

async fn a_company_that_orders_again_after_a_refund_has_an_open_deal(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    fold(&account, refund(1, 3, &ANNA)).await;
    assert_eq!(only(&account, which).0, stage(Stage::Refunded));
    moved(&account, which, &stage(Rung::Talked), 5).await;
    let of_company = changed(7, 7, &ANNA, |order| {
        (order.state, order.paid_at, order.paid.minor) = (OrderState::Placed, None, 0);
        order.company = Some(Company { name: "ООО Вишнёвый сад".into(), tax_id: None, unchecked: None });
    });
    fold(&account, of_company).await;
    assert_eq!(only(&account, which), (stage(Rung::Cart), "1500".into()));
}

async fn a_deal_that_the_hub_closed_after_a_robots_move_is_open_again_for_another_order(which: Which) {
    let account = Account::of(which).await;
    fold(&account, cart(1, &ANNA)).await;
    moved(&account, which, &stage(Rung::Talked), 5).await;
    fold(&account, changed(1, 7, &ANNA, |order| (order.state, order.paid_at) = (OrderState::Cancelled, None))).await;
    assert_eq!(only(&account, which).0, stage(Stage::Lost));
    // The shop tells late of an order that was placed before the robot's move.
    fold(&account, cart(2, &ANNA)).await;
    assert_eq!(only(&account, which).0, stage(Rung::Cart));
    // A manager's later move counts again.
    moved(&account, which, &stage(Rung::Talked), 9).await;
    fold(&account, cart(3, &ANNA)).await;
    assert_eq!(only(&account, which).0, stage(Rung::Talked));
}

async fn a_deal_whose_making_got_no_answer_follows_its_buyer(which: Which) {
    let account = Account::of(which).await;
    let making = if which == Which::Amo { "POST /api/v4/leads$" } else { "create Potentials$" };
    account.fault(Fault::once(FaultKind::AnswerLost, making));
    assert!(account.sync.handle(vec![order(1, &ANNA), refund(1, 3, &ANNA)]).await.is_empty());
    account.sync.reconcile(FlushMode::Everything).await.expect("a round");
    assert_eq!(only(&account, which).0, stage(Stage::Refunded));
    fold(&account, form(5, &ANNA)).await;
    assert_eq!(only(&account, which), (stage(Rung::Interested), "0".into()));
}

#[tokio::test]
async fn a_deal_that_was_moved_to_another_pipeline_gets_fields_and_no_stage() {
    let stages = vec!["Корзина".to_owned(), "Оплачено".to_owned()];
    let other = PipelineSeed { name: "Корпоративные".into(), stages };
    let mut seed = seed();
    seed.pipelines.push(other);
    let world = World::with(Seed { rate: 1_000, ..seed }, 1_000).await;
    world.run(vec![cart(1, &ANNA)]).await;
    let id = world.sandbox.all_ids("leads")[0];
    let there = world.sandbox.stage("Корпоративные", "Корзина").expect("a stage");
    assert!(world.sandbox.moved_by_robot(id, there));
    world.run(vec![order(1, &ANNA), order(2, &ANNA)]).await;
    let lead = &world.sandbox.leads()[0];
    assert_eq!((lead["pipeline_id"].as_u64(), lead["status_id"].as_u64()), (Some(there.0), Some(there.1)));
    assert_eq!(lead["price"], 3_000);
}

#[tokio::test]
async fn deals_that_are_to_be_moved_are_read_in_bulk() {
    let sandbox = Sandbox::new(Seed { rate: 1_000, ..seed() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(sandbox.clone().serve(listener));
    let token = stagedoor_crm::amocrm::Authorization::LongLived(Seed::default().long_lived);
    let crm = stagedoor_crm::amocrm::AmoCrm::new(settings(&base, 1_000), token).expect("a client");
    crm.set_up().await.expect("set up");
    let draft = contact("Анна", "+79161110001");
    let id = done(crm.apply(Writes::CreateContacts(std::slice::from_ref(&draft))).await)[0];
    let to = |n: usize, rung: Rung| deal(&draft, &format!("show {n}"), Some(Stage::Ladder(rung)));
    let rows: Vec<(u64, DealDraft)> = (0..200).map(|n| (id, to(n, Rung::Cart))).collect();
    let made = done(crm.apply(Writes::CreateDeals(&rows)).await);
    // A manager closed the tenth.
    let closed = sandbox.stage(PIPELINE, "Успешно реализовано").expect("a stage");
    assert!(sandbox.moved_by_robot(made[10], closed));
    let guard = StageGuard {
        own: [(PIPELINE.to_owned(), stage(Rung::Cart))].into(),
        paid: Some(stage(Rung::Paid)),
        ..StageGuard::default()
    };
    let paid = |n: usize| DealDraft { guard: Some(guard.clone()), ..to(n, Rung::Paid) };
    let updates: Vec<(u64, DealDraft)> = made.iter().enumerate().map(|(n, id)| (*id, paid(n))).collect();
    let before = crm.health().calls;
    let expected: Vec<WriteOutcome> = made.iter().map(|id| WriteOutcome::Done(*id)).collect();
    assert_eq!(crm.apply(Writes::UpdateDeals(&updates)).await, expected);
    let calls = crm.health().calls - before;
    assert!(calls <= 4, "{calls} calls for 200 deals");
    let stands = sandbox.leads_by_stage();
    assert_eq!(stands.get(&(PIPELINE.to_owned(), stage(Rung::Paid))), Some(&199), "{stands:?}");
    // Where no stage is sent nothing is read.
    let fields: Vec<(u64, DealDraft)> =
        updates.into_iter().map(|(id, deal)| (id, DealDraft { stage: None, ..deal })).collect();
    let before = crm.health().calls;
    assert_eq!(crm.apply(Writes::UpdateDeals(&fields)).await, expected);
    assert_eq!(crm.health().calls - before, 1);
    serving.abort();
}
