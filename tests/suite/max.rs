//! MAX: what it proves and what it does not, its subscription, and a fan's way from the link to the next channel.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use stagedoor::{DEFAULT_CONFIG, read_config};
use stagedoor_model::{Body, Content, Event, Identifier, MessageDecided, Messenger, Proof, SourceName, Timestamp};
use stagedoor_ports::{Channel, Sending, Webhook};
use stagedoor_sandbox::{Messengers, Platform};
use stagedoor_testkit::{
    SignedRequest,
    fans::{Account, ChatFan},
    hmac_sha256_hex, json as posted,
};
use stagedoor_tests::{
    provider_harness::{ProviderHarness, source},
    tls::Authority,
};
use tokio::net::TcpListener;

use crate::mailings::{Stage, noon};

const SECRET: &str = "stagedoor-max-secret";
const PERSON: u64 = 123_456_789;

fn shown(path: &str, update: &Value) -> SignedRequest {
    posted(path, update).header("x-max-bot-api-secret", SECRET)
}

async fn heard(updates: &[Value]) -> Vec<Event> {
    let harness = ProviderHarness::open(source("max", SECRET), "2027-01-15T08:00:05Z".parse().expect("a time"));
    let mut events = Vec::new();
    for update in updates {
        events.extend(harness.take(&shown(&harness.path, update)).await.events);
    }
    events
}

fn message(body: Value, link: Option<Value>) -> Value {
    let mut message = json!({
        "recipient": { "chat_id": 1, "chat_type": "dialog", "user_id": 2 }, "timestamp": 1_800_000_000_000_i64,
        "body": { "mid": "mid.1", "seq": 1, "text": null },
        "sender": { "user_id": PERSON, "first_name": "Анна", "is_bot": false },
    });
    for (name, value) in body.as_object().expect("an object") {
        message["body"][name] = value.clone();
    }
    if let Some(link) = link {
        message["link"] = link;
    }
    json!({ "update_type": "message_created", "timestamp": 1_800_000_000_000_i64, "message": message })
}

/// A contact card of this owner, with this signature.
fn card(owner: u64, hash: Option<&str>) -> Value {
    let vcf = "BEGIN:VCARD\r\nVERSION:3.0\r\nTEL;TYPE=cell:79990000001\r\nFN:Анна\r\nEND:VCARD\r\n";
    let right = hmac_sha256_hex(SECRET, vcf.as_bytes());
    let payload = json!({ "vcf_info": vcf, "max_info": { "user_id": owner }, "hash": hash.unwrap_or(&right) });
    message(json!({ "attachments": [{ "type": "contact", "payload": payload }] }), None)
}

fn proof(events: &[Event]) -> Option<Proof> {
    events.iter().find_map(|event| match &event.body {
        Body::ContactShared(shared) => Some(shared.proof),
        _ => None,
    })
}

#[tokio::test]
async fn a_card_proves_a_phone_only_under_the_bots_token_and_for_its_own_sender() {
    assert_eq!(proof(&heard(&[card(PERSON, None)]).await), Some(Proof::Channel));
    for wrong in ["", "00", &"0".repeat(64)] {
        assert_eq!(proof(&heard(&[card(PERSON, Some(wrong))]).await), Some(Proof::Claimed), "{wrong:?}");
    }
    let others = heard(&[card(7, None)]).await;
    assert_eq!(proof(&others), None);
    let Body::MessageReceived(heard) = &others[0].body else { panic!("{others:?}") };
    let Content::Other { kind, caption, .. } = &heard.content else { panic!("{heard:?}") };
    assert_eq!((kind.as_str(), caption.as_deref()), ("contact", Some("TEL: 79990000001\nFN: Анна")));
}

#[tokio::test]
async fn a_forwarded_message_is_heard_and_starts_nothing() {
    let link = json!({ "type": "forward", "message": { "mid": "m", "seq": 1, "text": "/start k7q2m9x4t8wd\nСкидка" } });
    let events = heard(&[message(json!({ "text": "это про вас?" }), Some(link))]).await;
    assert_eq!(events.len(), 1);
    let Body::MessageReceived(heard) = &events[0].body else { panic!("{events:?}") };
    let Content::Other { kind, caption, .. } = &heard.content else { panic!("{heard:?}") };
    assert_eq!(kind, "forwarded");
    assert_eq!(caption.as_deref(), Some("это про вас?\n> /start k7q2m9x4t8wd\n> Скидка"));
}

