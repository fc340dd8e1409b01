//! Who withdraws through an address withdraws for all whose facts prove it; what a stranger claims weakens nobody's address.

use serde_json::{Value, json};
use stagedoor::{commands, export, segment_commands};
use stagedoor_model::{Email, Identifier, Phone, Region, Timestamp};
use stagedoor_testkit::{SignedRequest, form, form_signed, json as posted, unisender};
use stagedoor_tests::hub::TestHub;

const KEY: &str = "6x4mpl3un1s3nd3rk3y0000000000000";
const ANNA: &str = "anna@example.com";
const PHONE: &str = "+79165551001";

fn email(text: &str) -> Identifier {
    Identifier::email(Email::parse(text).expect("an address"))
}

fn phone(text: &str) -> Identifier {
    Identifier::phone(Phone::parse(text, Region::new("RU").expect("a region")).expect("a phone"))
}

/// What the theatre's own server tells, with consents to letters and SMS.
fn by_site(id: &str, email: &str, phone: &str, minutes_ago: i64) -> SignedRequest {
    let now = Timestamp::now();
    let at = now - jiff::SignedDuration::from_mins(minutes_ago);
    let consent = |channel: &str| json!({ "purpose": "marketing", "channel": channel, "given": true });
    let body = json!({
        "kind": "lead", "name": "Анна", "email": email, "phone": phone, "at": at.to_string(),
        "consents": [consent("email"), consent("sms")],
    });
    form_signed("/website/site", &body, "generic-source-secret", id, now)
}

fn by_stranger(body: &Value) -> SignedRequest {
    posted("/website/landing", body)
        .header("origin", "https://cherry.example.ru")
        .header("x-stagedoor-key", "landing-key")
}

fn unsubscribes(address: &str) -> SignedRequest {
    let when = Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::get("Europe/Moscow").expect("a zone"));
    let when = when.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let data = json!({ "email": address, "list_ids": [134] });
    unisender("/mail/unisender", &[json!({ "event_name": "unsubscribe", "event_time": when, "event_data": data })], KEY)
}

fn stops_by_sms(phone: &str) -> SignedRequest {
    let zone = jiff::tz::TimeZone::get("Europe/Moscow").expect("a zone");
    let time = Timestamp::now().to_zoned_datetime(zone).strftime("%d.%m.%Y %H:%M:%S").to_string();
    let phone = phone.trim_start_matches('+');
    form("/mail/smsc/smsc_hook_17", &[("sms_id", "901"), ("phone", phone), ("mes", "СТОП"), ("time", &time)])
}

/// How each of those who are known by this stands with letters and SMS.
async fn stands(hub: &TestHub, who: &Identifier) -> Vec<[String; 2]> {
    let told = segment_commands::evidence(&hub.hub, who).await.expect("evidence");
    let all = told["people"].as_array().cloned().unwrap_or_else(|| vec![told]);
    let of = |one: &Value, channel: &str| one["now"][channel]["standing"].as_str().unwrap_or_default().to_owned();
    all.iter().map(|one| [of(one, "email"), of(one, "sms")]).collect()
}

async fn letters(hub: &TestHub) -> usize {
    segment_commands::members(&hub.hub, "letters").await.expect("members").len()
}

#[tokio::test]
async fn strangers_who_claim_an_address_weaken_it_for_nobody_who_proves_it() {
    for by_sms in [false, true] {
        let hub = TestHub::start().await;
        hub.take(&by_site("1", ANNA, PHONE, 5)).await;
        for n in 0..14 {
            let name = format!("Имя{}", char::from_u32(0x410 + n).unwrap_or('Я'));
            hub.take(&by_stranger(&json!({ "your-email": ANNA, "your-tel": format!("+7916777{n:04}") }))).await;
            hub.take(&by_stranger(&json!({ "your-tel": PHONE, "your-email": format!("x{n}@example.net") }))).await;
            hub.take(&by_stranger(&json!({ "your-email": ANNA, "your-name": name }))).await;
        }
        hub.settled().await;
        assert!(stagedoor::decisions::crowds(&hub.hub).await.expect("read").is_empty());
        for known_by in [email(ANNA), phone(PHONE)] {
            assert_eq!(stands(&hub, &known_by).await, [["given", "given"]], "strangers change nothing");
        }
        hub.take(&if by_sms { stops_by_sms(PHONE) } else { unsubscribes(ANNA) }).await;
        hub.settled().await;
        for known_by in [email(ANNA), phone(PHONE)] {
            assert_eq!(stands(&hub, &known_by).await, [["withdrawn", "withdrawn"]]);
        }
        assert_eq!(letters(&hub).await, 0);
    }
}

