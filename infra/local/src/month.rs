//! Plays a month of a tour in a minute by moving the hub's clock. Fans see only what real ones would: a form, a shop,
//! a letter, a chat. They consent on paper and on the site, leave carts, open letters or not, and buy. Some withdraw.
//! One show moves and one is cancelled. At the end the play prints the campaign table and checks its sums.

mod fans;
mod summary;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use fans::{CITIES, City, Fan, PEOPLE, lot};
use serde_json::{Value, json};
use stagedoor_sandbox::{Arrived, Delivered, Messengers, Platform, Post, Sandbox};
use stagedoor_sync::Invitee;
use stagedoor_testkit::{SignedRequest, form_signed, unisender};

use crate::{
    Hub, Moved,
    import::{self, Origin},
    report::{Report, report},
};

/// 2027-05-01, 10:00 in Moscow.
pub const BEGINS: i64 = 1_809_154_800;
const HOUR: i64 = 3_600;
/// Steps of a day: at 10, at 15 and at 20 o'clock.
const HOURS: [i64; 3] = [5 * HOUR, 5 * HOUR, 14 * HOUR];
const DAYS: u64 = 31;
const MAIL_KEY: &str = "6x4mpl3un1s3nd3rk3y0000000000000";
/// The provider's id of the mailing list.
const LIST: &str = "134";
/// The id of a campaign that a manager sends at the provider.
const PREMIERE: u64 = 501;

/// What the play did itself, to compare with the hub's figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Played {
    pub orders: usize,
    /// Kopecks, less refunds.
    pub revenue: i64,
    pub letters: usize,
    pub unsubscribed: usize,
    /// Errors: advertising after a withdrawal, or people on the list without a consent.
    pub wrong: Vec<String>,
}

struct Stage<'s> {
    hub: &'s Arc<Hub>,
    clock: &'s Moved,
    base: &'s str,
    messengers: &'s Messengers,
    post: &'s Post,
    http: reqwest::Client,
    fans: Vec<Fan>,
    serial: u64,
    /// The number of letters that were looked at, and of chats.
    read: usize,
    heard: usize,
    /// The orders of fans, with their time.
    bought: BTreeMap<(usize, &'static str), (String, String)>,
    withdrawn: BTreeSet<usize>,
    consenting: BTreeSet<usize>,
    /// True if something happened since the hub was last at rest.
    stirred: bool,
    played: Played,
}

/// Plays the month and prints the tables.
///
/// # Errors
/// A sentence when a request is refused, or the sums differ.
pub async fn play(
    hub: &Arc<Hub>,
    clock: &Moved,
    base: &str,
    (sandbox, messengers, post): (&Sandbox, &Messengers, &Post),
) -> Result<(Played, Report), String> {
    let began = Instant::now();
    let http = stagedoor_http::builder().redirect(reqwest::redirect::Policy::none()).build();
    let mut stage = Stage {
        hub,
        clock,
        base,
        messengers,
        post,
        http: http.map_err(|error| error.to_string())?,
        fans: (0..PEOPLE).map(Fan).collect(),
        serial: 0,
        read: 0,
        heard: 0,
        bought: BTreeMap::new(),
        withdrawn: BTreeSet::new(),
        consenting: BTreeSet::new(),
        stirred: true,
        played: Played::default(),
    };
    println!("A month of a tour of four cities and {PEOPLE} people, three steps a day:");
    for day in 1..=DAYS {
        for (part, hours) in HOURS.into_iter().enumerate() {
            stage.step(day, part).await?;
            stage.rest(day).await?;
            // Within the hour most fans have seen it.
            stage.clock.on(HOUR / 2);
            stage.look().await?;
            stage.rest(day).await?;
            stage.clock.on(hours - HOUR / 2);
            stage.stirred |= stage.hub.sync.wake().await.map_err(|error| error.to_string())? > 0;
            stage.rest(day).await?;
            stage.clock.on(60);
            stage.look().await?;
            stage.rest(day).await?;
        }
    }
    println!();
    let report = report(hub).await?;
    let played = stage.played;
    summary::tell(&played, &report, sandbox, began.elapsed())?;
    Ok((played, report))
}

