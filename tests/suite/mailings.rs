//! What people are written to of the hub's own accord: once an occasion, through the first channel that is alive, never against their
//! word, not at night, not too often; and what that came to.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use stagedoor::segment_commands;
use stagedoor_model::{Email, Identifier, Timestamp};
use stagedoor_sandbox::{Delivered, Platform, PostBreak};
use stagedoor_testkit::{
    SignedRequest,
    fans::{Account, ChatFan},
    form, form_signed, unisender,
};
use stagedoor_tests::{clock::Moved, hub::TestHub};

pub(crate) const HOUR: i64 = 3_600;
const KEY: &str = "6x4mpl3un1s3nd3rk3y0000000000000";

/// Noon in Moscow, in May 2027: shows of the sample config are on the 16th (Moscow), the 20th and the 24th.
pub(crate) fn noon(day: i64) -> i64 {
    let first: Timestamp = "2027-05-01T09:00:00Z".parse().expect("a time");
    first.as_second() + (day - 1) * 24 * HOUR
}

pub(crate) struct Stage {
    pub(crate) hub: TestHub,
    pub(crate) clock: Moved,
    pub(crate) serial: u64,
}

impl Stage {
    pub(crate) async fn at(second: i64) -> Self {
        Self::with(second, |text| text.replace("hold_out = 20", "hold_out = 0")).await
    }

    pub(crate) async fn with(second: i64, change: impl FnOnce(String) -> String) -> Self {
        let clock = Moved::at(second);
        let hub = TestHub::by(Arc::new(clock.clone()), change).await;
        Self { hub, clock, serial: 0 }
    }

    pub(crate) fn site(&mut self, mut body: Value) -> SignedRequest {
        self.serial += 1;
        let now = self.hub.now();
        if let Some(map) = body.as_object_mut() {
            map.entry("at").or_insert(now.to_string().into());
        }
        form_signed("/website/site", &body, "generic-source-secret", &format!("site-{}", self.serial), now)
    }

    pub(crate) async fn consents(&mut self, email: &str) {
        let consents = json!([{ "purpose": "marketing", "channel": "email", "given": true, "wording": "2027-1" }]);
        let lead = self.site(json!({ "kind": "lead", "email": email, "name": "Анна", "consents": consents }));
        self.hub.take(&lead).await;
    }

    pub(crate) async fn leaves_a_cart(&mut self, email: &str, show: &str) {
        let cart = self.site(json!({
            "kind": "cart_abandoned", "cart_id": format!("{email} {show}"), "email": email, "amount": "3000.00",
            "currency": "RUB", "show": show,
        }));
        self.hub.take(&cart).await;
    }

    pub(crate) async fn buys(&mut self, email: &str, phone: &str, show: &str) {
        self.serial += 1;
        let (now, id) = (self.hub.now(), format!("O-{}", self.serial));
        let body = json!({ "type": "order", "data": {
            "id": id, "number": id, "status": "paid", "updated_at": now.to_string(), "placed_at": now.to_string(),
            "paid_at": now.to_string(), "currency": "RUB", "total": "1500.00",
            "buyer": { "name": "Анна", "email": email, "phone": phone },
            "tickets": [{ "id": "t1", "show": { "id": show }, "price": "1500.00" }], "refunds": [],
        }});
        self.hub.take(&form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &id, now)).await;
    }

    pub(crate) async fn show(&mut self, kind: &str, id: &str, starts_at: &str) {
        self.serial += 1;
        let now = self.hub.now();
        let show = json!({
            "id": id, "title": "Вишнёвый сад", "city": "Казань", "starts_at": starts_at, "zone": "Europe/Moscow",
            "changed_at": now.to_string(),
        });
        let body = json!({ "type": kind, "data": show });
        let id = format!("show-{}", self.serial);
        self.hub.take(&form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &id, now)).await;
    }

    /// Time goes by, and whoever is to be looked at is.
    pub(crate) async fn on(&self, seconds: i64) {
        self.hub.settled().await;
        self.clock.on(seconds);
        self.hub.hub.sync.wake().await.expect("woken");
        self.hub.settled().await;
    }

    /// The same while messages wait in the outbox, at most for ten minutes: so slowly that nothing which is under way seems to have
    /// been forgotten.
    pub(crate) async fn passes(&self, seconds: i64, until: impl Fn(&Self) -> bool) {
        self.clock.on(seconds);
        for _ in 0..120 {
            self.hub.hub.sync.wake().await.expect("woken");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            self.clock.on(5);
            if until(self) {
                return;
            }
        }
    }

    pub(crate) fn letters(&self, to: &str) -> Vec<Delivered> {
        self.hub.post.arrived().into_iter().filter(|letter| letter.to == to).collect()
    }

    pub(crate) fn chats(&self, platform: Platform) -> Vec<String> {
        let arrived = self.hub.messengers.arrived().into_iter();
        arrived.filter(|one| one.platform == platform).map(|one| one.text).collect()
    }
}

