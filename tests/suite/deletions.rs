//! What a manager deletes stays away until the person buys again; then a row is made again, and no money is dropped.

use std::collections::BTreeSet;

use stagedoor_engine::Stage;
use stagedoor_model::{Body, Company, ContactChanged, Event, EventId, LeadChanged, OrderState, Rung, SourceName};
use stagedoor_ports::Gone;
use stagedoor_sync::FlushMode;
use stagedoor_tests::{
    account::{Account, Which},
    world::PIPELINE,
};

use crate::{
    crashes::{form, order},
    restored::{hear, restore},
    stages::{cart, changed, deals, moved, refund, stage},
};

crate::promises!(
    a_purchase_after_a_deal_was_deleted_makes_a_deal_again,
    a_purchase_that_finds_its_deal_gone_makes_a_deal_again,
    a_cart_that_is_paid_after_its_deal_was_deleted_makes_a_deal_again,
    a_purchase_after_a_contact_was_deleted_makes_a_contact_again_with_its_deals,
    a_clean_up_of_which_no_webhook_told_stops_no_purchase,
    a_deal_that_is_restored_after_another_was_made_is_its_double,
    a_deal_that_takes_the_place_of_a_deleted_one_follows_its_orders,
    a_deal_that_waits_for_the_account_brings_no_deleted_contact_back,
    a_cart_that_a_manager_paid_before_the_shop_did_stays_deleted,
    a_deal_that_is_back_follows_its_order_though_no_webhook_told_of_it,
    a_purchase_after_an_unheard_restore_makes_no_second_row,
    a_contact_that_is_back_is_found_when_its_person_is_joined,
    a_deal_whose_contact_was_deleted_hangs_on_that_of_a_joined_person,
    a_deal_that_takes_the_place_of_a_deleted_one_hangs_on_its_persons_contact,
    a_deal_whose_contact_was_deleted_follows_its_order,
    a_company_that_is_made_again_has_its_people_and_closing_documents,
);

const ANNA: [&str; 1] = ["phone:+79161110001"];

async fn fold(account: &Account, event: Event) {
    assert!(account.sync.handle(vec![event]).await.is_empty());
    account.reconcile().await;
}

/// A manager deletes or restores a row, and the hub hears of it: amoCRM tells, Vtiger is asked.
pub async fn meddle(account: &Account, which: Which, row: Gone, deleted: bool, second: i64) {
    match (which, deleted, row) {
        (_, true, row) => account.delete(row),
        (Which::Amo, false, Gone::Deal(id)) => assert!(account.amocrm().restored_by_manager("leads", id)),
        (Which::Amo, false, Gone::Contact(id) | Gone::Company(id)) => {
            assert!(account.amocrm().restored_by_manager("contacts", id));
        }
        (Which::Vtiger, false, row) => restore(account, row, false),
    }
    meddling_heard(account, which, row, deleted, second).await;
}

/// The hub hears of what a manager deleted or restored.
pub async fn meddling_heard(account: &Account, which: Which, row: Gone, deleted: bool, second: i64) {
    match which {
        Which::Amo => fold(account, told(row, deleted, second)).await,
        Which::Vtiger => {
            let heard = hear(account, second).await;
            assert_eq!((heard.deleted, heard.restored), if deleted { (1, 0) } else { (0, 1) });
            account.reconcile().await;
        }
    }
}

/// What amoCRM tells of a row that a manager deleted or restored.
fn told(row: Gone, deleted: bool, second: i64) -> Event {
    let source = SourceName::new("amocrm").expect("a name");
    let at = order(second, &[]).time;
    let body = match row {
        Gone::Deal(lead) => {
            let moved_by = (!deleted).then_some(0);
            Body::LeadChanged(LeadChanged {
                lead,
                deleted,
                pipeline: None,
                status: None,
                moved_by,
                hub_id: None,
                changed_at: None,
            })
        }
        Gone::Contact(contact) | Gone::Company(contact) => Body::ContactChanged(ContactChanged {
            contact,
            deleted,
            name: None,
            identifiers: Default::default(),
            phones: vec![],
            emails: vec![],
            created_at: at,
            hub_id: None,
            changed_at: None,
        }),
    };
    let id = EventId::derive(&source, &["told", &second.to_string()]);
    Event::new(&source, id, at, body)
}

