//! A code by SMS or e-mail makes what somebody typed in a chat theirs, and bothers no stranger.

use stagedoor_sandbox::Platform;
use stagedoor_testkit::fans::{Account, ChatFan};

use crate::mailings::{HOUR, Stage, noon};

const PHONE: &str = "+79161234567";
const TYPED: &str = "8 916 123-45-67";

async fn stage() -> Stage {
    let claims = "\n[claims]\nconfirm = \"code\"\n\n[crm]\n";
    Stage::with(noon(3), |text| text.replace("quiet = \"21:00-09:00\"\n", "").replacen("\n[crm]\n", claims, 1)).await
}

/// A chat in Telegram.
struct Chat<'s> {
    stage: &'s Stage,
    fan: ChatFan,
    serial: u64,
}

impl<'s> Chat<'s> {
    async fn of(stage: &'s Stage, id: u64) -> Self {
        let fan = ChatFan::new(Account::Telegram(id), "мила");
        stage.hub.messengers.open(Platform::Telegram, &fan.id());
        let mut chat = Self { stage, fan, serial: id * 100 };
        chat.serial += 1;
        stage.hub.take(&chat.fan.start(None, chat.serial, stage.hub.now().as_second())).await;
        chat.answers(1).await;
        chat
    }

    fn heard(&self) -> Vec<String> {
        let all = self.stage.hub.messengers.arrived().into_iter();
        all.filter(|one| one.to == self.fan.id()).map(|one| one.text).collect()
    }

    async fn answers(&self, count: usize) -> Vec<String> {
        waits(self.stage, || self.heard().len() >= count).await;
        let heard = self.heard();
        assert!(heard.len() >= count, "{heard:?}");
        heard
    }

    /// Says something a few seconds later, and waits for the answer.
    async fn say(&mut self, text: &str) -> String {
        let before = self.heard().len();
        self.serial += 1;
        self.stage.clock.on(5);
        self.stage.hub.take(&self.fan.say(text, self.serial, self.stage.hub.now().as_second())).await;
        self.answers(before + 1).await.pop().expect("an answer")
    }

    async fn person(&self) -> String {
        let id = format!("telegram:{}", self.fan.id()).parse().expect("an id");
        stagedoor::commands::explanation(&self.stage.hub.hub, &id).await.expect("known")
    }
}

/// Until it is so, or ten seconds are over. A channel's pause between two messages goes by the hub's clock.
async fn waits(stage: &Stage, until: impl Fn() -> bool) {
    for turn in 1..400 {
        if until() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        stage.clock.on(i64::from(turn % 10 == 0));
    }
}

/// An hour later: what waits for a code waits no more.
async fn later(stage: &Stage) {
    stage.clock.on(HOUR);
    for _ in 0..30 {
        stage.hub.hub.sync.wake().await.expect("woken");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        stage.clock.on(2);
    }
    stage.hub.settled().await;
}

async fn codes(stage: &Stage, count: usize) -> Vec<String> {
    waits(stage, || stage.chats(Platform::Sms).len() >= count).await;
    stage.chats(Platform::Sms).iter().map(|text| digits(text)).collect()
}

fn digits(text: &str) -> String {
    let found = text.split(|one: char| !one.is_ascii_digit()).find(|word| word.len() == 6);
    found.unwrap_or_else(|| panic!("no code in {text}")).to_owned()
}

fn other_than(code: &str) -> String {
    format!("{:06}", (code.parse::<u32>().expect("digits") + 1) % 1_000_000)
}

async fn buyer() -> Stage {
    let mut stage = stage().await;
    stage.buys("anna@example.com", PHONE, "cherry-kazan").await;
    stage.hub.settled().await;
    stage
}

#[tokio::test]
async fn the_code_that_came_by_sms_makes_the_chat_the_buyers() {
    let stage = buyer().await;
    let mut chat = Chat::of(&stage, 901).await;
    let answer = chat.say(TYPED).await;
    assert!(answer.contains("код из шести цифр") && !answer.contains("Анна"), "{answer}");
    let code = codes(&stage, 1).await.pop().expect("an SMS");
    assert!(!chat.person().await.contains("order/theatre:O-1"), "nothing is joined yet");
    let answer = chat.say(&format!("{} {}", &code[..3], &code[3..])).await;
    assert!(answer.contains("Спасибо"), "{answer}");
    later(&stage).await;
    let told = chat.person().await;
    assert!(told.contains("order/theatre:O-1") && !told.contains("not confirmed"), "{told}");
    let contacts = stage.hub.sandbox.contacts();
    assert_eq!((contacts.len(), stage.hub.sandbox.tasks().len()), (1, 0), "one contact, and no manager is asked");
    assert_eq!(chat.heard().len(), 3, "{:?}", chat.heard());
    let journal = stage.hub.hub.store.journal(1_000).await.expect("rows");
    let keeps_sms = |row: &stagedoor_ports::JournalRow| format!("{:?}", row.event).contains("никому его не сообщайте");
    assert!(!journal.iter().any(keeps_sms), "neither journal nor conversation keeps the SMS");
}

