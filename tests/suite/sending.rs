//! What every message is held against, whoever decided it, and what a messenger tells of it afterwards.

use serde_json::json;
use stagedoor_model::{Identifier, Messenger, Phone, Region, Timestamp};
use stagedoor_sandbox::Platform;
use stagedoor_sync::Invitee;
use stagedoor_testkit::{
    SignedRequest,
    fans::{Account, ChatFan, signed_by_meta},
    form_signed,
};

use crate::{
    channels::adapter,
    mailings::{HOUR, Stage, noon},
};

/// Holds a ticket and wrote to us in WhatsApp: (who, what arrived there so far).
async fn holder(stage: &mut Stage) -> (ChatFan, usize) {
    let fan = ChatFan::new(Account::Whatsapp("79161234560".into()), "anna");
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.hub.messengers.open(Platform::Whatsapp, &fan.id());
    stage.hub.take(&fan.say("Здравствуйте", 1, stage.hub.now().as_second())).await;
    stage.on(60).await;
    let before = stage.chats(Platform::Whatsapp).len();
    (fan, before)
}

/// The messenger's id of the last message that arrived there.
fn last(stage: &Stage) -> String {
    let mut arrived = stage.hub.messengers.arrived().into_iter().filter(|one| one.platform == Platform::Whatsapp);
    format!("wamid.{}", arrived.next_back().expect("a message").id)
}

async fn reported(stage: &Stage, fan: &ChatFan, message: &str, state: &str) {
    let signed_request = fan.reported(message, state, stage.hub.now().as_second()).expect("WhatsApp tells");
    stage.hub.take(&signed_request).await;
    stage.on(1).await;
}

#[tokio::test]
async fn a_message_that_the_messenger_took_and_did_not_deliver_is_followed_at_once() {
    let mut stage = Stage::at(noon(3)).await;
    let (fan, before) = holder(&mut stage).await;
    stage.show("show.cancelled", "kzn-1", "2027-05-20T16:00:00Z").await;
    stage.on(60).await;
    assert_eq!((stage.chats(Platform::Whatsapp).len(), stage.letters("anna@example.com").len()), (before + 1, 0));
    reported(&stage, &fan, &last(&stage), "failed").await;
    let letters = stage.letters("anna@example.com");
    assert_eq!(letters.len(), 1, "the letter follows");
    assert!(letters[0].text.contains("отменяется"), "{}", letters[0].text);
    let notes = json!(stage.hub.sandbox.notes()).to_string();
    assert!(notes.contains("not delivered (131026)"), "a manager sees it: {notes}");
}

#[tokio::test]
async fn that_an_earlier_message_was_read_or_failed_says_nothing_of_a_later_one() {
    for state in ["read", "failed"] {
        let mut stage = Stage::at(noon(3)).await;
        let (fan, before) = holder(&mut stage).await;
        let answer = last(&stage);
        stage.show("show.rescheduled", "kzn-1", "2027-05-22T16:00:00Z").await;
        stage.on(60).await;
        assert_eq!(stage.chats(Platform::Whatsapp).len(), before + 1);
        reported(&stage, &fan, &answer, state).await;
        assert_eq!(stage.letters("anna@example.com").len(), 0, "{state}: nothing was said of the notice");
        stage.on(4 * HOUR).await;
        assert_eq!(stage.letters("anna@example.com").len(), 1, "{state}: the notice was not read");
    }
}

/// Messenger tells at this time that the fan read everything up to an earlier one.
fn read_up_to(fan: &ChatFan, watermark: Timestamp, told_at: Timestamp) -> SignedRequest {
    let page = "707356222221168";
    let update = json!({ "sender": { "id": fan.id() }, "recipient": { "id": page },
        "timestamp": told_at.as_millisecond(), "read": { "watermark": watermark.as_millisecond() } });
    let entry = json!({ "id": page, "time": told_at.as_millisecond(), "messaging": [update] });
    signed_by_meta("/messaging/messenger", &json!({ "object": "page", "entry": [entry] }), "stagedoor-meta-app-secret")
}

#[tokio::test]
async fn what_was_sent_after_the_last_look_into_messenger_was_not_read() {
    for (is_read, follows) in [(false, 1), (true, 0)] {
        let mut stage = Stage::at(noon(3)).await;
        let fan = ChatFan::new(Account::Messenger(1_476_077_422_000_779), "anna");
        stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
        stage.hub.messengers.open(Platform::Messenger, &fan.id());
        stage.hub.take(&fan.say("Здравствуйте", 1, stage.hub.now().as_second())).await;
        stage.on(60).await;
        let chat = Identifier::chat(Messenger::Messenger, "messenger", &fan.id()).expect("an id");
        let phone = "phone:+79161234560".parse().expect("a phone");
        stagedoor::decisions::join(&stage.hub.hub, &chat, &phone, "anna").await.expect("one person");
        stage.on(60).await;
        let (before, last_look) = (stage.chats(Platform::Messenger).len(), stage.hub.now());
        stage.on(60).await;
        stage.show("show.rescheduled", "kzn-1", "2027-05-22T16:00:00Z").await;
        stage.on(60).await;
        assert_eq!(stage.chats(Platform::Messenger).len(), before + 1);
        stage.on(60).await;
        let watermark = if is_read { stage.hub.now() } else { last_look };
        stage.hub.take(&read_up_to(&fan, watermark, stage.hub.now())).await;
        stage.on(4 * HOUR).await;
        assert_eq!(stage.letters("anna@example.com").len(), follows, "the notice was read: {is_read}");
    }
}