fn only_deal(account: &Account, which: Which) -> (u64, String) {
    let all = deals(account, which);
    let [(id, _, price)] = all.as_slice() else { panic!("{all:?}") };
    (*id, price.clone())
}

async fn a_purchase_after_a_deal_was_deleted_makes_a_deal_again(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    let (id, _) = only_deal(&account, which);
    meddle(&account, which, Gone::Deal(id), true, 5).await;
    // What is no purchase brings nothing back.
    fold(&account, form(6, &ANNA)).await;
    fold(&account, changed(1, 7, &ANNA, |order| order.promo_codes.push("SPRING".into()))).await;
    assert_eq!(account.counts(), (1, 0));
    fold(&account, order(8, &ANNA)).await;
    let (second, price) = only_deal(&account, which);
    assert_ne!(second, id);
    assert_eq!(price, "3000");
    // And the new one goes on.
    fold(&account, order(9, &ANNA)).await;
    assert_eq!(only_deal(&account, which), (second, "4500".into()));
}

async fn a_purchase_that_finds_its_deal_gone_makes_a_deal_again(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    let (id, _) = only_deal(&account, which);
    account.delete(Gone::Deal(id));
    // No webhook told of it.
    fold(&account, order(8, &ANNA)).await;
    assert_eq!(only_deal(&account, which).1, "3000");
}

async fn a_cart_that_is_paid_after_its_deal_was_deleted_makes_a_deal_again(which: Which) {
    let account = Account::of(which).await;
    fold(&account, cart(1, &ANNA)).await;
    let (id, _) = only_deal(&account, which);
    meddle(&account, which, Gone::Deal(id), true, 5).await;
    assert_eq!(account.counts().1, 0);
    fold(&account, changed(1, 9, &ANNA, |_| {})).await;
    assert_eq!(only_deal(&account, which).1, "1500");
}

async fn a_purchase_after_a_contact_was_deleted_makes_a_contact_again_with_its_deals(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    let (deal, _) = only_deal(&account, which);
    let contact = account.owner_of(deal).expect("a contact");
    meddle(&account, which, Gone::Contact(contact), true, 5).await;
    fold(&account, form(6, &ANNA)).await;
    assert_eq!(account.counts().0, 0);
    fold(&account, order(8, &ANNA)).await;
    assert_eq!(account.counts(), (1, 1));
    assert_eq!(only_deal(&account, which), (deal, "3000".into()));
    let owner = account.owner_of(deal).expect("a contact");
    assert_ne!(owner, contact);
    let picture = format!("{:?}", account.picture());
    assert!(picture.contains("+79161110001"), "{picture}");
}

async fn a_clean_up_of_which_no_webhook_told_stops_no_purchase(which: Which) {
    let account = Account::of(which).await;
    let buys = |turn: i64, more: &str| -> Vec<Event> {
        let names = |n: i64| [format!("phone:+791611100{n:02}"), format!("email:fan{n}{more}@example.com")];
        (0..14).map(|n| order(turn + n, &names(n).each_ref().map(String::as_str))).collect()
    };
    assert!(account.sync.handle(buys(0, "")).await.is_empty());
    account.reconcile().await;
    let owners: Vec<u64> = deals(&account, which).iter().filter_map(|(id, ..)| account.owner_of(*id)).collect();
    owners.into_iter().for_each(|id| account.delete(Gone::Contact(id)));
    assert!(account.sync.handle(buys(100, "-too")).await.is_empty());
    account.reconcile().await;
    assert_eq!(account.counts(), (14, 14));
}

async fn a_deal_that_is_restored_after_another_was_made_is_its_double(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    let (id, _) = only_deal(&account, which);
    meddle(&account, which, Gone::Deal(id), true, 5).await;
    fold(&account, order(8, &ANNA)).await;
    meddle(&account, which, Gone::Deal(id), false, 12).await;
    let all = deals(&account, which);
    let prices: Vec<(bool, &str)> = all.iter().map(|(one, _, price)| (*one == id, price.as_str())).collect();
    assert!(prices.contains(&(true, "0")) && prices.contains(&(false, "3000")), "{prices:?}");
}

