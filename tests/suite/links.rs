//! Tracked links: the page of messengers on a phone, clicks of people and looks of robots, and nothing in the open.

use std::{path::PathBuf, process::Command};

use reqwest::{Client, Response, redirect::Policy};
use serde_json::Value;
use stagedoor_model::{Body, LinkKey, Purpose, Timestamp};
use stagedoor_tests::hub::TestHub;

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari";

fn key() -> LinkKey {
    LinkKey::new("link-key")
}

fn end() -> Timestamp {
    "2027-05-28T14:00:00Z".parse().expect("a time")
}

fn link(hub: &TestHub, purpose: Purpose, whose: &str) -> String {
    format!("{}/l/{}", hub.base, key().mint(1, purpose, whose, end()))
}

fn browser() -> Client {
    stagedoor_http::builder().redirect(Policy::none()).build().expect("a client")
}

async fn open(url: &str, agent: &str) -> Response {
    browser().get(url).header("user-agent", agent).send().await.expect("an answer")
}

/// Clicks that the journal knows.
async fn clicks(hub: &TestHub) -> usize {
    hub.settled().await;
    let rows = hub.hub.store.journal(1_000).await.expect("a journal");
    rows.iter().filter(|row| matches!(row.event.body, Body::LinkClicked(_))).count()
}

#[tokio::test]
async fn a_persons_look_is_a_click_and_a_robots_or_a_head_is_not() {
    let hub = TestHub::start().await;
    let link = link(&hub, Purpose::Chat, "somebody");
    for robot in ["TelegramBot (like TwitterBot)", "WhatsApp/2.23.20.0 A", "facebookexternalhit/1.1", "curl/8.5.0"] {
        let response = open(&link, robot).await;
        assert_eq!(response.status(), 200, "{robot} sees the page all the same");
    }
    let head = browser().head(&link).header("user-agent", PHONE).send().await.expect("an answer");
    assert_eq!((head.status().as_u16(), head.text().await.expect("text").len()), (200, 0));
    assert_eq!(clicks(&hub).await, 0);
    let first = open(&link, PHONE).await;
    let cookie = first.headers()["set-cookie"].to_str().expect("text").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    assert_eq!(clicks(&hub).await, 1);
    // The same browser again within the minute is the same click; another one is another.
    let again =
        browser().get(&link).header("user-agent", PHONE).header("cookie", cookie.split(';').next().expect("a cookie"));
    again.send().await.expect("an answer");
    assert_eq!(clicks(&hub).await, 1);
    open(&link, PHONE).await;
    assert_eq!(clicks(&hub).await, 2);
}