#[tokio::test]
async fn a_cart_that_was_left_is_written_about_once_and_not_after_it_was_paid() {
    let mut stage = Stage::at(noon(3)).await;
    for fan in ["anna@example.com", "boris@example.com", "silent@example.com"] {
        if fan != "silent@example.com" {
            stage.consents(fan).await;
        }
        stage.leaves_a_cart(fan, "cherry-kazan").await;
    }
    stage.buys("boris@example.com", "+79161234567", "kzn-1").await;
    stage.on(HOUR).await;
    assert!(stage.hub.post.arrived().is_empty(), "an hour is not long");
    stage.on(HOUR + 1).await;
    let letters = stage.letters("anna@example.com");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].text.contains("20.05.2027 19:00"), "{}", letters[0].text);
    let one_click = letters[0].one_click && letters[0].unsubscribe.is_some();
    assert!(one_click, "{}", letters[0].raw);
    assert!(stage.letters("boris@example.com").is_empty(), "he has paid");
    assert!(stage.letters("silent@example.com").is_empty(), "nobody consented");
    for _ in 0..3 {
        stage.on(6 * HOUR).await;
    }
    assert_eq!(stage.letters("anna@example.com").len(), 1);
}

#[tokio::test]
async fn a_letter_gives_its_reader_a_code_of_their_own_in_the_subject_too() {
    let change = |text: String| {
        let (before, after) =
            ("campaign = \"tour\"\nsubject = \"Билеты", "campaign = \"ufa\"\nsubject = \"{promo}: билеты");
        assert!(text.contains(before));
        text.replace("hold_out = 20", "hold_out = 0").replace(before, after)
    };
    let mut stage = Stage::with(noon(3), change).await;
    for n in 0..6 {
        let fan = format!("fan{n}@example.com");
        stage.consents(&fan).await;
        stage.leaves_a_cart(&fan, "cherry-ufa").await;
    }
    stage.on(2 * HOUR + 1).await;
    let letters: Vec<Delivered> = stage.hub.post.arrived();
    assert_eq!(letters.len(), 6);
    let calm = letters.iter().filter(|letter| letter.text.contains("не оплатили"));
    let codes: Vec<&str> = calm.map(|letter| letter.subject.split(':').next().unwrap_or("")).collect();
    let different: BTreeSet<&&str> = codes.iter().collect();
    assert!(different.len() == codes.len() && codes.len() > 1, "each has their own: {codes:?}");
    assert!(codes.iter().all(|code| code.starts_with("UFA-")), "{codes:?}");
    assert!(letters.iter().all(|letter| !letter.subject.contains('{') && !letter.text.contains('{')), "{letters:?}");
}