async fn a_deal_that_takes_the_place_of_a_deleted_one_follows_its_orders(which: Which) {
    let account = Account::of(which).await;
    let (anna, mail) = (ANNA[0], "email:anna@example.com");
    for event in [order(1, &ANNA), refund(1, 2, &ANNA), order(3, &[mail]), refund(3, 4, &[mail])] {
        fold(&account, event).await;
    }
    let all = deals(&account, which);
    assert!(all.iter().all(|deal| deal.1 == stage(Stage::Refunded)) && all.len() == 2, "{all:?}");
    meddle(&account, which, Gone::Deal(all[0].0), true, 5).await;
    let of_company = changed(7, 7, &[anna, mail], |order| {
        (order.state, order.paid_at, order.paid.minor) = (OrderState::Placed, None, 0);
        order.company = Some(Company { name: "ООО Вишнёвый сад".into(), tax_id: None, unchecked: None });
    });
    fold(&account, of_company).await;
    assert_eq!(deals(&account, which), [(all[1].0, stage(Rung::Cart), "1500".to_owned())]);
}

async fn a_deal_that_takes_the_place_of_a_deleted_one_hangs_on_its_persons_contact(which: Which) {
    let account = Account::of(which).await;
    let (anna, hers, boris) = (ANNA[0], "email:anna@example.com", "phone:+79161110002");
    fold(&account, order(1, &[anna])).await;
    let (gone, _) = only_deal(&account, which);
    let contact = account.owner_of(gone).expect("her contact");
    fold(&account, order(2, &[boris])).await;
    fold(&account, order(3, &[hers])).await;
    meddle(&account, which, Gone::Deal(gone), true, 4).await;
    // She mistypes her phone, and it is his.
    fold(&account, changed(5, 5, &[hers, boris], |_| {})).await;
    fold(&account, changed(5, 9, &[hers, anna], |_| {})).await;
    account.reconcile().await;
    let owners: BTreeSet<_> =
        deals(&account, which).iter().map(|deal| (deal.2.clone(), account.owner_of(deal.0))).collect();
    assert!(owners.contains(&("4500".to_owned(), Some(contact))), "{owners:?}, hers is {contact}");
}

