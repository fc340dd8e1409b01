//! OAuth with refresh tokens that work once: no race and no lost answer may lock the account out.

use std::sync::Arc;

use stagedoor_crm::amocrm::{AmoCrm, Authorization, OAuth};
use stagedoor_ports::{Clock, Crm, CrmError, CrmRows, Store, SystemClock, memory::MemoryStore};
use stagedoor_sandbox::{Fault, FaultKind, Seed};
use stagedoor_tests::world::{World, settings};

fn client(world: &World, store: &Arc<dyn Store>, owner: &str) -> AmoCrm {
    let seed = Seed::default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keys = (seed.client_id, seed.client_secret, seed.redirect_uri);
    let oauth = OAuth::new(keys, Arc::clone(store), clock, owner.to_owned());
    AmoCrm::new(settings(&world.base, 1_000), Authorization::OAuth(Box::new(oauth))).expect("a client")
}

/// Makes every stored access token look as if it ended so many seconds from now: with few left a refresh is due, with
/// none the hub has nothing to fall back on but a refresh token that works.
async fn age(store: &Arc<dyn Store>, seconds: i64) {
    let key_value = store.key_value("amocrm/tokens").await.expect("read").expect("tokens");
    let mut pairs: serde_json::Value = serde_json::from_str(&key_value.value).expect("JSON");
    let soon = (stagedoor_model::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string();
    for pair in pairs.as_array_mut().expect("pairs") {
        pair["expires_at"] = soon.clone().into();
    }
    assert!(store.compare_and_set("amocrm/tokens", &pairs.to_string(), Some(key_value.version)).await.expect("put"));
}

async fn code(world: &World) -> String {
    let http = stagedoor_http::builder().build().expect("a client");
    let answer = http.post(format!("{}/_sandbox/codes", world.base)).send().await.expect("an answer");
    let answer: serde_json::Value = answer.json().await.expect("JSON");
    answer["code"].as_str().expect("a code").to_owned()
}

fn refreshes(world: &World) -> u64 {
    world.sandbox.calls().get("POST /oauth2/access_token").copied().unwrap_or(0)
}

#[tokio::test]
async fn an_ageing_token_is_exchanged_and_the_new_one_kept() {
    let world = World::new().await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let crm = client(&world, &store, "a");
    crm.authorize(&code(&world).await).await.expect("authorised");
    for expected in 2..5 {
        age(&store, 60).await;
        crm.page(CrmRows::Contacts, 1).await.expect("read");
        assert_eq!(refreshes(&world), expected);
    }
}

#[tokio::test]
async fn two_processes_that_refresh_at_once_lock_nobody_out() {
    let world = World::new().await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let (one, two) = (client(&world, &store, "a"), client(&world, &store, "b"));
    one.authorize(&code(&world).await).await.expect("authorised");
    for _ in 0..20 {
        age(&store, 60).await;
        let (a, b) = tokio::join!(one.page(CrmRows::Contacts, 1), two.page(CrmRows::Contacts, 1));
        assert!(a.is_ok() && b.is_ok());
    }
    assert_eq!(refreshes(&world), 1 + 20, "one refresh a round, whoever made it");
    age(&store, -1).await;
    let (a, b) = (one.page(CrmRows::Contacts, 1).await, two.page(CrmRows::Contacts, 1).await);
    assert!(a.is_ok() && b.is_ok(), "the refresh token that is kept works");
}

#[tokio::test]
async fn a_lost_answer_to_a_refresh_is_survived_by_the_spare_pair() {
    let world = World::new().await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let crm = client(&world, &store, "a");
    crm.authorize(&code(&world).await).await.expect("authorised");
    crm.authorize(&code(&world).await).await.expect("authorised again: the spare");
    age(&store, 60).await;
    world.sandbox.set_fault(Fault::once(FaultKind::AnswerLost, "POST /oauth2/access_token"));
    for _ in 0..4 {
        assert!(crm.page(CrmRows::Contacts, 1).await.is_ok());
    }
    age(&store, -1).await;
    assert!(crm.page(CrmRows::Contacts, 1).await.is_ok(), "the account is not locked out");
}

#[tokio::test]
async fn when_every_token_is_spent_the_owner_is_told_what_to_do() {
    let world = World::new().await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let crm = client(&world, &store, "a");
    match crm.page(CrmRows::Contacts, 1).await {
        Err(CrmError::CredentialsRejected(text)) => assert!(text.contains("stagedoor authorize"), "{text}"),
        other => panic!("expected a denial, got {:?}", other.map(|page| page.next)),
    }
}
