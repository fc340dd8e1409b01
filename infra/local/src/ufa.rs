//! Plays the Ufa case. 243 people, known to the CRM by phone, get an SMS with a personal link. 86 start a chat, under
//! nicknames that share nothing with their names; 23 buy with the bot's code. Links are forwarded, opened twice and
//! fetched by robots; some people unsubscribe. Fans see only what real ones would: the SMS, the page, the chat.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use stagedoor_model::Phone;
use stagedoor_sandbox::{Arrived, Messengers, Platform, Sandbox};
use stagedoor_sync::Invitee;
use stagedoor_testkit::{
    SignedRequest,
    fans::{Account, ChatFan},
    form_signed,
};

use crate::{
    campaign, commands,
    hub::Hub,
    import::{self, Origin},
};

pub const RECIPIENTS: usize = 243;
pub const CHATS: usize = 86;
pub const BUYERS: usize = 23;
/// Twenty-two orders of 6,200 roubles and one of 6,100.
pub const REVENUE: i64 = 142_500;

/// People by the messenger that they prefer: 39.8, 26.4, 23.4 and 10.4 per cent of 86.
const CHANNELS: [(Platform, usize); 4] =
    [(Platform::Telegram, 34), (Platform::Viber, 23), (Platform::Vk, 20), (Platform::Messenger, 9)];

const FIRST: [&str; 9] = ["Айгуль", "Рустам", "Гузель", "Ильдар", "Светлана", "Тимур", "Лилия", "Артур", "Наталья"];
const LAST: [&str; 11] = [
    "Ахметов",
    "Галиев",
    "Сафин",
    "Юсупов",
    "Каримов",
    "Валеев",
    "Хасанов",
    "Ибрагимов",
    "Закиров",
    "Латыпов",
    "Фомин",
];
const NICKNAMES: [&str; 8] =
    ["🌸 mila", "night owl", "ДядяФёдор", "xX_kot_Xx", "солнышко ☀️", "bmw 530d", "🎸", "мама Оли"];

const PHONE_BROWSER: &str =
    "Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36";

struct Fan(usize);

impl Fan {
    fn name(&self) -> String {
        let pick = |from: &[&'static str], n: usize| from.get(n % from.len()).copied().unwrap_or("");
        format!("{} {}", pick(&FIRST, self.0), pick(&LAST, self.0 / 9))
    }

    fn digits(&self) -> String {
        format!("917{:07}", 4_000_000 + self.0 * 7_919 % 5_999_999)
    }

    fn phone(&self) -> String {
        format!("+7{}", self.digits())
    }

    /// The phone as a manager typed it.
    fn typed(&self) -> String {
        match self.0 % 3 {
            0 => format!("8{}", self.digits()),
            1 => format!("+7 {}", self.digits()),
            _ => self.digits(),
        }
    }

    /// The messenger of the first 86, who start a chat.
    fn platform(&self) -> Option<Platform> {
        let mut left = self.0;
        for (platform, count) in CHANNELS {
            if left < count {
                return Some(platform);
            }
            left -= count;
        }
        None
    }

    /// True for every fourth person who chats, 23 in all, some of each messenger.
    fn buys(&self) -> bool {
        self.0 < CHATS && (self.0.is_multiple_of(4) || self.0 == CHATS - 1)
    }

    fn account(&self, platform: Platform) -> ChatFan {
        let n = self.0 as u64;
        let account = match platform {
            Platform::Telegram => Account::Telegram(5_300_000_000 + n * 37),
            Platform::Viber => Account::Viber(format!("{:010}A+/=", 1_234_567 + n)),
            Platform::Vk => Account::Vk(570_000_000 + n * 13),
            _ => Account::Messenger(1_476_077_422_000_000 + n),
        };
        ChatFan::new(account, NICKNAMES.get(self.0 % NICKNAMES.len()).copied().unwrap_or(""))
    }
}

struct Stage<'s> {
    hub: &'s Arc<Hub>,
    base: &'s str,
    messengers: &'s Messengers,
    http: reqwest::Client,
    serial: u64,
    now: i64,
}