#[tokio::test]
async fn one_click_takes_somebody_off_every_list_and_looking_at_the_page_does_not() {
    let mut stage = Stage::at(noon(3)).await;
    stage.consents("anna@example.com").await;
    stage.leaves_a_cart("anna@example.com", "cherry-kazan").await;
    stage.on(2 * HOUR + 1).await;
    assert!(stage.hub.messengers.lists().mailed("134").contains("anna@example.com"));
    let url = stage.letters("anna@example.com")[0].unsubscribe.clone().expect("a link");
    let http = stagedoor_tests::http();
    let page = http.get(&url).send().await.expect("a page");
    assert_eq!(page.status(), 200);
    assert!(page.text().await.expect("text").contains("Отписаться"));
    stage.hub.settled().await;
    assert!(stage.hub.messengers.lists().mailed("134").contains("anna@example.com"), "scanners look, too");
    // As Gmail posts it (RFC 8058, section 3.1).
    let form = [("List-Unsubscribe", "One-Click")];
    let told = http.post(&url).form(&form).send().await.expect("an answer");
    assert_eq!(told.status(), 200);
    stage.hub.settled().await;
    assert!(!stage.hub.messengers.lists().mailed("134").contains("anna@example.com"));
    stage.leaves_a_cart("anna@example.com", "cherry-moscow").await;
    stage.on(3 * HOUR).await;
    assert_eq!(stage.letters("anna@example.com").len(), 1, "the second cart is not written about");
    // A made-up link, and one that is for the shop, are none.
    let (base, _) = url.rsplit_once('/').expect("a path");
    for strange in ["0123456789abcdef", "x"] {
        assert_eq!(http.post(format!("{base}/{strange}")).send().await.expect("an answer").status(), 404);
    }
}

#[tokio::test]
async fn who_consents_anew_and_clicks_again_within_the_minute_is_out() {
    let mut stage = Stage::at(noon(3)).await;
    stage.consents("anna@example.com").await;
    stage.leaves_a_cart("anna@example.com", "cherry-kazan").await;
    stage.on(2 * HOUR + 1).await;
    let url = stage.letters("anna@example.com")[0].unsubscribe.clone().expect("a link");
    let http = stagedoor_tests::http();
    let click = async || {
        let told = http.post(&url).form(&[("List-Unsubscribe", "One-Click")]).send().await.expect("an answer");
        assert_eq!(told.status(), 200);
    };
    click().await;
    stage.on(5).await;
    stage.consents("anna@example.com").await;
    stage.on(5).await;
    click().await;
    stage.leaves_a_cart("anna@example.com", "cherry-moscow").await;
    stage.on(3 * HOUR).await;
    assert_eq!(stage.letters("anna@example.com").len(), 1, "the second cart is not written about");
}

#[tokio::test]
async fn a_chat_comes_first_and_a_letter_follows_where_nobody_read_it() {
    let mut stage = Stage::at(noon(3)).await;
    let fan = ChatFan::new(Account::Telegram(5_300_000_001), "anna");
    for (n, email) in ["anna@example.com", "boris@example.com"].into_iter().enumerate() {
        stage.buys(email, &format!("+7916123456{n}"), "kzn-1").await;
    }
    stage.hub.messengers.open(Platform::Telegram, &fan.id());
    stage.hub.take(&fan.start(None, 1, stage.hub.now().as_second())).await;
    stage.hub.take(&fan.share_phone("+79161234560", 2, stage.hub.now().as_second())).await;
    stage.hub.settled().await;
    let greetings = stage.chats(Platform::Telegram).len();
    stage.show("show.rescheduled", "kzn-1", "2027-05-22T16:00:00Z").await;
    stage.hub.settled().await;
    let told = stage.chats(Platform::Telegram);
    assert_eq!(told.len(), greetings + 1, "{told:?}");
    assert!(told.last().is_some_and(|text| text.contains("22.05.2027 19:00")), "{told:?}");
    assert_eq!(stage.letters("anna@example.com"), [], "first the chat");
    assert_eq!(stage.letters("boris@example.com").len(), 1, "who has no chat gets a letter at once");
    assert!(!stage.letters("boris@example.com")[0].one_click, "it is no advertising");
    // Boris opens his letter a minute later; Anna does nothing.
    stage.clock.on(60);
    let read = json!({ "event_name": "email_status", "event_time": "2027-05-03 12:01:00",
        "event_data": { "email": "boris@example.com", "campaign_id": 9, "status": "ok_read" } });
    stage.hub.take(&unisender("/mail/unisender", &[read], KEY)).await;
    stage.on(4 * HOUR - 59).await;
    assert_eq!(stage.letters("anna@example.com").len(), 1, "nobody read it in four hours");
    let sms = |stage: &Stage| stage.chats(Platform::Sms).len();
    assert_eq!(sms(&stage), 0);
    stage.on(4 * HOUR + 1).await;
    assert_eq!(sms(&stage), 1, "Anna has not read the letter either; Boris has");
    stage.on(24 * HOUR).await;
    assert_eq!((stage.letters("anna@example.com").len(), sms(&stage)), (1, 1), "there is no further channel");
    // It moves once more: that is another occasion.
    stage.show("show.rescheduled", "kzn-1", "2027-05-23T16:00:00Z").await;
    stage.hub.settled().await;
    assert_eq!(stage.chats(Platform::Telegram).len(), greetings + 2);
}