impl Stage<'_> {
    fn now(&self) -> stagedoor_model::Timestamp {
        self.hub.sync.clock.now()
    }

    async fn send(&mut self, signed_request: SignedRequest) -> Result<(), String> {
        self.stirred = true;
        let (status, answer) = signed_request.post(&self.http, self.base).await.map_err(|error| error.to_string())?;
        if status == 200 { Ok(()) } else { Err(format!("{} answered {status}: {answer}", signed_request.path)) }
    }

    async fn site(&mut self, body: Value) -> Result<(), String> {
        self.serial += 1;
        let id = format!("month-{}", self.serial);
        self.send(form_signed("/website/site", &body, "generic-source-secret", &id, self.now())).await
    }

    async fn step(&mut self, day: u64, part: usize) -> Result<(), String> {
        match (day, part) {
            (1, 0) => self.questionnaires().await?,
            (3, 1) => self.invite().await?,
            (5, 1) => self.premiere().await?,
            (8, 0) => self.show("show.rescheduled", &CITIES[1], "2027-05-22T16:00:00Z").await?,
            (12, 0) => self.called_off(&CITIES[2]).await?,
            _ => {}
        }
        for n in 0..PEOPLE {
            let fan = Fan(n);
            if part == fan.part() && fan.joins_on() == day {
                self.signs_up(&fan).await?;
            }
            if part == 1 && fan.cart_on() == Some(day) && fan.city().ends_on > day {
                self.leaves_a_cart(&fan).await?;
            }
            if part == 2 && fan.buys_on() == Some(day) {
                self.buys(&fan, None).await?;
            }
        }
        Ok(())
    }

    /// Questionnaires signed at the box office: half of all consents.
    async fn questionnaires(&mut self) -> Result<(), String> {
        for fan in self.fans.iter().filter(|fan| fan.has_a_dead_mailbox()) {
            self.post.close(&fan.email());
        }
        self.stirred = true;
        let mut text = "email;phone;name;email_consent;sms_consent;consent_at\n".to_owned();
        for fan in self.fans.iter().filter(|fan| fan.on_paper()) {
            let row = format!("{};{};{};yes;yes;20.04.2027\n", fan.email(), fan.phone(), fan.name());
            text.push_str(&row);
            self.consenting.insert(fan.0);
        }
        let origin = Origin {
            source: "questionnaires of April, box office".into(),
            method: "paper".into(),
            wording: Some("paper-3".into()),
            file: "april.csv".into(),
        };
        let (rows, wrong) = import::read(&text, &origin, self.hub);
        match wrong.first() {
            Some(mistake) => Err(mistake.clone()),
            None => import::run(self.hub, rows, |_| {}).await.map(drop),
        }
    }

    async fn signs_up(&mut self, fan: &Fan) -> Result<(), String> {
        let consents =
            json!([{ "purpose": "marketing", "channel": "email", "given": fan.consents(), "wording": "2027-05" }]);
        if fan.consents() {
            self.consenting.insert(fan.0);
        }
        let body = json!({
            "kind": "lead", "form": "city-news", "email": fan.email(), "phone": fan.phone(), "name": fan.name(),
            "show": fan.city().key, "consents": consents, "at": self.now().to_string(),
        });
        self.site(body).await
    }

    async fn leaves_a_cart(&mut self, fan: &Fan) -> Result<(), String> {
        if self.has_bought(fan) {
            return Ok(());
        }
        let body = json!({
            "kind": "cart_abandoned", "cart_id": format!("cart-{}", fan.0), "email": fan.email(), "amount": "6200.00",
            "currency": "RUB", "show": fan.city().key, "at": self.now().to_string(),
        });
        self.site(body).await
    }

    fn has_bought(&self, fan: &Fan) -> bool {
        self.bought.contains_key(&(fan.0, fan.city().key))
    }

    /// An order in the theatre's shop, whose webhook comes twice.
    async fn buys(&mut self, fan: &Fan, code: Option<&str>) -> Result<(), String> {
        if self.has_bought(fan) || self.now().as_second() > fan.city().last_sale() {
            return Ok(());
        }
        self.serial += 1;
        let id = format!("M-{}", self.serial);
        let placed = self.now().to_string();
        self.bought.insert((fan.0, fan.city().key), (id.clone(), placed.clone()));
        self.played.orders += 1;
        self.played.revenue += fan.price();
        let signed_request = self.order(fan, (&id, &placed), code, false);
        self.send(signed_request.clone()).await?;
        self.send(signed_request).await
    }

    fn order(&self, fan: &Fan, (id, placed): (&str, &str), code: Option<&str>, refunded: bool) -> SignedRequest {
        let (now, price) = (self.now().to_string(), format!("{}.00", fan.price() / 100));
        let ticket =
            json!({ "id": format!("{id}-1"), "show": { "id": fan.city().theatre }, "price": price, "live": !refunded });
        let refund = json!({ "id": format!("{id}-r"), "amount": price, "at": now, "tickets": [format!("{id}-1")] });
        let data = json!({
            "id": id, "number": id, "status": "paid", "placed_at": placed, "paid_at": placed, "updated_at": now, "currency": "RUB",
            "total": price, "paid": price, "tickets": [ticket], "promo_codes": code.into_iter().collect::<Vec<_>>(),
            "refunds": if refunded { vec![refund] } else { vec![] },
            "buyer": { "name": fan.name(), "phone": fan.phone(), "email": fan.email() },
        });
        let event = format!("{id}-{refunded}");
        form_signed(
            "/ticketing/theatre",
            &json!({ "type": "order", "data": data }),
            "theatre-shop-secret",
            &event,
            self.now(),
        )
    }

    async fn show(&mut self, kind: &str, city: &City, starts_at: &str) -> Result<(), String> {
        let show = json!({
            "id": city.theatre, "title": "Вишнёвый сад", "city": city.name, "starts_at": starts_at, "zone": city.zone,
            "changed_at": self.now().to_string(),
        });
        let body = json!({ "type": kind, "data": show });
        // Standard Webhooks allows no dot in an id.
        let id = kind.replace('.', "-");
        self.send(form_signed("/ticketing/theatre", &body, "theatre-shop-secret", &id, self.now())).await
    }

    /// A cancelled show: the shop refunds its orders.
    async fn called_off(&mut self, city: &City) -> Result<(), String> {
        self.show("show.cancelled", city, city.starts_at).await?;
        let theirs = self.bought.iter().filter(|((_, key), _)| *key == city.key);
        let theirs: Vec<(Fan, (String, String))> = theirs.map(|((n, _), order)| (Fan(*n), order.clone())).collect();
        for (fan, (id, placed)) in theirs {
            self.played.revenue -= fan.price();
            let signed_request = self.order(&fan, (&id, &placed), None, true);
            self.send(signed_request).await?;
        }
        Ok(())
    }

    /// Sends an SMS with a personal link to everybody in Ufa. Fans without a consent get none.
    async fn invite(&mut self) -> Result<(), String> {
        let ufa = self.fans.iter().filter(|fan| fan.city().key == "cherry-ufa");
        let phone = |fan: &Fan| stagedoor_model::Phone::parse(&fan.phone(), self.hub.config.region);
        let invitees: Vec<Invitee> =
            ufa.filter_map(|fan| Some(Invitee { phone: phone(fan).ok()?, name: None })).collect();
        self.stirred = true;
        self.hub.sync.invite("ufa", &invitees).await.map(drop).map_err(|error| error.to_string())
    }

    /// A manager's campaign to the list at the provider, which reports on every letter.
    async fn premiere(&mut self) -> Result<(), String> {
        for address in self.messengers.lists().mailed(LIST) {
            let Some(fan) = Fan::of(&address) else { continue };
            let told = |status: &str| self.told(&address, status, Some(PREMIERE), None);
            if fan.has_a_dead_mailbox() {
                let reports = [told("ok_sent"), told("err_user_unknown")];
                self.send(unisender("/mail/unisender", &reports, MAIL_KEY)).await?;
                continue;
            }
            let mut reports = vec![told("ok_sent"), told("ok_delivered")];
            let opens = lot(fan.0, 11, 100) < 62;
            let clicks = opens && lot(fan.0, 12, 100) < 30;
            reports.extend(opens.then(|| told("ok_read")));
            self.send(unisender("/mail/unisender", &reports, MAIL_KEY)).await?;
            if clicks {
                // The click comes some seconds after the delivery; scanners click at once.
                self.clock.on(7);
                let click = self.told(&address, "ok_link_visited", Some(PREMIERE), None);
                self.send(unisender("/mail/unisender", &[click], MAIL_KEY)).await?;
                if lot(fan.0, 13, 100) < 40 {
                    self.clock.on(60);
                    self.buys(&fan, None).await?;
                }
            }
        }
        Ok(())
    }

    /// A provider's report on a campaign of its own or on a letter of the hub.
    fn told(&self, address: &str, status: &str, campaign: Option<u64>, mailing: Option<(&str, &str)>) -> Value {
        let zone = jiff::tz::TimeZoneDatabase::bundled().get("Europe/Moscow").unwrap_or(jiff::tz::TimeZone::UTC);
        let at = self.now().to_zoned_datetime(zone).strftime("%F %T").to_string();
        let mut data = json!({ "email": address, "status": status });
        if let Some(map) = data.as_object_mut() {
            map.extend(campaign.map(|id| ("campaign_id".to_owned(), json!(id))));
            if let Some((mailing, letter)) = mailing {
                map.insert("metadata".into(), json!({ "campaign": mailing }));
                map.insert("job_id".into(), json!(letter));
            }
        }
        json!({ "event_name": "email_status", "event_time": at, "event_data": data })
    }

    /// Fans look at their mail and their chats.
    async fn look(&mut self) -> Result<(), String> {
        let letters: Vec<Delivered> = self.post.arrived().into_iter().skip(self.read).collect();
        self.read += letters.len();
        for letter in letters {
            self.reads(&letter).await?;
        }
        let chats: Vec<Arrived> = self.messengers.arrived().into_iter().skip(self.heard).collect();
        self.heard += chats.len();
        for message in chats {
            self.hears(&message).await?;
        }
        Ok(())
    }

    async fn reads(&mut self, letter: &Delivered) -> Result<(), String> {
        let Some(fan) = Fan::of(&letter.to) else { return Err("a letter came to nobody we know".into()) };
        self.played.letters += 1;
        let mailing = letter.raw.split("\"campaign\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("");
        if letter.unsubscribe.is_some() && self.withdrawn.contains(&fan.0) {
            self.played.wrong.push(format!("{mailing} was sent to fan {}, who had withdrawn", fan.0));
        }
        let fate = lot(fan.0 + mailing.len() * 1_000, 21, 100);
        let told =
            |stage: &Self, status: &str| stage.told(&letter.to, status, None, Some((mailing, &letter.message_id)));
        let mut reports = vec![told(self, "ok_delivered")];
        reports.extend((fate < 60).then(|| told(self, "ok_read")));
        self.send(unisender("/mail/unisender", &reports, MAIL_KEY)).await?;
        match (&letter.unsubscribe, fate) {
            (Some(url), 0..6) => self.unsubscribes(&fan, url).await?,
            (Some(_), 6..8) => {
                let complaint = told(self, "ok_fbl");
                self.withdrawn.insert(fan.0);
                self.send(unisender("/mail/unisender", &[complaint], MAIL_KEY)).await?;
            }
            (Some(_), 8..34) => self.follows(&fan, &letter.text, mailing).await?,
            _ => {}
        }
        Ok(())
    }

    /// Unsubscribes as a mail program's own button does.
    async fn unsubscribes(&mut self, fan: &Fan, url: &str) -> Result<(), String> {
        let form = [("List-Unsubscribe", "One-Click")];
        self.stirred = true;
        let answer = self.http.post(url).form(&form).send().await.map_err(|error| error.to_string())?;
        self.withdrawn.insert(fan.0);
        self.played.unsubscribed += 1;
        if answer.status() == 200 { Ok(()) } else { Err(format!("one click was answered {}", answer.status())) }
    }

    /// A fan follows the letter's button into the shop, where six of ten buy.
    async fn follows(&mut self, fan: &Fan, text: &str, mailing: &str) -> Result<(), String> {
        let Some(link) = text.split_whitespace().find(|word| word.contains("/l/")) else { return Ok(()) };
        self.clock.on(HOUR / 2);
        let agent = "Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36";
        let request = self.http.get(link).header("user-agent", agent).send();
        request.await.map_err(|error| error.to_string())?;
        if lot(fan.0 + mailing.len(), 23, 100) < 60 {
            self.clock.on(60);
            let code = text.split(|c: char| c.is_whitespace() || c == ',').find(|word| word.starts_with("UFA-"));
            self.buys(fan, code).await?;
        }
        Ok(())
    }

    async fn hears(&mut self, message: &Arrived) -> Result<(), String> {
        let fan = match message.platform {
            Platform::Sms => Fan::of_phone(&message.to),
            _ => Fan::of_chat(&message.to),
        };
        let Some(fan) = fan else { return Err("a message came to nobody we know".into()) };
        let second = self.now().as_second();
        self.serial += 2;
        if message.platform == Platform::Sms {
            let link = message.text.split_whitespace().find(|word| word.contains("/l/"));
            let Some(link) = link.filter(|_| lot(fan.0, 31, 100) < 70) else { return Ok(()) };
            let page = self.http.get(link).header("user-agent", "Mozilla/5.0 (iPhone)").send();
            let page =
                page.await.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())?;
            let token = page.split("?start=").nth(1).and_then(|rest| rest.split(['"', '&']).next());
            let Some(token) = token.filter(|_| lot(fan.0, 32, 100) < 80) else { return Ok(()) };
            self.messengers.open(Platform::Telegram, &fan.chat().id());
            let start = fan.chat().start(Some(token), self.serial, second);
            return self.send(start).await;
        }
        let code = message.text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '.' | ':'));
        let code = code.into_iter().find(|word| word.starts_with("UFA-")).map(str::to_owned);
        let fate = lot(fan.0 + message.text.len(), 33, 100);
        if message.text.contains("ещё не использован") && self.withdrawn.contains(&fan.0) {
            self.played.wrong.push(format!("a reminder was sent to fan {}, who had withdrawn", fan.0));
        }
        match code {
            Some(_) if fate < 6 => {
                self.withdrawn.insert(fan.0);
                let stop = fan.chat().say("стоп", self.serial, second);
                self.send(stop).await
            }
            Some(code) if fate < 40 => {
                self.clock.on(60);
                self.buys(&fan, Some(&code)).await
            }
            _ => Ok(()),
        }
    }

    /// Waits until nothing is queued and nobody waits. Then checks that the list holds only allowed people.
    async fn rest(&mut self, day: u64) -> Result<(), String> {
        if !std::mem::take(&mut self.stirred) {
            return Ok(());
        }
        let mut calm = 0;
        for _ in 0..4_000 {
            let status = self.hub.status().await.map_err(|error| error.to_string())?;
            calm = if status.queue_depth + status.outbox + status.waiting == 0 { calm + 1 } else { 0 };
            if calm >= 6 {
                print!(
                    "\r  May {day:>2} · {:>5} events · {:>3} people · {:>3} letters · {:>3} orders  ",
                    status.events, status.people, self.played.letters, self.played.orders
                );
                _ = std::io::stdout().flush();
                self.check_the_list();
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err("it did not come to rest".into())
    }

    fn check_the_list(&mut self) {
        for address in self.messengers.lists().mailed(LIST) {
            let known = Fan::of(&address).map(|fan| fan.0);
            let may = known.is_some_and(|n| self.consenting.contains(&n) && !self.withdrawn.contains(&n));
            if !may {
                self.played.wrong.push(format!("fan {known:?} is on the list without a consent"));
            }
        }
    }
}