async fn a_deal_that_waits_for_the_account_brings_no_deleted_contact_back(which: Which) {
    let account = Account::of(which).await;
    let (gone, first) = (stage(Rung::Paid), stage(Stage::ALL[0]));
    assert!(match which {
        Which::Amo => account.amocrm().delete_stage(PIPELINE, &gone),
        Which::Vtiger => account.vtiger().delete_stage(&gone, &first),
    });
    assert!(account.sync.handle(vec![order(1, &ANNA)]).await.is_empty());
    account.sync.reconcile(FlushMode::Everything).await.expect("a round");
    assert_eq!(account.counts(), (1, 0), "the deal needs a stage that is gone");
    let contact = match which {
        Which::Amo => account.amocrm().contacts()[0]["id"].as_u64().expect("an id"),
        Which::Vtiger => {
            let contacts = account.vtiger().records("Contacts");
            let (_, id) = contacts[0]["id"].as_str().and_then(|id| id.split_once('x')).expect("an id");
            id.parse().expect("a number")
        }
    };
    account.delete(Gone::Contact(contact));
    fold(&account, told(Gone::Contact(contact), true, 5)).await;
    fold(&account, form(6, &ANNA)).await;
    assert_eq!(account.counts(), (0, 0), "what the hub tried to show before the deletion is no purchase after it");
    assert!(account.sync.handle(vec![order(8, &ANNA)]).await.is_empty());
    for _ in 0..100 {
        account.sync.reconcile(FlushMode::Everything).await.expect("a round");
        if account.counts() == (1, 0) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("a purchase after the deletion makes no contact");
}

async fn a_cart_that_a_manager_paid_before_the_shop_did_stays_deleted(which: Which) {
    let account = Account::of(which).await;
    fold(&account, cart(1, &ANNA)).await;
    moved(&account, which, &stage(Rung::Paid), 10).await;
    // Paid before the manager's move, and told after it.
    fold(&account, changed(1, 12, &ANNA, |_| {})).await;
    let (id, price) = only_deal(&account, which);
    assert_eq!(price, "1500");
    account.delete(Gone::Deal(id));
    fold(&account, told(Gone::Deal(id), true, 20)).await;
    fold(&account, changed(1, 22, &ANNA, |order| order.promo_codes.push("SPRING".into()))).await;
    assert_eq!(account.counts(), (1, 0));
}

async fn a_deal_that_is_back_follows_its_order_though_no_webhook_told_of_it(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    let (id, _) = only_deal(&account, which);
    // The deal was restored before the webhook of its deletion came.
    fold(&account, told(Gone::Deal(id), true, 5)).await;
    fold(&account, refund(1, 7, &ANNA)).await;
    account.reconcile().await;
    assert_eq!(only_deal(&account, which), (id, "0".into()));
}

async fn a_purchase_after_an_unheard_restore_makes_no_second_row(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    let (id, contact) = (only_deal(&account, which).0, first_contact(&account, which));
    let rows = [Gone::Deal(id), Gone::Contact(contact)];
    for row in rows {
        meddle(&account, which, row, true, 3).await;
    }
    for row in rows {
        match which {
            Which::Amo => assert!(account.amocrm().restored_by_manager(entity_of(row), number_of(row))),
            Which::Vtiger => restore(&account, row, false),
        }
    }
    // The CRM cannot be asked at first: nothing is made meanwhile.
    account.set_down(true);
    assert!(account.sync.handle(vec![order(5, &ANNA)]).await.is_empty());
    let round = account.sync.reconcile(FlushMode::Everything).await.expect("a round");
    assert_eq!((round.left, round.unavailable.is_some()), (1, true));
    account.set_down(false);
    account.reconcile().await;
    assert_eq!(account.counts(), (1, 1));
    assert_eq!(only_deal(&account, which), (id, "3000".into()));
}

async fn a_contact_that_is_back_is_found_when_its_person_is_joined(which: Which) {
    let account = Account::of(which).await;
    // The elder's contact counts.
    fold(&account, form(1, &["email:anna@example.com"])).await;
    let elder = first_contact(&account, which);
    fold(&account, form(3, &ANNA)).await;
    let contact = match which {
        Which::Amo => account.amocrm().all_ids("contacts").into_iter().find(|id| *id != elder).expect("a second"),
        Which::Vtiger => account.vtiger().records("Contacts").iter().filter_map(number_of_row).max().expect("a second"),
    };
    // The contact was restored before the webhook of its deletion came.
    fold(&account, told(Gone::Contact(contact), true, 5)).await;
    fold(&account, form(9, &[ANNA[0], "email:anna@example.com"])).await;
    account.reconcile().await;
    let (marked, mark): (Vec<String>, _) = match which {
        Which::Amo => (account.contacts(), "duplicate of"),
        Which::Vtiger => {
            let comments = account.vtiger().records("ModComments");
            (comments.iter().map(|row| format!("{row:?}")).collect(), "Duplicate of")
        }
    };
    let duplicates = marked.iter().filter(|row| row.contains(mark)).count();
    assert_eq!((account.counts().0, duplicates), (2, 1));
}

async fn a_deal_whose_contact_was_deleted_hangs_on_that_of_a_joined_person(which: Which) {
    let account = Account::of(which).await;
    fold(&account, order(1, &ANNA)).await;
    let (deal, contact) = (only_deal(&account, which).0, first_contact(&account, which));
    meddle(&account, which, Gone::Contact(contact), true, 5).await;
    fold(&account, form(7, &["email:anna@example.com"])).await;
    fold(&account, form(9, &[ANNA[0], "email:anna@example.com"])).await;
    account.reconcile().await;
    assert_eq!(account.counts().0, 1);
    assert_eq!(account.owner_of(deal), Some(first_contact(&account, which)));
}

async fn a_deal_whose_contact_was_deleted_follows_its_order(which: Which) {
    let account = Account::of(which).await;
    let (boris, clara) = ("phone:+79161110002", "phone:+79161110003");
    for (n, who) in [(1, ANNA[0]), (2, boris)] {
        fold(&account, order(n, &[who])).await;
        let contact = first_contact(&account, which);
        meddle(&account, which, Gone::Contact(contact), true, 10 + n).await;
    }
    let before: Vec<u64> = deals(&account, which).iter().map(|deal| deal.0).collect();
    fold(&account, refund(1, 20, &ANNA)).await;
    fold(&account, changed(2, 21, &[clara], |_| {})).await;
    account.reconcile().await;
    let after: Vec<(bool, String, String)> =
        deals(&account, which).into_iter().map(|(id, at, price)| (before.contains(&id), at, price)).collect();
    let is_refunded = |deal: &&(bool, String, String)| deal.0 && deal.1 == stage(Stage::Refunded) && deal.2 == "0";
    assert_eq!(after.iter().filter(is_refunded).count(), 1, "{after:?}");
    assert_eq!(after.iter().filter(|deal| deal.2 == "1500").count(), 1, "{after:?}");
    assert!(after.iter().any(|deal| !deal.0 && deal.2 == "1500"), "the new buyer has it: {after:?}");
    assert_eq!(account.counts(), (1, 3), "no contact is back");
    // Nor is any of it a purchase since.
    fold(&account, form(22, &ANNA)).await;
    assert_eq!(account.counts(), (1, 3));
}

fn entity_of(row: Gone) -> &'static str {
    if matches!(row, Gone::Deal(_)) { "leads" } else { "contacts" }
}