#[tokio::test]
async fn a_message_that_is_not_taken_is_followed_at_once() {
    let mut stage = Stage::at(noon(3)).await;
    let fan = ChatFan::new(Account::Telegram(5_300_000_002), "vera");
    stage.buys("vera@example.com", "+79161234562", "kzn-1").await;
    stage.hub.messengers.open(Platform::Telegram, &fan.id());
    stage.hub.take(&fan.start(None, 1, stage.hub.now().as_second())).await;
    stage.hub.take(&fan.share_phone("+79161234562", 2, stage.hub.now().as_second())).await;
    stage.hub.settled().await;
    // The messenger did not tell us.
    stage.hub.messengers.block(Platform::Telegram, &fan.id());
    stage.hub.post.close("vera@example.com");
    stage.show("show.cancelled", "kzn-1", "2027-05-20T16:00:00Z").await;
    stage.hub.settled().await;
    let sms = stage.chats(Platform::Sms);
    assert_eq!(sms.len(), 1, "neither the chat nor the mailbox is there: {sms:?}");
    assert!(sms[0].contains("отменяется"), "{sms:?}");
}

#[tokio::test]
async fn nobody_is_written_to_at_night_by_the_clocks_of_the_shows_place() {
    // 20:00 in Moscow; the cart is two hours old at 22:00.
    let mut stage = Stage::at(noon(3) + 8 * HOUR).await;
    stage.consents("anna@example.com").await;
    stage.leaves_a_cart("anna@example.com", "cherry-kazan").await;
    stage.leaves_a_cart("anna@example.com", "cherry-ufa").await;
    stage.on(2 * HOUR + 60).await;
    assert!(stage.hub.post.arrived().is_empty(), "it is night in both");
    // 07:30 in Moscow, 09:30 in Ufa.
    stage.on(9 * HOUR + 1_800).await;
    let letters = stage.letters("anna@example.com");
    assert_eq!(letters.len(), 1, "only in Ufa it is day");
    assert!(letters[0].text.contains("28.05.2027"), "{}", letters[0].text);
    stage.on(2 * HOUR).await;
    assert_eq!(stage.letters("anna@example.com").len(), 2);
}

#[tokio::test]
async fn nobody_is_written_to_more_often_than_the_config_says_but_for_what_they_have_to_know() {
    let change = |text: String| text.replace("hold_out = 20", "hold_out = 0").replace("cap = 3", "cap = 1");
    let mut stage = Stage::with(noon(3), change).await;
    stage.consents("anna@example.com").await;
    stage.leaves_a_cart("anna@example.com", "cherry-kazan").await;
    stage.leaves_a_cart("anna@example.com", "cherry-moscow").await;
    stage.on(2 * HOUR + 1).await;
    assert_eq!(stage.letters("anna@example.com").len(), 1, "one a week");
    // She buys, and the shop calls it off.
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.hub.settled().await;
    stage.show("show.cancelled", "kzn-1", "2027-05-20T16:00:00Z").await;
    stage.hub.settled().await;
    assert_eq!(stage.letters("anna@example.com").len(), 2, "that the show is off, she has to know");
}