#[tokio::test]
async fn an_invitation_waits_for_the_morning_of_the_campaigns_place() {
    // 20:00 in Moscow, 22:00 in Ufa.
    let stage = Stage::at(noon(3) + 8 * HOUR).await;
    stage.hub.consents_to_sms(&["+79171234567"]).await;
    stage.on(60).await;
    let region = Region::new("RU").expect("a region");
    let invitees = [Invitee { phone: Phone::parse("+79171234567", region).expect("a phone"), name: None }];
    let invited = stage.hub.hub.sync.invite("ufa", &invitees).await.expect("invited");
    assert_eq!(invited.messages, 1);
    let is_there = |stage: &Stage| !stage.chats(Platform::Sms).is_empty();
    stage.passes(HOUR, is_there).await;
    assert!(!is_there(&stage), "it is night in Ufa");
    // 07:30 in Moscow, 09:30 in Ufa.
    stage.passes(10 * HOUR, is_there).await;
    assert!(is_there(&stage), "it is day in Ufa");
}

/// What smsc.ru tells of a message that it took: 1 is delivered, 3 expired, 20 cannot be delivered, 25 cannot be reached.
fn of_the_gateway(id: &str, phone: &str, status: u8) -> SignedRequest {
    SignedRequest {
        path: "/mail/smsc/smsc_hook_17".into(),
        headers: vec![("content-type".into(), "application/x-www-form-urlencoded".into())],
        body: format!("id={id}&phone={phone}&status={status}&err=6&time=").into_bytes(),
    }
}

#[tokio::test]
async fn an_sms_that_the_gateway_took_and_did_not_deliver_is_followed_at_once() {
    for (status, follows) in [(1, 0), (3, 1), (20, 1), (25, 1)] {
        let order =
            |text: String| text.replace("[\"messenger\", \"email\", \"sms\"]", "[\"messenger\", \"sms\", \"email\"]");
        let mut stage = Stage::with(noon(3), order).await;
        stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
        stage.on(60).await;
        stage.show("show.cancelled", "kzn-1", "2027-05-20T16:00:00Z").await;
        stage.on(60).await;
        let sms = stage.chats(Platform::Sms);
        let letters = stage.letters("anna@example.com").len();
        assert_eq!((sms.len(), letters), (1, 0), "the SMS goes first");
        let id = stage.hub.messengers.arrived().into_iter().find(|one| one.platform == Platform::Sms);
        let id = id.and_then(|one| one.key).expect("the gateway knows it by our id");
        // Of another message to the same number nothing follows.
        stage.hub.take(&of_the_gateway("77", "79161234560", 20)).await;
        stage.on(1).await;
        assert_eq!(stage.letters("anna@example.com").len(), 0);
        stage.hub.take(&of_the_gateway(&id, "79161234560", status)).await;
        stage.on(1).await;
        assert_eq!(stage.letters("anna@example.com").len(), follows, "after status {status}");
    }
}

/// SMS go through an adapter of one's own, which tells later what became of them.
fn by_adapter(text: &str, url: &str) -> String {
    let (before, rest) = text.split_once("[sms]\n").expect("a section");
    let after = rest.split_once("\n\n").expect("its end").1;
    let own = format!(
        "[sms]\nprovider = \"http\"\napi = \"{url}\"\nsecret = \"dev:sms-secret\"\n\n[source.sms-reports]\n\
         function = \"mail\"\nprovider = \"gateway\"\nsecrets = [\"dev:sms-reports-secret\"]\n\n"
    );
    format!("{before}{own}{after}")
        .replace("[\"messenger\", \"email\", \"sms\"]", "[\"messenger\", \"sms\", \"email\"]")
}

#[tokio::test]
async fn what_an_adapter_of_ones_own_tells_later_of_an_sms_is_heard_by_either_id() {
    for (by_our_id, status, follows) in
        [(false, "delivered", 0), (false, "failed", 1), (true, "delivered", 0), (true, "failed", 1)]
    {
        let (url, seen) = adapter(vec![200]).await;
        let mut stage = Stage::with(noon(3), |text| by_adapter(&text, &url)).await;
        stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
        stage.on(60).await;
        stage.show("show.cancelled", "kzn-1", "2027-05-20T16:00:00Z").await;
        stage.on(60).await;
        let sent = seen.lock().expect("a lock").clone();
        assert_eq!((sent.len(), stage.letters("anna@example.com").len()), (1, 0), "the SMS goes first");
        let id = if by_our_id { sent[0]["id"].clone() } else { json!("g1") };
        for (n, id) in [json!("another"), id].into_iter().enumerate() {
            assert_eq!(stage.letters("anna@example.com").len(), 0, "of another SMS nothing follows");
            let report = json!({ "id": id, "phone": "+79161234560", "status": status });
            let (secret, now) = ("sms-reports-secret", stage.hub.now());
            stage.hub.take(&form_signed("/mail/sms-reports", &report, secret, &format!("r{n}"), now)).await;
            stage.on(1).await;
        }
        assert_eq!(stage.letters("anna@example.com").len(), follows, "{status}, by our id: {by_our_id}");
    }
}