fn number_of(row: Gone) -> u64 {
    match row {
        Gone::Deal(id) | Gone::Contact(id) | Gone::Company(id) => id,
    }
}

fn number_of_row(row: &serde_json::Value) -> Option<u64> {
    row["id"].as_str()?.split_once('x')?.1.parse().ok()
}

fn first_contact(account: &Account, which: Which) -> u64 {
    match which {
        Which::Amo => account.amocrm().all_ids("contacts")[0],
        Which::Vtiger => {
            let id = account.vtiger().records("Contacts")[0]["id"].as_str().expect("an id").to_owned();
            id.trim_start_matches("12x").parse().expect("a number")
        }
    }
}

/// The companies that contacts, deals and closing documents name, and those that exist.
fn companies_of(account: &Account, which: Which) -> (BTreeSet<String>, BTreeSet<String>) {
    match which {
        Which::Amo => {
            let id = |row: &serde_json::Value| row["_embedded"]["companies"][0]["id"].to_string();
            let rows = [account.amocrm().contacts(), account.amocrm().leads()].concat();
            let all = account.amocrm().all_ids("companies").into_iter().map(|id| id.to_string());
            (rows.iter().map(id).collect(), all.collect())
        }
        Which::Vtiger => {
            let of = |module: &str, field: &str| {
                let text = |row: &serde_json::Value| row[field].as_str().unwrap_or_default().to_owned();
                account.vtiger().records(module).iter().map(text).collect::<BTreeSet<_>>()
            };
            let named = [("Contacts", "account_id"), ("Potentials", "related_to"), ("Invoice", "account_id")];
            (named.into_iter().flat_map(|(module, field)| of(module, field)).collect(), of("Accounts", "id"))
        }
    }
}

async fn a_company_that_is_made_again_has_its_people_and_closing_documents(which: Which) {
    let account = Account::of(which).await;
    let of_company = |n: i64| {
        changed(n, n, &ANNA, |order| {
            order.company =
                Some(Company { name: "ООО Вишнёвый сад".into(), tax_id: None, unchecked: None });
        })
    };
    fold(&account, of_company(1)).await;
    let (named, all) = companies_of(&account, which);
    assert!(all.len() == 1 && named == all, "{named:?} {all:?}");
    let id = all.first().and_then(|id| id.rsplit('x').next()?.parse().ok()).expect("an id");
    account.delete(Gone::Company(id));
    fold(&account, of_company(8)).await;
    account.reconcile().await;
    let (named, all) = companies_of(&account, which);
    assert!(all.len() == 1 && named == all, "{named:?} {all:?}");
}
