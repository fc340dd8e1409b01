//! A small story of chats, played on both hubs: SMS, page, messengers, a phone, a stop, a question for a manager.

use std::{sync::LazyLock, time::Duration};

use serde_json::json;
use stagedoor::Hub;
use stagedoor_model::{Phone, Timestamp};
use stagedoor_sandbox::{Messengers, Platform};
use stagedoor_sync::Invitee;
use stagedoor_testkit::{
    SignedRequest,
    fans::{Account, ChatFan},
    form_signed, unisender,
};

/// The time of the story. It is later than the tour, and recent, because the bot does not answer messages older than
/// a day.
static NOW: LazyLock<i64> = LazyLock::new(|| Timestamp::now().as_second());

pub struct Stage<'s> {
    pub hub: &'s Hub,
    pub base: &'s str,
    pub messengers: &'s Messengers,
}

impl Stage<'_> {
    async fn post(&self, signed_request: SignedRequest) {
        let http = stagedoor_http::builder().build().expect("a client");
        let (status, answer) = signed_request.post(&http, self.base).await.expect("an answer");
        assert_eq!(status, 200, "{}: {answer}", signed_request.path);
    }

    /// Waits until this many messages arrived through a messenger.
    async fn arrived(&self, platform: Platform, count: usize) -> Vec<stagedoor_sandbox::Arrived> {
        // A failed message waits for two minutes before the next try.
        for _ in 0..1_800 {
            let all: Vec<_> = self.messengers.arrived().into_iter().filter(|one| one.platform == platform).collect();
            if all.len() >= count {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{count} messages through {platform:?} did not arrive: {:?}", self.messengers.arrived());
    }

    /// Plays the story: one fan a messenger, each invited by SMS. `settled` waits until the hub is at rest.
    pub async fn play(&self, settled: impl AsyncFn()) {
        let fans = [
            (Account::Telegram(5_342_492_667), Platform::Telegram, "?start="),
            (Account::Viber("01234567890A=".into()), Platform::Viber, "context="),
            (Account::Vk(578_716_413), Platform::Vk, "vk.me/stagedoor?ref="),
            (Account::Messenger(1_476_077_422_222_289), Platform::Messenger, "m.me/stagedoor.tour?ref="),
        ];
        let phone = |n: usize| Phone::parse(&format!("+7917555000{n}"), self.hub.config.region).expect("a phone");
        let invitees: Vec<Invitee> =
            (0..fans.len()).map(|n| Invitee { phone: phone(n), name: Some(format!("Фан {n}")) }).collect();
        // The hub invites only people with a consent.
        for (n, invitee) in invitees.iter().enumerate() {
            let consents = json!([{ "purpose": "marketing", "channel": "sms", "given": true, "wording": "2027-1" }]);
            let now = self.hub.sync.clock.now();
            let body = json!({ "kind": "lead", "phone": invitee.phone.as_str(), "consents": consents, "at": "2026-01-15T09:00:00Z" });
            self.post(form_signed("/website/site", &body, "generic-source-secret", &format!("sms-{n}"), now)).await;
        }
        settled().await;
        self.hub.sync.invite("ufa", &invitees).await.expect("invited");
        let sms = self.arrived(Platform::Sms, fans.len()).await;
        settled().await;
        for (n, (account, platform, before)) in fans.into_iter().enumerate() {
            let to = phone(n).as_str().trim_start_matches('+').to_owned();
            let text = &sms.iter().find(|one| one.to == to).expect("an SMS").text;
            let link = text.split_whitespace().find(|word| word.starts_with("http")).expect("a link");
            let page = browser().get(link).send().await.expect("a page").text().await.expect("text");
            let at = page.find(before).unwrap_or_else(|| panic!("{before} in {page}")) + before.len();
            let token: String = page[at..].chars().take_while(char::is_ascii_alphanumeric).collect();
            // Fans must not write from the future: the hub replaces such a time by that of the receipt, which differs
            // between the hubs.
            let second = *NOW - 600 + 100 * n as i64;
            let (fan, serial) = (ChatFan::new(account, "кот"), 800_000 + 10 * n as u64);
            self.messengers.open(platform, &fan.id());
            self.post(fan.start(Some(&token), serial, second)).await;
            if platform == Platform::Viber {
                self.post(fan.say("Получить промокод", serial + 1, second + 1)).await;
            }
            let reply = self.arrived(platform, 1).await.remove(0);
            assert!(reply.text.contains("UFA-"), "{}", reply.text);
            let shop = browser().get(reply.button.expect("a link")).send().await.expect("an answer");
            assert_eq!(shop.status(), 302);
            let question = if n == 3 { "стоп" } else { "А можно с собакой?" };
            self.post(fan.say(question, serial + 2, second + 60)).await;
            self.arrived(platform, 2).await;
        }
        // WhatsApp reports the phone, so no link is needed.
        let fan = ChatFan::new(Account::Whatsapp("79175550001".into()), "кот");
        self.messengers.open(Platform::Whatsapp, &fan.id());
        self.post(fan.say("сколько стоит?", 800_900, *NOW - 60)).await;
        self.arrived(Platform::Whatsapp, 1).await;
        settled().await;
        // A fan of the tour opens a letter and unsubscribes. A phone accepts an SMS.
        let event = |name: &str, status: &str| {
            json!({ "event_name": name, "event_time": "2026-11-29 12:00:00",
            "event_data": { "email": "fan7@example.com", "campaign_id": 7, "status": status, "list_ids": [134] } })
        };
        let told = [event("email_status", "ok_read"), event("unsubscribe", "")];
        self.post(unisender("/mail/unisender", &told, "6x4mpl3un1s3nd3rk3y0000000000000")).await;
        let sms =
            [("id", "1"), ("phone", "79175550001"), ("status", "1"), ("time", "29.11.2026 12:00:00"), ("err", "0")];
        self.post(stagedoor_testkit::form("/mail/smsc/smsc_hook_17", &sms)).await;
        settled().await;
    }
}

fn browser() -> reqwest::Client {
    let agent = "Mozilla/5.0 (Linux; Android 14; Pixel 7) Chrome/126.0 Mobile Safari/537.36";
    let client = stagedoor_http::builder().user_agent(agent).redirect(reqwest::redirect::Policy::none());
    client.build().expect("a client")
}