/// Plays the case and prints the table.
///
/// # Errors
/// A sentence when a request is refused, a message does not arrive, or the table is wrong.
pub async fn play(hub: &Arc<Hub>, base: &str, sandbox: &Sandbox, messengers: &Messengers) -> Result<(), String> {
    let began = Instant::now();
    let http = stagedoor_http::builder().redirect(reqwest::redirect::Policy::none()).build();
    let now = hub.sync.clock.now().as_second();
    let http = http.map_err(|error| error.to_string())?;
    let mut stage = Stage { hub, base, messengers, http, serial: 900_000, now };
    let fans: Vec<Fan> = (0..RECIPIENTS).map(Fan).collect();
    sandbox.add_contacts(&fans.iter().map(contact).collect::<Vec<_>>());
    println!("The CRM has {RECIPIENTS} contacts with phones; the hub mirrors them.");
    commands::backfill(hub).await?;
    questionnaires(hub, &fans).await?;
    let invitees: Result<Vec<Invitee>, String> = fans.iter().map(|fan| invitee(hub, fan)).collect();
    let invited = hub.sync.invite("ufa", &invitees?).await.map_err(|error| error.to_string())?;
    println!("{} SMS with a personal link each go out.", invited.messages);
    let links = stage.links().await?;
    // A manager who types the command twice sends nothing twice.
    hub.sync
        .invite("ufa", &fans.iter().map(|fan| invitee(hub, fan)).collect::<Result<Vec<_>, _>>()?)
        .await
        .map_err(|error| error.to_string())?;
    println!("They are opened, fetched by robots, forwarded; chats start:");
    for fan in &fans {
        stage.opens(fan, &links).await?;
    }
    settle(hub).await?;
    println!("They ask, buy, and some unsubscribe:");
    for fan in fans.iter().filter(|fan| fan.0 < CHATS) {
        stage.conversations(fan).await?;
    }
    settle(hub).await?;
    for fan in fans.iter().filter(|fan| fan.buys()) {
        stage.buys(fan).await?;
    }
    settle(hub).await?;
    summary(hub, sandbox, began.elapsed()).await
}

/// Imports the box office's questionnaires with the consents of these people. Without a consent nobody is invited.
async fn questionnaires(hub: &Arc<Hub>, fans: &[Fan]) -> Result<(), String> {
    let rows = fans.iter().map(|fan| format!("{};yes;01.11.2026", fan.typed()));
    let text = std::iter::once("phone;sms_consent;consent_at".to_owned()).chain(rows).collect::<Vec<_>>().join("\n");
    let origin = Origin {
        source: "questionnaires of the box office, Ufa".into(),
        method: "paper".into(),
        wording: Some("paper-3".into()),
        file: "ufa.csv".into(),
    };
    let (rows, wrong) = import::read(&text, &origin, hub);
    if let Some(mistake) = wrong.first() {
        return Err(mistake.clone());
    }
    let count = import::run(hub, rows, |_| {}).await?;
    settle(hub).await?;
    println!("{count} signed questionnaires of the box office say that they consent to SMS.");
    Ok(())
}

fn contact(fan: &Fan) -> serde_json::Value {
    let phone = json!({ "field_code": "PHONE", "values": [{ "value": fan.typed(), "enum_code": "MOB" }] });
    json!({ "name": fan.name(), "custom_fields_values": [phone] })
}

fn invitee(hub: &Hub, fan: &Fan) -> Result<Invitee, String> {
    let phone = Phone::parse(&fan.phone(), hub.config.region).map_err(|error| error.to_string())?;
    Ok(Invitee { phone, name: None })
}

