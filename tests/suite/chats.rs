//! From an SMS through the page of messengers and a chat to one contact in the CRM.

use std::{sync::LazyLock, time::Duration};

use serde_json::{Value, json};
use stagedoor_model::{Phone, Region, Timestamp};
use stagedoor_sandbox::{Arrived, Platform};
use stagedoor_sync::Invitee;
use stagedoor_testkit::fans::{Account, ChatFan};
use stagedoor_tests::hub::TestHub;

/// Whoever wrote more than a day ago is not answered any more.
static NOW: LazyLock<i64> = LazyLock::new(|| Timestamp::now().as_second());

fn phone(text: &str) -> Phone {
    Phone::parse(text, Region::new("RU").expect("a region")).expect("a phone")
}

/// Sends the invitation and answers with the link that arrived.
async fn invited(hub: &TestHub, text: &str) -> String {
    let invitees = [Invitee { phone: phone(text), name: None }];
    hub.consents_to_sms(&[text]).await;
    hub.hub.sync.invite("ufa", &invitees).await.expect("invited");
    let to = phone(text).as_str().trim_start_matches('+').to_owned();
    let sms = arrived(hub, Platform::Sms, &to, 1).await;
    let sms = sms.first().expect("an SMS");
    let at = sms.text.find("http").expect("a link");
    sms.text[at..].split_whitespace().next().expect("a link").to_owned()
}

