//! What an earlier build stored stays readable: its people, their deals, and what the CRM is known to hold of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::Path,
    sync::Arc,
};

use stagedoor::{DEFAULT_CONFIG, Hub, THEATRE_CONFIG, read_config};
use stagedoor_engine::{CrmState, Person, PersonId, ShowKey, Step, deals, plan};
use stagedoor_model::Event;
use stagedoor_ports::SystemClock;

/// What the build itself said of its folder.
pub(crate) struct Told {
    folder: &'static str,
    config: &'static str,
    people: u64,
    deals: u64,
}

pub(crate) const TOUR: Told = Told { folder: "649f0ec/tour", config: DEFAULT_CONFIG, people: 300, deals: 340 };
const UFA: Told = Told { folder: "649f0ec/ufa", config: DEFAULT_CONFIG, people: 249, deals: 118 };
const SEASON: Told = Told { folder: "649f0ec/season", config: THEATRE_CONFIG, people: 345, deals: 495 };

/// The folder as the earlier build left it.
pub(crate) fn unpack(told: &Told, folder: &Path) {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("stored").join(told.folder);
    for name in ["hub.db", "queue.db", "chats.db", "outbox.db"] {
        let packed = std::fs::File::open(stored.join(format!("{name}.gz"))).expect("a stored file");
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).expect("gzip");
        std::fs::write(folder.join(name), bytes).expect("written");
    }
}

fn open(told: &Told, folder: &Path) -> Hub {
    unpack(told, folder);
    let config = read_config("stagedoor.toml", told.config, None).expect("a config");
    Hub::open_by(Arc::new(SystemClock), config, folder, "serve").expect("the folder opens")
}

/// Everybody in the store, with what the CRM is known to hold of them.
async fn everybody(hub: &Hub) -> BTreeMap<PersonId, (Person, CrmState)> {
    let (ids, next) = hub.store.scan_people(None, 10_000).await.expect("people");
    assert_eq!(next, None);
    let mut links = hub.store.crm_states(&ids).await.expect("links");
    let people = hub.store.load(&ids).await.expect("every person is readable");
    people
        .into_iter()
        .map(|one| (one.value.id, (one.value.clone(), links.remove(&one.value.id).unwrap_or_default())))
        .collect()
}

/// Deals that the CRM is known to hold.
fn held(link: &CrmState) -> BTreeSet<&ShowKey> {
    link.deals.iter().filter(|(_, deal)| deal.id.is_some()).map(|(show, _)| show).collect()
}

/// A paid order for a show that nobody in the folder has heard of, by the owner of this identifier.
fn order_of(identifier: &str) -> Event {
    let price = serde_json::json!({ "currency": "RUB", "minor": 150_000 });
    let show = serde_json::json!({ "id": "stored-1", "title": "Три сестры", "city": "Пермь",
        "starts_at": "2027-05-16T16:00:00Z", "zone": "Asia/Yekaterinburg" });
    let at = "2026-11-27T10:00:00Z";
    let order = serde_json::json!({ "id": "stored-order-1", "number": "stored-order-1", "state": "paid", "revision": at, "placed_at": at,
        "paid_at": at, "paid": price, "total": price, "promo_codes": [], "utm": {},
        "tickets": [{ "id": "s1", "live": true, "price": price, "show": show }] });
    let event = serde_json::json!({ "specversion": "1.0", "id": "stored.1", "source": "theatre", "time": at,
        "type": "stagedoor.order.paid.v1", "data": { "identifiers": [identifier], "order": order } });
    serde_json::from_value(event).expect("an event")
}

async fn stays_readable(told: Told) {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = open(&told, folder.path());
    let status = hub.status().await.expect("a status");
    assert_eq!((status.people, status.deals, status.waiting), (told.people, told.deals, 0));
    let catalog = hub.sync.catalog().await.expect("a catalog");
    let now = hub.sync.clock.now();
    let before = everybody(&hub).await;
    assert_eq!(before.len() as u64, told.people);
    for (person, link) in before.values() {
        let derived = deals(person, &catalog);
        let missing: Vec<_> =
            derived.keys().filter(|show| person.is_reachable() && !held(link).contains(show)).collect();
        assert!(missing.is_empty(), "{}: deals for {missing:?} are not found in the CRM", person.id);
        let made: Vec<Step> = plan(person, link, &catalog, now)
            .steps
            .into_iter()
            .map(|(step, _)| step)
            .filter(|step| matches!(step, Step::CreateContact(_) | Step::CreateDeal(_)))
            .collect();
        assert!(made.is_empty(), "{}: would be made a second time: {made:?}", person.id);
    }
    // One more event of somebody who is in the folder already.
    let (id, identifier, known) = before
        .values()
        .filter(|(_, link)| !held(link).is_empty())
        .find_map(|(person, link)| {
            let phone = person.phones().first()?.as_str().to_owned();
            Some((person.id, format!("phone:{phone}"), held(link).into_iter().cloned().collect::<BTreeSet<_>>()))
        })
        .expect("somebody with a deal and a phone");
    assert_eq!(hub.sync.handle(vec![order_of(&identifier)]).await, BTreeSet::new());
    let after = everybody(&hub).await;
    assert_eq!(after.len(), before.len(), "the order belongs to somebody known");
    let (person, link) = &after[&id];
    let shows: BTreeSet<ShowKey> = deals(person, &catalog).into_keys().collect();
    assert!(known.is_subset(&shows), "{known:?} became {shows:?}");
    assert_eq!(shows.len(), known.len() + 1, "{shows:?}");
    assert_eq!(held(link), known.iter().collect(), "what the CRM holds is not forgotten");
    assert_eq!(hub.status().await.expect("a status").waiting, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tours_folder_of_an_earlier_build_opens_and_every_deal_is_found() {
    stays_readable(TOUR).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_chats_and_promo_codes_of_an_earlier_build_opens_and_every_deal_is_found() {
    stays_readable(UFA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_theatres_folder_of_an_earlier_build_opens_and_every_deal_is_found() {
    stays_readable(SEASON).await;
}