#[tokio::test]
async fn three_wrong_codes_end_it_and_what_was_typed_becomes_a_claim() {
    let stage = buyer().await;
    let mut chat = Chat::of(&stage, 902).await;
    chat.say(TYPED).await;
    let code = codes(&stage, 1).await.pop().expect("an SMS");
    let wrong = other_than(&code);
    for _ in 0..3 {
        let answer = chat.say(&wrong).await;
        assert!(answer.contains("не подходит"), "{answer}");
    }
    let answer = chat.say(&code).await;
    assert!(answer.contains("больше не действует"), "{answer}");
    later(&stage).await;
    let told = chat.person().await;
    assert!(told.contains("somebody else proves it") && !told.contains("order/theatre:O-1"), "{told}");
    assert_eq!(stage.hub.sandbox.tasks().len(), 1, "a manager is asked");
    assert_eq!(chat.heard().len(), 6, "what was typed is answered once: {:?}", chat.heard());
}

#[tokio::test]
async fn a_code_counts_in_its_own_chat_and_for_a_quarter_of_an_hour() {
    let stage = buyer().await;
    let (mut first, mut second) = (Chat::of(&stage, 903).await, Chat::of(&stage, 904).await);
    first.say(TYPED).await;
    let code = codes(&stage, 1).await.remove(0);
    second.say(TYPED).await;
    assert_ne!(codes(&stage, 2).await[1], code);
    let answer = second.say(&code).await;
    assert!(answer.contains("не подходит"), "another chat's code: {answer}");
    stage.clock.on(16 * 60);
    let answer = first.say(&code).await;
    assert!(answer.contains("больше не действует"), "{answer}");
    later(&stage).await;
    for chat in [&first, &second] {
        assert!(!chat.person().await.contains("order/theatre:O-1"));
    }
}

#[tokio::test]
async fn one_phone_and_one_chat_get_three_codes_a_day_and_foreign_phones_none() {
    let stage = buyer().await;
    for id in 910..914 {
        Chat::of(&stage, id).await.say(TYPED).await;
    }
    let mut chat = Chat::of(&stage, 920).await;
    for last in 1..5 {
        chat.say(&format!("8 916 123-45-0{last}")).await;
    }
    let mut chat = Chat::of(&stage, 921).await;
    let answer = chat.say("+44 20 7946 0958").await;
    assert!(answer.contains("Спасибо"), "{answer}");
    later(&stage).await;
    let all = stage.hub.messengers.arrived();
    let sms: Vec<&str> =
        all.iter().filter(|one| one.platform == Platform::Sms).map(|one| one.to.trim_start_matches('+')).collect();
    assert_eq!(sms.iter().filter(|to| **to == "79161234567").count(), 3, "{sms:?}");
    assert_eq!((sms.len(), sms.iter().filter(|to| to.starts_with("7916123450")).count()), (6, 3), "{sms:?}");
}

#[tokio::test]
async fn an_erased_persons_phone_gets_no_code_and_an_old_one_joins_nobody() {
    let stage = buyer().await;
    let mut chat = Chat::of(&stage, 905).await;
    chat.say(TYPED).await;
    let code = codes(&stage, 1).await.remove(0);
    stagedoor::commands::erase(&stage.hub.hub, &format!("phone:{PHONE}").parse().expect("a phone"))
        .await
        .expect("erased");
    stage.clock.on(5);
    chat.serial += 1;
    stage.hub.take(&chat.fan.say(&code, chat.serial, stage.hub.now().as_second())).await;
    later(&stage).await;
    assert!(!chat.person().await.contains(PHONE));
    let mut other = Chat::of(&stage, 906).await;
    other.serial += 1;
    stage.hub.take(&other.fan.say(TYPED, other.serial, stage.hub.now().as_second())).await;
    later(&stage).await;
    assert_eq!(stage.chats(Platform::Sms).len(), 1);
}

#[tokio::test]
async fn an_address_that_waits_for_its_code_goes_when_its_owner_is_erased() {
    let stage = buyer().await;
    let mut chat = Chat::of(&stage, 909).await;
    chat.say(TYPED).await;
    codes(&stage, 1).await;
    // What becomes a claim waits in the queue until the code is over, so the hub does not come to rest.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    stagedoor::commands::erase(&stage.hub.hub, &format!("phone:{PHONE}").parse().expect("a phone"))
        .await
        .expect("erased");
    let rows = stage.hub.hub.store.journal(1_000).await.expect("rows");
    let ids = stage.hub.hub.store.scan_people(None, 100).await.expect("people").0;
    let people = stage.hub.hub.store.load(&ids).await.expect("loaded");
    assert!(!people.is_empty(), "the stranger stays");
    let kept = format!(
        "{} {}",
        serde_json::to_string(&rows.iter().map(|row| &row.event).collect::<Vec<_>>()).expect("JSON"),
        serde_json::to_string(&people.iter().map(|one| &one.value).collect::<Vec<_>>()).expect("JSON"),
    );
    for trace in ["9161234567", TYPED, "anna@example.com"] {
        assert!(!kept.contains(trace), "{trace} is kept: {kept}");
    }
}

#[tokio::test]
async fn an_e_mail_is_confirmed_by_a_letter_with_a_code() {
    let stage = buyer().await;
    let mut chat = Chat::of(&stage, 907).await;
    let answer = chat.say("anna@example.com").await;
    assert!(answer.contains("код из шести цифр"), "{answer}");
    waits(&stage, || !stage.letters("anna@example.com").is_empty()).await;
    let letter = stage.letters("anna@example.com").pop().expect("a letter");
    chat.say(&digits(&letter.text)).await;
    later(&stage).await;
    let told = chat.person().await;
    assert!(told.contains("order/theatre:O-1"), "{told}");
}