/// Waits until so many messages arrived at somebody.
async fn arrived(hub: &TestHub, platform: Platform, to: &str, count: usize) -> Vec<Arrived> {
    for _ in 0..400 {
        let all: Vec<Arrived> =
            hub.messengers.arrived().into_iter().filter(|one| one.platform == platform && one.to == to).collect();
        if all.len() >= count {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let all = hub.messengers.arrived();
    panic!("{count} messages to {to} did not arrive; {} did: {all:?}", all.len());
}

/// The token in the deep link of one messenger on the page.
async fn token_on_page(link: &str, needle: &str) -> String {
    let page =
        stagedoor_http::builder().build().expect("a client").get(link).header("user-agent", "Mozilla/5.0 (iPhone)");
    let page = page.send().await.expect("the page").text().await.expect("text");
    let at = page.find(needle).unwrap_or_else(|| panic!("{needle} is not on the page: {page}")) + needle.len();
    page[at..].chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn field(contact: &Value, code: &str) -> Option<String> {
    let fields = contact["custom_fields_values"].as_array()?;
    let field = fields.iter().find(|field| field["field_code"] == code)?;
    field["values"][0]["value"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_fan_known_by_phone_who_starts_a_chat_stays_one_contact_and_gets_a_code() {
    let hub = TestHub::start().await;
    let known = json!({ "name": "Раневская Любовь", "custom_fields_values": [
        { "field_code": "PHONE", "values": [{ "value": "8 (917) 123-45-67", "enum_code": "MOB" }] } ] });
    hub.sandbox.add_contacts(&[known]);
    stagedoor::commands::backfill(&hub.hub).await.expect("mirrored");

    let link = invited(&hub, "+79171234567").await;
    let token = token_on_page(&link, "t.me/stagedoor_tour_bot?start=").await;
    let fan = ChatFan::new(Account::Telegram(5_342_492_667), "🌸 lubasha");
    hub.messengers.open(Platform::Telegram, &fan.id());
    hub.take(&fan.start(Some(&token), 1, *NOW)).await;

    let reply = arrived(&hub, Platform::Telegram, &fan.id(), 1).await.remove(0);
    assert!(reply.text.contains("Раневская Любовь"), "by the name that the CRM knows: {}", reply.text);
    assert!(reply.text.contains("UFA-"), "with a code: {}", reply.text);
    assert!(reply.button.as_ref().is_some_and(|url| url.starts_with(&hub.base)), "and a tracked link");
    hub.settled().await;

    let contacts = hub.sandbox.contacts();
    assert_eq!(contacts.len(), 1, "no second contact");
    assert_eq!(contacts[0]["name"], "Раневская Любовь");
    assert_eq!(field(&contacts[0], "STAGEDOOR_CHANNELS").as_deref(), Some("Telegram"));
    let stages = hub.sandbox.leads_by_stage();
    assert_eq!(stages.get(&("Уфа".into(), "Промокод выдан".into())), Some(&1), "{stages:?}");
    let notes = hub.sandbox.notes();
    assert!(notes.iter().any(|note| note["params"]["text"].as_str().is_some_and(|text| text.contains("UFA-"))));

    // The same webhook again changes nothing and sends nothing.
    hub.take(&fan.start(Some(&token), 1, *NOW)).await;
    hub.settled().await;
    assert_eq!(arrived(&hub, Platform::Telegram, &fan.id(), 1).await.len(), 1);
}

#[tokio::test]
async fn of_an_erased_chatter_no_report_of_a_delivery_is_left_either() {
    let hub = TestHub::start().await;
    let fan = ChatFan::new(Account::Whatsapp("79161234567".into()), "мила");
    hub.messengers.open(Platform::Whatsapp, &fan.id());
    hub.take(&fan.say("Во сколько начало?", 1, *NOW)).await;
    hub.settled().await;
    hub.take(&fan.delivered("wamid.1", *NOW + 5).expect("WhatsApp tells")).await;
    hub.settled().await;
    let phone = "phone:+79161234567".parse().expect("an identifier");
    stagedoor::commands::erase(&hub.hub, &phone).await.expect("erased");
    let rows = hub.hub.store.journal(100).await.expect("read");
    let told = serde_json::to_string(&rows.iter().map(|row| &row.event).collect::<Vec<_>>()).expect("JSON");
    assert!(!told.contains("79161234567"), "{told}");
    hub.take(&fan.delivered("wamid.2", *NOW + 9).expect("WhatsApp tells")).await;
    hub.settled().await;
    let kinds: Vec<_> = hub.hub.store.journal(1).await.expect("read").iter().map(|row| row.event.kind()).collect();
    assert_eq!(kinds, ["stagedoor.person.erased.v1"], "what came is known, not what it said");
}

/// A Telegram fan whose chat is open, and what the bot said to each of their lines.
struct Dialogue<'h> {
    hub: &'h TestHub,
    fan: ChatFan,
    serial: u64,
}

impl<'h> Dialogue<'h> {
    fn of(hub: &'h TestHub, id: u64) -> Self {
        let fan = ChatFan::new(Account::Telegram(id), "мила");
        hub.messengers.open(Platform::Telegram, &fan.id());
        Self { hub, fan, serial: id * 100 }
    }

    async fn answer_to(
        &mut self,
        signed_request: impl FnOnce(&ChatFan, u64, i64) -> stagedoor_testkit::SignedRequest,
    ) -> String {
        let before = self.hub.messengers.arrived().iter().filter(|one| one.to == self.fan.id()).count();
        self.serial += 1;
        let second = *NOW + i64::try_from(self.serial % 100).expect("small") * 2;
        self.hub.take(&signed_request(&self.fan, self.serial, second)).await;
        arrived(self.hub, Platform::Telegram, &self.fan.id(), before + 1).await.pop().expect("an answer").text
    }

    async fn say(&mut self, text: &str) -> String {
        let text = text.to_owned();
        self.answer_to(move |fan, serial, second| fan.say(&text, serial, second)).await
    }
}

#[tokio::test]
async fn the_menu_understands_digits_in_a_row_words_and_its_own_lines() {
    let hub = TestHub::start().await;
    let mut chat = Dialogue::of(&hub, 701);
    let hello = chat.answer_to(|fan, serial, second| fan.start(None, serial, second)).await;
    assert!(hello.contains("1. Когда и где") && hello.contains("3. Вернуть билет"), "{hello}");
    for both in ["1 3", "13", "1,3", "один и три".split(' ').next().map_or("", |_| "один три")] {
        let answer = chat.say(both).await;
        assert!(answer.contains("cherry.example.ru/tour") && answer.contains("Возврат"), "{both}: {answer}");
    }
    for one in ["2", "два", "2. Как доехать", "Как доехать"] {
        let answer = chat.say(one).await;
        assert!(answer.contains("cherry.example.ru/way") && !answer.contains("Возврат"), "{one}: {answer}");
    }
    assert!(chat.say("а сколько стоит балкон?").await.contains("1 500"));
    assert!(chat.say("1 7").await.contains("менеджеру"), "there is no item 7");
}

#[tokio::test]
async fn a_phone_that_was_asked_for_is_checked_and_comes_to_the_contact() {
    let hub = TestHub::start().await;
    let known = json!({ "name": "Лопахин Ермолай", "custom_fields_values": [
        { "field_code": "PHONE", "values": [{ "value": "+7 917 765-43-21", "enum_code": "MOB" }] } ] });
    hub.sandbox.add_contacts(&[known]);
    stagedoor::commands::backfill(&hub.hub).await.expect("mirrored");
    let mut chat = Dialogue::of(&hub, 702);
    chat.answer_to(|fan, serial, second| fan.start(None, serial, second)).await;
    assert!(chat.say("8 917 765").await.contains("ошибка"));
    let share = |fan: &ChatFan, serial, second| fan.share_phone("79177654321", serial, second);
    assert!(chat.answer_to(share).await.contains("Спасибо"));
    hub.settled().await;
    let contacts = hub.sandbox.contacts();
    assert_eq!(contacts.len(), 1, "the number found whose it is");
    assert_eq!(field(&contacts[0], "STAGEDOOR_LAST_MESSAGE").as_deref(), Some("[contact]"));
}

#[tokio::test]
async fn a_phone_that_is_only_typed_finds_nobody_and_the_stranger_is_told_nothing_of_its_owner() {
    let hub = TestHub::start().await;
    let known = json!({ "name": "Лопахин Ермолай", "custom_fields_values": [
        { "field_code": "PHONE", "values": [{ "value": "+7 917 765-43-21", "enum_code": "MOB" }] } ] });
    hub.sandbox.add_contacts(&[known]);
    stagedoor::commands::backfill(&hub.hub).await.expect("mirrored");
    let mut chat = Dialogue::of(&hub, 709);
    chat.answer_to(|fan, serial, second| fan.start(None, serial, second)).await;
    let answer = chat.say("8 (917) 765-43-21").await;
    assert!(answer.contains("Спасибо") && !answer.contains("Лопахин"), "{answer}");
    hub.settled().await;
    let contacts = hub.sandbox.contacts();
    let owner = contacts.iter().find(|contact| contact["name"] == "Лопахин Ермолай").expect("the owner");
    assert_eq!((contacts.len(), field(owner, "STAGEDOOR_CHANNELS")), (2, None), "the chat is not the owner's");
    let typed = "phone:+79177654321".parse().expect("a phone");
    let told = stagedoor::commands::explanation(&hub.hub, &typed).await.expect("the owner is known");
    assert!(!told.contains("chat:"), "{told}");
    let stranger = "telegram:709".parse().expect("an id");
    let told = stagedoor::commands::explanation(&hub.hub, &stranger).await.expect("the stranger is known");
    assert!(told.contains("typed phone:+79177654321: somebody else proves it"), "{told}");
    // A manager knows better.
    stagedoor::decisions::join(&hub.hub, &stranger, &typed, "anna").await.expect("one person");
    hub.settled().await;
    let told = stagedoor::commands::explanation(&hub.hub, &typed).await.expect("known");
    assert!(told.contains("chat:telegram"), "{told}");
}

#[tokio::test]
async fn a_phone_shared_by_the_messengers_own_button_needs_no_check() {
    let hub = TestHub::start().await;
    let mut chat = Dialogue::of(&hub, 703);
    chat.answer_to(|fan, serial, second| fan.start(None, serial, second)).await;
    assert!(
        chat.answer_to(|fan, serial, second| fan.share_phone("79170000001", serial, second)).await.contains("Спасибо")
    );
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts().len(), 1);
}

#[tokio::test]
async fn what_the_bot_does_not_understand_becomes_one_task_with_the_conversation_in_a_note() {
    let hub = TestHub::start().await;
    let mut chat = Dialogue::of(&hub, 704);
    chat.answer_to(|fan, serial, second| fan.start(None, serial, second)).await;
    chat.say("А можно прийти с собакой?").await;
    hub.settled().await;
    // Said within the same minutes: the answer of a moment ago covers it.
    hub.take(&chat.fan.say("Она тихая", 70_499, *NOW + 30)).await;
    hub.settled().await;
    let tasks = hub.sandbox.tasks();
    assert_eq!(tasks.len(), 1, "one manager's task, not one a line");
    let contact = hub.sandbox.contacts().remove(0);
    assert_eq!(tasks[0]["entity_id"], contact["id"]);
    let notes = hub.sandbox.notes();
    let text: String = notes.iter().filter_map(|note| note["params"]["text"].as_str()).collect::<Vec<_>>().join("\n");
    for line in ["▸ А можно прийти с собакой?", "▸ Она тихая", "◂ Передали ваш вопрос"]
    {
        assert_eq!(text.matches(line).count(), 1, "{line} in {text}");
    }
    assert!(text.contains(" MSK Telegram ▸ Она тихая"), "in the house's own time: {text}");
    assert_eq!(field(&contact, "STAGEDOOR_LAST_MESSAGE").as_deref(), Some("Она тихая"));
}

#[tokio::test]
async fn somebody_who_only_looked_is_no_contact_until_they_speak() {
    let hub = TestHub::start().await;
    let mut chat = Dialogue::of(&hub, 705);
    chat.answer_to(|fan, serial, second| fan.start(None, serial, second)).await;
    hub.settled().await;
    assert!(hub.sandbox.contacts().is_empty());
    chat.say("привет").await;
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts().len(), 1);
    let stages = hub.sandbox.leads_by_stage();
    assert!(
        stages.keys().any(|(_, stage)| stage == "Переговоры"),
        "and their deal is one that was talked about: {stages:?}"
    );
}

#[tokio::test]
async fn a_block_that_no_webhook_tells_of_shows_in_the_next_answer_and_closes_the_channel() {
    let hub = TestHub::start().await;
    let fan = ChatFan::new(Account::Messenger(1_476_077_422_000_777), "кот");
    hub.messengers.open(Platform::Messenger, &fan.id());
    hub.take(&fan.say("привет", 1, *NOW)).await;
    arrived(&hub, Platform::Messenger, &fan.id(), 1).await;
    hub.messengers.block(Platform::Messenger, &fan.id());
    hub.take(&fan.say("2", 2, *NOW + 10)).await;
    hub.settled().await;
    let contact = hub.sandbox.contacts().remove(0);
    assert_eq!(field(&contact, "STAGEDOOR_CHANNELS").as_deref(), Some("Messenger (closed)"));
}

#[tokio::test]
async fn whoever_unsubscribed_in_a_chat_gets_no_invitation() {
    let hub = TestHub::start().await;
    let link = invited(&hub, "+79171234567").await;
    let token = token_on_page(&link, "t.me/stagedoor_tour_bot?start=").await;
    let mut chat = Dialogue::of(&hub, 709);
    chat.answer_to(|fan, serial, second| fan.start(Some(&token), serial, second)).await;
    chat.say("стоп").await;
    hub.settled().await;
    let invitees = ["+79171234567", "+79170000002"].map(|text| Invitee { phone: phone(text), name: None });
    hub.consents_to_sms(&["+79170000002"]).await;
    let strangers = [Invitee { phone: phone("+79170000003"), name: None }];
    let again = hub.hub.sync.invite("ufa", &invitees).await.expect("invited");
    assert_eq!((again.messages, again.without_consent), (1, 1));
    let never = hub.hub.sync.invite("ufa", &strangers).await.expect("invited");
    assert_eq!((never.messages, never.without_consent), (0, 1), "nobody is written to who never consented");
}

#[tokio::test]
async fn an_invitation_is_sent_once_however_often_it_is_asked_for() {
    let hub = TestHub::start().await;
    let invitees = [Invitee { phone: phone("+79171234567"), name: Some("Анна".into()) }];
    hub.consents_to_sms(&["+79171234567"]).await;
    for _ in 0..3 {
        hub.hub.sync.invite("ufa", &invitees).await.expect("invited");
        hub.settled().await;
    }
    assert_eq!(hub.messengers.arrived().len(), 1);
}

#[tokio::test]
async fn a_friend_with_a_forwarded_link_is_asked_who_they_are_and_gets_no_code() {
    let hub = TestHub::start().await;
    let link = invited(&hub, "+79171112233").await;
    let token = token_on_page(&link, "t.me/stagedoor_tour_bot?start=").await;
    let mut owner = Dialogue::of(&hub, 706);
    let code = owner.answer_to(|fan, serial, second| fan.start(Some(&token), serial, second)).await;
    assert!(code.contains("UFA-"));
    // Another browser, so another tag behind the same token.
    let theirs = token_on_page(&link, "t.me/stagedoor_tour_bot?start=").await;
    assert_ne!(token, theirs);
    let mut friend = Dialogue::of(&hub, 707);
    let answer = friend.answer_to(|fan, serial, second| fan.start(Some(&theirs), serial, second + 30)).await;
    assert!(answer.contains("личная") && !answer.contains("UFA-"), "{answer}");
}

#[tokio::test]
async fn a_stop_word_ends_letters_and_a_block_closes_the_channel() {
    let hub = TestHub::start().await;
    let mut chat = Dialogue::of(&hub, 708);
    chat.say("привет").await;
    assert!(chat.say("Стоп!").await.contains("Больше не напишем"));
    let block = chat.fan.block(999_999, *NOW + 1_000).expect("Telegram tells");
    hub.take(&block).await;
    hub.settled().await;
    let contact = hub.sandbox.contacts().remove(0);
    assert_eq!(field(&contact, "STAGEDOOR_CHANNELS").as_deref(), Some("Telegram (closed)"));
}

#[tokio::test]
async fn viber_and_vk_and_messenger_and_whatsapp_give_the_same_fan_the_same_code() {
    let hub = TestHub::start().await;
    let link = invited(&hub, "+79161234567").await;
    // One browser: the page's cookie makes all of them one fan's.
    let http = stagedoor_http::builder().build().expect("a client");
    let page = http.get(&link).header("user-agent", "Mozilla/5.0 (iPhone)").send().await.expect("the page");
    let page = page.text().await.expect("text");
    let token = |before: &str| -> String {
        let at = page.find(before).unwrap_or_else(|| panic!("{before}")) + before.len();
        page[at..].chars().take_while(char::is_ascii_alphanumeric).collect()
    };
    let fans = [
        (Platform::Viber, Account::Viber("01234567890A=".into()), token("context=")),
        (Platform::Vk, Account::Vk(578_716_413), token("vk.me/stagedoor?ref=")),
        (Platform::Messenger, Account::Messenger(1_476_077_422_222_289), token("m.me/stagedoor.tour?ref=")),
        (Platform::Whatsapp, Account::Whatsapp("79161234567".into()), token("context=")),
    ];
    let mut codes = std::collections::BTreeSet::new();
    for (n, (platform, account, token)) in fans.into_iter().enumerate() {
        let fan = ChatFan::new(account, "кот");
        hub.messengers.open(platform, &fan.id());
        let second = *NOW + 10 * n as i64;
        hub.take(&fan.start(Some(&token), 5_000 + n as u64, second)).await;
        if platform == Platform::Viber {
            hub.take(&fan.say("Получить промокод", 6_000, second + 1)).await;
        }
        let text = arrived(&hub, platform, &fan.id(), 1).await.remove(0).text;
        let from = text.find("UFA-").unwrap_or_else(|| panic!("{platform:?} has no code: {text}"));
        codes.insert(text[from..from + 12].to_owned());
    }
    assert_eq!(codes.len(), 1, "one code a person and campaign: {codes:?}");
    hub.settled().await;
    assert_eq!(hub.sandbox.contacts().len(), 1);
}

/// An SMS as Twilio brings it (its request validator: HMAC-SHA1 over the address and the sorted parameters).
fn sms(text: &str, number: u32) -> stagedoor_testkit::SignedRequest {
    let sid = format!("SM{number}");
    let fields = [
        ("Body", text),
        ("From", "+79171234567"),
        ("MessageSid", &sid),
        ("SmsStatus", "received"),
        ("To", "+15005550006"),
    ];
    let signed: String = fields.iter().map(|(name, value)| format!("{name}{value}")).collect();
    let signed = format!("https://hub.example.ru/mail/twilio{signed}");
    let signature = stagedoor_testkit::hmac_sha1_base64("twilio-token", signed.as_bytes());
    stagedoor_testkit::form("/mail/twilio", &fields).header("x-twilio-signature", &signature)
}

#[tokio::test]
async fn who_answers_by_sms_is_answered_by_sms_and_a_manager_gets_what_the_bot_did_not_understand() {
    let source = "[source.twilio]\nfunction = \"mail\"\nprovider = \"twilio\"\nsecrets = [\"dev:twilio-token\"]\n\
        [source.twilio.options]\nurl = \"https://hub.example.ru/mail/twilio\"\n\n[source.amocrm]";
    let hub = TestHub::with(|text| text.replace("[source.amocrm]", source)).await;
    hub.consents_to_sms(&["+79171234567"]).await;
    hub.take(&sms("Сколько стоит?", 1)).await;
    let answers = arrived(&hub, Platform::Sms, "79171234567", 1).await;
    assert!(answers[0].text.contains("Билеты от 1 500"), "{answers:?}");
    hub.settled().await;
    assert!(hub.sandbox.tasks().is_empty());
    hub.take(&sms("А можно прийти с собакой?", 2)).await;
    arrived(&hub, Platform::Sms, "79171234567", 2).await;
    hub.settled().await;
    assert_eq!(hub.sandbox.tasks().len(), 1);
    let contact = hub.sandbox.contacts().remove(0);
    assert_eq!(field(&contact, "STAGEDOOR_LAST_MESSAGE").as_deref(), Some("А можно прийти с собакой?"));
    assert_eq!(hub.sandbox.contacts().len(), 1);
}