impl Stage<'_> {
    fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Waits for the SMS and reads the links in them, by phone.
    async fn links(&self) -> Result<BTreeMap<String, String>, String> {
        for _ in 0..600 {
            let all = self.arrived(Platform::Sms);
            if all.len() >= RECIPIENTS {
                let link = |one: &Arrived| {
                    let link = one.text.split_whitespace().find(|word| word.starts_with("http"));
                    link.map(|link| (one.to.clone(), link.to_owned()))
                };
                settle(self.hub).await?;
                return Ok(all.iter().filter_map(link).collect());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("the SMS did not arrive in thirty seconds".into())
    }

    fn arrived(&self, platform: Platform) -> Vec<Arrived> {
        self.messengers.arrived().into_iter().filter(|one| one.platform == platform).collect()
    }

    async fn post(&self, signed_request: SignedRequest) -> Result<(), String> {
        let (status, answer) = signed_request.post(&self.http, self.base).await.map_err(|error| error.to_string())?;
        if status == 200 { Ok(()) } else { Err(format!("{} answered {status}: {answer}", signed_request.path)) }
    }

    /// Fetches a page. Returns its text and the browser's cookie.
    async fn get(&self, link: &str, agent: &str, cookie: Option<&str>) -> Result<(String, Option<String>), String> {
        let mut request = self.http.get(link).header("user-agent", agent).header("accept-language", "ru-RU,ru;q=0.9");
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        let response = request.send().await.map_err(|error| error.to_string())?;
        if !matches!(response.status().as_u16(), 200 | 302) {
            return Err(format!("a link answered {}", response.status()));
        }
        let set = response.headers().get("set-cookie").and_then(|value| value.to_str().ok());
        let set = set.and_then(|text| text.split(';').next()).map(str::to_owned);
        Ok((response.text().await.map_err(|error| error.to_string())?, set.or(cookie.map(str::to_owned))))
    }

    /// Plays everything that happens to one link.
    async fn opens(&mut self, fan: &Fan, links: &BTreeMap<String, String>) -> Result<(), String> {
        let n = fan.0;
        let Some(link) = links.get(&format!("7{}", fan.digits())) else { return Err("an SMS has no link".into()) };
        if n.is_multiple_of(5) {
            // The link is pasted into a chat. The messenger fetches a preview, which counts for nothing.
            self.get(link, "TelegramBot (like TwitterBot)", None).await?;
            self.get(link, "facebookexternalhit/1.1 Facebot Twitterbot/1.0", None).await?;
            _ = self.http.head(link).header("user-agent", PHONE_BROWSER).send().await;
        }
        // Every fifth of the rest only looks.
        if n >= CHATS && n % 5 != 1 {
            return Ok(());
        }
        let (page, cookie) = self.get(link, PHONE_BROWSER, None).await?;
        let Some(platform) = fan.platform() else { return Ok(()) };
        self.starts(&fan.account(platform), &page, platform, 0).await?;
        if n.is_multiple_of(9) {
            // The fan opens the link and presses the button once more.
            let (page, _) = self.get(link, PHONE_BROWSER, cookie.as_deref()).await?;
            self.starts(&fan.account(platform), &page, platform, 40).await?;
        }
        if n == 3 || n == 40 {
            // A second messenger on the same phone is the same fan.
            let second = if platform == Platform::Vk { Platform::Telegram } else { Platform::Vk };
            let (page, _) = self.get(link, PHONE_BROWSER, cookie.as_deref()).await?;
            self.starts(&fan.account(second), &page, second, 60).await?;
        }
        if n % 14 == 5 {
            // A friend gets the link, opens it elsewhere and starts a chat of their own.
            let (page, _) =
                self.get(link, "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Safari", None).await?;
            let friend = ChatFan::new(Account::Telegram(6_900_000_000 + n as u64), "друг");
            self.starts(&friend, &page, Platform::Telegram, 90).await?;
        }
        Ok(())
    }

    async fn starts(&mut self, fan: &ChatFan, page: &str, platform: Platform, later: i64) -> Result<(), String> {
        let before = match platform {
            Platform::Telegram => "?start=",
            Platform::Viber => "context=",
            _ => "?ref=",
        };
        let host = match platform {
            Platform::Telegram => "t.me",
            Platform::Viber => "viber:",
            Platform::Vk => "vk.me",
            _ => "m.me",
        };
        let link = page.split('"').find(|part| part.contains(host) && part.contains(before));
        let token = link.and_then(|link| link.split(before).nth(1)).map(|rest| rest.split('&').next().unwrap_or(rest));
        let Some(token) = token else { return Err(format!("the page has no button for {host}")) };
        let second = self.now + later;
        let (a, b) = (self.serial(), self.serial());
        self.messengers.open(platform, &fan.id());
        self.post(fan.start(Some(token), a, second)).await?;
        if platform == Platform::Viber {
            // Viber allows a message only after the fan wrote. The welcome's own button is their first word.
            self.post(fan.say("Получить промокод", b, second + 5)).await?;
        }
        Ok(())
    }

    async fn conversations(&mut self, fan: &Fan) -> Result<(), String> {
        let Some(platform) = fan.platform() else { return Ok(()) };
        let (account, second) = (fan.account(platform), self.now + 200);
        let serial = self.serial();
        match fan.0 % 12 {
            1 => self.post(account.say("1 3", serial, second)).await,
            2 => self.post(account.say("13", serial, second)).await,
            3 => self.post(account.say("один", serial, second)).await,
            5 => self.post(account.say("Сколько стоит билет на балкон?", serial, second)).await,
            6 => self.post(account.say("А можно прийти с собакой?", serial, second)).await,
            7 if fan.0 < 60 => self.post(account.say("стоп", serial, second)).await,
            11 => match account.block(serial, second) {
                Some(signed_request) => {
                    self.messengers.block(platform, &account.id());
                    self.post(signed_request).await
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// A fan buys with the code and the link from the chat.
    async fn buys(&mut self, fan: &Fan) -> Result<(), String> {
        let Some(platform) = fan.platform() else { return Ok(()) };
        let account = fan.account(platform);
        let mine: Vec<Arrived> = self.arrived(platform).into_iter().filter(|one| one.to == account.id()).collect();
        let reply = mine.iter().find(|one| one.text.contains("UFA-")).ok_or("the bot sent no code")?;
        let code = reply.text.find("UFA-").and_then(|from| reply.text.get(from..from + 12)).unwrap_or_default();
        if let Some(shop) = &reply.button {
            self.get(shop, PHONE_BROWSER, None).await?;
        }
        let price = if fan.0 == CHATS - 1 { 6_100 } else { 6_200 };
        let at = |seconds: i64| {
            stagedoor_model::Timestamp::from_second(self.now + seconds).map(|at| at.to_string()).unwrap_or_default()
        };
        let show = json!({ "id": "ufa-1", "city": "Уфа" });
        let ticket =
            json!({ "id": format!("U{}-1", fan.0), "show": show, "price": format!("{price}.00"), "live": true });
        let data = json!({
            "id": format!("U-{}", fan.0), "number": format!("{}", 88_000 + fan.0), "status": "paid",
            "placed_at": at(400), "paid_at": at(430), "updated_at": at(430), "currency": "RUB", "total": format!("{price}.00"),
            "paid": format!("{price}.00"), "tickets": [ticket], "promo_codes": [code],
            "buyer": { "name": fan.name(), "phone": fan.typed(), "email": format!("ufa{}@example.com", fan.0) },
        });
        let body = json!({ "type": "order", "data": data });
        let id = format!("msg_ufa_{}", fan.0);
        let signed_request =
            form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &id, self.hub.sync.clock.now());
        // The shop's webhook comes twice.
        self.post(signed_request.clone()).await?;
        self.post(signed_request).await
    }
}

async fn settle(hub: &Hub) -> Result<(), String> {
    let mut calm = 0;
    for _ in 0..2_000 {
        let status = hub.status().await.map_err(|error| error.to_string())?;
        print!(
            "\r  folded {:>4} events · {:>3} people · {:>3} messages to send · {:>3} people waiting  ",
            status.events, status.people, status.outbox, status.waiting
        );
        _ = std::io::stdout().flush();
        calm = if status.queue_depth + status.outbox + status.waiting == 0 { calm + 1 } else { 0 };
        if calm >= 8 {
            println!();
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("it did not come to rest in three minutes".into())
}

async fn summary(hub: &Hub, sandbox: &Sandbox, took: Duration) -> Result<(), String> {
    let figures = campaign::figures(hub, "ufa").await?;
    println!("\nThe Ufa case, in {:.1} s. The hub says:", took.as_secs_f32());
    figures.lines(Default::default()).iter().for_each(|line| println!("  {line}"));
    let contacts = sandbox.contacts().len();
    let stages = sandbox.leads_by_stage();
    let at = |stage: &str| stages.get(&("Уфа".to_owned(), stage.to_owned())).copied().unwrap_or(0);
    let paid = sandbox.stage("Уфа", "Оплачено").map_or(0, |(_, stage)| stage);
    let price = |lead: &serde_json::Value| {
        (lead["status_id"].as_u64() == Some(paid)).then(|| lead["price"].as_i64()).flatten().unwrap_or(0)
    };
    let revenue: i64 = sandbox.leads().iter().map(price).sum();
    let duplicates = contacts.saturating_sub(RECIPIENTS);
    println!("The CRM says:");
    println!("  contacts      {contacts:>5}   (a contact a chat would be {})", RECIPIENTS + CHATS);
    println!("  duplicates    {duplicates:>5}");
    println!("  interested    {:>5}", at("Интерес"));
    println!("  talked        {:>5}", at("Переговоры"));
    println!("  promo issued  {:>5}", at("Промокод выдан"));
    println!("  paid          {:>5}   for {revenue} roubles", at("Оплачено"));
    println!("  notes         {:>5}   tasks for managers {}", sandbox.notes().len(), sandbox.tasks().len());
    println!("  CRM calls     {:>5}", sandbox.calls().values().sum::<u64>());
    let agrees = contacts == RECIPIENTS
        && revenue == REVENUE
        && figures.revenue.get("RUB") == Some(&(REVENUE * 100))
        && figures.purchases.values().sum::<usize>() == at("Оплачено");
    if !agrees {
        return Err("the hub and the CRM do not agree about the Ufa case".into());
    }
    println!("They agree.");
    Ok(())
}