#[tokio::test]
async fn a_letter_whose_answer_was_lost_is_not_sent_twice_and_one_that_was_put_off_comes() {
    let mut stage = Stage::at(noon(3)).await;
    stage.consents("anna@example.com").await;
    stage.consents("boris@example.com").await;
    stage.hub.settled().await;
    stage.hub.post.break_next(PostBreak::AnswerLost);
    stage.leaves_a_cart("anna@example.com", "cherry-kazan").await;
    stage.passes(2 * HOUR + 1, |_| false).await;
    assert_eq!(stage.letters("anna@example.com").len(), 1);
    stage.hub.post.break_next(PostBreak::Closed);
    stage.hub.post.break_next(PostBreak::Busy);
    stage.leaves_a_cart("boris@example.com", "cherry-kazan").await;
    let came = |stage: &Stage| !stage.letters("boris@example.com").is_empty();
    stage.passes(2 * HOUR + 1, came).await;
    assert_eq!(stage.letters("boris@example.com").len(), 1);
}

#[tokio::test]
async fn a_stop_word_in_a_chat_and_a_tag_in_the_crm_end_letters_too() {
    let mut stage = Stage::at(noon(3)).await;
    let fan = ChatFan::new(Account::Telegram(5_300_000_003), "dina");
    for (n, email) in ["dina@example.com", "egor@example.com"].into_iter().enumerate() {
        stage.consents(email).await;
        stage.buys(email, &format!("+7916123457{n}"), "kzn-1").await;
    }
    stage.hub.messengers.open(Platform::Telegram, &fan.id());
    let now = stage.hub.now().as_second();
    stage.hub.take(&fan.start(None, 1, now)).await;
    stage.hub.take(&fan.share_phone("+79161234570", 2, now)).await;
    stage.hub.settled().await;
    assert_eq!(stage.hub.messengers.lists().mailed("134").len(), 2);
    stage.hub.take(&fan.say("стоп", 3, now + 60)).await;
    stage.hub.settled().await;
    assert_eq!(stage.hub.messengers.lists().mailed("134"), ["egor@example.com".to_owned()].into());
    // A manager tags the contact, whom Egor called.
    let contacts = stage.hub.sandbox.contacts();
    let egor = contacts.iter().find(|contact| contact.to_string().contains("egor@example.com")).expect("a contact");
    let id = egor["id"].to_string();
    let now = stage.hub.now().as_second().to_string();
    let tagged = form(
        "/crm/amocrm/sandbox-hook-path",
        &[
            ("contacts[update][0][id]", &id),
            ("contacts[update][0][type]", "contact"),
            ("contacts[update][0][name]", "Егор"),
            ("contacts[update][0][last_modified]", &now),
            ("contacts[update][0][tags][0][id]", "7"),
            ("contacts[update][0][tags][0][name]", "Отписан"),
            ("account[id]", "28805383"),
        ],
    );
    stage.hub.take(&tagged).await;
    stage.hub.settled().await;
    assert!(stage.hub.messengers.lists().mailed("134").is_empty());
}

#[tokio::test]
async fn some_are_held_out_always_the_same_and_the_journal_knows_them() {
    let change = |text: String| text.replace("hold_out = 20", "hold_out = 50");
    let mut stage = Stage::with(noon(3), change).await;
    for n in 0..40 {
        let email = format!("fan{n}@example.com");
        stage.consents(&email).await;
        stage.leaves_a_cart(&email, "cherry-kazan").await;
    }
    stage.on(2 * HOUR + 1).await;
    let written: BTreeSet<String> = stage.hub.post.arrived().into_iter().map(|letter| letter.to).collect();
    assert!((10..=30).contains(&written.len()), "{}", written.len());
    let subjects: BTreeSet<bool> =
        stage.hub.post.arrived().iter().map(|letter| letter.subject.contains("ещё свободны")).collect();
    assert_eq!(subjects.len(), 2, "both variants");
    stage.on(12 * HOUR).await;
    assert_eq!(stage.hub.post.arrived().len(), written.len());
    let rows = stage.hub.hub.store.journal(1_000).await.expect("a journal");
    let begun: Vec<bool> = rows
        .iter()
        .filter_map(|row| match &row.event.body {
            stagedoor_model::Body::MailingBegun(begun) => Some(begun.variant.is_some()),
            _ => None,
        })
        .collect();
    assert_eq!(begun.len(), 40);
    assert_eq!(begun.iter().filter(|written| **written).count(), written.len());
}

