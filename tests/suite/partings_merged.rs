//! People who part after a manager merged or deleted their contacts: each has one that counts, and their own deals on it.

use stagedoor_ports::Gone;
use stagedoor_tests::account::{Account, Which};

use crate::{
    hub_ids::deletion,
    partings::{BOTH, at, contact_with, deals, duplicates, form, held, mirror, order, source, tell},
    restored::hear,
    stages,
};

const ANNA: &str = "phone:+79160000001";
const BORIS: &str = "phone:+79160000002";
const HERS: &str = "email:anna@example.com";
const HIS: &str = "email:boris@example.com";

/// The hub hears that a contact is gone: amoCRM tells, Vtiger is asked.
async fn is_gone(account: &Account, which: Which, contact: u64, second: i64) {
    match which {
        Which::Amo => tell(account, deletion(&source("amocrm"), contact, at(second))).await,
        Which::Vtiger => {
            assert_eq!(hear(account, second).await.deleted, 1);
            account.reconcile().await;
        }
    }
}

/// A manager merges one contact into another, as the hub advised.
async fn merge(account: &Account, which: Which, gone: u64, kept: u64, second: i64) {
    let done = match which {
        Which::Amo => account.amocrm().merged_by_manager("contacts", gone, kept),
        Which::Vtiger => account.vtiger().merged_by_manager(5, &format!("12x{gone}"), &format!("12x{kept}")),
    };
    assert!(done, "{which:?}");
    is_gone(account, which, gone, second).await;
    mirror(account).await;
}

/// Number, stage and price.
type Deal = (u64, String, String);

/// The only deal that is worth something.
fn paid(account: &Account, which: Which) -> Deal {
    stages::deals(account, which).into_iter().find(|(_, _, price)| price == "5000").expect("a deal")
}

/// Anna and Boris have each their own contact and deals.
fn assert_apart(account: &Account, which: Which, hers: &Deal) {
    let picture = account.picture();
    assert_eq!((account.counts().0, duplicates(account, which)), (2, 0), "{which:?}: {picture:?}");
    let (first, second) = (held(account, &ANNA[6..]), held(account, &BORIS[6..]));
    assert!(!first.0.contains("boris@") && !first.0.contains(&BORIS[6..]), "{which:?}: {first:?}");
    assert!(!second.0.contains("anna@") && !second.0.contains(&ANNA[6..]), "{which:?}: {second:?}");
    let contact = contact_with(account, which, &ANNA[6..]);
    assert_eq!(account.owner_of(hers.0), Some(contact), "{which:?}: {picture:?}");
    if which == Which::Amo {
        let his = contact_with(account, which, &BORIS[6..]);
        let lead = account.amocrm().leads().into_iter().find(|lead| lead["id"] == hers.0).expect("her deal");
        let contacts = lead["_embedded"]["contacts"].as_array().expect("contacts");
        assert!(contacts.iter().all(|one| one["id"] != his), "her deal hangs on his contact, too: {contacts:?}");
    }
    assert!(stages::deals(account, which).contains(hers), "{which:?}: her deal is as it was: {picture:?}");
    assert_eq!(deals(&second.1).len(), 2, "{which:?}: {second:?}");
}

#[tokio::test]
async fn whose_contact_was_merged_while_they_were_one_has_a_contact_again() {
    for which in BOTH {
        let account = Account::of(which).await;
        tell(&account, form("moscow", 1, "Борис", &[BORIS])).await;
        tell(&account, order("1", "moscow", 2, "Анна", &[ANNA, HERS])).await;
        let hers = paid(&account, which);
        let [gone, kept] = [ANNA, BORIS].map(|phone| contact_with(&account, which, &phone[6..]));
        // He mistypes his e-mail, and it is hers.
        tell(&account, order("3", "kazan", 3, "Борис", &[BORIS, HERS])).await;
        merge(&account, which, gone, kept, 20).await;
        assert_eq!(account.counts().0, 1, "{which:?}: {:?}", account.picture());
        tell(&account, order("3", "kazan", 50, "Борис", &[BORIS, HIS])).await;
        mirror(&account).await;
        assert_apart(&account, which, &hers);
    }
}

#[tokio::test]
async fn a_deal_of_somebody_whose_contact_was_deleted_stays_with_nobody_else() {
    for which in BOTH {
        let account = Account::of(which).await;
        tell(&account, order("1", "kazan", 2, "Анна", &[ANNA, HERS])).await;
        let hers = paid(&account, which);
        let contact = contact_with(&account, which, &ANNA[6..]);
        account.delete(Gone::Contact(contact));
        is_gone(&account, which, contact, 10).await;
        tell(&account, form("moscow", 12, "Борис", &[BORIS])).await;
        tell(&account, order("3", "kazan", 13, "Борис", &[BORIS, HERS])).await;
        assert_eq!(account.counts().0, 1, "{which:?}: {:?}", account.picture());
        tell(&account, order("3", "kazan", 50, "Борис", &[BORIS, HIS])).await;
        mirror(&account).await;
        assert_apart(&account, which, &hers);
    }
}

#[tokio::test]
async fn a_contact_is_no_duplicate_of_one_that_was_merged_into_a_strangers() {
    for which in BOTH {
        let account = Account::of(which).await;
        tell(&account, form("moscow", 1, "Анна", &[ANNA, HERS])).await;
        tell(&account, form("moscow", 2, "Борис", &[BORIS])).await;
        let [gone, kept] = [BORIS, ANNA].map(|phone| contact_with(&account, which, &phone[6..]));
        tell(&account, form("moscow", 3, "Борис", &[HIS])).await;
        tell(&account, form("moscow", 4, "Борис", &[BORIS, HIS])).await;
        // The second of his contacts is a duplicate of the first, and that becomes one of hers.
        tell(&account, order("1", "moscow", 10, "Борис", &[BORIS, HERS])).await;
        assert_eq!(duplicates(&account, which), 2, "{which:?}");
        merge(&account, which, gone, kept, 20).await;
        tell(&account, order("1", "moscow", 30, "Борис", &[BORIS, HIS])).await;
        mirror(&account).await;
        assert_eq!((account.counts().0, duplicates(&account, which)), (2, 0), "{which:?}: {:?}", account.picture());
    }
}