#[tokio::test]
async fn a_withdrawal_through_a_crowds_address_reaches_everybody_who_has_it_before_or_after() {
    for (late, by_sms) in [(false, false), (true, false), (false, true), (true, true)] {
        let hub = TestHub::start().await;
        // An address that nine people gave belongs to a crowd, and joins none of them.
        for n in 0..10 {
            let own = (format!("own{n}@example.net"), format!("+7916888{n:04}"));
            let (email, phone) = if by_sms { (own.0.as_str(), PHONE) } else { (ANNA, own.1.as_str()) };
            hub.take(&by_site(&n.to_string(), email, phone, 5)).await;
        }
        let her = by_site("her", "her@example.net", "+79165550000", 5);
        let hers = if by_sms {
            by_site("hers", "her@example.net", PHONE, 4)
        } else {
            by_site("hers", ANNA, "+79165550000", 4)
        };
        hub.take(&her).await;
        if !late {
            hub.take(&hers).await;
        }
        hub.settled().await;
        assert_eq!(stands(&hub, &email("her@example.net")).await[0], ["given", "given"]);
        hub.take(&if by_sms { stops_by_sms(PHONE) } else { unsubscribes(ANNA) }).await;
        hub.settled().await;
        if late {
            hub.take(&hers).await;
            hub.settled().await;
        }
        let known_by = if by_sms { email("her@example.net") } else { phone("+79165550000") };
        assert_eq!(stands(&hub, &known_by).await, [["withdrawn", "withdrawn"]], "late: {late}, SMS: {by_sms}");
        assert_eq!(letters(&hub).await, 0, "late: {late}, SMS: {by_sms}");
        // A new word of hers counts again, for her alone.
        let again = if by_sms {
            by_site("again", "her@example.net", PHONE, -1)
        } else {
            by_site("again", ANNA, "+79165550000", -1)
        };
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        hub.take(&again).await;
        hub.settled().await;
        assert_eq!(stands(&hub, &known_by).await, [["given", "given"]], "late: {late}, SMS: {by_sms}");
    }
}

#[tokio::test]
async fn commands_find_everybody_who_has_a_crowds_address() {
    let hub = TestHub::start().await;
    for n in 0..10 {
        hub.take(&by_site(&n.to_string(), ANNA, &format!("+7916888{n:04}"), 5)).await;
    }
    hub.settled().await;
    let anna = email(ANNA);
    let told = commands::explanation(&hub.hub, &anna).await.expect("explained");
    assert!(told.starts_with("10 people have email:anna@example.com"), "{told}");
    assert_eq!(stands(&hub, &anna).await.len(), 10);
    let all = export::export(&hub.hub, &anna).await.expect("exported");
    assert_eq!(all["people"].as_array().map(Vec::len), Some(10));
    let refused = commands::erase(&hub.hub, &anna).await.expect_err("several");
    assert!(refused.contains("10 people") && refused.contains("phone:+79168880003"), "{refused}");
    commands::erase(&hub.hub, &phone("+79168880003")).await.expect("one of them");
    assert_eq!(stands(&hub, &anna).await.len(), 9);
    commands::erase_everyone(&hub.hub, &anna).await.expect("the others");
    assert!(segment_commands::evidence(&hub.hub, &anna).await.is_err());
    assert!(segment_commands::evidence(&hub.hub, &phone("+79168880004")).await.is_err());
}