#[tokio::test]
async fn a_consent_counts_once_its_address_is_confirmed_by_the_letters_own_link() {
    let change = |text: String| text.replace("[consent]", "[consent]\ndouble_opt_in = [\"email\"]");
    let mut stage = Stage::with(noon(3), change).await;
    stage.consents("anna@example.com").await;
    stage.hub.settled().await;
    let letters = stage.letters("anna@example.com");
    assert_eq!(letters.len(), 1);
    assert!(!stage.hub.messengers.lists().mailed("134").contains("anna@example.com"), "it is not confirmed");
    let url = letters[0].text.split_whitespace().find(|word| word.contains("/c/")).expect("a link").to_owned();
    let http = stagedoor_tests::http();
    assert_eq!(http.get(&url).send().await.expect("a page").status(), 200);
    stage.on(24 * HOUR).await;
    assert!(!stage.hub.messengers.lists().mailed("134").contains("anna@example.com"), "a page was looked at");
    assert_eq!(stage.letters("anna@example.com").len(), 1, "nobody is asked twice");
    assert_eq!(http.post(&url).send().await.expect("an answer").status(), 200);
    stage.hub.settled().await;
    assert!(stage.hub.messengers.lists().mailed("134").contains("anna@example.com"));
    stage.leaves_a_cart("anna@example.com", "cherry-kazan").await;
    stage.on(3 * HOUR).await;
    let leave = stage.letters("anna@example.com").last().and_then(|one| one.unsubscribe.clone()).expect("a link");
    let post = async |url: &str| http.post(url).send().await.expect("an answer").status().as_u16();
    let each_opens_its_own = (post(&leave.replace("/u/", "/c/")).await, post(&url.replace("/c/", "/u/")).await);
    assert_eq!(each_opens_its_own, (404, 404), "neither link opens the page of the other");
    assert_eq!(post(&leave).await, 200);
    stage.hub.settled().await;
    assert!(!stage.hub.messengers.lists().mailed("134").contains("anna@example.com"), "she is out");
    assert_eq!(post(&url).await, 200);
    stage.hub.settled().await;
    assert!(!stage.hub.messengers.lists().mailed("134").contains("anna@example.com"), "an old letter is no new word");
    // A stranger may say in her name that she wants letters again: she is asked, and the old letter answers nothing.
    stage.on(HOUR).await;
    stage.consents("anna@example.com").await;
    stage.on(HOUR).await;
    let asks = |letter: &Delivered| letter.text.split_whitespace().find(|word| word.contains("/c/")).map(str::to_owned);
    let asked: Vec<String> = stage.letters("anna@example.com").iter().filter_map(asks).collect();
    assert_eq!(asked.len(), 2, "she is asked anew: {asked:?}");
    let anna = Identifier::email(Email::parse("anna@example.com").expect("an address"));
    let stands = async || {
        segment_commands::evidence(&stage.hub.hub, &anna).await.expect("evidence")["now"]["email"]["standing"].clone()
    };
    assert_eq!(post(&url).await, 200);
    stage.hub.settled().await;
    assert_eq!(stands().await, "unconfirmed", "that letter asked before she left");
    assert_eq!(post(&asked[1]).await, 200);
    stage.hub.settled().await;
    assert_eq!(stands().await, "given");
}