#[tokio::test]
async fn a_stopped_bot_is_one_fact_though_max_tells_it_twice() {
    let told = |kind: &str, ms: i64| json!({ "update_type": kind, "timestamp": ms, "chat_id": 1, "user": { "user_id": PERSON, "first_name": "А" } });
    let pair = [told("bot_stopped", 1_800_000_000_100), told("dialog_removed", 1_800_000_000_140)];
    let events = heard(&pair).await;
    let ids: BTreeSet<String> = events.iter().map(|event| event.id.to_string()).collect();
    assert_eq!((events.len(), ids.len()), (2, 1), "the second is known");
    let later = heard(&[told("bot_stopped", 1_800_000_900_000)]).await;
    assert!(!ids.contains(&later[0].id.to_string()), "another day is another fact");
}

#[tokio::test]
async fn what_max_may_add_one_day_is_kept_beside_the_words_that_are_understood() {
    let poll = json!({ "text": "смотрите", "attachments": [{ "type": "poll", "payload": { "question": "Идём?" } }] });
    let events = heard(&[message(poll, None)]).await;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind()).collect();
    assert!(kinds.contains(&"stagedoor.message.received.v1") && events.len() == 2, "{kinds:?}");
    assert!(events.iter().any(|event| matches!(event.body, Body::Unrecognized(_))), "{kinds:?}");
}

/// The channel of MAX in a config with this address of its host and these further options.
fn channel(api: &str, options: &str) -> Result<Arc<dyn Channel>, String> {
    let own = "token = \"dev:dev-max-token\"\napi = \"http://127.0.0.1:8082\"";
    assert!(DEFAULT_CONFIG.contains(own));
    let text = DEFAULT_CONFIG.replace(own, &format!("token = \"dev:dev-max-token\"\napi = \"{api}\"\n{options}"));
    let config = read_config("stagedoor.toml", &text, None).map_err(|error| error.to_string())?;
    let channels = stagedoor_channels::channels(&config)?;
    Ok(channels[&SourceName::new("max").expect("a name")].clone())
}

async fn stand_in() -> (Messengers, u16) {
    let messengers = Messengers::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(messengers.clone().serve(listener));
    (messengers, port)
}

fn to(id: u64) -> MessageDecided {
    let to = Identifier::chat(Messenger::Max, "max", &id.to_string()).expect("an id");
    let through = SourceName::new("max").expect("a name");
    MessageDecided::new(through, to, "Ваш промокод".into(), Timestamp::MAX)
}