#[tokio::test]
async fn the_cookie_of_a_link_is_that_links_alone_and_ends_with_it() {
    let hub = TestHub::start().await;
    for purpose in [Purpose::Chat, Purpose::Public] {
        let token = key().mint(1, purpose, "somebody", end());
        let left = token.header().expect("ours").expires_at.as_second() - hub.now().as_second();
        let response = open(&format!("{}/l/{token}", hub.base), PHONE).await;
        let cookie = response.headers()["set-cookie"].to_str().expect("text");
        let part = |name: &str| {
            let found = cookie.split("; ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("no {name}: {cookie}"))
        };
        assert_eq!(part("Path"), format!("/l/{token}"));
        let age: i64 = part("Max-Age").parse().expect("seconds");
        match purpose {
            Purpose::Chat => assert!((left - 60..=left).contains(&age), "{age} of {left}"),
            _ => assert_eq!(age, 60, "a look at a poster's link serves nothing else"),
        }
    }
}

#[tokio::test]
async fn a_link_to_the_shop_leads_to_the_configs_own_page_and_nowhere_else() {
    let hub = TestHub::start().await;
    let link = link(&hub, Purpose::Shop, "a chat");
    for more in ["", "?url=https://evil.example", "?next=//evil.example", "?lang=en"] {
        let response = open(&format!("{link}{more}"), PHONE).await;
        assert_eq!(response.status(), 302);
        let to = response.headers()["location"].to_str().expect("text");
        assert!(to.starts_with("https://tickets.example.ru/ufa?") && !to.contains("evil"), "{to}");
        assert!(to.contains("utm_campaign=ufa"));
    }
}

#[tokio::test]
async fn what_is_no_link_of_ours_or_too_old_says_so() {
    let hub = TestHub::start().await;
    let old = key().mint(1, Purpose::Chat, "somebody", "2026-02-01T00:00:00Z".parse().expect("a time"));
    let foreign = LinkKey::new("another").mint(1, Purpose::Chat, "somebody", end());
    let gone = key().mint(77, Purpose::Chat, "somebody", end());
    for (token, status) in [
        (old.to_string(), 410),
        (foreign.to_string(), 404),
        (gone.to_string(), 404),
        ("k7Qw_9Zt-Lm2Xa".into(), 404),
        ("%00%ff".into(), 404),
        ("a".repeat(3_000), 404),
    ] {
        let response = open(&format!("{}/l/{token}", hub.base), PHONE).await;
        // A path that is no text is refused before it is looked at.
        assert!([status, 400].contains(&response.status().as_u16()), "{}", response.status());
        assert!(!response.headers().contains_key("set-cookie"));
    }
    assert_eq!(clicks(&hub).await, 0);
}

#[tokio::test]
async fn a_page_tells_nothing_of_anybody_and_is_kept_by_nobody() {
    let hub = TestHub::start().await;
    let link = link(&hub, Purpose::Chat, "phone:+79171234567");
    let response = open(&link, PHONE).await;
    for (header, value) in [("cache-control", "no-store"), ("referrer-policy", "no-referrer")] {
        assert_eq!(response.headers()[header], value);
    }
    assert!(response.headers()["content-security-policy"].to_str().expect("text").starts_with("default-src 'none'"));
    let page = response.text().await.expect("text");
    assert!(!link.contains("917") && !page.contains("917123") && !page.contains("<script"), "{page}");
    // Only the campaign's channels, in its order; the config has WhatsApp too, the campaign has not.
    let at = |needle: &str| page.find(needle);
    assert!(at("t.me/") < at("viber://") && at("viber://") < at("vk.me/") && at("vk.me/") < at("m.me/"));
    assert!(at("t.me/").is_some() && at("wa.me").is_none());
}

#[tokio::test]
async fn everybodys_link_opens_the_same_page_and_names_its_campaign() {
    let hub = TestHub::start().await;
    let link = stagedoor::campaign::public_link(&hub.hub, "ufa").expect("a link");
    assert_eq!(open(&link, PHONE).await.status(), 200);
}

fn root() -> PathBuf {
    stagedoor_testkit::samples::folder().join("..").canonicalize().expect("the repository")
}

/// What a phone makes of a page, and the picture of it.
async fn on_a_phone(url: String, locale: &'static str) -> (Value, Vec<u8>) {
    let run = move || {
        let folder = tempfile::tempdir().expect("a folder");
        let picture = folder.path().join("page.png");
        let output = Command::new("node")
            .arg(root().join("tests/clients/phone.js"))
            .arg(root().join(".tools/node/node_modules"))
            .arg(url)
            .arg(&picture)
            .arg(locale)
            .output()
            .expect("node; tests/run installs what it needs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let told =
            serde_json::from_str(&told).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (told, std::fs::read(picture).expect("a picture"))
    };
    tokio::task::spawn_blocking(run).await.expect("joined")
}

/// The colour at a point of the picture, which has two pixels a point.
fn pixel(picture: &[u8], x: f64, y: f64) -> [u8; 3] {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(picture)).read_info().expect("a PNG");
    let mut pixels = vec![0; decoder.output_buffer_size().expect("a size")];
    let info = decoder.next_frame(&mut pixels).expect("a frame");
    let bytes = info.color_type.samples();
    assert_eq!(info.width, 720, "360 points at two pixels each");
    let at = ((y * 2.0) as usize * info.width as usize + (x * 2.0) as usize) * bytes;
    [pixels[at], pixels[at + 1], pixels[at + 2]]
}

/// WCAG 2.2, "contrast ratio" of two colours as `rgb(r, g, b)`.
fn contrast(a: &str, b: &str) -> f64 {
    let light = |colour: &str| {
        let parts = colour.trim_start_matches("rgb(").trim_end_matches(')').split(',');
        let linear = parts
            .map(|part| part.trim().parse::<f64>().expect("a number") / 255.0)
            .map(|c| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
        linear.zip([0.2126, 0.7152, 0.0722]).map(|(c, weight)| c * weight).sum::<f64>()
    };
    let (a, b) = (light(a), light(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_messengers_is_readable_on_a_phone_in_both_languages() {
    let hub = TestHub::start().await;
    let link = link(&hub, Purpose::Chat, "somebody");
    for (locale, language, title) in
        [("ru-RU", "ru", "«Вишнёвый сад» в Уфе"), ("en-GB", "en", "The Cherry Orchard in Ufa")]
    {
        let (told, picture) = on_a_phone(link.clone(), locale).await;
        assert_eq!((told["status"].as_u64(), &told["complaints"]), (Some(200), &serde_json::json!([])), "{told}");
        assert_eq!((told["language"].as_str(), told["title"].as_str()), (Some(language), Some(title)));
        assert_eq!(told["width"], 360, "nothing sticks out to the side");
        assert!(told["text"].as_f64().expect("a size") >= 16.0);
        let buttons = told["buttons"].as_array().expect("buttons");
        let titles: Vec<&str> = buttons.iter().filter_map(|button| button["title"].as_str()).collect();
        assert_eq!(titles, ["Telegram", "Viber", "VK", "Messenger"]);
        let mut above = 0.0;
        for button in buttons {
            let number = |key: &str| button[key].as_f64().expect("a number");
            let (top, height) = (number("top"), number("height"));
            assert!(height >= 48.0 && number("width") >= 300.0, "as large as a thumb: {button}");
            assert!(top >= above + 8.0 && top + height <= 740.0, "apart, and on the first screen: {button}");
            above = top + height;
            let (colour, ink) = (button["colour"].as_str().expect("text"), button["ink"].as_str().expect("text"));
            assert!(contrast(colour, ink) >= 4.5, "{} {:.2}", button["title"], contrast(colour, ink));
            // And it is really painted there.
            let [r, g, b] = pixel(&picture, number("left") + 20.0, top + 6.0);
            assert_eq!(colour, format!("rgb({r}, {g}, {b})"), "{button}");
        }
    }
}