#[tokio::test]
async fn three_suspended_chats_in_a_row_are_the_bots_fault_and_withdraw_nobody_else() {
    let (messengers, port) = stand_in().await;
    let channel = channel(&format!("http://127.0.0.1:{port}"), "").expect("a channel");
    for id in 1..=5 {
        messengers.open(Platform::Max, &id.to_string());
    }
    for id in [1, 2, 4, 5] {
        messengers.block(Platform::Max, &id.to_string());
    }
    let withdraws = async |id| matches!(channel.send("d", &to(id)).await, Sending::RecipientOptedOut(_));
    assert!(withdraws(1).await && withdraws(2).await);
    assert!(matches!(channel.send("d", &to(3)).await, Sending::Sent(_)), "the bot is well");
    assert!(withdraws(1).await && withdraws(1).await && withdraws(4).await);
    match channel.send("d", &to(5)).await {
        Sending::CredentialsRejected(reason) => assert!(reason.contains("bot"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_subscription_that_max_ended_is_made_again_with_the_same_secret() {
    let (messengers, port) = stand_in().await;
    let channel = channel(&format!("http://127.0.0.1:{port}"), "").expect("a channel");
    let channels = [(SourceName::new("max").expect("a name"), channel)].into();
    let look = async || {
        let states = stagedoor_outreach::webhooks(&channels, "https://hub.example").await;
        states.into_iter().map(|(source, state)| (source.to_string(), state)).collect::<Vec<_>>()
    };
    let max = "max".to_owned();
    assert_eq!(look().await, [(max.clone(), Webhook::MadeAgain)]);
    assert_eq!(look().await, [(max.clone(), Webhook::Stands)]);
    messengers.end_subscriptions();
    assert_eq!(look().await, [(max.clone(), Webhook::MadeAgain)]);
    let known = messengers.subscriptions();
    assert_eq!(known["https://hub.example/messaging/max"].as_deref(), Some(SECRET));
    messengers.change_token(Platform::Max, "another");
    let told = look().await;
    assert!(matches!(&told[..], [(_, Webhook::Missing(why))] if why.contains("401")), "{told:?}");
    let http = stagedoor_outreach::webhooks(&channels, "http://hub.example:8080").await;
    assert!(matches!(&http[..], [(_, Webhook::Missing(_))]), "{http:?}");
}

#[tokio::test]
async fn the_hosts_own_authority_is_trusted_by_its_source_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path());
    let (messengers, port) = stand_in().await;
    messengers.open(Platform::Max, "3");
    let api = format!("https://localhost:{}", authority.before(port).await);
    let trusting = channel(&api, &format!("ca_file = {:?}", authority.file)).expect("a channel");
    let sent = trusting.send("d", &to(3)).await;
    assert!(matches!(sent, Sending::Sent(_)), "{sent:?}");
    let plain = channel(&api, "").expect("a channel");
    assert!(matches!(plain.send("d", &to(3)).await, Sending::NotSent(_)), "nobody else trusts it");
    for (file, why) in [("absent.pem", "cannot read"), ("empty.pem", "no certificate")] {
        let path = folder.path().join(file);
        if file == "empty.pem" {
            std::fs::write(&path, "nothing").expect("written");
        }
        let error = channel(&api, &format!("ca_file = {path:?}")).err().expect("refused");
        assert!(error.contains("max: options.ca_file") && error.contains(why), "{error}");
    }
}

fn channels_of_the_only_contact(stage: &Stage) -> String {
    let contacts = stage.hub.sandbox.contacts();
    assert_eq!(contacts.len(), 1, "{contacts:?}");
    let fields = contacts[0]["custom_fields_values"].as_array().cloned().unwrap_or_default();
    let field = fields.into_iter().find(|field| field["field_code"] == "STAGEDOOR_CHANNELS").unwrap_or_default();
    field["values"][0]["value"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_buyer_comes_by_the_link_shares_the_phone_is_told_by_max_and_after_a_block_by_letter() {
    let mut stage = Stage::with(noon(3), |text| {
        let channels = "channels = [\"telegram\", \"viber\", \"vk\", \"messenger\"]";
        assert!(text.contains(channels));
        text.replace("hold_out = 20", "hold_out = 0").replace(channels, "channels = [\"max\", \"telegram\"]")
    })
    .await;
    stage.buys("vera@example.com", "+79161234562", "kzn-1").await;
    stage.hub.settled().await;

    let link = stagedoor::campaign::public_link(&stage.hub.hub, "ufa").expect("a link");
    let page = stagedoor_tests::http().get(&link).header("user-agent", "Mozilla/5.0 (iPhone)").send().await;
    let page = page.expect("the page").text().await.expect("text");
    let before = "https://max.ru/stagedoor_tour_bot?start=";
    let at = page.find(before).unwrap_or_else(|| panic!("{page}")) + before.len();
    let token: String = page[at..].chars().take_while(char::is_ascii_alphanumeric).collect();

    let fan = ChatFan::new(Account::Max(PERSON), "вера");
    stage.hub.messengers.open(Platform::Max, &fan.id());
    stage.hub.take(&fan.start(Some(&token), 1, stage.hub.now().as_second())).await;
    stage.hub.settled().await;
    assert!(!stage.chats(Platform::Max).is_empty(), "the bot greets");
    stage.hub.take(&fan.share_phone("+79161234562", 2, stage.hub.now().as_second())).await;
    stage.hub.settled().await;
    assert_eq!(channels_of_the_only_contact(&stage), "MAX", "the buyer and the fan are one contact");

    let told = stage.chats(Platform::Max).len();
    stage.show("show.rescheduled", "kzn-1", "2027-05-22T16:00:00Z").await;
    stage.hub.settled().await;
    let texts = stage.chats(Platform::Max);
    assert_eq!(texts.len(), told + 1, "{texts:?}");
    assert!(texts.last().is_some_and(|text| text.contains("22.05.2027")), "{texts:?}");
    assert_eq!(stage.letters("vera@example.com"), [], "first the chat");

    // She stops the bot, and MAX does not tell the hub.
    stage.hub.messengers.block(Platform::Max, &fan.id());
    stage.show("show.rescheduled", "kzn-1", "2027-05-23T16:00:00Z").await;
    stage.hub.settled().await;
    assert_eq!(stage.chats(Platform::Max).len(), told + 1);
    let letters = stage.letters("vera@example.com");
    assert!(letters.len() == 1 && letters[0].text.contains("23.05.2027"), "{letters:?}");
    stage.on(60).await;
    assert_eq!(channels_of_the_only_contact(&stage), "MAX (closed)");
}
